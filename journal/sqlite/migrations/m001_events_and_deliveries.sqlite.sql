-- An event, its keys and what it owes are written in one transaction, or not at all.

create table meta (
  name  text primary key,
  value text not null
) strict, without rowid;

-- Each start of the service. What an earlier one had taken is due again.
create table starts (
  id      integer primary key,
  at      real not null,
  pid     integer not null,
  version text not null
) strict;

-- The request as it came; several events of one callback share it.
create table callbacks (
  id      integer primary key autoincrement,
  source  text not null,
  channel text not null,
  token   text not null,
  peer    text not null,
  at      real not null,
  headers text not null,             -- JSON: [[name, value], ...]
  body    blob not null
) strict;

create table events (
  seq         integer primary key autoincrement,   -- the order of commits
  id          text not null unique,                -- UUIDv7: grows
  source      text not null,
  type        text not null,
  subject     text not null,
  also        text,                  -- what else it happened to, written like a subject
  recorded_at real not null,
  callback    integer not null references callbacks,
  routes      text not null,         -- JSON: the names of those that matched
  body        text not null          -- the CloudEvent, as it is sent
) strict;

create index events_subject on events (subject);
create index events_also on events (also) where also is not null;

-- Keys begin with the provider's time, so that they grow: a random unique key costs 3.4 times
-- the time and 8 times the bytes written, and halves the speed at ten million rows.
create table keys (
  source text not null,
  key    blob not null,
  event  integer not null references events,
  primary key (source, key)
) strict, without rowid;

-- When and from where copies came; the first hundred of an event.
create table duplicates (
  event   integer not null references events,
  n       integer not null,
  at      real not null,
  channel text not null,
  peer    text not null,
  primary key (event, n)
) strict, without rowid;

create table deliveries (
  id          integer primary key autoincrement,
  event       integer not null references events,
  sink        text not null,         -- a name: what is owed outlives the configuration
  state       text not null,
  attempts    integer not null default 0,
  due_at      real,
  owner       integer references starts,
  accepted_at real not null
) strict;

create index deliveries_event on deliveries (event);
-- The only question the worker asks while it runs ...
create index deliveries_due on deliveries (sink, due_at) where state = 'pending';
-- ... and when it starts. What was handed over passes through this one and leaves it small.
create index deliveries_taken on deliveries (owner) where state = 'sending';

create table attempts (
  delivery integer not null references deliveries,
  n        integer not null,
  at       real not null,
  outcome  text not null,
  status   integer,
  error    text,
  took_ms  real not null,
  primary key (delivery, n)
) strict, without rowid;

create table quarantine (
  seq         integer primary key autoincrement,
  id          text not null unique,
  source      text not null,
  fingerprint blob not null,         -- keyed hash of the body
  reason      text not null,
  detail      text not null,
  token       text not null,
  peer        text not null,
  at          real not null,
  count       integer not null default 1,
  last_at     real not null,
  headers     text not null,
  body        blob not null,
  unique (source, fingerprint)
) strict;

create table rejections (
  seq      integer primary key autoincrement,
  reason   text not null,
  source   text not null,
  peer     text not null,
  count    integer not null,
  first_at real not null,
  last_at  real not null,
  unique (reason, source, peer)
) strict;

create table token_uses (
  source    text not null,
  token     text not null,
  callbacks integer not null,
  last_at   real not null,
  primary key (source, token)
) strict, without rowid;

-- Rows, because counting three million deliveries took a second.
create table counters (
  name  text primary key,
  value integer not null
) strict, without rowid;

insert into counters (name, value) values
  ('events', 0), ('duplicates', 0), ('quarantine', 0),
  ('deliveries.pending', 0), ('deliveries.sending', 0), ('deliveries.delivered', 0),
  ('deliveries.dead', 0), ('deliveries.expired', 0);
