package labs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/terminaltest"
	"drydock/sandbox"
)

var size80 = sandbox.Size{Cols: 80, Rows: 24}

func newHub(t *testing.T, p sandbox.Provider, dir string) *labs.TerminalHub {
	t.Helper()
	h := labs.NewTerminalHub(labs.HubConfig{Provider: p, Session: "test", Dir: dir})
	t.Cleanup(h.Shutdown)
	return h
}

// screen is a viewer's browser: it takes in and acknowledges what it is told.
type screen struct {
	t      *testing.T
	v      *labs.Viewer
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	began  int64 // offset of seen[0]
	end    int64
	seen   []byte
	anew   int // times that the screen started anew
	state  labs.TerminalState
	text   string
	size   sandbox.Size
	paused chan struct{} // not nil: nothing is taken in until it is closed
}

func look(t *testing.T, h *labs.TerminalHub, tab string, from int64, controls bool) *screen {
	t.Helper()
	v, err := h.Attach(context.Background(), tab, size80, from, controls)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &screen{t: t, v: v, cancel: cancel, ended: make(chan struct{}), began: -1}
	go s.run(ctx)
	t.Cleanup(s.leave)
	return s
}

func (s *screen) run(ctx context.Context) {
	defer close(s.ended)
	for {
		s.mu.Lock()
		paused := s.paused
		s.mu.Unlock()
		if paused != nil {
			select {
			case <-paused:
			case <-ctx.Done():
				return
			}
		}
		m, err := s.v.Next(ctx)
		if err != nil {
			return
		}
		s.take(m)
	}
}

func (s *screen) take(m labs.TerminalMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Kind {
	case labs.MessageState:
		s.state, s.text = m.State, m.Text
	case labs.MessageSize:
		s.size = m.Size
	case labs.MessageOutput:
		if s.began < 0 {
			s.began = m.Offset
		} else if m.Offset != s.end {
			s.began, s.seen = m.Offset, nil
			s.anew++
		}
		s.seen = append(s.seen, m.Data...)
		s.end = m.Offset + int64(len(m.Data))
		s.v.Ack(s.end)
	}
}

func (s *screen) leave() {
	s.cancel()
	<-s.ended
	s.v.Detach()
}

func (s *screen) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.seen)
}

func (s *screen) waitFor(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	terminaltest.Eventually(s.t, "output matches "+pattern, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return re.Match(s.seen)
	})
}

func (s *screen) waitState(state labs.TerminalState) string {
	s.t.Helper()
	var text string
	terminaltest.Eventually(s.t, "the terminal is "+string(state), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		text = s.text
		return s.state == state
	})
	return text
}

// typed types a line once the prompt is there.
func (s *screen) typed(line string) {
	s.t.Helper()
	s.waitState(labs.TerminalLive)
	s.waitFor(`\$ `)
	if err := s.v.Input([]byte(line + "\r")); err != nil {
		s.t.Fatalf("type %q: %v", line, err)
	}
}

