package labs_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/labs"
	"drydock/sandbox"
)

// asleep waits until a session is frozen.
func (h *harbour) asleep(session *labs.Session) {
	h.t.Helper()
	h.eventually("it sleeps", func() bool {
		return session.Snapshot().Asleep && h.dock.state(session.ID()) == sandbox.Frozen
	})
}

// awake waits until a session is thawed and graded again.
func (h *harbour) awake(session *labs.Session) {
	h.t.Helper()
	h.eventually("it is awake", func() bool {
		return !session.Snapshot().Asleep && h.dock.state(session.ID()) == sandbox.Running
	})
	before := h.dock.calls("Exec") // by then it counts anew for how long nobody looked
	h.eventually("it is graded again", func() bool { return h.dock.calls("Exec") > before })
}

func TestSessionsSleepWhenNobodyTypesAndWakeAtAKey(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	defer session.Join()()
	h.typeInto(session, "MARK=$((40+2)); echo set-$MARK", "set-42")
	before := h.dock.calls("Exec in ice")
	h.clock.forward(11 * time.Minute)
	h.asleep(session)
	if p := session.Snapshot(); p.Phase != labs.PhaseRunning || p.AsleepWhy != "idle" {
		t.Errorf("asleep it is %s because of %q", p.Phase, p.AsleepWhy)
	}
	h.write(session.ID(), "flag") // as it was done just before; seen at waking only
	h.clock.forward(time.Minute)
	if taskDone(session, "raise") {
		t.Error("a task ticks in a session that sleeps")
	}
	// The key itself is not lost.
	h.typeInto(session, "echo still-$MARK", "still-42")
	h.awake(session)
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	if n := h.dock.calls("Exec in ice") - before; n != 0 {
		t.Errorf("the grader asked %d times what was frozen", n)
	}
	if types := h.types(session.ID()); count(types, labs.EventFrozen) != 1 || count(types, labs.EventThawed) != 1 || count(types, labs.EventTrouble) != 0 {
		t.Errorf("the log has %v", types)
	}
}

func TestWhatALearnerAsksForWakes(t *testing.T) {
	for name, ask := range map[string]func(*labs.Session) error{
		"the page":  func(s *labs.Session) error { s.Touch(); return nil },
		"a check":   func(s *labs.Session) error { s.Check("raise"); return nil },
		"an answer": func(s *labs.Session) error { _, _, err := s.Answer(t.Context(), "say", "mast"); return err },
		"a hint":    func(s *labs.Session) error { _, err := s.Hint(t.Context(), "say"); return err },
		"more time": func(s *labs.Session) error { return s.Extend(t.Context()) },
		"a reset":   func(s *labs.Session) error { return s.Reset(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t)
			session := h.serve("").running()
			h.clock.forward(11 * time.Minute)
			h.asleep(session)
			if err := ask(session); err != nil {
				t.Fatal(err)
			}
			h.awake(session)
			h.inPhase(session, labs.PhaseRunning)
			h.write(session.ID(), "flag")
			h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
			h.typeIntoWhenOpen(session, "echo back-$((40+2))", "back-42")
		})
	}
}

func TestATerminalIsClosedInASessionThatSleeps(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	hub := h.typeInto(session, "echo here-$((40+2))", "here-42")
	h.clock.forward(11 * time.Minute)
	h.asleep(session)
	session.Touch() // as the page does when its tab is closed
	if err := hub.Close("1"); err != nil {
		t.Fatal(err)
	}
	if n := h.dock.shells(session.ID()); n != 0 || slices.Contains(hub.Tabs(), "1") {
		t.Errorf("%d shells are left, tabs %v", n, hub.Tabs())
	}
	h.awake(session)
	h.typeIntoWhenOpen(session, "echo anew-$((40+2))", "anew-42")
}

// A condition that has to hold for a while is waited for.
func TestSessionsDoNotSleepWhileAConditionHasToHold(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.write(session.ID(), "flag")
	h.eventually("it has to hold", func() bool {
		return slices.ContainsFunc(session.Snapshot().Tasks, func(t labs.TaskProgress) bool {
			return len(t.Checks) > 0 && !t.Checks[0].Result.HoldUntil.IsZero()
		}) || taskDone(session, "raise")
	})
	h.clock.forward(11 * time.Minute)
	h.asleep(session)
	if !taskDone(session, "raise") {
		t.Error("it fell asleep over a condition that was about to be met")
	}
}

func TestSessionsThatEndAsleepKeepTheirResult(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	h.clock.forward(11 * time.Minute)
	h.asleep(session)
	h.clock.forward(40 * time.Minute)
	h.inPhase(session, labs.PhaseEnded)
	if why := session.Snapshot().EndedWhy; why != "expired" {
		t.Errorf("it ended because of %q", why)
	}
	if got := h.over(session.ID()); got != 60 {
		t.Errorf("score %d, want 60", got)
	}
}

