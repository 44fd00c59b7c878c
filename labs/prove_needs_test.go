package labs

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drydock/labs/catalogue"
	"drydock/labs/grade"
	"drydock/sandbox"
)

func TestNeeds(t *testing.T) {
	lab := &Lab{
		Tasks: []Task{
			{ID: "say", Ask: &grade.Ask{}},
			{ID: "serve", Checks: []grade.Check{{ID: "ready"}, {ID: "answers"}}},
			{ID: "open", Checks: []grade.Check{{ID: "is-open"}}},
		},
		Guards: []grade.Check{{ID: "same"}, {ID: "kept"}, {ID: "unused"}},
	}
	cases := []Case{
		{Kind: CaseHandOver, Failing: []string{"ready", "answers", "is-open"}},
		{Kind: CaseEveryLab, Name: doNothing, Failing: []string{"ready", "answers", "is-open"}},
		{Kind: CaseSolution, Name: "mend"},
		// Alone in its task, and nothing else tells: the task would be done without it.
		{Kind: CaseWrong, Name: "half", Variant: "a", Failing: []string{"answers", "is-open"}, Refused: []string{"say"}},
		{Kind: CaseWrong, Name: "half", Variant: "b", Failing: []string{"answers", "is-open"}, Refused: []string{"say"}},
		// Two checks of one task, of which neither is needed for this.
		{Kind: CaseWrong, Name: "scale", Failing: []string{"ready", "answers"}},
		// A guard tells of it already.
		{Kind: CaseWrong, Name: "recreate", Failing: []string{"ready"}, Violated: []string{"same"}},
		{Kind: CaseEveryLab, Name: deleteEverything, Failing: []string{"ready", "answers"}, Violated: []string{"same", "kept"}},
	}
	want := []Need{
		{ID: "say", Kind: needQuestion, Catches: []string{"half"}, Alone: []string{"half"}},
		{ID: "ready", Kind: needCheck, Task: "serve", Catches: []string{"scale", "recreate", deleteEverything}},
		{ID: "answers", Kind: needCheck, Task: "serve", Catches: []string{"half", "scale", deleteEverything}, Alone: []string{"half"}},
		{ID: "is-open", Kind: needCheck, Task: "open", Catches: []string{"half"}, Alone: []string{"half"}},
		{ID: "same", Kind: needGuard, Catches: []string{"recreate", deleteEverything}, Alone: []string{"recreate"}},
		{ID: "kept", Kind: needGuard, Catches: []string{deleteEverything}},
		{ID: "unused", Kind: needGuard},
	}
	got := needs(lab, cases)
	if len(got) != len(want) {
		t.Fatalf("%d needs: %+v", len(got), got)
	}
	for i, n := range got {
		w := want[i]
		if n.ID != w.ID || n.Kind != w.Kind || n.Task != w.Task || !slices.Equal(n.Catches, w.Catches) || !slices.Equal(n.Alone, w.Alone) {
			t.Errorf("got  %+v\nwant %+v", n, w)
		}
	}
}

// proverOf proves a lab whose system is what exec says.
func proverOf(t *testing.T, checks []grade.Check, exec Execer) (*prover, *live) {
	t.Helper()
	set, problems := grade.Compile(checks)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := &prover{lab: &Lab{Tasks: []Task{{ID: "mend", Points: TotalPoints, Checks: checks}}}, checks: set, options: ProveOptions{Patience: time.Minute}}
	env := grade.Env{Exec: exec}
	seen, stop := judge(t.Context(), set, env)
	t.Cleanup(stop)
	return p, &live{env: env, seen: seen}
}

// A check that looks once in ten minutes is judged by what is so at rest, not
// by what it happened to see last.
func TestRestLooksAfresh(t *testing.T) {
	t.Parallel()
	var mended atomic.Bool
	p, at := proverOf(t, []grade.Check{{
		ID: "seldom", That: "result.code == 0",
		Exec: &grade.Exec{On: "node", Command: []string{"true"}, Every: grade.Duration(10 * time.Minute)},
	}}, func(context.Context, sandbox.Command) (sandbox.Result, error) {
		if mended.Load() {
			return sandbox.Result{}, nil
		}
		return sandbox.Result{ExitCode: 1}, nil
	})
	if problem := p.firstLook(t.Context(), at.seen); problem != "" {
		t.Fatal(problem)
	}
	mended.Store(true)
	tr := &trial{}
	if err := p.rest(t.Context(), at, tr); err != nil || len(tr.result.Notes) != 0 {
		t.Fatalf("error %v, notes %q", err, tr.result.Notes)
	}
	done, failing := p.tasksDone(at.seen)
	if !slices.Equal(done, []string{"mend"}) || len(failing) != 0 {
		t.Errorf("done %q, failing %q", done, failing)
	}
}

