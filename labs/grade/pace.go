package grade

import (
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// AwaitedEvery is how often a probe looks at the least while a check of its
	// own does not pass and a tick is likely: then somebody waits for it, and half
	// of this is what waiting for the next look adds at the median. A look costs the
	// sandbox more than a millisecond.
	AwaitedEvery = 400 * time.Millisecond
	// awaitedFor is for how long a tick is likely after the learner did something,
	// and after a change of what the checks watch.
	awaitedFor = 5 * time.Second
	// causedFor is for how long after the learner did something a change is taken
	// for its effect: a rollout takes half of it.
	causedFor = time.Minute
)

// pace is how often a probe looks, which changes while it goes on.
type pace struct {
	every   atomic.Int64
	changed chan struct{}
}

func newPace(every time.Duration) *pace {
	p := &pace{changed: make(chan struct{}, 1)}
	p.every.Store(int64(every))
	return p
}

func (p *pace) now() time.Duration { return time.Duration(p.every.Load()) }

func (p *pace) set(every time.Duration) {
	if p.every.Swap(int64(every)) == int64(every) {
		return
	}
	select {
	case p.changed <- struct{}{}:
	default: // whoever takes that up reads the latest
	}
}

// awaited is the period while somebody waits. What may change something where
// it is sent to is not sent more often than its author has said.
func (v *vantage) awaited() time.Duration {
	switch h, t := v.request.HTTP, v.request.TCP; {
	case h != nil && h.Method != http.MethodGet && h.Method != http.MethodHead, t != nil && t.Send != "":
		return v.every
	}
	return min(v.every, AwaitedEvery)
}

// Attend tells the runs of the set that the learner does something, and so is
// likely to wait for a tick soon. It costs next to nothing: it is called for
// every key.
func (s *Set) Attend() {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	for r := range s.runs.all {
		r.attend()
	}
}

func (r *run) attend() {
	now := r.place.env.Now()
	r.attended.Store(now.UnixMilli())
	before := r.stirred.Swap(now.UnixMilli())
	if time.UnixMilli(before).Add(awaitedFor).After(now) {
		return // it is known
	}
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// stir notes that something has changed that is watched.
func (r *run) stir(at time.Time) {
	if time.UnixMilli(r.attended.Load()).Add(causedFor).After(at) {
		r.stirred.Store(at.UnixMilli())
	}
}

// setPaces has each probe look as often as it should now, and returns the time
// for which that holds.
func (r *run) setPaces(now time.Time) time.Duration {
	left := time.UnixMilli(r.stirred.Load()).Add(awaitedFor).Sub(now)
	for _, src := range r.sources {
		v, ok := src.source.(*vantage)
		switch {
		case !ok:
		case left > 0 && r.open(src):
			v.pace.set(v.awaited())
		default:
			v.pace.set(v.every)
		}
	}
	if left <= 0 {
		return time.Hour
	}
	return left
}

// open reports whether a check that looks at the source does not pass.
func (r *run) open(src *shared) bool {
	for _, i := range src.looking {
		if r.tracks.checks[r.tracks.set.owner[i]].last.Verdict != Pass {
			return true
		}
	}
	return false
}
