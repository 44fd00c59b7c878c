package store

import (
	"context"
	"database/sql"
	"time"

	"drydock/labs"
)

// AttemptFilter picks attempts; a zero field does not filter.
type AttemptFilter struct {
	User    int64
	Lab     string
	Cohort  int64 // of the user, now
	Running bool  // only those that have not ended
	Limit   int
}

// AttemptScore is the grade of an attempt that counts: what judging gave, or
// what an instructor gave instead.
type AttemptScore struct {
	Attempt     string
	Points, Max int
	Scored      bool // false: none was given yet
}

const attemptColumns = `a.id, a.user, a.lab, a.version, a.variant, a.created, a.ended`

func scanAttempt(r row) (a labs.Attempt, err error) {
	var created, ended sql.NullInt64
	err = r.Scan(&a.ID, &a.User, &a.Lab, &a.Version, &a.Variant, &created, &ended)
	a.Created, a.Ended = fromMillis(created), fromMillis(ended)
	return a, err
}

// CreateAttempt records a new attempt. The error wraps [ErrExists] when there
// is one with the id, and [ErrNotFound] when there is no such user.
func (s *Store) CreateAttempt(ctx context.Context, a labs.Attempt) (err error) {
	defer wrap(&err, "record attempt %s", a.ID)
	switch {
	case a.ID == "":
		return invalid("attempt", "An attempt needs an id.")
	case a.Created.IsZero():
		a.Created = s.now()
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO attempts (id, user, lab, version, variant, created, ended) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			a.ID, a.User, a.Lab, a.Version, a.Variant, toMillis(a.Created), toMillis(a.Ended))
		return err
	})
}

// EndAttempt records when the attempt ended. Ending it again changes nothing.
func (s *Store) EndAttempt(ctx context.Context, id string, at time.Time) (err error) {
	defer wrap(&err, "end attempt %s", id)
	return s.write(ctx, func(tx *sql.Tx) error {
		return mustChange(tx.ExecContext(ctx, `UPDATE attempts SET ended = coalesce(ended, ?) WHERE id = ?`, toMillis(at), id))
	})
}

// Attempt returns one attempt, or [ErrNotFound].
func (s *Store) Attempt(ctx context.Context, id string) (_ labs.Attempt, err error) {
	defer wrap(&err, "look up attempt %s", id)
	return scanAttempt(s.reader.QueryRowContext(ctx, `SELECT `+attemptColumns+` FROM attempts a WHERE a.id = ?`, id))
}

// Attempts returns the attempts that the filter picks, newest first.
func (s *Store) Attempts(ctx context.Context, f AttemptFilter) (_ []labs.Attempt, err error) {
	defer wrap(&err, "list attempts")
	query := `SELECT ` + attemptColumns + ` FROM attempts a WHERE true`
	var args []any
	with := func(condition string, arg any) {
		query += ` AND ` + condition
		args = append(args, arg)
	}
	if f.User != 0 {
		with(`a.user = ?`, f.User)
	}
	if f.Lab != "" {
		with(`a.lab = ?`, f.Lab)
	}
	if f.Cohort != 0 {
		with(`a.user IN (SELECT id FROM users WHERE cohort = ?)`, f.Cohort)
	}
	if f.Running {
		query += ` AND a.ended IS NULL`
	}
	query += ` ORDER BY a.created DESC, a.id DESC`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	return collect(ctx, s.reader, scanAttempt, query, args...)
}

// TaughtAttempts returns the attempts that ended after since, of learners who
// are in a cohort now, newest first.
func (s *Store) TaughtAttempts(ctx context.Context, since time.Time) (_ []labs.Attempt, err error) {
	defer wrap(&err, "list attempts that ended")
	return collect(ctx, s.reader, scanAttempt, `SELECT `+attemptColumns+` FROM attempts a
		WHERE a.ended > ? AND a.user IN (SELECT id FROM users WHERE role = 'learner' AND cohort IS NOT NULL)
		ORDER BY a.created DESC, a.id DESC`, since.UnixMilli())
}

// SetScore keeps the score that the session's end gave, so that lists need not
// fold events. What changes it later is traced; see [Store.Regrade].
func (s *Store) SetScore(ctx context.Context, attempt string, points, max int) (err error) {
	defer wrap(&err, "score attempt %s", attempt)
	return s.write(ctx, func(tx *sql.Tx) error {
		return mustChange(tx.ExecContext(ctx, `
			UPDATE attempts SET points = ?1, max_points = ?2, judged_points = ?1, judged_max = ?2
			WHERE id = ?3 AND NOT EXISTS (SELECT 1 FROM grade_changes WHERE attempt = ?3)`, points, max, attempt))
	})
}

// Score returns the attempt's score, or [ErrNotFound] if there is no such
// attempt.
func (s *Store) Score(ctx context.Context, attempt string) (_ AttemptScore, err error) {
	defer wrap(&err, "look up score of attempt %s", attempt)
	return scanScore(s.reader.QueryRowContext(ctx, `SELECT id, points, max_points FROM attempts WHERE id = ?`, attempt))
}

func scanScore(r row) (score AttemptScore, err error) {
	var points, max sql.NullInt64
	err = r.Scan(&score.Attempt, &points, &max)
	score.Points, score.Max, score.Scored = int(points.Int64), int(max.Int64), points.Valid
	return score, err
}
