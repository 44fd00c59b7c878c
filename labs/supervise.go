package labs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/fleet"
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
	s.work.Go(s.storeSeenLoop)
	return nil
}

// adopt rebuilds a session from its log; supervise then finds its sandbox.
func (s *Sessions) adopt(ctx context.Context, a Attempt) error {
	events, err := s.cfg.Log.Events(ctx, a.ID, 0)
	if err != nil {
		return fmt.Errorf("read the events of %s: %w", a.ID, err)
	}
	lab, own, err := s.versions.OfOrToday(ctx, a)
	switch {
	case errors.Is(err, ErrNotKept):
		return s.abandon(ctx, a)
	case err != nil:
		return err
	case !own:
		s.log.Warn("the lab of a running attempt has changed, and what it was is not kept: it goes on with the lab of today", "attempt", a.ID, "lab", a.Lab)
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

// abandon ends an attempt whose lab is gone, from the catalogue and from what was kept, with the log that its report is made of.
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
	tick := time.NewTicker(s.cfg.Look)
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
	s.listed = s.cfg.Now()
	infos, err := s.list()
	if s.ctx.Err() != nil {
		return
	}
	silent, some := silentKinds(err)
	if err != nil {
		s.engineLost(err, silent)
	}
	if err != nil && !some {
		return
	}
	if err == nil && s.engineDown {
		s.engineDown = false
		s.log.Info("the container engine answers again")
	}
	found := map[string]sandbox.Info{}
	var strays []sandbox.Info
	for _, info := range infos {
		if info.Session == "" {
			continue // nobody's yet, or no longer
		}
		found[info.Session] = info
		if _, ok := s.Get(info.Session); !ok {
			strays = append(strays, info)
		}
	}
	s.tend(strays, err == nil)
	for _, session := range s.Running() {
		if silent[session.lab.Sandbox.Kind] != nil {
			continue
		}
		info, there := found[session.ID()]
		s.mend(session, info, there)
	}
	s.measure(found)
}

// silentKinds are the kinds of sandbox that could not be listed. some is false
// when that is all of them, or not known.
func silentKinds(err error) (silent map[sandbox.Kind]error, some bool) {
	partial, some := fleet.Partly(err)
	if !some {
		return nil, false
	}
	return partial.Kinds, true
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
	troubleReset   = "A fresh sandbox could not be made. You go on in the one you had; this is not your doing."
	troubleResume  = "The system of this lab does not answer yet. It is being tried again."
)

// engineLost tells the sessions of the kinds that do not answer; of all, where
// that is not known. One that sleeps is not told: nobody is kept from anything.
func (s *Sessions) engineLost(err error, silent map[sandbox.Kind]error) {
	if !s.engineDown {
		s.engineDown = true
		s.log.Error("the container engine does not answer", "err", err)
	}
	for _, session := range s.Running() {
		if silent != nil && silent[session.lab.Sandbox.Kind] == nil || session.Snapshot().Asleep {
			continue
		}
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

// mend brings one session in step with its sandbox, and with the time.
func (s *Sessions) mend(session *Session, info sandbox.Info, there bool) {
	session.warn()
	session.mu.Lock()
	latest, p, graded := session.stretch, session.progress, session.hub != nil && !session.missed
	busy, ending := latest != nil && latest.busy, session.ending != nil
	now := s.cfg.Now()
	orphaned := session.orphaned(now) && (!busy || p.Ready.IsZero())
	session.mu.Unlock()
	switch {
	case ending:
	case orphaned:
		s.end(session, whyOrphaned, func() bool { return session.orphaned(s.cfg.Now()) })
	case busy:
	case p.expired(now):
		s.end(session, whyExpired, func() bool { return session.progress.expired(s.cfg.Now()) })
	case p.Phase == PhaseStarting: // the server was killed while it started, or the engine while it was reset
		_ = session.begin(func(now *stretch) { session.open(now, false) })
	case !there, info.State == sandbox.Creating: // Creating: of a session that was handed over, a part is gone
		s.mendLost(session, latest)
	default:
		s.mendState(session, p, info.State, graded)
	}
}

// end ends a session while the supervisor goes on: it takes a last look.
func (s *Sessions) end(session *Session, why string, still func() bool) {
	s.background(func() { _ = session.endIf(why, still) })
}

// mendState has a session that is there do what it should. One that sleeps is
// left alone, though the machine was restarted meanwhile: who wakes it starts it.
func (s *Sessions) mendState(session *Session, p Progress, state sandbox.State, graded bool) {
	switch {
	case p.Asleep && state == sandbox.Running: // killed between the two steps of freezing or waking
		session.sleepAgain()
	case p.Asleep:
	case state == sandbox.Stopped, p.stopped:
		session.trouble(troubleStopped, true)
		s.revive(session)
	case p.Phase == PhaseTrouble, !graded, state == sandbox.Frozen && !session.touchedSince(s.listed):
		s.revive(session)
	default:
		session.drowse()
	}
}

// mendLost ends a session whose sandbox is gone. The engine is asked again,
// because the list may be older than the sandbox; and if a reset has begun
// since then, it is the reset that removes it. A list is asked for, and not the
// session: it says which kinds did not answer, so that another kind's silence
// neither ends a session nor keeps one that is gone.
func (s *Sessions) mendLost(session *Session, latest *stretch) {
	infos, err := s.list()
	silent, some := silentKinds(err)
	if err != nil && !some || silent[session.lab.Sandbox.Kind] != nil {
		return
	}
	whole := func(info sandbox.Info) bool {
		return info.Session == session.ID() && info.State != sandbox.Creating
	}
	if slices.ContainsFunc(infos, whole) {
		return
	}
	s.log.Error("a sandbox is gone, or a part of it", "session", session.ID())
	_ = session.endIf(whyLost, func() bool { return session.stretch == latest })
}

// revive resumes a session, after its sandbox was started again or thawed if need be.
func (s *Sessions) revive(session *Session) {
	_ = session.begin(func(now *stretch) {
		err := s.bringBack(session, now)
		if err == nil || now.ctx.Err() != nil {
			return
		}
		s.log.Error("a session could not be resumed; trying again", "session", session.ID(), "err", err)
		session.stuck(err)
	})
}

// stuck tells that a session could not be brought back, unless the trouble is
// known, or about to be a loss.
func (s *Session) stuck(err error) {
	switch {
	case errors.Is(err, sandbox.ErrNotFound), s.Snapshot().stopped:
	case errors.Is(err, sandbox.ErrEngine):
		s.trouble(troubleEngine, false)
	default:
		s.trouble(troubleResume, false)
	}
}

// bringBack has the sandbox run and its grading go on, whatever state it is found in.
func (s *Sessions) bringBack(session *Session, now *stretch) error {
	ask, cancel := context.WithTimeout(now.ctx, engineTimeout)
	defer cancel()
	info, err := s.cfg.Provider.Get(ask, session.ID())
	if err != nil {
		return fmt.Errorf("look for the sandbox: %w", err)
	}
	stopped := info.State == sandbox.Stopped || session.Snapshot().stopped
	if stopped {
		session.trouble(troubleStopped, true)
		wait, cancel := context.WithTimeout(now.ctx, recoverTimeout)
		defer cancel()
		if err := s.cfg.Provider.Recover(wait, session.ID()); err != nil {
			return fmt.Errorf("start the sandbox again: %w", err)
		}
	} else if err := session.thaw(now.ctx); err != nil {
		return err
	}
	return session.resume(now, stopped)
}
