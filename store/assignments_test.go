package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"drydock/labs"
	"drydock/store"
)

func TestAssignments(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	grace := addUser(t, s, store.NewUser{Login: "grace", Role: store.RoleInstructor})
	autumn := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", grace.ID))
	spring := must[store.Cohort](t)(s.AddCohort(t.Context(), "Spring", grace.ID))
	must[store.Cohort](t)(s.SetTrusted(t.Context(), autumn.ID, true, 0))
	ada := addUser(t, s, store.NewUser{Login: "ada", Cohort: autumn.ID})
	eve := addUser(t, s, store.NewUser{Login: "eve"})

	nine := time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("", 3600))
	give := func(cohort int64, lab string, begins, due time.Time) store.Assignment {
		t.Helper()
		return must[store.Assignment](t)(s.AddAssignment(t.Context(), cohort, lab, begins, due, grace.ID))
	}
	anytime := give(autumn.ID, "pipes", time.Time{}, time.Time{})
	later := give(autumn.ID, "dns", nine, nine.Add(48*time.Hour))
	first := give(autumn.ID, "disk", time.Time{}, nine.Add(24*time.Hour))
	other := give(spring.ID, "dns", nine.Add(-time.Hour), time.Time{}) // the same lab

	want := store.Assignment{
		ID: later.ID, Cohort: autumn.ID, CohortName: "Autumn", Trusted: true, Lab: "dns",
		Begins: nine.UTC(), Due: nine.UTC().Add(48 * time.Hour), Created: c.now(), CreatedBy: grace.ID,
	}
	if later != want {
		t.Errorf("given: %+v, want %+v", later, want)
	}
	if !anytime.Begins.IsZero() || !anytime.Due.IsZero() || other.Trusted {
		t.Errorf("given: %+v, %+v", anytime, other)
	}
	ofCohort := func() (all []store.Assignment) {
		t.Helper()
		for _, a := range must[[]store.AssignmentStanding](t)(s.Assignments(t.Context(), autumn.ID)) {
			all = append(all, a.Assignment)
		}
		return all
	}
	ordered := []store.Assignment{first, later, anytime}
	if got := ofCohort(); !slices.Equal(got, ordered) {
		t.Errorf("of the cohort: %+v, want %+v", got, ordered)
	}
	if got := must[[]store.Assignment](t)(s.UserAssignments(t.Context(), ada.ID)); !slices.Equal(got, ordered) {
		t.Errorf("of its learner: %+v, want %+v", got, ordered)
	}
	for name, id := range map[string]int64{"who is in no cohort": eve.ID, "nobody": 99} {
		if got := must[[]store.Assignment](t)(s.UserAssignments(t.Context(), id)); len(got) > 0 {
			t.Errorf("of %s: %+v", name, got)
		}
	}

	if err := s.RemoveAssignment(t.Context(), later.ID); err != nil {
		t.Fatal(err)
	}
	if got := ofCohort(); !slices.Equal(got, []store.Assignment{first, anytime}) {
		t.Errorf("after one was removed: %+v", got)
	}
	wantErr(t, s.RemoveAssignment(t.Context(), later.ID), store.ErrNotFound)
	if again := give(autumn.ID, "dns", time.Time{}, time.Time{}); again.ID == later.ID {
		t.Error("an id was given twice")
	}
}

