package labs

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"drydock/sandbox"
)

var castStart = time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC)

// openTestRecording opens the file and returns, too, the output it held.
func openTestRecording(t *testing.T, path string, limit int64) (*recording, *bytes.Buffer) {
	t.Helper()
	var kept bytes.Buffer
	r, err := openRecording(path, sandbox.Size{Cols: 80, Rows: 24}, castStart, limit, func(offset int64, p []byte) {
		if offset != int64(kept.Len()) {
			t.Errorf("output at %d follows output up to %d", offset, kept.Len())
		}
		kept.Write(p)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, &kept
}

func TestRecordingIsAsciicastV3(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "1.cast")
	r, _ := openTestRecording(t, path, 1<<20)
	r.Output([]byte("$ <&> \x1b[1m\r\n"), castStart.Add(time.Second))
	r.Resize(sandbox.Size{Cols: 100, Rows: 30}, castStart.Add(1500*time.Millisecond))
	r.event(castStart.Add(1500*time.Millisecond), "m", "task done: serve")
	r.Exit(3, castStart.Add(90*time.Second))
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":3,"term":{"cols":80,"rows":24,"type":"xterm-256color"},"timestamp":1795341600}
[1.250, "o", "$ <&> \u001b[1m\r\n"]
[0.500, "r", "100x30"]
[0.000, "m", "task done: serve"]
[88.500, "x", "3"]
`
	if string(got) != want {
		t.Errorf("the recording is\n%s\nnot\n%s", got, want)
	}
}

// Rounding must not add up: after a thousand events of 1/3 ms the times are right.
func TestRecordingTimesDoNotDrift(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.cast")
	r, _ := openTestRecording(t, path, 1<<20)
	for i := range 3001 {
		r.Output([]byte("x"), r.origin.Add(time.Duration(i)*time.Millisecond/3))
	}
	if r.last != 1000 {
		t.Errorf("the last event is at %d ms, not at 1000", r.last)
	}
	again, _ := openTestRecording(t, path, 1<<20)
	if again.last != 1000 || !again.origin.Equal(r.origin) {
		t.Errorf("read again it is at %d ms after %v", again.last, again.origin)
	}
}

// Whatever a shell prints comes back byte for byte, and every line is valid JSON text.
func TestRecordingKeepsEveryByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.cast")
	r, _ := openTestRecording(t, path, 1<<30)
	noise := make([]byte, 20000)
	rand.Read(noise)
	all := append([]byte(strings.Repeat("héllo ✓ 🚢\r\n", 500)), noise...)
	var held []byte
	for i := 0; i < len(all); i += 7 { // 7 splits every sequence somewhere
		p := append(held, all[i:min(i+7, len(all))]...)
		n := completeUTF8(p)
		r.Output(p[:n], castStart)
		held = append([]byte(nil), p[n:]...)
	}
	r.Output(held, castStart)
	if r.output != int64(len(all)) {
		t.Errorf("%d bytes counted, %d printed", r.output, len(all))
	}
	again, kept := openTestRecording(t, path, 1<<30)
	if again.output != int64(len(all)) || !bytes.Equal(kept.Bytes(), all) {
		t.Errorf("read again it has %d bytes, not the same %d", kept.Len(), len(all))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(text) {
		t.Error("the file is not UTF-8")
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") && !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if strings.Contains(strings.SplitN(string(text), "#raw", 2)[0], `\ufffd`) {
		t.Error("valid text was recorded as broken")
	}
}

// After a crash at any byte of the file, what was complete is there and the
// recording goes on from there without a gap.
func TestRecordingSurvivesBeingTornAnywhere(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.cast")
	r, _ := openTestRecording(t, whole, 1<<20)
	printed := []byte("one\r\n\xff\xfetwo ✓\r\n\x80three")
	for i := range printed {
		r.Output(printed[i:i+1], castStart.Add(time.Duration(i)*time.Second))
	}
	r.Rebase(0)
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) + 1 {
		torn := filepath.Join(dir, fmt.Sprintf("%d.cast", cut))
		if err := os.WriteFile(torn, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r, kept := openTestRecording(t, torn, 1<<20)
		if !bytes.HasPrefix(printed, kept.Bytes()) || r.output != int64(kept.Len()) {
			t.Fatalf("torn at %d: %q, %d bytes counted", cut, kept, r.output)
		}
		r.Output(printed[kept.Len():], castStart.Add(time.Hour))
		r.Close()
		again, kept := openTestRecording(t, torn, 1<<20)
		if !bytes.Equal(kept.Bytes(), printed) || again.output != int64(len(printed)) {
			t.Fatalf("torn at %d and continued: %q, %d bytes counted", cut, kept, again.output)
		}
		again.Close()
	}
}

// At its limit a recording stops growing, says so, and still knows how much was printed.
func TestRecordingIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.cast")
	const limit = 4 << 10
	r, _ := openTestRecording(t, path, limit)
	line := bytes.Repeat([]byte("x"), 100)
	for range 1000 {
		r.Output(line, castStart)
	}
	r.Lost(50, castStart)
	r.Rebase(7)
	r.Output(line, castStart)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > limit+1000 {
		t.Errorf("the file has %d bytes, the limit is %d", info.Size(), limit)
	}
	text, _ := os.ReadFile(path)
	if !strings.Contains(string(text), `"m", "The recording has reached its limit`) {
		t.Error("the limit is not marked")
	}
	again, _ := openTestRecording(t, path, limit)
	if again.output != 100_150 || again.base != 100_043 {
		t.Errorf("read again: %d bytes, base %d", again.output, again.base)
	}
	again.Output(line, castStart)
	once, _ := openTestRecording(t, path, limit)
	if once.output != 100_250 || once.base != 100_043 {
		t.Errorf("continued: %d bytes, base %d", once.output, once.base)
	}
}

