-- Limits of keys that were made while the service ran, as configured keys have them.
alter table api_keys add column reads text;   -- the most events in clear, such as 600/h; null: any
alter table api_keys add column reason text;  -- `required`: it must give one to reveal a code
