package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Role is what a user may do.
type Role string

// The roles. An instructor may do everything that a learner may.
const (
	RoleLearner    Role = "learner"
	RoleInstructor Role = "instructor"
	// RoleOperator makes an instructor who may also act on the sandboxes. It
	// is given, never stored: [User.Role] is then RoleInstructor and
	// [User.Operator] is set.
	RoleOperator Role = "operator"
)

// split is how a role is stored.
func (r Role) split() (role Role, operator bool) {
	if r == RoleOperator {
		return RoleInstructor, true
	}
	return r, false
}

// User is somebody with an account.
type User struct {
	ID       int64     `json:"id"`
	Name     string    `json:"name"`  // as shown to others
	Login    string    `json:"login"` // lower-case, unique
	Role     Role      `json:"role"`
	Operator bool      `json:"operator,omitempty"` // may drain the server, prune and destroy sandboxes
	Cohort   int64     `json:"cohort,omitempty"`   // 0: none
	Created  time.Time `json:"created"`
}

// Title is the user's role in one word, as [Store.SetRole] takes it.
func (u User) Title() Role {
	if u.Operator {
		return RoleOperator
	}
	return u.Role
}

// NewUser is what an account is made from. The login is lower-cased and
// spaces around it and the name are dropped.
type NewUser struct {
	Name, Login, Password string
	Role                  Role // RoleLearner when empty
	Cohort                int64
}

// Limits of what people type, in characters: enough for any real name or mail
// address, and short enough for a table's cell.
const (
	maxLogin = 64
	maxName  = 100
)

const userColumns = `id, name, login, role, operator, coalesce(cohort, 0), created`

func scanUser(r row) (u User, err error) {
	var created sql.NullInt64
	err = r.Scan(&u.ID, &u.Name, &u.Login, &u.Role, &u.Operator, &u.Cohort, &created)
	u.Created = fromMillis(created)
	return u, err
}

// AddUser makes an account. The error wraps [ErrExists] when the login is
// taken, [ErrNotFound] when there is no such cohort, and is an [*InvalidError]
// when something must be typed differently.
func (s *Store) AddUser(ctx context.Context, n NewUser) (_ User, err error) {
	defer wrap(&err, "add user %q", n.Login)
	hash, err := s.prepareUser(ctx, &n)
	if err != nil {
		return User{}, err
	}
	var u User
	err = s.write(ctx, func(tx *sql.Tx) error {
		u, err = s.addUser(ctx, tx, n, hash)
		return err
	})
	return u, err
}

// prepareUser tidies and checks what was typed, and hashes the password.
func (s *Store) prepareUser(ctx context.Context, n *NewUser) (hash string, err error) {
	n.Name = strings.TrimSpace(n.Name)
	n.Login = normalLogin(n.Login)
	if n.Role == "" {
		n.Role = RoleLearner
	}
	if err := errors.Join(validName(n.Name), validLogin(n.Login), validPassword(n.Login, n.Password), validRole(n.Role)); err != nil {
		return "", err
	}
	return s.hashPassword(ctx, n.Password)
}

func (s *Store) addUser(ctx context.Context, tx *sql.Tx, n NewUser, hash string) (User, error) {
	role, operator := n.Role.split()
	u, err := scanUser(tx.QueryRowContext(ctx, `
		INSERT INTO users (name, login, password, role, operator, cohort, created) VALUES (?, ?, ?, ?, ?, ?, ?)
		RETURNING `+userColumns, n.Name, n.Login, hash, role, operator, optionalID(n.Cohort), toMillis(s.now())))
	if errors.Is(kind(err), ErrExists) {
		return User{}, errors.Join(invalid("login", "The login %q is taken: choose another.", n.Login), ErrExists)
	}
	return u, err
}

// User returns one user, or [ErrNotFound].
func (s *Store) User(ctx context.Context, id int64) (_ User, err error) {
	defer wrap(&err, "look up user %d", id)
	return scanUser(s.reader.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE id = ?`, id))
}

// UserByLogin returns the user with the login, or [ErrNotFound].
func (s *Store) UserByLogin(ctx context.Context, login string) (_ User, err error) {
	defer wrap(&err, "look up user %q", login)
	return scanUser(s.reader.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE login = ?`, normalLogin(login)))
}

// Users returns everybody, by name.
func (s *Store) Users(ctx context.Context) (_ []User, err error) {
	defer wrap(&err, "list users")
	return collect(ctx, s.reader, scanUser, `SELECT `+userColumns+` FROM users ORDER BY name COLLATE NOCASE, id`)
}

