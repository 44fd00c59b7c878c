package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// GradeKind is how a grade was changed.
type GradeKind string

const (
	GradeRegraded   GradeKind = "regraded"   // judged again, by a corrected lab
	GradeOverridden GradeKind = "overridden" // an instructor gave another one
	GradeWithdrawn  GradeKind = "withdrawn"  // an instructor's grade was taken back: what judging gave counts again
)

const (
	// maxWhy bounds the reason for a change, in characters: it is read on a page.
	maxWhy = 1000
	// maxGradeDetails bounds what is kept of how a regrade came about, in bytes.
	maxGradeDetails = 256 << 10
)

// GradeChange is one change of an attempt's grade. It can't be changed itself.
type GradeChange struct {
	ID           int64           `json:"id"`
	Attempt      string          `json:"attempt"`
	At           time.Time       `json:"at"`
	Kind         GradeKind       `json:"kind"`
	By           int64           `json:"by,omitempty"` // 0: somebody on the command line
	ByName       string          `json:"byName,omitempty"`
	Why          string          `json:"why"`
	Version      string          `json:"version,omitempty"` // of the lab that it was judged by
	OldPoints    int             `json:"oldPoints"`         // the grade that counted before
	OldMax       int             `json:"oldMax"`
	NewPoints    int             `json:"newPoints"` // and since
	NewMax       int             `json:"newMax"`
	JudgedPoints int             `json:"judgedPoints"` // what judging gives since; it does not count while the grade is overridden
	JudgedMax    int             `json:"judgedMax"`
	Details      json.RawMessage `json:"details,omitempty"` // what changed it; see labs.Regraded
}

// Grade is how an attempt's grade stands.
type Grade struct {
	AttemptScore     // what counts
	Judged       int // the points that judging gave
	JudgedMax    int
	Overridden   bool
	Changes      []GradeChange // oldest first
}

// Regrade keeps what judging the attempt again gave. While the grade is
// overridden, that is what goes on to count. The error wraps [ErrNotFound] when
// there is no such attempt or user, and is an [*InvalidError] about why when
// there is none.
func (s *Store) Regrade(ctx context.Context, c GradeChange) (_ GradeChange, err error) {
	defer wrap(&err, "regrade attempt %s", c.Attempt)
	c.Kind = GradeRegraded
	return s.changeGrade(ctx, c, func(now AttemptScore, overridden bool, _, _ int) (AttemptScore, bool, error) {
		if overridden {
			return now, true, nil
		}
		return AttemptScore{Points: c.JudgedPoints, Max: c.JudgedMax}, false, nil
	})
}

// OverrideGrade has points count for the attempt instead of what judging gave,
// until that is withdrawn. The error is an [*InvalidError] about points or why
// when those must be written differently.
func (s *Store) OverrideGrade(ctx context.Context, attempt string, points int, by int64, why string) (_ GradeChange, err error) {
	defer wrap(&err, "override the grade of attempt %s", attempt)
	c := GradeChange{Attempt: attempt, Kind: GradeOverridden, By: by, Why: why}
	return s.changeGrade(ctx, c, func(now AttemptScore, overridden bool, judged, judgedMax int) (AttemptScore, bool, error) {
		if points < 0 || points > judgedMax {
			return now, overridden, invalid("points", "Write a number from 0 to %d.", judgedMax)
		}
		return AttemptScore{Points: points, Max: judgedMax}, true, nil
	})
}

// WithdrawOverride has what judging gave count again. The error wraps
// [ErrNotFound] when the grade is not overridden.
func (s *Store) WithdrawOverride(ctx context.Context, attempt string, by int64, why string) (_ GradeChange, err error) {
	defer wrap(&err, "withdraw the grade of attempt %s", attempt)
	c := GradeChange{Attempt: attempt, Kind: GradeWithdrawn, By: by, Why: why}
	return s.changeGrade(ctx, c, func(now AttemptScore, overridden bool, judged, judgedMax int) (AttemptScore, bool, error) {
		if !overridden {
			return now, false, ErrNotFound
		}
		return AttemptScore{Points: judged, Max: judgedMax}, false, nil
	})
}

