-- Trusted cohorts may start labs that make their learners root on a whole
-- node, hence on the host. Who changed it last, and when, stays with it, also
-- once trust was withdrawn; trusted_by is NULL for the command line.
ALTER TABLE cohorts ADD COLUMN trusted INTEGER NOT NULL DEFAULT 0 CHECK (trusted IN (0, 1));
ALTER TABLE cohorts ADD COLUMN trusted_by INTEGER REFERENCES users (id);
ALTER TABLE cohorts ADD COLUMN trusted_at INTEGER CHECK (trusted = 0 OR trusted_at IS NOT NULL);
