package labs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"drydock/labs/trail"
	"drydock/sandbox"
)

const (
	// ringSize is what a viewer who loads the page anew sees of what was
	// printed: some thousand lines, as much as a browser terminal keeps.
	ringSize = 1 << 20
	// highWatermark is how far the slowest viewer who types may lag behind
	// before the shell is no longer read, lowWatermark where reading goes on.
	// Together they keep a browser busy across a slow line without a long
	// tail after Ctrl+C.
	highWatermark = 128 << 10
	lowWatermark  = 16 << 10
	// stallLimit is how long a viewer who shows no progress holds the shell
	// back: a laptop that was closed must not stop what runs.
	stallLimit = 30 * time.Second
	// chunkSize is the most that is read, recorded and sent at once.
	chunkSize = 32 << 10
	// freshScreen is how much of the latest output a watcher who fell behind is shown.
	freshScreen = 64 << 10
	// recordingLimit bounds one tab's recording: hours of work, seconds of a flood.
	recordingLimit = 64 << 20
	// maxTabs bounds the shells of a session; the page has room for that many.
	maxTabs = 8
	// maxTabName is what [sandbox.TerminalSpec] promises.
	maxTabName = 16
	// maxInput is what may wait for a shell that does not read: a large paste, and typing after it.
	maxInput = 512 << 10
	// closeTimeout bounds the wait for the engine when a tab is closed.
	closeTimeout = 10 * time.Second
)

// Kinds of error of terminals.
var (
	// ErrBadTab: a tab's name is 1 to 16 of [a-z0-9].
	ErrBadTab = errors.New("not a tab's name")
	// ErrTooManyTabs: the session has as many terminals as it may.
	ErrTooManyTabs = errors.New("too many terminals are open")
	// ErrTerminalsClosed: the session ended or its sandbox is replaced.
	ErrTerminalsClosed = errors.New("the terminals are closed")
	// ErrWatchOnly: the viewer may not type.
	ErrWatchOnly = errors.New("this viewer can only watch")
	// ErrInputFull: the shell does not read what was typed before.
	ErrInputFull = errors.New("the terminal does not take more input now")
	// ErrNoShell: there is no connection to the shell at this moment.
	ErrNoShell = errors.New("the terminal is not connected")
)

// HubConfig is what a [TerminalHub] works with. Provider, Session and Dir are needed.
type HubConfig struct {
	Provider sandbox.Provider
	Session  string
	Dir      string                            // holds the recordings, <tab>.cast
	Activity func(tab string)                  // told whenever somebody types; may be nil
	Command  func(tab string, c trail.Command) // told of what a shell says it has run; may be nil
	Now      func() time.Time
	Log      *slog.Logger
}

// TerminalHub holds a session's terminals: one connection to the sandbox per
// tab, every byte of it recorded, fanned out to any number of viewers. It is
// safe for concurrent use.
type TerminalHub struct {
	cfg   HubConfig
	ctx   context.Context
	close context.CancelFunc

	mu   sync.Mutex
	tabs map[string]*terminalTab
}

// NewTerminalHub returns the terminals of a session. Tabs that an earlier
// server recorded and nobody closed are taken up again at once.
func NewTerminalHub(cfg HubConfig) *TerminalHub {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Activity == nil {
		cfg.Activity = func(string) {}
	}
	if cfg.Command == nil {
		cfg.Command = func(string, trail.Command) {}
	}
	h := &TerminalHub{cfg: cfg, tabs: map[string]*terminalTab{}}
	h.ctx, h.close = context.WithCancel(context.Background())
	h.resume()
	return h
}

// resume opens the tabs of the recordings that are there.
func (h *TerminalHub) resume() {
	entries, err := os.ReadDir(h.cfg.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.cfg.Log.Error("recordings can't be listed", "session", h.cfg.Session, "err", err)
	}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), recordingSuffix)
		if !ok || !validTab(name) {
			continue
		}
		tab, err := h.newTab(name, defaultSize)
		if err != nil {
			h.cfg.Log.Error("a recording can't be continued", "session", h.cfg.Session, "tab", name, "err", err)
			continue
		}
		if tab.recording.closed {
			tab.recording.Close()
			continue
		}
		h.tabs[name] = tab
		tab.start(h.ctx)
	}
}

const recordingSuffix = ".cast"

// defaultSize is a terminal's until a viewer tells its own.
var defaultSize = sandbox.Size{Cols: 80, Rows: 24}

