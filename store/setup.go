package store

import (
	"context"
	"database/sql"
	"fmt"
)

// SetupToken returns a new one-time token for the link that makes the first
// instructor; older ones stop working. Once there is an instructor the error
// wraps [ErrExists].
func (s *Store) SetupToken(ctx context.Context) (_ string, err error) {
	defer wrap(&err, "make the first instructor's link")
	token, hash := newToken()
	err = s.write(ctx, func(tx *sql.Tx) error {
		if err := noInstructorYet(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `REPLACE INTO setup (one, token_hash, created) VALUES (1, ?, ?)`, hash, toMillis(s.now()))
		return err
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// CheckSetup says whether [Store.RedeemSetup] would take the token, so that
// its page is shown to nobody else. The error wraps [ErrNotFound] if not, and
// [ErrExists] once there is an instructor.
func (s *Store) CheckSetup(ctx context.Context, token string) (err error) {
	defer wrap(&err, "check the first instructor's link")
	return checkSetup(ctx, s.reader, token)
}

// RedeemSetup makes the first instructor, who is an operator, too. The errors are those of
// [Store.CheckSetup] and [Store.AddUser].
func (s *Store) RedeemSetup(ctx context.Context, token string, n NewUser) (_ User, err error) {
	defer wrap(&err, "make the first instructor")
	if err := checkSetup(ctx, s.reader, token); err != nil {
		return User{}, err // before the costly hash: anybody can ask
	}
	n.Role = RoleOperator // the link was printed to whoever runs the machine
	hash, err := s.prepareUser(ctx, &n)
	if err != nil {
		return User{}, err
	}
	var u User
	err = s.write(ctx, func(tx *sql.Tx) error {
		if err := checkSetup(ctx, tx, token); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM setup`); err != nil {
			return err
		}
		u, err = s.addUser(ctx, tx, n, hash)
		return err
	})
	return u, err
}

func checkSetup(ctx context.Context, q querier, token string) error {
	if err := noInstructorYet(ctx, q); err != nil {
		return err
	}
	var one int
	return q.QueryRowContext(ctx, `SELECT one FROM setup WHERE token_hash = ?`, tokenHash(token)).Scan(&one)
}

func noInstructorYet(ctx context.Context, q querier) error {
	n, err := countInstructors(ctx, q)
	if err == nil && n > 0 {
		return fmt.Errorf("an instructor %w", ErrExists)
	}
	return err
}