func TestSessionsNobodyLooksAtSleepAndEnd(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	for range 3 {
		if err := session.Extend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	leave := session.Join()
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	leave()
	h.clock.forward(6 * time.Minute)
	h.asleep(session)
	if why := session.Snapshot().AsleepWhy; why != "away" {
		t.Errorf("it sleeps because of %q", why)
	}
	back := session.Join() // the lid is opened again
	h.clock.forward(time.Hour)
	session.Touch()
	h.awake(session)
	back()
	h.clock.forward(91 * time.Minute)
	if got := h.over(session.ID()); got != 60 {
		t.Errorf("score %d, want 60", got)
	}
	if p := session.Snapshot(); p.EndedWhy != "orphaned" {
		t.Errorf("it ended because of %q", p.EndedWhy)
	}
}

func TestSessionsWarnBeforeTheirTimeIsUp(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	left := func(d time.Duration) { h.clock.forward(session.Snapshot().Expires.Sub(h.clock.now()) - d) }
	warned := func(minutes int) {
		h.t.Helper()
		h.eventually("the warning", func() bool { return session.Snapshot().Warned == minutes })
	}
	left(9 * time.Minute)
	warned(10)
	if err := session.Extend(t.Context()); err != nil {
		t.Fatal(err)
	}
	warned(0)
	left(9 * time.Minute)
	warned(10)
	left(4 * time.Minute)
	warned(5)
	left(30 * time.Second)
	warned(1)
	if n := count(h.types(session.ID()), labs.EventExpiring); n != 4 {
		t.Errorf("it warned %d times, want 4", n)
	}
}

func TestSessionsKilledAroundSleepAreTakenUp(t *testing.T) {
	for _, step := range []string{"freeze", "session.frozen", "thaw", "session.thawed"} {
		t.Run(step, func(t *testing.T) {
			h := newHarbour(t)
			first := h.serve(step)
			session := first.running()
			h.typeInto(session, "MARK=$((40+2)); echo set-$MARK", "set-42")
			h.clock.forward(11 * time.Minute)
			h.eventually("it dies or sleeps", func() bool { return first.alive() != nil || session.Snapshot().Asleep })
			session.Touch()
			<-first.died
			taken := h.serve("").adopted()
			h.eventually("it is settled", func() bool {
				if taken.Snapshot().Asleep {
					return h.dock.state(taken.ID()) == sandbox.Frozen
				}
				return h.dock.state(taken.ID()) == sandbox.Running && taken.Terminal() != nil
			})
			taken.Touch()
			h.awake(taken)
			h.typeIntoWhenOpen(taken, "echo still-$MARK", "still-42")
			h.write(taken.ID(), "flag")
			h.eventually("the task ticks", func() bool { return taskDone(taken, "raise") })
		})
	}
}

// A machine that was restarted does not start at once what nobody works in.
func TestSessionsThatSleepAreLeftStoppedUntilSomebodyComes(t *testing.T) {
	h := newHarbour(t)
	first := h.serve("")
	session := first.running()
	h.clock.forward(11 * time.Minute)
	h.asleep(session)
	first.kill()
	h.dock.set(session.ID(), sandbox.Stopped)
	second := h.serve("")
	taken := second.adopted()
	listed := h.dock.calls("List")
	h.eventually("it was looked at twice", func() bool { return h.dock.calls("List") >= listed+2 })
	if n := h.dock.calls("Recover"); n != 0 || !taken.Snapshot().Asleep {
		t.Errorf("recovered %d times, asleep %v", n, taken.Snapshot().Asleep)
	}
	taken.Touch()
	h.eventually("it is recovered", func() bool { return h.dock.calls("Recover") == 1 })
	h.awake(taken)
	h.typeIntoWhenOpen(taken, "echo back-$((40+2))", "back-42")
}

// The engine may die under a sleeper: it is told only when it is to wake.
func TestSessionsThatSleepThroughADeadEngine(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	h.clock.forward(11 * time.Minute)
	h.asleep(session)
	h.dock.fail(sandbox.ErrEngine)
	session.Touch()
	h.inPhase(session, labs.PhaseTrouble)
	if reason := session.Snapshot().Reason; !strings.Contains(reason, "engine") {
		t.Errorf("the reason is %q", reason)
	}
	h.dock.fail(nil)
	h.inPhase(session, labs.PhaseRunning)
	h.awake(session)
}

// A reset that fails leaves the learner the sandbox there was.
func TestSessionsKeepTheOldSandboxWhenAResetFails(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	h.dock.failReset(errors.New("no luck"))
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.eventually("the reset has failed", func() bool { return h.dock.calls("Reset") == 1 })
	h.inPhase(session, labs.PhaseRunning)
	h.typeIntoWhenOpen(session, "echo back-$((40+2))", "back-42")
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
}
