package grade

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
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
	checks     []*compiled
	conditions []*condition // of all checks
	owner      []int        // the check of each condition
	runs       *runs        // those going on now
}

// Env is what a Set needs to look at one sandbox.
type Env struct {
	REST *rest.Config      // an administrator's, for the cluster; nil on a machine
	Vars map[string]string // of the variant: `vars` in CEL, ${vars.x} in collectors
	// Exec runs a command in the sandbox; see [sandbox.Provider].
	Exec     func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error)
	Baseline Baseline
	// Passed are the checks that had passed at some time before, in the same
	// sandbox: what Once and After ask for.
	Passed map[string]bool
	// Files are the lab's, which checks of its own may need.
	Files fs.FS
	// Since is when the sandbox was handed over; the zero time before that.
	Since time.Time
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: slog.Default
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

// Compile prepares the checks to run. It returns all problems at once; the Set
// is nil when there is one.
func Compile(checks []Check) (*Set, []Problem) {
	return (&compiler{}).set(checks)
}

// Vet returns all that is wrong with the checks: what Compile finds, and what
// conditions say of fields that Kubernetes' own kinds do not have, or not of
// that type. That takes three times as long, and once for each version of a
// lab is enough.
func Vet(checks []Check) []Problem {
	_, problems := (&compiler{vet: true}).set(checks)
	return problems
}

// set compiles a set of checks.
func (c *compiler) set(checks []Check) (*Set, []Problem) {
	c.languages, c.typed = map[subject]*language{}, map[typedSubject]*language{}
	set := &Set{runs: newRuns()}
	first := map[string]int{}
	for _, check := range checks {
		set.checks = append(set.checks, c.compile(check))
		if line, twice := first[check.ID]; twice && check.ID != "" {
			c.add("the id is already that of the check in line %d", line)
		}
		first[check.ID] = check.Line
	}
	c.linkAfter(set.checks)
	set.conditions, set.owner = c.conditions, make([]int, len(c.conditions))
	for i, check := range set.checks {
		for _, condition := range check.conditions {
			set.owner[condition] = i
		}
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
	for _, c := range s.conditions {
		names = append(names, varsOf(&c.Check)...)
		names = append(names, c.that.keysOf(varsName)...)
		names = append(names, c.otherwise.keysOf(varsName)...)
	}
	for _, c := range s.checks {
		c.tree.each(func(n *node) { names = append(names, n.otherwise.keysOf(varsName)...) })
	}
	return sorted(names)
}
