package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"drydock/sandbox"
)

// The terminal is as wide as the outputs of articles are written for.
var screenSize = sandbox.Size{Cols: 100, Rows: 40}

const (
	esc = 0x1b
	bel = 0x07
	// maxPrinted bounds what is kept of one command's output.
	maxPrinted     = 1 << 20
	interrupt      = "\x03"
	interruptAgain = 500 * time.Millisecond
	// interruptGrace is how long a command may take to end at Ctrl-C.
	interruptGrace = 5 * time.Second
)

// errEndless: a command did not end.
var errEndless = errors.New("it does not end")

// shell is bash in a terminal of a sandbox. It marks what commands print
// (FinalTerm's OSC 133; see package sandbox/shell), and readline says when it
// reads by switching bracketed paste on.
type shell struct {
	term   sandbox.Terminal
	events chan event
	failed chan error // why no more events come
}

// event is one thing that the terminal's output tells.
type event struct {
	kind eventKind
	text string // printed
	code int    // of the command that has ended
}

type eventKind int

const (
	printed eventKind = iota
	begun             // a command runs from here on
	ended             // it has ended, with a code
	reads             // the shell waits for a line
)

// newShell attaches to a terminal and waits for its first prompt.
func newShell(ctx context.Context, p sandbox.Provider, session, tab string) (*shell, error) {
	term, err := p.Terminal(ctx, session, sandbox.TerminalSpec{Tab: tab, Size: screenSize})
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	s := &shell{term: term, events: make(chan event), failed: make(chan error, 1)}
	go s.listen(ctx)
	for {
		e, err := s.next(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("wait for the first prompt: %w", err), term.Close())
		}
		if e.kind == reads {
			return s, nil
		}
	}
}

func (s *shell) next(ctx context.Context) (event, error) {
	select {
	case e := <-s.events:
		return e, nil
	case err := <-s.failed:
		return event{}, err
	case <-ctx.Done():
		return event{}, context.Cause(ctx)
	}
}

// listen reads the terminal until it fails, or ctx ends.
func (s *shell) listen(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = s.term.Close() })() // makes Read return
	var scan scanner
	buf := make([]byte, 32<<10)
	for {
		n, err := s.term.Read(buf)
		for _, e := range scan.write(buf[:n]) {
			select {
			case s.events <- e:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the shell has ended")
			}
			s.failed <- err
			return
		}
	}
}

// run types a line, and returns what its command printed. more says that the
// shell wants another line before it runs anything.
func (s *shell) run(ctx context.Context, line string, limit time.Duration) (output string, code int, more bool, err error) {
	if _, err := io.WriteString(s.term, line+"\r"); err != nil {
		return "", 0, false, fmt.Errorf("type a line: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out strings.Builder
	running, ran, over := false, false, false
	for {
		e, err := s.next(within)
		switch {
		case err != nil && ctx.Err() == nil && within.Err() != nil:
			return plain(out.String()), 0, false, s.interrupt(ctx)
		case err != nil:
			return plain(out.String()), 0, false, err
		}
		switch e.kind {
		case begun:
			running, ran = true, true
		case ended:
			running, over = false, true
			if ran { // else it was a remark, or nothing, and the code is that of the command before
				code = e.code
			}
		case printed:
			if running && out.Len() < maxPrinted {
				out.WriteString(e.text)
			}
		case reads:
			if over || !running {
				return plain(out.String()), code, !over, nil
			}
		}
	}
}

// interrupt ends a command that does not end by itself, or is not whole, so
// that the shell can be used again; the error is [errEndless] then.
func (s *shell) interrupt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, interruptGrace)
	defer cancel()
	// One that comes while readline makes itself ready is lost.
	again := time.NewTicker(interruptAgain)
	defer again.Stop()
	for over, typed := false, false; ; {
		if !typed {
			if _, err := io.WriteString(s.term, interrupt); err != nil {
				return fmt.Errorf("interrupt a command: %w", err)
			}
			typed = true
		}
		select {
		case e := <-s.events:
			over = over || e.kind == ended
			if over && e.kind == reads {
				return errEndless
			}
		case err := <-s.failed:
			return err
		case <-again.C:
			typed = over
		case <-ctx.Done():
			return fmt.Errorf("it does not end at Ctrl-C: %w", context.Cause(ctx))
		}
	}
}

func (s *shell) close() { _ = s.term.Close() }

// plain is what stands on the screen at the end: a carriage return goes back
// to the begin of the line, a backspace one character.
func plain(output string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(output, "\r\n", "\n")) {
		text, newline := strings.CutSuffix(line, "\n")
		if at := strings.LastIndexByte(strings.TrimRight(text, "\r"), '\r'); at >= 0 {
			text = text[at+1:]
		}
		var row []rune
		for _, r := range text {
			switch {
			case r == '\b' && len(row) > 0:
				row = row[:len(row)-1]
			case r == '\t' || r >= ' ' && r != 0x7f:
				row = append(row, r)
			}
		}
		b.WriteString(string(row))
		if newline {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// scanner takes a terminal's output apart. It can be cut anywhere.
type scanner struct{ rest []byte }

// write takes in output and returns what it tells.
func (s *scanner) write(p []byte) []event {
	s.rest = append(s.rest, p...)
	var all []event
	for len(s.rest) > 0 {
		at := bytes.IndexByte(s.rest, esc)
		if at != 0 {
			if at < 0 {
				at = len(s.rest)
			}
			all = append(all, event{kind: printed, text: string(s.rest[:at])})
			s.rest = s.rest[at:]
			continue
		}
		sequence := escape(s.rest)
		if sequence == 0 {
			if len(s.rest) > maxPrinted { // no sequence is that long
				s.rest = s.rest[1:]
				continue
			}
			return all
		}
		if e, ok := told(string(s.rest[:sequence])); ok {
			all = append(all, e)
		}
		s.rest = s.rest[sequence:]
	}
	return all
}

// escape is the length of the escape sequence that p begins with; 0 when it is not whole yet.
func escape(p []byte) int {
	if len(p) < 2 {
		return 0
	}
	switch p[1] {
	case '[': // ECMA-48: parameters and intermediates, then one final byte
		for i, b := range p[2:] {
			if b >= 0x40 && b <= 0x7e {
				return i + 3
			}
		}
		return 0
	case ']', 'P', '_', '^': // to BEL, or to ESC \
		for i := 2; i < len(p); i++ {
			if p[i] == bel {
				return i + 1
			}
			if p[i] == '\\' && p[i-1] == esc {
				return i + 1
			}
		}
		return 0
	case '(', ')', '#', '%':
		if len(p) < 3 {
			return 0
		}
		return 3
	}
	return 2
}

// told is what an escape sequence tells; most tell nothing.
func told(sequence string) (event, bool) {
	if sequence == "\x1b[?2004h" {
		return event{kind: reads}, true
	}
	mark, ok := strings.CutPrefix(strings.TrimRight(sequence, "\x07\\\x1b"), "\x1b]133;")
	switch {
	case !ok:
	case mark == "C":
		return event{kind: begun}, true
	case mark == "D" || strings.HasPrefix(mark, "D;"):
		code, _ := strconv.Atoi(strings.TrimPrefix(mark, "D;"))
		return event{kind: ended, code: code}, true
	}
	return event{}, false
}
