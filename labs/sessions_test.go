package labs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"
)

// flagLab needs no cluster: its check looks for a file beside the learner's shell.
const flagLab = `
apiVersion: drydock/v1
kind: Lab
title: A flag
summary: Somebody took the flag down.
track: linux
level: beginner
minutes: 10
sandbox: {kind: cluster, access: cluster}
setup: [{run: setup/down.sh}]
ready:
  - {id: down, exec: {on: terminal, command: [ls, flag]}, that: "result.code != 0"}
tasks:
  - id: say
    title: Say what is missing
    points: 40
    hints: ["Look around.", {text: "It flies.", cost: 5}]
    ask: {text: "What is missing?", accept: [flag], why: "Nothing flies without it."}
  - id: raise
    title: Put it up
    points: 60
    checks:
      - {id: up, exec: {on: terminal, command: [ls, flag], every: 200ms}, that: "result.code == 0", hold: 1s}
guards:
  - {id: mast, exec: {on: terminal, command: [ls, sawn], every: 200ms}, that: "result.code != 0 || baseline.code == 0", else: "the mast was sawn off"}
`

func flagLabs(t *testing.T) *labs.Catalogue {
	t.Helper()
	set, err := labs.LoadCatalogue(fstest.MapFS{
		"flag/lab.yaml":      {Data: []byte(flagLab)},
		"flag/README.md":     {Data: []byte("# A flag\n\n## Say what is missing {#say}\n\nLook.\n\n## Put it up {#raise}\n\nRaise it.\n")},
		"flag/setup/down.sh": {Data: []byte("rm -f flag sawn\n")},

		"pennant/lab.yaml":      {Data: []byte(strings.Replace(flagLab, "A flag", "A pennant", 1))},
		"pennant/README.md":     {Data: []byte("# A pennant\n\n## Say what is missing {#say}\n\nLook.\n\n## Put it up {#raise}\n\nRaise it.\n")},
		"pennant/setup/down.sh": {Data: []byte("rm -f flag sawn\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// harbour is what outlives a server: the database, the engine and the recordings.
type harbour struct {
	t          *testing.T
	store      *store.Store
	dock       *dock
	clock      *clock
	recordings string
	labs       *labs.Catalogue
	user       int64
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	t.Parallel()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &harbour{t: t, store: db, dock: newDock(t), clock: &clock{}, recordings: t.TempDir(), labs: flagLabs(t)}
	h.user = h.addUser("lena")
	return h
}

func (h *harbour) addUser(login string) int64 {
	h.t.Helper()
	user, err := h.store.AddUser(h.t.Context(), store.NewUser{Name: login, Login: login, Password: "long-enough-for-a-test", Role: store.RoleLearner})
	if err != nil {
		h.t.Fatal(err)
	}
	return user.ID
}

// serve starts a server. It dies after the step dieAfter, if that is not empty.
func (h *harbour) serve(dieAfter string) *server {
	h.t.Helper()
	return h.serveWith(dieAfter, func(*labs.Config) {})
}

func (h *harbour) serveWith(dieAfter string, set func(*labs.Config)) *server {
	h.t.Helper()
	s := &server{h: h, dieAfter: dieAfter, died: make(chan struct{})}
	cfg := labs.Config{
		Provider: serverDock{h.dock, s}, Log: serverLog{h.store, s}, Labs: h.labs, Recordings: h.recordings,
		Look: 100 * time.Millisecond, Measure: 100 * time.Millisecond, Now: h.clock.now, Logger: slog.New(slog.NewTextHandler(h.t.Output(), nil)),
	}
	set(&cfg)
	s.Sessions = labs.NewSessions(cfg)
	h.t.Cleanup(s.Close)
	if err := s.Boot(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// clock is the real one, which can be put forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// server is one run of the platform. After its death it reaches neither the
// database nor the engine, as a killed process does not.
type server struct {
	*labs.Sessions
	h        *harbour
	dieAfter string
	died     chan struct{}

	mu       sync.Mutex
	dead     bool
	diskFull bool
	refused  int
	baseline int // how many of the next baselines are refused
	conns    []*shellConn
}

var (
	errDead     = errors.New("the server is dead")
	errDiskFull = errors.New("the disk is full")
)

func (s *server) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errDead
	}
	return nil
}

// did is called after each step that a server takes.
func (s *server) did(step string) error {
	if step != "" && step == s.dieAfter {
		s.kill()
		return errDead
	}
	return nil
}

func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return
	}
	s.dead = true
	for _, c := range s.conns {
		c.Close()
	}
	close(s.died)
}

func (s *server) writes(step string, write func() error) error {
	if err := s.alive(); err != nil {
		return err
	}
	s.mu.Lock()
	full := s.diskFull
	if full && step == string(labs.EventResult) {
		s.refused++
	}
	s.mu.Unlock()
	if full {
		return errDiskFull
	}
	if err := write(); err != nil {
		return err
	}
	return s.did(step)
}

// refusals counts the results that a full disk did not take.
func (s *server) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *server) fillDisk(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.diskFull = full
}

// refuseBaselines has the next baselines not stored.
func (s *server) refuseBaselines(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.baseline = n
}

func (s *server) refusesBaseline() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.baseline--
	return s.baseline >= 0
}

// serverLog is a server's way to the database.
type serverLog struct {
	*store.Store
	server *server
}

func (l serverLog) RunningAttempts(ctx context.Context) ([]labs.Attempt, error) {
	return l.Attempts(ctx, store.AttemptFilter{Running: true})
}

func (l serverLog) CreateAttempt(ctx context.Context, a labs.Attempt) error {
	return l.server.writes("attempt", func() error { return l.Store.CreateAttempt(ctx, a) })
}

func (l serverLog) AppendEvents(ctx context.Context, attempt string, events ...labs.Event) (stored []labs.Event, err error) {
	err = l.server.writes(string(events[len(events)-1].Type), func() error {
		stored, err = l.Store.AppendEvents(ctx, attempt, events...)
		return err
	})
	return stored, err
}

func (l serverLog) AddEvidence(ctx context.Context, attempt string, evidence ...grade.Evidence) error {
	if len(evidence) > 0 && strings.HasPrefix(evidence[0].Check, "baseline/") && l.server.refusesBaseline() {
		return errDiskFull
	}
	return l.server.writes("evidence", func() error { return l.Store.AddEvidence(ctx, attempt, evidence...) })
}

func (l serverLog) AddSeen(ctx context.Context, seen map[string]labs.Seen) (full []string, err error) {
	err = l.server.writes("", func() error {
		full, err = l.Store.AddSeen(ctx, seen)
		return err
	})
	return full, err
}

func (l serverLog) KeepLab(ctx context.Context, slug, version string, packed []byte) error {
	return l.server.writes("lab", func() error { return l.Store.KeepLab(ctx, slug, version, packed) })
}

func (l serverLog) SetScore(ctx context.Context, attempt string, points, most int) error {
	return l.server.writes("score", func() error { return l.Store.SetScore(ctx, attempt, points, most) })
}

func (l serverLog) EndAttempt(ctx context.Context, id string, at time.Time) error {
	return l.server.writes("end", func() error { return l.Store.EndAttempt(ctx, id, at) })
}

// serverDock is a server's way to the engine.
type serverDock struct {
	*dock
	server *server
}

func (d serverDock) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (info sandbox.Info, err error) {
	if err := d.server.alive(); err != nil {
		return info, err
	}
	if info, err = d.dock.Create(ctx, spec, progress); err != nil {
		return info, err
	}
	return info, d.server.did("create")
}

func (d serverDock) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (info sandbox.Info, err error) {
	if err := d.server.alive(); err != nil {
		return info, err
	}
	return d.dock.Reset(ctx, spec, progress)
}

func (d serverDock) Destroy(ctx context.Context, session string) error {
	if err := d.server.alive(); err != nil {
		return err
	}
	return d.dock.Destroy(ctx, session)
}

func (d serverDock) List(ctx context.Context) ([]sandbox.Info, error) {
	if err := d.server.alive(); err != nil {
		return nil, err
	}
	return d.dock.List(ctx)
}

func (d serverDock) Recover(ctx context.Context, session string) error {
	if err := d.server.alive(); err != nil {
		return err
	}
	return d.dock.Recover(ctx, session)
}

func (d serverDock) Freeze(ctx context.Context, session string) error {
	if err := d.server.alive(); err != nil {
		return err
	}
	if err := d.dock.Freeze(ctx, session); err != nil {
		return err
	}
	return d.server.did("freeze")
}

func (d serverDock) Keep(ctx context.Context, session string) error {
	if err := d.server.alive(); err != nil {
		return err
	}
	return d.dock.Keep(ctx, session)
}

func (d serverDock) Thaw(ctx context.Context, session string) error {
	if err := d.server.alive(); err != nil {
		return err
	}
	if err := d.dock.Thaw(ctx, session); err != nil {
		return err
	}
	return d.server.did("thaw")
}

func (d serverDock) Exec(ctx context.Context, session string, cmd sandbox.Command) (sandbox.Result, error) {
	if err := d.server.alive(); err != nil {
		return sandbox.Result{}, err
	}
	return d.dock.Exec(ctx, session, cmd)
}

func (d serverDock) Terminal(_ context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	d.server.mu.Lock()
	defer d.server.mu.Unlock()
	if d.server.dead {
		return nil, errDead
	}
	conn, err := d.dock.attach(session, spec)
	if err != nil {
		return nil, err
	}
	d.server.conns = append(d.server.conns, conn)
	return conn, nil
}

// begin starts the lab for the harbour's learner.
func (s *server) begin() *labs.Session {
	s.h.t.Helper()
	session, err := s.Start(s.h.t.Context(), s.h.user, "flag")
	if err != nil {
		s.h.t.Fatal(err)
	}
	return session
}

// running starts the lab and waits until it is handed over.
func (s *server) running() *labs.Session {
	s.h.t.Helper()
	session := s.begin()
	s.h.inPhase(session, labs.PhaseRunning)
	return session
}

// adopted is the one session that a server has taken up.
func (s *server) adopted() *labs.Session {
	s.h.t.Helper()
	all := s.Running()
	if len(all) != 1 {
		s.h.t.Fatalf("%d sessions were taken up, want 1", len(all))
	}
	return all[0]
}

const patience = 60 * time.Second // for what takes seconds, on a machine that is busy with other things

func (h *harbour) eventually(what string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			h.t.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}

func (h *harbour) inPhase(session *labs.Session, phase labs.Phase) {
	h.t.Helper()
	h.eventually("phase "+string(phase), func() bool { return session.Snapshot().Phase == phase })
}

func (h *harbour) log(id string) []labs.Event {
	h.t.Helper()
	events, err := h.store.Events(h.t.Context(), id, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return events
}

// types are the events of a log without stages and what grading says by itself.
func (h *harbour) types(id string) (types []labs.EventType) {
	for _, e := range h.log(id) {
		if e.Type != labs.EventStage && e.Type != labs.EventResult {
			types = append(types, e.Type)
		}
	}
	return types
}

func (h *harbour) wantTypes(id string, want ...labs.EventType) {
	h.t.Helper()
	if got := h.types(id); !slices.Equal(got, want) {
		h.t.Errorf("the log has\n%v, want\n%v", got, want)
	}
}

// over waits until an attempt has ended and its sandbox is gone, and returns its score.
func (h *harbour) over(id string) int {
	h.t.Helper()
	h.eventually("the attempt is ended", func() bool {
		a, err := h.store.Attempt(h.t.Context(), id)
		return err == nil && !a.Ended.IsZero()
	})
	h.eventually("the sandbox is gone", func() bool { return !h.dock.has(id) })
	score, err := h.store.Score(h.t.Context(), id)
	if err != nil || !score.Scored || score.Max != 100 {
		h.t.Fatalf("score %+v, %v", score, err)
	}
	return score.Points
}

func (h *harbour) write(session, name string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dock.home(session), name), nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func taskDone(session *labs.Session, id string) bool {
	return slices.ContainsFunc(session.Snapshot().Tasks, func(t labs.TaskProgress) bool { return t.ID == id && t.Done })
}

func TestSessionsGoFromStartToScore(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	if again := s.begin(); again != session {
		t.Error("a second start of the lab made a second session")
	}
	if other, err := s.Start(t.Context(), h.addUser("otto"), "flag"); err != nil || other == session {
		t.Errorf("another learner got %v, %v", other, err)
	}
	if _, err := s.Start(t.Context(), h.user, "nothing"); !errors.Is(err, labs.ErrNoSuchLab) {
		t.Errorf("starting a lab that does not exist: %v", err)
	}
	if right, why, err := session.Answer(t.Context(), "say", "the mast"); right || why != "" || err != nil {
		t.Errorf("a wrong answer: %v, %q, %v", right, why, err)
	}
	if _, _, err := session.Answer(t.Context(), "say", "flag"); !errors.Is(err, labs.ErrTooFast) {
		t.Errorf("an answer at once after another: %v", err)
	}
	h.clock.forward(3 * time.Second)
	if right, why, err := session.Answer(t.Context(), "say", " Flag "); !right || why == "" || err != nil {
		t.Errorf("the right answer: %v, %q, %v", right, why, err)
	}
	for range 2 {
		if _, err := session.Hint(t.Context(), "say"); err != nil {
			t.Error(err)
		}
	}
	if _, err := session.Hint(t.Context(), "say"); !errors.Is(err, labs.ErrNoMoreHints) {
		t.Errorf("a third of two hints: %v", err)
	}
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	if err := session.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}
	if got := h.over(session.ID()); got != 95 {
		t.Errorf("score %d, want 95", got)
	}
	if err := session.End(t.Context(), "learner"); !errors.Is(err, labs.ErrOver) {
		t.Errorf("ending it again: %v", err)
	}
	h.wantTypes(session.ID(), labs.EventRequested, labs.EventReady, labs.EventAnswer, labs.EventAnswer, labs.EventTaskDone,
		labs.EventHint, labs.EventHint, labs.EventTaskDone, labs.EventEnded)
}

// TestGuessing: each answer beyond the third wrong one has to wait longer.
func TestGuessing(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	for range 7 {
		h.clock.forward(time.Minute)
		if right, _, err := session.Answer(t.Context(), "say", "the keel"); right || err != nil {
			t.Errorf("a guess: %v, %v", right, err)
		}
	}
	h.clock.forward(3 * time.Second)
	var early *labs.TooFastError
	if _, _, err := session.Answer(t.Context(), "say", "flag"); !errors.As(err, &early) || early.Wait.Round(time.Second) != 29*time.Second {
		t.Fatalf("an answer 3 s after seven guesses: %v; it must wait for 29 s more", err)
	}
	h.clock.forward(early.Wait)
	if right, _, err := session.Answer(t.Context(), "say", "flag"); !right || err != nil {
		t.Errorf("the right answer in time: %v, %v", right, err)
	}
}

func TestSessionsKeepEvidenceThatCanBeJudgedAgain(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	if err := session.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}
	h.over(session.ID())
	kept, err := h.store.Evidence(t.Context(), session.ID())
	if err != nil {
		t.Fatal(err)
	}
	checks, problems := grade.Compile(session.Lab().Checks())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	baseline := grade.Baseline{}
	for _, e := range kept {
		if id, ok := strings.CutPrefix(e.Check, "baseline/"); ok {
			baseline[id] = e.Data
		}
		if e.Error == "" && len(e.Data) == 0 {
			t.Errorf("the evidence of %s at %s is empty", e.Check, e.At)
		}
	}
	for _, r := range checks.Replay(kept, nil, baseline) {
		if r.Verdict != grade.Pass {
			t.Errorf("judged again, %s is %s: %s", r.Check, r.Verdict, r.Reason)
		}
	}
}

