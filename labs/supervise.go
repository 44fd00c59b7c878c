package labs

import (
	"context"
	"encoding/json"
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
		return s.abandon(ctx, a)
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

// abandon ends an attempt whose lab is gone from the catalogue, with the log that its report is made of.
func (s *Sessions) abandon(ctx context.Context, a Attempt) error {
	s.log.Warn("a running attempt's lab is gone; the attempt is ended", "attempt", a.ID, "lab", a.Lab)
	now := s.cfg.Now()
	ended := Event{Attempt: a.ID, At: now, Type: EventEnded, Data: json.RawMessage(`{"why":"lost"}`)}
	if _, err := s.cfg.Log.AppendEvents(ctx, a.ID, ended); err != nil {
		return fmt.Errorf("end the attempt %s: %w", a.ID, err)
	}
	if err := s.cfg.Log.EndAttempt(ctx, a.ID, now); err != nil {
		return fmt.Errorf("end the attempt %s: %w", a.ID, err)
	}
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
	infos, err := s.list()
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
		if info.Session == "" {
			continue // nobody's yet, or no longer
		}
		found[info.Session] = info
		if _, ok := s.Get(info.Session); !ok {
			s.background(func() { s.destroy(info.Session) })
		}
	}
	for _, session := range s.Running() {
		info, there := found[session.ID()]
		s.mend(session, info, there)
	}
}

func (s *Sessions) list() ([]sandbox.Info, error) {
	ctx, cancel := context.WithTimeout(s.ctx, engineTimeout)
	defer cancel()
	return s.cfg.Provider.List(ctx)
}

// What a learner reads while there is trouble.
const (
	troubleEngine  = "The container engine of this server does not answer. Your work is kept; this page goes on by itself when it is back."
	troubleStopped = "The system of this lab was stopped, perhaps because its machine was restarted. It is being started again."
	troubleResume  = "The system of this lab does not answer yet. It is being tried again."
)

func (s *Sessions) engineLost(err error) {
	if !s.engineDown {
		s.engineDown = true
		s.log.Error("the container engine does not answer", "err", err)
	}
	for _, session := range s.Running() {
		session.trouble(troubleEngine, false)
	}
}

// trouble marks a session whose sandbox can't be reached, or that was found
// stopped: it then has to be recovered, even if its containers run by the time
// that somebody looks again. What is known is not told twice.
func (s *Session) trouble(reason string, stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.progress
	known := p.Phase == PhaseTrouble && p.Reason == reason && (p.stopped || !stopped)
	if known || p.Phase != PhaseRunning && p.Phase != PhaseTrouble {
		return
	}
	_ = s.emitLocked(Event{Type: EventTrouble}, map[string]any{"reason": reason, "stopped": stopped || p.stopped})
}

// mend brings one session in step with its sandbox.
func (s *Sessions) mend(session *Session, info sandbox.Info, there bool) {
	session.mu.Lock()
	latest, p, graded := session.stretch, session.progress, session.hub != nil && !session.missed
	busy := latest != nil && latest.busy
	session.mu.Unlock()
	switch {
	case busy:
	case p.expired(s.cfg.Now()):
		_ = session.endIf("expired", func() bool { return session.progress.expired(s.cfg.Now()) })
	case p.Phase == PhaseStarting: // the server was killed while it started, or the engine while it was reset
		_ = session.begin(func(now *stretch) { session.open(now, false) })
	case !there, info.State == sandbox.Creating: // Creating: of a session that was handed over, a part is gone
		s.mendLost(session, latest)
	case info.State == sandbox.Stopped, p.stopped:
		session.trouble(troubleStopped, true)
		s.revive(session, true)
	case p.Phase == PhaseTrouble, !graded:
		s.revive(session, false)
	}
}

// mendLost ends a session whose sandbox is gone. The engine is asked again,
// because the list may be older than the sandbox; and if a reset has begun
// since then, it is the reset that removes it.
func (s *Sessions) mendLost(session *Session, latest *stretch) {
	ctx, cancel := context.WithTimeout(s.ctx, engineTimeout)
	defer cancel()
	info, err := s.cfg.Provider.Get(ctx, session.ID())
	if errors.Is(err, sandbox.ErrNotFound) || err == nil && info.State == sandbox.Creating {
		s.log.Error("a sandbox is gone, or a part of it", "session", session.ID())
		_ = session.endIf("lost", func() bool { return session.stretch == latest })
	}
}

// revive resumes a session, after starting its sandbox again if that was stopped.
func (s *Sessions) revive(session *Session, stopped bool) {
	_ = session.begin(func(now *stretch) {
		err := s.bringBack(session, now, stopped)
		if err == nil || now.ctx.Err() != nil {
			return
		}
		s.log.Error("a session could not be resumed; trying again", "session", session.ID(), "err", err)
		if !stopped && !errors.Is(err, sandbox.ErrNotFound) { // otherwise the trouble is known, or about to be a loss
			session.trouble(troubleResume, false)
		}
	})
}

func (s *Sessions) bringBack(session *Session, now *stretch, stopped bool) error {
	if stopped {
		wait, cancel := context.WithTimeout(now.ctx, recoverTimeout)
		defer cancel()
		if err := s.cfg.Provider.Recover(wait, session.ID()); err != nil {
			return fmt.Errorf("start the sandbox again: %w", err)
		}
	}
	return session.resume(now, stopped)
}
