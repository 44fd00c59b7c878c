package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drydock/store"
)

func TestInvite(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	grace := addUser(t, s, store.NewUser{Login: "grace", Role: store.RoleInstructor})
	autumn := must[store.Cohort](t)(s.AddCohort(t.Context(), " Autumn 2026 ", grace.ID))
	token, invite, err := s.AddInvite(t.Context(), autumn.ID, grace.ID, 24*time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := store.Invite{ID: invite.ID, Cohort: autumn.ID, CohortName: "Autumn 2026", Role: store.RoleLearner, Expires: c.now().Add(24 * time.Hour), MaxUses: 1, CreatedBy: grace.ID}
	if invite != want {
		t.Errorf("the invite is %+v, want %+v", invite, want)
	}
	if got := must[store.Invite](t)(s.Invite(t.Context(), token)); got != want {
		t.Errorf("its token finds %+v", got)
	}
	_, err = s.Invite(t.Context(), "x"+token)
	wantErr(t, err, store.ErrNotFound)

	ada := must[store.User](t)(s.RedeemInvite(t.Context(), token, store.NewUser{Name: "Ada", Login: "ada", Password: "correct horse battery", Role: store.RoleInstructor}))
	if ada.Cohort != autumn.ID || ada.Role != store.RoleLearner {
		t.Errorf("an invite to learn made %+v", ada)
	}
	_, err = s.Invite(t.Context(), token)
	wantErr(t, err, store.ErrExpired)
	if got := must[store.Cohort](t)(s.Cohort(t.Context(), autumn.ID)); got.Learners != 1 || got.Name != "Autumn 2026" {
		t.Errorf("the cohort is %+v", got)
	}
	if got := must[[]store.Invite](t)(s.Invites(t.Context(), autumn.ID)); len(got) != 1 || got[0].Uses != 1 {
		t.Errorf("the cohort's invites are %+v", got)
	}
}

func TestInviteEnds(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	cohort := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	old, _, err := s.AddInvite(t.Context(), cohort.ID, 0, time.Hour, 0)
	if err != nil {
		t.Fatal(err)
	}
	revoked, invite, err := s.AddInvite(t.Context(), cohort.ID, 0, 24*time.Hour, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeInvite(t.Context(), invite.ID); err != nil {
		t.Fatal(err)
	}
	c.move(time.Hour)
	for name, token := range map[string]string{"expired": old, "revoked": revoked} {
		_, err := s.RedeemInvite(t.Context(), token, store.NewUser{Name: "Ada", Login: "ada", Password: "correct horse battery"})
		if !errors.Is(err, store.ErrExpired) {
			t.Errorf("an invite that is %s: %v", name, err)
		}
	}
	wantErr(t, s.RevokeInvite(t.Context(), 99), store.ErrNotFound)
	_, _, err = s.AddInvite(t.Context(), 99, 0, time.Hour, 0)
	wantErr(t, err, store.ErrNotFound)
}

// A link for three, opened by eight at once, lets three in.
func TestInviteIsNotUsedTooOften(t *testing.T) {
	s, _ := openNew(t)
	cohort := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	token, _, err := s.AddInvite(t.Context(), cohort.ID, 0, time.Hour, 3)
	if err != nil {
		t.Fatal(err)
	}
	var joined atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			n := store.NewUser{Name: "N", Login: fmt.Sprint("learner", i), Password: "correct horse battery"}
			_, err := s.RedeemInvite(context.Background(), token, n)
			switch {
			case err == nil:
				joined.Add(1)
			case !errors.Is(err, store.ErrExpired):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if joined.Load() != 3 {
		t.Errorf("%d joined with an invite for 3", joined.Load())
	}
}

func TestJoinWithAnAccount(t *testing.T) {
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	cohort := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	token, _, err := s.AddInvite(t.Context(), cohort.ID, 0, time.Hour, 2)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // opening the link again counts once
		if got := must[store.Invite](t)(s.JoinWithInvite(t.Context(), token, ada.ID)); got.Uses != 1 {
			t.Errorf("the invite has %d uses", got.Uses)
		}
	}
	if got := must[store.User](t)(s.User(t.Context(), ada.ID)); got.Cohort != cohort.ID {
		t.Errorf("joined cohort %d", got.Cohort)
	}
	_, err = s.JoinWithInvite(t.Context(), token, 99)
	wantErr(t, err, store.ErrNotFound)
}

func TestCohortNamesAreUnique(t *testing.T) {
	s, _ := openNew(t)
	must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", 0))
	_, err := s.AddCohort(t.Context(), "Autumn ", 0)
	wantErr(t, err, store.ErrExists)
	var invalid *store.InvalidError
	if _, err := s.AddCohort(t.Context(), " ", 0); !errors.As(err, &invalid) || invalid.Field != "name" {
		t.Errorf("an empty name: %v", err)
	}
}

func TestTrust(t *testing.T) {
	c := newClock()
	s, _ := openNew(t, store.WithClock(c.now))
	grace := addUser(t, s, store.NewUser{Login: "grace", Role: store.RoleOperator})
	autumn := must[store.Cohort](t)(s.AddCohort(t.Context(), "Autumn", grace.ID))
	spring := must[store.Cohort](t)(s.AddCohort(t.Context(), "Spring", grace.ID))
	people := map[string]int64{"an operator": grace.ID}
	for name, n := range map[string]store.NewUser{
		"an instructor":         {Login: "barbara", Role: store.RoleInstructor},
		"a learner of Autumn":   {Login: "ada", Cohort: autumn.ID},
		"a learner of Spring":   {Login: "alan", Cohort: spring.ID},
		"a learner of no class": {Login: "eve"},
	} {
		people[name] = addUser(t, s, n).ID
	}
	check := func(when string, learners ...string) {
		t.Helper()
		want := map[string]bool{"an operator": true, "an instructor": true}
		for _, name := range learners {
			want[name] = true
		}
		for name, id := range people {
			if got := must[bool](t)(s.Trusted(t.Context(), id)); got != want[name] {
				t.Errorf("%s, %s is trusted: %v", when, name, got)
			}
		}
	}
	check("at first")

	c.move(time.Hour)
	trusted := must[store.Cohort](t)(s.SetTrusted(t.Context(), autumn.ID, true, grace.ID))
	if !trusted.Trusted || trusted.TrustedBy != grace.ID || !trusted.TrustedAt.Equal(c.now()) {
		t.Errorf("a trusted cohort is %+v", trusted)
	}
	check("with trust in Autumn", "a learner of Autumn")

	c.move(time.Hour) // trusted again, by the operator: who was first is told still
	if again := must[store.Cohort](t)(s.SetTrusted(t.Context(), autumn.ID, true, 0)); again != trusted {
		t.Errorf("trusted twice: %+v, then %+v", trusted, again)
	}
	if got := must[store.Cohort](t)(s.Cohort(t.Context(), autumn.ID)); got != trusted {
		t.Errorf("looked up: %+v, want %+v", got, trusted)
	}

	withdrawn := must[store.Cohort](t)(s.SetTrusted(t.Context(), autumn.ID, false, 0))
	if withdrawn.Trusted || withdrawn.TrustedBy != 0 || !withdrawn.TrustedAt.Equal(c.now()) {
		t.Errorf("with trust withdrawn it is %+v", withdrawn)
	}
	check("with trust withdrawn")

	_, err := s.SetTrusted(t.Context(), 99, true, grace.ID)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.SetTrusted(t.Context(), autumn.ID, true, 99)
	wantErr(t, err, store.ErrNotFound)
	check("after a change by nobody")
	_, err = s.Trusted(t.Context(), 99)
	wantErr(t, err, store.ErrNotFound)
}

// Trust comes and goes with the cohort that a learner is in.
func TestTrustGoesWithTheCohort(t *testing.T) {
	s, _ := openNew(t)
	trusted := must[store.Cohort](t)(s.AddCohort(t.Context(), "Trusted", 0))
	other := must[store.Cohort](t)(s.AddCohort(t.Context(), "Other", 0))
	must[store.Cohort](t)(s.SetTrusted(t.Context(), trusted.ID, true, 0))
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	for _, step := range []struct {
		cohort int64
		want   bool
	}{{trusted.ID, true}, {other.ID, false}} {
		token, _, err := s.AddInvite(t.Context(), step.cohort, 0, time.Hour, 1)
		if err != nil {
			t.Fatal(err)
		}
		must[store.Invite](t)(s.JoinWithInvite(t.Context(), token, ada.ID))
		if got := must[bool](t)(s.Trusted(t.Context(), ada.ID)); got != step.want {
			t.Errorf("in cohort %d: trusted is %v", step.cohort, got)
		}
	}
}

// Cohorts of a database from before there was trust have none.
func TestOlderCohortsAreNotTrusted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drydock.db")
	for _, name := range []string{"0001_first.sql", "0002_operators.sql", "0003_measurements.sql"} {
		execute(t, path, string(must[[]byte](t)(os.ReadFile(filepath.Join("migrations", name)))))
	}
	execute(t, path, `
		INSERT INTO cohorts (id, name, created) VALUES (7, 'Autumn', 1);
		INSERT INTO users (id, name, login, password, role, cohort, created) VALUES (8, 'Ada', 'ada', 'x', 'learner', 7, 1);
		PRAGMA user_version = 3; PRAGMA application_id = 0x44727944`)
	s := open(t, path)
	if c := must[store.Cohort](t)(s.Cohort(t.Context(), 7)); c.Trusted || c.TrustedBy != 0 || !c.TrustedAt.IsZero() {
		t.Errorf("the cohort is %+v", c)
	}
	if must[bool](t)(s.Trusted(t.Context(), 8)) {
		t.Error("its learner is trusted")
	}
}
