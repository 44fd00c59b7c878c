package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock/store"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// openNew opens a database in a directory of its own, whose name needs
// escaping in a DSN.
func openNew(t *testing.T, options ...store.Option) (*store.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "50% off? #1", store.FileName)
	return open(t, path, options...), path
}

func open(t *testing.T, path string, options ...store.Option) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func addUser(t *testing.T, s *store.Store, n store.NewUser) store.User {
	t.Helper()
	if n.Name == "" {
		n.Name = n.Login
	}
	if n.Password == "" {
		n.Password = "correct horse battery"
	}
	u, err := s.AddUser(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantErr(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v; want one that wraps %q", err, kind)
	}
}

func TestOpenKeepsWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", store.FileName)
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ada := addUser(t, s, store.NewUser{Login: "ada", Name: "Ada"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := must[store.User](t)(open(t, path).User(t.Context(), ada.ID)); got != ada {
		t.Errorf("after reopening: %+v, want %+v", got, ada)
	}
}

func TestFilesArePrivate(t *testing.T) {
	_, path := openNew(t)
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v; others can read the password hashes", filepath.Base(name), info.Mode())
		}
	}
}

func TestOpenRefusesFilesItDoesNotUnderstand(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         error
	}{
		{"newer", "PRAGMA user_version = 9999; PRAGMA application_id = 0x44727944", store.ErrNewerSchema},
		{"another program's", "CREATE TABLE bookmarks (url TEXT)", store.ErrForeignFile},
		{"not a database", "", store.ErrForeignFile},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			if test.script == "" {
				if err := os.WriteFile(path, []byte(strings.Repeat("once upon a time ", 100)), 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				execute(t, path, test.script)
			}
			before := must[[]byte](t)(os.ReadFile(path))
			s, err := store.Open(t.Context(), path)
			if err == nil {
				s.Close()
			}
			wantErr(t, err, test.want)
			if test.script == "" {
				if after := must[[]byte](t)(os.ReadFile(path)); string(after) != string(before) {
					t.Error("the refused file was changed")
				}
			}
		})
	}
}

// execute runs SQL on a file, behind the store's back.
func execute(t *testing.T, path, script string) {
	t.Helper()
	db := must[*sql.DB](t)(sql.Open("sqlite3", path))
	defer db.Close()
	if _, err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
}

func TestTwoProcessesMayOpenANewFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), store.FileName)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := store.Open(context.Background(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestFullTextSearchIsCompiledIn(t *testing.T) {
	s, _ := openNew(t)
	if err := s.CheckFTS5(t.Context()); err != nil {
		t.Fatal(err)
	}
	scratch := filepath.Join(t.TempDir(), "search.db")
	execute(t, scratch, `CREATE VIRTUAL TABLE pages USING fts5 (title, body, tokenize = 'porter unicode61');
		INSERT INTO pages VALUES ('Init containers', 'They run one after the other.')`)
	db := must[*sql.DB](t)(sql.Open("sqlite3", scratch))
	defer db.Close()
	var title string
	if err := db.QueryRow(`SELECT title FROM pages WHERE pages MATCH 'running'`).Scan(&title); err != nil || title != "Init containers" {
		t.Errorf("a search found %q, %v", title, err)
	}
}

// A mistyped setting in a DSN is ignored silently, so they are looked at here.
func TestSettingsTakeEffect(t *testing.T) {
	s, _ := openNew(t)
	for _, test := range []struct{ pragma, writer, reader string }{
		{"journal_mode", "wal", "wal"},
		{"synchronous", "2", ""}, // FULL
		{"foreign_keys", "1", ""},
		{"recursive_triggers", "1", ""},
		{"busy_timeout", "5000", "5000"},
		{"query_only", "0", "1"},
	} {
		writer, reader := s.Pragma(t, test.pragma)
		if writer != test.writer || test.reader != "" && reader != test.reader {
			t.Errorf("%s is %s for the writer and %s for readers", test.pragma, writer, reader)
		}
	}
}
