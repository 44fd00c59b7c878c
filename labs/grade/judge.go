package grade

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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

// judge decides whether the condition holds of raw. It is pure.
func (c *condition) judge(raw json.RawMessage, vars map[string]string, baseline Baseline) judgement {
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

func (c *condition) variables(seen data, vars map[string]string, baseline Baseline) (variables, error) {
	if vars == nil {
		vars = map[string]string{}
	}
	v := variables{string(c.subject): seen.value(c.subject), varsName: vars, baselineName: nil}
	if !c.useBaseline {
		return v, nil
	}
	raw, ok := baseline[c.path]
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
func (c *condition) reason(seen data, v variables) string {
	if c.otherwise != nil {
		return c.otherwise.fill(v)
	}
	switch {
	case seen.Note != "":
		return seen.Note
	case benchWrong(seen.Bench) != "":
		return benchWrong(seen.Bench)
	case seen.File != nil && seen.File.Error == "" && !seen.File.Exists:
		return c.target(v) + " does not exist"
	case c.subject == oneObject && seen.Object == nil:
		return c.target(v) + " does not exist"
	case seen.noAnswer() != "":
		return fmt.Sprintf("%s gave no answer: %s", c.target(v), seen.noAnswer())
	}
	return c.why.explain(v)
}

// target names what is looked at, as a learner would.
func (c *condition) target(v variables) string {
	vars, _ := v[varsName].(map[string]string)
	looks, _, err := c.withVars(vars)
	if err != nil {
		looks = c.looks
	}
	return looks.name()
}

// same reports whether two results tell a learner the same.
func (r Result) same(other Result) bool {
	return r.Verdict == other.Verdict && r.Reason == other.Reason && r.HoldUntil.Equal(other.HoldUntil)
}