func TestSessionsExtendUpToTheDeadline(t *testing.T) {
	h := newHarbour(t)
	release := h.dock.hold()
	session := h.serve("").begin()
	if err := session.Extend(t.Context()); !errors.Is(err, labs.ErrNotRunning) {
		t.Errorf("extending before there is a clock: %v", err)
	}
	release()
	h.inPhase(session, labs.PhaseRunning)
	deadline := session.Snapshot().Deadline
	for range 3 {
		if err := session.Extend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := session.Snapshot().Expires; !got.Equal(deadline) {
		t.Errorf("after three times half an hour it expires at %s, want the deadline %s", got, deadline)
	}
	if err := session.Extend(t.Context()); !errors.Is(err, labs.ErrDeadline) {
		t.Errorf("extending beyond the deadline: %v", err)
	}
}

func TestSessionsExpire(t *testing.T) {
	h := newHarbour(t)
	session := h.serve("").running()
	h.clock.forward(46 * time.Minute)
	h.inPhase(session, labs.PhaseEnded)
	if why := session.Snapshot().EndedWhy; why != "expired" {
		t.Errorf("it ended because of %q", why)
	}
	h.over(session.ID())
}

func TestSessionsAreResetOnceAtATime(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	expires := session.Snapshot().Expires
	before := h.typeInto(session, "echo old-$((40+2))", "old-42")
	release := h.dock.hold()
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := session.Reset(t.Context()); !errors.Is(err, labs.ErrBusy) {
		t.Errorf("a reset during a reset: %v", err)
	}
	if taskDone(session, "raise") || session.Terminal() != nil {
		t.Error("a task is still ticked, or a terminal open, while the sandbox is made anew")
	}
	release()
	h.inPhase(session, labs.PhaseRunning)
	if p := session.Snapshot(); p.Resets != 1 || !p.Expires.Equal(expires) {
		t.Errorf("after a reset: %d resets, expires %s; want 1, %s", p.Resets, p.Expires, expires)
	}
	if after := h.typeInto(session, "echo new-$((40+2))", "new-42"); after == before {
		t.Error("the terminals are the old ones")
	}
	first, _ := os.ReadFile(filepath.Join(labs.RecordingDir(h.recordings, session.ID(), 0), "1.cast"))
	second, _ := os.ReadFile(filepath.Join(labs.RecordingDir(h.recordings, session.ID(), 1), "1.cast"))
	if !strings.Contains(string(first), "old-42") || strings.Contains(string(first), "new-42") ||
		!strings.Contains(string(second), "new-42") || strings.Contains(string(second), "old-42") {
		t.Errorf("each sandbox has a recording of its own; they are\n%s\n%s", first, second)
	}
	h.write(session.ID(), "flag")
	h.eventually("the task ticks again", func() bool { return taskDone(session, "raise") })
}

// typeInto types a line into the session's first terminal and waits for what it prints.
func (h *harbour) typeInto(session *labs.Session, line, want string) *labs.TerminalHub {
	h.t.Helper()
	hub := session.Terminal()
	if hub == nil {
		h.t.Fatal("there is no terminal")
	}
	h.typeIntoHub(hub, line, want)
	return hub
}

func (h *harbour) typeIntoHub(hub *labs.TerminalHub, line, want string) {
	h.t.Helper()
	viewer, err := hub.Attach(h.t.Context(), "1", sandbox.Size{Cols: 80, Rows: 24}, 0, true)
	if err != nil {
		h.t.Fatal(err)
	}
	defer viewer.Detach()
	h.eventually("the terminal takes input", func() bool { return viewer.Input([]byte(line+"\n")) == nil })
	var printed strings.Builder
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	for !strings.Contains(printed.String(), want) {
		m, err := viewer.Next(ctx)
		if err != nil {
			h.t.Fatalf("waiting for %q: %v; it printed %q", want, err, printed.String())
		}
		printed.Write(m.Data)
		viewer.Ack(m.Offset + int64(len(m.Data)))
	}
}

// TestWhatWasMendedAMomentAgoCounts: the checks look once more before a session
// ends, however seldom they look otherwise.
func TestWhatWasMendedAMomentAgoCounts(t *testing.T) {
	h := newHarbour(t)
	seldom := strings.Replace(flagLab, `every: 200ms}, that: "result.code == 0", hold: 1s`, `every: 5m}, that: "result.code == 0"`, 1)
	if seldom == flagLab {
		t.Fatal("the lab is another one")
	}
	files := fstest.MapFS{
		"flag/lab.yaml":      {Data: []byte(seldom)},
		"flag/README.md":     {Data: []byte("# A flag\n\n## Say what is missing {#say}\n\nLook.\n\n## Put it up {#raise}\n\nRaise it.\n")},
		"flag/setup/down.sh": {Data: []byte("rm -f flag sawn\n")},
	}
	set, err := labs.LoadCatalogue(files)
	if err != nil {
		t.Fatal(err)
	}
	h.labs = set
	session := h.serve("").running()
	h.eventually("it was looked at once", func() bool { return session.Snapshot().Tasks[1].Checks[0].Result.Verdict == grade.Fail })
	h.write(session.ID(), "flag")
	if err := session.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}
	if p := labs.Fold(session.Lab(), h.log(session.ID())); !p.Tasks[1].Done {
		t.Errorf("what was mended a moment before the end does not count: %+v", p.Tasks[1])
	}
}

