package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Assignment is a lab that was given to a cohort.
type Assignment struct {
	ID         int64     `json:"id"`
	Cohort     int64     `json:"cohort"`
	CohortName string    `json:"cohortName"`
	Trusted    bool      `json:"trusted,omitempty"` // the cohort is, with whole nodes; see [Cohort]
	Lab        string    `json:"lab"`               // its slug; it may have left the catalogue since
	Begins     time.Time `json:"begins,omitzero"`   // when the class starts it; zero: at any time
	Due        time.Time `json:"due,omitzero"`      // zero: no date
	Created    time.Time `json:"created"`
	CreatedBy  int64     `json:"createdBy,omitempty"` // 0: the operator
}

// AssignmentStanding is an assignment with how the class stands in it.
type AssignmentStanding struct {
	Assignment
	Learners int // of the cohort, now
	Begun    int // how many of them have an attempt of the lab, from whenever
}

const (
	assignmentColumns = `a.id, a.cohort, c.name, c.trusted, a.lab, a.begins, a.due, a.created, coalesce(a.created_by, 0)`
	standingColumns   = assignmentColumns + `,
	(SELECT count(*) FROM users u WHERE u.cohort = c.id AND u.role = 'learner'),
	(SELECT count(*) FROM users u WHERE u.cohort = c.id AND u.role = 'learner'
	   AND EXISTS (SELECT 1 FROM attempts t WHERE t.user = u.id AND t.lab = a.lab))`
	// assignmentOrder: what comes next stands first, what has no time last.
	assignmentOrder = ` ORDER BY coalesce(a.due, a.begins) IS NULL, coalesce(a.due, a.begins), a.id`
)

func scanAssignment(r row) (a Assignment, err error) {
	err = a.scan(r)
	return a, err
}

func scanStanding(r row) (a AssignmentStanding, err error) {
	err = a.scan(r, &a.Learners, &a.Begun)
	return a, err
}

// scan reads assignmentColumns, and what follows them into more.
func (a *Assignment) scan(r row, more ...any) error {
	var begins, due, created sql.NullInt64
	err := r.Scan(append([]any{&a.ID, &a.Cohort, &a.CohortName, &a.Trusted, &a.Lab, &begins, &due, &created, &a.CreatedBy}, more...)...)
	a.Begins, a.Due, a.Created = fromMillis(begins), fromMillis(due), fromMillis(created)
	return err
}

// AddAssignment gives a lab to a cohort on behalf of the user by (0: the
// operator). begins and due may be zero. Whether there is such a lab, and
// whether the cohort may have it, is the caller's to ask. The error wraps
// [ErrExists] when the cohort has it already, [ErrNotFound] when there is no
// such cohort or user, and is an [*InvalidError] about lab or due when those
// must be chosen differently.
func (s *Store) AddAssignment(ctx context.Context, cohort int64, lab string, begins, due time.Time, by int64) (_ Assignment, err error) {
	defer wrap(&err, "give lab %q to cohort %d", lab, cohort)
	switch {
	case lab == "":
		return Assignment{}, invalid("lab", "Choose a lab.")
	case !begins.IsZero() && !due.IsZero() && due.UnixMilli() <= begins.UnixMilli():
		return Assignment{}, invalid("due", "It is due before the class begins it: choose a later time.")
	}
	var a Assignment
	err = s.write(ctx, func(tx *sql.Tx) error {
		added, err := tx.ExecContext(ctx, `INSERT INTO assignments (cohort, lab, begins, due, created, created_by) VALUES (?, ?, ?, ?, ?, ?)`,
			cohort, lab, toMillis(begins), toMillis(due), toMillis(s.now()), optionalID(by))
		if err != nil {
			return err
		}
		id, err := added.LastInsertId()
		if err != nil {
			return err
		}
		a, err = scanAssignment(tx.QueryRowContext(ctx, `
			SELECT `+assignmentColumns+` FROM assignments a JOIN cohorts c ON c.id = a.cohort WHERE a.id = ?`, id))
		return err
	})
	if errors.Is(kind(err), ErrExists) {
		err = errors.Join(invalid("lab", "This cohort has the lab already: to change its times, remove it and give it again."), ErrExists)
	}
	if err != nil {
		return Assignment{}, err
	}
	return a, nil
}

// RemoveAssignment takes a lab away from a cohort again. Attempts stay.
func (s *Store) RemoveAssignment(ctx context.Context, id int64) (err error) {
	defer wrap(&err, "remove assignment %d", id)
	return s.write(ctx, func(tx *sql.Tx) error {
		return mustChange(tx.ExecContext(ctx, `DELETE FROM assignments WHERE id = ?`, id))
	})
}

// Assignments returns what the cohort was given: by when it is due, or else
// begins, and last what is for any time.
func (s *Store) Assignments(ctx context.Context, cohort int64) (_ []AssignmentStanding, err error) {
	defer wrap(&err, "list assignments of cohort %d", cohort)
	return collect(ctx, s.reader, scanStanding, `
		SELECT `+standingColumns+` FROM assignments a JOIN cohorts c ON c.id = a.cohort
		WHERE a.cohort = ?`+assignmentOrder, cohort)
}

// UserAssignments returns what the user's cohort was given, in the order of
// [Store.Assignments]; nothing for who is in none.
func (s *Store) UserAssignments(ctx context.Context, user int64) (_ []Assignment, err error) {
	defer wrap(&err, "list assignments of user %d", user)
	return collect(ctx, s.reader, scanAssignment, `
		SELECT `+assignmentColumns+` FROM assignments a JOIN cohorts c ON c.id = a.cohort
		WHERE a.cohort = (SELECT cohort FROM users WHERE id = ?)`+assignmentOrder, user)
}

// UpcomingAssignments returns those of all cohorts that begin after since, the
// next first. Those that begin at any time are not among them.
func (s *Store) UpcomingAssignments(ctx context.Context, since time.Time) (_ []AssignmentStanding, err error) {
	defer wrap(&err, "list upcoming assignments")
	return collect(ctx, s.reader, scanStanding, `
		SELECT `+standingColumns+` FROM assignments a JOIN cohorts c ON c.id = a.cohort
		WHERE a.begins > ? ORDER BY a.begins, a.id`, since.UnixMilli())
}
