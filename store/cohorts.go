package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Cohort is a class of learners.
type Cohort struct {
	ID       int64     `json:"id"`
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	Learners int       `json:"learners"` // how many there are now
	// Trusted: its learners may start labs that make them root on a node,
	// hence on the host.
	Trusted   bool      `json:"trusted,omitempty"`
	TrustedBy int64     `json:"trustedBy,omitempty"` // who changed that last; 0: nobody, or the operator on the command line
	TrustedAt time.Time `json:"trustedAt,omitzero"`  // when; zero: never
}

const cohortColumns = `c.id, c.name, c.created,
	(SELECT count(*) FROM users u WHERE u.cohort = c.id AND u.role = 'learner'),
	c.trusted, coalesce(c.trusted_by, 0), c.trusted_at`

func scanCohort(r row) (c Cohort, err error) {
	var created, trustedAt sql.NullInt64
	err = r.Scan(&c.ID, &c.Name, &created, &c.Learners, &c.Trusted, &c.TrustedBy, &trustedAt)
	c.Created, c.TrustedAt = fromMillis(created), fromMillis(trustedAt)
	return c, err
}

// AddCohort makes a cohort on behalf of the user by (0: the operator). The
// error wraps [ErrExists] when there is one of that name.
func (s *Store) AddCohort(ctx context.Context, name string, by int64) (_ Cohort, err error) {
	defer wrap(&err, "add cohort %q", name)
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return Cohort{}, invalid("name", "Type a name for the cohort, for example “Autumn 2026”.")
	case utf8.RuneCountInString(name) > maxName:
		return Cohort{}, invalid("name", "This name is too long: use at most %d characters.", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return Cohort{}, invalid("name", "A name has letters, digits, spaces and punctuation on one line.")
	}
	c := Cohort{Name: name, Created: s.now().UTC().Truncate(time.Millisecond)}
	err = s.write(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `INSERT INTO cohorts (name, created, created_by) VALUES (?, ?, ?) RETURNING id`,
			c.Name, toMillis(c.Created), optionalID(by)).Scan(&c.ID)
	})
	if errors.Is(kind(err), ErrExists) {
		err = errors.Join(invalid("name", "There is a cohort %q already: choose another name.", name), ErrExists)
	}
	if err != nil {
		return Cohort{}, err
	}
	return c, nil
}

// Cohort returns one cohort, or [ErrNotFound].
func (s *Store) Cohort(ctx context.Context, id int64) (_ Cohort, err error) {
	defer wrap(&err, "look up cohort %d", id)
	return scanCohort(s.reader.QueryRowContext(ctx, `SELECT `+cohortColumns+` FROM cohorts c WHERE c.id = ?`, id))
}

// Cohorts returns all cohorts, newest first.
func (s *Store) Cohorts(ctx context.Context) (_ []Cohort, err error) {
	defer wrap(&err, "list cohorts")
	return collect(ctx, s.reader, scanCohort, `SELECT `+cohortColumns+` FROM cohorts c ORDER BY c.created DESC, c.id DESC`)
}

// SetTrusted trusts the cohort with whole nodes, or withdraws that, on behalf
// of the user by (0: the operator), and returns the cohort as it is then. It
// holds at once. Nothing changes, the trace neither, when it is so already.
// Whether by may is the caller's to ask. The error wraps [ErrNotFound] when
// there is no such cohort or user.
func (s *Store) SetTrusted(ctx context.Context, id int64, trusted bool, by int64) (c Cohort, err error) {
	defer wrap(&err, "set trust in cohort %d", id)
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE cohorts SET trusted = ?1, trusted_by = ?2, trusted_at = ?3 WHERE id = ?4 AND trusted <> ?1`,
			trusted, optionalID(by), toMillis(s.now()), id)
		if err != nil {
			return err
		}
		c, err = scanCohort(tx.QueryRowContext(ctx, `SELECT `+cohortColumns+` FROM cohorts c WHERE c.id = ?`, id))
		return err
	})
	return c, err
}

// Trusted reports whether the user may start labs that make them root on a
// node: every instructor may, and the learners of trusted cohorts.
func (s *Store) Trusted(ctx context.Context, user int64) (trusted bool, err error) {
	defer wrap(&err, "look up trust in user %d", user)
	err = s.reader.QueryRowContext(ctx, `
		SELECT u.role = 'instructor' OR coalesce(c.trusted, 0)
		FROM users u LEFT JOIN cohorts c ON c.id = u.cohort WHERE u.id = ?`, user).Scan(&trusted)
	return trusted, err
}