// recorded returns the output in a recording, as a player gets it.
func recorded(t *testing.T, dir, tab string) string {
	t.Helper()
	f, err := labs.OpenRecording(dir, tab)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	if err := labs.WriteRecording(&b, f, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTerminalTalksToAShell(t *testing.T) {
	var active atomic.Int32
	dir := t.TempDir()
	h := labs.NewTerminalHub(labs.HubConfig{
		Provider: terminaltest.New(t), Session: "test", Dir: dir,
		Activity: func(tab string) { active.Add(1) },
	})
	defer h.Shutdown()
	s := look(t, h, "1", 0, true)
	s.waitState(labs.TerminalLive)
	s.waitFor(`\$ `)
	if active.Load() != 0 {
		t.Error("looking counts as typing")
	}
	s.typed("stty size; echo $((6*7))")
	s.waitFor(`24 80\r\n42`)
	if active.Load() == 0 {
		t.Error("typing was not reported")
	}
	if err := s.v.Resize(sandbox.Size{Cols: 132, Rows: 43}); err != nil {
		t.Fatal(err)
	}
	s.typed("stty size")
	s.waitFor(`43 132`)
	if got := h.Tabs(); len(got) != 1 || got[0] != "1" {
		t.Errorf("tabs: %q", got)
	}
	if cast := recorded(t, dir, "1"); !strings.Contains(cast, `"r", "132x43"`) || !strings.Contains(cast, "42") {
		t.Errorf("the recording lacks something:\n%s", cast)
	}
}

// A viewer that comes back with the number of bytes seen misses nothing and sees nothing twice.
func TestViewerComesBack(t *testing.T) {
	h := newHub(t, terminaltest.New(t), t.TempDir())
	all := look(t, h, "1", 0, true)
	all.typed("seq -f 'line %g' 1 300; echo almost\\ done")
	first := look(t, h, "1", 0, true)
	first.waitFor(`almost done`)
	first.leave()
	all.typed("seq -f 'later %g' 1 300; echo all\\ done")
	all.waitFor(`all done\r\n`)
	second := look(t, h, "1", first.end, true)
	second.waitFor(`all done\r\n`)
	terminaltest.Eventually(t, "both have seen the same", func() bool {
		return strings.HasPrefix(all.output(), first.output()+second.output())
	})
	if second.began != first.end || second.anew != 0 {
		t.Errorf("came back at %d, left at %d; %d restarts", second.began, first.end, second.anew)
	}
}

// The server stops and another takes over; the shell prints meanwhile.
func TestHubTakesOverAfterARestart(t *testing.T) {
	p, dir := terminaltest.New(t), t.TempDir()
	h := labs.NewTerminalHub(labs.HubConfig{Provider: p, Session: "test", Dir: dir})
	s := look(t, h, "1", 0, true)
	s.typed("for i in $(seq 1 40); do echo tick $i; sleep 0.02; done; echo all\\ done")
	s.waitFor(`tick 5\r\n`)
	h.Shutdown()
	s.waitState(labs.TerminalClosed)
	before := s.output()

	h = newHub(t, p, dir)
	if got := h.Tabs(); len(got) != 1 {
		t.Fatalf("tabs after the restart: %q", got)
	}
	again := look(t, h, "1", int64(len(before)), true)
	again.waitFor(`all done\r\n`)
	whole := before + again.output()
	for i := range 40 {
		if n := strings.Count(whole, fmt.Sprintf("tick %d\r\n", i+1)); n != 1 {
			t.Errorf("tick %d was seen %d times", i+1, n)
		}
	}
	fresh := look(t, h, "1", 0, true)
	fresh.waitFor(`all done\r\n`)
	if !strings.HasPrefix(fresh.output(), before) {
		t.Error("a page loaded anew lacks what was printed before the restart")
	}
}

// A server killed at some moment leaves a recording that the next one goes on with.
func TestHubTakesOverAfterAKill(t *testing.T) {
	p, dir := terminaltest.New(t), t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestHubInAChild$")
	child.Env = append(os.Environ(), childDir+"="+dir, childShell+"="+p.Address())
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "1.cast")
	terminaltest.Eventually(t, "the child records", func() bool {
		text, _ := os.ReadFile(file)
		return bytes.Contains(text, []byte("20000"))
	})
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed

	h := newHub(t, p, dir)
	s := look(t, h, "1", 1, true) // from 1: all that is kept, without a redraw
	s.waitFor(`all done\r\n`)
	want := sha256.Sum256([]byte(seq(1, 200000)))
	cast := recorded(t, dir, "1")
	got := outputOf(t, cast)
	from, to := strings.Index(got, "\a1\r\n"), strings.Index(got, "all done\r\n")
	if from < 0 || to < 0 {
		t.Fatal("the recording is not complete")
	}
	if sha256.Sum256([]byte(got[from+1:to])) != want {
		t.Error("the recording has a gap or repeats itself")
	}
}

const childDir, childShell = "TERMINAL_TEST_DIR", "TERMINAL_TEST_SHELL"

// TestHubInAChild is the server that TestHubTakesOverAfterAKill kills.
func TestHubInAChild(t *testing.T) {
	if os.Getenv(childDir) == "" {
		return // an ordinary run of the tests
	}
	h := newHub(t, terminaltest.Join(t, os.Getenv(childShell)), os.Getenv(childDir))
	s := look(t, h, "1", 0, true)
	s.typed("seq 1 200000; echo all\\ done")
	<-context.Background().Done()
}

func seq(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "%d\r\n", i)
	}
	return b.String()
}

