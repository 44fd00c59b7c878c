package grade

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"
)

// maxReason bounds a reason, in characters: it stands beside a task on the page.
const maxReason = 400

// judgement is what one piece of data means by itself, without hold.
type judgement struct {
	verdict Verdict
	reason  string
}

// judge decides whether the check's condition holds of raw. It is pure.
func (c *compiled) judge(raw json.RawMessage, vars map[string]string, baseline Baseline) judgement {
	seen, err := decodeData(raw)
	if err != nil {
		return judgement{Error, "the checker cannot read what it kept"}
	}
	v, err := c.variables(seen, vars, baseline)
	if err != nil {
		return judgement{Error, err.Error()}
	}
	out, _, err := c.that.prog.Eval(map[string]any(v))
	switch {
	case err == nil && out == types.True:
		return judgement{verdict: Pass}
	case tooCostly(err):
		return judgement{Error, "the checker's condition takes too long to decide"}
	case len(seen.LeftOut) > 0:
		return judgement{Error, "the checker cannot decide: " + listWords(seen.LeftOut, "and") + " is too big to look at"}
	}
	return judgement{Fail, shorten(c.reason(seen, v), maxReason)}
}

func tooCostly(err error) bool {
	var cancelled interpreter.EvalCancelledError
	return errors.As(err, &cancelled) || err != nil && strings.Contains(err.Error(), "actual cost limit exceeded")
}

func (c *compiled) variables(seen data, vars map[string]string, baseline Baseline) (variables, error) {
	if vars == nil {
		vars = map[string]string{}
	}
	v := variables{string(c.subject): seen.value(c.subject), varsName: vars, baselineName: nil}
	if !c.useBaseline {
		return v, nil
	}
	raw, ok := baseline[c.ID]
	if !ok {
		return nil, errors.New("the checker does not know the state at hand-over")
	}
	before, err := decodeData(raw)
	if err != nil {
		return nil, errors.New("the checker cannot read the state at hand-over")
	}
	v[baselineName] = before.value(c.subject)
	return v, nil
}

// reason says why the condition does not hold.
func (c *compiled) reason(seen data, v variables) string {
	if c.otherwise != nil {
		return c.otherwise.fill(v)
	}
	switch {
	case seen.Note != "":
		return seen.Note
	case c.subject == oneObject && seen.Object == nil:
		return c.target(v) + " does not exist"
	case seen.Response != nil && seen.Response.Error != "":
		return fmt.Sprintf("%s gave no answer: %s", c.target(v), seen.Response.Error)
	}
	return c.why.explain(v)
}

// target names what the check looks at, as a learner would.
func (c *compiled) target(v variables) string {
	vars, _ := v[varsName].(map[string]string)
	fill := func(text string) string {
		if out, err := expand(text, vars, asIs); err == nil {
			return out
		}
		return text
	}
	if c.HTTP != nil {
		return fill(c.HTTP.URL)
	}
	if c.Watch.Namespace == "" {
		return c.Watch.Kind + " " + fill(c.Watch.Name)
	}
	return c.Watch.Kind + " " + fill(c.Watch.Namespace) + "/" + fill(c.Watch.Name)
}

// track follows one check through its evidence. What it says after each piece
// depends on nothing but the check, the vars, the baseline and the evidence so
// far.
//
// Between two pieces of evidence the system is taken to be as the first says;
// a hold is fulfilled only by a piece of evidence at its end or later. Time in
// which the checker could not look neither breaks a hold nor counts for it.
type track struct {
	check    *compiled
	vars     map[string]string
	baseline Baseline

	data  json.RawMessage // what was seen last; kept through errors
	alone judgement       // of data
	blind bool            // the last evidence is an error
	at    time.Time       // of the last evidence
	held  time.Duration   // for how long it has been seen to be true without a break
	last  Result
}

// see takes the next piece of evidence, and returns the result as it is then.
func (t *track) see(e Evidence) Result {
	if t.holding() && e.At.After(t.at) {
		t.held += e.At.Sub(t.at)
	}
	t.at = e.At
	t.blind = e.Error != ""
	if t.blind {
		return t.result(judgement{Error, shorten(e.Error, maxReason)})
	}
	if t.data == nil || !bytes.Equal(e.Data, t.data) {
		t.data = e.Data
		t.alone = t.check.judge(e.Data, t.vars, t.baseline)
	}
	if t.alone.verdict == Fail {
		t.held = 0
	}
	return t.result(t.alone)
}

func (t *track) holding() bool { return !t.blind && t.data != nil && t.alone.verdict == Pass }

// result applies hold to what the evidence says by itself.
func (t *track) result(j judgement) Result {
	r := Result{Check: t.check.ID, Verdict: j.verdict, Reason: j.reason, At: t.at}
	if left := time.Duration(t.check.Hold) - t.held; j.verdict == Pass && left > 0 {
		r.Verdict = Fail
		r.Reason = fmt.Sprintf("it is so now; it must stay so for %s", t.check.Hold)
		r.HoldUntil = t.at.Add(left)
	}
	t.last = r
	return r
}

// same reports whether two results tell a learner the same.
func (r Result) same(other Result) bool {
	return r.Verdict == other.Verdict && r.Reason == other.Reason && r.HoldUntil.Equal(other.HoldUntil)
}

// Replay judges kept evidence again, without looking at anything: the final
// result of each check, in the set's order. Evidence must be in the order in
// which it was kept; that of unknown checks is ignored. A check without
// evidence has Verdict Error. It is a pure function.
func (s *Set) Replay(evidence []Evidence, vars map[string]string, baseline Baseline) []Result {
	tracks := make(map[string]*track, len(s.checks))
	for _, c := range s.checks {
		tracks[c.ID] = &track{check: c, vars: vars, baseline: baseline}
	}
	for _, e := range evidence {
		if t, ok := tracks[e.Check]; ok {
			t.see(e)
		}
	}
	results := make([]Result, len(s.checks))
	for i, c := range s.checks {
		results[i] = tracks[c.ID].last
		if results[i].Check == "" {
			results[i] = Result{Check: c.ID, Verdict: Error, Reason: "the checker has not looked yet"}
		}
	}
	return results
}
