-- Labs given to a cohort, each once. begins is when the class starts it, NULL
-- for any time; due NULL is for ever; created_by NULL is the command line. The
-- lab is a slug: it may leave the catalogue while it is given.
CREATE TABLE assignments (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  cohort     INTEGER NOT NULL REFERENCES cohorts (id),
  lab        TEXT    NOT NULL CHECK (lab <> ''),
  begins     INTEGER,
  due        INTEGER CHECK (due > begins),
  created    INTEGER NOT NULL,
  created_by INTEGER REFERENCES users (id),
  UNIQUE (cohort, lab)
) STRICT;
CREATE INDEX assignments_begins ON assignments (begins) WHERE begins IS NOT NULL;