// CheckPassword returns the user with the login and the password, or
// [ErrWrongPassword] if there is none. An unknown login takes as long as a
// wrong password.
func (s *Store) CheckPassword(ctx context.Context, login, password string) (_ User, err error) {
	defer wrap(&err, "check password")
	u, hash, err := s.passwordOf(ctx, normalLogin(login))
	known := err == nil
	if errors.Is(err, sql.ErrNoRows) {
		hash = nobodysHash()
	} else if err != nil {
		return User{}, err
	}
	right, err := s.rightPassword(ctx, hash, password)
	if err != nil {
		return User{}, err
	}
	if !known || !right {
		return User{}, ErrWrongPassword
	}
	if !hash.current() {
		return u, s.rehash(ctx, u.ID, hash, password)
	}
	return u, nil
}

func (s *Store) passwordOf(ctx context.Context, login string) (u User, h passwordHash, err error) {
	var created sql.NullInt64
	var phc string
	err = s.reader.QueryRowContext(ctx, `SELECT `+userColumns+`, password FROM users WHERE login = ?`, login).
		Scan(&u.ID, &u.Name, &u.Login, &u.Role, &u.Operator, &u.Cohort, &created, &phc)
	if err != nil {
		return User{}, h, err
	}
	u.Created = fromMillis(created)
	h, err = parsePasswordHash(phc)
	return u, h, err
}

// rehash replaces a hash made with older parameters, unless the password was
// changed meanwhile.
func (s *Store) rehash(ctx context.Context, id int64, old passwordHash, password string) error {
	hash, err := s.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE users SET password = ? WHERE id = ? AND password = ?`, hash, id, old.String())
		return err
	})
}

// SetPassword changes the password and signs the user out everywhere.
func (s *Store) SetPassword(ctx context.Context, id int64, password string) (err error) {
	defer wrap(&err, "set password of user %d", id)
	u, err := s.User(ctx, id)
	if err != nil {
		return err
	}
	if err := validPassword(u.Login, password); err != nil {
		return err
	}
	hash, err := s.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := mustChange(tx.ExecContext(ctx, `UPDATE users SET password = ? WHERE id = ?`, hash, id)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM sign_ins WHERE user = ?`, id)
		return err
	})
}

// SetRole changes what the user may do, at once. The last instructor stays
// one: nobody could make another.
func (s *Store) SetRole(ctx context.Context, id int64, role Role) (err error) {
	defer wrap(&err, "set role of user %d", id)
	if err := validRole(role); err != nil {
		return err
	}
	stored, operator := role.split()
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := mustChange(tx.ExecContext(ctx, `UPDATE users SET role = ?, operator = ? WHERE id = ?`, stored, operator, id)); err != nil {
			return err
		}
		left, err := countInstructors(ctx, tx)
		if err == nil && left == 0 {
			return invalid("role", "This is the only instructor. Make somebody else an instructor first.")
		}
		return err
	})
}

// CountInstructors says how many instructors there are.
func (s *Store) CountInstructors(ctx context.Context) (_ int, err error) {
	defer wrap(&err, "count instructors")
	return countInstructors(ctx, s.reader)
}

func countInstructors(ctx context.Context, q querier) (n int, err error) {
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE role = ?`, RoleInstructor).Scan(&n)
	return n, err
}

func normalLogin(login string) string { return strings.ToLower(strings.TrimSpace(login)) }

func validName(name string) error {
	switch {
	case name == "":
		return invalid("name", "Type the name that others will see.")
	case utf8.RuneCountInString(name) > maxName:
		return invalid("name", "This name is too long: use at most %d characters.", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return invalid("name", "A name has letters, spaces and punctuation on one line.")
	}
	return nil
}

// unprintable characters include those that turn the direction of text around.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func validLogin(login string) error {
	switch {
	case login == "":
		return invalid("login", "Type a login, for example your mail address.")
	case utf8.RuneCountInString(login) > maxLogin:
		return invalid("login", "This login is too long: use at most %d characters.", maxLogin)
	case strings.ContainsFunc(login, func(r rune) bool { return !loginRune(r) }):
		return invalid("login", "A login has the letters a to z, digits and . _ - + @ only.")
	}
	return nil
}

// loginRune allows ASCII only: two logins must not look the same.
func loginRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("._-+@", r)
}

func validRole(role Role) error {
	if role != RoleLearner && role != RoleInstructor && role != RoleOperator {
		return invalid("role", "%q is not a role: use %s, %s or %s.", role, RoleLearner, RoleInstructor, RoleOperator)
	}
	return nil
}
