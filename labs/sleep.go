package labs

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Why a session was frozen, or ended without anybody's wish.
const (
	whyIdle     = "idle"     // nobody typed, and the page is open
	whyAway     = "away"     // the page was closed
	whyOrphaned = "orphaned" // for so long that the session was ended
	whyExpired  = "expired"
	whyLost     = "lost"
)

// Join notes that the learner looks at the session, by its page or a terminal,
// until leave is called. A session that nobody looks at is frozen after a
// while, and after a longer one ended.
func (s *Session) Join() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.present++
	left := false
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if left {
			return
		}
		left = true
		s.present--
		s.leftAt = s.sessions.cfg.Now()
	}
}

// Touch notes that the learner does something, and wakes a session that sleeps.
func (s *Session) Touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touchLocked()
}

func (s *Session) touchLocked() {
	s.touched = s.sessions.cfg.Now()
	s.touches++
	s.checks.Attend()
	if s.progress.Asleep && s.freeLocked() == nil {
		s.beginLocked(s.wake)
	}
}

// away reports for how long nobody has looked at the session.
func (s *Session) away(now time.Time) time.Duration {
	if s.present > 0 {
		return 0
	}
	return now.Sub(s.leftAt)
}

// orphaned reports whether nobody has looked for so long that nobody will come
// back. While there is trouble there was nothing to look at.
func (s *Session) orphaned(now time.Time) bool {
	end := s.sessions.cfg.OrphanEnd
	return s.progress.Phase != PhaseTrouble && s.away(now) > end && now.Sub(s.touched) > end
}

// tired says why the session is to be frozen now, or is empty. A condition that
// has to hold for a while is waited for: the learner does so, too.
func (s *Session) tired(now time.Time) (why string) {
	if s.progress.Phase != PhaseRunning || s.progress.Asleep || s.holding() {
		return ""
	}
	switch cfg := s.sessions.cfg; {
	case s.away(now) > cfg.Orphaned && now.Sub(s.touched) > cfg.Orphaned:
		return whyAway
	case now.Sub(s.touched) > cfg.Idle:
		return whyIdle
	}
	return ""
}

func (s *Session) holding() bool {
	return slices.ContainsFunc(s.progress.Tasks, func(t TaskProgress) bool {
		return slices.ContainsFunc(t.Checks, func(c CheckProgress) bool { return !c.Result.HoldUntil.IsZero() })
	})
}

// drowse freezes the session if it is time to.
func (s *Session) drowse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.tired(s.sessions.cfg.Now()); why != "" {
		s.sleepLocked(why)
	}
}

// sleepAgain freezes a sandbox that runs although its session sleeps.
func (s *Session) sleepAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sleepLocked(s.progress.AsleepWhy)
}

// sleepLocked begins to freeze the session, unless something else is under way.
func (s *Session) sleepLocked(why string) {
	if s.freeLocked() != nil {
		return
	}
	touches := s.touches
	s.beginLocked(func(now *stretch) { s.sleep(now, why, touches) })
}

// sleep freezes the sandbox. Grading has ended by then, so that nothing asks
// what can't answer. Who has touched the session since finds it awake. One that
// is known to sleep stays so also if it can't be frozen: it is tried again.
func (s *Session) sleep(now *stretch, why string, touches int) {
	ctx, cancel := context.WithTimeout(now.ctx, engineTimeout)
	defer cancel()
	err := s.sessions.cfg.Provider.Freeze(ctx, s.ID())
	if now.ctx.Err() != nil {
		return
	}
	if err != nil {
		s.sessions.log.Error("a session could not be frozen", "session", s.ID(), "err", err)
	}
	s.mu.Lock()
	asleep := s.touches == touches && (s.progress.Asleep ||
		err == nil && s.emitLocked(Event{Type: EventFrozen}, map[string]string{"why": why}) == nil)
	now.busy = !asleep // from here on a touch wakes it
	s.mu.Unlock()
	if !asleep {
		s.wake(now)
	}
}

// touchedSince reports whether the learner has done something since then.
func (s *Session) touchedSince(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched.After(at)
}

// wake thaws the sandbox and goes on grading. What can't be woken is in
// trouble, and tried again.
func (s *Session) wake(now *stretch) {
	err := s.sessions.bringBack(s, now)
	if err == nil || now.ctx.Err() != nil {
		return
	}
	s.sessions.log.Error("a session could not be woken; trying again", "session", s.ID(), "err", err)
	s.stuck(err)
}

// thaw lets a frozen sandbox go on, and says so at once: the page is waiting.
func (s *Session) thaw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if err := s.sessions.cfg.Provider.Thaw(ctx, s.ID()); err != nil {
		return fmt.Errorf("thaw the sandbox: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.progress.Asleep {
		return nil
	}
	return s.emitLocked(Event{Type: EventThawed}, nil)
}

// warnings are how many minutes before its end a session warns.
var warnings = [...]int{1, 5, 10}

// warn tells, once each, that the time is nearly up.
func (s *Session) warn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.progress
	if p.Ready.IsZero() || p.Phase != PhaseRunning {
		return
	}
	left := p.Expires.Sub(s.sessions.cfg.Now())
	for _, minutes := range warnings {
		if left > time.Duration(minutes)*time.Minute {
			continue
		}
		if p.Warned == 0 || minutes < p.Warned {
			_ = s.emitLocked(Event{Type: EventExpiring}, map[string]int{"minutes": minutes})
		}
		return
	}
}
