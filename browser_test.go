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
	if err := chromedp.Do(ctx); err != nil {
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
	p.size(wide, tall)
	return p
}

// The pages are tested, and pictured, at the size of a laptop's and of a phone's screen.
const (
	wide   = 1280
	narrow = 390
	tall   = 860
)

// picturesEnv names the folder that picture writes to; make screenshots sets it.
const picturesEnv = "DRYDOCK_SCREENSHOTS"

// picture keeps what the page shows, wide and narrow, light and dark, where
// somebody asked for pictures; else it does nothing.
func (p *person) picture(name string) {
	p.t.Helper()
	dir := os.Getenv(picturesEnv)
	if dir == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		if err != nil {
			p.t.Fatalf("ask for a %s page: %v", scheme, err)
		}
		for width, word := range map[int64]string{wide: "wide", narrow: "narrow"} {
			p.size(width, tall)
			time.Sleep(700 * time.Millisecond) // a terminal fits itself to its new size and draws; nothing tells when
			png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", name, word, scheme)), png, 0o644)
			}
			if err != nil {
				p.t.Fatalf("take a picture of %s: %v", name, err)
			}
		}
	}
	p.size(wide, tall)
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}); err != nil {
		p.t.Fatalf("put the page's colours back: %v", err)
	}
}

// size sets the page's size in CSS pixels.
func (p *person) size(width, height int64) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride,
		emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
	if err != nil {
		p.t.Fatalf("set the size of %s's page: %v", p.name, err)
	}
}

// do runs actions on the person's page; when they fail within the given time,
// the test ends with what the page then showed.
func (p *person) do(what string, limit time.Duration, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%s could not %s within %s: %v\n%s", p.name, what, limit, err, p.describe())
	}
}

// describe says what the page shows, and keeps a picture where DRYDOCK_TEST_PICTURES names a folder.
func (p *person) describe() string {
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return fmt.Sprintf("(the page can't be read: %v)", err)
	}
	if dir := os.Getenv("DRYDOCK_TEST_PICTURES"); dir != "" {
		if png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
			name := filepath.Join(dir, strings.ReplaceAll(p.t.Name(), "/", "_")+"-"+p.name+".png")
			_ = os.WriteFile(name, png, 0o644)
		}
	}
	return "the page: " + text
}

func (p *person) open(url string) {
	p.t.Helper()
	p.do("open "+url, 20*time.Second, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("main")))
}

// click clicks the element and does not wait for what follows.
func (p *person) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, 10*time.Second, chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
}

// fill types into form fields, given as selector, text, selector, text …
func (p *person) fill(pairs ...string) {
	p.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		p.do("fill in "+pairs[i], 10*time.Second,
			chromedp.WaitVisible(chromedp.CSS(pairs[i])), chromedp.SendKeys(chromedp.CSS(pairs[i]), pairs[i+1]))
	}
}

// sees waits until an expression of JavaScript is true on the page, across
// navigations and reloads.
func (p *person) sees(what, expression string, limit time.Duration) {
	p.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		ctx, cancel := context.WithDeadline(p.ctx, deadline)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not see %s within %s (%v)\n%s", p.name, what, limit, err, p.describe())
		}
		time.Sleep(50 * time.Millisecond) // a page that may be navigating can only be asked
	}
}

// seesText waits until the page's text contains the given one.
func (p *person) seesText(text string, limit time.Duration) {
	p.t.Helper()
	p.sees(fmt.Sprintf("the text %q", text), fmt.Sprintf("document.body.innerText.includes(%q)", text), limit)
}

// reads is the value of an expression of JavaScript.
func (p *person) reads(expression string) string {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.t.Fatalf("%s can't read %s: %v\n%s", p.name, expression, err, p.describe())
	}
	return value
}
