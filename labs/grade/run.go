package grade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// evidenceEvery is how often evidence that changes no result is kept: more
// would fill the store with the counters of a status, less would leave too
// little for judging again with a corrected check.
const evidenceEvery = 2 * time.Second

// askAgain is the pause before a source that did not answer a request to look
// again is asked once more.
const askAgain = time.Second

// shared is a source with the conditions that look at it.
type shared struct {
	source
	looking []int // conditions of the set
	again   chan struct{}
	told    atomic.Int64 // how often it has told what it saw, and that was judged
}

// sources makes the sources of the conditions that want has. Those that look at
// the same thing share one.
func (s *Set) sources(p *place, want func(*condition) bool) ([]*shared, error) {
	byKey := map[string]*shared{}
	var all []*shared
	var problems []error
	for i, c := range s.conditions {
		if !want(c) {
			continue
		}
		key, src, err := p.source(c)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if byKey[key] == nil {
			byKey[key] = &shared{source: src, again: make(chan struct{}, 1)}
			all = append(all, byKey[key])
		}
		byKey[key].looking = append(byKey[key].looking, i)
		if v, ok := byKey[key].source.(*vantage); ok && c.everyAnswer() {
			v.answersAll()
		}
	}
	return all, errors.Join(problems...)
}

func every(*condition) bool { return true }

// lookAgain asks the source to look again now; a request not yet served covers this one.
func (s *shared) lookAgain() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// runs are the runs of a set that are going on.
type runs struct {
	mu  sync.Mutex
	all map[*run]bool
}

func newRuns() *runs { return &runs{all: map[*run]bool{}} }

func (r *runs) add(one *run) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[one] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all, one)
	}
}

// Recheck makes every run of the set look again now: at what the check with
// that id looks at, or at everything when id is empty.
func (s *Set) Recheck(id string) {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	for r := range s.runs.all {
		for _, src := range r.sources {
			for _, i := range src.looking {
				if id == "" || s.checks[s.owner[i]].ID == id {
					src.lookAgain()
				}
			}
		}
	}
}

// lookPoll is the pause between two looks whether all have looked again.
const lookPoll = 5 * time.Millisecond

