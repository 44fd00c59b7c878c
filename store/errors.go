package store

import (
	"database/sql"
	"errors"
	"fmt"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// Kinds of error that callers tell apart with errors.Is. The errors that the
// methods return say what was attempted and wrap one of these.
var (
	ErrNotFound      = errors.New("not found")
	ErrExists        = errors.New("already exists")
	ErrExpired       = errors.New("no longer valid")
	ErrWrongPassword = errors.New("wrong login or password")
	// ErrDiskFull: nothing can be written, because the disk is full or the
	// file or its directory is read-only. Reading still works.
	ErrDiskFull = errors.New("the database cannot be written: free space on the disk of the data directory and make sure that it is not read-only")
	// ErrTooLarge: one event or piece of evidence is over its limit.
	ErrTooLarge = errors.New("too large to be kept")
	// ErrEvidenceFull: the attempt has used up its room for evidence.
	ErrEvidenceFull = errors.New("no more room for evidence of this attempt")
	// ErrNewerSchema: a newer Drydock has written the file.
	ErrNewerSchema = errors.New("written by a newer version of Drydock: install that version, or restore a backup made before it")
	// ErrForeignFile: the file is not one of Drydock's.
	ErrForeignFile = errors.New("not a database of Drydock")
)

// InvalidError is what somebody typed and must type again. Msg is a sentence
// for them.
type InvalidError struct {
	Field string // name, login, password, role, cohort, …
	Msg   string
}

func (e *InvalidError) Error() string { return e.Msg }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Msg: fmt.Sprintf(format, args...)}
}

// InvalidErrors returns everything in err that must be typed differently, to
// be shown at once.
func InvalidErrors(err error) (all []*InvalidError) {
	switch e := err.(type) {
	case *InvalidError:
		return []*InvalidError{e}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			all = append(all, InvalidErrors(one)...)
		}
	case interface{ Unwrap() error }:
		return InvalidErrors(e.Unwrap())
	}
	return all
}

// wrap says in *err what was attempted, and adds the kind of the error where
// it came from SQLite. Deferred first in the exported methods.
func wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf(format+": %w", append(args, kind(*err))...)
	}
}

// kind adds one of the sentinel errors to an error of database/sql or SQLite.
func kind(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == sqlite3.ErrFull, e.Code == sqlite3.ErrReadonly:
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case e.Code == sqlite3.ErrNotADB:
		return fmt.Errorf("%w: %w", ErrForeignFile, err)
	case e.ExtendedCode == sqlite3.ErrConstraintUnique, e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey:
		return fmt.Errorf("%w: %w", ErrExists, err)
	case e.ExtendedCode == sqlite3.ErrConstraintForeignKey:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}
