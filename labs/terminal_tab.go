package labs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"drydock/labs/trail"
	"drydock/sandbox"
)

// terminalTab is one shell's connection, its recording and its viewers.
type terminalTab struct {
	hub   *TerminalHub
	name  string
	input *inputQueue
	// flow is signalled when a viewer acknowledged or left, restart when
	// somebody typed while there was no shell.
	flow, restart chan struct{}
	cancel        context.CancelFunc
	running       sync.WaitGroup

	mu        sync.Mutex
	recording *recording
	ring      outputRing
	viewers   map[*Viewer]bool
	size      sandbox.Size
	sizeTurn  int // counts changes of size, so that viewers notice
	state     TerminalState
	stateText string
	stateAt   int64 // viewers are told once they have the output up to here
	stateTurn int
	closed    bool
	marks     trail.Marks // what the shell says of its commands
	fresh     bool        // the shell was lost: its successor counts from 0
	failed    bool        // the recording's failure was logged
}

// TerminalState says how a tab's shell does.
type TerminalState string

const (
	TerminalConnecting TerminalState = "connecting"
	TerminalLive       TerminalState = "live"
	// TerminalTrouble: the engine or the sandbox does not answer; it is tried again.
	TerminalTrouble TerminalState = "trouble"
	// TerminalExited: the shell ended; the next key starts a new one.
	TerminalExited TerminalState = "exited"
	// TerminalClosed: the tab was closed, or the session's terminals were. Nothing follows.
	TerminalClosed TerminalState = "closed"
)

func (t *terminalTab) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.running.Go(func() { t.run(ctx) })
}

// stop ends the connection and tells the viewers.
func (t *terminalTab) stop(closeTab bool) {
	t.cancel()
	t.running.Wait()
	t.left()
	t.mu.Lock()
	defer t.mu.Unlock()
	if closeTab {
		t.recording.CloseTab()
	}
	if err := t.recording.Close(); err != nil {
		t.hub.cfg.Log.Error("a recording can't be closed", "session", t.hub.cfg.Session, "tab", t.name, "err", err)
	}
	t.closed = true
	t.setState(TerminalClosed, "", 0)
}

// left tells of the command that still runs.
func (t *terminalTab) left() {
	t.mu.Lock()
	c, running := t.marks.Running(t.hub.cfg.Now())
	t.mu.Unlock()
	if running {
		t.hub.cfg.Command(t.name, c)
	}
}

// run keeps the tab connected until ctx ends.
func (t *terminalTab) run(ctx context.Context) {
	for ctx.Err() == nil {
		term, err := t.connect(ctx)
		if err == nil {
			err = t.serve(ctx, term)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, sandbox.ErrShellGone):
			t.lost()
			t.waitForKey(ctx)
		case errors.Is(err, io.EOF), errors.Is(err, sandbox.ErrTerminalTaken):
			t.waitForKey(ctx)
		default: // it was connected, so that a short wait is enough
			t.pause(ctx, firstRetry)
		}
	}
}

// The wait between attempts to reach a shell: short, since most troubles are
// a moment, and doubling up to what a reader of the message still bears.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// connect attaches to the shell and tries again until it succeeds. It fails
// only when ctx ends or the shell is gone.
func (t *terminalTab) connect(ctx context.Context) (sandbox.Terminal, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		spec := t.spec()
		term, err := t.hub.cfg.Provider.Terminal(ctx, t.hub.cfg.Session, spec)
		if err == nil {
			t.connected(spec.From, term.Offset())
			return term, nil
		}
		if ctx.Err() != nil || errors.Is(err, sandbox.ErrShellGone) {
			return nil, err
		}
		t.trouble(err)
		t.pause(ctx, wait)
	}
}

