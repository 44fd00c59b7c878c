package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser is a real Chromium; each person in a test has a profile of its own in it.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium here: sandbox/engine/setup.sh installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true),
	)
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the process has ended
		cancel()
		cancelAllocator()
	})
	return &browser{t: t, ctx: ctx}
}

// person is one user's own browser profile with one page.
type person struct {
	t    *testing.T
	name string
	ctx  context.Context
}

func (b *browser) person(name string) *person {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(cancel)
	p := &person{t: b.t, name: name, ctx: ctx}
	p.do("open a page", 20*time.Second, emulation.SetDeviceMetricsOverride(1280, 860, 1, false))
	return p
}

// do runs actions on the person's page; when they fail within the given time,
// the test ends with what the page then showed.
func (p *person) do(what string, limit time.Duration, actions ...chromedp.Action) {
	p.t.Helper()
	// The first Run opens the page with the context it gets, so that must be the person's own.
	if err := chromedp.Run(p.ctx); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		p.t.Fatalf("%s could not %s within %s: %v\n%s", p.name, what, limit, err, p.describe())
	}
}

// describe says what the page shows, and keeps a picture where DRYDOCK_TEST_PICTURES names a folder.
func (p *person) describe() string {
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	var location, text string
	if err := chromedp.Run(ctx, chromedp.Location(&location), chromedp.Evaluate(`document.body.innerText`, &text)); err != nil {
		return fmt.Sprintf("(the page can't be read: %v)", err)
	}
	if dir := os.Getenv("DRYDOCK_TEST_PICTURES"); dir != "" {
		var png []byte
		if err := chromedp.Run(ctx, chromedp.CaptureScreenshot(&png)); err == nil {
			name := filepath.Join(dir, strings.ReplaceAll(p.t.Name(), "/", "_")+"-"+p.name+".png")
			_ = os.WriteFile(name, png, 0o644)
		}
	}
	return fmt.Sprintf("page %s:\n%s", location, text)
}

func (p *person) open(url string) {
	p.t.Helper()
	p.do("open "+url, 20*time.Second, chromedp.Navigate(url), chromedp.WaitVisible("main", chromedp.ByQuery))
}

// click clicks the element and does not wait for what follows.
func (p *person) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, 10*time.Second, chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Click(selector, chromedp.ByQuery))
}

// fill types into form fields, given as selector, text, selector, text …
func (p *person) fill(pairs ...string) {
	p.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		p.do("fill in "+pairs[i], 10*time.Second,
			chromedp.WaitVisible(pairs[i], chromedp.ByQuery), chromedp.SendKeys(pairs[i], pairs[i+1], chromedp.ByQuery))
	}
}

// sees waits until an expression of JavaScript is true on the page.
func (p *person) sees(what, expression string, limit time.Duration) {
	p.t.Helper()
	var ok bool
	p.do("see "+what, limit, chromedp.Poll(expression, &ok, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(limit)))
}

// seesText waits until the page's text contains the given one.
func (p *person) seesText(text string, limit time.Duration) {
	p.t.Helper()
	p.sees(fmt.Sprintf("the text %q", text), fmt.Sprintf("document.body.innerText.includes(%q)", text), limit)
}

// reads is the value of an expression of JavaScript.
func (p *person) reads(expression string) string {
	p.t.Helper()
	var value string
	p.do("read "+expression, 10*time.Second, chromedp.Evaluate(expression, &value))
	return value
}

func (p *person) location() string {
	p.t.Helper()
	return p.reads("location.href")
}