func TestSessionsEndedWhileTheyStart(t *testing.T) {
	for _, what := range []string{"start", "reset"} {
		t.Run(what, func(t *testing.T) {
			h := newHarbour(t)
			s := h.serve("")
			var session *labs.Session
			var release func()
			if what == "reset" {
				session = s.running()
				release = h.dock.hold()
				if err := session.Reset(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				release = h.dock.hold()
				session = s.begin()
			}
			defer release()
			h.eventually("the sandbox is being made", func() bool { return h.dock.state(session.ID()) == sandbox.Creating })
			if err := session.End(t.Context(), "learner"); err != nil {
				t.Fatal(err)
			}
			h.over(session.ID())
			s.Close()
			events := h.log(session.ID())
			if last := events[len(events)-1]; last.Type != labs.EventEnded {
				t.Errorf("after the end came %s", last.Type)
			}
			if session.Snapshot().Phase != labs.PhaseEnded {
				t.Errorf("the phase is %s", session.Snapshot().Phase)
			}
		})
	}
}

// What ends at the same moment as it becomes ready must not come to life again.
func TestSessionsEndedAtHandOverStayEnded(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	var session *labs.Session
	ended := make(chan error, 1)
	h.dock.onExec(func(argv string) {
		if strings.HasSuffix(argv, "ls sawn") { // the baseline, just before the hand-over
			h.dock.onExec(nil)
			ended <- session.End(t.Context(), "learner")
		}
	})
	release := h.dock.hold()
	session = s.begin()
	release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	h.over(session.ID())
	s.Close()
	h.wantTypes(session.ID(), labs.EventRequested, labs.EventEnded)
}

func TestSessionsThatCannotStartFail(t *testing.T) {
	h := newHarbour(t)
	h.dock.failCreate(fmt.Errorf("make the node: %w", sandbox.ErrNoImage))
	session := h.serve("").begin()
	h.inPhase(session, labs.PhaseFailed)
	if reason := session.Snapshot().Reason; !strings.Contains(reason, "drydock image build") {
		t.Errorf("the reason is %q", reason)
	}
	h.over(session.ID())
	h.wantTypes(session.ID(), labs.EventRequested, labs.EventFailed)
}

// A failure that can't be stored must not leave an attempt that runs for ever.
func TestSessionsStoreAFailureWhenTheDiskHasRoomAgain(t *testing.T) {
	h := newHarbour(t)
	release := h.dock.hold()
	h.dock.failCreate(errors.New("no luck"))
	s := h.serve("")
	session := s.begin()
	h.eventually("the sandbox is being made", func() bool { return h.dock.state(session.ID()) == sandbox.Creating })
	s.fillDisk(true)
	release()
	h.eventually("the failure of the start", func() bool { return !h.dock.has(session.ID()) })
	if err := session.End(t.Context(), "learner"); !errors.Is(err, errDiskFull) {
		t.Errorf("ending it with a full disk: %v", err)
	}
	s.fillDisk(false)
	h.inPhase(session, labs.PhaseFailed)
	h.over(session.ID())
}

func TestSessionsGoOnWhenAResetCannotBeStored(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	s.fillDisk(true)
	if err := session.Reset(t.Context()); !errors.Is(err, errDiskFull) {
		t.Errorf("a reset with a full disk: %v", err)
	}
	s.fillDisk(false)
	h.write(session.ID(), "flag")
	h.eventually("the task ticks: grading has not stopped", func() bool { return taskDone(session, "raise") })
}

// A hand-over that fails for a moment costs neither a start nor, after a reset,
// what was reached before; one that fails for good ends the session.
func TestSessionsAreHandedOverOnceTheBaselineCanBeStored(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	s.refuseBaselines(1)
	session := s.running()
	if _, _, err := session.Answer(t.Context(), "say", "flag"); err != nil {
		t.Fatal(err)
	}
	s.refuseBaselines(1)
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.eventually("it was reset", func() bool { return session.Snapshot().Resets == 1 })
	h.inPhase(session, labs.PhaseRunning)
	if !taskDone(session, "say") || h.dock.calls("Reset") != 1 {
		t.Errorf("after %d resets of its sandbox it is %+v", h.dock.calls("Reset"), session.Snapshot())
	}
	h.typeIntoWhenOpen(session, "echo back-$((40+2))", "back-42")
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })

	s.refuseBaselines(1000)
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.inPhase(session, labs.PhaseFailed)
}

