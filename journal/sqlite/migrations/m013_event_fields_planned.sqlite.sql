-- The service inserts the searched fields with the event: it has them before they become JSON. The
-- trigger read the JSON of each event five times.
drop trigger event_fields_stored;
