package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"
)

// writeForever in the environment makes the test binary the process that
// TestKillLosesNothing kills.
const writeForever = "DRYDOCK_TEST_WRITE_FOREVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writeForever); path != "" {
		if err := appendForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// appendForever appends events and evidence to attempt a1 and prints the
// number of each event once the store has acknowledged it.
func appendForever(path string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		data := json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))
		stored, err := s.AppendEvents(ctx, "a1", labs.Event{At: time.Now(), Type: labs.EventResult, Data: data})
		if err != nil {
			return err
		}
		fmt.Println(stored[0].Seq)
		if err := s.AddEvidence(ctx, "a1", grade.Evidence{Check: "c", At: time.Now(), Data: data}); err != nil {
			return err
		}
	}
}

// kill -9 in the middle of writing loses nothing that was acknowledged, and
// the file needs no mending.
func TestKillLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), store.FileName)
	s := open(t, path)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	if err := s.Close(); err != nil { // the killed process must be the one that the log is recovered from
		t.Fatal(err)
	}
	var acknowledged int64
	for round := range 5 {
		acknowledged = writeThenKill(t, path, 20+round*7)
		checkIntegrity(t, path)
	}
	events := must[[]labs.Event](t)(open(t, path).Events(t.Context(), "a1", 0))
	if int64(len(events)) < acknowledged {
		t.Fatalf("%d events are left of %d acknowledged", len(events), acknowledged)
	}
	for i, e := range events {
		if e.Seq != int64(i)+1 {
			t.Fatalf("event %d has number %d", i+1, e.Seq)
		}
	}
}

// writeThenKill lets a process write until it has acknowledged at least n
// events, kills it, and returns the last number it acknowledged.
func writeThenKill(t *testing.T, path string, n int) (last int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writeForever+"="+path)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		last = must[int64](t)(strconv.ParseInt(lines.Text(), 10, 64))
		if seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the writer was not killed but ended by itself: %v %s", err, complaint.String())
	}
	return last
}

func checkIntegrity(t *testing.T, path string) {
	t.Helper()
	db := must[*sql.DB](t)(sql.Open("sqlite3", path))
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity check: %s, %v", verdict, err)
	}
	rows := must[*sql.Rows](t)(db.Query("PRAGMA foreign_key_check"))
	defer rows.Close()
	if rows.Next() {
		t.Fatal("foreign keys are broken")
	}
}

func TestBackupWhileWriting(t *testing.T) {
	s, path := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	event := labs.Event{At: time.Now(), Type: labs.EventResult, Data: json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`)}
	must[[]labs.Event](t)(s.AppendEvents(t.Context(), "a1", event))
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			_, err = s.AppendEvents(context.Background(), "a1", event)
		}
		done <- err
	}()
	var copies []string
	for i := range 5 {
		copied := filepath.Join(filepath.Dir(path), fmt.Sprintf("copy-%d.db", i))
		if err := s.Backup(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, copied)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	before := 0
	for _, copied := range copies {
		checkIntegrity(t, copied)
		events := must[[]labs.Event](t)(open(t, copied).Events(t.Context(), "a1", 0))
		if len(events) == 0 || len(events) < before {
			t.Errorf("%s has %d events, the one before %d", copied, len(events), before)
		}
		before = len(events)
	}
	wantErr(t, s.Backup(t.Context(), copies[0]), store.ErrExists)
	left := must[[]string](t)(filepath.Glob(filepath.Join(filepath.Dir(path), "*.partial-*")))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAFullDiskIsSaidSo(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	// SQLite answers with SQLITE_FULL at this limit, as it does on ENOSPC.
	if err := s.Execute(t, `PRAGMA max_page_count = 1`); err != nil { // at least the present size
		t.Fatal(err)
	}
	big := labs.Event{At: time.Now(), Type: labs.EventResult, Data: json.RawMessage(`"` + strings.Repeat("x", 60000) + `"`)}
	_, err := s.AppendEvents(t.Context(), "a1", big)
	wantErr(t, err, store.ErrDiskFull)
	if !strings.Contains(err.Error(), "free space") {
		t.Errorf("the message does not say what to do: %v", err)
	}
	if events := must[[]labs.Event](t)(s.Events(t.Context(), "a1", 0)); len(events) != 0 {
		t.Errorf("half an event was kept: %+v", events)
	}
	if err := s.Execute(t, `PRAGMA max_page_count = 1000000`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendEvents(t.Context(), "a1", big); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestAReadOnlyFileIsSaidSo(t *testing.T) {
	s, _ := openNew(t)
	if err := s.Execute(t, `PRAGMA query_only = on`); err != nil { // answers SQLITE_READONLY; root may write any file
		t.Fatal(err)
	}
	_, err := s.AddCohort(t.Context(), "Autumn", 0)
	wantErr(t, err, store.ErrDiskFull)
}
