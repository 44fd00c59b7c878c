package labs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// RecordingMark names a moment of a recording.
type RecordingMark struct {
	At    time.Time
	Label string
}

// WriteRecording copies the recording in for a player: without comments, and
// with marks, which must be in order of time, put in at their moments. A torn
// last line is left out, so that a recording can be played while it grows.
func WriteRecording(w io.Writer, in io.Reader, marks []RecordingMark) error {
	lines := bufio.NewReaderSize(in, chunkSize)
	header, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the recording's header: %w", err)
	}
	var source recording
	if err := source.loadHeader(header); err != nil {
		return fmt.Errorf("read the recording's header: %w", err)
	}
	out := &castCopy{w: bufio.NewWriter(w), origin: source.origin, marks: marks}
	out.write(header)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the recording: %w", err)
		}
		if bytes.HasPrefix(line, []byte("#")) {
			continue
		}
		if err := out.event(line); err != nil {
			break // what follows is damaged
		}
	}
	out.marksUntil(time.Time{})
	if err := errors.Join(out.err, out.w.Flush()); err != nil {
		return fmt.Errorf("send the recording: %w", err)
	}
	return nil
}

// castCopy is a recording on its way to a player.
type castCopy struct {
	w      *bufio.Writer
	origin time.Time
	read   int64 // ms of the source's last event
	last   int64 // ms of the last event written
	marks  []RecordingMark
	err    error
}

func (c *castCopy) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
}

func (c *castCopy) event(line []byte) error {
	var fields [3]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return err
	}
	e, err := parseCastEvent(line)
	if err != nil {
		return err
	}
	c.read += e.ms
	c.marksUntil(c.origin.Add(time.Duration(c.read) * time.Millisecond))
	c.emit(c.read, fields[1], fields[2])
	return nil
}

func (c *castCopy) emit(at int64, code, data []byte) {
	at = max(at, c.last)
	delta := at - c.last
	c.last = at
	c.write(fmt.Appendf(nil, "[%d.%03d, %s, %s]\n", delta/1000, delta%1000, code, data))
}

// marksUntil writes the marks up to a moment; all of them for the zero time.
func (c *castCopy) marksUntil(moment time.Time) {
	for len(c.marks) > 0 && (moment.IsZero() || !c.marks[0].At.After(moment)) {
		m := c.marks[0]
		c.marks = c.marks[1:]
		label, err := json.Marshal(m.Label)
		if err != nil { // a string always can be
			c.err = err
			return
		}
		c.emit(max(0, m.At.Sub(c.origin).Milliseconds()), []byte(`"m"`), label)
	}
}

// Recordings are the tabs recorded in dir, in order of their names; none when there is no such folder.
func Recordings(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	var tabs []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), recordingSuffix); ok && validTab(name) {
			tabs = append(tabs, name)
		}
	}
	return tabs, nil
}

// OpenRecording opens a tab's recording in dir. An unknown one, or what can't be a tab's name, is fs.ErrNotExist.
func OpenRecording(dir, tab string) (*os.File, error) {
	if !validTab(tab) {
		return nil, fmt.Errorf("recording of tab %q: %w", tab, fs.ErrNotExist)
	}
	return os.Open(filepath.Join(dir, tab+recordingSuffix))
}
