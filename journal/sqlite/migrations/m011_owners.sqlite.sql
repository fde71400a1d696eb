-- A delivery that is being sent is pending and has an owner: the start of the process that sends
-- it. Only that process knows of the attempt. Deliveries of an earlier owner are due at once.
update deliveries set state = 'pending', due_at = accepted_at where state = 'sending';
drop index deliveries_taken;
update counters
  set value = value + (select value from counters where name = 'deliveries.sending')
  where name = 'deliveries.pending';
delete from counters where name = 'deliveries.sending';
