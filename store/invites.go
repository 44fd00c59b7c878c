package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Invite is a link with which people join a cohort.
type Invite struct {
	ID         int64     `json:"id"`
	Cohort     int64     `json:"cohort"`
	CohortName string    `json:"cohortName"`
	Role       Role      `json:"role"`
	Expires    time.Time `json:"expires"`
	MaxUses    int       `json:"maxUses"` // 0: any number
	Uses       int       `json:"uses"`
	CreatedBy  int64     `json:"createdBy,omitempty"` // 0: the operator
	Revoked    bool      `json:"revoked"`
}

// usable returns an error that wraps ErrExpired and says why, when nobody can
// join with the invite any more.
func (i Invite) usable(now time.Time) error {
	switch {
	case i.Revoked:
		return fmt.Errorf("it was revoked: %w", ErrExpired)
	case !now.Before(i.Expires):
		return fmt.Errorf("it expired on %s: %w", i.Expires.Format("2 January 2006"), ErrExpired)
	case i.MaxUses > 0 && i.Uses >= i.MaxUses:
		return fmt.Errorf("it was used %d times, as often as it may be: %w", i.Uses, ErrExpired)
	}
	return nil
}

const selectInvites = `
	SELECT i.id, i.cohort, c.name, i.role, i.expires, i.max_uses, i.uses, coalesce(i.created_by, 0), i.revoked
	FROM invites i JOIN cohorts c ON c.id = i.cohort`

func scanInvite(r row) (i Invite, err error) {
	var expires sql.NullInt64
	err = r.Scan(&i.ID, &i.Cohort, &i.CohortName, &i.Role, &expires, &i.MaxUses, &i.Uses, &i.CreatedBy, &i.Revoked)
	i.Expires = fromMillis(expires)
	return i, err
}

// AddInvite makes an invite to the cohort for learners, valid for ttl and for
// maxUses people (0: any number), on behalf of the user by (0: the operator).
// The token is in no later answer: show it now.
func (s *Store) AddInvite(ctx context.Context, cohort, by int64, ttl time.Duration, maxUses int) (token string, _ Invite, err error) {
	defer wrap(&err, "make an invite to cohort %d", cohort)
	if ttl <= 0 {
		return "", Invite{}, invalid("expires", "An invite must be valid for some time.")
	}
	if maxUses < 0 {
		return "", Invite{}, invalid("uses", "An invite cannot be used fewer than 0 times.")
	}
	token, hash := newToken()
	var invite Invite
	err = s.write(ctx, func(tx *sql.Tx) error {
		now := s.now()
		added, err := tx.ExecContext(ctx, `
			INSERT INTO invites (token_hash, cohort, role, created_by, created, expires, max_uses) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			hash, cohort, RoleLearner, optionalID(by), toMillis(now), toMillis(now.Add(ttl)), maxUses)
		if err != nil {
			return err
		}
		id, err := added.LastInsertId()
		if err != nil {
			return err
		}
		invite, err = scanInvite(tx.QueryRowContext(ctx, selectInvites+` WHERE i.id = ?`, id))
		return err
	})
	if err != nil {
		return "", Invite{}, err
	}
	return token, invite, nil
}

// Invites returns the cohort's invites, newest first.
func (s *Store) Invites(ctx context.Context, cohort int64) (_ []Invite, err error) {
	defer wrap(&err, "list invites to cohort %d", cohort)
	return collect(ctx, s.reader, scanInvite, selectInvites+` WHERE i.cohort = ? ORDER BY i.id DESC`, cohort)
}

// RevokeInvite makes the invite unusable. Who has joined with it stays.
func (s *Store) RevokeInvite(ctx context.Context, id int64) (err error) {
	defer wrap(&err, "revoke invite %d", id)
	return s.write(ctx, func(tx *sql.Tx) error {
		return mustChange(tx.ExecContext(ctx, `UPDATE invites SET revoked = 1 WHERE id = ?`, id))
	})
}

// Invite returns the invite of the token, if one can still join with it. The
// error wraps [ErrNotFound] or [ErrExpired] (also when it was revoked or used
// up).
func (s *Store) Invite(ctx context.Context, token string) (_ Invite, err error) {
	defer wrap(&err, "look up invite")
	return s.invite(ctx, s.reader, token)
}

func (s *Store) invite(ctx context.Context, q querier, token string) (Invite, error) {
	i, err := scanInvite(q.QueryRowContext(ctx, selectInvites+` WHERE i.token_hash = ?`, tokenHash(token)))
	if err != nil {
		return Invite{}, err
	}
	return i, i.usable(s.now())
}

// RedeemInvite makes an account in the invite's cohort and counts the use, in
// one transaction. The errors are those of [Store.Invite] and [Store.AddUser].
func (s *Store) RedeemInvite(ctx context.Context, token string, n NewUser) (_ User, err error) {
	defer wrap(&err, "join with an invite")
	if _, err := s.invite(ctx, s.reader, token); err != nil {
		return User{}, err // before the costly hash: anybody can ask
	}
	n.Role = ""
	hash, err := s.prepareUser(ctx, &n)
	if err != nil {
		return User{}, err
	}
	var u User
	err = s.write(ctx, func(tx *sql.Tx) error {
		i, err := s.invite(ctx, tx, token)
		if err != nil {
			return err
		}
		n.Role, n.Cohort = i.Role, i.Cohort
		if u, err = s.addUser(ctx, tx, n, hash); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE invites SET uses = uses + 1 WHERE id = ?`, i.ID)
		return err
	})
	return u, err
}

// JoinWithInvite puts a user who has an account into the invite's cohort and
// counts the use, unless they are in it. The errors are those of
// [Store.Invite].
func (s *Store) JoinWithInvite(ctx context.Context, token string, user int64) (_ Invite, err error) {
	defer wrap(&err, "join with an invite as user %d", user)
	var i Invite
	err = s.write(ctx, func(tx *sql.Tx) error {
		if i, err = s.invite(ctx, tx, token); err != nil {
			return err
		}
		err := mustChange(tx.ExecContext(ctx, `UPDATE users SET cohort = ?1 WHERE id = ?2 AND cohort IS NOT ?1`, i.Cohort, user))
		if errors.Is(err, ErrNotFound) {
			_, err := scanUser(tx.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE id = ?`, user))
			return err
		}
		if err != nil {
			return err
		}
		i.Uses++
		_, err = tx.ExecContext(ctx, `UPDATE invites SET uses = ? WHERE id = ?`, i.Uses, i.ID)
		return err
	})
	if err != nil {
		return Invite{}, err
	}
	return i, nil
}
