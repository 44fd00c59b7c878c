package labs

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"time"

	"drydock/sandbox"
)

// What is tried against every lab, whatever its author thought of.
const (
	doNothing         = "do-nothing"
	deleteEverything  = "delete-everything"
	restartEverything = "restart-everything"
)

// idleFor is for how long nothing is done in the run that does nothing:
// longer than controllers pause between tries, so that a fault which heals by
// itself has the time to.
const idleFor = time.Minute

//go:embed everylab/*.sh
var everyLabFiles embed.FS

// everyLab returns the wrong fixes that are tried against every lab, beside
// doing nothing.
func (l *Lab) everyLab() ([]script, error) {
	var all []script
	for _, name := range []string{deleteEverything, restartEverything} {
		s, err := l.everyLabScript(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (l *Lab) everyLabScript(name string) (script, error) {
	verb, _, _ := strings.Cut(name, "-")
	parts := []string{"in-sandbox", verb + "-machine"}
	if l.Sandbox.Kind == sandbox.Cluster {
		parts = []string{"in-sandbox", "namespaces", verb + "-cluster"}
	}
	s := script{file: name, name: name, env: []string{"NAMESPACES=" + strings.Join(l.Sandbox.Namespaces, " ")}}
	for _, part := range parts {
		source, err := everyLabFiles.ReadFile("everylab/" + part + ".sh")
		if err != nil {
			return script{}, fmt.Errorf("read what is tried against every lab: %w", err)
		}
		s.source += string(source)
	}
	return s, nil
}

// everyLabCase: it must not do everything that can be done without an answer.
func (p *prover) everyLabCase(ctx context.Context, at *live, t *trial) []string {
	problems := p.fix(ctx, at, t)
	if len(problems) > 0 {
		return problems
	}
	if !p.unsound(t.result) {
		if points := p.pointsOf(t.result.Done); points > 0 && len(t.result.Violated) == 0 {
			t.result.Notes = append(t.result.Notes, fmt.Sprintf("it earns %d of %d points: %s", points, TotalPoints, strings.Join(t.result.Done, ", ")))
		}
		return nil
	}
	return []string{fmt.Sprintf(
		"%s does every task that has checks (%s) and violates no guard, without a look at what is wrong: let a check or a guard ask for what that does not mend, or breaks",
		t.script.name, strings.Join(t.result.Done, ", "))}
}

// unsound reports whether every task that has checks is done and no guard was violated.
func (p *prover) unsound(c Case) bool {
	withChecks := 0
	for _, task := range p.lab.Tasks {
		if len(task.Checks) > 0 {
			withChecks++
		}
	}
	return withChecks > 0 && len(c.Done) == withChecks && len(c.Violated) == 0
}

func (p *prover) pointsOf(tasks []string) int {
	points := 0
	for _, id := range tasks {
		task, _ := p.lab.task(id)
		points += task.Points
	}
	return points
}

// idle watches a sandbox that was handed over and that nobody touches.
func (p *prover) idle(ctx context.Context, b *bench, t *trial) error {
	return p.timed(t, func() ([]string, error) {
		seen, stop := judge(ctx, p.checks, b.handedOver)
		defer stop()
		if problem := p.firstLook(ctx, seen); problem != "" {
			return []string{problem}, ctx.Err()
		}
		waiting, cancel := context.WithTimeout(ctx, p.options.Idle)
		defer cancel()
		err := seen.until(waiting, func() bool { return len(p.held(seen)) > 0 || p.anyViolated(seen) })
		if ctx.Err() == nil && waiting.Err() == nil && err != nil {
			return nil, err
		}
		t.result.Done, t.result.Failing = p.tasksDone(seen)
		var problems []string
		for _, what := range p.held(seen) {
			problems = append(problems, fmt.Sprintf("%s held after a while in which nobody did anything", what))
		}
		return append(problems, p.guards(seen)...), ctx.Err()
	})
}

// held says which checks of tasks were true at some time.
func (p *prover) held(seen *tally) []string {
	var all []string
	for _, task := range p.lab.Tasks {
		for _, check := range task.Checks {
			if seen.everHeld(check.ID) {
				all = append(all, fmt.Sprintf("the check %s (task %s)", check.ID, task.ID))
			}
		}
	}
	return all
}
