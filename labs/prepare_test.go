package labs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"drydock/labs/grade"
	"drydock/sandbox"
)

func TestManifests(t *testing.T) {
	lab := &Lab{Slug: "lab", FS: fstest.MapFS{
		"manifests/20-pod.yaml":       {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {priority: ${vars.priority}}\n")},
		"manifests/10-namespace.yaml": {Data: []byte("# first\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ${vars.name}}\n---\n")},
		"manifests/.10.yaml.swp":      {Data: []byte("\x00")},
	}}
	objects, problems := lab.manifests(Step{Apply: "manifests/"}, map[string]string{"priority": "7", "name": "shop"})
	if len(problems) > 0 || len(objects) != 2 {
		t.Fatalf("%v, problems %v", objects, problems)
	}
	if got := objects[0].String(); got != "Namespace shop" || objects[0].line != 3 {
		t.Errorf("first is %s, at line %d", got, objects[0].line)
	}
	// Numbers must be what the API's machinery takes: int64.
	spec := objects[1].object.Object["spec"].(map[string]any)
	if spec["priority"] != int64(7) {
		t.Errorf("priority is %T %[1]v", spec["priority"])
	}
	if expand("${vars.none} $vars.name ${vars.name}", map[string]string{"name": "x"}) != "${vars.none} $vars.name x" {
		t.Error("expand changes what it should leave")
	}
}

func TestSetupScripts(t *testing.T) {
	lab := &Lab{Slug: "lab", FS: fstest.MapFS{"setup/a.sh": {Data: []byte("echo $VAR_port")}}, Sandbox: Sandbox{Kind: sandbox.Cluster}}
	lab.Setup = []Step{{Run: "setup/a.sh"}}
	var ran sandbox.Command
	exit := 0
	exec := func(_ context.Context, c sandbox.Command) (sandbox.Result, error) {
		ran = c
		return sandbox.Result{ExitCode: exit, Stderr: []byte("it broke\n")}, nil
	}
	v := Variant{Name: "one", Vars: map[string]string{"port": "80"}}
	if err := lab.setUp(t.Context(), v, nil, exec); err != nil {
		t.Fatal(err)
	}
	if env := strings.Join(ran.Env, " "); ran.Where != sandbox.OnNode || env != "KUBECONFIG=/etc/kubernetes/admin.conf VAR_port=80" {
		t.Errorf("ran on %s with %s", ran.Where, env)
	}
	exit = 3
	if err := lab.setUp(t.Context(), v, nil, exec); err == nil || !strings.Contains(err.Error(), "lab/setup/a.sh exited with 3:\nit broke") {
		t.Errorf("error %v", err)
	}
}

func TestParseScript(t *testing.T) {
	s := parseScript("wrong/a.sh", "a", "# caught-by: diagnose\n# answer diagnose:  the port is wrong \n# caught-by: other\ntrue\n")
	if s.caughtBy != "diagnose" || len(s.answers) != 1 || s.answers[0] != (scriptAnswer{task: "diagnose", text: "the port is wrong", line: 2}) {
		t.Errorf("%+v", s)
	}
	if parseScript("a", "a", "#!/bin/sh\n# caught-by: late\n").caughtBy != "" {
		t.Error("caught-by counts on the first line only")
	}
}

func TestTally(t *testing.T) {
	seen := newTally()
	check := []grade.Check{{ID: "a", Hold: grade.Duration(time.Second)}}
	if seen.judged(check) || seen.everHeld("a") {
		t.Error("judged before the first result")
	}
	seen.Result(grade.Result{Check: "a", Verdict: grade.Error, Reason: "no answer"})
	if seen.judged(check) {
		t.Error("an error is no judgement")
	}
	seen.Result(grade.Result{Check: "a", Verdict: grade.Fail, HoldUntil: time.Now().Add(time.Second)})
	if _, violated := seen.violated("a"); violated || !seen.everHeld("a") || !seen.judged(check) {
		t.Error("a condition that is true, but not yet for its hold, is taken for false")
	}
	seen.Result(grade.Result{Check: "a", Verdict: grade.Fail, Reason: "first"})
	seen.Result(grade.Result{Check: "a", Verdict: grade.Fail, Reason: "second"})
	seen.Result(grade.Result{Check: "a", Verdict: grade.Pass})
	if r, violated := seen.violated("a"); !violated || r.Reason != "first" {
		t.Errorf("violated: %v, %+v; the first failure counts, whatever comes after", violated, r)
	}
	if missing := seen.missing(check); len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
}

func TestTallyWaits(t *testing.T) {
	seen := newTally()
	done := make(chan error)
	go func() { done <- seen.until(t.Context(), func() bool { return seen.result("a").Verdict == grade.Pass }) }()
	seen.Result(grade.Result{Check: "a", Verdict: grade.Fail})
	seen.Result(grade.Result{Check: "a", Verdict: grade.Pass})
	if err := <-done; err != nil {
		t.Error(err)
	}
	began := time.Now()
	if err := seen.untilQuiet(t.Context(), 100*time.Millisecond); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("quiet after %s: %v", time.Since(began), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := seen.until(ctx, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := seen.untilQuiet(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
