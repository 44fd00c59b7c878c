package labs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// handOver: every check of every task fails without telling an answer, and every
// guard holds, once nothing changes any more.
func (p *prover) handOver(ctx context.Context, at *live, t *trial) []string {
	seen := at.seen
	if problem := p.firstLook(ctx, seen); problem != "" {
		return []string{problem}
	}
	if err := p.rest(ctx, at, t); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, what := range p.held(seen) {
		problems = append(problems, what+" holds before anything is done")
	}
	for _, task := range p.lab.Tasks {
		for _, check := range task.Checks {
			if result := seen.result(check.ID); result.Verdict == grade.Error {
				problems = append(problems, describe(check, result))
			}
		}
	}
	problems = append(problems, p.tells(seen, t.variant)...)
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
func (p *prover) solution(ctx context.Context, at *live, t *trial) []string {
	seen := at.seen
	if problem := p.firstLook(ctx, seen); problem != "" {
		return []string{problem}
	}
	problems := p.runScript(ctx, at.env, t.script)
	failed := len(problems) > 0
	for _, answer := range t.script.answers {
		if text := expand(answer.text, t.variant.Vars); !p.right(answer.task, text, t.variant) {
			problems = append(problems, fmt.Sprintf("the question %s refuses the solution's answer %q", answer.task, text))
		}
	}
	if failed { // what follows from that says nothing more
		return append(problems, p.guards(seen)...)
	}
	if undone := p.awaitAll(ctx, seen); undone != "" {
		problems = append(problems, undone)
	}
	return append(problems, p.guards(seen)...)
}

// holdSlack is for looking once more at the end of a hold, on a machine that is busy.
const holdSlack = 10 * time.Second

// awaitAll waits until everything passes or a guard is violated, and says what
// does not pass in time. What comes true at the last moment is given the time of its hold.
func (p *prover) awaitAll(ctx context.Context, seen *tally) string {
	all := p.checks.Checks()
	timeout := p.options.Patience + longestHold(all)
	ended := func() bool { return len(seen.missing(all)) == 0 || p.anyViolated(seen) }
	within := func(limit time.Duration, condition func() bool) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		_ = seen.until(ctx, condition) // what it ended with is looked at below
	}
	within(timeout, ended)
	if !ended() && seen.holdsAtLeast(all) {
		within(longestHold(all)+holdSlack, func() bool { return ended() || !seen.holdsAtLeast(all) })
	}
	if ended() {
		return ""
	}
	return fmt.Sprintf("%s after the solution not everything passes: %s", timeout, strings.Join(p.undone(seen), "; "))
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

func (p *prover) right(task, answer string, v Variant) bool {
	t, ok := p.lab.task(task)
	return ok && t.Ask != nil && t.Ask.Right(answer, v.Vars)
}

// fix runs a wrong fix and notes where it got to: the state once nothing
// changes any more, with every check, whatever has caught it already.
func (p *prover) fix(ctx context.Context, at *live, t *trial) []string {
	if problem := p.firstLook(ctx, at.seen); problem != "" {
		return []string{problem}
	}
	if problems := p.runScript(ctx, at.env, t.script); len(problems) > 0 {
		return problems
	}
	if err := p.rest(ctx, at, t); err != nil {
		return []string{err.Error()}
	}
	r := &t.result
	r.Done, r.Failing = p.tasksDone(at.seen)
	for _, guard := range p.lab.Guards {
		if _, violated := at.seen.violated(guard.ID); violated {
			r.Violated = append(r.Violated, guard.ID)
		}
	}
	for _, answer := range t.script.answers {
		if !p.right(answer.task, expand(answer.text, t.variant.Vars), t.variant) {
			r.Refused = append(r.Refused, answer.task)
		}
	}
	return nil
}

// tasksDone returns the tasks whose checks all pass, and the checks of the others that do not.
func (p *prover) tasksDone(seen *tally) (done, failing []string) {
	for _, task := range p.lab.Tasks {
		before := len(failing)
		for _, check := range task.Checks {
			if seen.result(check.ID).Verdict != grade.Pass {
				failing = append(failing, check.ID)
			}
		}
		if len(task.Checks) > 0 && len(failing) == before {
			done = append(done, task.ID)
		}
	}
	return done, failing
}

// wrong: what the script names catches it.
func (p *prover) wrong(ctx context.Context, at *live, t *trial) []string {
	if problems := p.fix(ctx, at, t); len(problems) > 0 {
		return problems
	}
	by := t.script.caughtBy
	if slices.ContainsFunc(p.lab.Guards, func(g grade.Check) bool { return g.ID == by }) {
		if !slices.Contains(t.result.Violated, by) {
			return []string{fmt.Sprintf("the guard %s was not violated, so it does not catch this%s", by, otherwiseCaught(t.result))}
		}
		return nil
	}
	if task, ok := p.lab.task(by); ok && task.Ask != nil {
		return p.caughtByQuestion(t)
	}
	all := p.checks.Checks()
	check := all[slices.IndexFunc(all, func(c grade.Check) bool { return c.ID == by })]
	if result := at.seen.result(by); result.Verdict != grade.Fail || holds(result) {
		return []string{fmt.Sprintf("the check %s does not catch this: %s%s", by, describe(check, result), otherwiseCaught(t.result))}
	}
	return nil
}

// otherwiseCaught says what catches a wrong fix, if what it names does not.
func otherwiseCaught(c Case) string {
	if others := c.CaughtBy(); len(others) > 0 {
		return "; what does: " + strings.Join(others, ", ")
	}
	return "; nothing does"
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
	result, err := env.Exec(ctx, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"bash", "-c", s.source}, Env: s.env})
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%s could not be run: %v", p.lab.path(s.file), err)}
	case result.ExitCode != 0:
		return []string{fmt.Sprintf("%s exited with %d: %s", p.lab.path(s.file), result.ExitCode, lastLines(result))}
	}
	return nil
}
