package shell

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxPayload bounds one frame: what a reader must be ready to hold for a peer
// it does not trust. A PTY hands out at most 4 KiB at a time, so it is ample.
const MaxPayload = 32 << 10

const headerSize = 5 // type, then the payload's length as a big-endian uint32

// ErrProtocol: the peer sent what the protocol does not allow.
var ErrProtocol = errors.New("terminal protocol violated")

// FrameType says what a frame's payload is.
type FrameType byte

// The frames. Integers are big-endian.
const (
	// FrameOpen is the first frame of a connection, to the supervisor: [Open].
	FrameOpen FrameType = iota + 1
	// FrameOffset answers it: uint64, the absolute offset of the first byte of output that will follow.
	FrameOffset
	// FrameData carries input to the shell, output from it.
	FrameData
	// FrameAck grants room: uint64, how many bytes the sender of this frame
	// has consumed of what the other side sent, counted from the start of the
	// connection for input and as an absolute offset for output.
	FrameAck
	// FrameResize is the terminal's new size: uint16 columns, uint16 rows.
	FrameResize
	// FrameExit is the last frame from a shell that ended: uint32 exit status, 128 + signal for one that was killed.
	FrameExit
	// FrameTaken is the last frame to a connection whose tab another one has opened.
	FrameTaken
	// FrameError is the last frame to a peer that cannot be served: text.
	FrameError
	// FrameClose asks, in place of FrameOpen, to end a tab's shell: its name. FrameExit answers.
	FrameClose
)

// A Frame is one message of the protocol.
type Frame struct {
	Type    FrameType
	Payload []byte
}

// WriteFrame sends one frame with a single Write, so that frames of
// goroutines that share a lock never mix.
func WriteFrame(w io.Writer, f Frame) error {
	if len(f.Payload) > MaxPayload {
		return fmt.Errorf("%w: a frame of %d bytes", ErrProtocol, len(f.Payload))
	}
	buf := make([]byte, headerSize, headerSize+len(f.Payload))
	buf[0] = byte(f.Type)
	binary.BigEndian.PutUint32(buf[1:], uint32(len(f.Payload)))
	_, err := w.Write(append(buf, f.Payload...))
	return err
}

// ReadFrame reads one frame. At the end of the stream it returns io.EOF
// between frames and io.ErrUnexpectedEOF inside one; a frame of an unknown
// type or beyond [MaxPayload] is [ErrProtocol].
func ReadFrame(r io.Reader) (Frame, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Type: FrameType(header[0])}
	if f.Type < FrameOpen || f.Type > FrameClose {
		return Frame{}, fmt.Errorf("%w: frame type %d", ErrProtocol, f.Type)
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size > MaxPayload {
		return Frame{}, fmt.Errorf("%w: a frame of %d bytes", ErrProtocol, size)
	}
	f.Payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// Open asks to be attached to a tab.
type Open struct {
	From       int64 // absolute offset of the output to begin with
	Cols, Rows uint16
	Tab        string
}

// Frame encodes the request.
func (o Open) Frame() Frame {
	p := binary.BigEndian.AppendUint64(nil, uint64(o.From))
	p = binary.BigEndian.AppendUint16(p, o.Cols)
	p = binary.BigEndian.AppendUint16(p, o.Rows)
	return Frame{FrameOpen, append(p, o.Tab...)}
}

func (f Frame) open() (Open, error) {
	const fixed = 12
	if f.Type != FrameOpen || len(f.Payload) < fixed {
		return Open{}, fmt.Errorf("%w: bad open frame", ErrProtocol)
	}
	o := Open{
		From: int64(binary.BigEndian.Uint64(f.Payload)),
		Cols: binary.BigEndian.Uint16(f.Payload[8:]),
		Rows: binary.BigEndian.Uint16(f.Payload[10:]),
		Tab:  string(f.Payload[fixed:]),
	}
	return o, CheckTab(o.Tab)
}

// maxTabName is what [sandbox.TerminalSpec] promises.
const maxTabName = 16

// CheckTab says whether a tab may have that name: 1 to 16 of [a-z0-9].
func CheckTab(name string) error {
	if name == "" || len(name) > maxTabName {
		return fmt.Errorf("a tab's name has 1 to %d characters, not %d", maxTabName, len(name))
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("tab name %q: only a to z and 0 to 9", name)
		}
	}
	return nil
}

func uint64Frame(t FrameType, v int64) Frame {
	return Frame{t, binary.BigEndian.AppendUint64(nil, uint64(v))}
}

func (f Frame) uint64() (int64, error) {
	if len(f.Payload) != 8 {
		return 0, fmt.Errorf("%w: frame %d with %d bytes", ErrProtocol, f.Type, len(f.Payload))
	}
	v := int64(binary.BigEndian.Uint64(f.Payload))
	if v < 0 {
		return 0, fmt.Errorf("%w: frame %d with a negative number", ErrProtocol, f.Type)
	}
	return v, nil
}

func resizeFrame(cols, rows uint16) Frame {
	p := binary.BigEndian.AppendUint16(nil, cols)
	return Frame{FrameResize, binary.BigEndian.AppendUint16(p, rows)}
}

func (f Frame) size() (cols, rows uint16, err error) {
	if len(f.Payload) != 4 {
		return 0, 0, fmt.Errorf("%w: resize frame with %d bytes", ErrProtocol, len(f.Payload))
	}
	return binary.BigEndian.Uint16(f.Payload), binary.BigEndian.Uint16(f.Payload[2:]), nil
}

func exitFrame(status int) Frame {
	return Frame{FrameExit, binary.BigEndian.AppendUint32(nil, uint32(status))}
}

func (f Frame) status() (int, error) {
	if len(f.Payload) != 4 {
		return 0, fmt.Errorf("%w: exit frame with %d bytes", ErrProtocol, len(f.Payload))
	}
	return int(binary.BigEndian.Uint32(f.Payload)), nil
}
