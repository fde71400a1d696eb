-- Orders that a provider lists, and what it says of them.
alter table orders add column origin text not null default 'user';      -- user, provider
-- JSON: names of the columns whose value the provider said.
alter table orders add column provided text not null default '[]';
-- The seconds that expires_at was made of; null: it is an instant that the user named, or an older
-- order, of which it is not known.
alter table orders add column lasts real;
-- Why it ended; null: it has not, or no event said so.
alter table orders add column reason text;
update orders set reason = 'expired' where state = 'expired';

-- JSON: names of the fields that the event has from its order.
alter table order_events add column taken text not null default '[]';

-- One message may answer two orders: a copy of the event named this order, the event another.
create table order_copies (
  order_seq  integer not null references orders,
  event      integer not null references events,
  primary key (order_seq, event)
) strict, without rowid;

-- The last balance of each source's account, and on which side of `low_balance` it was.
create table balances (
  source     text primary key,
  amount     text not null,
  currency   text,
  at         real not null,
  low        integer not null
) strict;
