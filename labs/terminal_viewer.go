package labs

import (
	"context"
	"io"
	"time"

	"drydock/sandbox"
)

// Viewer is one look at a terminal: a browser's tab. Next is for one
// goroutine; the other methods are safe for concurrent use.
type Viewer struct {
	tab      *terminalTab
	controls bool
	news     chan struct{}

	// Guarded by tab.mu.
	sent, acked int64
	progress    time.Time // of the last acknowledgement, or when it had everything
	greeted     bool
	sizeTurn    int
	stateTurn   int
	detached    bool
}

// MessageKind says what a [TerminalMessage] tells.
type MessageKind int

const (
	// MessageOutput: Data was printed; it begins at Offset. An Offset other
	// than the end of the last output means that the screen starts anew.
	MessageOutput MessageKind = iota
	// MessageSize: the terminal has the size Size.
	MessageSize
	// MessageState: the shell is in State, in words Text. The first message of
	// a viewer is one; output before its Offset was printed before the viewer came.
	MessageState
)

// TerminalMessage is what a viewer is told.
type TerminalMessage struct {
	Kind   MessageKind
	Offset int64
	Data   []byte
	Size   sandbox.Size
	State  TerminalState
	Text   string
}

func (t *terminalTab) attach(size sandbox.Size, from int64, controls bool) *Viewer {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &Viewer{tab: t, controls: controls, news: make(chan struct{}, 1), progress: t.hub.cfg.Now(), sizeTurn: -1}
	anew := from <= 0 || from < t.ring.start() || from > t.ring.end
	if anew {
		if from = t.recording.base; from < t.ring.start() || from > t.ring.end {
			from = t.ring.startOfLine(t.ring.start())
		}
	}
	v.sent, v.acked = from, from
	t.viewers[v] = true
	if controls {
		t.resize(size)
		if anew && t.ring.end > 0 {
			t.redraw()
		}
	}
	return v
}

// Detach ends the viewer; the shell goes on.
func (v *Viewer) Detach() {
	t := v.tab
	t.mu.Lock()
	delete(t.viewers, v)
	v.detached = true
	v.wakeUp()
	t.mu.Unlock()
	v.signalFlow()
}

// Next waits for what the viewer is to be told next. It returns io.EOF after
// the message of state [TerminalClosed], and once detached.
func (v *Viewer) Next(ctx context.Context) (TerminalMessage, error) {
	for {
		m, ok, err := v.take()
		if ok || err != nil {
			return m, err
		}
		select {
		case <-v.news:
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

// take returns a message if there is one to be sent.
func (v *Viewer) take() (m TerminalMessage, ok bool, err error) {
	t := v.tab
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case v.detached:
		return m, false, io.EOF
	case !v.greeted:
		v.greeted = true
		v.stateTurn = t.stateTurn
		return TerminalMessage{Kind: MessageState, Offset: t.ring.end, State: t.state, Text: t.stateText}, true, nil
	case v.stateTurn != t.stateTurn && v.sent >= t.stateAt:
		v.stateTurn = t.stateTurn
		return TerminalMessage{Kind: MessageState, Offset: t.ring.end, State: t.state, Text: t.stateText}, true, nil
	case t.closed:
		return m, false, io.EOF
	case v.sizeTurn != t.sizeTurn:
		v.sizeTurn = t.sizeTurn
		return TerminalMessage{Kind: MessageSize, Size: t.size}, true, nil
	}
	v.skipWhatIsGone()
	if v.sent >= t.ring.end || v.sent-v.acked >= highWatermark {
		return m, false, nil
	}
	m = TerminalMessage{Kind: MessageOutput, Offset: v.sent, Data: t.ring.read(v.sent, chunkSize)}
	v.sent += int64(len(m.Data))
	return m, true, nil
}

// skipWhatIsGone moves a viewer who lagged too far to a fresh screen.
func (v *Viewer) skipWhatIsGone() {
	ring := &v.tab.ring
	if v.sent >= ring.start() {
		return
	}
	v.sent = ring.startOfLine(ring.end - freshScreen)
	v.acked = v.sent
}

// Ack tells that the viewer has taken in all output before offset.
func (v *Viewer) Ack(offset int64) {
	t := v.tab
	t.mu.Lock()
	if offset > v.acked && offset <= v.sent {
		v.acked = offset
		v.progress = t.hub.cfg.Now()
		v.wakeUp()
	}
	t.mu.Unlock()
	v.signalFlow()
}

// Input types p. While there is no shell any key starts one and is itself not
// passed on. The error is ErrWatchOnly, ErrNoShell or ErrInputFull; p was then
// not typed at all.
func (v *Viewer) Input(p []byte) error {
	if !v.controls {
		return ErrWatchOnly
	}
	t := v.tab
	t.mu.Lock()
	state := t.state
	t.mu.Unlock()
	switch state {
	case TerminalExited:
		select {
		case t.restart <- struct{}{}:
		default: // it has begun
		}
	case TerminalLive:
		if !t.input.typed(p) {
			return ErrInputFull
		}
	default:
		return ErrNoShell
	}
	t.hub.cfg.Activity(t.name)
	return nil
}

// Resize gives the terminal the size of this viewer's window.
func (v *Viewer) Resize(size sandbox.Size) error {
	if !v.controls {
		return ErrWatchOnly
	}
	v.tab.mu.Lock()
	defer v.tab.mu.Unlock()
	if !v.tab.closed {
		v.tab.resize(clampSize(size))
	}
	return nil
}

func (v *Viewer) wakeUp() {
	select {
	case v.news <- struct{}{}:
	default: // it will look anyway
	}
}

func (v *Viewer) signalFlow() {
	select {
	case v.tab.flow <- struct{}{}:
	default:
	}
}
