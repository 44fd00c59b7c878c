package dock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"drydock/sandbox"
)

// MaxOutput is kept of a command whose caller does not say how much, in bytes.
const MaxOutput = 1 << 20

// Output takes what a command prints: it keeps it, or hands it on.
type Output struct {
	// Stdout and Stderr are where it is to be written.
	Stdout, Stderr io.Writer
	out, err       *Capture
}

// NewOutput returns the output for a command, and a context for running it. The
// context ends with ctx, when the command's Stdout fails or it prints too much,
// for that reason, and with the cancel function, which the caller calls in any case.
func NewOutput(ctx context.Context, cmd sandbox.Command) (context.Context, *Output, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	limit := cmd.MaxOutput
	if limit == 0 {
		limit = MaxOutput
	}
	o := &Output{out: NewCapture(limit), err: NewCapture(limit)}
	o.Stdout, o.Stderr = o.out, o.err
	if cmd.Stdout != nil {
		o.Stdout = handOn{cmd.Stdout, cancel}
	}
	if cmd.MaxPrinted > 0 {
		var printed atomic.Int64
		o.Stdout, o.Stderr = metered{o.Stdout, &printed, cmd.MaxPrinted, cancel}, metered{o.Stderr, &printed, cmd.MaxPrinted, cancel}
	}
	return ctx, o, func() { cancel(nil) }
}

// Result is what was printed. The command has ended.
func (o *Output) Result() sandbox.Result {
	return sandbox.Result{Stdout: o.out.Bytes(), Stderr: o.err.Bytes(), Truncated: o.out.Truncated() || o.err.Truncated()}
}

// handOn ends the command when nobody takes what it prints.
type handOn struct {
	to     io.Writer
	cancel context.CancelCauseFunc
}

func (h handOn) Write(p []byte) (int, error) {
	n, err := h.to.Write(p)
	if err != nil {
		h.cancel(fmt.Errorf("hand on what the command prints: %w", err))
	}
	return n, err
}

// metered ends the command when it and its sibling have been written too much.
type metered struct {
	to      io.Writer
	printed *atomic.Int64
	most    int64
	cancel  context.CancelCauseFunc
}

func (m metered) Write(p []byte) (int, error) {
	if m.printed.Add(int64(len(p))) > m.most {
		m.cancel(sandbox.ErrTooMuch)
		return 0, sandbox.ErrTooMuch
	}
	return m.to.Write(p)
}

// Capture is a writer that keeps the first bytes written to it.
type Capture struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no limit
	left int
	cut  bool
}

// Bytes are what was kept.
func (c *Capture) Bytes() []byte { return c.kept.Bytes() }

// String is what was kept.
func (c *Capture) String() string { return c.kept.String() }

// Truncated says whether more was written.
func (c *Capture) Truncated() bool { return c.cut }

// NewCapture keeps as many bytes as limit says.
func NewCapture(limit int) *Capture { return &Capture{left: limit} }

// Write takes everything and keeps what there is room for.
func (c *Capture) Write(p []byte) (int, error) {
	keep := p[:min(len(p), c.left)]
	c.left -= len(keep)
	c.cut = c.cut || len(keep) < len(p)
	c.kept.Write(keep)
	return len(p), nil
}
