package store

import (
	"context"
	"errors"
)

// CheckFTS5 says whether SQLite's full-text search was compiled in, which it
// is with the build tag sqlite_fts5.
func (s *Store) CheckFTS5(ctx context.Context) (err error) {
	defer wrap(&err, "check full-text search")
	var enabled bool
	if err := s.reader.QueryRowContext(ctx, `SELECT sqlite_compileoption_used('ENABLE_FTS5')`).Scan(&enabled); err != nil {
		return err
	}
	if !enabled {
		return errors.New("this drydock was built without it: build with -tags sqlite_fts5")
	}
	return nil
}