func TestSessionsTickOnceTheDiskHasRoomAgain(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.write(session.ID(), "flag")
	s.fillDisk(true)
	h.eventually("the tick is refused", func() bool { return s.refusals() > 0 })
	s.fillDisk(false)
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
}

// A server killed at any step leaves what the next one makes whole.
func TestSessionsSurviveAKillAtEveryStep(t *testing.T) {
	steps := []string{"attempt", "session.requested", "session.stage", "create", "evidence", "session.ready", "answer.given", "task.done", "session.reset"}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			h := newHarbour(t)
			first := h.serve(step)
			session, err := first.Start(t.Context(), h.user, "flag")
			answer := "flag"
			if step == "answer.given" { // a right one comes with its tick
				answer = "mast"
			}
			if err == nil {
				h.eventually("the step", func() bool {
					_, _, _ = session.Answer(t.Context(), "say", answer)
					if taskDone(session, "say") && step == "session.reset" {
						_ = session.Reset(t.Context())
					}
					return first.alive() != nil
				})
			}
			<-first.died
			second := h.serve("")
			taken := second.adopted()
			h.inPhase(taken, labs.PhaseRunning)
			if taken.Snapshot().Requested.IsZero() {
				t.Error("nobody knows when it was asked for")
			}
			answered := step == "task.done" || step == "session.reset"
			if taskDone(taken, "say") != answered {
				t.Errorf("answered: %v", !answered)
			}
			h.typeIntoWhenOpen(taken, "echo back-$((40+2))", "back-42")
			h.write(taken.ID(), "flag")
			h.eventually("the task ticks", func() bool { return taskDone(taken, "raise") })
			if taken.Snapshot().GuardsViolated > 0 {
				t.Error("a guard was held to be violated")
			}
			if got := h.dock.count(); got != 1 {
				t.Errorf("there are %d sandboxes", got)
			}
		})
	}
}

