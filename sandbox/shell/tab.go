package shell

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// tab is one terminal: its history, the shell that runs in it now, if any,
// and the connection that has it now, if any.
type tab struct {
	cfg    *Config
	reaper *reaper

	mu      sync.Mutex
	changed sync.Cond // anything below has changed
	ring    *ring
	shell   *process
	peer    *peer
	closed  bool // the supervisor is letting the tab go
}

// peer is the connection that has the tab. Its fields are guarded by the tab's lock.
type peer struct {
	conn  net.Conn
	write sync.Mutex // one frame at a time

	pos   int64 // absolute offset of the output to send next
	acked int64 // absolute offset up to which the other side has consumed
	taken bool  // another connection has the tab now
	gone  bool  // the connection has ended
	// exit is set once the shell has ended: its status, and where its output ends.
	exit *exit

	queued   int   // bytes of input waiting for the PTY
	consumed int64 // bytes of input written to the PTY
}

type exit struct {
	status int
	end    int64
}

func (p *peer) send(f Frame) error {
	p.write.Lock()
	defer p.write.Unlock()
	return WriteFrame(p.conn, f)
}

// newTab returns a tab without a shell whose output begins at the given absolute offset.
func newTab(cfg *Config, r *reaper, offset int64) *tab {
	t := &tab{cfg: cfg, reaper: r, ring: newRing(History, offset)}
	t.changed.L = &t.mu
	return t
}

// serve gives the tab to a connection and returns when that is over.
func (t *tab) serve(conn net.Conn, open Open) error {
	p := &peer{conn: conn}
	if err := t.attach(p, open); err != nil {
		return err
	}
	defer t.detach(p)
	sent := make(chan error, 1)
	go func() {
		sent <- t.sendOutput(p)
		conn.Close() // ends the reading below
	}()
	received := t.receive(p)
	t.detach(p)
	if err := <-sent; err != nil {
		return err
	}
	return received
}

func (t *tab) attach(p *peer, open Open) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.New("the terminal was closed")
	}
	if t.shell == nil {
		shell, err := startProcess(t.cfg, t.reaper, open.Cols, open.Rows)
		if err != nil {
			return fmt.Errorf("start a shell: %w", err)
		}
		t.shell = shell
		go t.pump(shell)
		go t.feed(shell)
	} else if err := t.shell.resize(open.Cols, open.Rows); err != nil {
		return err
	}
	if t.peer != nil {
		t.peer.taken = true
		// It may be the remains of a server that is gone, which nobody reads.
		_ = t.peer.conn.SetDeadline(time.Now().Add(takenGrace))
	}
	t.peer = p
	// An offset beyond the end is from before the container was started
	// again: everything there is, is new to such a peer.
	if p.pos = max(open.From, t.ring.start()); p.pos > t.ring.end {
		p.pos = t.ring.start()
	}
	p.acked = p.pos
	t.changed.Broadcast()
	return nil
}

func (t *tab) detach(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.gone = true
	if t.peer == p {
		t.peer = nil
	}
	t.changed.Broadcast()
}

// sendOutput sends the history from the peer's position on and then what the
// shell prints, never more than a window ahead of the acknowledgements.
func (t *tab) sendOutput(p *peer) error {
	if err := p.send(uint64Frame(FrameOffset, p.pos)); err != nil {
		return err
	}
	buf := make([]byte, MaxPayload)
	for {
		n, last := t.nextOutput(p, buf)
		if n > 0 {
			if err := p.send(Frame{FrameData, buf[:n]}); err != nil {
				return err
			}
		}
		if last != nil {
			return p.send(*last)
		}
		if n == 0 {
			return nil
		}
	}
}

// nextOutput waits for output that may be sent and copies it to buf. It
// returns the frame to end the connection with when that time has come, and
// nothing at all when the connection is gone.
func (t *tab) nextOutput(p *peer, buf []byte) (int, *Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		end := t.ring.end
		if p.exit != nil {
			end = p.exit.end
		}
		room := p.acked + Window - p.pos
		switch {
		case p.gone:
			return 0, nil
		case p.taken:
			return 0, &Frame{Type: FrameTaken}
		case p.exit != nil && p.pos >= end:
			f := exitFrame(p.exit.status)
			return 0, &f
		case p.pos < end && room > 0:
			n := t.ring.read(buf[:min(int64(len(buf)), room, end-p.pos)], p.pos)
			p.pos += int64(n)
			return n, nil
		}
		t.changed.Wait()
	}
}

