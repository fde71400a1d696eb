-- The events that each `when` of an API key shows. A list for such a key reads from here: its time
-- must not tell how many events are hidden.
create table visible_filters (
  id     integer primary key,
  digest text unique,                -- of the `when`; null: no longer configured, being removed
  unseen integer not null            -- events up to this place are still to be looked at; 0: none
) strict;

create table visible (
  filter integer not null references visible_filters,
  seq    integer not null references events,
  primary key (filter, seq)
) strict, without rowid;