func (h *harbour) typeIntoWhenOpen(session *labs.Session, line, want string) {
	h.t.Helper()
	h.eventually("there is a terminal", func() bool { return session.Terminal() != nil })
	h.typeInto(session, line, want)
}

func TestSessionsKilledWhileTheyEndAreEndedAtTheNextBoot(t *testing.T) {
	for _, step := range []string{"session.ended", "score", "end"} {
		t.Run(step, func(t *testing.T) {
			h := newHarbour(t)
			first := h.serve(step)
			session := first.running()
			if _, _, err := session.Answer(t.Context(), "say", "flag"); err != nil {
				t.Fatal(err)
			}
			_ = session.End(t.Context(), "learner")
			<-first.died
			second := h.serve("")
			if left := second.Running(); len(left) != 0 {
				t.Errorf("%d sessions were taken up", len(left))
			}
			if got := h.over(session.ID()); got != 40 {
				t.Errorf("score %d, want 40", got)
			}
		})
	}
}

func TestSessionsKeepShellAndTicksAcrossAKill(t *testing.T) {
	h := newHarbour(t)
	first := h.serve("")
	session := first.running()
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	h.typeInto(session, "MARK=$((40+2)); echo set-$MARK", "set-42")
	first.kill()

	second := h.serve("")
	taken := second.adopted()
	h.typeIntoWhenOpen(taken, "echo still-$MARK", "still-42")
	h.write(taken.ID(), "sawn")
	h.eventually("grading goes on: the guard is violated", func() bool { return taken.Snapshot().GuardsViolated == 1 })
	if types := h.types(taken.ID()); slices.Contains(types, labs.EventTaskUndone) {
		t.Errorf("what was ticked came undone: %v", types)
	}
	second.kill()

	third := h.serve("").adopted()
	h.typeIntoWhenOpen(third, "echo third-$MARK", "third-42")
	if n := count(h.types(taken.ID()), labs.EventGuard); n != 1 {
		t.Errorf("the guard was told %d times", n)
	}
}

