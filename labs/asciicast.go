package labs

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"drydock/sandbox"
)

// A recording is an asciicast v3 file, appended to while the terminal lives
// and continued after a restart of the server. How much of the shell's output
// it holds is read from the file itself, so that the shell can be asked for
// exactly what is missing.
//
// An asciicast holds text, but a shell prints bytes, and offsets count bytes.
// What the format has no word for stands in comment lines, which players skip:
//
//	#raw BASE64       the bytes of the next output event, where they are not valid UTF-8
//	#lost N           N bytes of output were printed and never seen
//	#base N           offset N of the recording is offset 0 of the shell's own count
//	#closed           the tab was closed; any later event opens it again
//	#at OUTPUT        written over in place once the file has reached its limit
type recording struct {
	f      *os.File
	origin time.Time // of the header, in whole seconds; event times add up from here
	last   int64     // time of the last event, ms after origin

	output int64 // bytes of output so far, lost ones included
	base   int64 // see #base
	closed bool

	size   int64 // of the file up to the last complete line
	limit  int64
	fullAt int64 // where the #at line begins; 0: the limit is not reached
	err    error // of a write that failed: nothing is written any more
}

const (
	rawComment    = "#raw "
	lostComment   = "#lost "
	baseComment   = "#base "
	closedComment = "#closed"
	atComment     = "#at "
	// atWidth keeps the #at line at one length, whatever it counts.
	atWidth = 20
)

// castHeader is the first line of a recording.
type castHeader struct {
	Version   int      `json:"version"`
	Term      castTerm `json:"term"`
	Timestamp int64    `json:"timestamp"` // Unix seconds
	Title     string   `json:"title,omitempty"`
}

type castTerm struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
	Type string `json:"type"`
}

// castEvent is one event line: [seconds since the event before, code, data].
type castEvent struct {
	ms   int64
	code string
	data string
}

// openRecording opens or makes the file at path. keep gets, in order, all
// output that an existing file holds, with its offset. What follows the last
// line that can be read, such as one torn by a crash, is cut off.
func openRecording(path string, size sandbox.Size, now time.Time, limit int64, keep func(offset int64, p []byte)) (*recording, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for recordings: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the recording: %w", err)
	}
	r := &recording{f: f, limit: limit}
	if err := r.load(keep); err != nil {
		f.Close()
		return nil, fmt.Errorf("read the recording %s: %w", path, err)
	}
	if r.size == 0 {
		r.begin(size, now)
	}
	if r.err != nil {
		f.Close()
		return nil, r.err
	}
	return r, nil
}

// begin writes the header of a new recording.
func (r *recording) begin(size sandbox.Size, now time.Time) {
	r.origin = now.Truncate(time.Second)
	line, err := json.Marshal(castHeader{
		Version:   3,
		Term:      castTerm{Cols: size.Cols, Rows: size.Rows, Type: "xterm-256color"},
		Timestamp: r.origin.Unix(),
	})
	if err != nil {
		r.err = fmt.Errorf("encode the recording's header: %w", err)
		return
	}
	r.write(append(line, '\n'))
}

// load reads what is there and cuts off what can't be read.
func (r *recording) load(keep func(int64, []byte)) error {
	in := bufio.NewReaderSize(r.f, chunkSize)
	var raw []byte // announced by the line before
	var read int64
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break // without its end the line is torn
		}
		if err != nil {
			return err
		}
		if raw, err = r.loadLine(bytes.TrimSuffix(line, []byte("\n")), raw, keep); err != nil {
			break
		}
		read += int64(len(line))
		if raw == nil { // a #raw line counts only together with its event
			r.size = read
		}
	}
	return r.f.Truncate(r.size)
}

// loadLine takes in one line. It returns the bytes that a #raw line announces.
func (r *recording) loadLine(line, raw []byte, keep func(int64, []byte)) ([]byte, error) {
	if r.size == 0 {
		return nil, r.loadHeader(line)
	}
	if bytes.HasPrefix(line, []byte("#")) {
		return r.loadComment(string(line))
	}
	e, err := parseCastEvent(line)
	if err != nil {
		return nil, err
	}
	r.last += e.ms
	r.closed = false
	if e.code == "o" {
		p := []byte(e.data)
		if raw != nil {
			p = raw
		}
		keep(r.output, p)
		r.output += int64(len(p))
	}
	return nil, nil
}

func (r *recording) loadHeader(line []byte) error {
	var h castHeader
	if err := json.Unmarshal(line, &h); err != nil {
		return err
	}
	if h.Version != 3 {
		return fmt.Errorf("asciicast version %d, not 3", h.Version)
	}
	r.origin = time.Unix(h.Timestamp, 0)
	return nil
}

