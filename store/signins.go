package store

import (
	"context"
	"database/sql"
	"time"
)

// SignIn signs the user in for ttl and returns the token for the browser's
// cookie. Sign-ins that have expired are dropped on the way.
func (s *Store) SignIn(ctx context.Context, user int64, ttl time.Duration) (token string, err error) {
	defer wrap(&err, "sign in user %d", user)
	token, hash := newToken()
	now := s.now()
	err = s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sign_ins WHERE expires <= ?`, toMillis(now)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sign_ins (token_hash, user, created, expires) VALUES (?, ?, ?, ?)`,
			hash, user, toMillis(now), toMillis(now.Add(ttl)))
		return err
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// SignedIn returns the user that the token was made for. The error wraps
// [ErrNotFound] for an unknown token and [ErrExpired] for an old one.
func (s *Store) SignedIn(ctx context.Context, token string) (_ User, err error) {
	defer wrap(&err, "look up sign-in")
	var u User
	var created, expires sql.NullInt64
	err = s.reader.QueryRowContext(ctx, `
		SELECT u.id, u.name, u.login, u.role, u.operator, coalesce(u.cohort, 0), u.created, i.expires
		FROM sign_ins i JOIN users u ON u.id = i.user WHERE i.token_hash = ?`, tokenHash(token)).
		Scan(&u.ID, &u.Name, &u.Login, &u.Role, &u.Operator, &u.Cohort, &created, &expires)
	if err != nil {
		return User{}, err
	}
	if !s.now().Before(fromMillis(expires)) {
		return User{}, ErrExpired
	}
	u.Created = fromMillis(created)
	return u, nil
}

// SignOut ends the sign-in. An unknown token is no error: it is signed out.
func (s *Store) SignOut(ctx context.Context, token string) (err error) {
	defer wrap(&err, "sign out")
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sign_ins WHERE token_hash = ?`, tokenHash(token))
		return err
	})
}
