package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
)

// authorsProgram drives `lab start --json` as a program would.
type authorsProgram struct {
	t        *testing.T
	commands io.WriteCloser
	lines    chan map[string]any
	passed   []map[string]any // those that nobody waited for yet
}

// next waits for a line of a type that fits, leaving aside what comes before it.
func (p *authorsProgram) next(kind string, fits func(line map[string]any) bool) map[string]any {
	p.t.Helper()
	timeout := time.After(startWithin)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("it ended, and no %s came; what came: %v", kind, p.passed)
			}
			p.passed = append(p.passed, line)
			if line["type"] == kind && (fits == nil || fits(line)) {
				return line
			}
		case <-timeout:
			p.t.Fatalf("no %s came; what came: %v", kind, p.passed)
		}
	}
}

func (p *authorsProgram) say(command string) {
	p.t.Helper()
	if _, err := io.WriteString(p.commands, command+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func taskIs(id string, done bool) func(map[string]any) bool {
	return func(line map[string]any) bool { return line["id"] == id && (line["done"] == true) == done }
}

// TestLabStartForAProgram makes a lab, mends it and edits it meanwhile, on a real machine.
func TestLabStartForAProgram(t *testing.T) {
	needsEngine(t)
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program(t), args...)
		cmd.Dir, cmd.Stderr = dir, t.Output()
		return cmd
	}
	if err := run("lab", "new", "board", "--kind", "machine").Run(); err != nil {
		t.Fatal(err)
	}
	cmd := run("lab", "start", "./board", "--variant", "link", "--json", "--data", filepath.Join(dir, "data"))
	commands, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &authorsProgram{t: t, commands: commands, lines: make(chan map[string]any)}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			var line map[string]any
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Errorf("not JSON: %s", scanner.Text())
			}
			select {
			case p.lines <- line:
			case <-t.Context().Done():
				return
			}
		}
	}()
	edit := func(old, now string) {
		t.Helper()
		file := filepath.Join(dir, "board", "lab.yaml")
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte(old)) {
			t.Fatalf("no %q in lab.yaml: %v", old, err)
		}
		if err := os.WriteFile(file, bytes.Replace(text, []byte(old), []byte(now), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	first := p.next("ready", nil)
	p.say("run ln -sfn ../archive/monday.txt /srv/board/public/notes.txt")
	if ran := p.next("run", nil); ran["exit"] != 0.0 {
		t.Errorf("run: %v", ran)
	}
	p.next("task", taskIs("show", true))
	edit("response.code == 200 &&", "response.cod == 200 &&")
	if broken := p.next("problems", nil)["problems"].([]any)[0].(map[string]any); broken["file"] != "board/lab.yaml" || broken["line"] == 0.0 {
		t.Errorf("problem: %v", broken)
	}
	edit("response.cod == 200 &&", "response.code == 418 &&")
	p.next("task", taskIs("show", false))
	edit("response.code == 418 &&", "response.code == 200 &&")
	p.next("task", taskIs("show", true))
	p.say("answer diagnose 2")
	if answer := p.next("answer", nil); answer["right"] != true {
		t.Errorf("answer: %v", answer)
	}
	p.say("reset mod")
	if refused := p.next("error", nil); !strings.Contains(refused["error"].(string), `did you mean "mode"?`) {
		t.Errorf("error: %v", refused)
	}
	p.say("reset mode")
	if again := p.next("ready", nil); again["variant"] != "mode" || again["version"] != first["version"] {
		t.Errorf("after the reset: %v; before: %v", again, first)
	}
	p.say("tasks")
	if tasks := p.next("tasks", nil); tasks["points"] != 0.0 {
		t.Errorf("tasks: %v", tasks)
	}
	p.say("end")
	for range p.lines {
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestKeyboardGivesLinesAndKeepsTheRest(t *testing.T) {
	in, out := io.Pipe()
	k := newKeyboard(in)
	go func() {
		for _, typed := range []string{"asks\nhint", " show\n\x1b[A", ""} {
			if _, err := io.WriteString(out, typed); err != nil {
				t.Error(err)
			}
		}
		out.Close()
	}()
	k.unread([]byte("t"))
	for _, want := range []string{"tasks", "hint show"} {
		if line, ok := k.line(); !ok || line != want {
			t.Errorf("line %q, %v, want %q", line, ok, want)
		}
	}
	if rest := k.take(); string(rest) != "\x1b[A" {
		t.Errorf("left for the shell: %q", rest)
	}
	if line, ok := k.line(); ok {
		t.Errorf("a line after the end: %q", line)
	}
}

// Words for a file have no colours; each event is told in a line or more.
func TestRehearsalIsToldInWords(t *testing.T) {
	var out bytes.Buffer
	w := newRehearsalWords(&out, "\r\n")
	for _, e := range []labs.RehearsalEvent{
		{Type: labs.RehearsalReady, Version: "v1", Variant: "typo"},
		{Type: labs.RehearsalCheck, ID: "a", Verdict: grade.Fail, Holding: true},
		{Type: labs.RehearsalCheck, ID: "a", Verdict: grade.Pass},
		{Type: labs.RehearsalCheck, ID: "a", Verdict: grade.Fail, Reason: "it is 1, wanted 2"},
		{Type: labs.RehearsalCheck, ID: "a", Verdict: grade.Error, Reason: "nobody answers"},
		{Type: labs.RehearsalGuard, ID: "g", Verdict: grade.Fail, Reason: "gone"},
		{Type: labs.RehearsalTask, ID: "t", Done: true},
		{Type: labs.RehearsalTask, ID: "t"},
		{Type: labs.RehearsalReload, Version: "v2", Reset: []string{"setup"}, Baselines: []string{"g"}},
		{Type: labs.RehearsalProblems, Problems: labs.Problems{{File: "lab.yaml", Line: 3, Msg: "unknown field"}}},
		{Type: labs.RehearsalStopped, Reason: "no cluster"},
	} {
		w.told(e)
	}
	want := []string{
		" drydock  the lab is ready (version v1, variant typo)",
		" drydock  … a holds, but not yet for long enough",
		" drydock  ✓ a",
		" drydock  ✗ a: it is 1, wanted 2",
		" drydock  ! a could not be looked at: nobody answers",
		" drydock  a guard was violated: g: gone",
		" drydock  done: t",
		" drydock  no longer done: t",
		" drydock  reloaded: judged by version v2 from now on",
		"          compared with now, and not with the hand-over: g",
		"          only a fresh sandbox shows: setup (Ctrl-] and reset)",
		" drydock  the lab has errors; what is judged is the last version without:",
		"          lab.yaml:3: unknown field",
		" drydock  nothing is judged any more: no cluster",
	}
	got := slices.DeleteFunc(strings.Split(out.String(), "\r\n"), func(line string) bool { return line == "" })
	if !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A program that does not read any more ends the rehearsal.
func TestRehearsalLinesEndWithTheirReader(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	lines := newRehearsalLines(w, strings.NewReader("nonsense\nnonsense\n"), nil)
	lab := &labs.Lab{Slug: "lab"}
	rehearsal := labs.NewRehearsal(nil, "start", lab, labs.Variant{}, lines.told)
	if err := lines.rehearse(t.Context(), rehearsal); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}