func TestRecordingKnowsClosedTabs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.cast")
	r, _ := openTestRecording(t, path, 1<<20)
	r.Output([]byte("$ "), castStart)
	r.CloseTab()
	again, _ := openTestRecording(t, path, 1<<20)
	if !again.closed {
		t.Error("a closed tab is open after a restart")
	}
	again.Output([]byte("$ "), castStart)
	if once, _ := openTestRecording(t, path, 1<<20); once.closed {
		t.Error("a tab opened again is closed after a restart")
	}
}

// What players get: no comments, with marks at their times, intervals still right.
func TestWriteRecordingMergesMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.cast")
	r, _ := openTestRecording(t, path, 1<<20)
	r.Output([]byte("a\xff"), castStart.Add(time.Second))
	r.Output([]byte("b"), castStart.Add(3*time.Second))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out strings.Builder
	err = WriteRecording(&out, f, []RecordingMark{
		{At: castStart.Add(-time.Hour), Label: "before"},
		{At: castStart.Add(2 * time.Second), Label: `done "serve"`},
		{At: castStart.Add(time.Minute), Label: "after"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":3,"term":{"cols":80,"rows":24,"type":"xterm-256color"},"timestamp":1795341600}
[0.000, "m", "before"]
[1.250, "o", "a�"]
[1.000, "m", "done \"serve\""]
[1.000, "o", "b"]
[57.000, "m", "after"]
`
	if got := strings.ReplaceAll(out.String(), `\ufffd`, "�"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzRecordingLoad(f *testing.F) {
	f.Add([]byte(`{"version":3,"term":{"cols":80,"rows":24,"type":"x"},"timestamp":1}` + "\n[1.0, \"o\", \"x\"]\n#raw /w==\n[0,\"o\",\"y\"]\n#lost 3\n#base 2\n#closed\n#at 9\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "1.cast")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		size := sandbox.Size{Cols: 80, Rows: 24}
		r, err := openRecording(path, size, castStart, 1<<20, func(int64, []byte) {})
		if err != nil {
			t.Fatal(err) // a damaged file is cut, never refused
		}
		r.Output([]byte("more"), castStart)
		want := r.output
		r.Close()
		again, err := openRecording(path, size, castStart, 1<<20, func(int64, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if again.output != want {
			t.Errorf("%d bytes after reopening, %d before", again.output, want)
		}
	})
}
