-- API keys that were made while the service ran. A key is stored as its digest only.
create table api_keys (
  seq        integer primary key autoincrement,
  id         text not null unique,
  name       text not null unique,
  digest     blob not null unique,   -- SHA-256 of the key
  scopes     text not null,          -- JSON
  filter     text,                   -- its `when` in JSON; null: it sees all events
  expires_at real,                   -- null: never
  rate       text,                   -- such as 600/m; null: any
  created_at real not null
) strict;

-- The last use of each API key, also of configured ones.
create table key_uses (
  name    text primary key,
  last_at real not null
) strict, without rowid;

-- Calls with an `Idempotency-Key`, for a day. Nothing of a request is stored in clear.
create table made_calls (
  key     blob primary key,          -- a keyed hash of the header and the API key
  request blob not null,             -- a keyed hash of the request
  status  integer not null,          -- of its answer
  answer  text not null,             -- JSON: the ids of what it made, and no content of messages
  at      real not null
) strict, without rowid;

create index made_calls_at on made_calls (at);
