package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

// backupPages are copied between two looks at whether to stop: 16 MiB.
const backupPages = 4096

// Backup writes a copy of the database to a new file, while it is in use. The
// copy is one moment's state, is checked before it gets its name, and is a
// database like the original. The error wraps [ErrExists] when path exists.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	defer wrap(&err, "back up to %s", path)
	if _, err := os.Lstat(path); err == nil {
		return ErrExists
	}
	partial, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial-*") // mode 0600
	if err != nil {
		return err
	}
	if err := partial.Close(); err != nil {
		return err
	}
	defer os.Remove(partial.Name()) // fails after the rename, as it should
	if err := s.copyTo(ctx, partial.Name()); err != nil {
		return err
	}
	return publish(partial.Name(), path)
}

// copyTo copies the database into the empty file and checks the copy.
func (s *Store) copyTo(ctx context.Context, path string) (err error) {
	target, err := sql.Open("sqlite3", dsn(path, nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	target.SetMaxOpenConns(1)
	to, err := target.Conn(ctx)
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := s.reader.Conn(ctx)
	if err != nil {
		return err
	}
	defer from.Close()
	err = to.Raw(func(to any) error {
		return from.Raw(func(from any) error {
			return copyPages(ctx, to.(*sqlite3.SQLiteConn), from.(*sqlite3.SQLiteConn))
		})
	})
	if err != nil {
		return err
	}
	return checkCopy(ctx, to)
}

// copyPages copies in steps. The transaction around them keeps the source at
// one moment: without it every write of another connection makes the copy
// begin again.
func copyPages(ctx context.Context, to, from *sqlite3.SQLiteConn) (err error) {
	if _, err := from.Exec("BEGIN", nil); err != nil {
		return err
	}
	defer func() {
		_, end := from.Exec("ROLLBACK", nil)
		err = errors.Join(err, end)
	}()
	backup, err := to.Backup("main", from, "main")
	if err != nil {
		return err
	}
	for done := false; err == nil && !done; {
		if err = ctx.Err(); err == nil {
			done, err = backup.Step(backupPages)
		}
	}
	return errors.Join(err, backup.Finish())
}

// checkCopy makes the copy a single file without a write-ahead log, and reads
// it through.
func checkCopy(ctx context.Context, copied *sql.Conn) error {
	if _, err := copied.ExecContext(ctx, "PRAGMA journal_mode = DELETE"); err != nil {
		return err
	}
	var verdict string
	if err := copied.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check the copy: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check the copy: %s", verdict)
	}
	return nil
}

// publish gives a finished file its name, on the disk and not only in memory.
func publish(partial, path string) error {
	if err := syncFile(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
