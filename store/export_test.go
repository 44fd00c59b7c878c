package store

import (
	"context"
	"testing"
)

// What tests see of a store that callers do not.

func (s *Store) PasswordHash(t *testing.T, login string) (phc string) {
	t.Helper()
	if err := s.reader.QueryRow(`SELECT password FROM users WHERE login = ?`, login).Scan(&phc); err != nil {
		t.Fatal(err)
	}
	return phc
}

// WeakHash hashes with OWASP's minimum, as an older version might have.
func (s *Store) WeakHash(t *testing.T, password string) string {
	t.Helper()
	h := passwordHash{passes: 2, kib: 19456, lanes: 1, salt: make([]byte, argonSaltLen), key: make([]byte, argonKeyLen)}
	key, err := s.argon2id(t.Context(), h, password)
	if err != nil {
		t.Fatal(err)
	}
	h.key = key
	return h.String()
}

func (s *Store) Execute(t *testing.T, statement string) error {
	_, err := s.writer.ExecContext(t.Context(), statement)
	return err
}

func (s *Store) CountRows(t *testing.T, table string) (n int) {
	t.Helper()
	if err := s.reader.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *Store) Pragma(t *testing.T, name string) (writer, reader string) {
	t.Helper()
	if err := s.writer.QueryRow(`PRAGMA ` + name).Scan(&writer); err != nil {
		t.Fatal(err)
	}
	if err := s.reader.QueryRow(`PRAGMA ` + name).Scan(&reader); err != nil {
		t.Fatal(err)
	}
	return writer, reader
}

// PackedEvidence and SetPackedEvidence see the first piece of evidence as it
// lies in the file.
func (s *Store) PackedEvidence(ctx context.Context) (packed []byte, err error) {
	err = s.reader.QueryRowContext(ctx, `SELECT data FROM evidence ORDER BY id LIMIT 1`).Scan(&packed)
	return packed, err
}

func (s *Store) SetPackedEvidence(ctx context.Context, packed []byte, format int) error {
	_, err := s.writer.ExecContext(ctx, `UPDATE evidence SET data = ?, format = ? WHERE id = (SELECT min(id) FROM evidence)`, packed, format)
	return err
}
