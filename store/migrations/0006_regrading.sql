-- The versions of labs that attempts were made with: a lab may change or go
-- while its attempts stay.
CREATE TABLE lab_versions (
  lab     TEXT    NOT NULL,
  version TEXT    NOT NULL,
  packed  BLOB    NOT NULL,
  kept    INTEGER NOT NULL,
  PRIMARY KEY (lab, version)
) STRICT;

-- run is when the run of the grader that saw it began, for a hold does not
-- reach from one into the next; 0 is not known. format is that of data; 0 is
-- what was written before formats were counted, and the same as 1.
ALTER TABLE evidence ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
ALTER TABLE evidence ADD COLUMN format INTEGER NOT NULL DEFAULT 0;
-- How many pieces of evidence were not kept: too many, or no more room.
ALTER TABLE attempts ADD COLUMN evidence_left_out INTEGER NOT NULL DEFAULT 0;

-- points and max_points are the grade that counts. judged_points and
-- judged_max are what judging gave, live or in a regrade: the same, unless an
-- instructor has overridden it.
ALTER TABLE attempts ADD COLUMN judged_points INTEGER;
ALTER TABLE attempts ADD COLUMN judged_max INTEGER;
ALTER TABLE attempts ADD COLUMN overridden INTEGER NOT NULL DEFAULT 0 CHECK (overridden IN (0, 1));
UPDATE attempts SET judged_points = points, judged_max = max_points;

CREATE TABLE grade_changes (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  attempt       TEXT    NOT NULL REFERENCES attempts (id),
  at            INTEGER NOT NULL,
  kind          TEXT    NOT NULL CHECK (kind IN ('regraded', 'overridden', 'withdrawn')),
  by            INTEGER REFERENCES users (id), -- NULL: the command line
  why           TEXT    NOT NULL CHECK (why <> ''),
  version       TEXT    NOT NULL, -- of the lab that it was judged with; empty for what nobody judged
  old_points    INTEGER NOT NULL, -- the grade that counted before, and the one since
  old_max       INTEGER NOT NULL,
  new_points    INTEGER NOT NULL,
  new_max       INTEGER NOT NULL,
  judged_points INTEGER NOT NULL, -- what judging gives since
  judged_max    INTEGER NOT NULL,
  details       TEXT    CHECK (details IS NULL OR json_valid(details))
) STRICT;
CREATE INDEX grade_changes_attempt ON grade_changes (attempt, id);
CREATE TRIGGER grade_changes_no_update BEFORE UPDATE ON grade_changes
BEGIN SELECT RAISE (ABORT, 'changes of grades are append-only'); END;
CREATE TRIGGER grade_changes_no_delete BEFORE DELETE ON grade_changes
BEGIN SELECT RAISE (ABORT, 'changes of grades are append-only'); END;
