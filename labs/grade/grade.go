package grade

import (
	"context"
	"encoding/json"
	"errors"
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

// Set is a compiled set of checks. It holds no state of any session: one Set
// serves all sessions of a lab at once.
type Set struct {
	checks []Check
}

// Env is what a Set needs to look at one sandbox.
type Env struct {
	REST *rest.Config      // an administrator's, for the cluster; nil on a machine
	Vars map[string]string // of the variant: `vars` in CEL, ${vars.x} in collectors
	// Exec runs a command in the sandbox; see [sandbox.Provider].
	Exec     func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error)
	Baseline Baseline
	// Recheck asks a running [Set.Run] to look again now: at the check with
	// that id, or at all when the id is empty. May be nil.
	Recheck <-chan string
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: slog.Default
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
func Compile(checks []Check) (*Set, []Problem) { return &Set{checks: checks}, nil }

// Checks returns the checks in order.
func (s *Set) Checks() []Check { return s.checks }

// Vars returns the names of the variant's vars that the checks mention, sorted.
func (s *Set) Vars() []string { return nil }

// Run looks at the sandbox until ctx ends, and judges all the while. It
// returns nil when ctx ends, and an error only when env cannot serve the set.
func (s *Set) Run(ctx context.Context, env Env, sink Sink) error {
	return errors.New("not there yet")
}

// Once looks at everything once and judges it. A check with a hold that is
// true now is a Fail with HoldUntil set.
func (s *Set) Once(ctx context.Context, env Env) ([]Evidence, []Result, error) {
	return nil, nil, errors.New("not there yet")
}

// Baseline collects what the checks that mention `baseline` compare with. Call
// it at hand-over. It fails when one of them could not be looked at.
func (s *Set) Baseline(ctx context.Context, env Env) (Baseline, error) {
	return nil, errors.New("not there yet")
}

// Replay judges kept evidence again, without looking at anything: the final
// result of each check, in the set's order. A check without evidence has
// Verdict Error. It is a pure function.
func (s *Set) Replay(evidence []Evidence, vars map[string]string, baseline Baseline) []Result {
	return nil
}

// ProbeService probes a lab's service until ctx ends. It calls on at the first
// probe and whenever the service went up or down; detail says what was seen.
// A service is up when it answers with a status below 500. When the checker
// cannot look, nothing is reported.
func ProbeService(ctx context.Context, env Env, h HTTP, every time.Duration, on func(up bool, at time.Time, detail string)) error {
	return errors.New("not there yet")
}

// Right reports whether the answer is one of those accepted. It is false for
// an answer longer than 4 KiB.
func (a *Ask) Right(answer string, vars map[string]string) bool { return false }

// Problems returns everything wrong with the question.
func (a *Ask) Problems() []Problem { return nil }

// Vars returns the names of the variant's vars that the question mentions, sorted.
func (a *Ask) Vars() []string { return nil }
