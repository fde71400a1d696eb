-- The fields of events that lists search. A table of its own and not columns of `events`: it is
-- narrow to walk, and old events get their rows while the service runs without rewriting `events`.
create table event_fields (
  seq          integer primary key references events,
  number       text,                 -- data.to
  service_id   text,
  service_name text,
  service_key  text,
  has_code     integer not null
) strict;

-- By 4096 events, then by number: entries of one transaction lie together. An index on the number
-- alone writes a page for each event at ten million events.
create index event_fields_number on event_fields (seq >> 12, number) where number is not null;

create trigger event_fields_stored after insert on events begin
  insert into event_fields values (
    new.seq,
    json_extract(new.body, '$.data.to'),
    json_extract(new.body, '$.data.service.id'),
    json_extract(new.body, '$.data.service.name'),
    json_extract(new.body, '$.data.service.key'),
    json_extract(new.body, '$.data.code') is not null
  );
end;

create trigger event_fields_changed after update of body on events when json_valid(new.body) begin
  update event_fields set
    number = json_extract(new.body, '$.data.to'),
    service_id = json_extract(new.body, '$.data.service.id'),
    service_name = json_extract(new.body, '$.data.service.name'),
    service_key = json_extract(new.body, '$.data.service.key'),
    has_code = json_extract(new.body, '$.data.code') is not null
  where seq = new.seq;
end;

-- Events up to this place have no row yet. The row goes when all have one.
-- Not max(seq) with a condition: that walks ten million events.
insert into meta (name, value)
  select 'event_fields_missing', cast(seq as text) from sqlite_sequence where name = 'events';
