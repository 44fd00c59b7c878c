package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/store"
)

const (
	// gradeSessions are graded at once, by as many graders as the server would
	// have: each with connections, probes and commands of its own.
	gradeSessions = 50
	// gradeClusters is how many clusters they share. An idle one takes some 6 %
	// of a core and 330 MiB, so that fifty would want three cores before anybody
	// looked at them.
	gradeClusters = 5
	gradeRounds   = 3
	// gradeWindow is how long it is looked at in each round, and as long before
	// and after without grading: six times the longest period of a check.
	gradeWindow = 30 * time.Second
	// gradeCommand is how often every learner is taken to run a command; each
	// changes something that is watched.
	gradeCommand = 10 * time.Second
	// gradeAsk is how often it is asked whether all are graded.
	gradeAsk = time.Second
	// gradeMeet bounds the wait until one more session in each cluster is graded.
	gradeMeet = 2 * time.Minute
)

// gradeLab is looked at by every collector that clusters have, with the
// periods that they have unless a lab says otherwise. The page does not answer,
// as it does until a lab is solved: then it is looked at more often.
var gradeLab = map[string]string{
	"lab.yaml": `apiVersion: drydock/v1
kind: Lab
title: Watched
summary: A shop that is looked at in every way.
track: kubernetes
level: beginner
minutes: 15
sandbox: {kind: cluster, access: namespace, namespaces: [shop]}
setup:
  - apply: manifests/
ready:
  - {id: up, http: {from: shop, url: "http://web.shop/"}, that: "response.code == 200"}
tasks:
  - id: solved
    title: What works
    points: 50
    checks:
      - {id: ready, watch: {kind: Deployment, namespace: shop, name: web}, that: "object.status.?readyReplicas.orValue(0) == 1"}
      - {id: settings, watch: {kind: ConfigMap, namespace: shop, name: settings}, that: "has(object.data.count)"}
      - {id: pods, watch: {kind: Pod, namespace: shop}, that: "size(objects) == 1"}
      - {id: port, tcp: {from: shop, address: "web.shop:80"}, that: "connection.open"}
      - {id: name, dns: {from: shop, name: web}, that: "lookup.code == 'NOERROR'"}
      - {id: file, exec: {on: node, command: [grep, -q, server, /etc/kubernetes/admin.conf]}, that: "result.code == 0"}
      - {id: log, logs: {namespace: shop, selector: app=web}, that: "size(logs) == 1"}
      - {id: happened, events: {namespace: shop, kind: Pod}, that: "!events.exists(e, e.reason == 'Evicted')"}
      - {id: kept, audit: {verbs: [delete], resource: pods, namespace: shop}, that: "size(audit) == 0"}
  - id: open
    title: What does not work yet
    points: 50
    checks:
      - {id: closed-page, http: {from: shop, url: "http://closed.shop/"}, that: "response.code == 200"}
guards:
  - {id: same, watch: {kind: Deployment, namespace: shop, name: web}, that: "object != null && object.metadata.uid == baseline.metadata.uid", else: web was made anew}
service:
  http: {from: shop, url: "http://web.shop/"}
`,
	"README.md": "A shop.\n\n## What works {#solved}\n\nNothing to do.\n\n## What does not work yet {#open}\n\nNothing to do.\n",
	"manifests/shop.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {count: "0"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: localhost/drydock/workload:1
          command: [workload, web, --listen, ":8080"]
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: closed, namespace: shop}
spec: {selector: {app: nobody}, ports: [{port: 80, targetPort: 8080}]}
`,
}

// class is fifty sessions on five clusters, for measuring.
type class struct {
	*yard
	lab     *labs.Lab
	set     *labs.Catalogue
	shared  *sharedClusters
	store   *store.Store
	users   []int64
	changes []dynamic.Interface // one for each cluster
	ids     []string            // of the clusters' sandboxes
}

// benchGrade measures what it costs to grade fifty sessions at once: the same
// five clusters, with the same changes in them, without and with fifty graders.
func benchGrade(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	y, err := openYard()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	c := &class{yard: y}
	if err := c.open(ctx, progress); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.store.Close()) }()
	var f figures
	if err := c.idle(ctx, &f); err != nil {
		return nil, err
	}
	if err := c.graded(ctx, progress, &f); err != nil {
		return nil, err
	}
	if err := c.idle(ctx, &f); err != nil {
		return nil, err
	}
	fmt.Fprintf(progress, "  %s\n", f.last())
	fmt.Fprintln(progress, "  one session's looks, by kubectl and curl")
	shell, err := c.shells(ctx)
	if err != nil {
		return nil, err
	}
	return c.rows(&f, shell-f.mean("idle.all")), nil
}

// gradeNames are the rows of benchGrade.
func gradeNames() []string {
	all := fmt.Sprintf("grade.%d", gradeSessions)
	return []string{all, all + ".server", all + ".engine", all + ".clusters"}
}

// rows are what the rounds have shown, in cores.
func (c *class) rows(f *figures, shell float64) []measurement {
	const yardstick = "kubectl and curl in shells"
	names := gradeNames()
	idle := func(who string) float64 { return f.mean("idle." + who) }
	row := func(i int, who, note string) measurement {
		m := f.measure("graded."+who, "cores", note)
		m.Name, m.Value = names[i], m.Value-idle(who)
		return m
	}
	return []measurement{
		row(0, "all", fmt.Sprintf("%d sessions on %d clusters: what grading adds to the server, the engine and the clusters (%.2f cores without it)",
			gradeSessions, gradeClusters, idle("all"))).against(yardstick, shell*gradeSessions),
		row(1, "server", "of it this process: judging, watches, the store"),
		row(2, "engine", "of it the engine with what it starts: the commands in the clusters count here and there"),
		row(3, "clusters", "of it the clusters: API servers, probes, commands, what they ask").against("clusters without grading", idle("clusters")),
	}
}

// open makes the clusters, the learners and the store.
func (c *class) open(ctx context.Context, progress io.Writer) (err error) {
	dir := filepath.Join(c.dir, "labs")
	if err := writeFiles(filepath.Join(dir, "watched"), gradeLab); err != nil {
		return err
	}
	if c.set, err = labs.LoadCatalogue(os.DirFS(dir)); err != nil {
		return err
	}
	c.lab, _ = c.set.Get("watched")
	c.shared = &sharedClusters{Provider: c.Provider, guests: map[string]guest{}}
	for i := range gradeClusters {
		host := "host" + strconv.Itoa(i+1)
		fmt.Fprintf(progress, "  cluster %d of %d\n", i+1, gradeClusters)
		if err := c.openCluster(ctx, host); err != nil {
			return err
		}
	}
	if c.store, err = openStore(ctx, filepath.Join(c.dir, "data")); err != nil {
		return err
	}
	for i := range gradeSessions {
		login := "learner" + strconv.Itoa(i+1)
		u, err := c.store.AddUser(ctx, store.NewUser{Name: login, Login: login, Password: "measured-not-guessed", Role: store.RoleLearner})
		if err != nil {
			return errors.Join(err, c.store.Close())
		}
		c.users = append(c.users, u.ID)
	}
	return nil
}

func (c *class) openCluster(ctx context.Context, host string) error {
	made, err := c.Create(ctx, c.lab.SandboxSpec(c.Provider, host, c.lab.AllVariants()[0]), nil)
	if err != nil {
		return err
	}
	config, err := labs.AdminConfig(ctx, c.Provider, host)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the cluster %s: %w", host, err)
	}
	c.shared.hosts = append(c.shared.hosts, host)
	c.changes, c.ids = append(c.changes, client), append(c.ids, made.ID)
	return nil
}

// idle measures the clusters while nobody grades.
func (c *class) idle(ctx context.Context, f *figures) error {
	used, err := c.during(ctx, func() {})
	used.add(f, "idle")
	return err
}

// graded measures the same while all fifty are graded.
func (c *class) graded(ctx context.Context, progress io.Writer, f *figures) error {
	sessions := labs.NewSessions(labs.Config{
		Provider: c.shared, Log: attemptLog{c.store}, Labs: c.set, Recordings: filepath.Join(c.dir, "recordings"),
		PerLearner: -1, Idle: time.Hour, Orphaned: time.Hour,
		Measure: time.Hour, // how full the sandboxes are is no part of grading
		Now:     time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	defer sessions.Close()
	if err := sessions.Boot(ctx); err != nil {
		return err
	}
	for n, user := range c.users { // one in each cluster at a time, as a class does not begin in the same second
		if _, err := sessions.Start(ctx, user, c.lab.Slug); err != nil {
			return err
		}
		if (n+1)%gradeClusters == 0 {
			fmt.Fprintf(progress, "  session %d of %d\n", n+1, gradeSessions)
			if err := meet(ctx, sessions, n+1); err != nil {
				return err
			}
		}
	}
	for range gradeRounds {
		used, err := c.during(ctx, func() {
			for _, s := range sessions.Running() {
				s.Touch()
			}
		})
		if err := errors.Join(err, judgedRight(sessions, gradeSessions)); err != nil {
			return err
		}
		used.add(f, "graded")
	}
	return nil
}

// meet waits until so many sessions are graded, and judged as they should be.
func meet(ctx context.Context, sessions *labs.Sessions, want int) error {
	limited, cancel := context.WithTimeout(ctx, gradeMeet)
	defer cancel()
	for {
		err := judgedRight(sessions, want)
		if err == nil {
			return nil
		}
		if ended := pause(limited, gradeAsk); ended != nil {
			return fmt.Errorf("%w: %w", ended, err)
		}
	}
}

// judgedRight says whether the graders have really looked: what works is done,
// and what does not is not, and was looked at.
func judgedRight(sessions *labs.Sessions, want int) error {
	all := sessions.Running()
	if len(all) != want {
		return fmt.Errorf("%d sessions run, not %d", len(all), want)
	}
	for _, s := range all {
		for _, t := range s.Snapshot().Tasks {
			wanted := grade.Fail
			if t.ID == "solved" {
				wanted = grade.Pass
			}
			for _, check := range t.Checks {
				if check.Result.Verdict != wanted {
					return fmt.Errorf("session %s: check %s of %s says %q, want %q: %s", s.ID(), check.ID, t.ID, check.Result.Verdict, wanted, check.Result.Reason)
				}
			}
		}
	}
	return nil
}

// during measures a window in which something changes in every cluster now
// and then; work is called just before, for what learners do.
func (c *class) during(ctx context.Context, work func()) (cores, error) {
	before, err := c.spent(ctx)
	if err != nil {
		return cores{}, err
	}
	began := time.Now()
	for n := 1; time.Since(began) < gradeWindow; n++ {
		work()
		if err := c.change(ctx, n); err != nil {
			return cores{}, err
		}
		if err := pause(ctx, gradeCommand); err != nil {
			return cores{}, err
		}
	}
	after, err := c.spent(ctx)
	if err != nil {
		return cores{}, err
	}
	return after.since(before, time.Since(began)), nil
}

// change changes what the sessions watch.
func (c *class) change(ctx context.Context, n int) error {
	settings := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	patch := fmt.Appendf(nil, `{"data":{"count":"%d"}}`, n)
	g, ctx := errgroup.WithContext(ctx)
	for _, client := range c.changes {
		g.Go(func() error {
			_, err := client.Resource(settings).Namespace("shop").Patch(ctx, "settings", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("change the settings: %w", err)
	}
	return nil
}

// shellLooks are the looks of one session as a platform makes them that runs
// kubectl and curl, as often as ours. What ours watches theirs asks for as
// often as ours sends its probes.
func shellLooks() map[time.Duration][][]string {
	const second = time.Second
	kubectl := func(args ...string) []string { return append([]string{"kubectl", "--namespace=shop"}, args...) }
	curl := []string{"curl", "-s", "-o", "/dev/null", "--max-time", "5", "http://web.shop.svc.cluster.local/"}
	closed := []string{"curl", "-s", "-o", "/dev/null", "--max-time", "5", "http://closed.shop.svc.cluster.local/"}
	return map[time.Duration][][]string{
		second / 2: {curl}, // the service
		2 * second: {
			kubectl("logs", "--selector=app=web", "--tail=10"),
			kubectl("get", "deployment", "web", "--output=json"), kubectl("get", "configmap", "settings", "--output=json"),
			kubectl("get", "pods", "--output=json"), kubectl("get", "events", "--output=json"),
			closed, {"bash", "-c", ": < /dev/tcp/web.shop.svc.cluster.local/80"}, {"getent", "hosts", "web.shop.svc.cluster.local"},
		},
		3 * second: {sandbox.AuditCommand("").Argv},
		5 * second: {{"grep", "-q", "server", "/etc/kubernetes/admin.conf"}},
	}
}

// shells measures the looks of one session in shells, in cores.
func (c *class) shells(ctx context.Context) (float64, error) {
	host := c.shared.hosts[0]
	looking, stop := context.WithCancel(ctx)
	var looks sync.WaitGroup
	for every, commands := range shellLooks() {
		for _, argv := range commands {
			looks.Go(func() {
				command := sandbox.Command{Where: sandbox.OnNode, Argv: argv, Env: []string{"KUBECONFIG=/etc/kubernetes/admin.conf"}}
				for looking.Err() == nil {
					// What it finds does not matter, and at the end it is broken off.
					_, _ = c.Exec(looking, host, command)
					_ = pause(looking, every)
				}
			})
		}
	}
	used, err := c.during(ctx, func() {})
	stop()
	looks.Wait()
	return used.all(), err
}