// A slow browser holds the shell back; nothing is lost and nothing piles up.
func TestSlowViewerHoldsTheShellBack(t *testing.T) {
	dir := t.TempDir()
	h := newHub(t, terminaltest.New(t), dir)
	v, err := h.Attach(context.Background(), "1", size80, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Detach()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var got []byte
	typed := false
	for !bytes.Contains(got, []byte("all done\r\n")) {
		m, err := v.Next(ctx)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		if m.Kind != labs.MessageOutput {
			continue
		}
		if m.Offset != int64(len(got)) {
			t.Fatalf("output at %d follows %d bytes", m.Offset, len(got))
		}
		got = append(got, m.Data...)
		if !typed && bytes.Contains(got, []byte("$ ")) {
			typed = true
			if err := v.Input([]byte("seq 1 200000; echo all\\ done\r")); err != nil {
				t.Fatal(err)
			}
		}
		// The recording is what the hub has read: never much more than this viewer took.
		if ahead := outputSize(t, dir) - len(got); ahead > 256<<10 {
			t.Fatalf("the shell is %d bytes ahead of its only viewer", ahead)
		}
		v.Ack(int64(len(got)))
	}
	from := bytes.Index(got, []byte("\a1\r\n"))
	to := bytes.Index(got, []byte("all done\r\n"))
	if sha256.Sum256(got[from+1:to]) != sha256.Sum256([]byte(seq(1, 200000))) {
		t.Error("bytes were lost or changed")
	}
}

func outputSize(t *testing.T, dir string) int {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "1.cast"))
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size()) * 2 / 3 // of seq's lines, "1\r\n" takes two characters more in JSON
}

