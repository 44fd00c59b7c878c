package image

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCachedStageRunsOncePerKey(t *testing.T) {
	var seen []Stage
	s := &stages{cache: filepath.Join(t.TempDir(), "cache"), total: 9, report: func(st Stage) { seen = append(seen, st) }, log: &bytes.Buffer{}}
	runs := 0
	stage := func(word string) string {
		dir, err := s.cached(t.Context(), "Make it", "it", newKey(word), func(dir string) error {
			runs++
			return os.WriteFile(filepath.Join(dir, "result"), []byte(word), 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := stage("one")
	if stage("one") != first || runs != 1 {
		t.Errorf("the same key ran %d times", runs)
	}
	if last := seen[len(seen)-1]; !last.Done || !last.Cached {
		t.Errorf("the second time was reported as %+v", last)
	}
	second := stage("two")
	if text, err := os.ReadFile(filepath.Join(second, "result")); err != nil || string(text) != "two" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the result of the former key is still there: %v", err)
	}
}

func TestFailedOrCancelledStageLeavesNothing(t *testing.T) {
	s := &stages{cache: t.TempDir(), report: func(Stage) {}, log: &bytes.Buffer{}}
	ctx, cancel := context.WithCancel(t.Context())
	for name, fn := range map[string]func(string) error{
		"failed": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), errors.New("broken"))
		},
		"cancelled": func(string) error { cancel(); return nil },
	} {
		if _, err := s.cached(ctx, "Make it", "it", newKey(name), fn); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	left, err := os.ReadDir(s.cache)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

func TestToolErrorsShowTheirOutput(t *testing.T) {
	err := run(t.Context(), command(t.Context(), "", "sh", "-c", "echo what is wrong >&2; exit 3"), &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "what is wrong") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	err = run(t.Context(), command(t.Context(), "", "no-such-tool-anywhere"), &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "setup.sh up") {
		t.Errorf("a missing tool: %v", err)
	}
}

// Cancelling must reach the processes that a tool has started, or a build would
// go on behind the back of whoever stopped it.
func TestCancelStopsTheWholeTool(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	why := errors.New("stopped by the user")
	cmd := command(ctx, "", "sh", "-c", `sleep 600 & echo $! >"$1.new" && mv "$1.new" "$1"; wait`, "sh", started)
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err == nil {
				cancel(why)
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	if err := run(ctx, cmd, &bytes.Buffer{}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(started)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel carries a kill out in its own time, and a process that has ended
	// may stay as a zombie until its parent looks.
	for give := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		if time.Now().After(give) {
			t.Fatalf("the tool's child still runs: %s", status)
		}
	}
}

func TestPrinterOffATerminal(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinter(&out, false)
	for _, s := range []Stage{
		{Name: "Build it", Index: 1, Total: 2},
		{Name: "Build it", Index: 1, Total: 2, Done: true, Cached: true},
		{Name: "Keep it", Index: 2, Total: 2},
		{Name: "Keep it", Index: 2, Total: 2, Done: true, Err: errors.New("full"), Took: 1234 * time.Millisecond},
	} {
		p.Report(s)
	}
	p.Close()
	want := "[1/2] Build it\n[1/2] Build it: nothing to do\n[2/2] Keep it\n[2/2] Keep it: failed after 1.2s\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestPrinterOnATerminalEndsOnALineOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinter(&out, true)
	p.Report(Stage{Name: "Build it", Index: 3, Total: 4})
	p.Report(Stage{Name: "Build it", Index: 3, Total: 4, Done: true, Took: time.Second})
	p.Close()
	if !strings.Contains(out.String(), "[############------------] 3/4 Build it") || !strings.HasSuffix(out.String(), "Build it: 1s\n") {
		t.Errorf("got %q", out.String())
	}
}
