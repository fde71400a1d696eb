-- Named readers of the API: each belongs to the key of that name. It has read the events up to its
-- place.
create table consumers (
  key        text not null,
  name       text not null,
  place      integer not null,
  created_at real not null,
  moved_at   real not null,          -- when its place was last set, even to the same place
  primary key (key, name)
) strict, without rowid;
