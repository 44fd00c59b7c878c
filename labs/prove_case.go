package labs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// handOver: every check of every task fails, and every guard holds, once
// nothing changes any more.
func (p *prover) handOver(ctx context.Context, seen *tally) []string {
	if problem := p.firstLook(ctx, seen); problem != "" {
		return []string{problem}
	}
	if err := seen.untilQuiet(ctx, quiet(p.checks.Checks())); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, task := range p.lab.Tasks {
		for _, check := range task.Checks {
			result := seen.result(check.ID)
			switch {
			case result.Verdict == grade.Error:
				problems = append(problems, describe(check, result))
			case seen.everHeld(check.ID):
				problems = append(problems, fmt.Sprintf("the check %s (task %s) holds before anything is done", check.ID, task.ID))
			}
		}
	}
	return append(problems, p.guards(seen)...)
}

// firstLook waits until everything has been looked at once.
func (p *prover) firstLook(ctx context.Context, seen *tally) string {
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	all := p.checks.Checks()
	if err := seen.until(ctx, func() bool { return seen.judged(all) }); err != nil {
		var open []string
		for _, check := range all {
			if r := seen.result(check.ID); r.Verdict != grade.Pass && r.Verdict != grade.Fail {
				open = append(open, describe(check, r))
			}
		}
		return fmt.Sprintf("not everything could be judged within %s: %s", verdictTimeout, strings.Join(open, "; "))
	}
	return ""
}

// guards says which guards were violated at some time or can't be looked at.
func (p *prover) guards(seen *tally) []string {
	var problems []string
	for _, guard := range p.lab.Guards {
		if r, ok := seen.violated(guard.ID); ok {
			problems = append(problems, fmt.Sprintf("the guard %s was violated: %s", guard.ID, r.Reason))
		} else if r := seen.result(guard.ID); r.Verdict != grade.Pass {
			problems = append(problems, "the guard "+describe(guard, r))
		}
	}
	return problems
}

// questions: each accepted literal is right; nothing, and what is right in
// another variant only, is wrong.
func (p *prover) questions(v Variant) []string {
	var problems []string
	for _, task := range p.lab.Tasks {
		if task.Ask == nil {
			continue
		}
		right := task.Ask.Samples(v.Vars)
		for _, answer := range right {
			if !task.Ask.Right(answer, v.Vars) {
				problems = append(problems, fmt.Sprintf("the question %s refuses %q, which it lists as right", task.ID, answer))
			}
		}
		wrong := []string{"", "?"}
		for _, other := range p.lab.AllVariants() {
			wrong = append(wrong, task.Ask.Samples(other.Vars)...)
		}
		for _, answer := range wrong {
			if !slices.Contains(right, answer) && task.Ask.Right(answer, v.Vars) {
				problems = append(problems, fmt.Sprintf("the question %s takes %q, which is wrong in the variant %s", task.ID, answer, v.Name))
			}
		}
	}
	return problems
}

// solution: everything passes behind the script, and no guard was violated on the way.
func (p *prover) solution(ctx context.Context, env grade.Env, seen *tally, t *trial) []string {
	if problem := p.firstLook(ctx, seen); problem != "" {
		return []string{problem}
	}
	problems := p.runScript(ctx, env, t.script)
	failed := len(problems) > 0
	for _, answer := range t.script.answers {
		if text := expand(answer.text, t.variant.Vars); !p.right(answer.task, text, t.variant) {
			problems = append(problems, fmt.Sprintf("the question %s refuses the solution's answer %q", answer.task, text))
		}
	}
	if failed { // what follows from that says nothing more
		return append(problems, p.guards(seen)...)
	}
	all := p.checks.Checks()
	timeout := p.options.Patience + longestHold(all)
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := seen.until(waiting, func() bool { return len(seen.missing(all)) == 0 || p.anyViolated(seen) }); err != nil {
		problems = append(problems, fmt.Sprintf("%s after the solution not everything passes: %s", timeout, strings.Join(p.undone(seen), "; ")))
	}
	return append(problems, p.guards(seen)...)
}

func (p *prover) anyViolated(seen *tally) bool {
	return slices.ContainsFunc(p.lab.Guards, func(g grade.Check) bool {
		_, violated := seen.violated(g.ID)
		return violated
	})
}

