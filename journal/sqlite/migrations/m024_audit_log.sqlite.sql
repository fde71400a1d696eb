-- The audit log: one JSON line for each fact. Its tree, keys and notes are in `journal/audit/`.
-- Nothing here stops who can write the file. A changed line shows when the log is verified.
create table audit_logs (
  first  integer primary key,        -- the place of its first line; a restored journal begins anew
  origin text not null,
  key    text,                       -- the verifier key of its first epoch; null: it is not signed yet
  signer text,                       -- the verifier key of the log itself
  packed integer not null default 0, -- lines in packed rows, from the first on
  pruned integer not null default 0  -- lines that are gone, from the first on
) strict;

-- One row for each commit, or for each 256 lines once they are packed (zlib). A line's number is
-- its place less that of its log.
create table audit (
  n     integer primary key,         -- the place of the first line
  count integer not null,
  lines blob not null                -- without the newline of the last one
) strict;

-- Roots of full tiles: level 8 covers 256 lines, level 16 covers 256 times as many.
create table audit_hashes (
  log   integer not null,
  level integer not null,
  n     integer not null,
  hash  blob not null,
  primary key (log, level, n)
) strict, without rowid;

-- Lines about an event, beside its acceptance and its attempts.
create table audit_events (
  event text not null,               -- its id
  n     integer not null,            -- the place of the line
  primary key (event, n)
) strict, without rowid;

-- Signed states of a log: the newest, and those that are kept.
create table audit_checkpoints (
  seq    integer primary key,
  log    integer not null,
  size   integer not null,
  at     real not null,
  closes integer not null,           -- the last one of its epoch
  note   text not null
) strict;

-- Lines of pruned rows that a verifier still needs: the ends of epochs.
create table audit_kept (
  n     integer primary key,         -- the place of the line
  line  blob not null,
  proof blob not null                -- its audit path in the tree that ends with it, 32 bytes a hash
) strict;
