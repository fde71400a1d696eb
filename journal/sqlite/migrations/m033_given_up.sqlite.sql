-- Dead and expired deliveries, with what a retry of all that match needs of their events: events lie
-- far apart, so to read ten thousand of them takes long. A delivery that is retried leaves the table.
create table given_up (
  state       text not null,         -- dead, expired
  id          integer not null references deliveries,
  sink        text not null,
  event       integer not null references events,
  event_id    text not null,
  source      text not null,         -- of the event, like the next
  recorded_at real not null,
  primary key (state, id)
) strict, without rowid;

insert into given_up
  select deliveries.state, deliveries.id, sink, event, events.id, source, recorded_at
  from deliveries indexed by deliveries_given_up cross join events on seq = event
  where deliveries.state in ('dead', 'expired');

-- The table has taken its place.
drop index deliveries_given_up;
