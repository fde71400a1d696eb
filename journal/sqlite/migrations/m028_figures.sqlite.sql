-- What the service counted, by minute, for its plots: `at` is the end of the minute, in seconds since
-- the epoch.
create table figures (
  at integer primary key,
  counted blob not null
) strict;
