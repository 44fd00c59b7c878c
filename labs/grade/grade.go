package grade

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"

	"drydock/sandbox"
)

// Problem is one thing wrong with a check or a question, found before
// anything runs.
type Problem struct {
	Line  int    // of lab.yaml; 0 when unknown
	Check string // id of the check; empty for a question
	Msg   string
}

func (p Problem) String() string {
	if p.Check == "" {
		return p.Msg
	}
	return fmt.Sprintf("check %s: %s", p.Check, p.Msg)
}

// Set is a compiled set of checks. Its methods are safe for concurrent use.
type Set struct {
	checks []*compiled
	runs   *runs // those going on now
}

// Env is what a Set needs to look at one sandbox.
type Env struct {
	REST *rest.Config      // an administrator's, for the cluster; nil on a machine
	Vars map[string]string // of the variant: `vars` in CEL, ${vars.x} in collectors
	// Exec runs a command in the sandbox; see [sandbox.Provider].
	Exec     func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error)
	Baseline Baseline
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: slog.Default
}

// Baseline is what the collectors saw at hand-over, by check id: the same
// data as [Evidence.Data].
type Baseline map[string]json.RawMessage

// Sink is told what a run sees and decides. Calls come from one goroutine at
// a time. Result is called when the verdict, the reason or HoldUntil of a
// check changed, right after the Evidence that decided it.
type Sink interface {
	Evidence(Evidence)
	Result(Result)
}

// Compile type-checks the conditions and prepares them to run. It returns all
// problems at once; the Set is nil when there is one.
func Compile(checks []Check) (*Set, []Problem) {
	c := &compiler{languages: map[subject]*language{}}
	set := &Set{runs: newRuns()}
	first := map[string]int{}
	for _, check := range checks {
		set.checks = append(set.checks, c.compile(check))
		if line, twice := first[check.ID]; twice && check.ID != "" {
			c.add("the id is already that of the check in line %d", line)
		}
		first[check.ID] = check.Line
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return set, nil
}

// Checks returns the checks in order.
func (s *Set) Checks() []Check {
	checks := make([]Check, len(s.checks))
	for i, c := range s.checks {
		checks[i] = c.Check
	}
	return checks
}

// Vars returns the names of the variant's vars that the checks mention, sorted.
func (s *Set) Vars() []string {
	var names []string
	for _, c := range s.checks {
		names = append(names, varsIn(c.texts()...)...)
		names = append(names, c.that.keysOf(varsName)...)
		if c.otherwise != nil {
			for _, part := range c.otherwise.parts {
				names = append(names, part.keysOf(varsName)...)
			}
		}
	}
	return sorted(names)
}
