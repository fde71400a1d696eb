-- Up to this place an event may be older than one before it: the clock was set back, or nobody
-- watched yet. Beyond it a time is found by halves, without an index that each event would pay for.
insert into meta (name, value)
  select 'unordered_until', cast(coalesce(max(seq), 0) as text) from events;
