package labs

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"drydock/labs/grade"
	"drydock/labs/trail"
	"drydock/sandbox"
)

// Ids of evidence that tells how a fault was repaired. No check has them: a
// check's id has no slash.
const (
	trailPrefix   = "trail/"
	trailAudit    = trailPrefix + "audit"    // Data: trail.Part
	trailBaseline = trailPrefix + "baseline" // Data: trail.Snapshot, at hand-over
	trailEnd      = trailPrefix + "end"      // Data: trail.Difference, before a reset and at the end
)

const (
	// defaultTrail is how often the audit log of a learner who works is read. A
	// look costs a tenth of a second of a core, and what is not read yet is
	// safe on the node.
	defaultTrail = 30 * time.Second
	// auditTimeout bounds one look at the log, snapshotTimeout one at all
	// objects. They take a tenth of a second and half of one.
	auditTimeout    = 10 * time.Second
	snapshotTimeout = 10 * time.Second
	// lookBackTimeout is what both together may take of a learner who ends a session or resets it.
	lookBackTimeout = 12 * time.Second
	// maxParts bounds the parts, of a mebibyte at most, that one look reads: the node keeps 32 MiB.
	maxParts = 64

	// A script that is pasted runs its lines at once; beyond that, more commands
	// in a second are no person's.
	commandsBurst  = 40
	commandsPerSec = 4
	// maxCommands bounds the commands of an attempt: hours of work are some hundreds.
	maxCommands = 2000

	// collateralChanges and collateralFields bound what the log of an attempt
	// says of collateral; the evidence has all of it.
	collateralChanges = 60
	collateralFields  = 4
)

// sessionTrail is how far a session has read what the learner did. mu is held
// while it looks, and taken before the session's own.
type sessionTrail struct {
	mu       sync.Mutex
	next     string // place in the audit log
	run      int    // of the sandbox whose log that is
	tally    trail.Tally
	baseline *trail.Snapshot // of that sandbox; nil: not known
	mute     bool            // the log can't be read, which was logged
}

// allowance lets through so many a second, after a burst.
type allowance struct {
	left    float64
	at      time.Time
	skipped int
}

// take says whether there is room for one more now.
func (a *allowance) take(now time.Time) bool {
	if a.at.IsZero() {
		a.left = commandsBurst
	}
	a.left = min(commandsBurst, a.left+now.Sub(a.at).Seconds()*commandsPerSec)
	a.at = now
	if a.left < 1 {
		a.skipped++
		return false
	}
	a.left--
	return true
}

// ran notes that a shell says that it has run a command.
func (s *Session) ran(tab string, c trail.Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.commands >= maxCommands || !s.commands.take(s.sessions.cfg.Now()) {
		return
	}
	data := map[string]any{"tab": tab, "text": c.Text, "code": c.Code, "tookMs": c.Took.Milliseconds()}
	if !c.Ended {
		data["running"] = true
	}
	if s.commands.skipped > 0 {
		data["skipped"] = s.commands.skipped
	}
	if s.emitLocked(Event{Type: EventShell}, data) == nil {
		s.commands.skipped = 0
	}
}

// hasTrail reports whether there is a cluster that keeps an audit log.
func (s *Session) hasTrail() bool { return s.lab.Sandbox.Kind == sandbox.Cluster }

// followTrail reads the audit log every now and then while the learner works,
// and once more after that: what was typed last may have taken a while.
func (s *Session) followTrail(ctx context.Context) {
	tick := time.NewTicker(s.sessions.cfg.Trail)
	defer tick.Stop()
	last, owed := -1, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		touches := s.touches
		s.mu.Unlock()
		if touches != last {
			last, owed = touches, 2
		}
		if owed > 0 {
			owed--
			s.readAudit(ctx)
		}
	}
}

// readAudit keeps what has come into the audit log since the last look. What
// it can't read now, the next look reads.
func (s *Session) readAudit(ctx context.Context) {
	s.trail.mu.Lock()
	defer s.trail.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	err := s.readAuditLocked(ctx)
	if err != nil && ctx.Err() == nil && !s.trail.mute {
		s.trail.mute = true
		s.sessions.log.Warn("the audit log can't be read", "session", s.ID(), "err", err)
	}
}

func (s *Session) readAuditLocked(ctx context.Context) error {
	s.mu.Lock()
	since := s.progress.handed
	run := func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		return s.sessions.cfg.Provider.Exec(ctx, s.ID(), cmd)
	}
	if now := s.stretch; now != nil && now.runner != nil {
		run = now.runner.Exec
	}
	s.mu.Unlock()
	for range maxParts {
		res, err := run(ctx, sandbox.AuditCommand(s.trail.next))
		if err != nil {
			return err
		}
		part, err := sandbox.ParseAudit(res)
		if err != nil {
			return err
		}
		if err := s.keepRequests(part, since); err != nil {
			return err
		}
		if !part.More {
			return nil
		}
	}
	return nil
}