func (r *recording) loadComment(line string) (raw []byte, err error) {
	var n int64
	switch {
	case strings.HasPrefix(line, rawComment):
		return base64.StdEncoding.DecodeString(line[len(rawComment):])
	case strings.HasPrefix(line, lostComment):
		n, err = strconv.ParseInt(line[len(lostComment):], 10, 64)
		r.output += n
	case strings.HasPrefix(line, baseComment):
		r.base, err = strconv.ParseInt(line[len(baseComment):], 10, 64)
		r.closed = false
	case line == closedComment:
		r.closed = true
	case strings.HasPrefix(line, atComment):
		r.fullAt = r.size
		r.output, err = strconv.ParseInt(strings.TrimLeft(line[len(atComment):], " "), 10, 64)
	}
	return nil, err
}

func parseCastEvent(line []byte) (castEvent, error) {
	var fields [3]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return castEvent{}, err
	}
	var e castEvent
	var seconds float64
	if err := errors.Join(json.Unmarshal(fields[0], &seconds), json.Unmarshal(fields[1], &e.code), json.Unmarshal(fields[2], &e.data)); err != nil {
		return castEvent{}, err
	}
	e.ms = int64(seconds*1000 + 0.5)
	return e, nil
}

// Output records what the shell printed. UTF-8 sequences should be whole; see [completeUTF8].
func (r *recording) Output(p []byte, now time.Time) {
	r.output += int64(len(p))
	var lines []byte
	if !utf8.Valid(p) {
		lines = base64.StdEncoding.AppendEncode([]byte(rawComment), p)
		lines = append(lines, '\n')
	}
	if r.fullAt == 0 && r.size+int64(len(lines)+len(p)) >= r.limit {
		r.event(now, "m", "The recording has reached its limit; what follows is not kept")
		r.fullAt = r.size
	}
	if r.fullAt > 0 {
		r.overwrite("")
		return
	}
	r.write(r.appendEvent(lines, now, "o", string(p)))
}

// Lost notes that n bytes of output can't be had any more.
func (r *recording) Lost(n int64, now time.Time) {
	r.output += n
	r.comment(lostComment + strconv.FormatInt(n, 10))
	r.event(now, "m", fmt.Sprintf("%d bytes of output were not recorded", n))
}

// Rebase notes that the shell counts its output anew, and has printed printed bytes.
func (r *recording) Rebase(printed int64) {
	r.base = r.output - printed
	r.comment(baseComment + strconv.FormatInt(r.base, 10))
	r.closed = false
}

// Resize records the terminal's new size.
func (r *recording) Resize(size sandbox.Size, now time.Time) {
	r.event(now, "r", fmt.Sprintf("%dx%d", size.Cols, size.Rows))
}

// Exit records that the shell ended with a status.
func (r *recording) Exit(status int, now time.Time) { r.event(now, "x", strconv.Itoa(status)) }

// CloseTab notes that the learner closed the tab.
func (r *recording) CloseTab() {
	r.comment(closedComment)
	r.closed = true
}

// Close closes the file.
func (r *recording) Close() error { return r.f.Close() }

func (r *recording) event(now time.Time, code, data string) {
	if r.fullAt == 0 {
		r.write(r.appendEvent(nil, now, code, data))
	}
}

// comment writes a comment line.
func (r *recording) comment(text string) {
	if r.fullAt == 0 {
		r.write([]byte(text + "\n"))
		return
	}
	r.overwrite(text + "\n")
}

// overwrite brings the #at line at the end of a full recording up to date and
// puts the lines before it.
func (r *recording) overwrite(before string) {
	if r.err != nil {
		return
	}
	lines := fmt.Sprintf("%s%s%*d\n", before, atComment, atWidth, r.output)
	if _, err := r.f.WriteAt([]byte(lines), r.fullAt); err != nil {
		r.err = fmt.Errorf("write the recording: %w", err)
		return
	}
	r.size = r.fullAt + int64(len(lines))
	r.fullAt += int64(len(before))
}

// appendEvent appends an event line. Times are rounded to milliseconds of
// absolute time, so that the intervals' errors do not add up.
func (r *recording) appendEvent(to []byte, now time.Time, code, data string) []byte {
	at := max(r.last, now.Sub(r.origin).Milliseconds())
	delta := at - r.last
	r.last = at
	var text bytes.Buffer
	enc := json.NewEncoder(&text) // ends with a newline
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		r.err = fmt.Errorf("encode an event of the recording: %w", err)
		return to
	}
	to = fmt.Appendf(to, "[%d.%03d, %q, ", delta/1000, delta%1000, code)
	to = append(to, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
	return append(to, "]\n"...)
}

// write appends complete lines with one system call. After a failure, such as
// a full disk, what was written in part is taken back and the recording ends.
func (r *recording) write(lines []byte) {
	if r.err != nil {
		return
	}
	if _, err := r.f.WriteAt(lines, r.size); err != nil {
		r.err = errors.Join(fmt.Errorf("write the recording: %w", err), r.f.Truncate(r.size))
		return
	}
	r.size += int64(len(lines))
}

// completeUTF8 returns the length of p without a UTF-8 sequence that is cut off at its end.
func completeUTF8(p []byte) int {
	for i := 1; i <= min(len(p), utf8.UTFMax-1); i++ {
		b := p[len(p)-i]
		if utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-i:]) {
				return len(p) - i
			}
			break
		}
	}
	return len(p)
}
