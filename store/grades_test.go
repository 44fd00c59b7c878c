package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drydock/labs/grade"
	"drydock/store"
)

func TestGradesAreChangedWithATrace(t *testing.T) {
	c := newClock()
	s, path := openNew(t, store.WithClock(c.now))
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	grace := addUser(t, s, store.NewUser{Login: "grace", Name: "Grace", Role: store.RoleInstructor})
	addAttempt(t, s, "a1", ada.ID, c.now())
	_, err := s.OverrideGrade(t.Context(), "a1", 80, grace.ID, "too early")
	wantErr(t, err, store.ErrNotFound) // it has not ended
	if err := s.SetScore(t.Context(), "a1", 60, 100); err != nil {
		t.Fatal(err)
	}
	if err := s.EndAttempt(t.Context(), "a1", c.now()); err != nil {
		t.Fatal(err)
	}
	regrade := store.GradeChange{Attempt: "a1", Why: "the check was wrong", Version: "0123456789ab", JudgedPoints: 80, JudgedMax: 100, Details: json.RawMessage(`{"changes":[]}`)}
	must[store.GradeChange](t)(s.Regrade(t.Context(), regrade))
	c.move(time.Minute)
	must[store.GradeChange](t)(s.OverrideGrade(t.Context(), "a1", 95, grace.ID, " she told me how "))
	regrade.JudgedPoints, regrade.By = 70, grace.ID
	must[store.GradeChange](t)(s.Regrade(t.Context(), regrade)) // does not count while overridden
	must[store.GradeChange](t)(s.WithdrawOverride(t.Context(), "a1", grace.ID, "I was mistaken"))
	_, err = s.WithdrawOverride(t.Context(), "a1", grace.ID, "again")
	wantErr(t, err, store.ErrNotFound)

	got := must[store.Grade](t)(open(t, path).Grade(t.Context(), "a1"))
	if got.Points != 70 || got.Judged != 70 || got.Overridden || len(got.Changes) != 4 {
		t.Fatalf("the grade is %s", jsonOf(t, got))
	}
	for i, want := range []store.GradeChange{
		{Kind: store.GradeRegraded, OldPoints: 60, NewPoints: 80, JudgedPoints: 80, Why: "the check was wrong"},
		{Kind: store.GradeOverridden, OldPoints: 80, NewPoints: 95, JudgedPoints: 80, By: grace.ID, ByName: "Grace", Why: "she told me how"},
		{Kind: store.GradeRegraded, OldPoints: 95, NewPoints: 95, JudgedPoints: 70, By: grace.ID, ByName: "Grace", Why: "the check was wrong"},
		{Kind: store.GradeWithdrawn, OldPoints: 95, NewPoints: 70, JudgedPoints: 70, By: grace.ID, ByName: "Grace", Why: "I was mistaken"},
	} {
		is := got.Changes[i]
		if is.Kind != want.Kind || is.OldPoints != want.OldPoints || is.NewPoints != want.NewPoints || is.JudgedPoints != want.JudgedPoints ||
			is.By != want.By || is.ByName != want.ByName || is.Why != want.Why || is.NewMax != 100 || is.At.IsZero() {
			t.Errorf("change %d is %s", i, jsonOf(t, is))
		}
	}
	if score := must[store.AttemptScore](t)(s.Score(t.Context(), "a1")); score.Points != 70 {
		t.Errorf("the lists show %d points", score.Points)
	}
	// A boot that finishes the session once more does not undo it.
	if err := s.SetScore(t.Context(), "a1", 60, 100); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the score was set again: %v", err)
	}
}

func TestChangesOfGradesAreRefused(t *testing.T) {
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	addAttempt(t, s, "a1", ada.ID, time.Now())
	if err := errors.Join(s.SetScore(t.Context(), "a1", 60, 100), s.EndAttempt(t.Context(), "a1", time.Now())); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"why":    second(s.OverrideGrade(t.Context(), "a1", 80, ada.ID, "  ")),
		"points": second(s.OverrideGrade(t.Context(), "a1", 101, ada.ID, "why")),
	} {
		if invalid := store.InvalidErrors(err); len(invalid) != 1 || invalid[0].Field != name {
			t.Errorf("a bad %s: %v", name, err)
		}
	}
	if _, err := s.OverrideGrade(t.Context(), "a1", 80, ada.ID, strings.Repeat("ä", 1001)); err == nil {
		t.Error("a reason without end is taken")
	}
	must[store.GradeChange](t)(s.OverrideGrade(t.Context(), "a1", 80, ada.ID, "why"))
	for _, statement := range []string{`UPDATE grade_changes SET why = 'x'`, `DELETE FROM grade_changes`, `REPLACE INTO grade_changes SELECT * FROM grade_changes`} {
		if err := s.Execute(t, statement); err == nil {
			t.Errorf("%s was allowed", statement)
		}
	}
}

func second(_ store.GradeChange, err error) error { return err }

// Grades from before they could be changed are what judging gave, and can be.
func TestOlderGradesCanBeChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drydock.db")
	for _, name := range []string{"0001_first.sql", "0002_operators.sql", "0003_measurements.sql", "0004_trust.sql", "0005_assignments.sql"} {
		execute(t, path, string(must[[]byte](t)(os.ReadFile(filepath.Join("migrations", name)))))
	}
	execute(t, path, `
		INSERT INTO users (id, name, login, password, role, created) VALUES (1, 'Ada', 'ada', '', 'learner', 1);
		INSERT INTO attempts (id, user, lab, version, variant, created, ended, points, max_points) VALUES ('a1', 1, 'flag', '1', 'default', 1, 2, 60, 100);
		INSERT INTO evidence (attempt, check_id, first_at, last_at, digest, error) VALUES ('a1', 'c', 1, 5, x'00', 'blind');
		PRAGMA user_version = 5; PRAGMA application_id = 0x44727944`)
	s := open(t, path)
	must[store.GradeChange](t)(s.OverrideGrade(t.Context(), "a1", 70, 0, "why"))
	if got := must[store.Grade](t)(s.Grade(t.Context(), "a1")); got.Points != 70 || got.Judged != 60 || got.JudgedMax != 100 {
		t.Errorf("the grade is %s", jsonOf(t, got))
	}
	if kept := must[[]grade.Evidence](t)(s.Evidence(t.Context(), "a1")); len(kept) != 2 || kept[0].Run != 0 || kept[0].Error != "blind" {
		t.Errorf("the evidence is %s", jsonOf(t, kept))
	}
}