// keepRequests keeps the requests of a part of the log and, in the same piece
// of evidence, where the log goes on: a kill in between would lose or repeat.
func (s *Session) keepRequests(read sandbox.AuditPart, since time.Time) error {
	tally := s.trail.tally.Clone()
	part := trail.Part{Next: read.Next, Run: s.trail.run, Lost: read.Lost, Requests: tally.Admit(trail.ParseAudit(read.Lines, since))}
	part.LeftOut = tally.LeftOut
	if len(part.Requests) > 0 || part.Lost {
		if err := s.keepTrail(trailAudit, part); err != nil {
			return err
		}
	}
	s.trail.tally, s.trail.next = tally, read.Next
	return nil
}

// keepTrail keeps a piece of the trail as evidence.
func (s *Session) keepTrail(id string, what any) error {
	data, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := s.sessions.cfg.Log.AddEvidence(ctx, s.ID(), grade.Evidence{Check: id, At: s.sessions.cfg.Now(), Data: data}); err != nil {
		return fmt.Errorf("keep %s: %w", id, err)
	}
	return nil
}

// remember takes the snapshot that the end is compared with. The learner has
// been let in by then and can't be kept waiting for it; what is changed before
// it is taken, within the first moments, only the audit log has.
func (s *Session) remember(ctx context.Context, env grade.Env) {
	s.trail.mu.Lock()
	defer s.trail.mu.Unlock()
	now, err := s.snapshotObjects(ctx, env)
	if err == nil {
		err = s.keepTrail(trailBaseline, now)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.sessions.log.Warn("there is nothing to compare the end of a session with", "session", s.ID(), "err", err)
		}
		return
	}
	s.trail.baseline = &now
}

func (s *Session) snapshotObjects(ctx context.Context, env grade.Env) (trail.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	now, err := takeSnapshot(ctx, env.REST, s.lab.Sandbox)
	now.At, now.Run = s.sessions.cfg.Now(), s.trail.run
	return now, err
}

// lookBack looks for the last time at a sandbox that goes: at what its audit
// log still has, and at what is otherwise than at hand-over. What can't be
// looked at is not told; it costs nobody anything.
func (s *Session) lookBack(ctx context.Context, asleep bool) {
	if !s.hasTrail() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookBackTimeout)
	defer cancel()
	if asleep {
		if err := s.sessions.cfg.Provider.Thaw(ctx, s.ID()); err != nil {
			s.sessions.log.Warn("a session can't be looked back at", "session", s.ID(), "err", err)
			return
		}
	}
	s.readAudit(ctx)
	s.trail.mu.Lock()
	defer s.trail.mu.Unlock()
	if s.trail.baseline == nil {
		return
	}
	if err := s.compareObjects(ctx); err != nil {
		s.sessions.log.Warn("what else changed can't be told", "session", s.ID(), "err", err)
	}
}

// compareObjects tells what is otherwise than at hand-over.
func (s *Session) compareObjects(ctx context.Context) error {
	env, err := s.env(ctx)
	if err != nil {
		return err
	}
	now, err := s.snapshotObjects(ctx, env)
	if err != nil {
		return err
	}
	d := trail.Compare(*s.trail.baseline, now)
	if err := s.keepTrail(trailEnd, d); err != nil {
		return err
	}
	told := d.Bounded(collateralChanges, collateralFields, func(c trail.ObjectChange) bool { return !s.lab.expects(c, s.variant) })
	return s.emit(Event{Type: EventCollateral}, told)
}

// loadTrail takes up where an earlier run of the server stopped reading.
// evidence is the attempt's, oldest first; run is the sandbox's number.
func (t *sessionTrail) load(evidence []grade.Evidence, run int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run = run
	for _, e := range evidence {
		switch e.Check {
		case trailAudit:
			var part trail.Part
			if json.Unmarshal(e.Data, &part) != nil {
				continue
			}
			t.tally.Count(part)
			if part.Run == run {
				t.next = part.Next
			}
		case trailBaseline:
			var s trail.Snapshot
			if json.Unmarshal(e.Data, &s) == nil && s.Run == run {
				t.baseline = &s
			}
		}
	}
}

// renew begins with the sandbox that a reset has made.
func (t *sessionTrail) renew(run int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.run, t.baseline, t.mute = "", run, nil, false
}

// BaselineOf is the id of the evidence of what a check saw at hand-over.
func BaselineOf(check string) string { return baselinePrefix + check }

// Trail is what is kept of an attempt beside its events.
type Trail struct {
	Requests    []trail.Request
	Lost        bool                     // some of the audit log was thrown away before it was read
	LeftOut     int                      // requests that there was no room for
	Differences map[int]trail.Difference // by the number of resets before
}

// ReadTrail reads what evidence tells of how a fault was repaired.
func ReadTrail(evidence []grade.Evidence) Trail {
	t := Trail{Differences: map[int]trail.Difference{}}
	var parts []trail.Part
	for _, e := range evidence {
		switch e.Check {
		case trailAudit:
			var part trail.Part
			if json.Unmarshal(e.Data, &part) == nil {
				parts = append(parts, part)
			}
		case trailEnd:
			var d trail.Difference
			if json.Unmarshal(e.Data, &d) == nil {
				t.Differences[d.Run] = d
			}
		}
	}
	t.Requests, t.Lost, t.LeftOut = trail.Join(parts)
	return t
}