// receive handles what the peer sends until the connection ends. It never
// waits for anything else, so acknowledgements and resizes get through
// however full the PTY is.
func (t *tab) receive(p *peer) error {
	for {
		f, err := ReadFrame(p.conn)
		if err != nil {
			return err
		}
		if err := t.handle(p, f); err != nil {
			return err
		}
	}
}

func (t *tab) handle(p *peer, f Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.taken {
		return nil // what a peer types into a tab it no longer has is nobody's
	}
	switch f.Type {
	case FrameData:
		if p.queued += len(f.Payload); p.queued > Window {
			return fmt.Errorf("%w: more input than the window allows", ErrProtocol)
		}
		if t.shell != nil {
			t.shell.input = append(t.shell.input, input{f.Payload, p})
		}
	case FrameAck:
		acked, err := f.uint64()
		if err != nil {
			return err
		}
		if acked < p.acked || acked > p.pos {
			return fmt.Errorf("%w: %d acknowledged, %d sent", ErrProtocol, acked, p.pos)
		}
		p.acked = acked
	case FrameResize:
		cols, rows, err := f.size()
		if err != nil {
			return err
		}
		if t.shell != nil {
			return t.shell.resize(cols, rows)
		}
	default:
		return fmt.Errorf("%w: frame %d is not for the supervisor", ErrProtocol, f.Type)
	}
	t.changed.Broadcast()
	return nil
}

// pump moves the shell's output into the ring until the shell has ended.
func (t *tab) pump(shell *process) {
	buf := make([]byte, MaxPayload)
	left := drainLimit
	for left > 0 {
		t.waitForRoom(shell)
		n, err := shell.read(buf)
		t.mu.Lock()
		t.ring.write(buf[:n])
		t.changed.Broadcast()
		t.mu.Unlock()
		if err != nil {
			break
		}
		if shell.hasExited() {
			left -= n
		}
	}
	shell.pty.Close() // hangs up whatever the shell has left in the foreground
	status := <-shell.status
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peer != nil {
		t.peer.exit = &exit{status, t.ring.end}
	}
	shell.over = true
	t.shell = nil
	t.changed.Broadcast()
}

// waitForRoom waits while an attached peer has a full window still in front of it.
func (t *tab) waitForRoom(shell *process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.peer != nil && t.ring.end-t.peer.acked >= Window && !shell.hangingUp {
		t.changed.Wait()
	}
}

// feed writes the queued input to the PTY and acknowledges it.
func (t *tab) feed(shell *process) {
	for {
		in, ok := t.nextInput(shell)
		if !ok {
			return
		}
		// An error means that the shell is ending: the pump sees to that.
		_, _ = shell.pty.Write(in.data)
		t.mu.Lock()
		in.from.queued -= len(in.data)
		in.from.consumed += int64(len(in.data))
		ack, gone := uint64Frame(FrameAck, in.from.consumed), in.from.gone || in.from.taken
		t.mu.Unlock()
		if !gone {
			// A failure ends the connection, which its reader notices.
			_ = in.from.send(ack)
		}
	}
}

func (t *tab) nextInput(shell *process) (input, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(shell.input) == 0 {
		if shell.over {
			return input{}, false
		}
		t.changed.Wait()
	}
	in := shell.input[0]
	shell.input = shell.input[1:]
	return in, true
}

// hangUp tells the shell that its terminal is gone.
func (t *tab) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shell != nil {
		t.shell.hangingUp = true
		t.shell.signal(syscall.SIGHUP)
		t.changed.Broadcast()
	}
}

// retire closes the tab if it has neither a shell nor a connection, and says where its output has ended.
func (t *tab) retire() (end int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shell != nil || t.peer != nil {
		return 0, false
	}
	t.closed = true
	return t.ring.end, true
}

func (t *tab) outputEnd() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ring.end
}

// end ends the shell, by force after the grace, and returns its exit status.
func (t *tab) end(grace time.Duration) int {
	t.mu.Lock()
	t.closed = true
	shell := t.shell
	t.mu.Unlock()
	if shell == nil {
		return 0
	}
	t.hangUp()
	kill := time.AfterFunc(grace, func() { shell.signal(syscall.SIGKILL) })
	defer kill.Stop()
	<-shell.exited
	t.mu.Lock()
	defer t.mu.Unlock()
	for !shell.over {
		t.changed.Wait()
	}
	return shell.exitStatus
}
