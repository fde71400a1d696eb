-- Sealed parts of rows: `journal/seal.py` has their form. A row in clear has none.
alter table events add column codes blob;          -- text, code and links; `body` has `***`
alter table events add column people blob;         -- numbers; `body` has `***`
alter table callbacks add column sealed blob;      -- headers and body, which are empty then
alter table quarantine add column sealed blob;     -- headers and body, which are empty then
alter table attempts add column sealed blob;       -- answer, which is null then
alter table probes add column sealed blob;         -- answer, which is null then
alter table orders add column sealed blob;         -- number; `number` has its keyed index

-- `number` of a sealed event is the keyed index of its number. The writer changes it.
drop trigger event_fields_changed;
create trigger event_fields_changed after update of body on events when json_valid(new.body) begin
  update event_fields set
    number = iif(new.people is null, json_extract(new.body, '$.data.to'), number),
    service_id = json_extract(new.body, '$.data.service.id'),
    service_name = json_extract(new.body, '$.data.service.name'),
    service_key = json_extract(new.body, '$.data.service.key'),
    has_code = json_extract(new.body, '$.data.code') is not null
  where seq = new.seq;
end;
