-- First attempts are found without walking past those that are tried again, and the other way round.
drop index deliveries_due;
create index deliveries_fresh on deliveries (sink, due_at) where state = 'pending' and attempts = 0;
create index deliveries_retried on deliveries (sink, due_at) where state = 'pending' and attempts > 0;

-- It waits because of an outage: the sink's recovery brings it forward, once.
alter table deliveries add column held integer not null default 0;
-- Its time is a date that the sink named: a step of the wall clock does not move it.
alter table deliveries add column fixed integer not null default 0;
create index deliveries_held on deliveries (sink, id) where state = 'pending' and held = 1;
update deliveries set held = 1
  where state in ('pending', 'sending') and attempts > 0 and scheduled_at is null;

-- Attempts before their time, which use none of the schedule up: the last of each, and how many.
create table probes (
  delivery integer not null references deliveries,
  n        integer not null,          -- the number of the attempt that they are before
  at       real not null,
  outcome  text not null,
  status   integer,
  error    text,
  took_ms  real not null,
  answer   blob,
  count    integer not null,
  primary key (delivery, n)
) strict, without rowid;

-- A value that is null or missing orders nothing any more.
update deliveries set ordering = null, due_at = coalesce(due_at, accepted_at)
  where state = 'pending' and ordering in ('', 'null');
update deliveries set ordering = null where state = 'sending' and ordering in ('', 'null');
