package trail

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxCommand bounds the text of a command that is kept, in bytes.
	MaxCommand = 1 << 10
	// maxMark bounds one mark: a command's text, in which each byte may take four.
	maxMark = 8 << 10
)

// Command is one that the learner's shell says it has run.
type Command struct {
	Text  string // masked, without control characters, at most MaxCommand bytes; empty: the shell did not tell it
	At    time.Time
	Took  time.Duration
	Code  int
	Ended bool // false: it was still running when the terminal was left
}

// Marks finds the marks of shell integration in a terminal's output: those of
// FinalTerm (OSC 133) and of Visual Studio Code (OSC 633), as the shells print
// them that package shell starts.
//
//	ESC ] 133 ; A BEL           a prompt is printed
//	ESC ] 633 ; E ; TEXT BEL    the command line, escaped
//	ESC ] 133 ; C BEL           it is run from here on
//	ESC ] 133 ; D ; CODE BEL    it has ended
//
// A mark may end with ESC \ instead of BEL. The output can be cut anywhere.
type Marks struct {
	state   markState
	mark    []byte // after ESC ]
	text    string
	told    bool // text belongs to the command that comes next
	running *Command
}

type markState int

const (
	plain     markState = iota
	escaped             // after ESC
	inMark              // after ESC ]
	inEscaped           // after ESC within a mark
)

const (
	esc = 0x1b
	bel = 0x07
)

// Write takes in output that was printed at a time, and returns the commands
// that ended in it.
func (m *Marks) Write(p []byte, at time.Time) []Command {
	var ended []Command
	for len(p) > 0 {
		if m.state == plain {
			i := bytes.IndexByte(p, esc)
			if i < 0 {
				return ended
			}
			m.state, p = escaped, p[i+1:]
			continue
		}
		b := p[0]
		p = p[1:]
		if m.take(b) {
			if c, ok := m.read(at); ok {
				ended = append(ended, c)
			}
		}
	}
	return ended
}

// take takes one byte outside of plain output; true: a mark is complete.
func (m *Marks) take(b byte) bool {
	switch {
	case m.state == escaped && b == ']':
		m.state, m.mark = inMark, m.mark[:0]
	case m.state == escaped && b == esc:
	case m.state == escaped:
		m.state = plain
	case m.state == inEscaped && b == '\\', m.state == inMark && b == bel:
		m.state = plain
		return true
	case m.state == inEscaped: // the mark was broken off by another sequence
		m.state = escaped
		return m.take(b)
	case b == esc:
		m.state = inEscaped
	case len(m.mark) == maxMark, len(m.mark) == 4 && !ours(m.mark):
		m.state = plain // none of ours: where it ends does not matter
	default:
		m.mark = append(m.mark, b)
	}
	return false
}

func ours(mark []byte) bool {
	return bytes.HasPrefix(mark, []byte("133;")) || bytes.HasPrefix(mark, []byte("633;"))
}

// read understands a complete mark. ok: it says that a command has ended.
func (m *Marks) read(at time.Time) (c Command, ok bool) {
	if !ours(m.mark) {
		return c, false
	}
	what, rest, _ := strings.Cut(string(m.mark[4:]), ";")
	switch what {
	case "E":
		m.text, m.told = commandText(rest), true
	case "C":
		m.running = &Command{At: at}
		if m.told {
			m.running.Text = m.text
		}
		m.text, m.told = "", false
	case "D":
		if m.running == nil {
			break
		}
		c, m.running = *m.running, nil
		code, _, _ := strings.Cut(rest, ";")
		c.Code, _ = strconv.Atoi(code) // without a number it is 0, as the format says
		c.Took, c.Ended = at.Sub(c.At), true
		return c, true
	}
	return c, false
}

// Running is the command that runs now, if there is one. It is then forgotten:
// that it ends is told no more.
func (m *Marks) Running(at time.Time) (Command, bool) {
	if m.running == nil {
		return Command{}, false
	}
	c := *m.running
	m.running = nil
	c.Took = at.Sub(c.At)
	return c, true
}

// commandText undoes the escapes of a command line (\\ and \xHH), masks it and
// makes it fit.
func commandText(escapedText string) string {
	text, _, _ := strings.Cut(escapedText, ";") // what follows is a nonce
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		if text[i] == 'x' && i+2 < len(text) {
			if v, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return cut(strings.TrimSpace(clean(MaskText(strings.ToValidUTF8(b.String(), "")), false)), MaxCommand)
}
