package labs_test

import (
	"errors"
	"strings"
	"testing"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
)

// gated is a server whose sandboxes are a fleet's.
func (h *harbour) gated(cfg fleet.Config, settings ...func(*labs.Config)) (*server, *fleet.Fleet) {
	h.t.Helper()
	var f *fleet.Fleet
	s := h.serveWith("", func(c *labs.Config) {
		cfg.Providers = []sandbox.Provider{c.Provider}
		var err error
		if f, err = fleet.New(cfg); err != nil {
			h.t.Fatal(err)
		}
		c.Provider, c.Gate = f, f
		for _, set := range settings {
			set(c)
		}
	})
	return s, f
}

func TestStartsWaitForTheirTurnAndSaySo(t *testing.T) {
	h := newHarbour(t)
	release := h.dock.hold()
	s, _ := h.gated(fleet.Config{Starts: 1})
	first := s.begin()
	h.eventually("the first sandbox is being made", func() bool { return h.dock.made() == 1 })
	var others []*labs.Session
	for _, login := range []string{"otto", "olga"} {
		other, err := s.Start(t.Context(), h.addUser(login), "flag")
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, other)
		h.eventually("it waits", func() bool { return other.Snapshot().Queued.Place == len(others) })
	}
	if stages := others[1].Snapshot().Stages; len(stages) != 1 || stages[0].Name != labs.StageTurn || stages[0].Done {
		t.Errorf("the stages of who waits: %+v", stages)
	}
	if err := others[0].End(t.Context(), "learner"); err != nil { // who gives up makes room
		t.Fatal(err)
	}
	h.eventually("the last moves up", func() bool { return others[1].Snapshot().Queued.Place == 1 })
	release()
	h.inPhase(first, labs.PhaseRunning)
	h.inPhase(others[1], labs.PhaseRunning)
	if p := others[1].Snapshot(); p.Queued.Place != 0 || !p.Stages[0].Done {
		t.Errorf("let in, it still waits: %+v", p)
	}
	if got := h.dock.made(); got != 2 {
		t.Errorf("%d sandboxes were made", got)
	}
}

// Who waits while the server is killed waits at the next one.
func TestStartsThatWaitSurviveAKill(t *testing.T) {
	h := newHarbour(t)
	release := h.dock.hold()
	s, _ := h.gated(fleet.Config{Starts: 1})
	first := s.begin()
	other, err := s.Start(t.Context(), h.addUser("otto"), "flag")
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("one waits", func() bool { return first.Snapshot().Queued.Place+other.Snapshot().Queued.Place == 1 })
	s.kill()
	release()
	s.Close()
	next, _ := h.gated(fleet.Config{Starts: 1})
	for _, id := range []string{first.ID(), other.ID()} {
		taken, ok := next.Get(id)
		if !ok {
			t.Fatalf("%s was not taken up", id)
		}
		h.inPhase(taken, labs.PhaseRunning)
	}
}

func TestStartsAreRefusedInWords(t *testing.T) {
	h := newHarbour(t)
	s, f := h.gated(fleet.Config{Memory: 16 << 30}, func(c *labs.Config) { c.PerLearner = 1 })
	session := s.running()
	var tooMany *labs.TooManyError
	if _, err := s.Start(t.Context(), h.user, "pennant"); !errors.As(err, &tooMany) || len(tooMany.Running) != 1 || tooMany.Running[0] != session {
		t.Errorf("a second lab: %v", err)
	}
	if again := s.begin(); again != session {
		t.Error("the lab that runs is not returned")
	}
	if err := f.Drain(true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context(), h.addUser("otto"), "flag"); !errors.Is(err, fleet.ErrDraining) {
		t.Errorf("while it drains: %v", err)
	}
	if err := session.Reset(t.Context()); err != nil {
		t.Errorf("a reset while it drains: %v", err)
	}
	h.inPhase(session, labs.PhaseRunning)
	if err := f.Drain(false); err != nil {
		t.Fatal(err)
	}
	small, _ := h.gated(fleet.Config{Memory: 1 << 20})
	if _, err := small.Start(t.Context(), h.addUser("olga"), "flag"); !errors.Is(err, fleet.ErrTooLarge) {
		t.Errorf("without memory: %v", err)
	}
}

// Those who wait when the operator begins to drain are told why they wait no more.
func TestStartsThatWaitAreRefusedWhenTheServerDrains(t *testing.T) {
	h := newHarbour(t)
	release := h.dock.hold()
	defer release()
	s, f := h.gated(fleet.Config{Starts: 1})
	s.begin()
	h.eventually("the first sandbox is being made", func() bool { return h.dock.made() == 1 })
	other, err := s.Start(t.Context(), h.addUser("otto"), "flag")
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("it waits", func() bool { return other.Snapshot().Queued.Place == 1 })
	if err := f.Drain(true); err != nil {
		t.Fatal(err)
	}
	h.inPhase(other, labs.PhaseFailed)
	if reason := other.Snapshot().Reason; !strings.Contains(reason, "no new labs") {
		t.Errorf("the reason is %q", reason)
	}
}
