-- What a downstream service knows of a number that it took.
create table orders (
  seq        integer primary key autoincrement,
  id         text not null unique,
  source     text not null,
  provider   text not null,
  kind       text not null,          -- request_id, activation_id, rental_id, number
  name       text not null,          -- the id of that kind
  number     text,
  service    text,
  country    text,
  amount     text,
  currency   text,
  reference  text,
  labels     text not null,          -- JSON
  created_at real not null,
  expires_at real not null,
  state      text not null
) strict;

-- A number may be an order's anew, an id never: so it is not unique.
create index orders_name on orders (name, kind, source);
create index orders_number on orders (number) where number is not null;
create index orders_reference on orders (reference) where reference is not null;
create index orders_expires on orders (expires_at);
-- What still waits, among all that ever were.
create index orders_waiting on orders (expires_at) where state = 'waiting';

-- An event belongs to one order at most.
create table order_events (
  event      integer primary key references events,
  order_seq  integer not null references orders
) strict;

create index order_events_order on order_events (order_seq, event);

-- Only what belongs to an order has one: readers look for it.
alter table events add column reference text;
create index events_reference on events (reference) where reference is not null;
