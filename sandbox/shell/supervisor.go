package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// History is how much of a tab's output is kept for a connection that
	// comes back: 4 MiB is some 50,000 lines, far more than a browser's
	// scroll-back, and a server that was killed is back within seconds.
	History = 4 << 20
	// Window is how much either side may send beyond what was acknowledged.
	// At a millisecond from the browser's server to the shell and back it
	// allows 256 MB/s; Ctrl-C is never behind more than this much output.
	Window = 256 << 10
	// MaxTabs bounds the tabs of one container: with their histories they
	// stay well under its memory limit.
	MaxTabs = 8

	// openTimeout is for a peer on the same machine to say what it wants.
	openTimeout = 10 * time.Second
	// hangUpGrace is how long a shell that is asked to end may take before it is killed.
	hangUpGrace = 2 * time.Second
	// takenGrace is how long a connection that lost its tab may take to be told.
	takenGrace = 5 * time.Second
)

// Config says whose shells a supervisor runs, and how.
type Config struct {
	// Credential is the user the shells run as; nil means the supervisor's own.
	Credential *syscall.Credential
	// Argv is the shell's command line; its first word is the program's path.
	Argv []string
	Dir  string
	Env  []string
	Log  *slog.Logger
}

// Supervisor owns the shells of one terminal container.
type Supervisor struct {
	cfg    Config
	reaper *reaper

	mu   sync.Mutex
	tabs map[string]*tab
	ends map[string]int64 // where the output of tabs that were let go has ended
}

// NewSupervisor returns a supervisor with no tabs. A process can have only
// one: it reaps all its children.
func NewSupervisor(cfg Config) *Supervisor {
	return &Supervisor{cfg: cfg, reaper: newReaper(), tabs: map[string]*tab{}, ends: map[string]int64{}}
}

// Serve answers connections on the listener until ctx ends, then hangs up all shells.
func (s *Supervisor) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Process 1 of a container inherits orphans by itself; anywhere else it has to ask for them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	go s.reaper.run(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			s.hangUpAll()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a terminal connection: %w", err)
		}
		go s.serveConn(conn)
	}
}

func (s *Supervisor) hangUpAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tabs {
		t.hangUp()
	}
}

func (s *Supervisor) serveConn(conn net.Conn) {
	defer conn.Close()
	if err := s.answer(conn); err != nil && !detached(err) {
		s.cfg.Log.Warn("terminal connection ended", "error", err)
		// The peer may be gone or confused: telling it is an attempt.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = WriteFrame(conn, Frame{FrameError, []byte(err.Error())})
	}
}

// detached says that a connection ended as connections do.
func detached(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

func (s *Supervisor) answer(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	f, err := ReadFrame(conn)
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if f.Type == FrameClose {
		return s.closeTab(conn, string(f.Payload))
	}
	open, err := f.open()
	if err != nil {
		return err
	}
	t, err := s.tab(open.Tab)
	if err != nil {
		return err
	}
	return t.serve(conn, open)
}

func (s *Supervisor) tab(name string) (*tab, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tabs[name]; ok {
		return t, nil
	}
	if len(s.tabs) == MaxTabs {
		s.letIdleGo()
	}
	if len(s.tabs) == MaxTabs {
		return nil, fmt.Errorf("no more than %d terminals can be open", MaxTabs)
	}
	t := newTab(&s.cfg, s.reaper, s.ends[name])
	s.tabs[name] = t
	return t, nil
}

// letIdleGo drops the tabs whose shell has ended and that nobody looks at.
func (s *Supervisor) letIdleGo() {
	for name, t := range s.tabs {
		if end, ok := t.retire(); ok {
			delete(s.tabs, name)
			s.ends[name] = end
		}
	}
}

// closeTab ends a tab's shell and lets the tab go; its offsets go on when it is opened again.
func (s *Supervisor) closeTab(conn net.Conn, name string) error {
	if err := CheckTab(name); err != nil {
		return err
	}
	s.mu.Lock()
	t := s.tabs[name]
	s.mu.Unlock()
	status := 0
	if t != nil {
		status = t.end(hangUpGrace)
		s.mu.Lock()
		if s.tabs[name] == t {
			delete(s.tabs, name)
			s.ends[name] = t.outputEnd()
		}
		s.mu.Unlock()
	}
	return WriteFrame(conn, exitFrame(status))
}
