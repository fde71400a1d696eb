-- Which ways an event's message came, by callback or by what was polled: each way once. A message that
-- comes again the same way has the same key.
create table twins (
  event  integer not null references events,
  form   text not null,
  second real,                        -- when the provider said that it was, this way
  primary key (event, form)
) strict, without rowid;

-- When something was last so: `alive`, or `backfilled/tellabot`.
create table moments (
  name text primary key,
  at   real not null
) strict, without rowid;
