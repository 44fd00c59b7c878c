package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/sandbox/probe"
	"drydock/web"
)

const (
	tickRounds = 20
	// tickLimit bounds the wait for one tick; it takes a fraction of a second.
	tickLimit = 30 * time.Second
	// tickObservers probes of our own look in turns, each as often as it may:
	// together every twenty milliseconds.
	tickObservers = 5
	// tickPoll is how often the page is asked; the page itself notes the time.
	tickPoll = 20 * time.Millisecond
	// tickCookie is long enough for one run.
	tickCookie = time.Hour
)

// tickLab flips by one command, so that what is measured is Drydock and not how long pods take to start.
var tickLab = map[string]string{
	"lab.yaml": `apiVersion: drydock/v1
kind: Lab
title: Flip
summary: A switch to flip.
track: kubernetes
level: beginner
minutes: 5
sandbox: {kind: cluster, access: namespace, namespaces: [switch]}
setup:
  - apply: manifests/
ready:
  - {id: off, watch: {kind: ConfigMap, namespace: switch, name: light}, that: "object.data.state == 'off'"}
  - {id: up, watch: {kind: Deployment, namespace: switch, name: web}, that: "object.status.?readyReplicas.orValue(0) == 1"}
tasks:
  - id: flip
    title: Flip it
    points: 50
    checks:
      - {id: "on", watch: {kind: ConfigMap, namespace: switch, name: light}, that: "object.data.state == 'on'"}
  - id: answer
    title: Have it answer
    points: 50
    checks:
      - {id: answers, http: {from: switch, url: "http://web.switch/"}, that: response.code == 200}
`,
	"README.md": "A switch.\n\n## Flip it {#flip}\n\nFlip it.\n\n## Have it answer {#answer}\n\nThe Service picks no pod.\n",
	"manifests/switch.yaml": `apiVersion: v1
kind: Namespace
metadata: {name: switch}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: light, namespace: switch}
data: {state: "off"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: switch}
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
metadata: {name: web, namespace: switch}
spec: {selector: {app: nobody}, ports: [{port: 80, targetPort: 8080}]}
`,
}

// recordTicks notes in the page, by the machine's clock in milliseconds, when
// each task's tick appears; 0 while it is not there.
const recordTicks = `(() => {
	window.tickedAt = {};
	const look = () => {
		for (const task of document.querySelectorAll('[data-task]')) {
			const id = task.dataset.task;
			window.tickedAt[id] = task.dataset.state === 'done' ? window.tickedAt[id] || Date.now() : 0;
		}
	};
	new MutationObserver(look).observe(document.getElementById('session'), {subtree: true, childList: true, attributes: true});
	look();
	return true;
})()`

// benchTick measures from the return of the learner's kubectl, which comes
// when the API server has accepted the change, to the tick in the page's DOM;
// and for a check that has to ask, from the first answer of the service.
func benchTick(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	labsDir, err := os.MkdirTemp("", "drydock-bench-labs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(labsDir)
	if err := writeFiles(filepath.Join(labsDir, "flip"), tickLab); err != nil {
		return nil, err
	}
	b, err := openBench(ctx, labsDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	url, stop, err := listenLocal(b.handler)
	if err != nil {
		return nil, err
	}
	defer stop()
	fmt.Fprintln(progress, "  starting a cluster")
	session, err := b.start(ctx, "flip")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.End(ctx, "learner")) }()
	page, closePage, err := b.openPage(ctx, url, "/sessions/"+session.ID())
	if err != nil {
		return nil, err
	}
	defer closePage()
	if err := chromedp.Do(page, chromedp.Evaluate[chromedp.Void](recordTicks)); err != nil {
		return nil, fmt.Errorf("watch the page: %w", err)
	}
	t := &ticks{bench: b, session: session, page: page}
	fmt.Fprintln(progress, "  a switch, twenty times")
	watched, err := t.rounds(ctx, t.flip)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(progress, "  a service, twenty times")
	probed, err := t.rounds(ctx, t.answer)
	if err != nil {
		return nil, err
	}
	return []measurement{
		tickRow("tick", watched, "kubectl's return to the DOM, 0 when the tick is there first"),
		tickRow("tick.probe", probed, fmt.Sprintf("the service's first answer to the DOM, by a check that asks every %s, and every %s while it fails and the learner has just done something",
			probe.DefaultEvery, grade.AwaitedEvery)),
	}, nil
}

// tickRow is the row of what all rounds took, in seconds.
func tickRow(name string, took []float64, note string) measurement {
	middle := median(took) // sorts them
	return measurement{Name: name, Value: middle, Unit: "s", N: len(took), Note: fmt.Sprintf("%s; slowest %.3f s", note, took[len(took)-1])}
}

// ticks are measured in one page.
type ticks struct {
	*bench
	session *labs.Session
	page    context.Context
}

// rounds repeats what one measurement takes, in seconds.
func (t *ticks) rounds(ctx context.Context, one func(context.Context) (float64, error)) ([]float64, error) {
	var all []float64
	for round := range tickRounds {
		took, err := one(ctx)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
		all = append(all, took)
	}
	return all, nil
}

// flip flips the switch on, waits for the tick, and flips it off again. It
// returns seconds; a tick that is there before kubectl has returned is 0.
func (t *ticks) flip(ctx context.Context) (float64, error) {
	state := func(state string) error {
		return t.patch(ctx, "configmap/light", `{"data":{"state":"`+state+`"}}`)
	}
	if err := state("on"); err != nil {
		return 0, err
	}
	flipped := time.Now()
	at, err := t.tickedAt("flip")
	if err != nil {
		return 0, err
	}
	if err := state("off"); err != nil {
		return 0, err
	}
	return max(0, at.Sub(flipped).Seconds()), t.tickGone("flip")
}

