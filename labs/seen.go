package labs

import (
	"context"
	"maps"
	"slices"
	"time"

	"drydock/labs/grade"
)

const (
	// storeSeenEvery is how often evidence that decided nothing is stored, of
	// all sessions in one transaction: a kill loses that much of it at most.
	storeSeenEvery = time.Second
	// seenRate is how much evidence of a session is stored, in bytes a second
	// before compression. A cluster in the middle of a rollout makes a third of
	// it; at this rate the room that an attempt has lasts for two hours and more.
	seenRate = 32 << 10
	// seenBurst is what may come at once: some looks at everything in a big
	// namespace, as when the grading begins.
	seenBurst = 8 << 20
	// maxSeenPending bounds what waits to be stored while the disk takes nothing.
	maxSeenPending = 16 << 20
)

// Seen is evidence of an attempt that decided nothing by itself.
type Seen struct {
	Evidence []grade.Evidence
	LeftOut  int // pieces that came before these, and were too many
}

// seen is what the checks of a session saw and is not stored yet. Its session
// guards it.
type seen struct {
	now     func() time.Time
	latest  map[string]grade.Evidence // of each check, stored or not
	pending []grade.Evidence          // in the order in which it came
	size    int                       // of pending, in bytes
	leftOut int
	full    bool // the attempt has no more room for what decides nothing

	allowance float64 // bytes that may come now
	counted   time.Time
}

func newSeen(now func() time.Time) seen {
	return seen{now: now, latest: map[string]grade.Evidence{}, allowance: seenBurst, counted: now()}
}

// add takes what a check saw in a session that is in the phase. What is seen
// of a sandbox that is being replaced, or after the end, is nobody's any more.
func (s *seen) add(e grade.Evidence, phase Phase) {
	if phase != PhaseRunning && phase != PhaseTrouble {
		return
	}
	s.latest[e.Check] = e
	now := s.now()
	s.allowance = min(seenBurst, s.allowance+seenRate*now.Sub(s.counted).Seconds())
	s.counted = now
	if size := len(e.Data) + len(e.Error); s.full || float64(size) > s.allowance || s.size+size > maxSeenPending {
		s.leftOut++
		return
	}
	s.push(e)
}

func (s *seen) push(e grade.Evidence) {
	size := len(e.Data) + len(e.Error)
	s.allowance -= float64(size)
	s.size += size
	s.pending = append(s.pending, e)
}

// decisive takes all that is pending, up to the latest of a check and its
// parts, which has decided something: it is among them even where there was no
// more room.
func (s *seen) decisive(check string) []grade.Evidence {
	for _, path := range slices.Sorted(maps.Keys(s.latest)) {
		e := s.latest[path]
		if !grade.OfCheck(path, check) || slices.ContainsFunc(s.pending, func(p grade.Evidence) bool { return p.Check == path && p.At.Equal(e.At) && p.Run == e.Run }) {
			continue
		}
		s.push(e)
		s.leftOut = max(0, s.leftOut-1)
	}
	return s.take().Evidence
}

// final takes all that is pending, and what each check saw last.
func (s *seen) final(last []grade.Evidence) []grade.Evidence {
	for _, e := range last {
		if e.At.After(s.latest[e.Check].At) {
			s.latest[e.Check] = e
		}
	}
	return append(s.take().Evidence, slices.Collect(maps.Values(s.latest))...)
}

// take takes what is pending, but leaves the count of what was left out to
// [Sessions.storeSeen].
func (s *seen) take() Seen {
	taken := Seen{Evidence: s.pending, LeftOut: s.leftOut}
	s.pending, s.size = nil, 0
	return taken
}

// untake puts back what could not be stored.
func (s *seen) untake(taken []grade.Evidence) {
	s.pending = append(taken, s.pending...)
	for _, e := range taken {
		s.size += len(e.Data) + len(e.Error)
	}
}

// forget drops what belongs to the sandbox that a reset replaces and is stored
// or nobody's.
func (s *seen) forget() { s.latest = map[string]grade.Evidence{} }

func (s *Sessions) storeSeenLoop() {
	tick := time.NewTicker(storeSeenEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.storeSeen()
		case <-s.ctx.Done():
			return
		}
	}
}

// storeSeen stores what all sessions have seen since it did so last. What can't
// be stored now waits for the next time.
func (s *Sessions) storeSeen() {
	batch := map[string]Seen{}
	for _, session := range s.Running() {
		session.mu.Lock()
		taken := session.seen.take()
		session.seen.leftOut = 0
		session.mu.Unlock()
		if len(taken.Evidence) > 0 || taken.LeftOut > 0 {
			batch[session.ID()] = taken
		}
	}
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	full, err := s.cfg.Log.AddSeen(ctx, batch)
	if err != nil {
		s.log.Warn("evidence could not be stored; it is tried again", "sessions", len(batch), "err", err)
	}
	for id, taken := range batch {
		session, ok := s.Get(id)
		if !ok {
			continue // ended meanwhile, with what each check saw last
		}
		session.mu.Lock()
		if err != nil {
			session.seen.untake(taken.Evidence)
			session.seen.leftOut += taken.LeftOut
		}
		session.seen.full = session.seen.full || slices.Contains(full, id)
		session.mu.Unlock()
	}
}
