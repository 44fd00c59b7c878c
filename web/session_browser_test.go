package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/terminaltest"
	"drydock/sandbox"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// window is a learner's browser: a real Chromium.
type window struct {
	t    *testing.T
	ctx  context.Context
	site *labSite

	mu       sync.Mutex
	problems []string // errors of scripts, and what the content policy refused
}

// openWindow starts Chromium, signed in as the given browser is.
func openWindow(t *testing.T, site *labSite, as *browser) *window {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser: make test runs it")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no Chromium here: sandbox/engine/setup.sh installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the process has ended
		cancel()
		cancelAllocator()
	})
	w := &window{t: t, ctx: ctx, site: site}
	if err := chromedp.Listen(ctx, w.listen); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	address, err := url.Parse(site.url)
	if err != nil {
		t.Fatal(err)
	}
	w.do("open a window", chromedp.EmulateViewport(1360, 860), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for _, c := range as.client.Jar.Cookies(address) {
			cookie := network.SetCookieParams{Name: c.Name, Value: c.Value, URL: site.url}
			if _, err := cdp.Call(ctx, target, network.SetCookie, cookie); err != nil {
				return err
			}
		}
		_, err := cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		return err
	}))
	return w
}

func (w *window) listen(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.problems = append(w.problems, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			w.problems = append(w.problems, e.Entry.Text)
		}
	}
}

// sound fails the test if a script failed or the content policy refused something.
func (w *window) sound() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.problems {
		w.t.Errorf("the page has a problem: %s", p)
	}
	w.problems = nil
}

const windowPatience = 30 * time.Second

func (w *window) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		text, _ := chromedp.Run(w.ctx, chromedp.Evaluate[string](`document.body.innerText`)) // as far as there is a page
		w.picture("failed")
		w.t.Fatalf("%s: %v; the page shows:\n%.3000s", what, err, text)
	}
}

func (w *window) open(path string) {
	w.t.Helper()
	w.do("open "+path, chromedp.Navigate(w.site.url+path), chromedp.WaitVisible(chromedp.CSS("main")))
}

