package grade

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// tracks follow the checks of a set through their evidence. What they say
// after each piece depends on nothing but the set, the vars, the baseline and
// the evidence so far.
type tracks struct {
	set        *Set
	vars       map[string]string
	baseline   Baseline
	conditions []sighted
	checks     []*track
}

// sighted is what was seen of one condition last.
type sighted struct {
	data  json.RawMessage // kept through errors; nil when nothing was seen yet
	alone judgement       // of data
	now   judgement       // alone, or that it could not be looked at
	at    time.Time       // of the last evidence
}

// track is one check on its way.
//
// Between two pieces of evidence the system is taken to be as the first says;
// a hold is fulfilled only by a look at its end or later, at all that the
// check looks at. Time in which the checker could not look neither breaks a
// hold nor counts for it.
type track struct {
	check  *compiled
	passed bool          // at some time
	holds  bool          // it was true at known
	known  time.Time     // up to when the state is known
	held   time.Duration // for how long it has been seen to be true without a break
	last   Result
}

// track begins to follow. passed says which checks had passed before.
func (s *Set) track(vars map[string]string, baseline Baseline, passed map[string]bool) *tracks {
	t := &tracks{set: s, vars: vars, baseline: baseline, conditions: make([]sighted, len(s.conditions))}
	for _, c := range s.checks {
		t.checks = append(t.checks, &track{check: c, passed: passed[c.ID]})
	}
	return t
}

// see takes the next piece of evidence of a condition. It returns the check
// that the condition belongs to, whose result is then last, and the checks
// that may be looked at from now on.
func (t *tracks) see(condition int, e Evidence) (owner int, opened []int) {
	owner = t.set.owner[condition]
	t.sighted(condition, e)
	check := t.checks[owner]
	passedBefore := check.passed
	t.update(check, e.At)
	if check.passed && !passedBefore {
		opened = t.open(owner)
	}
	return owner, opened
}

func (t *tracks) sighted(condition int, e Evidence) {
	s := &t.conditions[condition]
	s.at = e.At
	if e.Error != "" {
		s.now = judgement{Error, shorten(e.Error, maxReason)}
		return
	}
	if s.data == nil || !bytes.Equal(e.Data, s.data) {
		s.data = e.Data
		s.alone = t.set.conditions[condition].judge(e.Data, t.vars, t.baseline)
	}
	s.now = s.alone
}

// open lets those checks count that come after the one that has just passed:
// what was seen of them before does not.
func (t *tracks) open(passed int) []int {
	var opened []int
	for i, c := range t.checks {
		if c.check.after != passed {
			continue
		}
		for _, condition := range c.check.conditions {
			t.conditions[condition] = sighted{}
		}
		opened = append(opened, i)
	}
	return opened
}

// update judges the check anew, after evidence of the time at.
func (t *tracks) update(c *track, at time.Time) {
	if before := c.check.after; before >= 0 && !t.checks[before].passed {
		c.last = Result{Check: c.check.ID, Verdict: Fail, Reason: firstOf(t.checks[before].last), At: at}
		return
	}
	known := at
	for _, condition := range c.check.conditions {
		if seen := t.conditions[condition].at; seen.Before(known) && !seen.IsZero() {
			known = seen
		}
	}
	switch {
	case at.Before(c.known): // the clock was put back
		c.known = at
	case c.holds && known.After(c.known):
		c.held += known.Sub(c.known)
		c.known = known
	}
	j := c.check.tree.judge(func(i int) judgement { return t.conditions[i].now }, t.vars)
	switch {
	case j.verdict == "":
		return
	case j.verdict == Fail:
		c.held = 0
	}
	if holds := j.verdict == Pass; holds != c.holds {
		c.holds, c.known = holds, at
	}
	c.last = c.result(j, at)
}

// firstOf says that something else has to be done before. Of a chain of checks
// that wait for one another it names the one that does not.
func firstOf(before Result) string {
	const first = "something else has to be done first"
	switch {
	case before.Reason == "":
		return first
	case strings.HasPrefix(before.Reason, first):
		return before.Reason
	}
	return shorten(first+": "+before.Reason, maxReason)
}

// result applies hold and once to what the evidence says by itself.
func (c *track) result(j judgement, at time.Time) Result {
	r := Result{Check: c.check.ID, Verdict: j.verdict, Reason: j.reason, At: at}
	left := time.Duration(c.check.Hold) - c.held
	switch {
	case c.check.Once && c.passed:
		return Result{Check: c.check.ID, Verdict: Pass, At: at}
	case j.verdict == Pass && left > 0:
		r.Verdict = Fail
		r.Reason = fmt.Sprintf("it is so now; it must stay so for %s", c.check.Hold)
		r.HoldUntil = c.known.Add(left)
	case j.verdict == Pass:
		c.passed, r.Reason = true, ""
	}
	return r
}