func count[T comparable](all []T, one T) (n int) {
	for _, x := range all {
		if x == one {
			n++
		}
	}
	return n
}

func TestSessionsWhoseSandboxIsGoneAreLost(t *testing.T) {
	for name, lose := range map[string]func(*dock, string){
		"all of it": (*dock).vanish,
		"a part":    func(d *dock, id string) { d.set(id, sandbox.Creating) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t)
			session := h.serve("").running()
			lose(h.dock, session.ID())
			h.inPhase(session, labs.PhaseEnded)
			if why := session.Snapshot().EndedWhy; why != "lost" {
				t.Errorf("it ended because of %q", why)
			}
			h.over(session.ID())
		})
	}
}

// silentKind is a provider of machines whose engine does not answer.
type silentKind struct{ sandbox.Provider }

func (silentKind) Kind() sandbox.Kind { return sandbox.Machine }

func (silentKind) List(context.Context) ([]sandbox.Info, error) {
	return nil, fmt.Errorf("list the machines: %w", sandbox.ErrEngine)
}

func (silentKind) Get(context.Context, string) (sandbox.Info, error) {
	return sandbox.Info{}, fmt.Errorf("look for a machine: %w", sandbox.ErrEngine)
}

func (silentKind) Destroy(context.Context, string) error {
	return fmt.Errorf("remove a machine: %w", sandbox.ErrEngine)
}

