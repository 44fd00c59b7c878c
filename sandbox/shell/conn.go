package shell

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"drydock/sandbox"
)

// Conn is the server's side of a connection to a tab. It implements
// [sandbox.Terminal] over any stream that leads to a supervisor.
type Conn struct {
	stream io.ReadWriteCloser
	hangUp func() error // closes the stream, once
	write  sync.Mutex   // one frame at a time
	offset int64        // of the first byte of output

	mu       sync.Mutex
	changed  sync.Cond // anything below has changed
	buf      []byte    // output received and not yet read
	read     int64     // absolute offset of the output to read next
	acked    int64     // absolute offset acknowledged
	sent     int64     // bytes of input sent
	consumed int64     // bytes of input the shell's PTY has taken
	err      error     // why the connection has ended; io.EOF if the shell has
	status   int
}

var _ sandbox.Terminal = (*Conn)(nil)

// NewConn takes the stream of an attach command whose open request is already
// under way and waits for the answer. On failure the stream is closed.
func NewConn(stream io.ReadWriteCloser) (*Conn, error) {
	c := &Conn{stream: stream, hangUp: sync.OnceValue(stream.Close)}
	c.changed.L = &c.mu
	f, err := ReadFrame(stream)
	if err == nil {
		err = c.opened(f)
	}
	if err != nil {
		c.hangUp()
		return nil, fmt.Errorf("attach to the terminal: %w", noEOF(err))
	}
	go c.receive()
	return c, nil
}

func (c *Conn) opened(f Frame) error {
	switch f.Type {
	case FrameOffset:
		offset, err := f.uint64()
		c.offset, c.read, c.acked = offset, offset, offset
		return err
	case FrameError:
		return errors.New(string(f.Payload))
	default:
		return fmt.Errorf("%w: frame %d for an answer", ErrProtocol, f.Type)
	}
}

// noEOF tells a stream that broke off from a shell that ended.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// receive takes all frames until the connection ends. It never waits for
// anything else: what it may have to hold is bounded by the window.
func (c *Conn) receive() {
	for {
		f, err := ReadFrame(c.stream)
		if err == nil {
			err = c.handle(f)
		} else {
			err = noEOF(err)
		}
		if err != nil {
			c.finish(err)
			return
		}
	}
}

// finish ends the connection for the first reason given.
func (c *Conn) finish(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	c.hangUp()
}

func (c *Conn) handle(f Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	switch f.Type {
	case FrameData:
		c.buf = append(c.buf, f.Payload...)
		if c.read+int64(len(c.buf))-c.acked > Window {
			return fmt.Errorf("%w: more output than the window allows", ErrProtocol)
		}
		return nil
	case FrameAck:
		consumed, err := f.uint64()
		if err == nil && (consumed < c.consumed || consumed > c.sent) {
			err = fmt.Errorf("%w: %d bytes of input acknowledged, %d sent", ErrProtocol, consumed, c.sent)
		}
		c.consumed = consumed
		return err
	case FrameExit:
		status, err := f.status()
		if err != nil {
			return err
		}
		c.status = status
		return io.EOF
	case FrameTaken:
		return sandbox.ErrTerminalTaken
	case FrameError:
		return errors.New(string(f.Payload))
	default:
		return fmt.Errorf("%w: frame %d is not for the server", ErrProtocol, f.Type)
	}
}

// Offset is the absolute offset of the first byte of output.
func (c *Conn) Offset() int64 { return c.offset }

// ExitStatus is the shell's, after Read has returned io.EOF.
func (c *Conn) ExitStatus() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Read returns output. It returns io.EOF once the shell has ended,
// [sandbox.ErrTerminalTaken] when another connection has the tab now, and
// io.ErrUnexpectedEOF when the connection broke.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, ack, err := c.take(p)
	if ack > 0 {
		// A failure ends the connection, which the next Read reports.
		_ = c.send(uint64Frame(FrameAck, ack))
	}
	return n, err
}

// take waits for output and says what to acknowledge, if anything: not every
// byte, so that a few long reads do not cost as many writes.
func (c *Conn) take(p []byte) (n int, ack int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.buf) == 0 {
		if c.err != nil {
			return 0, 0, c.err
		}
		c.changed.Wait()
	}
	n = copy(p, c.buf)
	if c.buf = c.buf[n:]; len(c.buf) == 0 {
		c.buf = nil // lets go of what a burst has needed
	}
	c.read += int64(n)
	if c.err == nil && c.read-c.acked >= Window/4 {
		c.acked = c.read
		ack = c.acked
	}
	return n, ack, nil
}

// Write types. It waits while the shell's programs do not take the input.
func (c *Conn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := c.reserve(len(p) - written)
		if err != nil {
			return written, err
		}
		if err := c.send(Frame{FrameData, p[written : written+n]}); err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// reserve waits for room in the window and takes up to n bytes of it.
func (c *Conn) reserve(n int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if errors.Is(c.err, io.EOF) {
			return 0, sandbox.ErrShellGone
		}
		if c.err != nil {
			return 0, c.err
		}
		if room := int(c.consumed + Window - c.sent); room > 0 {
			n = min(n, room, MaxPayload)
			c.sent += int64(n)
			return n, nil
		}
		c.changed.Wait()
	}
}

// Resize tells the shell's programs the terminal's new size.
func (c *Conn) Resize(size sandbox.Size) error {
	return c.send(resizeFrame(size.Cols, size.Rows))
}

func (c *Conn) send(f Frame) error {
	c.write.Lock()
	err := WriteFrame(c.stream, f)
	c.write.Unlock()
	if err == nil {
		return nil
	}
	c.finish(fmt.Errorf("write to the terminal: %w", err))
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.err, io.EOF) {
		return sandbox.ErrShellGone
	}
	return c.err
}

// Close detaches; the shell goes on.
func (c *Conn) Close() error {
	c.finish(io.ErrClosedPipe)
	return nil
}