// LookOnceMore has the runs of the set look at everything again, and returns
// when that was judged, or ctx ends: for whoever is about to end a run, so that
// what was mended a moment ago counts. A measurement is not made again: it takes
// too long.
func (s *Set) LookOnceMore(ctx context.Context) {
	// What a source tells next may be from a look that began before it was asked;
	// what it tells after that, when it was asked again, is not.
	for range 2 {
		var waiting []func() bool
		s.runs.mu.Lock()
		for r := range s.runs.all {
			for _, src := range r.sources {
				if _, measures := src.source.(*measurements); measures {
					continue
				}
				before := src.told.Load()
				src.lookAgain()
				waiting = append(waiting, func() bool { return src.told.Load() == before })
			}
		}
		s.runs.mu.Unlock()
		for _, waits := range waiting {
			for waits() {
				select {
				case <-time.After(lookPoll):
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

// run is one Run.
type run struct {
	began   int64 // in Unix milliseconds, for the evidence
	place   *place
	sink    Sink
	sources []*shared
	tracks  *tracks
	asked   []time.Time // as the set's checks: when its sources were last asked to look again for the hold
	sights  chan sighting
	nudge   chan struct{} // the learner does something

	// In Unix milliseconds: when the learner did something last, and when that or
	// its effect was last seen.
	attended, stirred atomic.Int64

	mu     sync.Mutex // what Waiting reads of the states; not held while the sink is told
	states []*state   // as the set's conditions
}

type sighting struct {
	source *shared
	sight
}

// state is what was sent of one condition within a run.
type state struct {
	source  *shared
	sent    json.RawMessage // the data of the evidence sent last
	sentAt  time.Time
	waiting *Evidence // seen, but not yet sent
}

// Run looks at the sandbox until ctx ends, and judges all the while. It
// returns nil when ctx ends, and an error only when env cannot serve the set.
// What it cannot look at is a result with Verdict Error, and tried again.
func (s *Set) Run(ctx context.Context, env Env, sink Sink) error {
	p, err := newPlace(env)
	if err != nil {
		return err
	}
	defer p.close()
	r := &run{
		began: p.env.Now().UnixMilli(), place: p, sink: sink, tracks: s.track(env.Vars, env.Baseline, env.Passed),
		states: make([]*state, len(s.conditions)), asked: make([]time.Time, len(s.checks)),
		sights: make(chan sighting), nudge: make(chan struct{}, 1),
	}
	if r.sources, err = s.sources(p, every); err != nil {
		return err
	}
	for _, src := range r.sources {
		for _, i := range src.looking {
			r.states[i] = &state{source: src}
		}
	}
	defer s.runs.add(r)()
	r.judge(ctx)
	return nil
}

// judge starts the sources and takes what they see, until ctx ends.
func (r *run) judge(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	for _, src := range r.sources {
		looking.Go(func() {
			src.follow(ctx, src.again, func(seen data, err error) {
				select {
				case r.sights <- sighting{src, r.place.sight(seen, err)}:
				case <-ctx.Done():
				}
			})
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.sendWaiting(time.Time{})
			return
		case seen := <-r.sights:
			for _, i := range seen.source.looking {
				r.take(i, seen.sight)
			}
			seen.source.told.Add(1)
		case <-timer.C:
		case <-r.nudge:
		}
		now := r.place.env.Now()
		timer.Reset(min(r.wake(now), r.setPaces(now)))
	}
}

// take judges what was seen of a condition, and tells the sink when that changes anything.
func (r *run) take(condition int, seen sight) {
	set, s := r.tracks.set, r.states[condition]
	e := set.conditions[condition].evidence(seen)
	e.Run = r.began
	check := r.tracks.checks[set.owner[condition]]
	before, had := check.last, r.tracks.conditions[condition].data
	_, opened := r.tracks.see(condition, e)
	if _, watched := s.source.source.(*objects); watched && had != nil && e.Error == "" && !bytes.Equal(had, e.Data) {
		r.stir(e.At)
	}
	switch {
	case check.last.Check != "" && (before.Check == "" || !check.last.same(before)):
		if seen.cause != nil {
			r.place.env.Log.Warn("a check cannot look", "check", e.Check, "err", seen.cause)
		}
		r.sendParts(check, s)
		r.send(s, e)
		r.sink.Result(check.last)
	case e.Error == "" && !bytes.Equal(seen.data, s.sent):
		r.wait(s, &e)
	case e.Error == "":
		r.wait(s, nil) // back to what was sent
	}
	for _, i := range opened {
		r.lookAgain(i)
	}
}

// sendParts sends what the result of a check made of parts depends on beside
// the part that decided it.
func (r *run) sendParts(check *track, decided *state) {
	for _, i := range check.check.conditions {
		if part := r.states[i]; part != decided && part.waiting != nil {
			r.send(part, *part.waiting)
		}
	}
}

// lookAgain asks for a new look at all that a check looks at.
func (r *run) lookAgain(check int) {
	for _, i := range r.tracks.set.checks[check].conditions {
		r.states[i].source.lookAgain()
	}
}

// evidence is a sight as the condition has it.
func (c *condition) evidence(seen sight) Evidence {
	return Evidence{Check: c.path, At: seen.at, Format: DataFormat, Data: seen.data, Error: seen.err}
}

func (r *run) wait(s *state, e *Evidence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.waiting = e
}

func (r *run) send(s *state, e Evidence) {
	r.wait(s, nil)
	s.sentAt, s.sent = e.At, e.Data
	r.sink.Evidence(e)
}

// Waiting returns the evidence that the runs of the set have seen and not yet
// sent, because it changed no result: for whoever ends a run, and wants to
// keep what it saw last.
func (s *Set) Waiting() []Evidence {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	var all []Evidence
	for r := range s.runs.all {
		r.mu.Lock()
		for _, st := range r.states {
			if st.waiting != nil {
				all = append(all, *st.waiting)
			}
		}
		r.mu.Unlock()
	}
	return all
}

// sendWaiting sends the evidence that has waited long enough; with a zero
// time, all.
func (r *run) sendWaiting(now time.Time) {
	for _, s := range r.states {
		if s.waiting != nil && (now.IsZero() || now.Sub(s.sentAt) >= evidenceEvery) {
			r.send(s, *s.waiting)
		}
	}
}

// wake does what is due, and returns the time to the next that will be. A
// hold that is over is decided by looking once more.
func (r *run) wake(now time.Time) time.Duration {
	r.sendWaiting(now)
	next := time.Hour
	for _, s := range r.states {
		if s.waiting != nil {
			next = min(next, s.sentAt.Add(evidenceEvery).Sub(now))
		}
	}
	for i, c := range r.tracks.checks {
		until := c.last.HoldUntil
		if until.IsZero() {
			continue
		}
		if again := r.asked[i].Add(askAgain); again.After(until) {
			until = again
		}
		if !until.After(now) {
			r.asked[i] = now
			r.lookAgain(i)
			until = now.Add(askAgain)
		}
		next = min(next, until.Sub(now))
	}
	return max(next, time.Millisecond)
}

// lookAll looks once at all sources, side by side.
func lookAll(ctx context.Context, p *place, sources []*shared) []sight {
	sights := make([]sight, len(sources))
	var looking sync.WaitGroup
	for i, src := range sources {
		looking.Go(func() { sights[i] = p.sight(src.look(ctx)) })
	}
	looking.Wait()
	return sights
}

// collect looks once, for the conditions that want has.
func (s *Set) collect(ctx context.Context, env Env, want func(*condition) bool) ([]Evidence, error) {
	p, err := newPlace(env)
	if err != nil {
		return nil, err
	}
	defer p.close()
	sources, err := s.sources(p, want)
	if err != nil {
		return nil, err
	}
	found := make([]*Evidence, len(s.conditions))
	for i, seen := range lookAll(ctx, p, sources) {
		if seen.cause != nil {
			p.env.Log.Warn("a check cannot look", "check", s.conditions[sources[i].looking[0]].path, "err", seen.cause)
		}
		for _, c := range sources[i].looking {
			e := s.conditions[c].evidence(seen)
			found[c] = &e
		}
	}
	var evidence []Evidence
	for _, e := range found {
		if e != nil {
			evidence = append(evidence, *e)
		}
	}
	return evidence, ctx.Err()
}

// Once looks at everything once and judges it. A check with a hold that is
// true now is a Fail with HoldUntil set.
func (s *Set) Once(ctx context.Context, env Env) ([]Evidence, []Result, error) {
	evidence, err := s.collect(ctx, env, every)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the sandbox: %w", err)
	}
	return evidence, s.Replay(evidence, env.Vars, env.Baseline), nil
}

// Baseline collects what the checks that mention `baseline` compare with. Call
// it at hand-over. It fails when one of them could not be looked at.
func (s *Set) Baseline(ctx context.Context, env Env) (Baseline, error) {
	evidence, err := s.collect(ctx, env, func(c *condition) bool { return c.useBaseline })
	if err != nil {
		return nil, fmt.Errorf("look at the state at hand-over: %w", err)
	}
	baseline := make(Baseline, len(evidence))
	var problems []error
	for _, e := range evidence {
		if e.Error != "" {
			problems = append(problems, fmt.Errorf("check %s: %s", e.Check, e.Error))
		}
		baseline[e.Check] = e.Data
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("look at the state at hand-over: %w", errors.Join(problems...))
	}
	return baseline, nil
}
