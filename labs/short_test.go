package labs_test

import (
	"slices"
	"testing"
	"time"

	"drydock/labs"
	"drydock/sandbox"
)

// measured waits until the sandboxes were measured anew.
func (h *harbour) measured() {
	h.t.Helper()
	for range 2 { // one may be under way
		before := h.dock.calls("Usage")
		h.eventually("the sandboxes are measured", func() bool { return h.dock.calls("Usage") > before })
	}
}

func TestLearnersAreToldThatTheirSandboxIsAtItsLimits(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	h.measured()
	if p := session.Snapshot(); len(p.Short) > 0 || !p.OutOfMemory.IsZero() {
		t.Errorf("told of %v and %v without a reason", p.Short, p.OutOfMemory)
	}
	h.dock.use(session.ID(), sandbox.Usage{Short: []sandbox.Resource{sandbox.Processes, sandbox.Disk}, OutOfMemory: true})
	h.eventually("it is told", func() bool {
		p := session.Snapshot()
		return slices.Equal(p.Short, []sandbox.Resource{sandbox.Disk, sandbox.Processes}) && !p.OutOfMemory.IsZero()
	})
	h.dock.use(session.ID(), sandbox.Usage{OutOfMemory: true})
	h.eventually("it is told that there is enough again", func() bool { return len(session.Snapshot().Short) == 0 })
	h.clock.forward(6 * time.Minute)
	h.typeInto(session, "echo $((40+2))", "42")
	h.eventually("what happened a while ago is forgotten", func() bool { return session.Snapshot().OutOfMemory.IsZero() })
	types := h.types(session.ID())
	if count(types, labs.EventShort) != 2 || count(types, labs.EventKilled) != 1 {
		t.Errorf("the log has %v", types)
	}
}

// A lab about a full disk begins with one, and must not be given away.
func TestWhatALabBeginsWithIsNotTold(t *testing.T) {
	h := newHarbour(t)
	given := sandbox.Usage{Short: []sandbox.Resource{sandbox.Disk}, OutOfMemory: true}
	release := h.dock.hold()
	session := h.serve("").begin()
	h.eventually("the sandbox is being made", func() bool { return h.dock.has(session.ID()) })
	h.dock.use(session.ID(), given)
	release()
	h.inPhase(session, labs.PhaseRunning)
	h.measured()
	if p := session.Snapshot(); len(p.Short) > 0 || !p.OutOfMemory.IsZero() {
		t.Errorf("told of %v and %v, which the lab began with", p.Short, p.OutOfMemory)
	}
	// The next sandbox begins anew.
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.eventually("the reset is done", func() bool { return session.Snapshot().Resets == 1 && session.Snapshot().Phase == labs.PhaseRunning })
	h.measured()
	h.dock.use(session.ID(), given)
	h.eventually("it is told", func() bool { return len(session.Snapshot().Short) == 1 && !session.Snapshot().OutOfMemory.IsZero() })
}

func TestWhatWasToldStaysAfterARestart(t *testing.T) {
	h := newHarbour(t)
	first := h.serve("")
	session := first.running()
	h.measured()
	h.dock.use(session.ID(), sandbox.Usage{Short: []sandbox.Resource{sandbox.Disk}})
	h.eventually("it is told", func() bool { return len(session.Snapshot().Short) == 1 })
	first.kill()
	first.Close()
	again := h.serve("").adopted()
	h.inPhase(again, labs.PhaseRunning)
	h.measured()
	if p := again.Snapshot(); !slices.Equal(p.Short, []sandbox.Resource{sandbox.Disk}) {
		t.Errorf("after a restart it is told of %v", p.Short)
	}
}

// Nobody is measured who has long been still: with many sessions that adds up.
func TestWhoDoesNothingIsNotMeasured(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	h.measured()
	h.clock.forward(5 * time.Minute)
	h.eventually("it is left alone", func() bool {
		before := h.dock.calls("Usage")
		lists := h.dock.calls("List")
		h.eventually("the supervisor looks", func() bool { return h.dock.calls("List") > lists+3 })
		return h.dock.calls("Usage") == before
	})
	session.Touch()
	h.measured()
}
