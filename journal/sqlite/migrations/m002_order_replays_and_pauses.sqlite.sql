-- A delivery that is ordered waits without a time (`due_at` is null) until the one before it, of the
-- same sink and value, is delivered, dead or expired. So at most one of a value is ever due or sent.
alter table deliveries add column ordering text;                        -- JSON; empty: no such path
-- Asked for by somebody, after it was owed at acceptance.
alter table deliveries add column replay integer not null default 0;
-- Attempts made before its schedule last began: a person's retry begins it anew.
alter table deliveries add column begun integer not null default 0;
-- When it is due by its schedule or by the sink's own word, where `due_at` may be brought forward
-- by a success (it is not, where both are the same).
alter table deliveries add column scheduled_at real;

create index deliveries_ordered on deliveries (sink, ordering, id)
  where ordering is not null and state in ('pending', 'sending');
-- The oldest that failed is what a sink that is down is tried with: of a hundred thousand, too.
create index deliveries_failed on deliveries (sink, id) where state = 'pending' and attempts > 0;
-- What somebody has to look at, among millions that were delivered.
create index deliveries_given_up on deliveries (state, id) where state in ('dead', 'expired');

alter table attempts add column answer blob;                            -- how it begins

-- What is known of a sink's name, configured or not.
create table sinks (
  name            text primary key,
  ordered_by      text,              -- what `ordering` of its deliveries was made with
  paused          text,              -- by whom: 'operator', 'failing'
  paused_at       real,
  failing_since   real,
  last_success_at real,
  last_error_at   real,
  last_error      text,
  last_status     integer
) strict, without rowid;