func (t *terminalTab) pause(ctx context.Context, wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

func (t *terminalTab) spec() sandbox.TerminalSpec {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := t.recording.output - t.recording.base
	if t.fresh {
		from = 0
	}
	return sandbox.TerminalSpec{Tab: t.name, Size: t.size, From: from}
}

// connected notes where the shell's output goes on: at from, or, when another
// shell has taken its place, at an earlier offset of its own count, or later,
// when output was lost.
func (t *terminalTab) connected(from, offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.hub.cfg.Now()
	switch {
	case t.fresh || offset < from:
		t.recording.Rebase(offset)
		t.fresh = false
	case offset > from:
		t.recording.Lost(offset-from, now)
		t.ring.skipTo(t.recording.output)
	}
	t.checkRecording()
	t.input.dropTyped()
	t.setState(TerminalLive, "", 0)
}

// serve passes output on until the connection ends. io.EOF and ErrShellGone
// mean that the shell did.
func (t *terminalTab) serve(tab context.Context, term sandbox.Terminal) error {
	ctx, cancel := context.WithCancel(tab)
	var typing sync.WaitGroup
	typing.Go(func() { t.input.feed(ctx, term) })
	closed := context.AfterFunc(ctx, func() { _ = term.Close() }) // makes Read return
	err := t.readAll(ctx, term)
	if closed() {
		_ = term.Close() // the connection is of no more use, whatever closing says
	}
	cancel()
	typing.Wait()
	if tab.Err() == nil {
		t.disconnected(err, term)
	}
	return err
}

// exitStatus is offered by terminals that know how their shell ended.
type exitStatus interface{ ExitStatus() int }

func (t *terminalTab) disconnected(err error, term sandbox.Terminal) {
	switch {
	case errors.Is(err, io.EOF):
		t.exited(term)
	case errors.Is(err, sandbox.ErrTerminalTaken):
		t.mu.Lock()
		defer t.mu.Unlock()
		t.setState(TerminalExited, "Another server has taken this terminal.", 0)
	case !errors.Is(err, sandbox.ErrShellGone):
		t.trouble(err)
	}
}

func (t *terminalTab) exited(term sandbox.Terminal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := "The shell has ended."
	if s, ok := term.(exitStatus); ok {
		t.recording.Exit(s.ExitStatus(), t.hub.cfg.Now())
		if status := s.ExitStatus(); status != 0 {
			text = fmt.Sprintf("The shell has ended with status %d.", status)
		}
	}
	t.setState(TerminalExited, text, t.ring.end)
}

// readAll reads the shell's output, no faster than the viewers who type can take it.
func (t *terminalTab) readAll(ctx context.Context, term sandbox.Terminal) error {
	buf := make([]byte, chunkSize)
	held := 0 // the beginning of a UTF-8 sequence, at the start of buf
	for {
		if err := t.waitForViewers(ctx); err != nil {
			return err
		}
		n, err := term.Read(buf[held:])
		n += held
		whole := completeUTF8(buf[:n])
		if errors.Is(err, io.EOF) {
			whole = n // nothing more will complete it
		}
		t.output(buf[:whole])
		held = copy(buf, buf[whole:n])
		if err != nil {
			return err
		}
	}
}

// output passes on what the shell printed, and tells of the commands that ended in it.
func (t *terminalTab) output(p []byte) {
	if len(p) == 0 {
		return
	}
	for _, c := range t.print(p) {
		t.hub.cfg.Command(t.name, c)
	}
}

// print records what the shell printed, then lets the viewers have it: what a
// viewer has seen is always in the recording. It returns the commands that ended.
func (t *terminalTab) print(p []byte) []trail.Command {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.hub.cfg.Now()
	t.recording.Output(p, now)
	t.checkRecording()
	for v := range t.viewers {
		if v.acked >= t.ring.end {
			v.progress = now // it lags from now on at most
		}
	}
	t.ring.write(p)
	t.wake()
	return t.marks.Write(p, now)
}

// checkRecording tells the operator, once, that a recording had to be given up.
func (t *terminalTab) checkRecording() {
	if t.recording.err != nil && !t.failed {
		t.failed = true
		t.hub.cfg.Log.Error("a recording stopped", "session", t.hub.cfg.Session, "tab", t.name, "err", t.recording.err)
	}
}

// waitForViewers holds the reader back while a viewer who types lags.
func (t *terminalTab) waitForViewers(ctx context.Context) error {
	limit := int64(highWatermark)
	for {
		wait, behind := t.behind(limit)
		if !behind {
			return ctx.Err()
		}
		limit = lowWatermark
		timer := time.NewTimer(wait)
		select {
		case <-t.flow:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// behind reports whether the reader must wait for a viewer, and how long at most.
func (t *terminalTab) behind(limit int64) (wait time.Duration, behind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.hub.cfg.Now()
	for v := range t.viewers {
		patience := stallLimit - now.Sub(v.progress)
		if v.controls && t.ring.end-v.acked > limit && patience > 0 {
			wait, behind = max(wait, patience), true
		}
	}
	return wait, behind
}

// lost notes that the shell is gone with its container.
func (t *terminalTab) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh = true
	t.setState(TerminalExited, "The shell was lost with its sandbox.", 0)
}

func (t *terminalTab) trouble(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := "The connection to the shell was lost."
	if errors.Is(err, sandbox.ErrEngine) {
		text = "The container engine does not answer."
	} else if errors.Is(err, sandbox.ErrNotFound) {
		text = "The sandbox is not there."
	}
	if t.state != TerminalTrouble {
		t.hub.cfg.Log.Warn("a terminal has no connection to its shell", "session", t.hub.cfg.Session, "tab", t.name, "err", err)
	}
	t.setState(TerminalTrouble, text, 0)
}

func (t *terminalTab) waitForKey(ctx context.Context) {
	select {
	case <-t.restart:
		t.mu.Lock()
		t.setState(TerminalConnecting, "", 0)
		t.mu.Unlock()
	case <-ctx.Done():
	}
}

// setState must be called with the lock held.
func (t *terminalTab) setState(state TerminalState, text string, at int64) {
	if t.state == state && t.stateText == text {
		return
	}
	if state == TerminalExited {
		select { // a key from before does not count
		case <-t.restart:
		default:
		}
	}
	t.state, t.stateText, t.stateAt = state, text, at
	t.stateTurn++
	t.wake()
}

// wake has all viewers look for news. The lock is held.
func (t *terminalTab) wake() {
	for v := range t.viewers {
		v.wakeUp()
	}
}

// resize gives the terminal a viewer's size. The lock is held.
func (t *terminalTab) resize(size sandbox.Size) {
	if size == t.size {
		return
	}
	t.size = size
	t.sizeTurn++
	t.recording.Resize(size, t.hub.cfg.Now())
	t.input.resize(size)
	t.wake()
}

// redraw makes programs that fill the screen draw it again: they do so when
// the size changes. The lock is held.
func (t *terminalTab) redraw() {
	t.input.resize(sandbox.Size{Cols: t.size.Cols, Rows: t.size.Rows - 1})
	t.input.resize(t.size)
}
