package labs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/labs/trail"
	"drydock/sandbox"
	"drydock/store"
)

// shelfLab is a cluster with little in it.
const shelfLab = `
apiVersion: drydock/v1
kind: Lab
title: A shelf
summary: The shop's settings are wrong.
track: kubernetes
level: beginner
minutes: 10
sandbox: {kind: cluster, access: namespace, namespaces: [shop]}
setup: [{apply: manifests/}]
ready:
  - {id: there, watch: {kind: ConfigMap, namespace: shop, name: settings}, that: "object != null"}
tasks:
  - id: mend
    title: Mend the settings
    points: 100
    checks:
      - {id: blue, watch: {kind: ConfigMap, namespace: shop, name: settings}, that: "object != null && object.data.colour == 'blue'"}
rubric:
  collateral: {cost: 7, most: 50}
  resets: {cost: 1}
`

const shelfManifests = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: red}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: shop}
data: {kept: "yes"}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
stringData: {password: hunter2}
`

// TestTrailOfARealSession: what a learner does to a real cluster is found in
// the audit log, in the commands and in the comparison with the beginning, in
// the sandbox that a reset replaces and in the one that the session ends in.
func TestTrailOfARealSession(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	provider := labs.RealProvider(t, "trailtest")
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	set, err := labs.LoadCatalogue(fstest.MapFS{
		"shelf/lab.yaml":             {Data: []byte(shelfLab)},
		"shelf/README.md":            {Data: []byte("# A shelf\n\n## Mend the settings {#mend}\n\nMend them.\n")},
		"shelf/manifests/shelf.yaml": {Data: []byte(shelfManifests)},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &harbour{t: t, store: db, labs: set}
	user := h.addUser("lena")
	sessions := labs.NewSessions(labs.Config{
		Provider: provider, Log: runningLog{db}, Labs: set, Recordings: t.TempDir(), Now: time.Now,
		Trail: time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	t.Cleanup(sessions.Close)
	if err := sessions.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	session, err := sessions.Start(t.Context(), user, "shelf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Destroy(context.Background(), session.ID()); err != nil {
			t.Error(err)
		}
	})
	evidence := func(id string) []grade.Evidence {
		all, err := db.Evidence(t.Context(), session.ID())
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(e grade.Evidence) bool { return e.Check != id })
	}
	baselines := func(want int) func() bool {
		return func() bool {
			return session.Snapshot().Phase == labs.PhaseRunning && len(evidence("trail/baseline")) == want
		}
	}
	inTime(t, "the lab is handed over and remembered", baselines(1))

	run := func(lines ...string) {
		v, err := session.Terminal().Attach(t.Context(), "1", size80, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Detach()
		var printed strings.Builder
		until := func(text string) {
			for !strings.Contains(printed.String(), text) {
				m, err := v.Next(t.Context())
				if err != nil {
					t.Fatalf("after %q: %v", printed.String(), err)
				}
				printed.Write(m.Data)
				v.Ack(m.Offset + int64(len(m.Data)))
			}
		}
		until("$ ")
		for _, line := range append(lines, "echo do''ne") {
			if err := v.Input([]byte(line + "\r")); err != nil {
				t.Fatal(err)
			}
		}
		until("\adone\r\n") // after the mark of the command
	}
	run("kubectl get configmaps", "kubectl delete configmap other")
	inTime(t, "the deletion is read while the session runs", func() bool {
		session.Touch()
		return slices.ContainsFunc(labs.ReadTrail(evidence("trail/audit")).Requests, func(r trail.Request) bool { return r.Class == trail.Destroy })
	})
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	inTime(t, "the fresh sandbox is handed over", baselines(2))
	run("kubectl patch configmap settings -p '{\"data\":{\"colour\":\"blue\"}}'", "kubectl delete secret key", "kubectl create configmap mine --from-literal=a=b", "kubectl --token=secret123 get nodes")
	inTime(t, "the task is done", func() bool { return session.Snapshot().Tasks[0].Done })
	if err := session.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}

	all, err := db.Evidence(t.Context(), session.ID())
	if err != nil {
		t.Fatal(err)
	}
	kept := labs.ReadTrail(all)
	asked := func(class trail.Class, target string) {
		t.Helper()
		n := 0
		for _, r := range kept.Requests {
			if r.Class == class && r.Target() == target && r.Space == "shop" && !r.Refused() && r.By == "" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s %s was asked for %d times", class, target, n)
		}
	}
	asked(trail.Look, "configmaps")
	asked(trail.Destroy, "configmaps other")
	asked(trail.Change, "configmaps settings")
	asked(trail.Destroy, "secrets key")
	asked(trail.Change, "configmaps mine")
	text, err := json.Marshal(kept)
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("the trail holds a secret, or %v", err)
	}
	first, last := changesOf(kept.Differences[0]), changesOf(kept.Differences[1])
	if first != "deleted ConfigMap/other" {
		t.Errorf("before the reset: %s", first)
	}
	if last != "created ConfigMap/mine, changed ConfigMap/settings data.colour red blue, deleted Secret/key" {
		t.Errorf("at the end: %s", last)
	}
	events, err := db.Events(t.Context(), session.ID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, e := range events {
		var d struct {
			Text string
			Code int
		}
		if e.Type == labs.EventShell && json.Unmarshal(e.Data, &d) == nil && d.Code == 0 {
			commands = append(commands, d.Text)
		}
	}
	for _, want := range []string{"kubectl delete configmap other", "kubectl delete secret key"} {
		if !slices.Contains(commands, want) {
			t.Errorf("the shell has not told of %q: %q", want, commands)
		}
	}
	if slices.ContainsFunc(commands, func(c string) bool { return strings.Contains(c, "secret123") }) {
		t.Errorf("a token is in %q", commands)
	}
	p := labs.Fold(session.Lab(), events)
	if len(p.Deductions) != 2 || p.Score != 100-1-2*7 { // the Secret and the new ConfigMap: no check looks at them
		t.Errorf("score %d, deductions %+v", p.Score, p.Deductions)
	}
	inTime(t, "both sandboxes are gone", func() bool {
		left, err := provider.List(t.Context())
		return err == nil && len(left) == 0
	})
	templates, err := provider.Templates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, template := range templates {
		if strings.HasPrefix(template.Name, "shelf-") {
			if err := provider.RemoveTemplate(t.Context(), template.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

// inTime waits for what a real cluster does, on a machine that is busy with others.
func inTime(t *testing.T, what string, holds func() bool) {
	t.Helper()
	const patience = 6 * time.Minute
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(100 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}

// runningLog is the store as sessions see it.
type runningLog struct{ *store.Store }

func (l runningLog) RunningAttempts(ctx context.Context) ([]labs.Attempt, error) {
	return l.Attempts(ctx, store.AttemptFilter{Running: true})
}

func changesOf(d trail.Difference) string {
	var all []string
	for _, c := range d.Changes {
		words := string(c.Op) + " " + c.Kind + "/" + c.Name
		for _, f := range c.Fields {
			words += " " + f.Path + " " + f.From + " " + f.To
		}
		all = append(all, words)
	}
	return strings.Join(all, ", ")
}

// A provider whose clusters have an audit log, of which each read brings what was written since.
type auditedDock struct {
	serverDock
	log *auditLog
}

func (d auditedDock) Exec(ctx context.Context, session string, command sandbox.Command) (sandbox.Result, error) {
	if command.Argv[0] == "perl" { // it has none, so that all is run directly
		return sandbox.Result{ExitCode: 127}, nil
	}
	if len(command.Argv) > 1 && command.Argv[1] == "audit" {
		return d.log.read(strings.Join(command.Argv[2:], ""))
	}
	return d.serverDock.Exec(ctx, session, command)
}

// A server that is killed reads on where it stopped: nothing is lost, and nothing comes twice.
func TestAuditLogIsReadOnAfterAKill(t *testing.T) {
	h := newHarbour(t)
	log := &auditLog{}
	with := func(cfg *labs.Config) {
		cfg.Provider = auditedDock{cfg.Provider.(serverDock), log}
		cfg.Trail = 20 * time.Millisecond
	}
	first := h.serveWith("", with)
	session, err := first.Start(t.Context(), h.user, "flag")
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("the lab runs", func() bool { return session.Snapshot().Phase == labs.PhaseRunning })
	log.write("delete", "one", time.Now())
	seen := func() []trail.Request {
		evidence, err := h.store.Evidence(t.Context(), session.ID())
		if err != nil {
			t.Fatal(err)
		}
		return labs.ReadTrail(evidence).Requests
	}
	h.eventually("the first deletion is read", func() bool {
		session.Touch()
		return len(seen()) == 1
	})
	first.kill()
	first.Close()
	log.write("delete", "two", time.Now())
	second := h.serveWith("", with)
	again, ok := second.Get(session.ID())
	if !ok {
		t.Fatal("the session is gone")
	}
	h.eventually("the session is graded again", func() bool { return again.Terminal() != nil })
	log.write("delete", "three", time.Now())
	log.write("get", "before it began", time.Now().Add(-time.Hour))
	if err := again.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range seen() {
		names = append(names, r.Name)
	}
	if strings.Join(names, " ") != "one two three" {
		t.Errorf("read %q", names)
	}
}

// auditLog is an audit log; a place in it is a number of lines.
type auditLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *auditLog) write(verb, name string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, _ := json.Marshal(map[string]any{
		"verb": verb, "user": map[string]string{"username": "system:serviceaccount:drydock:learner"}, "stage": "ResponseComplete",
		"objectRef": map[string]string{"resource": "pods", "name": name}, "requestReceivedTimestamp": at.UTC(), "responseStatus": map[string]int{"code": 200},
	})
	l.lines = append(l.lines, string(line)+"\n")
}

func (l *auditLog) read(since string) (sandbox.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := strconv.Atoi(since)
	out := fmt.Sprintf("{\"cursor\":\"%d\"}\n", len(l.lines)) + strings.Join(l.lines[from:], "")
	return sandbox.Result{Stdout: []byte(out)}, nil
}
