package shell

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func TestFrameRoundTrip(t *testing.T) {
	for _, f := range []Frame{
		Open{From: 1 << 40, Cols: 80, Rows: 24, Tab: "main"}.Frame(),
		uint64Frame(FrameOffset, 42),
		{FrameData, []byte("ls\r")},
		{FrameData, bytes.Repeat([]byte("x"), MaxPayload)},
		resizeFrame(120, 40),
		exitFrame(130),
		{FrameTaken, []byte{}},
	} {
		var buf bytes.Buffer
		if err := WriteFrame(&buf, f); err != nil {
			t.Fatalf("frame %d: %v", f.Type, err)
		}
		got, err := ReadFrame(&buf)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("frame %d came back as %v, %v", f.Type, got, err)
		}
	}
}

func TestFrameRefusesBadInput(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":         {nil, io.EOF},
		"half a header":   {[]byte{3, 0, 0}, io.ErrUnexpectedEOF},
		"half a payload":  {[]byte{3, 0, 0, 0, 4, 'a'}, io.ErrUnexpectedEOF},
		"no payload yet":  {[]byte{3, 0, 0, 0, 4}, io.ErrUnexpectedEOF},
		"unknown type":    {[]byte{99, 0, 0, 0, 0}, ErrProtocol},
		"4 GiB announced": {[]byte{3, 255, 255, 255, 255}, ErrProtocol},
	} {
		if _, err := ReadFrame(bytes.NewReader(test.in)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if err := WriteFrame(io.Discard, Frame{FrameData, make([]byte, MaxPayload+1)}); !errors.Is(err, ErrProtocol) {
		t.Errorf("too large a frame was written: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 2, 'h', 'i'})
	f.Add([]byte{1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0, 24, 'a'})
	f.Add([]byte{99, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			before := len(in) - r.Len()
			frame, err := ReadFrame(r)
			if err != nil {
				return
			}
			// What was accepted is what writing it gives again.
			var out bytes.Buffer
			if err := WriteFrame(&out, frame); err != nil {
				t.Fatalf("accepted %v, but: %v", frame, err)
			}
			if !bytes.Equal(out.Bytes(), in[before:len(in)-r.Len()]) {
				t.Fatalf("%v was read from %x, written as %x", frame, in[before:], out.Bytes())
			}
			if open, err := frame.open(); err == nil {
				if !reflect.DeepEqual(open.Frame(), frame) {
					t.Fatalf("%v decodes to %+v", frame, open)
				}
			}
			_, _ = frame.uint64()
			_, _, _ = frame.size()
			_, _ = frame.status()
		}
	})
}

func TestRingKeepsTheLast(t *testing.T) {
	const limit, base = 40_000, 1000
	r := newRing(limit, base)
	var all []byte
	for i := range 2000 {
		chunk := bytes.Repeat([]byte{byte(i)}, i%97)
		r.write(chunk)
		all = append(all, chunk...)
		start := max(0, len(all)-limit)
		if r.end != base+int64(len(all)) || r.start() > base+int64(start) && r.start() > base+int64(len(all)-len(r.buf)) {
			t.Fatalf("after %d bytes: start %d, end %d", len(all), r.start(), r.end)
		}
		from := r.start() + (r.end-r.start())/3
		got := make([]byte, limit)
		n := r.read(got, from)
		if !bytes.Equal(got[:n], all[from-base:]) {
			t.Fatalf("after %d bytes, from %d: wrong content", len(all), from)
		}
	}
	if r.start() != r.end-limit {
		t.Errorf("keeps %d bytes, want %d", r.end-r.start(), limit)
	}
	huge := bytes.Repeat([]byte("0123456789"), limit/5)
	r.write(huge)
	got := make([]byte, limit)
	if n := r.read(got, r.start()); !bytes.Equal(got[:n], huge[len(huge)-limit:]) {
		t.Error("a write larger than the ring left the wrong bytes")
	}
}

// Buffered is how much output has been received and not been read.
func (c *Conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.buf)
}
