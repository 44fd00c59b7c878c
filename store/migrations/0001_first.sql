-- Times are Unix milliseconds, UTC. Tokens are never stored, only their SHA-256.

CREATE TABLE cohorts (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE,
  created    INTEGER NOT NULL,
  created_by INTEGER REFERENCES users (id)
) STRICT;

CREATE TABLE users (
  id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: attempts and logs name it
  name     TEXT    NOT NULL,
  login    TEXT    NOT NULL UNIQUE CHECK (login = lower(login)),
  password TEXT    NOT NULL, -- argon2id, in PHC string format
  role     TEXT    NOT NULL CHECK (role IN ('learner', 'instructor')),
  cohort   INTEGER REFERENCES cohorts (id),
  created  INTEGER NOT NULL
) STRICT;
CREATE INDEX users_cohort ON users (cohort) WHERE cohort IS NOT NULL;

CREATE TABLE sign_ins (
  token_hash BLOB    PRIMARY KEY,
  user       INTEGER NOT NULL REFERENCES users (id),
  created    INTEGER NOT NULL,
  expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_ins_user ON sign_ins (user);
CREATE INDEX sign_ins_expires ON sign_ins (expires);

-- At most one row: the link that makes the first instructor.
CREATE TABLE setup (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  token_hash BLOB    NOT NULL,
  created    INTEGER NOT NULL
) STRICT;

CREATE TABLE invites (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  token_hash BLOB    NOT NULL UNIQUE,
  cohort     INTEGER NOT NULL REFERENCES cohorts (id),
  role       TEXT    NOT NULL CHECK (role IN ('learner', 'instructor')),
  created_by INTEGER REFERENCES users (id), -- NULL: the operator, on the command line
  created    INTEGER NOT NULL,
  expires    INTEGER NOT NULL,
  max_uses   INTEGER NOT NULL CHECK (max_uses >= 0), -- 0: any number
  uses       INTEGER NOT NULL DEFAULT 0 CHECK (max_uses = 0 OR uses <= max_uses),
  revoked    INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1))
) STRICT;
CREATE INDEX invites_cohort ON invites (cohort);

CREATE TABLE readings (
  user     INTEGER NOT NULL REFERENCES users (id),
  article  TEXT    NOT NULL,
  fraction REAL    NOT NULL CHECK (fraction BETWEEN 0 AND 1), -- the furthest
  at       INTEGER NOT NULL,
  PRIMARY KEY (user, article)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
  id             TEXT    PRIMARY KEY,
  user           INTEGER NOT NULL REFERENCES users (id),
  lab            TEXT    NOT NULL,
  version        TEXT    NOT NULL,
  variant        TEXT    NOT NULL,
  created        INTEGER NOT NULL,
  ended          INTEGER, -- NULL while the session runs
  points         INTEGER, -- NULL until scored; can be derived from the events
  max_points     INTEGER,
  evidence_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX attempts_user ON attempts (user, created);
CREATE INDEX attempts_lab ON attempts (lab, created);
CREATE INDEX attempts_created ON attempts (created);
CREATE INDEX attempts_running ON attempts (created) WHERE ended IS NULL;

CREATE TABLE events (
  attempt  TEXT    NOT NULL REFERENCES attempts (id),
  seq      INTEGER NOT NULL CHECK (seq > 0),
  at       INTEGER NOT NULL,
  type     TEXT    NOT NULL,
  task     TEXT    NOT NULL,
  check_id TEXT    NOT NULL,
  data     TEXT    CHECK (data IS NULL OR json_valid(data)),
  PRIMARY KEY (attempt, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;

-- A run of equal observations of a check is one row: its first and last time.
CREATE TABLE evidence (
  id       INTEGER PRIMARY KEY,
  attempt  TEXT    NOT NULL REFERENCES attempts (id),
  check_id TEXT    NOT NULL,
  first_at INTEGER NOT NULL,
  last_at  INTEGER NOT NULL,
  digest   BLOB    NOT NULL, -- SHA-256 of data and error
  error    TEXT    NOT NULL,
  data     BLOB              -- JSON, zstd
) STRICT;
CREATE INDEX evidence_check ON evidence (attempt, check_id, id);
