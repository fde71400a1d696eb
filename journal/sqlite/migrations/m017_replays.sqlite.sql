-- Replays of many events. Each step makes deliveries of some events, and moves `place` in the same
-- transaction.
create table replays (
  id         text primary key,       -- UUIDv7: grows
  key        text not null,          -- the id of the API key that started it
  state      text not null,
  since      real,
  until      real,
  types      text not null,          -- JSON: a list, empty for any
  sources    text not null,          -- JSON: a list, empty for any
  sinks      text,                   -- JSON: a list; null: the sinks of the first deliveries
  last       integer not null,       -- the place of the newest event when it started
  place      integer not null,       -- events up to this place are done
  matched    integer not null,
  replayed   integer not null,
  created    integer not null,       -- deliveries
  created_at real not null,
  ended_at   real
) strict, without rowid;

create index replays_running on replays (state) where state = 'running';

-- First attempts of replays are found without walking past fresh ones, and the other way round.
drop index deliveries_fresh;
create index deliveries_fresh on deliveries (sink, replay, due_at)
  where state = 'pending' and attempts = 0;