// What another kind of sandbox does not say is no news of a session's own.
func TestSessionsAreLostByWhatTheirOwnKindSays(t *testing.T) {
	h := newHarbour(t)
	s := h.serveWith("", func(c *labs.Config) {
		f, err := fleet.New(fleet.Config{Providers: []sandbox.Provider{c.Provider, silentKind{}}, Starts: 2})
		if err != nil {
			t.Fatal(err)
		}
		c.Provider, c.Gate = f, f
	})
	session := s.running()
	listed := h.dock.calls("List")
	h.eventually("it was looked at twice", func() bool { return h.dock.calls("List") >= listed+2 })
	if p := session.Snapshot(); p.Phase != labs.PhaseRunning {
		t.Errorf("with its own kind there it is %s: %s", p.Phase, p.Reason)
	}
	h.dock.fail(sandbox.ErrEngine) // now its own kind is silent, too: nothing is known
	h.inPhase(session, labs.PhaseTrouble)
	listed = h.dock.calls("List")
	h.eventually("it was looked at twice", func() bool { return h.dock.calls("List") >= listed+2 })
	if p := session.Snapshot(); p.Phase != labs.PhaseTrouble {
		t.Errorf("with no kind there it is %s", p.Phase)
	}
	h.dock.fail(nil)
	h.inPhase(session, labs.PhaseRunning)
	h.dock.vanish(session.ID())
	h.inPhase(session, labs.PhaseEnded)
	if why := session.Snapshot().EndedWhy; why != "lost" {
		t.Errorf("it ended because of %q", why)
	}
}

func TestSessionsWaitForADeadEngine(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.typeInto(session, "MARK=$((40+2)); echo set-$MARK", "set-42")
	h.dock.fail(sandbox.ErrEngine)
	h.inPhase(session, labs.PhaseTrouble)
	h.clock.forward(50 * time.Minute) // more than the session had left: what is lost to trouble comes back
	if _, _, err := session.Answer(t.Context(), "say", "flag"); !errors.Is(err, labs.ErrNotRunning) {
		t.Errorf("an answer during trouble: %v", err)
	}
	h.dock.fail(nil)
	h.inPhase(session, labs.PhaseRunning)
	h.typeInto(session, "echo still-$MARK", "still-42")
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	if n := count(h.types(session.ID()), labs.EventTrouble); n != 1 {
		t.Errorf("the trouble was told %d times", n)
	}
}

func TestSessionsBootWithoutAnEngine(t *testing.T) {
	h := newHarbour(t)
	first := h.serve("")
	session := first.running()
	first.kill()
	h.dock.fail(sandbox.ErrEngine)
	second := h.serve("")
	taken := second.adopted()
	h.inPhase(taken, labs.PhaseTrouble)
	h.dock.fail(nil)
	h.inPhase(taken, labs.PhaseRunning)
	if taken.ID() != session.ID() || h.dock.made() != 1 {
		t.Errorf("session %s with %d sandboxes made, want %s with 1", taken.ID(), h.dock.made(), session.ID())
	}
}

// The engine dies under a reset: the learner's points are worth waiting for it.
func TestSessionsResetOnceTheEngineIsBack(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	if _, _, err := session.Answer(t.Context(), "say", "flag"); err != nil {
		t.Fatal(err)
	}
	h.dock.fail(sandbox.ErrEngine)
	if err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.eventually("the reset has met the dead engine", func() bool { return h.dock.calls("Reset") >= 1 })
	h.dock.fail(nil)
	h.inPhase(session, labs.PhaseRunning)
	if !taskDone(session, "say") || session.Snapshot().Resets != 1 {
		t.Errorf("after it: %+v", session.Snapshot())
	}
}