// Without anybody looking the shell goes on and is recorded; a watcher who
// falls behind is shown the latest screen and never holds the shell back.
func TestNobodyAndSlowWatchersHoldNothingBack(t *testing.T) {
	dir := t.TempDir()
	h := newHub(t, terminaltest.New(t), dir)
	s := look(t, h, "1", 0, true)
	s.waitFor(`\$ `)
	watcher, err := h.Attach(context.Background(), "1", size80, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Detach()
	if err := watcher.Input([]byte("x")); !errors.Is(err, labs.ErrWatchOnly) {
		t.Errorf("a watcher typed: %v", err)
	}
	s.typed("seq 1 400000; echo all\\ done")
	s.leave()
	terminaltest.Eventually(t, "the whole output is recorded", func() bool {
		return strings.Contains(recorded(t, dir, "1"), "all done\\r\\n")
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var seen []byte
	end, restarts := int64(-1), 0
	for !bytes.Contains(seen, []byte("all done\r\n")) {
		m, err := watcher.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != labs.MessageOutput {
			continue
		}
		if end >= 0 && m.Offset != end {
			seen, restarts = nil, restarts+1
		}
		if end < 0 && m.Offset > 0 {
			restarts++
		}
		seen = append(seen, m.Data...)
		end = m.Offset + int64(len(m.Data))
		watcher.Ack(end)
	}
	if restarts != 1 {
		t.Errorf("the watcher's screen started anew %d times", restarts)
	}
	if first, _, _ := bytes.Cut(seen, []byte("\r\n")); !regexp.MustCompile(`^\d{6}$`).Match(first) {
		t.Errorf("the fresh screen begins with %q, not with a whole line", first)
	}
}

// A browser that stopped showing progress holds the shell back for a limited time.
func TestStalledViewerIsNotWaitedForForever(t *testing.T) {
	var ahead atomic.Int64 // of the hub's clock
	dir := t.TempDir()
	h := labs.NewTerminalHub(labs.HubConfig{
		Provider: terminaltest.New(t), Session: "test", Dir: dir,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	defer h.Shutdown()
	s := look(t, h, "1", 0, true)
	s.waitFor(`\$ `)
	resume := make(chan struct{})
	s.mu.Lock()
	s.paused = resume
	s.mu.Unlock()
	s.typed("seq 1 300000; echo all\\ done")
	terminaltest.Eventually(t, "the shell has printed what may wait", func() bool { return outputSize(t, dir) > 96<<10 })
	if strings.Contains(recorded(t, dir, "1"), "all done\\r\\n") {
		t.Fatal("the shell was not held back")
	}
	ahead.Store(int64(31 * time.Second))
	look(t, h, "1", 0, false).leave() // has the hub look at its clock
	terminaltest.Eventually(t, "the shell goes on", func() bool {
		return strings.Contains(recorded(t, dir, "1"), "all done\\r\\n")
	})
	s.mu.Lock()
	s.paused = nil
	s.mu.Unlock()
	close(resume)
	s.waitFor(`all done\r\n`)
}

func TestDeadEngineIsToldAndOvercome(t *testing.T) {
	p := terminaltest.New(t)
	h := newHub(t, p, t.TempDir())
	s := look(t, h, "1", 0, true)
	s.typed("(sleep 0.3; echo while\\ away) & sleep 0.1; echo still\\ here")
	s.waitFor("still here\r\n")
	p.Break(fmt.Errorf("dial: %w", sandbox.ErrEngine))
	terminaltest.Eventually(t, "the message names the engine", func() bool {
		return strings.Contains(s.waitState(labs.TerminalTrouble), "engine")
	})
	if err := s.v.Input([]byte("rm -rf /\r")); !errors.Is(err, labs.ErrNoShell) {
		t.Errorf("typing into nothing: %v", err)
	}
	p.Break(nil)
	s.waitState(labs.TerminalLive)
	s.waitFor("while away\r\n")
	if n := strings.Count(s.output(), "while away\r\n"); n != 1 || s.anew != 0 {
		t.Errorf("printed once, seen %d times; %d restarts", n, s.anew)
	}
	if strings.Contains(s.output(), "rm -rf") {
		t.Error("what was typed while the engine was dead arrived later")
	}
}

func TestShellEndsAndAKeyStartsAnother(t *testing.T) {
	h := newHub(t, terminaltest.New(t), t.TempDir())
	s := look(t, h, "1", 0, true)
	s.typed("first=yes; exit 3")
	if text := s.waitState(labs.TerminalExited); !strings.Contains(text, "status 3") {
		t.Errorf("the message is %q", text)
	}
	end := len(s.output())
	if err := s.v.Input([]byte("q")); err != nil {
		t.Fatal(err)
	}
	s.waitState(labs.TerminalLive)
	terminaltest.Eventually(t, "a new prompt", func() bool { return strings.Contains(s.output()[end:], "$ ") })
	s.typed("echo [$first]")
	s.waitFor(`\[\]\r\n`)
	if s.anew != 0 {
		t.Error("the screen started anew")
	}
}

// The container is replaced under the learner: the new shell is shown, and
// only it to a page that is loaded anew.
func TestLostContainer(t *testing.T) {
	p, dir := terminaltest.New(t), t.TempDir()
	h := newHub(t, p, dir)
	s := look(t, h, "1", 0, true)
	s.typed("seq 1 1000; echo old\\ shell")
	s.waitFor(`old shell\r\n`)
	old := len(s.output())
	p.Replace()
	terminaltest.Eventually(t, "a shell's prompt, with or without a key", func() bool {
		_ = s.v.Input([]byte("\r"))
		return strings.Contains(s.output()[old:], "$ ")
	})
	s.typed("echo new\\ shell")
	s.waitFor(`new shell\r\n`)
	fresh := look(t, h, "1", 0, true)
	fresh.waitFor(`new shell\r\n`)
	if strings.Contains(fresh.output(), "old shell\r\n") {
		t.Error("a fresh page shows the screen of the lost container")
	}
	h.Shutdown()
	again := look(t, newHub(t, p, dir), "1", 0, true)
	again.waitFor(`new shell\r\n`)
	if n := strings.Count(again.output(), "new shell\r\n"); n != 1 {
		t.Errorf("after a restart it is seen %d times", n)
	}
}

func TestTabsAreBoundedNamedAndClosed(t *testing.T) {
	p, dir := terminaltest.New(t), t.TempDir()
	h := newHub(t, p, dir)
	for _, bad := range []string{"", "../1", "A", "averyveryverylong", "1.cast", "a b"} {
		if _, err := h.Attach(context.Background(), bad, size80, 0, true); !errors.Is(err, labs.ErrBadTab) {
			t.Errorf("tab %q: %v", bad, err)
		}
	}
	if _, err := h.Attach(context.Background(), "9", size80, 0, false); !errors.Is(err, labs.ErrNoShell) {
		t.Errorf("a watcher opened a terminal: %v", err)
	}
	one := look(t, h, "1", 0, true)
	one.waitState(labs.TerminalLive)
	for i := 2; i <= 8; i++ {
		look(t, h, fmt.Sprint(i), 0, true)
	}
	if _, err := h.Attach(context.Background(), "9", size80, 0, true); !errors.Is(err, labs.ErrTooManyTabs) {
		t.Errorf("a ninth terminal: %v", err)
	}
	if err := h.Close("1"); err != nil {
		t.Fatal(err)
	}
	one.waitState(labs.TerminalClosed)
	<-one.ended
	if got := strings.Join(h.Tabs(), " "); got != "2 3 4 5 6 7 8" {
		t.Errorf("tabs: %s", got)
	}
	h.Shutdown()
	if got := strings.Join(newHub(t, p, dir).Tabs(), " "); got != "2 3 4 5 6 7 8" {
		t.Errorf("tabs after a restart: %s", got)
	}
	if _, err := h.Attach(context.Background(), "2", size80, 0, true); !errors.Is(err, labs.ErrTerminalsClosed) {
		t.Errorf("attached to closed terminals: %v", err)
	}
}

// A page that is loaded anew has programs that fill the screen draw it again.
func TestFreshPageMakesProgramsRedraw(t *testing.T) {
	h := newHub(t, terminaltest.New(t), t.TempDir())
	s := look(t, h, "1", 0, true)
	s.typed(`bash -c 'trap "echo drawn at \$(stty size)" WINCH; echo wait\ for\ it; while :; do sleep 0.05; done'`)
	s.waitFor("wait for it\r\n")
	if strings.Contains(s.output(), "drawn at 24") {
		t.Fatal("drawn before anything happened")
	}
	fresh := look(t, h, "1", 0, true)
	fresh.waitFor(`drawn at 24 80`)
	end := fresh.end
	back := look(t, h, "1", end, true)
	back.waitState(labs.TerminalLive)
	if strings.Contains(back.output(), "drawn at") {
		t.Error("a page that only came back made it draw")
	}
}

// The input of a shell that does not read is bounded and does not block the viewer.
func TestInputIsBounded(t *testing.T) {
	h := newHub(t, terminaltest.New(t), t.TempDir())
	s := look(t, h, "1", 0, true)
	s.typed("stty raw -echo; echo not\\ reading; sleep 1000")
	s.waitFor(`not reading`)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	var err error
	for range 100 {
		if err = s.v.Input(chunk); err != nil {
			break
		}
	}
	if !errors.Is(err, labs.ErrInputFull) {
		t.Errorf("after 6 MiB that nobody reads: %v", err)
	}
}

// What is pasted arrives whole, also while its echo has to wait for the viewer.
func TestLargePasteArrives(t *testing.T) {
	h := newHub(t, terminaltest.New(t), t.TempDir())
	s := look(t, h, "1", 0, true)
	s.typed("stty raw; head -c 262144 | sha256sum; stty sane; echo all\\ done")
	s.waitFor(`all\\ done\r\n`)
	paste := []byte(strings.Repeat("0123456789abcde\n", 1<<14))
	if err := s.v.Input(paste); err != nil {
		t.Fatal(err)
	}
	s.waitFor(`[0-9a-f]{64}`)
	if want := fmt.Sprintf("%x", sha256.Sum256(paste)); !strings.Contains(s.output(), want) {
		t.Error("what arrived is not what was pasted")
	}
}

// outputOf joins the output events of a recording.
func outputOf(t *testing.T, cast string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(cast) {
		code, data, err := castLine(line)
		if err != nil {
			t.Fatal(err)
		}
		if code == "o" {
			io.WriteString(&b, data)
		}
	}
	return b.String()
}

// castLine reads an event line; the header has no code.
func castLine(line string) (code, data string, err error) {
	if strings.HasPrefix(line, "{") {
		return "", "", nil
	}
	var fields [3]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		return "", "", err
	}
	return fields[1].(string), fields[2].(string), nil
}
