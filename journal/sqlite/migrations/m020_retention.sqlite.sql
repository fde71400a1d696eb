-- When content of an event was erased. Its fields are null then, and its callback has no bytes.
alter table events add column erased_at real;
alter table callbacks add column erased_at real;

-- Events that were removed, as long as their keys recognize a copy. Keys refer to these rows then.
create table pruned_events (
  seq         integer primary key,
  id          text not null,
  recorded_at real not null
) strict;

-- How far each kind of data was pruned: rows up to this place are done.
create table pruned_places (
  kind  text primary key,
  place integer not null
) strict, without rowid;

-- An older version removed nothing. The first start notes the time, and removes nothing for some
-- days if the configuration has no `retention`.
insert into moments (name, at)
  select 'upgraded_to_retention', 0 where exists (select 1 from events)
    or exists (select 1 from quarantine);

-- Finds the copies of an event that is removed.
create index order_copies_event on order_copies (event);
