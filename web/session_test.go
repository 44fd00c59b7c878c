package web

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/labs/terminaltest"
	"drydock/sandbox"
	"drydock/store"

	"github.com/coder/websocket"
)

// filesLab is a lab that needs no cluster: its checks run commands beside the
// learner's shell, so that everything of a session can be tried for real.
const filesLab = `
apiVersion: drydock/v1
kind: Lab
title: A file that is missing
summary: Somebody took the flag down. Put it up again.
track: linux
level: beginner
minutes: 20
sandbox: {kind: cluster, access: cluster}
setup: [{run: setup/take-down.sh}]
ready:
  - {id: down, exec: {on: terminal, command: [ls, flag]}, that: "result.code != 0"}
tasks:
  - id: diagnose
    title: Say what is missing
    points: 20
    hints:
      - "Look around with ls."
      - {text: "It is a flag.", cost: 5}
    ask: {text: "Which file is missing?", accept: [flag], why: "Nothing flies without it."}
  - id: raise
    title: Put the flag up
    points: 60
    checks:
      - {id: flag-up, exec: {on: terminal, command: [ls, flag], every: 200ms}, that: "result.code == 0", else: "there is no file named flag"}
  - id: colour
    title: Give it a colour
    points: 20
    hints: [{text: "echo red > flag", cost: 10}]
    ask: {text: "Which colour has it?", choices: [red, green, "blue & white"], accept: [red]}
guards:
  - {id: keep-the-mast, exec: {on: terminal, command: [ls, sawn], every: 200ms}, that: "result.code != 0", else: "the mast was sawn off"}
`

const filesReadme = "# A file that is missing\n\nThe harbour master's flag is gone.\n\n" +
	"## Say what is missing {#diagnose}\n\nLook around:\n\n```sh run\nls -la\n```\n\n" +
	"## Put the flag up {#raise}\n\nMake the file `flag`:\n\n```sh run\ntouch flag\n```\n\n> [!TIP]\n> `touch` makes a file.\n\n" +
	"## Afterwards\n\nThat is all.\n"

// labSite is a site with a lab that really runs.
type labSite struct {
	*testSite
	provider   *terminaltest.Provider
	recordings string
	wire       *wire
}

func newLabSite(t *testing.T) *labSite {
	t.Helper()
	return newLabSiteOf(t, labFolder("files", filesLab))
}

// labFolder is a folder of labs with one in it, which needs no cluster.
func labFolder(slug, definition string) fstest.MapFS {
	return fstest.MapFS{
		slug + "/lab.yaml":           {Data: []byte(definition)},
		slug + "/README.md":          {Data: []byte(filesReadme)},
		slug + "/setup/take-down.sh": {Data: []byte("#!/bin/sh\nrm -f flag\n")},
		slug + "/solutions/touch.sh": {Data: []byte("#!/bin/sh\ntouch flag\n")},
		slug + "/solutions/echo.sh":  {Data: []byte("#!/bin/sh\necho red > flag\n")},
		slug + "/wrong/saw.sh":       {Data: []byte("# caught-by: keep-the-mast\ntouch sawn flag\n")},
	}
}

func newLabSiteOf(t *testing.T, folder fs.FS) *labSite {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "drydock.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	set, err := labs.LoadCatalogue(folder)
	if err != nil {
		t.Fatal(err)
	}
	site := &labSite{
		testSite:   &testSite{t: t, store: db, labs: set, library: testLibrary(t), fleet: &fakeFleet{}, log: &lockedWriter{w: &strings.Builder{}}},
		provider:   terminaltest.New(t),
		recordings: t.TempDir(),
	}
	site.serve()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log:\n%s", site.log.String())
		}
	})
	return site
}

