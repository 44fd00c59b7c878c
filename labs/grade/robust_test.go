package grade

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/sandbox/machine"
)

// robustCase is something that a broken or hostile lab or learner does to the grader.
type robustCase struct {
	name  string
	check Check
	// vandal is done while the check is judged; nil: nothing but that.
	vandal func(*bench)
	// verdict and says are what comes of it, and words that explain it.
	verdict Verdict
	says    string
	// before: the check passes until it is done.
	before bool
	// mend, when it is not nil, undoes it, and the check passes again.
	mend func(*bench)
}

// A condition that would take years, and one that takes memory.
const (
	bombOfTime   = `[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, [0,1,2,3,4,5,6,7,8,9].all(g, [0,1,2,3,4,5,6,7,8,9].all(h, a+b+c+d+e+f+g+h >= 0))))))))`
	bombOfMemory = `["aaaaaaaaaaaaaaaa"].map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s)[0].contains("b")`
	bombOfRegexp = `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".matches(result.stdout)`
)

func robustCases() []robustCase {
	on := func(place string, command ...string) *Exec { return &Exec{On: place, Command: command} }
	pod := func(script string) *Exec {
		return &Exec{On: "pod", Selector: "app=web", Command: []string{"sh", "-c", script}}
	}
	printing := func(text string) *Exec { return on(onNode, "printf", text) }
	const ok = "result.code == 0"
	return []robustCase{
		// Checks that never end.
		{name: "a command on the node that never ends", check: Check{Exec: on(onNode, "sleep", "600"), That: ok}, verdict: Fail, says: "result.code is 124, wanted 0"},
		{name: "a command in the terminal that will not be ended", check: Check{Exec: on(onTerminal, "sh", "-c", "trap '' TERM INT HUP; while :; do sleep 600; done"), That: ok}, verdict: Fail, says: "result.code is 137, wanted 0"},
		{name: "a command in a pod that never ends", check: Check{Exec: pod("sleep 600"), That: ok}, verdict: Fail, says: "did not end within 10s"},
		{name: "a script that starts itself again and again", check: Check{Exec: on(onTerminal, "sh", "-c", `f() { f | f & }; f; wait; sleep 600`), That: ok}, verdict: Fail, says: "result.code is"},
		{name: "a server that never answers", check: Check{HTTP: &HTTP{URL: "http://silent.%s/"}, That: "response.code == 200"}, verdict: Fail, says: "gave no answer"},

		// Checks that print gigabytes.
		{name: "a command on the node that prints for ever", check: Check{Exec: on(onNode, "yes", strings.Repeat("x", 1000)), That: ok}, verdict: Fail, says: "the command printed more than 16 MiB, and was ended"},
		{name: "a command that complains for ever", check: Check{Exec: on(onTerminal, "sh", "-c", "yes >&2"), That: ok}, verdict: Fail, says: "the command printed more than 16 MiB, and was ended"},
		{name: "a command in a pod that prints for ever", check: Check{Exec: pod("yes"), That: ok}, verdict: Fail, says: "the command printed more than 16 MiB, and was ended"},
		// Its hash would take an hour, and what it says of it itself is not taken for it.
		{name: "a file of a terabyte", check: Check{File: &File{On: onTerminal, Path: "/tmp/huge"}, That: "file.sha256.startsWith('0123') || file.exists && file.size < 1000"}, vandal: func(b *bench) {
			b.inTerminal(`printf '%s\n' 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef >/tmp/huge; truncate -s 1T /tmp/huge`)
		}, verdict: Fail, says: "file.size is 1099511627776, wanted less than 1000"},
		{name: "a file that has no end", check: Check{File: &File{On: onNode, Path: "/dev/zero"}, That: "file.text != ''"}, verdict: Fail, says: "file.text"},
		{name: "a server that sends for ever", check: Check{HTTP: &HTTP{URL: "http://endless.%s/"}, That: "response.code == 200 && size(response.body) < 1000"}, verdict: Fail, says: "wanted less than 1000"},

		// Numbers that are none.
		{name: "NaN that must be small", check: Check{Exec: printing("NaN"), That: "double(result.stdout) < 0.5"}, verdict: Fail, says: "double(result.stdout) is NaN, wanted less than 0.5"},
		{name: "NaN that must not be large", check: Check{Exec: printing("NaN"), That: "!(double(result.stdout) > 0.5)"}, verdict: Fail, says: "double(result.stdout) is NaN, wanted at most 0.5"},
		{name: "NaN that comes of a division", check: Check{Exec: printing("0"), That: "!(double(result.stdout) / 0.0 > 0.5)"}, verdict: Fail, says: "double(result.stdout) / 0.0 is NaN, wanted at most 0.5"},
		{name: "no number at all", check: Check{Exec: printing("none"), That: "int(result.stdout) < 5"}, verdict: Fail, says: "int(result.stdout)"},

		// Conditions that cost too much.
		{name: "a condition that would take years", check: Check{Exec: printing("x"), That: bombOfTime}, verdict: Error, says: "the checker's condition takes too long to decide"},
		{name: "a condition that would take the memory", check: Check{Exec: printing("x"), That: bombOfMemory}, verdict: Error, says: "the checker's condition takes too long to decide"},
		{name: "a pattern that would take years", check: Check{Exec: printing("^((a{1,100}){1,100}){1,100}$"), That: bombOfRegexp}, verdict: Fail, says: ""},

		// Few objects that are as large together as many. Ten thousand of them are below.
		{name: "objects that are too large together", check: listed("large=yes"), vandal: func(b *bench) { b.fill("large", 2*maxWatched/largeText, strings.Repeat("x", largeText)) },
			before: true, verdict: Error, says: errTooBig.Error(), mend: func(b *bench) { b.clear("large=yes") }},
	}
}

