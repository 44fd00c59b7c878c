package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"
)

func addAttempt(t *testing.T, s *store.Store, id string, user int64, at time.Time) labs.Attempt {
	t.Helper()
	a := labs.Attempt{ID: id, User: user, Lab: "init-containers", Version: "0123456789ab", Variant: "typo", Created: at}
	if err := s.CreateAttempt(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func ids(attempts []labs.Attempt) (ids []string) {
	for _, a := range attempts {
		ids = append(ids, a.ID)
	}
	return ids
}

func TestAttempts(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	cohort := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	ada := addUser(t, s, store.NewUser{Login: "ada", Cohort: cohort.ID})
	bob := addUser(t, s, store.NewUser{Login: "bob"})
	first := addAttempt(t, s, "a1", ada.ID, c.now())
	addAttempt(t, s, "a2", ada.ID, c.now().Add(time.Minute))
	addAttempt(t, s, "b1", bob.ID, c.now().Add(2*time.Minute))
	ended := c.now().Add(time.Hour)
	for _, at := range []time.Time{ended, ended.Add(time.Hour)} { // the first end stays
		if err := s.EndAttempt(t.Context(), "a1", at); err != nil {
			t.Fatal(err)
		}
	}
	first.Ended = ended
	if got := must[labs.Attempt](t)(s.Attempt(t.Context(), "a1")); got != first {
		t.Errorf("got %+v, want %+v", got, first)
	}
	for _, test := range []struct {
		filter store.AttemptFilter
		want   []string
	}{
		{store.AttemptFilter{}, []string{"b1", "a2", "a1"}},
		{store.AttemptFilter{Limit: 2}, []string{"b1", "a2"}},
		{store.AttemptFilter{Running: true}, []string{"b1", "a2"}},
		{store.AttemptFilter{User: ada.ID}, []string{"a2", "a1"}},
		{store.AttemptFilter{Cohort: cohort.ID, Running: true}, []string{"a2"}},
		{store.AttemptFilter{Lab: "other"}, nil},
	} {
		if got := ids(must[[]labs.Attempt](t)(s.Attempts(t.Context(), test.filter))); !slices.Equal(got, test.want) {
			t.Errorf("%+v picks %v, want %v", test.filter, got, test.want)
		}
	}
	wantErr(t, s.CreateAttempt(t.Context(), first), store.ErrExists)
	wantErr(t, s.CreateAttempt(t.Context(), labs.Attempt{ID: "x", User: 99, Created: c.now()}), store.ErrNotFound)
	wantErr(t, s.EndAttempt(t.Context(), "x", ended), store.ErrNotFound)
}

func TestScore(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	if got := must[store.AttemptScore](t)(s.Score(t.Context(), "a1")); got.Scored {
		t.Errorf("a new attempt has the score %+v", got)
	}
	if err := s.SetScore(t.Context(), "a1", 0, 100); err != nil {
		t.Fatal(err)
	}
	want := store.AttemptScore{Attempt: "a1", Points: 0, Max: 100, Scored: true}
	if got := must[store.AttemptScore](t)(s.Score(t.Context(), "a1")); got != want {
		t.Errorf("the score is %+v", got)
	}
	wantErr(t, s.SetScore(t.Context(), "x", 1, 2), store.ErrNotFound)
}

func TestEvents(t *testing.T) {
	c := newClock()
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	addAttempt(t, s, "a1", ada.ID, c.now())
	addAttempt(t, s, "a2", ada.ID, c.now())
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.FixedZone("CET", 3600))
	stored := must[[]labs.Event](t)(s.AppendEvents(t.Context(), "a1",
		labs.Event{At: at, Type: labs.EventRequested, Data: json.RawMessage(`{"lab":"init-containers"}`)},
		labs.Event{At: at, Type: labs.EventTaskDone, Task: "serve", Check: "web-ready"}))
	want := []labs.Event{
		{Attempt: "a1", Seq: 1, At: time.Date(2026, 11, 22, 9, 0, 0, 123000000, time.UTC), Type: labs.EventRequested, Data: json.RawMessage(`{"lab":"init-containers"}`)},
		{Attempt: "a1", Seq: 2, At: time.Date(2026, 11, 22, 9, 0, 0, 123000000, time.UTC), Type: labs.EventTaskDone, Task: "serve", Check: "web-ready"},
	}
	if !reflect.DeepEqual(stored, want) {
		t.Errorf("stored %+v, want %+v", stored, want)
	}
	if loaded := must[[]labs.Event](t)(s.Events(t.Context(), "a1", 0)); !reflect.DeepEqual(loaded, want) {
		t.Errorf("what is loaded differs from what was returned: %+v", loaded)
	}
	if later := must[[]labs.Event](t)(s.Events(t.Context(), "a1", 1)); !reflect.DeepEqual(later, want[1:]) {
		t.Errorf("after 1: %+v", later)
	}
	other := must[[]labs.Event](t)(s.AppendEvents(t.Context(), "a2", labs.Event{At: at, Type: labs.EventReady}))
	if other[0].Seq != 1 {
		t.Errorf("the second attempt begins with event %d", other[0].Seq)
	}
	logs := must[map[string][]labs.Event](t)(s.EventsOf(t.Context(), []string{"a1", "a2", "none"}))
	if !reflect.DeepEqual(logs, map[string][]labs.Event{"a1": want, "a2": other}) {
		t.Errorf("the logs of both: %+v", logs)
	}
}

func TestBadEventsAreRefusedWhole(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	good := labs.Event{At: time.Now(), Type: labs.EventReady}
	for name, change := range map[string]func(*labs.Event){
		"another attempt's": func(e *labs.Event) { e.Attempt = "a2" },
		"no type":           func(e *labs.Event) { e.Type = "" },
		"no time":           func(e *labs.Event) { e.At = time.Time{} },
		"not JSON":          func(e *labs.Event) { e.Data = json.RawMessage(`{"a":`) },
		"too large":         func(e *labs.Event) { e.Data = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`) },
	} {
		bad := good
		change(&bad)
		if _, err := s.AppendEvents(t.Context(), "a1", good, bad); err == nil {
			t.Errorf("an event that is %s was taken", name)
		}
	}
	if left := must[[]labs.Event](t)(s.Events(t.Context(), "a1", 0)); len(left) != 0 {
		t.Errorf("half of a refused batch was kept: %+v", left)
	}
	_, err := s.AppendEvents(t.Context(), "none", good)
	wantErr(t, err, store.ErrNotFound)
}

func TestEventsCannotBeChanged(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	must[[]labs.Event](t)(s.AppendEvents(t.Context(), "a1", labs.Event{At: time.Now(), Type: labs.EventReady}))
	for _, statement := range []string{`UPDATE events SET type = 'task.done'`, `DELETE FROM events`, `REPLACE INTO events SELECT * FROM events`, `DELETE FROM attempts`} {
		if err := s.Execute(t, statement); err == nil {
			t.Errorf("%s was allowed", statement)
		}
	}
}

// Many sessions append at once, and instructors read meanwhile: no
// "database is locked", no gap and no double number.
func TestConcurrentWriters(t *testing.T) {
	s, path := openNew(t)
	second := open(t, path) // as another process has it
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	const attempts, batches, perBatch = 4, 15, 3
	for i := range attempts {
		addAttempt(t, s, fmt.Sprint("a", i), ada.ID, time.Now())
	}
	ctx, stopReading := context.WithCancel(t.Context())
	var writers, readers sync.WaitGroup
	for i := range attempts {
		for _, handle := range []*store.Store{s, second} {
			writers.Go(func() {
				for range batches {
					e := labs.Event{At: time.Now(), Type: labs.EventResult, Data: json.RawMessage(`{}`)}
					if _, err := handle.AppendEvents(context.Background(), fmt.Sprint("a", i), e, e, e); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Roster(context.Background(), 0, time.Time{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	stopReading()
	readers.Wait()
	for i := range attempts {
		events := must[[]labs.Event](t)(s.Events(t.Context(), fmt.Sprint("a", i), 0))
		if len(events) != 2*batches*perBatch {
			t.Errorf("attempt %d has %d events, want %d", i, len(events), 2*batches*perBatch)
		}
		for j, e := range events {
			if e.Seq != int64(j)+1 {
				t.Fatalf("event %d of attempt %d has number %d", j, i, e.Seq)
			}
		}
	}
}

func TestEvidence(t *testing.T) {
	c := newClock()
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, c.now())
	at := func(second int) time.Time { return c.now().Add(time.Duration(second) * time.Second) }
	down, up := json.RawMessage(`{"response":{"code":503}}`), json.RawMessage(`{"response":{"code":200}}`)
	seen := []grade.Evidence{
		{Check: "answers", At: at(0), Data: down},
		{Check: "ready", At: at(1), Data: up}, // between: another check does not end the run
		{Check: "answers", At: at(2), Data: down},
		{Check: "answers", At: at(4), Data: down},
		{Check: "answers", At: at(6), Data: up},
		{Check: "answers", At: at(8), Error: "the cluster does not answer"},
		{Check: "answers", At: at(10), Data: down},
	}
	for _, e := range seen {
		if err := s.AddEvidence(t.Context(), "a1", e); err != nil {
			t.Fatal(err)
		}
	}
	want := slices.Delete(slices.Clone(seen), 2, 3) // within a run
	if got := must[[]grade.Evidence](t)(s.Evidence(t.Context(), "a1")); !reflect.DeepEqual(got, want) {
		t.Errorf("kept\n%s\nwant\n%s", jsonOf(t, got), jsonOf(t, want))
	}
	if rows := s.CountRows(t, "evidence"); rows != 5 {
		t.Errorf("%d rows for 5 different sights", rows)
	}
	wantErr(t, s.AddEvidence(t.Context(), "none", seen[0]), store.ErrNotFound)
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	return string(must[[]byte](t)(json.MarshalIndent(v, "", " ")))
}

func TestEvidenceIsBounded(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	big := func(n int) json.RawMessage {
		random := make([]byte, n/2) // hexadecimal digits of noise: half their size compressed
		rand.Read(random)
		return json.RawMessage(fmt.Appendf(nil, `"%x"`, random))
	}
	err := s.AddEvidence(t.Context(), "a1", grade.Evidence{Check: "c", At: time.Now(), Data: big(9 << 20)})
	wantErr(t, err, store.ErrTooLarge)
	largest := big(8<<20 - 2)
	if err := s.AddEvidence(t.Context(), "a1", grade.Evidence{Check: "c", At: time.Now(), Data: largest}); err != nil {
		t.Fatal(err)
	}
	if got := must[[]grade.Evidence](t)(s.Evidence(t.Context(), "a1")); len(got) != 1 || !bytes.Equal(got[0].Data, largest) {
		t.Error("the largest evidence does not come back as it was")
	}
	for i := 0; err == nil || i < 2; i++ {
		if err = s.AddEvidence(t.Context(), "a1", grade.Evidence{Check: "c", At: time.Now(), Data: big(8<<20 - 2)}); err != nil {
			break
		}
		if i > 32 {
			t.Fatal("an attempt may fill the disk")
		}
	}
	wantErr(t, err, store.ErrEvidenceFull)
}

func TestRoster(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	cohort := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	ada := addUser(t, s, store.NewUser{Login: "ada", Cohort: cohort.ID})
	bob := addUser(t, s, store.NewUser{Login: "bob", Cohort: cohort.ID})
	eve := addUser(t, s, store.NewUser{Login: "eve"})
	addUser(t, s, store.NewUser{Login: "grace", Role: store.RoleInstructor, Cohort: cohort.ID})
	addAttempt(t, s, "old", ada.ID, c.now().Add(-50*time.Hour))
	addAttempt(t, s, "recent", ada.ID, c.now().Add(-2*time.Hour))
	running := addAttempt(t, s, "running", ada.ID, c.now().Add(-time.Hour))
	for id, end := range map[string]time.Duration{"old": -49 * time.Hour, "recent": -time.Hour} {
		if err := s.EndAttempt(t.Context(), id, c.now().Add(end)); err != nil {
			t.Fatal(err)
		}
	}
	must[[]labs.Event](t)(s.AppendEvents(t.Context(), "running",
		labs.Event{At: c.now().Add(-time.Minute), Type: labs.EventReady}, labs.Event{At: c.now(), Type: labs.EventTaskDone, Task: "serve"}))
	if err := s.SetScore(t.Context(), "running", 60, 100); err != nil {
		t.Fatal(err)
	}
	rows := must[[]store.Row](t)(s.Roster(t.Context(), cohort.ID, c.now().Add(-24*time.Hour)))
	want := store.Row{User: ada, Attempt: running, LastEvent: c.now(), Score: store.AttemptScore{Attempt: "running", Points: 60, Max: 100, Scored: true}}
	if len(rows) != 3 || rows[0] != want || rows[1].Attempt.ID != "recent" || rows[2] != (store.Row{User: bob}) {
		t.Errorf("the cohort's roster is %s", jsonOf(t, rows))
	}
	all := must[[]store.Row](t)(s.Roster(t.Context(), 0, c.now()))
	if len(all) != 3 || all[2].User != eve {
		t.Errorf("everybody's roster is %s", jsonOf(t, all))
	}
}

func TestReadings(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	read := func(article string, fraction float64) {
		t.Helper()
		if err := s.SetReading(t.Context(), ada.ID, article, fraction); err != nil {
			t.Fatal(err)
		}
		c.move(time.Minute)
	}
	start := c.now()
	read("init-containers", 0.95)
	read("service-mesh", 0.4)
	read("init-containers", 0.1) // scrolled back
	want := []store.Reading{
		{Article: "init-containers", Fraction: 0.95, At: start.Add(2 * time.Minute), Done: true},
		{Article: "service-mesh", Fraction: 0.4, At: start.Add(time.Minute)},
	}
	if got := must[[]store.Reading](t)(s.Readings(t.Context(), ada.ID)); !slices.Equal(got, want) {
		t.Errorf("readings are %+v, want %+v", got, want)
	}
	if err := s.SetReading(t.Context(), ada.ID, "x", 1.5); err == nil {
		t.Error("one and a half articles were read")
	}
	wantErr(t, s.SetReading(t.Context(), 99, "x", 0.5), store.ErrNotFound)
}