// A recovery that broke off half way is made again, although the containers
// run by then: without its end the learner has no kubeconfig.
func TestSessionsRecoverAStoppedSandboxToTheEnd(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.dock.failRecover(errors.New("the API server does not answer"))
	h.dock.set(session.ID(), sandbox.Stopped)
	h.eventually("it is being recovered", func() bool { return h.dock.calls("Recover") >= 1 })
	h.eventually("the containers run", func() bool { return h.dock.state(session.ID()) == sandbox.Running })
	h.dock.failRecover(nil)
	h.inPhase(session, labs.PhaseRunning)
	if h.dock.calls("Recover") < 2 {
		t.Error("the session goes on without its recovery")
	}
	h.wantTypes(session.ID(), labs.EventRequested, labs.EventReady, labs.EventTrouble, labs.EventRecovered)
}

func TestSessionsRemoveSandboxesThatNobodyOwns(t *testing.T) {
	h := newHarbour(t)
	h.dock.add("orphan")
	s := h.serve("")
	session := s.running()
	h.eventually("the orphan is gone", func() bool { return !h.dock.has("orphan") })
	if !h.dock.has(session.ID()) {
		t.Error("a sandbox in use was removed, too")
	}
}

// An attempt of a lab of which nothing is left can't be gone on with.
func TestSessionsEndWhenTheirLabIsGone(t *testing.T) {
	h := newHarbour(t)
	h.dock.add("oldattempt")
	old := labs.Attempt{ID: "oldattempt", User: h.user, Lab: "gone", Version: "0123456789ab", Variant: "default", Created: time.Now()}
	if err := h.store.CreateAttempt(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	h.serve("")
	h.eventually("the sandbox is gone", func() bool { return !h.dock.has(old.ID) })
	a, err := h.store.Attempt(t.Context(), old.ID)
	if err != nil || a.Ended.IsZero() {
		t.Errorf("the attempt: %+v, %v", a, err)
	}
	h.wantTypes(old.ID, labs.EventEnded)
}

// A server that stops leaves the sandboxes, breaks off starts and takes both up again.
func TestSessionsOutliveAStoppedServer(t *testing.T) {
	h := newHarbour(t)
	first := h.serve("")
	session := first.running()
	release := h.dock.hold()
	other, err := first.Start(t.Context(), h.addUser("otto"), "flag")
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("the second sandbox is being made", func() bool { return h.dock.state(other.ID()) == sandbox.Creating })
	began := time.Now()
	first.Close()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if _, err := first.Start(t.Context(), h.addUser("olga"), "flag"); !errors.Is(err, labs.ErrStopping) {
		t.Errorf("a start after the end: %v", err)
	}
	if err := session.Reset(t.Context()); !errors.Is(err, labs.ErrStopping) {
		t.Errorf("a reset after the end: %v", err)
	}
	if !h.dock.has(session.ID()) {
		t.Error("the running sandbox is gone")
	}
	release()
	second := h.serve("")
	for _, id := range []string{session.ID(), other.ID()} {
		taken, ok := second.Get(id)
		if !ok {
			t.Fatalf("%s was not taken up", id)
		}
		h.inPhase(taken, labs.PhaseRunning)
	}
}

func TestSubscribersThatLagAreLetGo(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	all, cancel := s.Subscribe(nil)
	none, cancelNone := s.Subscribe(func(labs.Event) bool { return false })
	defer cancelNone()
	session := s.running()
	for range 600 { // more than any subscriber may lag; right answers, for wrong ones have to wait
		h.clock.forward(3 * time.Second)
		if _, _, err := session.Answer(t.Context(), "say", "flag"); err != nil {
			t.Fatal(err)
		}
	}
	var last int64
	for e := range all { // ends, because the channel was closed
		if e.Seq <= last {
			t.Fatalf("event %d after %d", e.Seq, last)
		}
		last = e.Seq
	}
	cancel()
	cancel()
	select {
	case e, open := <-none:
		t.Errorf("a filter that takes nothing let through %v (open: %v)", e, open)
	default:
	}
}

// What changes no result is kept, too: a corrected check may be decided by it.
func TestSessionsKeepWhatDecidesNothing(t *testing.T) {
	h := newHarbour(t)
	s := h.serve("")
	session := s.running()
	h.eventually("the check has looked", func() bool { return session.Snapshot().Tasks[1].Checks[0].Result.Verdict == grade.Fail })
	kept := func() (n int) {
		evidence, err := h.store.Evidence(t.Context(), session.ID())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evidence {
			if e.Check == "mast" && strings.Contains(string(e.Data), "sawn") {
				n++
			}
		}
		return n
	}
	h.eventually("what the guard saw first is kept", func() bool { return kept() == 1 })
	home := h.dock.home(session.ID())
	if err := os.Mkdir(filepath.Join(home, "sawn"), 0o700); err != nil { // the guard asks ls, which lists what is in there
		t.Fatal(err)
	}
	h.eventually("the guard is violated", func() bool { return session.Snapshot().GuardsViolated == 1 })
	before := len(h.log(session.ID()))
	if err := os.WriteFile(filepath.Join(home, "sawn", "half-sawn"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.eventually("what changed afterwards is kept, though it decides nothing", func() bool { return kept() >= 2 })
	for _, e := range h.log(session.ID())[before:] {
		if e.Check == "mast" {
			t.Errorf("it made the event %s", e.Type)
		}
	}
}