const largeText = 500 << 10

func listed(selector string) Check {
	return Check{Watch: &Watch{Kind: "ConfigMap", Selector: selector}, That: "size(objects) < 100"}
}

// robust: each of these is bounded and explained, and another session goes on being judged.
func robust(t *testing.T, env Env) {
	beside := startBeside(t)
	b := newBench(t, env, fmt.Sprintf("robust-%d", time.Now().UnixMilli()))
	b.serve()
	b.badServers()
	var filling sync.WaitGroup
	filling.Go(func() { b.fill("many", 10_000, "x") }) // which takes half a minute
	t.Run("side by side", func(t *testing.T) {
		for _, test := range robustCases() {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				b.in(t).withstands(test, beside)
			})
		}
	})
	filling.Wait()
	t.Run("ten thousand objects", func(t *testing.T) {
		b.in(t).withstands(robustCase{check: listed("many=yes"), verdict: Error, says: errTooBig.Error()}, beside)
	})
	t.Run("an API server that is gone", func(t *testing.T) { testLost(newBench(t, env, "lost"), beside) })
	t.Run("an engine that is gone", func(t *testing.T) { testEngineGone(newBench(t, env, "engine-gone")); beside.judges(t) })
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > 256<<20 {
		t.Errorf("after all that %d MiB are in use", memory.HeapAlloc>>20)
	}
}

// in is the bench for a test within the test.
func (b *bench) in(t *testing.T) *bench {
	at := *b
	at.T = t
	return &at
}

// withstands judges a check while it is done to it what the case says.
func (b *bench) withstands(test robustCase, beside *besideSession) {
	check := test.check
	b.within(&check)
	r := b.run(b.set(check))
	if test.vandal != nil {
		test.vandal(b)
	}
	beside.judges(b.T)
	_, next := r.await(b, 0, test.says, func(r Result) bool { return r.Verdict == test.verdict && strings.Contains(r.Reason, test.says) })
	beside.judges(b.T)
	for _, e := range r.kept() {
		if len(e.Data)+len(e.Error) > maxListEvidence {
			b.Errorf("%d bytes of evidence are kept", len(e.Data))
		}
	}
	if test.mend != nil {
		test.mend(b)
		r.await(b, next, "it is mended", passes)
	}
	for _, res := range r.all() {
		if res.Verdict == Pass && !test.before {
			b.Errorf("it passes: %+v", res)
		}
	}
}

// within puts a check that is written for any namespace into the bench's.
func (b *bench) within(c *Check) {
	switch {
	case c.Exec != nil && c.Exec.On == onPod:
		e := *c.Exec
		e.Namespace, c.Exec = b.namespace, &e
	case c.HTTP != nil:
		h := *c.HTTP
		h.From, h.URL, c.HTTP = "default", fmt.Sprintf(h.URL, b.namespace), &h
	case c.Watch != nil:
		w := *c.Watch
		w.Namespace, c.Watch = b.namespace, &w
	}
}

func (b *bench) inTerminal(script string) {
	b.Helper()
	if res, err := b.env.Exec(b.Context(), sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"sh", "-c", script}}); err != nil || res.ExitCode != 0 {
		b.Fatalf("%s: %v, %s", script, err, res.Stderr)
	}
}

