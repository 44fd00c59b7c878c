package labs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/store"
)

// taught is a server that keeps sandboxes, whose learner is in a cohort.
func (h *harbour) taught(dieAfter string) *server {
	h.t.Helper()
	if user, err := h.store.User(h.t.Context(), h.user); err != nil || user.Cohort == 0 {
		cohort, cohortErr := h.store.AddCohort(h.t.Context(), "The class", 0)
		taught, userErr := h.store.AddUser(h.t.Context(), store.NewUser{
			Name: "Taught", Login: "taught", Password: "long-enough-for-a-test", Role: store.RoleLearner, Cohort: cohort.ID,
		})
		if err := errors.Join(err, cohortErr, userErr); err != nil {
			h.t.Fatal(err)
		}
		h.user = taught.ID
	}
	return h.serveWith(dieAfter, func(cfg *labs.Config) { cfg.KeepFor = time.Hour })
}

// keeps waits until what a session left stands still.
func (h *harbour) keeps(s *server, id string) labs.Kept {
	h.t.Helper()
	h.eventually("the sandbox is kept", func() bool {
		k, ok := s.Kept(id)
		return ok && !k.Open && h.dock.kept(id) && h.dock.state(id) == sandbox.Frozen
	})
	k, _ := s.Kept(id)
	return k
}

func (h *harbour) end(session *labs.Session) {
	h.t.Helper()
	if err := session.End(h.t.Context(), "learner"); err != nil {
		h.t.Fatal(err)
	}
}

func TestWhatALearnerLeftIsKeptAndOpenedAgain(t *testing.T) {
	h := newHarbour(t)
	s := h.taught("")
	session := s.running()
	h.typeInto(session, "MARK=$((40+2)); echo set-$MARK", "set-42")
	h.end(session)
	id := session.ID()
	kept := h.keeps(s, id)
	if got := kept.Until.Sub(kept.Since); got != time.Hour || !slices.Equal(kept.Tabs, []string{"1"}) || kept.Restarted {
		t.Errorf("kept is %+v", kept)
	}
	recording := filepath.Join(labs.RecordingDir(h.recordings, id, 0), "1.cast")
	before, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}

	hub, leave, err := s.OpenKept(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	h.typeIntoHub(hub, "echo still-$MARK", "still-42") // the learner's own shell
	if again, leaveToo, err := s.OpenKept(t.Context(), id); err != nil || again != hub {
		t.Errorf("a second look is %v, %v", again, err)
	} else {
		leaveToo()
	}
	if k, _ := s.Kept(id); !k.Open {
		t.Error("it is open, and does not say so")
	}
	if after, err := os.ReadFile(recording); err != nil || string(after) != string(before) {
		t.Errorf("what an instructor typed stands in the learner's recording: %v\n%s", err, after)
	}

	h.clock.forward(5 * time.Minute)
	h.typeIntoHub(hub, "echo watched-$MARK", "watched-42") // somebody is there: it runs on
	leave()
	h.clock.forward(time.Minute)
	h.keeps(s, id)
	hub, leave, err = s.OpenKept(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	h.typeIntoHub(hub, "echo again-$MARK", "again-42")
	h.clock.forward(11 * time.Minute) // nobody types: it is left, though the page is open
	h.keeps(s, id)
	leave()
	if _, err := os.Stat(filepath.Join(h.recordings, id, "opened")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was printed for instructors is left: %v", err)
	}
	h.clock.forward(time.Hour)
	h.eventually("it has had its time", func() bool { return !h.dock.has(id) })
	if _, _, err := s.OpenKept(t.Context(), id); !errors.Is(err, labs.ErrNotThere) {
		t.Errorf("what has gone is opened: %v", err)
	}
	if _, ok := s.Kept(id); ok {
		t.Error("what has gone is said to be kept")
	}
}

func TestWhatNobodyTeachesIsNotKept(t *testing.T) {
	h := newHarbour(t)
	s := h.serveWith("", func(cfg *labs.Config) { cfg.KeepFor = time.Hour })
	session := s.running()
	h.end(session)
	h.eventually("it is removed", func() bool { return !h.dock.has(session.ID()) })
	if h.dock.calls("Keep") != 0 {
		t.Error("it was kept")
	}
}

// TestKeptOverRestarts: of the server, in the worst moment, and of the machine.
func TestKeptOverRestarts(t *testing.T) {
	h := newHarbour(t)
	s := h.taught("end")
	session := s.running()
	id := session.ID()
	_ = session.End(t.Context(), "learner")
	<-s.died
	if h.dock.kept(id) {
		t.Fatal("it was kept before the server died")
	}
	s = h.taught("")
	h.keeps(s, id)
	s.kill()
	s = h.taught("")
	h.keeps(s, id)

	h.dock.set(id, sandbox.Stopped)
	h.eventually("it is known to have been stopped", func() bool { k, _ := s.Kept(id); return k.Restarted })
	_, leave, err := s.OpenKept(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	if h.dock.calls("Recover") != 1 || h.dock.state(id) != sandbox.Running {
		t.Errorf("it was started %d times, and is %s", h.dock.calls("Recover"), h.dock.state(id))
	}
	if k, _ := s.Kept(id); !k.Restarted {
		t.Error("it does not say that its processes are new")
	}
}

// TestKeptMakesWay: the fleet discards it behind the sessions' back, or an instructor removes it.
func TestKeptMakesWay(t *testing.T) {
	h := newHarbour(t)
	s := h.taught("")
	for _, how := range []string{"memory", "instructor"} {
		session := s.running()
		h.end(session)
		id := session.ID()
		h.keeps(s, id)
		if how == "memory" {
			h.dock.vanish(id)
		} else {
			s.DropKept(id)
		}
		h.eventually("it has gone", func() bool { _, ok := s.Kept(id); return !ok && !h.dock.has(id) })
		if _, _, err := s.OpenKept(t.Context(), id); !errors.Is(err, labs.ErrNotThere) {
			t.Errorf("%s: what has gone is opened: %v", how, err)
		}
	}
}
