package labs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"drydock/sandbox"
)

const (
	// maxKept bounds the kept sandboxes of a server whose memory has no bound: two large classes.
	maxKept = 64
	// keptLinger is how long a kept sandbox runs on after its last page was closed: a reload takes less.
	keptLinger = 30 * time.Second
	// openedDir holds what an opened sandbox's terminals print, for as long as it is open.
	openedDir = "opened"
)

// ErrNotThere: what a session left is not kept, or not any more.
var ErrNotThere = errors.New("the sandbox is not kept any more")

// Kept is the sandbox that a session left when it ended, as it was left; see
// docs/decisions/0018-a-final-state-is-kept-frozen.md.
type Kept struct {
	Since, Until time.Time
	// Restarted: it was stopped meanwhile, as by a restart of the machine, so
	// that its processes are, or will be, other ones than the learner's.
	Restarted bool
	Open      bool     // it runs, because somebody looks into it
	Tabs      []string // the learner's terminals, in order; at least one
}

// leftover is a sandbox that is kept.
type leftover struct {
	attempt Attempt
	opening sync.Mutex // one opens or closes it at a time; taken before Sessions.mu

	// Guarded by Sessions.mu.
	state     sandbox.State // as it was last seen
	restarted bool
	viewers   int
	left      time.Time // when the last viewer left
	touched   time.Time // when somebody last typed
	hub       *TerminalHub
}

// until is when a kept sandbox of an attempt has had its time.
func (s *Sessions) until(a Attempt) time.Time { return a.Ended.Add(s.cfg.KeepFor) }

// Kept says what is kept of an attempt's sandbox.
func (s *Sessions) Kept(id string) (Kept, bool) {
	s.mu.Lock()
	l := s.kept[id]
	if l == nil {
		s.mu.Unlock()
		return Kept{}, false
	}
	k := Kept{
		Since: l.attempt.Ended, Until: s.until(l.attempt), Restarted: l.restarted || l.state == sandbox.Stopped, Open: l.hub != nil,
	}
	s.mu.Unlock()
	k.Tabs = s.tabsOf(id) // reads folders: others need not wait for that
	return k, true
}

// tabsOf are the terminals that a learner had open last, as their recordings say.
func (s *Sessions) tabsOf(id string) []string {
	run := 0
	for dirExists(RecordingDir(s.cfg.Recordings, id, run+1)) {
		run++
	}
	found, _ := filepath.Glob(filepath.Join(RecordingDir(s.cfg.Recordings, id, run), "*"+recordingSuffix)) // the pattern is good
	var tabs []string
	for _, path := range found {
		tabs = append(tabs, strings.TrimSuffix(filepath.Base(path), recordingSuffix))
	}
	if len(tabs) == 0 {
		tabs = []string{"1"}
	}
	slices.SortFunc(tabs, tabOrder)
	return tabs
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// OpenKept lets an instructor into a kept sandbox: it is thawed, or started
// where it was stopped, and its shells are those that the learner left. Call
// leave at the end; some time after the last one it is frozen again, and also
// when nobody has typed for as long as a session may idle. The error is
// [ErrNotThere] when it has gone.
func (s *Sessions) OpenKept(ctx context.Context, id string) (hub *TerminalHub, leave func(), err error) {
	s.mu.Lock()
	l := s.kept[id]
	if l == nil || s.removing[id] || s.ctx.Err() != nil {
		s.mu.Unlock()
		return nil, nil, ErrNotThere
	}
	l.viewers++
	l.touched = s.cfg.Now()
	s.mu.Unlock()
	leave = sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.viewers--
		l.left = s.cfg.Now()
	})
	l.opening.Lock()
	defer l.opening.Unlock()
	if hub, err = s.openKept(ctx, l); err != nil {
		leave()
		return nil, nil, err
	}
	return hub, leave, nil
}

