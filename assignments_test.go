package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"
)

// classLab is a lab of the catalogue as nobody else has it, with so many variants.
func classLab(t *testing.T, variants int) (*labs.Catalogue, *labs.Lab) {
	t.Helper()
	set, err := loadLabs("")
	if err != nil {
		t.Fatal(err)
	}
	lab, known := set.Get("init-containers")
	if !known || len(lab.Variants) < variants {
		t.Fatalf("the lab has variants %+v", lab.Variants)
	}
	lab.Variants = lab.Variants[:variants]
	return set, lab
}

func TestClassesAreDemand(t *testing.T) {
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	standing := func(begins time.Time, learners, begun int) store.AssignmentStanding {
		return store.AssignmentStanding{
			Assignment: store.Assignment{Lab: "init-containers", Begins: begins, Due: now.Add(10 * time.Minute)},
			Learners:   learners, Begun: begun,
		}
	}
	unknown := standing(now, 20, 0)
	unknown.Lab = "gone"
	trusted := standing(now, 20, 0)
	trusted.Trusted = true
	for name, c := range map[string]struct {
		given    store.AssignmentStanding
		variants int
		node     bool
		each     int // of every variant; 0: no demand at all
	}{
		"tomorrow":                    {standing(now.Add(24*time.Hour), 20, 0), 2, false, 10},
		"now, some have begun":        {standing(now, 20, 5), 2, false, 8}, // 7.5
		"of one variant":              {standing(now, 20, 5), 1, false, 15},
		"one is left":                 {standing(now, 20, 19), 2, false, 1},
		"all have begun":              {standing(now, 20, 20), 2, false, 0},
		"nobody there":                {standing(now, 0, 0), 2, false, 0},
		"an hour ago":                 {standing(now.Add(-time.Hour), 20, 0), 2, false, 10},
		"more than an hour ago":       {standing(now.Add(-time.Hour-time.Second), 20, 0), 2, false, 0},
		"at any time, due soon":       {standing(time.Time{}, 20, 0), 2, false, 0},
		"not in the catalogue":        {unknown, 2, false, 0},
		"of a whole node":             {standing(now, 20, 0), 2, true, 0},
		"of a whole node, to trusted": {trusted, 2, true, 10},
	} {
		set, lab := classLab(t, c.variants)
		if c.node {
			lab.Sandbox.Access = sandbox.AccessNode
		}
		got := map[string]int{}
		for _, d := range classDemands([]store.AssignmentStanding{c.given}, set, nil, now) {
			got[d.Spec.Template] += d.Count
			if !d.At.Equal(c.given.Begins) || d.Spec.Session != "" || d.Spec.Prepare == nil {
				t.Errorf("%s: the demand is %+v", name, d)
			}
		}
		want := 0
		if c.each > 0 {
			want = c.variants
		}
		if len(got) != want {
			t.Errorf("%s: demand for %v", name, got)
		}
		for _, spec := range set.Specs(nil) { // the pool knows them by these
			if strings.HasPrefix(spec.Template, lab.Slug) && got[spec.Template] != c.each {
				t.Errorf("%s: %d of %s, want %d", name, got[spec.Template], spec.Template, c.each)
			}
		}
	}
}

// TestThePoolIsToldOfClasses follows a class through a real store: it is given
// a lab, its learner begins, the hour passes.
func TestThePoolIsToldOfClasses(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	set, lab := classLab(t, 2)
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	told := make(chan []fleet.Demand)
	c := &classes{
		upcoming: db.UpcomingAssignments, labs: set, expect: func(d []fleet.Demand) { told <- d },
		now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler), nudge: make(chan struct{}, 1),
	}
	cohort, err := db.AddCohort(t.Context(), "Autumn", 0)
	if err != nil {
		t.Fatal(err)
	}
	var learners []store.User
	for _, login := range []string{"ada", "alan", "barbara"} {
		u, err := db.AddUser(t.Context(), store.NewUser{Name: login, Login: login, Password: "correct horse battery", Cohort: cohort.ID})
		if err != nil {
			t.Fatal(err)
		}
		learners = append(learners, u)
	}
	stop := c.inBackground()
	defer stop()
	counts := func() (all []int) {
		for _, d := range <-told {
			all = append(all, d.Count)
		}
		return all
	}
	expect := func(when string, want ...int) {
		t.Helper()
		if got := counts(); !slices.Equal(got, want) {
			t.Errorf("%s the pool is told of %v, want %v", when, got, want)
		}
	}
	expect("at first")
	if _, err := db.AddAssignment(t.Context(), cohort.ID, lab.Slug, now.Add(time.Hour), time.Time{}, 0); err != nil {
		t.Fatal(err)
	}
	c.changed()
	expect("once the lab is given", 2, 2)
	if err := db.CreateAttempt(t.Context(), labs.Attempt{ID: "a", User: learners[0].ID, Lab: lab.Slug}); err != nil {
		t.Fatal(err)
	}
	c.changed()
	expect("once one has begun", 1, 1)
	now = now.Add(2 * time.Hour) // nothing runs until it is nudged
	c.changed()
	expect("once the class is over")
}

// Nobody has to tell: it is looked anew every minute, also after a failure,
// which leaves the pool what it knew.
func TestClassesAreLookedAtByTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, told := 0, 0
		c := &classes{
			upcoming: func(_ context.Context, since time.Time) ([]store.AssignmentStanding, error) {
				if asked++; asked == 2 {
					return nil, errors.New("the disk is on fire")
				}
				if ago := time.Since(since); ago != classOver {
					t.Errorf("asked for what began %v ago", ago)
				}
				return nil, nil
			},
			expect: func([]fleet.Demand) { told++ }, now: time.Now, log: slog.New(slog.DiscardHandler), nudge: make(chan struct{}, 1),
		}
		stop := c.inBackground()
		time.Sleep(2*classesEvery + time.Second) // of the bubble
		stop()
		if asked != 3 || told != 2 {
			t.Errorf("asked %d times, told %d times", asked, told)
		}
		c.changed()
		c.changed() // nobody hears it, and nobody waits
	})
}
