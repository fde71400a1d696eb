-- The conditions that were reported as events `system.*`: a restart reports none of them again, and
-- reports the end of those that ended meanwhile.
create table conditions (
  name       text not null,          -- such as sink_failing
  subject    text not null,          -- such as sink/crm
  since      real not null,          -- when it began
  raised_at  real not null,          -- when it was reported
  cleared_at real,                   -- null: it holds
  severity   text not null,          -- the highest that was reported
  event      text not null,          -- the id of the event that reported it
  data       text not null,          -- the details of that event, as JSON
  primary key (name, subject)
) strict, without rowid;
