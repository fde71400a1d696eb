PRAGMA journal_mode = wal;
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  activation_id INTEGER NOT NULL,
  received_at TEXT NOT NULL,
  code TEXT,
  service TEXT,
  text TEXT,
  country INTEGER,
  UNIQUE (activation_id, received_at, code)
);