// serve starts the server, which takes up the sessions of the one before it.
func (s *labSite) serve() {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.sessions = labs.NewSessions(labs.Config{
		Provider: s.provider, Log: attemptLog{s.store}, Labs: s.labs, Recordings: s.recordings, KeepFor: time.Hour, Now: time.Now, Logger: log,
	})
	s.t.Cleanup(s.sessions.Close)
	if err := s.sessions.Boot(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	handler, err := New(Config{
		Search: testSearch(s.t), Store: s.store, Sessions: s.sessions, Labs: s.labs, Recordings: s.recordings, Log: log, Fleet: s.fleet,
		Library: func() *content.Library { return s.library },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	s.t.Cleanup(server.Close)
	s.wire = newWire(s.t, server.Listener.Addr().String())
	s.url = "http://" + s.wire.listener.Addr().String()
}

// started signs a learner in and starts the lab.
func (s *labSite) started(login string) (*browser, *labs.Session) {
	s.t.Helper()
	return s.startedIn(login, 0)
}

// startedIn is the same with a learner of a cohort.
func (s *labSite) startedIn(login string, cohort int64) (*browser, *labs.Session) {
	s.t.Helper()
	b, _ := s.learner(login, cohort)
	a := b.must(http.StatusSeeOther, b.post("/labs/files/start"))
	id := strings.TrimPrefix(a.header.Get("Location"), "/sessions/")
	session, ok := s.sessions.Get(id)
	if !ok {
		s.t.Fatalf("the start led to %q, which is no running session", a.header.Get("Location"))
	}
	terminaltest.Eventually(s.t, "the lab is running", func() bool { return session.Snapshot().Phase == labs.PhaseRunning })
	return b, session
}

func TestSessionPageShowsTheLab(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	page := b.must(http.StatusOK, b.get("/sessions/"+session.ID()))
	if err := checkPage(page.body, sound...); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"A file that is missing", "harbour master", `id="task-raise"`, "Which file is missing?", `value="blue &amp; white"`,
		"Show hint 1 of 2 (free)", "the mast was sawn off", `data-phase="running"`, `data-run`, "That is all.",
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page.body, "It is a flag.") || strings.Contains(page.body, "Nothing flies") {
		t.Error("the page tells hints or answers that were not asked for")
	}
}

// Without a script every form answers with the page, which shows what changed.
func TestSessionFormsWithoutScript(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	path := "/sessions/" + session.ID()
	page := func() string { t.Helper(); return b.must(http.StatusOK, b.get(path)).body }

	a := b.must(http.StatusSeeOther, b.post(path+"/hint", "task", "diagnose"))
	if got := a.header.Get("Location"); got != path+"#diagnose" {
		t.Errorf("a hint leads to %q", got)
	}
	if body := page(); !strings.Contains(body, "Look around with ls.") || !strings.Contains(body, "Show hint 2 of 2 for 5 points") {
		t.Error("the hint is not on the page, or the next one's price")
	}
	b.must(http.StatusUnprocessableEntity, b.post(path+"/answer", "task", "diagnose", "answer", "  "))
	b.must(http.StatusSeeOther, b.post(path+"/answer", "task", "diagnose", "answer", "mast<b>"))
	if body := page(); !strings.Contains(body, "“mast&lt;b&gt;” is not it") {
		t.Error("the wrong answer is not told")
	}
	b.must(http.StatusTooManyRequests, b.post(path+"/answer", "task", "diagnose", "answer", "flag"))
	b.must(http.StatusNotFound, b.post(path+"/answer", "task", "nonsense", "answer", "flag"))
	before := session.Snapshot().Expires
	b.must(http.StatusSeeOther, b.post(path+"/extend"))
	if !session.Snapshot().Expires.After(before) {
		t.Error("there is no more time")
	}
	b.must(http.StatusSeeOther, b.post(path+"/check", "task", "raise"))
	a = b.must(http.StatusSeeOther, b.post(path+"/end"))
	if got := a.header.Get("Location"); got != "/attempts/"+session.ID() {
		t.Errorf("the end leads to %q", got)
	}
	if got := b.must(http.StatusSeeOther, b.get(path)).header.Get("Location"); got != "/attempts/"+session.ID() {
		t.Errorf("an ended session leads to %q", got)
	}
	b.must(http.StatusConflict, b.post(path+"/reset"))
}

func TestSessionsOfOthersAreNotThere(t *testing.T) {
	site := newLabSite(t)
	ada, session := site.started("ada")
	path := "/sessions/" + session.ID()
	instructor := site.instructor()
	foreign, _ := site.learner("eve", 0)
	nobody := site.browser()

	foreign.must(http.StatusNotFound, foreign.get(path))
	foreign.must(http.StatusNotFound, foreign.get(path+"/events"))
	foreign.must(http.StatusNotFound, foreign.get(path+"/terminal?tab=1"))
	foreign.must(http.StatusNotFound, foreign.get("/sessions/nonesuch"))
	for _, form := range []string{"answer", "hint", "check", "wake", "extend", "reset", "end", "tabs/1/close"} {
		foreign.must(http.StatusNotFound, foreign.post(path+"/"+form, "task", "diagnose", "answer", "flag"))
		instructor.must(http.StatusNotFound, instructor.post(path+"/"+form, "task", "diagnose", "answer", "flag"))
	}
	if a := nobody.get(path); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		t.Errorf("who is not signed in gets %d %s", a.status, a.header.Get("Location"))
	}
	if _, _, err := websocket.Dial(t.Context(), site.url+path+"/terminal?tab=1", &websocket.DialOptions{HTTPClient: foreign.client}); err == nil {
		t.Error("a stranger has the terminal")
	}
	page := instructor.must(http.StatusOK, instructor.get(path)).body
	if !strings.Contains(page, "Watching Learner ada") || strings.Contains(page, "End lab") || strings.Contains(page, "Show hint") {
		t.Error("an instructor's page is not one for watching")
	}
	if p := session.Snapshot(); p.Resets > 0 || p.Phase != labs.PhaseRunning || p.Tasks[0].Answers > 0 {
		t.Error("somebody else changed the session")
	}
	_ = ada
}

// stream reads a session's events.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
	id     string
}

