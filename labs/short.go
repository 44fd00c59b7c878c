package labs

import (
	"context"
	"maps"
	"slices"
	"time"

	"drydock/sandbox"
)

const (
	// defaultMeasure is how often sandboxes are measured: often enough that what
	// a learner just did explains what they see, and a small load.
	defaultMeasure = 10 * time.Second
	// measureAfter is for how long after the last key a sandbox is measured: who
	// sets something off has just typed it.
	measureAfter = 2 * time.Minute
)

// shortage is what is known of the limits of one sandbox.
type shortage struct {
	sandbox string
	// given is what it was short of when it was first looked at: that is the
	// lab's own doing, and to say so would give it away.
	given  []sandbox.Resource
	killed bool // a process was ended for want of memory, which is known or the lab's doing
}

// measure looks at the sandboxes that somebody works in, and tells when one of
// them is about to reach its limits. found are the sandboxes, by session.
func (s *Sessions) measure(found map[string]sandbox.Info) {
	now := s.cfg.Now()
	if s.measuring.Load() || now.Sub(s.measured) < s.cfg.Measure {
		return
	}
	s.measured = now
	watched := map[string]*Session{} // by the sandbox's own id
	for _, session := range s.Running() {
		info, there := found[session.ID()]
		if there && info.State == sandbox.Running && session.measurable(info.ID, now) {
			watched[info.ID] = session
		}
	}
	if len(watched) == 0 {
		return
	}
	s.measuring.Store(true)
	s.background(func() {
		defer s.measuring.Store(false)
		ctx, cancel := context.WithTimeout(s.ctx, engineTimeout)
		defer cancel()
		usage, err := s.cfg.Provider.Usage(ctx, slices.Collect(maps.Keys(watched))...)
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("sandboxes could not be measured", "err", err)
		}
		for id, used := range usage {
			watched[id].short(id, used)
		}
	})
}

// measurable reports whether the sandbox may have come to its limits since it
// was looked at, or has never been looked at.
func (s *Session) measurable(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase != PhaseRunning || s.progress.Asleep || s.stretch != nil && s.stretch.busy {
		return false
	}
	return s.limits.sandbox != id || len(s.progress.Short) > 0 || now.Sub(s.touched) < measureAfter
}

// short notes what a sandbox has little left of, and tells what has changed.
func (s *Session) short(id string, used sandbox.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase != PhaseRunning || s.progress.Asleep || s.stretch != nil && s.stretch.busy {
		return // it may be another sandbox's by now
	}
	if s.limits.sandbox != id {
		// What was told before the server was started again is not the lab's doing.
		s.limits = shortage{sandbox: id, given: without(used.Short, s.progress.Short), killed: used.OutOfMemory}
	}
	of := without(used.Short, s.limits.given)
	slices.Sort(of)
	if !slices.Equal(of, s.progress.Short) {
		_ = s.emitLocked(Event{Type: EventShort}, map[string]any{"of": of})
	}
	if used.OutOfMemory && !s.limits.killed && s.emitLocked(Event{Type: EventKilled}, nil) == nil {
		s.limits.killed = true
	}
}

// without is what of all is not among some.
func without(all, some []sandbox.Resource) []sandbox.Resource {
	return slices.DeleteFunc(slices.Clone(all), func(r sandbox.Resource) bool { return slices.Contains(some, r) })
}