func TestAssignmentsSayWhatToChooseInstead(t *testing.T) {
	s, _ := openNew(t)
	autumn := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	nine := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	must[store.Assignment](t)(s.AddAssignment(t.Context(), autumn.ID, "dns", nine, time.Time{}, 0))
	for name, c := range map[string]struct {
		lab         string
		begins, due time.Time
		field       string
	}{
		"no lab":               {"", time.Time{}, time.Time{}, "lab"},
		"one that it has":      {"dns", time.Time{}, time.Time{}, "lab"},
		"due before it begins": {"disk", nine, nine.Add(-time.Minute), "due"},
		"due as it begins":     {"disk", nine, nine.Add(time.Microsecond), "due"},
	} {
		_, err := s.AddAssignment(t.Context(), autumn.ID, c.lab, c.begins, c.due, 0)
		var invalid *store.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != c.field || invalid.Msg == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.AddAssignment(t.Context(), autumn.ID, "dns", nine, time.Time{}, 0)
	wantErr(t, err, store.ErrExists)
	_, err = s.AddAssignment(t.Context(), 99, "dns", nine, time.Time{}, 0)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.AddAssignment(t.Context(), autumn.ID, "disk", nine, time.Time{}, 99)
	wantErr(t, err, store.ErrNotFound)
	if n := len(must[[]store.AssignmentStanding](t)(s.Assignments(t.Context(), autumn.ID))); n != 1 {
		t.Errorf("%d assignments are there", n)
	}
}

// The pool asks who is still to begin what in the next hours.
func TestUpcomingAssignments(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	autumn := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	empty := must[store.Cohort](t)(s.AddCohort(t.Context(), "Nobody yet", 0))
	ada := addUser(t, s, store.NewUser{Login: "ada", Cohort: autumn.ID})
	alan := addUser(t, s, store.NewUser{Login: "alan", Cohort: autumn.ID})
	addUser(t, s, store.NewUser{Login: "grace", Cohort: autumn.ID, Role: store.RoleInstructor})
	eve := addUser(t, s, store.NewUser{Login: "eve"})
	now := c.now()
	for lab, begins := range map[string]time.Time{"dns": now.Add(time.Hour), "disk": now.Add(-time.Minute), "old": now.Add(-time.Hour), "pipes": {}} {
		must[store.Assignment](t)(s.AddAssignment(t.Context(), autumn.ID, lab, begins, now.Add(48*time.Hour), 0))
	}
	must[store.Assignment](t)(s.AddAssignment(t.Context(), empty.ID, "dns", now.Add(2*time.Hour), time.Time{}, 0))
	addAttempt(t, s, "running00001", ada.ID, now) // of another lab
	for _, a := range []labs.Attempt{
		{ID: "a", User: ada.ID, Lab: "disk"}, {ID: "b", User: ada.ID, Lab: "disk"}, {ID: "c", User: eve.ID, Lab: "disk"}, {ID: "d", User: alan.ID, Lab: "dns"},
	} {
		if err := s.CreateAttempt(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}

	type line struct {
		cohort          int64
		lab             string
		learners, begun int
	}
	want := []line{{autumn.ID, "disk", 2, 1}, {autumn.ID, "dns", 2, 1}, {empty.ID, "dns", 0, 0}}
	var got []line
	for _, a := range must[[]store.AssignmentStanding](t)(s.UpcomingAssignments(t.Context(), now.Add(-time.Hour))) {
		got = append(got, line{a.Cohort, a.Lab, a.Learners, a.Begun})
	}
	if !slices.Equal(got, want) {
		t.Errorf("upcoming are %+v, want %+v", got, want)
	}
}

// A database from before there were assignments has none, and takes some.
func TestOlderDatabasesTakeAssignments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drydock.db")
	for _, name := range []string{"0001_first.sql", "0002_operators.sql", "0003_measurements.sql", "0004_trust.sql"} {
		execute(t, path, string(must[[]byte](t)(os.ReadFile(filepath.Join("migrations", name)))))
	}
	execute(t, path, `
		INSERT INTO cohorts (id, name, created) VALUES (7, 'Autumn', 1);
		PRAGMA user_version = 4; PRAGMA application_id = 0x44727944`)
	s := open(t, path)
	if got := must[[]store.AssignmentStanding](t)(s.Assignments(t.Context(), 7)); len(got) > 0 {
		t.Errorf("there are %+v", got)
	}
	must[store.Assignment](t)(s.AddAssignment(t.Context(), 7, "dns", time.Time{}, time.Time{}, 0))
}
