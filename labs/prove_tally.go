package labs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"drydock/labs/grade"
)

// tally keeps the latest result of each check of a live run, and remembers
// which ever failed.
type tally struct {
	mu      sync.Mutex
	latest  map[string]grade.Result
	failed  map[string]grade.Result // the first time that each check was really false
	held    map[string]bool         // checks that were true at some time, with or without their hold
	changed chan struct{}           // closed and replaced at each change
	moved   time.Time               // of the last change
	mover   string                  // the check whose result that was; empty before the first
	err     error                   // why the run ended before its time
}

func newTally() *tally {
	return &tally{
		latest: map[string]grade.Result{}, failed: map[string]grade.Result{}, held: map[string]bool{},
		changed: make(chan struct{}), moved: time.Now(),
	}
}

// judge runs the set until stop is called, which waits for its end.
func judge(ctx context.Context, set *grade.Set, env grade.Env) (t *tally, stop func()) {
	t = newTally()
	ctx, cancel := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() {
		if err := set.Run(ctx, env, t); err != nil && ctx.Err() == nil {
			t.change(func() { t.err = fmt.Errorf("judge the lab: %w", err) })
		}
	})
	return t, func() { cancel(); run.Wait() }
}

// Evidence implements grade.Sink.
func (t *tally) Evidence(grade.Evidence) {}

// Result implements grade.Sink.
func (t *tally) Result(r grade.Result) {
	t.change(func() {
		t.latest[r.Check], t.mover = r, r.Check
		if holds(r) {
			t.held[r.Check] = true
		} else if _, before := t.failed[r.Check]; !before && r.Verdict == grade.Fail {
			t.failed[r.Check] = r
		}
	})
}

func (t *tally) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	t.moved = time.Now()
	close(t.changed)
	t.changed = make(chan struct{})
}

// until waits for a condition, looking again at each change. The condition
// may call the methods of t.
func (t *tally) until(ctx context.Context, condition func() bool) error {
	for {
		t.mu.Lock()
		changed, err := t.changed, t.err
		t.mu.Unlock()
		switch {
		case err != nil:
			return err
		case condition():
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// untilQuiet waits until nothing has changed for as long as quiet, and no
// check is within its hold.
func (t *tally) untilQuiet(ctx context.Context, quiet time.Duration) error {
	for {
		t.mu.Lock()
		changed, err, left := t.changed, t.err, quiet-time.Since(t.moved)
		if t.holding() {
			left = max(left, quiet) // its end is a change
		}
		t.mu.Unlock()
		if err != nil || left <= 0 {
			return err
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// holding reports whether a check is true, but not yet for its hold. t.mu is held.
func (t *tally) holding() bool {
	for _, r := range t.latest {
		if !r.HoldUntil.IsZero() {
			return true
		}
	}
	return false
}

// stir has quiet begin anew.
func (t *tally) stir() { t.change(func() {}) }

// standings is where every check stands that has been judged.
func (t *tally) standings() map[string]standing {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]standing{}
	for id, r := range t.latest {
		all[id] = standingOf(r)
	}
	return all
}

// lastMoved names the check that changed last, and what it says.
func (t *tally) lastMoved() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return describe(grade.Check{ID: t.mover}, t.latest[t.mover])
}

// result is the latest of one check; its Verdict is empty before the first.
func (t *tally) result(check string) grade.Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.latest[check]
}

// everHeld reports whether a check was true at some time.
func (t *tally) everHeld(check string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held[check]
}

// violated returns the first failure of a guard, if it ever failed.
func (t *tally) violated(guard string) (grade.Result, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.failed[guard]
	return r, ok
}

// judged reports whether every check has a verdict other than Error.
func (t *tally) judged(checks []grade.Check) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range checks {
		if v := t.latest[c.ID].Verdict; v != grade.Pass && v != grade.Fail {
			return false
		}
	}
	return true
}

// missing says, one by one, which checks do not pass, and why.
func (t *tally) missing(checks []grade.Check) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, c := range checks {
		if r := t.latest[c.ID]; r.Verdict != grade.Pass {
			all = append(all, describe(c, r))
		}
	}
	return all
}

// holdsAtLeast reports whether every check is true, with or without its hold.
func (t *tally) holdsAtLeast(checks []grade.Check) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range checks {
		if !holds(t.latest[c.ID]) {
			return false
		}
	}
	return true
}

// holds reports whether a check's condition is true, even if not yet for its hold.
func holds(r grade.Result) bool { return r.Verdict == grade.Pass || !r.HoldUntil.IsZero() }

// describe says where a check stands.
func describe(c grade.Check, r grade.Result) string {
	switch r.Verdict {
	case "":
		return c.ID + " was not judged yet"
	case grade.Pass:
		return c.ID + " passes"
	case grade.Error:
		return c.ID + " could not be looked at: " + r.Reason
	}
	if holds(r) {
		return fmt.Sprintf("%s holds, but not yet for %s", c.ID, c.Hold)
	}
	if r.Reason == "" {
		return c.ID + " fails"
	}
	return c.ID + " fails: " + r.Reason
}
