package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/web"
)

const (
	tickRounds = 20
	// tickLimit bounds the wait for one tick; it takes a fraction of a second.
	tickLimit = 30 * time.Second
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
tasks:
  - id: flip
    title: Flip it
    points: 100
    checks:
      - {id: "on", watch: {kind: ConfigMap, namespace: switch, name: light}, that: "object.data.state == 'on'"}
`,
	"README.md": "A switch.\n\n## Flip it {#flip}\n\nFlip it.\n",
	"manifests/switch.yaml": `apiVersion: v1
kind: Namespace
metadata: {name: switch}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: light, namespace: switch}
data: {state: "off"}
`,
}

// recordTick notes in the page, by the machine's clock in milliseconds, when the task's tick appears.
const recordTick = `(() => {
	const ticked = () => document.querySelector('#task-flip[data-state="done"]') !== null;
	window.tickedAt = 0;
	new MutationObserver(() => {
		if (ticked()) { window.tickedAt = window.tickedAt || Date.now(); } else { window.tickedAt = 0; }
	}).observe(document.getElementById('session'), {subtree: true, childList: true, attributes: true});
	return true;
})()`

// benchTick measures from the return of the learner's kubectl, which comes
// when the API server has accepted the change, to the tick in the page's DOM.
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
	if err := chromedp.Do(page, chromedp.Evaluate[chromedp.Void](recordTick)); err != nil {
		return nil, fmt.Errorf("watch the page: %w", err)
	}
	var took []float64
	for round := range tickRounds {
		t, err := b.tick(ctx, page, session)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
		took = append(took, t)
	}
	middle := median(took) // sorts them
	m := measurement{Name: "tick", Value: middle, Unit: "s", N: tickRounds,
		Note: fmt.Sprintf("kubectl's return to the DOM, 0 when the tick is there first; slowest %.3f s", took[len(took)-1])}
	return []measurement{m}, nil
}

// tick flips the switch on, waits for the tick, and flips it off again. It
// returns seconds; a tick that is there before kubectl has returned is 0.
func (b *bench) tick(ctx context.Context, page context.Context, session *labs.Session) (float64, error) {
	flipped, err := b.flip(ctx, session, "on")
	if err != nil {
		return 0, err
	}
	at, err := chromedp.Run(page, chromedp.Poll[int64](`window.tickedAt`, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(tickLimit)))
	if err != nil {
		return 0, fmt.Errorf("wait for the tick: %w", err)
	}
	if _, err := b.flip(ctx, session, "off"); err != nil {
		return 0, err
	}
	_, err = chromedp.Run(page, chromedp.Poll[bool](`window.tickedAt === 0`, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(tickLimit)))
	if err != nil {
		return 0, fmt.Errorf("wait for the tick to go: %w", err)
	}
	return max(0, time.UnixMilli(at).Sub(flipped).Seconds()), nil
}

// flip runs the learner's kubectl in the terminal container and returns when it came back.
func (b *bench) flip(ctx context.Context, session *labs.Session, state string) (time.Time, error) {
	result, err := b.fleet.Exec(ctx, session.ID(), sandbox.Command{
		Where: sandbox.InTerminal,
		Argv:  []string{"kubectl", "patch", "configmap", "light", "--type=merge", "-p", `{"data":{"state":"` + state + `"}}`},
	})
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("kubectl: %s", result.Stderr)
	}
	return time.Now(), err
}

// openPage opens a page of ours in Chromium as the bench's learner.
func (b *bench) openPage(ctx context.Context, url, path string) (page context.Context, closePage func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
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