func (w *window) click(selector string) {
	w.t.Helper()
	w.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// sees waits until an expression is true on the page.
func (w *window) sees(expression string) {
	w.t.Helper()
	look := chromedp.Evaluate[bool]("!!(" + expression + ")")
	w.do("wait for "+expression, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for {
			// While a page gives way to the next one there is nothing to look at: that is not yet a failure.
			if ok, err := look(ctx, target); err == nil && ok {
				return nil
			}
			select {
			case <-time.After(20 * time.Millisecond): // between two looks
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}))
}

func (w *window) value(expression string) string {
	w.t.Helper()
	v, err := chromedp.Run(w.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		w.t.Fatalf("read %s: %v", expression, err)
	}
	return v
}

// typeIn types into the terminal that is shown.
func (w *window) typeIn(keys string) {
	w.t.Helper()
	w.click(".shell:not([hidden]) .xterm-screen")
	w.keys(keys)
}

// keys presses keys as a keyboard does: unlike with chromedp's KeyEvent, a
// page that handles the key press itself does not get its character again.
func (w *window) keys(keys string, modifiers ...chromedp.Modifier) {
	w.t.Helper()
	w.do("press keys", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for _, r := range keys {
			for _, k := range kb.Encode(r) {
				if k.Type == kb.KeyChar {
					continue
				}
				for _, m := range modifiers {
					k.Modifiers |= int64(m)
				}
				if known := kb.Keys[r]; k.Type == kb.KeyDown && known != nil && len(modifiers) == 0 {
					k.Text, k.UnmodifiedText = known.Text, known.Unmodified
				}
				if _, err := cdp.Call(ctx, target, input.DispatchKeyEvent, *k); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// screen is an expression for the text of the terminal that is shown.
const screen = `[...document.querySelectorAll(".shell:not([hidden]) .xterm-rows > div")].map(d => d.textContent.replaceAll("\u00a0", " ").trimEnd()).join("\n")`

func (w *window) screenHas(text string) {
	w.t.Helper()
	w.sees(fmt.Sprintf("(%s).includes(%q)", screen, text))
}

// picture keeps what the window shows, where DRYDOCK_TEST_PICTURES names a folder.
func (w *window) picture(name string) {
	w.t.Helper()
	w.accessible(name)
	dir := os.Getenv("DRYDOCK_TEST_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		w.t.Logf("no picture %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		w.t.Error(err)
	}
}

func (w *window) sized(width, height int64) {
	w.t.Helper()
	w.do("resize the window", chromedp.EmulateViewport(width, height))
}

func (w *window) colours(scheme string) {
	w.t.Helper()
	w.do("change colours", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

func TestLabInABrowser(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	path := "/sessions/" + session.ID()
	w := openWindow(t, site, b)
	w.open(path)
	w.screenHas("$")
	w.sound()
	w.picture("lab-wide-light")
	// The panes scroll, and not the page: the way to a task must not take the bar away.
	w.click(`.task-overview a[href="#colour"]`)
	w.sees(`document.querySelector("#colour").getBoundingClientRect().top < innerHeight && document.scrollingElement.scrollTop === 0 && document.scrollingElement.scrollHeight <= innerHeight`)

	// A block of the instructions runs in the terminal.
	w.click(".task-part .code[data-run]:hover .run, .task-part .code[data-run] .run")
	w.screenHas("ls -la")
	w.screenHas(".bash_profile")

	// The wrong answer, then the right one.
	w.do("answer", chromedp.SendKeys(chromedp.CSS("#answer-diagnose"), "mast"))
	w.click("#ask-diagnose button")
	w.sees(`document.querySelector("#ask-diagnose")?.innerText.includes("is not it")`)
	w.click("#hints-diagnose button")
	w.sees(`document.querySelector("#hints-diagnose").innerText.includes("Look around with ls.")`)
	w.click("#hints-diagnose button") // costs points: it asks once more
	w.sees(`document.querySelector("#hints-diagnose button").textContent.includes("Take 5 points off")`)
	w.click("#hints-diagnose button")
	w.sees(`document.querySelector("#hints-diagnose").innerText.includes("It is a flag.")`)
	w.do("answer", chromedp.SetValue(chromedp.CSS("#answer-diagnose"), "flag"))
	terminaltest.Eventually(t, "the pause between answers is over", func() bool {
		<-time.After(200 * time.Millisecond) // between two tries
		w.do("answer", chromedp.Evaluate[chromedp.Void](`document.querySelector("#ask-diagnose form")?.requestSubmit()`))
		return session.Snapshot().Tasks[0].Done
	})
	w.sees(`document.querySelector("#task-diagnose").dataset.state === "done"`)

	// The repair ticks by itself, the guard tells why.
	w.sees(`document.querySelector("#checks-raise").innerText.includes("there is no file named flag")`)
	w.typeIn("touch flag\r")
	w.sees(`document.querySelector("#task-raise").dataset.state === "done"`)
	w.sees(`document.querySelector("#announce").textContent.includes("Task done: Put the flag up")`)
	w.typeIn("touch sawn\r")
	w.sees(`document.querySelector("#guards").innerText.includes("It happened: the mast was sawn off")`)
	w.picture("lab-progress")
	w.sound()

	// Dark, narrow, and the help.
	w.colours("dark")
	w.picture("lab-wide-dark")
	w.sized(390, 780)
	w.picture("lab-narrow-terminal-first-dark")
	w.click(`[data-show-pane="workbench"]`)
	w.screenHas("touch sawn")
	w.picture("lab-narrow-terminal-dark")
	w.colours("light")
	w.picture("lab-narrow-terminal-light")
	w.sized(1360, 860)
	w.click(`.bar [commandfor="help-dialog"]`)
	w.picture("lab-help")
	w.keys(kb.Escape)
	w.sound()
}

// The page survives a lost connection and a reload with its screen intact.
func TestTerminalSurvivesReloadInABrowser(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	w := openWindow(t, site, b)
	w.open("/sessions/" + session.ID())
	w.screenHas("$")
	w.typeIn("word=kept; printf 'colour \\033[38;2;10;200;30mgreen\\033[0m\\n'\r")
	w.screenHas("colour green")
	w.do("reload", chromedp.Reload())
	w.screenHas("colour green")
	w.typeIn("echo [$word]\r")
	w.screenHas("[kept]")
	if before := w.value(screen); strings.Contains(before, ";1R") || strings.Contains(before, "c1;2") {
		t.Errorf("answers to old questions were typed:\n%s", before)
	}
	site.wire.cut()
	w.sees(`!document.querySelector("#connection").hidden`)
	w.sees(`document.querySelector(".terminal-notice").innerText.includes("connection is lost")`)
	w.picture("connection-lost")
	site.wire.mend()
	w.sees(`document.querySelector("#connection").hidden && document.querySelector(".terminal-notice").hidden`)
	w.typeIn("echo again $word\r")
	w.screenHas("again kept")
	// A program that fills the screen is drawn again.
	w.typeIn("less /etc/services\r")
	w.screenHas("ftp")
	w.do("reload", chromedp.Reload())
	w.screenHas("ftp")
	w.typeIn("q")
	w.screenHas("again kept")
	w.sound()
}

func TestTerminalByKeyboardInABrowser(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	w := openWindow(t, site, b)
	w.open("/sessions/" + session.ID())
	w.screenHas("$")
	w.typeIn("echo find me here\r")
	w.screenHas("find me here")
	w.keys(kb.F6)
	w.sees(`document.activeElement.id === "instructions"`)
	w.keys(kb.F6)
	w.sees(`document.activeElement.closest(".shell") !== null`)
	// Another terminal, by keys; then back to the first.
	w.keys("E", chromedp.ModifierCtrl, chromedp.ModifierShift)
	w.sees(`document.querySelectorAll(".terminal-tab").length === 2`)
	w.screenHas("$")
	w.keys("echo in the second\r")
	w.screenHas("in the second")
	w.keys(kb.PageUp, chromedp.ModifierAlt)
	w.screenHas("find me here")
	w.keys("F", chromedp.ModifierCtrl, chromedp.ModifierShift)
	w.sees(`document.activeElement.id === "terminal-search"`)
	w.keys("find me\r")
	w.sees(`document.querySelector(".xterm-decoration-container")?.children.length > 0`)
	w.picture("terminal-search")
	w.keys(kb.Escape)
	w.sees(`document.activeElement.closest(".shell") !== null`)
	w.click("[data-close-tab]")
	w.sees(`document.querySelectorAll(".terminal-tab").length === 1`)
	if got := strings.Join(session.Terminal().Tabs(), " "); got != "2" {
		t.Errorf("open terminals: %q", got)
	}
	// A paste that is too large is refused with words.
	w.do("paste", chromedp.Evaluate[chromedp.Void](`(() => {
		const data = new DataTransfer(); data.setData("text/plain", "x".repeat(300 * 1024));
		document.querySelector(".shell:not([hidden]) textarea").dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
	})()`))
	w.sees(`document.querySelector("#toast").innerText.includes("too long to be pasted: 300 KiB")`)
	w.typeIn("echo still fine\r")
	w.screenHas("still fine")
	w.click("[data-reader]")
	w.sees(`document.querySelector(".xterm-accessibility") !== null`)
	w.sound()
}

// Large output arrives whole and the page stays usable.
func TestFloodInABrowser(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	w := openWindow(t, site, b)
	w.open("/sessions/" + session.ID())
	w.screenHas("$")
	w.typeIn("seq 1 200000; echo flood is over\r")
	w.screenHas("flood is over")
	w.screenHas("199999\n200000")
	w.typeIn("yes\r")
	w.screenHas("y\ny\ny")
	w.keys("c", chromedp.ModifierCtrl)
	w.typeIn("echo calm again\r")
	w.screenHas("calm again")
	w.sound()
}

// A start shows its stages, then the terminal, without a reload; so does a reset.
func TestStartAndResetInABrowser(t *testing.T) {
	site := newLabSite(t)
	goOn := make(chan error)
	site.provider.Begin = slowBegin(goOn)
	b, _ := site.learner("ada", 0)
	w := openWindow(t, site, b)
	w.open("/labs/files")
	w.click(".start button")
	w.sees(`document.querySelector("#session-start")?.innerText.includes("Wait for the API")`)
	w.sees(`/^[1-9]\d* s$/.test(document.querySelector("#session-start [data-since]")?.textContent)`)
	w.picture("start-light")
	w.colours("dark")
	w.picture("start-dark")
	goOn <- nil
	w.screenHas("$")
	w.typeIn("echo first sandbox\r")
	w.screenHas("first sandbox")
	w.click(`.bar [commandfor="reset-dialog"]`)
	w.picture("reset-dialog")
	w.click("#reset-dialog button[type=submit]")
	w.sees(`document.querySelector("#session-start").innerText.includes("Getting you a fresh sandbox")`)
	goOn <- nil
	w.sees(fmt.Sprintf(`!(%s).includes("first sandbox")`, screen))
	w.screenHas("$")
	w.typeIn("echo second sandbox\r")
	w.screenHas("second sandbox")
	w.click(`.bar [commandfor="end-dialog"]`)
	w.click("#end-dialog button[type=submit]")
	w.sees(`location.pathname.startsWith("/attempts/")`)
	w.sound()
}

// Trouble with the engine is told, and over when it is over.
func TestTroubleInABrowser(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	w := openWindow(t, site, b)
	w.open("/sessions/" + session.ID())
	w.screenHas("$")
	site.provider.Break(errEngineDown)
	w.sees(`document.querySelector(".terminal-notice:not([hidden])")?.innerText.includes("engine does not answer")`)
	w.sees(`document.querySelector("#session-banner").innerText.includes("does not answer")`)
	w.picture("trouble")
	site.provider.Break(nil)
	w.sees(`document.querySelector("#session-banner").innerText === ""`)
	w.typeIn("echo all is well\r")
	w.screenHas("all is well")
	w.typeIn("exit\r")
	w.sees(`document.querySelector(".terminal-notice:not([hidden])")?.innerText.includes("The shell has ended")`)
	w.typeIn("x")
	w.sees(`document.querySelector(".terminal-notice").hidden`)
	if session.Snapshot().Phase != labs.PhaseRunning {
		t.Error("the session is not running")
	}
	w.sound()
}

// errEngineDown is what a provider says while the engine is dead.
var errEngineDown = fmt.Errorf("dial the engine: %w", sandbox.ErrEngine)

// slowBegin shows two stages and waits to be told to go on.
func slowBegin(goOn <-chan error) func(sandbox.Progress) error {
	return func(progress sandbox.Progress) error {
		progress(sandbox.Stage{Name: "Start the node"})
		progress(sandbox.Stage{Name: "Start the node", Done: true, Took: 1500 * time.Millisecond})
		progress(sandbox.Stage{Name: "Wait for the API"})
		return <-goOn
	}
}

// wire is the network between the browsers and the server.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, to: to, conns: map[net.Conn]bool{}}
	go w.accept()
	t.Cleanup(func() {
		listener.Close()
		w.cut()
	})
	return w
}

func (w *wire) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		go w.join(conn)
	}
}

// join passes bytes between a browser and the server.
func (w *wire) join(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return // the browser sees it
	}
	defer server.Close()
	w.mu.Lock()
	if w.down {
		w.mu.Unlock()
		return
	}
	w.conns[conn], w.conns[server] = true, true
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, conn) // ends when either side does
		server.Close()
	}()
	_, _ = io.Copy(conn, server)
	w.mu.Lock()
	delete(w.conns, conn)
	delete(w.conns, server)
	w.mu.Unlock()
}

// cut breaks all connections, and new ones, until mend.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for c := range w.conns {
		c.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}
