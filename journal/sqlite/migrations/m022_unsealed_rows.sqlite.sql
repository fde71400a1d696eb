-- Rows up to these places may be stored in clear, although new rows are sealed. A start without keys
-- sets all marks again. Each mark goes when its rows are sealed; that of the log when no page of an
-- earlier time is left in it.
insert into meta (name, value)
  select column1, '9223372036854775807' from (values
    ('unsealed_events'), ('unsealed_callbacks'), ('unsealed_quarantine'), ('unsealed_orders'),
    ('unsealed_deliveries'), ('unsealed_log'))
  where exists (select 1 from starts);
