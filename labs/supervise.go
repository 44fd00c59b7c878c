package labs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drydock/sandbox"
)

// Boot takes up what an earlier run left: running sessions are resumed, stopped
// sandboxes started again, half-made ones made anew, and sandboxes that no
// running attempt owns are removed. Then it begins to supervise. An engine
// that does not answer is no error: sessions are in trouble until it does.
func (s *Sessions) Boot(ctx context.Context) error {
	attempts, err := s.cfg.Log.RunningAttempts(ctx)
	if err != nil {
		return fmt.Errorf("read the running attempts: %w", err)
	}
	for _, a := range attempts {
		if err := s.adopt(ctx, a); err != nil {
			return err
		}
	}
	s.work.Go(s.superviseLoop)
	return nil
}

// adopt rebuilds a session from its log; supervise then finds its sandbox.
func (s *Sessions) adopt(ctx context.Context, a Attempt) error {
	events, err := s.cfg.Log.Events(ctx, a.ID, 0)
	if err != nil {
		return fmt.Errorf("read the events of %s: %w", a.ID, err)
	}
	lab, ok := s.cfg.Labs.Get(a.Lab)
	if !ok {
		s.log.Warn("a running attempt's lab is gone; the attempt is ended", "attempt", a.ID, "lab", a.Lab)
		return s.cfg.Log.EndAttempt(ctx, a.ID, s.cfg.Now())
	}
	variant, ok := lab.variant(a.Variant)
	if !ok {
		variant = lab.AllVariants()[0]
	}
	session, err := s.newSession(a, lab, variant)
	if err != nil {
		return err
	}
	session.progress = Fold(lab, events)
	if session.progress.Phase.Over() { // ended, but killed before that was written down
		s.finish(session)
		return nil
	}
	s.mu.Lock()
	s.byID[a.ID] = session
	s.mu.Unlock()
	return nil
}

func (s *Sessions) superviseLoop() {
	tick := time.NewTicker(superviseEvery)
	defer tick.Stop()
	for {
		s.supervise()
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// supervise compares the sessions with the sandboxes that are really there, and mends the difference.
func (s *Sessions) supervise() {
	ctx, cancel := context.WithTimeout(s.ctx, storeTimeout)
	defer cancel()
	infos, err := s.cfg.Provider.List(ctx)
	if s.ctx.Err() != nil {
		return
	}
	if err != nil {
		s.engineLost(err)
		return
	}
	if s.engineDown {
		s.engineDown = false
		s.log.Info("the container engine answers again")
	}
	found := map[string]sandbox.Info{}
	for _, info := range infos {
		found[info.Session] = info
		if _, ok := s.Get(info.Session); !ok {
			s.work.Go(func() { s.destroy(info.Session) })
		}
	}
	for _, session := range s.Running() {
		info, there := found[session.ID()]
		s.mend(session, info, there)
	}
}

func (s *Sessions) engineLost(err error) {
	if !s.engineDown {
		s.engineDown = true
		s.log.Error("the container engine does not answer", "err", err)
	}
	for _, session := range s.Running() {
		session.trouble("The container engine of this server does not answer. Your work is kept; this page goes on by itself when it is back.")
	}
}

// trouble marks a running session that can't be reached.
func (s *Session) trouble(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase == PhaseRunning && !s.busy {
		_ = s.emitLocked(Event{Type: EventTrouble}, map[string]string{"reason": reason})
	}
}

// mend brings one session in step with its sandbox.
func (s *Sessions) mend(session *Session, info sandbox.Info, there bool) {
	session.mu.Lock()
	busy, p := session.busy, session.progress
	grading := session.hub != nil
	session.mu.Unlock()
	switch {
	case busy:
	case !p.Expires.IsZero() && s.cfg.Now().After(p.Expires):
		_ = session.End(s.ctx, "expired")
	case p.Phase == PhaseStarting: // the server was killed while it started
		s.restart(session)
	case !there:
		// Asked again, because the list may be older than the sandbox.
		if _, err := s.cfg.Provider.Get(s.ctx, session.ID()); errors.Is(err, sandbox.ErrNotFound) {
			_ = session.End(s.ctx, "lost")
		}
	case info.State == sandbox.Stopped:
		session.trouble("The system of this lab was stopped, perhaps because its machine was restarted. It is being started again.")
		s.revive(session, true)
	case p.Phase == PhaseTrouble, !grading:
		s.revive(session, false)
	}
}

// restart begins a start again from nothing; what half of it left is removed first.
func (s *Sessions) restart(session *Session) {
	ctx, err := session.begin()
	if err != nil {
		return
	}
	session.work.Go(func() { session.open(ctx, false) })
}

// revive resumes a session, after starting its sandbox again if that was stopped.
func (s *Sessions) revive(session *Session, stopped bool) {
	ctx, err := session.begin()
	if err != nil {
		return
	}
	s.work.Go(func() {
		defer session.done()
		if err := s.bringBack(ctx, session, stopped); err != nil && ctx.Err() == nil {
			s.log.Error("a session could not be resumed; trying again", "session", session.ID(), "err", err)
			if errors.Is(err, sandbox.ErrNotFound) {
				return
			}
			_ = session.emit(Event{Type: EventTrouble}, map[string]string{"reason": "The system of this lab does not answer yet. It is being tried again."})
		}
	})
}

func (s *Sessions) bringBack(ctx context.Context, session *Session, stopped bool) error {
	if stopped {
		wait, cancel := context.WithTimeout(ctx, recoverTimeout)
		defer cancel()
		if err := s.cfg.Provider.Recover(wait, session.ID()); err != nil {
			return fmt.Errorf("start the sandbox again: %w", err)
		}
	}
	if err := session.resume(ctx); err != nil {
		return err
	}
	if session.Snapshot().Phase == PhaseTrouble {
		return session.emit(Event{Type: EventRecovered}, map[string]bool{"shellLost": stopped})
	}
	return nil
}