func validTab(name string) bool {
	if name == "" || len(name) > maxTabName {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// Attach shows a tab to a viewer, opening the tab when it is not there. The
// viewer has seen the output up to the offset from; what it lacks comes first,
// as far as it is kept. With 0 it starts with everything kept, and programs
// that fill the screen are made to draw it again. controls lets the viewer
// type, and holds the shell to the viewer's speed. Call Detach at the end.
func (h *TerminalHub) Attach(ctx context.Context, tab string, size sandbox.Size, from int64, controls bool) (*Viewer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validTab(tab) {
		return nil, fmt.Errorf("tab %q: %w", tab, ErrBadTab)
	}
	size = clampSize(size)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, ErrTerminalsClosed
	}
	t, ok := h.tabs[tab]
	if !ok {
		if !controls {
			return nil, fmt.Errorf("tab %q: %w", tab, ErrNoShell)
		}
		if len(h.tabs) >= maxTabs {
			return nil, ErrTooManyTabs
		}
		var err error
		if t, err = h.newTab(tab, size); err != nil {
			return nil, err
		}
		h.tabs[tab] = t
		t.start(h.ctx)
	}
	return t.attach(size, from, controls), nil
}

// The sizes a terminal may have: beyond them programs misbehave, and a
// screen's worth of cells would cost memory in every viewer.
const (
	minCols, maxCols = 2, 500
	minRows, maxRows = 2, 300
)

func clampSize(s sandbox.Size) sandbox.Size {
	return sandbox.Size{Cols: min(max(s.Cols, minCols), maxCols), Rows: min(max(s.Rows, minRows), maxRows)}
}

// Tabs are the names of the open terminals, in order.
func (h *TerminalHub) Tabs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, 0, len(h.tabs))
	for name := range h.tabs {
		names = append(names, name)
	}
	slices.SortFunc(names, tabOrder)
	return names
}

// tabOrder has 2 before 10.
func tabOrder(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

// Close ends a tab's shell, detaches its viewers and forgets the tab; the
// recording stays. Closing what is not open is no error.
func (h *TerminalHub) Close(tab string) error {
	h.mu.Lock()
	t, ok := h.tabs[tab]
	h.mu.Unlock()
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, closeTimeout)
	defer cancel()
	err := h.cfg.Provider.CloseTerminal(ctx, h.cfg.Session, tab)
	for err != nil && !errors.Is(err, sandbox.ErrShellGone) && !errors.Is(err, sandbox.ErrNotFound) && ctx.Err() == nil {
		select { // it may just be waking
		case <-time.After(firstRetry):
			err = h.cfg.Provider.CloseTerminal(ctx, h.cfg.Session, tab)
		case <-ctx.Done():
		}
	}
	if err != nil && !errors.Is(err, sandbox.ErrShellGone) && !errors.Is(err, sandbox.ErrNotFound) {
		return fmt.Errorf("close terminal %s: %w", tab, err)
	}
	h.mu.Lock()
	delete(h.tabs, tab)
	h.mu.Unlock()
	t.stop(true)
	return nil
}

// Shutdown detaches from all shells, which go on, and closes the recordings.
func (h *TerminalHub) Shutdown() {
	h.mu.Lock()
	h.close()
	tabs := h.tabs
	h.tabs = map[string]*terminalTab{}
	h.mu.Unlock()
	for _, t := range tabs {
		t.stop(false)
	}
}

func (h *TerminalHub) newTab(name string, size sandbox.Size) (*terminalTab, error) {
	t := &terminalTab{
		hub: h, name: name, size: size,
		ring:    outputRing{limit: ringSize},
		viewers: map[*Viewer]bool{},
		input:   newInputQueue(maxInput),
		flow:    make(chan struct{}, 1),
		restart: make(chan struct{}, 1),
		state:   TerminalConnecting,
	}
	path := filepath.Join(h.cfg.Dir, name+recordingSuffix)
	rec, err := openRecording(path, size, h.cfg.Now(), recordingLimit, t.ring.keep)
	if err != nil {
		return nil, err
	}
	if rec.output != t.ring.end { // the last part was not kept
		t.ring.skipTo(rec.output)
	}
	t.recording = rec
	return t, nil
}

// keep takes in output that a recording holds.
func (r *outputRing) keep(offset int64, p []byte) {
	if offset != r.end {
		r.skipTo(offset)
	}
	r.write(p)
}