// answer has the service answer, waits for the tick, and has it pick no pod
// again. When it answers is told by a probe of our own, with the shortest
// period that there is.
func (t *ticks) answer(ctx context.Context) (float64, error) {
	selects := func(app string) error {
		return t.patch(ctx, "service/web", `{"spec":{"selector":{"app":"`+app+`"}}}`)
	}
	// Somewhere in the period of the check: rounds that follow each other closely would meet always the same part of it.
	if err := pause(ctx, rand.N(probe.DefaultEvery)); err != nil {
		return 0, err
	}
	first, err := t.firstAnswer(ctx)
	if err != nil {
		return 0, err
	}
	if err := selects("web"); err != nil {
		return 0, err
	}
	answered, err := first()
	if err != nil {
		return 0, err
	}
	at, err := t.tickedAt("answer")
	if err != nil {
		return 0, err
	}
	if err := selects("nobody"); err != nil {
		return 0, err
	}
	return max(0, at.Sub(answered).Seconds()), t.tickGone("answer")
}

// firstAnswer begins to ask the service from the node, by several probes that
// follow each other closely, and returns when each has found that nothing
// answers. The function that it returns waits for the first answer.
func (t *ticks) firstAnswer(ctx context.Context) (wait func() (time.Time, error), err error) {
	ctx, cancel := context.WithTimeout(ctx, tickLimit)
	answers, output := io.Pipe()
	input, requests := io.Pipe()
	stop := func() {
		cancel()
		requests.Close()
		answers.Close()
	}
	go func() {
		_, err := t.fleet.Exec(ctx, t.session.ID(), sandbox.Command{Where: sandbox.OnNode, Argv: []string{probe.Program}, Stdin: input, Stdout: output})
		output.CloseWithError(fmt.Errorf("the probe ended: %w", errors.Join(err, io.EOF)))
	}()
	go func() {
		for i := range tickObservers { // a Write that fails has an Exec that has failed
			_ = probe.Request{
				ID: strconv.Itoa(i), Every: probe.MinEvery, Watch: probe.WatchUp,
				From: probe.From{Namespace: "switch"}, HTTP: &probe.HTTP{URL: "http://web.switch/"},
			}.Write(requests)
			_ = pause(ctx, probe.MinEvery/tickObservers)
		}
	}()
	lines := probe.Lines(answers)
	next := func() (probe.Answer, error) {
		if !lines.Scan() {
			return probe.Answer{}, fmt.Errorf("ask the service: %w", cmp.Or(lines.Err(), io.EOF))
		}
		return probe.DecodeAnswer(lines.Bytes())
	}
	for range tickObservers {
		if a, err := next(); err != nil || a.Up() {
			stop()
			return nil, fmt.Errorf("the service that should not answer: up %v: %w", a.Up(), err)
		}
	}
	return func() (time.Time, error) {
		defer stop()
		a, err := next()
		for err == nil && !a.Up() {
			a, err = next()
		}
		return a.At, err
	}, nil
}

// tickedAt waits for a task's tick in the page.
func (t *ticks) tickedAt(task string) (time.Time, error) {
	at, err := chromedp.Run(t.page, chromedp.Poll[int64](`window.tickedAt[`+strconv.Quote(task)+`]`, chromedp.WithPollingInterval(tickPoll), chromedp.WithPollingTimeout(tickLimit)))
	if err != nil {
		return time.Time{}, fmt.Errorf("wait for the tick: %w", err)
	}
	return time.UnixMilli(at), nil
}

// tickGone waits until the tick has gone.
func (t *ticks) tickGone(task string) error {
	_, err := chromedp.Run(t.page, chromedp.Poll[bool](`window.tickedAt[`+strconv.Quote(task)+`] === 0`, chromedp.WithPollingInterval(tickPoll), chromedp.WithPollingTimeout(tickLimit)))
	if err != nil {
		return fmt.Errorf("wait for the tick to go: %w", err)
	}
	return nil
}

// patch runs the learner's kubectl in the terminal container. The session is
// told that a key was pressed, as it is by a terminal in which that is typed.
func (t *ticks) patch(ctx context.Context, object, patch string) error {
	t.session.Touch()
	result, err := t.fleet.Exec(ctx, t.session.ID(), sandbox.Command{
		Where: sandbox.InTerminal,
		Argv:  []string{"kubectl", "patch", object, "--type=merge", "-p", patch},
	})
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("kubectl: %s", result.Stderr)
	}
	return err
}

// openPage opens a page of ours in Chromium as the bench's learner.
func (b *bench) openPage(ctx context.Context, url, path string) (page context.Context, closePage func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	page, cancel := chromedp.NewContext(allocator)
	closePage = func() {
		_ = chromedp.Cancel(page) // waits for Chromium's end
		cancel()
		cancelAllocator()
	}
	token, err := b.store.SignIn(ctx, b.learner.ID, tickCookie)
	if err == nil {
		_, err = chromedp.Call(page, network.SetCookie, network.SetCookieParams{Name: web.SignInCookie, Value: token, URL: url})
	}
	if err == nil {
		err = chromedp.Do(page, chromedp.Navigate(url+path), chromedp.WaitVisible(chromedp.CSS("#session")))
	}
	if err != nil {
		closePage()
		return nil, nil, fmt.Errorf("open %s in Chromium: %w", path, err)
	}
	return page, closePage, nil
}

// writeFiles writes files, by their paths below dir.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