// badServers are one that takes connections and says nothing, and one that never stops.
func (b *bench) badServers() {
	b.Helper()
	const server = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s}, spec: {selector: {matchLabels: {app: %[1]s}},
		template: {metadata: {labels: {app: %[1]s}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "localhost/drydock/workload:1",
		command: [sh, -c, "%[2]s"], readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}]}}}}`
	for name, script := range map[string]string{
		"silent":  "while :; do nc -l -p 8080 -e sleep 60; done",
		"endless": "printf '#!/bin/sh\\nprintf \\\"HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\n\\\"; yes\\n' >/tmp/s; chmod 755 /tmp/s; while :; do nc -l -p 8080 -e /tmp/s; done",
	} {
		b.apply(fmt.Sprintf(server, name, script))
		b.apply(strings.ReplaceAll(workloadService, "web", name))
	}
}

// fill makes many objects with a label, some at a time.
func (b *bench) fill(label string, n int, text string) {
	b.Helper()
	var making sync.WaitGroup
	numbers := make(chan int)
	for range 16 {
		making.Go(func() {
			for i := range numbers {
				o := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": text},
					"metadata": map[string]any{"name": fmt.Sprintf("%s-%d", label, i), "labels": map[string]any{label: "yes"}},
				}}
				if _, err := b.resource(o).Create(b.Context(), o, metav1.CreateOptions{}); err != nil {
					b.Errorf("make object %d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	making.Wait()
}

func (b *bench) clear(selector string) {
	b.Helper()
	o := b.parse(fmt.Sprintf(configMap, "x"))
	if err := b.resource(o).DeleteCollection(b.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: selector}); err != nil {
		b.Fatal(err)
	}
}

// testLost ends the API server: kubelet starts it again. Nothing of that may
// be held against the learner.
func testLost(b *bench, beside *besideSession) {
	b.apply(fmt.Sprintf(configMap, "blue"))
	set := b.set(
		Check{ID: "object", Watch: watchConfig(b), That: `object.data.color == "blue"`},
		Check{ID: "list", Watch: &Watch{Kind: "ConfigMap", Namespace: b.namespace}, That: `objects.exists(o, o.data[?"color"].orValue("") == "blue")`},
	)
	r := b.run(set)
	of := func(check string, verdict Verdict) func(Result) bool {
		return func(r Result) bool { return r.Check == check && r.Verdict == verdict }
	}
	r.await(b, 0, "object", of("object", Pass))
	r.await(b, 0, "list", of("list", Pass))
	seen := len(r.all())
	res, err := b.env.Exec(b.Context(), sandbox.Command{Where: sandbox.OnNode, Argv: []string{"pkill", "-KILL", "kube-apiserver"}})
	if err != nil || res.ExitCode != 0 {
		b.Fatalf("end the API server: %v, %s", err, res.Stderr)
	}
	for _, check := range []string{"object", "list"} {
		lost, _ := r.await(b, seen, check+" cannot be looked at", of(check, Error))
		beside.judges(b.T)
		// A server that has just started may refuse everybody before it knows the roles.
		if lost.Reason != cannotReach && lost.Reason != notAllowed {
			b.Errorf("the learner is told %q, want %q", lost.Reason, cannotReach)
		}
		r.await(b, seen, check+" is there again", of(check, Pass))
	}
	for _, res := range r.all()[seen:] {
		if res.Verdict == Fail {
			b.Errorf("while the API server was away, %s failed: %s", res.Check, res.Reason)
		}
	}
	b.replayed(set, r)
}

// testEngineGone: commands that cannot be run are nobody's fault but ours.
func testEngineGone(b *bench) {
	gone := errors.New("no such container: sandbox")
	b.env.Exec = func(context.Context, sandbox.Command) (sandbox.Result, error) { return sandbox.Result{}, gone }
	_, results, err := b.set(Check{Exec: aCommand, That: "true"}, Check{HTTP: aRequest, That: "true"}).Once(b.Context(), b.env)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range results {
		if r.Verdict != Error || r.Reason != cannotRun {
			b.Errorf("got %+v, want an error: %s", r, cannotRun)
		}
	}
}

// besideSession is another learner's, on a machine, which the same process judges.
type besideSession struct {
	exec func(context.Context, sandbox.Command) (sandbox.Result, error)
	r    *recorder

	mu   sync.Mutex
	next int
	open bool
}

func startBeside(t *testing.T) *besideSession {
	t.Helper()
	engine, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := machine.New(machine.Config{Instance: "besidetest", Image: image.MachineRef, Engine: engine})
	if err != nil {
		t.Fatal(err)
	}
	const session = "besidetest"
	destroy := func() {
		if err := provider.Destroy(context.Background(), session); err != nil {
			t.Errorf("these tests need the engine: %v", err)
		}
	}
	destroy() // what a killed run left
	t.Cleanup(destroy)
	if _, err := provider.Create(t.Context(), sandbox.Spec{Session: session, Kind: sandbox.Machine}, nil); err != nil {
		t.Fatalf("these tests need the engine and the machine image (drydock image build): %v", err)
	}
	s := &besideSession{exec: func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		return provider.Exec(ctx, session, cmd)
	}}
	b := &bench{T: t, env: Env{Exec: s.exec}}
	s.r = b.run(b.set(Check{ID: "gate", File: &File{On: onNode, Path: "/run/gate", Every: Duration(500 * time.Millisecond)}, That: "file.exists", Else: "it is shut"}))
	_, s.next = s.r.await(t, 0, "the gate is shut", fails("it is shut"))
	return s
}

// judges changes the other session's system, and waits for its result.
func (s *besideSession) judges(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	script, fits := "touch /run/gate", passes
	if s.open {
		script, fits = "rm /run/gate", fails("it is shut")
	}
	s.open = !s.open
	if res, err := s.exec(t.Context(), sandbox.Command{Where: sandbox.OnNode, Argv: []string{"sh", "-c", script}}); err != nil || res.ExitCode != 0 {
		t.Fatalf("%s in the session beside: %v, %s", script, err, res.Stderr)
	}
	_, s.next = s.r.await(t, s.next, "the session beside is judged", fits)
	if i := slices.IndexFunc(s.r.all(), func(r Result) bool { return r.Verdict == Error }); i >= 0 {
		t.Errorf("the session beside could not be looked at: %s", s.r.all()[i].Reason)
	}
}
