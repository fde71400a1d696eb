-- Lists of quarantine by source and reason. Each index has the place as its last column.
create index quarantine_by_source on quarantine (source);
create index quarantine_by_reason on quarantine (reason);
create index quarantine_by_both on quarantine (source, reason);
