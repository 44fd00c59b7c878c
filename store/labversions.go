package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// maxPackedLab bounds a packed lab, in bytes: labs have at most 8 MiB before
// they are packed, and what can't be packed smaller gets a little larger.
const maxPackedLab = 9 << 20

// KeepLab keeps a version of a lab; keeping it again changes nothing. The
// error wraps [ErrTooLarge] for more than 9 MiB.
func (s *Store) KeepLab(ctx context.Context, lab, version string, packed []byte) (err error) {
	defer wrap(&err, "keep version %s of lab %s", version, lab)
	if len(packed) > maxPackedLab {
		return fmt.Errorf("%d bytes, %d allowed: %w", len(packed), maxPackedLab, ErrTooLarge)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO lab_versions (lab, version, packed, kept) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			lab, version, packed, toMillis(s.now()))
		return err
	})
}

// KeptLab returns a version of a lab that was kept; ok is false when it was not.
func (s *Store) KeptLab(ctx context.Context, lab, version string) (packed []byte, ok bool, err error) {
	defer wrap(&err, "look up version %s of lab %s", version, lab)
	err = s.reader.QueryRowContext(ctx, `SELECT packed FROM lab_versions WHERE lab = ? AND version = ?`, lab, version).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return packed, err == nil, err
}