// What never comes to rest is judged as it stands, and the author is told what moved.
func TestRestGivesUp(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	p, at := proverOf(t, []grade.Check{{
		ID: "restless", That: "result.code == 0", Else: "look ${result.stdout}",
		Exec: &grade.Exec{On: "node", Command: []string{"true"}, Every: grade.Duration(200 * time.Millisecond)},
	}}, func(context.Context, sandbox.Command) (sandbox.Result, error) {
		return sandbox.Result{ExitCode: 1, Stdout: []byte(strings.Repeat("x", int(looks.Add(1)%7)))}, nil
	})
	p.options.Patience = minQuiet
	tr := &trial{}
	if err := p.rest(t.Context(), at, tr); err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(tr.result.Notes, "\n"); !strings.Contains(notes, "did not come to rest within 4s") || !strings.Contains(notes, "restless fails: look") {
		t.Errorf("notes %q", notes)
	}
}

// A solution whose effect is seen at the last moment is given the time of the hold.
func TestSolutionsAreGivenTheHold(t *testing.T) {
	t.Parallel()
	p, at := proverOf(t, []grade.Check{{
		ID: "up", That: "result.code == 0", Hold: grade.Duration(4 * time.Second),
		Exec: &grade.Exec{On: "node", Command: []string{"true"}, Every: grade.Duration(200 * time.Millisecond)},
	}}, func(context.Context, sandbox.Command) (sandbox.Result, error) { return sandbox.Result{}, nil })
	// A patience of less than nothing: the time is up while the check holds, but not yet for long enough.
	if problem := p.firstLook(t.Context(), at.seen); problem != "" {
		t.Fatal(problem)
	}
	p.options.Patience = -3 * time.Second
	if undone := p.awaitAll(t.Context(), at.seen); undone != "" {
		t.Error(undone)
	}
	down, at := proverOf(t, []grade.Check{{
		ID: "up", That: "result.code == 0", Hold: grade.Duration(4 * time.Second),
		Exec: &grade.Exec{On: "node", Command: []string{"true"}, Every: grade.Duration(200 * time.Millisecond)},
	}}, func(context.Context, sandbox.Command) (sandbox.Result, error) {
		return sandbox.Result{ExitCode: 1}, nil
	})
	down.options.Patience = -3 * time.Second
	if undone := down.awaitAll(t.Context(), at.seen); !strings.Contains(undone, "task mend: up") {
		t.Errorf("what never holds is taken for done: %q", undone)
	}
}

func TestEveryLabIsUnsoundOnlyWhenAllIsEarned(t *testing.T) {
	p := &prover{lab: &Lab{Tasks: []Task{
		{ID: "say", Ask: &grade.Ask{}},
		{ID: "one", Checks: []grade.Check{{ID: "a"}}},
		{ID: "two", Checks: []grade.Check{{ID: "b"}}},
	}}}
	for _, c := range []struct {
		done, violated []string
		unsound        bool
	}{
		{[]string{"one", "two"}, nil, true}, // the question is not what a restart answers
		{[]string{"one"}, nil, false},
		{[]string{"one", "two"}, []string{"guard"}, false},
		{nil, nil, false},
	} {
		if got := p.unsound(Case{Done: c.done, Violated: c.violated}); got != c.unsound {
			t.Errorf("done %q, violated %q: unsound %v", c.done, c.violated, got)
		}
	}
	p.lab.Tasks = p.lab.Tasks[:1]
	if p.unsound(Case{}) {
		t.Error("a lab of questions can't be solved by a restart")
	}
}

// Outside of a sandbox the scripts that spare nothing do nothing.
func TestEveryLabScriptsRunInSandboxesOnly(t *testing.T) {
	for _, slug := range []string{"init-containers", "full-disk"} {
		lab, err := LoadLab(catalogue.FS(), slug)
		if err != nil {
			t.Fatal(err)
		}
		all, err := lab.everyLab()
		if err != nil || len(all) != 2 {
			t.Fatalf("%d scripts, error %v", len(all), err)
		}
		for _, s := range all {
			// Nothing of it but its first lines could run here: what follows is taken away.
			guard, rest, cut := strings.Cut(s.source, "\nfi\n")
			if !cut || len(rest) == 0 {
				t.Fatalf("%s has no guard before it", s.name)
			}
			out, err := exec.CommandContext(t.Context(), "bash", "-c", guard+"\nfi\necho it went on\n").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 64 || strings.Contains(string(out), "went on") {
				t.Errorf("%s of %s outside of a sandbox: %v, %s", s.name, slug, err, out)
			}
			if out, err := exec.CommandContext(t.Context(), "bash", "-n", "-c", s.source).CombinedOutput(); err != nil {
				t.Errorf("%s of %s: %s", s.name, slug, out)
			}
		}
	}
}
