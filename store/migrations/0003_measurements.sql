-- What was measured of sandboxes: how long starts took, how long sessions
-- lasted and what memory they needed. The next ones are told by it.
CREATE TABLE measurements (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  kind     TEXT    NOT NULL,
  how      TEXT    NOT NULL,
  template TEXT    NOT NULL, -- the name; empty without one
  took_ms  INTEGER NOT NULL CHECK (took_ms >= 0),
  memory   INTEGER NOT NULL CHECK (memory >= 0) -- bytes; 0: not measured
) STRICT;
CREATE INDEX measurements_at ON measurements (at);
