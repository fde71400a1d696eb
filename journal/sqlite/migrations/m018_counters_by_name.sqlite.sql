-- Counters by source and type, and by sink, begin with this version. Only the pending deliveries are
-- counted here: their partial indexes are small.
insert into counters (name, value)
  select 'pending/' || sink, count(*) from (
    select sink from deliveries where state = 'pending' and attempts = 0
    union all select sink from deliveries where state = 'pending' and attempts > 0
  ) group by sink;
