// Package store keeps everything Drydock must not lose: users and their
// browser sign-ins, cohorts with their invites and assignments, how far
// somebody has read, and attempts with their events, evidence and scores.
//
// It is one SQLite file, drydock.db, in WAL mode. All writes go through one
// connection that begins its transactions with BEGIN IMMEDIATE, so writers
// queue in the process instead of failing with "database is locked"; reads
// have a pool of read-only connections of their own and never wait for a
// writer. Tables are STRICT and times are Unix milliseconds. There is one Go
// file per noun, and each statement stands in the function that runs it.
//
// What is durable: when a method that writes returns nil, the change is on
// the disk. Killing the process or cutting the power afterwards does not lose
// it (see [writerPragmas]).
//
// An attempt is the list of its events, which can be appended to but never be
// changed: triggers refuse it. Everything else about an attempt is derived
// from them by package labs. Times are cut to whole milliseconds on the way
// in, and the methods return what was stored, so that a live view and one
// that is loaded later are equal.
//
// Secrets: passwords are kept as argon2id hashes, and of the tokens in
// cookies and links only the SHA-256 is kept. Hashing a password takes a
// tenth of a second on purpose and is never done inside a transaction.
//
// Errors: see [ErrNotFound] and its neighbours, and [InvalidError] for what a
// person typed wrongly.
//
// The package may import labs, labs/grade and content, for their types only.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/mattn/go-sqlite3"
	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

// FileName is the database's name in Drydock's data directory.
const FileName = "drydock.db"

const (
	// busyTimeout is how long a connection waits for a lock that another
	// process holds, such as `drydock user add` beside a running server. Such
	// a command holds it for milliseconds.
	busyTimeout = 5 * time.Second
	// cachedStatements is how many prepared statements a connection keeps; the
	// package has about sixty.
	cachedStatements = 64
	// readersPerCPU: a read is mostly CPU time in SQLite itself; a few more
	// connections than processors cover those that wait for the disk.
	readersPerCPU = 4
)

// Store is the open database. Its methods may be called from any goroutine.
type Store struct {
	writer  *sql.DB // exactly one connection
	reader  *sql.DB // mode=ro
	now     func() time.Time
	hashing chan struct{} // a slot per password that may be hashed at once
	zstd    *compressor
}

// Option changes how a store is opened.
type Option func(*Store)

// WithClock makes the store take the time from now, in tests of what expires.
func WithClock(now func() time.Time) Option {
	return func(s *Store) { s.now = now }
}

// Open opens the database file at path, makes it when there is none, and
// brings its schema up to date. A file that a newer Drydock has written is
// refused with [ErrNewerSchema], one of another program with
// [ErrForeignFile]. Several processes may have the same file open.
func Open(ctx context.Context, path string, options ...Option) (_ *Store, err error) {
	defer wrap(&err, "open database %s", path)
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	s := &Store{now: time.Now, hashing: make(chan struct{}, runtime.GOMAXPROCS(0))}
	for _, option := range options {
		option(s)
	}
	if s.zstd, err = newCompressor(); err != nil {
		return nil, err
	}
	if s.writer, err = sql.Open("sqlite3", dsn(path, writerPragmas())); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if err := connect(ctx, s.writer); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	if err := migrate(ctx, s.writer); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	if s.reader, err = sql.Open("sqlite3", dsn(path, readerPragmas())); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	readers := readersPerCPU * runtime.GOMAXPROCS(0)
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return s, nil
}

// connectPoll is how soon a database that another process holds is tried again.
const connectPoll = 10 * time.Millisecond

// connect makes the first connection. The change of a new file to a write-ahead
// log needs it alone, and SQLite does not wait for that as it does for others'
// transactions.
func connect(ctx context.Context, db *sql.DB) error {
	for give := time.Now().Add(busyTimeout); ; {
		err := db.PingContext(ctx)
		var why sqlite3.Error
		if !errors.As(err, &why) || why.Code != sqlite3.ErrBusy || time.Now().After(give) {
			return err
		}
		select {
		case <-time.After(connectPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes the database. The last process to close it folds the
// write-ahead log back into the file.
func (s *Store) Close() error {
	err := errors.Join(s.reader.Close(), s.writer.Close())
	s.zstd.close()
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// writerPragmas are the settings of the one connection that writes.
//
// synchronous=FULL: with NORMAL a WAL database survives the death of the
// process, but the last commits can be lost when the power fails. A learner
// who was told "done" must not lose it, and one fsync per batch of events
// costs a few milliseconds at most. recursive_triggers: without it REPLACE
// deletes an event behind the back of the trigger that refuses it.
func writerPragmas() url.Values {
	return url.Values{
		"_txlock":             {"immediate"},
		"_journal_mode":       {"WAL"},
		"_synchronous":        {"FULL"},
		"_foreign_keys":       {"on"},
		"_recursive_triggers": {"on"},
		"_busy_timeout":       {milliseconds(busyTimeout)},
		"_stmt_cache_size":    {strconv.Itoa(cachedStatements)},
	}
}

// readerPragmas are the settings of the connections that only read.
func readerPragmas() url.Values {
	return url.Values{
		"mode":             {"ro"},
		"_query_only":      {"on"},
		"_txlock":          {"deferred"},
		"_busy_timeout":    {milliseconds(busyTimeout)},
		"_stmt_cache_size": {strconv.Itoa(cachedStatements)},
	}
}

// dsn is the address of the file at path with the given settings. The path is
// escaped, so that a directory called "50% off?" works.
func dsn(path string, settings url.Values) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + settings.Encode()
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// makePrivate makes the file and its directory if they are missing, readable
// by the owner only: it holds password hashes. SQLite gives its -wal and -shm
// files the same permissions.
func makePrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// write runs fn in a transaction of the writer connection and commits it when
// fn returns nil. Nothing slow may happen in fn: all other writers wait.
func (s *Store) write(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		if rollback := tx.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
			return errors.Join(err, rollback)
		}
		return err
	}
	return tx.Commit()
}

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// row is what *sql.Row and *sql.Rows have in common.
type row interface{ Scan(dest ...any) error }

// collect runs a query and scans every row of the answer.
func collect[T any](ctx context.Context, q querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// mustChange turns the result of a statement that names one row into
// ErrNotFound when there was no such row.
func mustChange(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if changed == 0 {
		return ErrNotFound
	}
	return nil
}

// toMillis and fromMillis convert times to what the tables hold. The zero
// time is NULL.
func toMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromMillis(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}

// optionalID is NULL for 0, which in this package means "none".
func optionalID(id int64) sql.NullInt64 { return sql.NullInt64{Int64: id, Valid: id != 0} }