// openKept wakes a kept sandbox, unless it is awake. l.opening is held.
func (s *Sessions) openKept(ctx context.Context, l *leftover) (*TerminalHub, error) {
	s.mu.Lock()
	open := l.hub
	s.mu.Unlock()
	if open != nil {
		return open, nil
	}
	if err := s.wakeKept(ctx, l); errors.Is(err, sandbox.ErrNotFound) {
		return nil, ErrNotThere
	} else if err != nil {
		return nil, fmt.Errorf("open the sandbox of attempt %s: %w", l.attempt.ID, err)
	}
	dir := filepath.Join(RecordingDir(s.cfg.Recordings, l.attempt.ID, 0), openedDir)
	if err := os.RemoveAll(dir); err != nil { // which a killed server left
		return nil, fmt.Errorf("make room for a terminal: %w", err)
	}
	hub := NewTerminalHub(HubConfig{
		Provider: s.cfg.Provider, Session: l.attempt.ID, Dir: dir, Now: s.cfg.Now, Log: s.log,
		Activity: func(string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.touched = s.cfg.Now()
		},
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	l.hub = hub
	return hub, nil
}

func (s *Sessions) wakeKept(ctx context.Context, l *leftover) error {
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	info, err := s.cfg.Provider.Get(ctx, l.attempt.ID)
	if err != nil {
		return err
	}
	if info.State != sandbox.Stopped {
		return s.cfg.Provider.Thaw(ctx, l.attempt.ID)
	}
	s.mu.Lock()
	l.restarted = true
	s.mu.Unlock()
	return s.cfg.Provider.Recover(ctx, l.attempt.ID)
}

// DropKept removes a kept sandbox before its time. One that has gone is no error.
func (s *Sessions) DropKept(id string) {
	s.mu.Lock()
	l := s.kept[id]
	s.mu.Unlock()
	if l != nil {
		s.drop(l)
	}
}

// drop closes a kept sandbox's terminals and removes it.
func (s *Sessions) drop(l *leftover) {
	if !s.claim(l.attempt.ID) {
		return
	}
	defer s.unclaim(l.attempt.ID)
	l.opening.Lock()
	defer l.opening.Unlock()
	s.closeOpened(l)
	s.mu.Lock()
	delete(s.kept, l.attempt.ID)
	s.mu.Unlock()
	s.destroyClaimed(l.attempt.ID)
}

// closeOpened ends the terminals of a kept sandbox. l.opening is held.
func (s *Sessions) closeOpened(l *leftover) {
	s.mu.Lock()
	hub := l.hub
	l.hub = nil
	s.mu.Unlock()
	if hub == nil {
		return
	}
	hub.Shutdown()
	dir := filepath.Join(RecordingDir(s.cfg.Recordings, l.attempt.ID, 0), openedDir)
	if err := os.RemoveAll(dir); err != nil {
		s.log.Warn("what a kept sandbox's terminal printed could not be removed", "session", l.attempt.ID, "err", err)
	}
}

// leave keeps the sandbox of a session that has ended, if it is to be kept, or
// else removes it. The caller has claimed it.
func (s *Sessions) leave(id string) {
	taught, err := s.taught()
	if err != nil {
		s.log.Warn("it can't be found out whether a sandbox is to be kept; it is looked again", "session", id, "err", err)
		return // the supervisor finds it
	}
	a, keep := taught[id]
	if !keep || s.keep(a) != nil {
		s.destroyClaimed(id)
	}
}

// taught are the attempts whose sandboxes are to be kept, by id.
func (s *Sessions) taught() (map[string]Attempt, error) {
	if s.cfg.KeepFor <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	list, err := s.cfg.Log.TaughtAttempts(ctx, s.cfg.Now().Add(-s.cfg.KeepFor))
	all := map[string]Attempt{}
	for _, a := range list {
		all[a.ID] = a
	}
	return all, err
}

// keep freezes the sandbox of an attempt that has ended, and keeps it.
func (s *Sessions) keep(a Attempt) error {
	ctx, cancel := context.WithTimeout(s.ctx, engineTimeout)
	defer cancel()
	if err := s.cfg.Provider.Keep(ctx, a.ID); err != nil {
		if !errors.Is(err, sandbox.ErrNotFound) && s.ctx.Err() == nil {
			s.log.Warn("a sandbox could not be kept", "session", a.ID, "err", err)
		}
		return err
	}
	s.remember(a, sandbox.Frozen)
	return nil
}

func (s *Sessions) remember(a Attempt, state sandbox.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.kept[a.ID]; l != nil {
		l.state = state
		return
	}
	s.kept[a.ID] = &leftover{attempt: a, state: state}
}

// tend looks after the sandboxes that no session has: what is to be kept is,
// for as long as it is to be, and the rest goes. whole says that all kinds of
// sandbox were listed.
func (s *Sessions) tend(strays []sandbox.Info, whole bool) {
	if whole {
		s.forgetGone(strays)
	}
	taught := sync.OnceValues(s.taught) // asked for when there is one that is new to this server
	for _, info := range strays {
		if l := s.seenKept(info); l != nil {
			s.tendKept(l)
			continue
		}
		attempts, err := taught()
		if err != nil {
			s.log.Warn("it can't be found out which sandboxes are to be kept", "err", err)
			return
		}
		switch a, keep := attempts[info.Session]; {
		case !keep:
			s.background(func() { s.destroy(info.Session) })
		case info.Use == sandbox.Kept:
			s.remember(a, info.State)
		default:
			s.background(func() { s.keepStray(a) })
		}
	}
	s.tooMany()
}

// seenKept notes the state of a sandbox that is known to be kept; nil for another.
func (s *Sessions) seenKept(info sandbox.Info) *leftover {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.kept[info.Session]
	if l != nil {
		l.state = info.State
	}
	return l
}

// tendKept removes a kept sandbox that has had its time, and freezes one that
// runs on, unless somebody looks into it.
func (s *Sessions) tendKept(l *leftover) {
	s.mu.Lock()
	due := !s.cfg.Now().Before(s.until(l.attempt))
	runs := l.hub != nil || l.state == sandbox.Running
	left := s.unwatched(l) && !s.removing[l.attempt.ID]
	s.mu.Unlock()
	switch {
	case !left:
	case due:
		s.background(func() { s.drop(l) })
	case runs:
		s.background(func() { s.quiet(l) })
	}
}

// keepStray keeps what a server left that was killed as the session ended.
func (s *Sessions) keepStray(a Attempt) {
	if !s.claim(a.ID) {
		return
	}
	defer s.unclaim(a.ID)
	if s.keep(a) != nil {
		s.destroyClaimed(a.ID)
	}
}

// forgetGone forgets what is kept no more, as when its memory was needed.
func (s *Sessions) forgetGone(strays []sandbox.Info) {
	s.mu.Lock()
	var gone []*leftover
	for id, l := range s.kept {
		there := slices.ContainsFunc(strays, func(i sandbox.Info) bool { return i.Session == id })
		if !there && !s.removing[id] && l.attempt.Ended.Before(s.listed) {
			gone = append(gone, l)
			delete(s.kept, id)
		}
	}
	s.mu.Unlock()
	for _, l := range gone {
		s.background(func() {
			l.opening.Lock()
			defer l.opening.Unlock()
			s.closeOpened(l)
		})
	}
}

// unwatched reports whether nobody looks into a kept sandbox any more, or does
// nothing there. s.mu is held.
func (s *Sessions) unwatched(l *leftover) bool {
	now := s.cfg.Now()
	return l.viewers == 0 && now.Sub(l.left) > keptLinger || now.Sub(l.touched) > s.cfg.Idle
}

// quiet freezes a kept sandbox again, unless somebody has come back.
func (s *Sessions) quiet(l *leftover) {
	l.opening.Lock()
	defer l.opening.Unlock()
	s.mu.Lock()
	still := s.unwatched(l)
	s.mu.Unlock()
	if !still {
		return
	}
	s.closeOpened(l)
	_ = s.keep(l.attempt) // it has said why; the next look tries again
}

// tooMany removes the oldest kept sandboxes beyond the bound.
func (s *Sessions) tooMany() {
	s.mu.Lock()
	var idle []*leftover
	for _, l := range s.kept {
		if l.viewers == 0 {
			idle = append(idle, l)
		}
	}
	over := len(s.kept) - maxKept
	s.mu.Unlock()
	slices.SortFunc(idle, func(a, b *leftover) int { return a.attempt.Ended.Compare(b.attempt.Ended) })
	for i := 0; i < min(over, len(idle)); i++ {
		s.background(func() { s.drop(idle[i]) })
	}
}
