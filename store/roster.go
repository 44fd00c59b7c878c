package store

import (
	"context"
	"database/sql"
	"time"

	"drydock/labs"
)

// Row is a learner with one of their attempts, for an instructor's table.
type Row struct {
	User      User
	Attempt   labs.Attempt // ID is empty when the learner has none to show
	Score     AttemptScore
	LastEvent time.Time // of the attempt; zero without one
}

// Roster returns every learner of the cohort (0: of all, and those in none)
// with their attempts that are running or have ended at or after since, in
// one query: by name, then newest first. A learner without such an attempt
// has one row without it.
func (s *Store) Roster(ctx context.Context, cohort int64, since time.Time) (_ []Row, err error) {
	defer wrap(&err, "list learners of cohort %d", cohort)
	return collect(ctx, s.reader, scanRow, `
		SELECT u.id, u.name, u.login, u.role, coalesce(u.cohort, 0), u.created,
		       coalesce(a.id, ''), coalesce(a.lab, ''), coalesce(a.version, ''), coalesce(a.variant, ''), a.created, a.ended,
		       a.points, a.max_points,
		       (SELECT e.at FROM events e WHERE e.attempt = a.id ORDER BY e.seq DESC LIMIT 1)
		FROM users u
		LEFT JOIN attempts a ON a.user = u.id AND (a.ended IS NULL OR a.ended >= ?2)
		WHERE u.role = 'learner' AND (?1 = 0 OR u.cohort = ?1)
		ORDER BY u.name COLLATE NOCASE, u.id, a.created DESC, a.id DESC`,
		cohort, since.UnixMilli())
}

func scanRow(r row) (line Row, err error) {
	u, a, score := &line.User, &line.Attempt, &line.Score
	var joined, created, ended, points, max, last sql.NullInt64
	err = r.Scan(&u.ID, &u.Name, &u.Login, &u.Role, &u.Cohort, &joined,
		&a.ID, &a.Lab, &a.Version, &a.Variant, &created, &ended, &points, &max, &last)
	u.Created = fromMillis(joined)
	a.Created, a.Ended, line.LastEvent = fromMillis(created), fromMillis(ended), fromMillis(last)
	if a.ID != "" {
		a.User = u.ID
		*score = AttemptScore{Attempt: a.ID, Points: int(points.Int64), Max: int(max.Int64), Scored: points.Valid}
	}
	return line, err
}