func (b *browser) events(path, lastID string) *stream {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { cancel(); res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("the stream answers %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &stream{t: b.t, lines: lines, cancel: cancel}
}

// next is the next message; empty for a comment.
func (s *stream) next() string {
	s.t.Helper()
	var data strings.Builder
	for s.lines.Scan() {
		switch line := s.lines.Text(); {
		case line == "":
			return data.String()
		case strings.HasPrefix(line, "id: "):
			s.id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data.WriteString(line[6:] + "\n")
		}
	}
	s.t.Fatalf("the stream has ended: %v", s.lines.Err())
	return ""
}

// until reads messages until one contains text, and returns that one.
func (s *stream) until(text string) string {
	s.t.Helper()
	for {
		if m := s.next(); strings.Contains(m, text) {
			return m
		}
	}
}

// A repaired system ticks its task in the stream at once, and only what changed is sent.
func TestEventStreamTicksTasks(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	path := "/sessions/" + session.ID() + "/events"
	events := b.events(path, "")
	first := events.next()
	for _, id := range []string{`id="session-facts"`, `id="task-raise"`, `id="guards"`, `id="session-time"`} {
		if !strings.Contains(first, id) {
			t.Errorf("the first message lacks %s", id)
		}
	}
	if _, err := site.provider.Exec(t.Context(), "", sandbox.Command{Argv: []string{"touch", "flag"}}); err != nil {
		t.Fatal(err)
	}
	tick := events.until(`id="task-raise" data-task="raise" data-state="done"`)
	if strings.Contains(tick, `id="task-diagnose"`) || !strings.Contains(tick, `id="session-score"`) {
		t.Errorf("not what changed:\n%s", tick)
	}
	if _, err := site.provider.Exec(t.Context(), "", sandbox.Command{Argv: []string{"touch", "sawn"}}); err != nil {
		t.Fatal(err)
	}
	if m := events.until(`data-violated="1"`); !strings.Contains(m, "the mast was sawn off") {
		t.Errorf("the guard's reason is not told:\n%s", m)
	}
	events.cancel()

	// Whoever has the newest state is told nothing; whoever has an older one, everything.
	seq := events.id
	if m := b.events(path, seq).next(); m != "" {
		t.Errorf("nothing happened since %s, and yet:\n%s", seq, m)
	}
	if m := b.events(path, "1").next(); !strings.Contains(m, `data-state="done"`) || !strings.Contains(m, `data-violated="1"`) {
		t.Errorf("who was away is not told how things stand:\n%s", m)
	}
	over := b.events(path, seq)
	if err := session.End(t.Context(), "expired"); err != nil {
		t.Fatal(err)
	}
	if m := over.until(`data-over="true"`); !strings.Contains(m, "Its time was up") || !strings.Contains(m, "/attempts/"+session.ID()) {
		t.Errorf("the end is told thus:\n%s", m)
	}
	terminaltest.Eventually(t, "the session is gone", func() bool { _, ok := site.sessions.Get(session.ID()); return !ok })
	b.must(http.StatusNoContent, b.get(path))
}

// A start is shown with its stages and their times; when it fails, with the reason.
func TestStartIsShownAndMayFail(t *testing.T) {
	site := newLabSite(t)
	goOn := make(chan error)
	site.provider.Begin = func(progress sandbox.Progress) error {
		progress(sandbox.Stage{Name: "Start the node", Done: true, Took: 1500 * time.Millisecond})
		progress(sandbox.Stage{Name: "Wait for the API"})
		return <-goOn
	}
	b, _ := site.learner("ada", 0)
	path := b.must(http.StatusSeeOther, b.post("/labs/files/start")).header.Get("Location")
	events := b.events(path+"/events", "")
	m := events.until("Wait for the API")
	for !strings.Contains(m, "Start the node") {
		m = events.until("Start the node")
	}
	page := b.must(http.StatusOK, b.get(path)).body
	if err := checkPage(page, sound...); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"Starting your sandbox", "Start the node", "1.5 s", "data-since", "Cancel", `data-phase="starting"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a start lacks %q", want)
		}
	}
	goOn <- errors.New("no room")
	if m := events.until("could not be started"); !strings.Contains(m, "Try again") || strings.Contains(m, "no room") {
		t.Errorf("the failure is told thus:\n%s", m)
	}
	page = b.must(http.StatusOK, b.get(path)).body
	if !strings.Contains(page, "could not be started") || !strings.Contains(page, `action="/labs/files/start"`) {
		t.Error("the page of a failed start does not offer another")
	}
	site.provider.Begin = nil
	b.must(http.StatusSeeOther, b.post("/labs/files/start"))
}

// shellConn is a browser's connection to a terminal.
type shellConn struct {
	t      *testing.T
	conn   *websocket.Conn
	offset int64 // end of the output
	out    strings.Builder
	state  string
	notice terminalWords
}

func (b *browser) dial(path string) *shellConn {
	b.t.Helper()
	conn, _, err := websocket.Dial(b.t.Context(), b.url+path, &websocket.DialOptions{HTTPClient: b.client})
	if err != nil {
		b.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	b.t.Cleanup(func() { conn.CloseNow() })
	return &shellConn{t: b.t, conn: conn}
}

func (c *shellConn) send(kind frameType, p []byte) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageBinary, append([]byte{byte(kind)}, p...)); err != nil {
		c.t.Fatal(err)
	}
}

// step takes in one message, acknowledging output.
func (c *shellConn) step() error {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	_, p, err := c.conn.Read(ctx)
	if err != nil {
		return err
	}
	switch frameType(p[0]) {
	case frameOutput:
		offset := int64(binary.BigEndian.Uint64(p[1:]))
		if offset != c.offset && c.out.Len() > 0 {
			c.t.Errorf("output at %d follows output up to %d", offset, c.offset)
		}
		c.out.Write(p[9:])
		c.offset = offset + int64(len(p)-9)
		c.send(frameAck, binary.BigEndian.AppendUint64(nil, uint64(c.offset)))
	case frameState:
		var words terminalWords
		if err := json.Unmarshal(p[9:], &words); err != nil {
			return err
		}
		c.state = string(words.State)
	case frameNotice:
		return json.Unmarshal(p[1:], &c.notice)
	}
	return nil
}

func (c *shellConn) until(what string, holds func() bool) {
	c.t.Helper()
	for !holds() {
		if err := c.step(); err != nil {
			c.t.Fatalf("waiting until %s: %v; output:\n%.2000s", what, err, c.out.String())
		}
	}
}

func (c *shellConn) untilOutput(text string) {
	c.t.Helper()
	c.until("the output has "+text, func() bool { return strings.Contains(c.out.String(), text) })
}

func TestTerminalOverWebSocket(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	path := "/sessions/" + session.ID() + "/terminal?tab=1&cols=100&rows=30&run=0"
	c := b.dial(path + "&from=0")
	c.untilOutput("$ ")
	c.send(frameInput, []byte("stty size; seq 1 200000 | sha256sum; seq 1 200000; echo all\\ done\r"))
	c.untilOutput("30 100\r\n")
	c.untilOutput("all done\r\n")
	got := c.out.String()
	if n := strings.Count(got, "\n200000\r\n"); n != 1 || !strings.Contains(got, "\r\n99999\r\n100000\r\n100001\r\n") {
		t.Error("output is missing")
	}
	c.conn.CloseNow()

	// Back, with the offset it had: no byte again, none lost.
	c2 := b.dial(path + "&from=" + itoa(c.offset))
	c2.until("it is live", func() bool { return c2.state == "live" })
	c2.send(frameInput, []byte("echo back\\ again\r"))
	c2.untilOutput("back again\r\n")
	if strings.Contains(c2.out.String(), "all done\r\n") {
		t.Error("old output came again")
	}
	// After a reset the old offset means nothing; and an instructor can only watch.
	watcher := site.instructor()
	w := watcher.dial("/sessions/" + session.ID() + "/terminal?tab=1&from=0&run=0")
	w.untilOutput("back again\r\n")
	w.send(frameInput, []byte("whoami\r"))
	w.until("it is told", func() bool { return w.notice.Code == "watching" })
}

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

func TestTooLargePasteIsRefused(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	c := b.dial("/sessions/" + session.ID() + "/terminal?tab=1&cols=80&rows=24")
	c.untilOutput("$ ")
	c.send(frameInput, []byte(strings.Repeat("x", maxPaste+1)))
	c.until("it is refused", func() bool { return c.notice.Code == "too-large" })
	if !strings.Contains(c.notice.Text, "256 KiB") {
		t.Errorf("the message is %q", c.notice.Text)
	}
	c.send(frameInput, []byte("echo still\\ here\r"))
	c.untilOutput("still here\r\n")
	if strings.Contains(c.out.String(), "xxxx") {
		t.Error("a part of the paste was typed")
	}
	// Far beyond, the connection is closed and says so.
	huge := append([]byte{byte(frameInput)}, make([]byte, maxTerminalMessage)...)
	_ = c.conn.Write(t.Context(), websocket.MessageBinary, huge) // the other side may stop reading
	for {
		err := c.step()
		if err == nil {
			continue
		}
		if code := websocket.CloseStatus(err); code != websocket.StatusMessageTooBig && !errors.Is(err, io.EOF) && code != -1 {
			t.Errorf("closed with %v", err)
		}
		break
	}
	again := b.dial("/sessions/" + session.ID() + "/terminal?tab=1")
	again.untilOutput("still here\r\n")
}

func TestTerminalRefusesOtherOrigins(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	_, res, err := websocket.Dial(t.Context(), b.url+"/sessions/"+session.ID()+"/terminal?tab=1", &websocket.DialOptions{
		HTTPClient: b.client, HTTPHeader: http.Header{"Origin": {"https://evil.example"}},
	})
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site was answered %v, %v", res, err)
	}
	c := b.dial("/sessions/" + session.ID() + "/terminal?tab=../../etc")
	if err := c.step(); websocket.CloseStatus(err) != closeOver {
		t.Errorf("a tab that can't be: %v", err)
	}
}

func TestTabsCloseAndResetsBeginAnew(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	path := "/sessions/" + session.ID()
	one := b.dial(path + "/terminal?tab=1")
	one.untilOutput("$ ")
	two := b.dial(path + "/terminal?tab=2")
	two.untilOutput("$ ")
	if page := b.get(path).body; !strings.Contains(page, `data-tabs="1 2"`) {
		t.Error("the page does not know its terminals")
	}
	b.must(http.StatusSeeOther, b.post(path+"/tabs/2/close"))
	for {
		if err := two.step(); err != nil {
			if websocket.CloseStatus(err) != closeOver {
				t.Errorf("the closed tab ended with %v", err)
			}
			break
		}
	}
	one.send(frameInput, []byte("echo before\\ the\\ reset\r"))
	one.untilOutput("before the reset\r\n")
	b.must(http.StatusSeeOther, b.post(path+"/reset"))
	terminaltest.Eventually(t, "the sandbox is fresh", func() bool {
		p := session.Snapshot()
		return p.Resets == 1 && p.Phase == labs.PhaseRunning
	})
	fresh := b.dial(path + "/terminal?tab=1&run=0&from=" + itoa(one.offset)) // of the time before
	fresh.untilOutput("$ ")
	if strings.Contains(fresh.out.String(), "before the reset") {
		t.Error("the shell of the old sandbox is shown")
	}
}