// undone says which checks of tasks do not pass, with the tasks' names.
func (p *prover) undone(seen *tally) []string {
	var all []string
	for _, task := range p.lab.Tasks {
		for _, missing := range seen.missing(task.Checks) {
			all = append(all, fmt.Sprintf("task %s: %s", task.ID, missing))
		}
	}
	return all
}

func longestHold(checks []grade.Check) time.Duration {
	longest := time.Duration(0)
	for _, check := range checks {
		longest = max(longest, time.Duration(check.Hold))
	}
	return longest
}

// How often the grader looks where the lab does not say.
const (
	defaultHTTPEvery = grade.Duration(2 * time.Second)
	defaultExecEvery = grade.Duration(5 * time.Second)
)

// quiet is for how long nothing must change before a state counts as final:
// long enough for every check to have looked twice.
func quiet(checks []grade.Check) time.Duration {
	longest := minQuiet
	for _, check := range checks {
		switch {
		case check.HTTP != nil:
			longest = max(longest, 2*time.Duration(cmp.Or(check.HTTP.Every, defaultHTTPEvery)))
		case check.Exec != nil:
			longest = max(longest, 2*time.Duration(cmp.Or(check.Exec.Every, defaultExecEvery)))
		}
	}
	return longest
}

func (p *prover) right(task, answer string, v Variant) bool {
	t, ok := p.lab.task(task)
	return ok && t.Ask != nil && t.Ask.Right(answer, v.Vars)
}

// wrong: what the script names catches it.
func (p *prover) wrong(ctx context.Context, env grade.Env, seen *tally, t *trial) []string {
	if problem := p.firstLook(ctx, seen); problem != "" {
		return []string{problem}
	}
	problems := p.runScript(ctx, env, t.script)
	if len(problems) > 0 {
		return problems
	}
	by := t.script.caughtBy
	if slices.ContainsFunc(p.lab.Guards, func(g grade.Check) bool { return g.ID == by }) {
		return p.caughtByGuard(ctx, seen, by)
	}
	if task, ok := p.lab.task(by); ok && task.Ask != nil {
		return p.caughtByQuestion(t)
	}
	return p.caughtByCheck(ctx, seen, by)
}

func (p *prover) caughtByGuard(ctx context.Context, seen *tally, guard string) []string {
	timeout := min(caughtTimeout, p.options.Patience)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := seen.until(ctx, func() bool { _, violated := seen.violated(guard); return violated })
	if err != nil {
		return []string{fmt.Sprintf("the guard %s was not violated within %s, so it does not catch this", guard, timeout)}
	}
	return nil
}

// caughtByCheck waits until the state is final: the check was false, or true
// for its whole hold, and nothing has changed for a while.
func (p *prover) caughtByCheck(ctx context.Context, seen *tally, id string) []string {
	all := p.checks.Checks()
	check := all[slices.IndexFunc(all, func(c grade.Check) bool { return c.ID == id })]
	waiting, cancel := context.WithTimeout(ctx, p.options.Patience+longestHold(all))
	defer cancel()
	// A state that never comes to rest is judged as it stands at the end of the time.
	_ = seen.untilQuiet(waiting, quiet(all)+time.Duration(check.Hold))
	result := seen.result(id)
	if result.Verdict != grade.Fail || holds(result) {
		return []string{fmt.Sprintf("the check %s does not catch this: %s", id, describe(check, result))}
	}
	return nil
}

func (p *prover) caughtByQuestion(t *trial) []string {
	var problems []string
	for _, answer := range t.script.answers {
		if text := expand(answer.text, t.variant.Vars); answer.task == t.script.caughtBy && p.right(answer.task, text, t.variant) {
			problems = append(problems, fmt.Sprintf("the question %s takes the wrong answer %q", answer.task, text))
		}
	}
	return problems
}

// runScript runs a solution or wrong fix in the terminal, as the learner would.
func (p *prover) runScript(ctx context.Context, env grade.Env, s script) []string {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	result, err := env.Exec(ctx, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"bash", "-c", s.source}})
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%s could not be run: %v", p.lab.path(s.file), err)}
	case result.ExitCode != 0:
		return []string{fmt.Sprintf("%s exited with %d: %s", p.lab.path(s.file), result.ExitCode, lastLines(result))}
	}
	return nil
}
