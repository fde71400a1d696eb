-- Endpoints that services subscribed by the API. The sink of each is named `sub:` and its id.
create table subscriptions (
  seq        integer primary key autoincrement,
  id         text not null unique,
  key        text not null,          -- the name of the API key that made it
  url        text not null,
  filter     text,                   -- its `when` in JSON; null: the default of routes
  format     text not null,
  secrets    text not null,          -- JSON: encrypted, the current one first
  created_at real not null
) strict;