// changeGrade changes a grade as next says, and traces it, all or nothing.
func (s *Store) changeGrade(ctx context.Context, c GradeChange, next func(now AttemptScore, overridden bool, judged, judgedMax int) (AttemptScore, bool, error)) (GradeChange, error) {
	c.Why = strings.TrimSpace(c.Why)
	switch {
	case c.Why == "":
		return c, invalid("why", "Say why: the learner reads it, too.")
	case utf8.RuneCountInString(c.Why) > maxWhy:
		return c, invalid("why", "Say it in at most %d characters.", maxWhy)
	case len(c.Details) > maxGradeDetails:
		return c, fmt.Errorf("%d bytes of details, %d allowed: %w", len(c.Details), maxGradeDetails, ErrTooLarge)
	}
	c.At = s.now().UTC().Truncate(time.Millisecond)
	err := s.write(ctx, func(tx *sql.Tx) error {
		now, judged, judgedMax, overridden, err := gradeOf(ctx, tx, c.Attempt)
		if err != nil {
			return err
		}
		then, nowOverridden, err := next(now, overridden, judged, judgedMax)
		if err != nil {
			return err
		}
		if c.Kind != GradeRegraded {
			c.JudgedPoints, c.JudgedMax = judged, judgedMax
		}
		c.OldPoints, c.OldMax, c.NewPoints, c.NewMax = now.Points, now.Max, then.Points, then.Max
		_, err = tx.ExecContext(ctx, `UPDATE attempts SET points = ?, max_points = ?, judged_points = ?, judged_max = ?, overridden = ? WHERE id = ?`,
			c.NewPoints, c.NewMax, c.JudgedPoints, c.JudgedMax, nowOverridden, c.Attempt)
		if err != nil {
			return err
		}
		c.ID, err = traceGrade(ctx, tx, c)
		return err
	})
	return c, err
}

// gradeOf reads the grade of an attempt that has ended and was scored.
func gradeOf(ctx context.Context, tx *sql.Tx, attempt string) (now AttemptScore, judged, judgedMax int, overridden bool, err error) {
	err = tx.QueryRowContext(ctx, `
		SELECT points, max_points, judged_points, judged_max, overridden FROM attempts
		WHERE id = ? AND ended IS NOT NULL AND points IS NOT NULL`, attempt).
		Scan(&now.Points, &now.Max, &judged, &judgedMax, &overridden)
	return now, judged, judgedMax, overridden, err
}

func traceGrade(ctx context.Context, tx *sql.Tx, c GradeChange) (int64, error) {
	added, err := tx.ExecContext(ctx, `
		INSERT INTO grade_changes (attempt, at, kind, by, why, version, old_points, old_max, new_points, new_max, judged_points, judged_max, details)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.Attempt, toMillis(c.At), c.Kind, optionalID(c.By), c.Why, c.Version, c.OldPoints, c.OldMax, c.NewPoints, c.NewMax,
		c.JudgedPoints, c.JudgedMax, sql.NullString{String: string(c.Details), Valid: len(c.Details) > 0})
	if err != nil {
		return 0, err
	}
	return added.LastInsertId()
}

// Grade returns how the attempt's grade stands, and how it came to that; or
// [ErrNotFound] if there is no such attempt.
func (s *Store) Grade(ctx context.Context, attempt string) (_ Grade, err error) {
	defer wrap(&err, "look up the grade of attempt %s", attempt)
	g, err := scanGrade(s.reader.QueryRowContext(ctx, `
		SELECT id, points, max_points, judged_points, judged_max, overridden FROM attempts WHERE id = ?`, attempt))
	if err != nil {
		return g, err
	}
	g.Changes, err = collect(ctx, s.reader, scanGradeChange, `
		SELECT g.id, g.attempt, g.at, g.kind, coalesce(g.by, 0), coalesce(u.name, ''), g.why, g.version,
		       g.old_points, g.old_max, g.new_points, g.new_max, g.judged_points, g.judged_max, g.details
		FROM grade_changes g LEFT JOIN users u ON u.id = g.by WHERE g.attempt = ? ORDER BY g.id`, attempt)
	return g, err
}

func scanGrade(r row) (g Grade, err error) {
	var points, most, judged, judgedMax sql.NullInt64
	err = r.Scan(&g.Attempt, &points, &most, &judged, &judgedMax, &g.Overridden)
	g.Points, g.Max, g.Scored = int(points.Int64), int(most.Int64), points.Valid
	g.Judged, g.JudgedMax = int(judged.Int64), int(judgedMax.Int64)
	return g, err
}

func scanGradeChange(r row) (c GradeChange, err error) {
	var at sql.NullInt64
	var details sql.NullString
	err = r.Scan(&c.ID, &c.Attempt, &at, &c.Kind, &c.By, &c.ByName, &c.Why, &c.Version,
		&c.OldPoints, &c.OldMax, &c.NewPoints, &c.NewMax, &c.JudgedPoints, &c.JudgedMax, &details)
	c.At = fromMillis(at)
	if details.Valid {
		c.Details = json.RawMessage(details.String)
	}
	return c, err
}
