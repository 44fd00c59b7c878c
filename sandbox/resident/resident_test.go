package resident

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drydock/sandbox"
)

// patience is far longer than any command here takes.
const patience = time.Minute

// here runs commands on this machine as they run on a sandbox's node.
type here struct {
	started atomic.Int64
	mu      sync.Mutex
	latest  *exec.Cmd
}

func (h *here) exec(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	h.started.Add(1)
	c := exec.CommandContext(ctx, cmd.Argv[0], cmd.Argv[1:]...)
	c.Env = append(os.Environ(), cmd.Env...)
	c.WaitDelay = time.Second // what it has started may go on
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if cmd.Stdout != nil {
		c.Stdout = cmd.Stdout
	}
	stdin, err := c.StdinPipe()
	if err != nil {
		return sandbox.Result{}, err
	}
	h.mu.Lock()
	h.latest = c
	err = c.Start()
	h.mu.Unlock()
	if err != nil {
		return sandbox.Result{}, err
	}
	go func() { // not waited for: a read that is under way when the command ends is the caller's
		defer stdin.Close()
		if cmd.Stdin != nil {
			_, _ = io.Copy(stdin, cmd.Stdin)
		}
	}()
	err = c.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return sandbox.Result{}, err
	}
	return sandbox.Result{ExitCode: c.ProcessState.ExitCode(), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
}

func newRunner(t *testing.T) (*here, *Runner) {
	t.Helper()
	h := &here{}
	r := New(h.exec)
	t.Cleanup(r.Close)
	return h, r
}

func run(t *testing.T, r *Runner, cmd sandbox.Command) (sandbox.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd.Where = sandbox.OnNode
	return r.Exec(ctx, cmd)
}

// said is a result in one line.
func said(r sandbox.Result) string {
	return fmt.Sprintf("code %d, %q, %q, more: %v", r.ExitCode, r.Stdout, r.Stderr, r.Truncated)
}

func TestExec(t *testing.T) {
	h, r := newRunner(t)
	strange := []string{"", " ", "a b", "'", `"`, `\`, `\n`, "line\nbreak", "\ttab", "$HOME `id` $(id)", "*", "!x", "ä→😀", "-n", "\x7f\xff"}
	bytes256 := make([]byte, 256)
	for i := range bytes256 {
		bytes256[i] = byte(i)
	}
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, bytes256, 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("0123456789", 100_000)
	for name, c := range map[string]struct {
		cmd  sandbox.Command
		want sandbox.Result
	}{
		"nothing":    {sandbox.Command{Argv: []string{"true"}}, sandbox.Result{}},
		"code":       {sandbox.Command{Argv: []string{"sh", "-c", "exit 7"}}, sandbox.Result{ExitCode: 7}},
		"both":       {sandbox.Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 1"}}, sandbox.Result{ExitCode: 1, Stdout: []byte("out\n"), Stderr: []byte("err\n")}},
		"words":      {sandbox.Command{Argv: append([]string{"printf", "<%s>"}, strange...)}, sandbox.Result{Stdout: []byte("<" + strings.Join(strange, "><") + ">")}},
		"variables":  {sandbox.Command{Argv: []string{"printenv", "A"}, Env: []string{"A=it's\ntwo lines", "B="}}, sandbox.Result{Stdout: []byte("it's\ntwo lines\n")}},
		"bytes":      {sandbox.Command{Argv: []string{"cat", binary}}, sandbox.Result{Stdout: bytes256}},
		"no input":   {sandbox.Command{Argv: []string{"cat"}}, sandbox.Result{}},
		"input":      {sandbox.Command{Argv: []string{"cat"}, Stdin: strings.NewReader("a\nb")}, sandbox.Result{Stdout: []byte("a\nb")}},
		"much input": {sandbox.Command{Argv: []string{"wc", "-c"}, Stdin: strings.NewReader(strings.Repeat("x", 200_000))}, sandbox.Result{Stdout: []byte("200000\n")}},
		"unread":     {sandbox.Command{Argv: []string{"true"}, Stdin: strings.NewReader(strings.Repeat("x", 200_000))}, sandbox.Result{}},
		"script":     {sandbox.Command{Argv: []string{"sh", "-c", "echo 'a script' | tr a-z A-Z; exit 3"}}.Unlisted(), sandbox.Result{ExitCode: 3, Stdout: []byte("A SCRIPT\n")}},
		"little":     {sandbox.Command{Argv: []string{"printf", "1234"}, MaxPrinted: 4}, sandbox.Result{Stdout: []byte("1234")}},
		"long":       {sandbox.Command{Argv: []string{"sh", "-c", "yes 0123456789 | head -n 100000 | tr -d '\\n'"}}, sandbox.Result{Stdout: []byte(long)}},
		"cut":        {sandbox.Command{Argv: []string{"sh", "-c", "printf 12345; printf 123 >&2"}, MaxOutput: 4}, sandbox.Result{Stdout: []byte("1234"), Stderr: []byte("123"), Truncated: true}},
		"just":       {sandbox.Command{Argv: []string{"printf", "1234"}, MaxOutput: 4}, sandbox.Result{Stdout: []byte("1234")}},
		"no program": {sandbox.Command{Argv: []string{"sh", "-c", "exec 2>/dev/null; exec no-such-program"}}, sandbox.Result{ExitCode: 127}},
		"imitation":  {sandbox.Command{Argv: []string{"sh", "-c", "echo '1 0 0'; echo '2 1 eA==' >&2"}}, sandbox.Result{Stdout: []byte("1 0 0\n"), Stderr: []byte("2 1 eA==\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := run(t, r, c.cmd)
			if err != nil || said(got) != said(c.want) {
				t.Errorf("%.300s, error %v; want %.300s", said(got), err, said(c.want))
			}
		})
	}
	t.Cleanup(func() {
		if n := h.started.Load(); n != 1 {
			t.Errorf("%d programs were started, want one", n)
		}
	})
}

// TestTooMuch: what prints without end is ended.
func TestTooMuch(t *testing.T) {
	_, r := newRunner(t)
	_, err := run(t, r, sandbox.Command{Argv: []string{"yes"}, MaxOutput: 100, MaxPrinted: 1 << 20})
	if !errors.Is(err, sandbox.ErrTooMuch) {
		t.Errorf("the end of a flood: %v", err)
	}
	if res, err := run(t, r, sandbox.Command{Argv: []string{"echo", "on"}}); err != nil || string(res.Stdout) != "on\n" {
		t.Errorf("after a flood: %s, %v", said(res), err)
	}
}

// TestNoPerl: where there is none, commands are run directly.
func TestNoPerl(t *testing.T) {
	h := &here{}
	var tried atomic.Int64
	r := New(func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		if cmd.Argv[0] == "perl" {
			tried.Add(1)
			return sandbox.Result{ExitCode: 127, Stderr: []byte("no such file")}, nil
		}
		return h.exec(ctx, cmd)
	})
	defer r.Close()
	for range 3 {
		if res, err := run(t, r, sandbox.Command{Argv: []string{"echo", "direct"}}); err != nil || string(res.Stdout) != "direct\n" {
			t.Errorf("%s, %v", said(res), err)
		}
	}
	if tried.Load() != 1 || h.started.Load() != 3 {
		t.Errorf("the program was tried %d times, and %d commands were started", tried.Load(), h.started.Load())
	}
}

// TestManyAtOnce: answers do not mix.
func TestManyAtOnce(t *testing.T) {
	h, r := newRunner(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			want := strings.Repeat(fmt.Sprintf("%d ", i), 5000)
			got, err := run(t, r, sandbox.Command{Argv: []string{"printf", "%s", want}})
			if err != nil || string(got.Stdout) != want {
				t.Errorf("command %d printed %d bytes, error %v; want %d", i, len(got.Stdout), err, len(want))
			}
		})
	}
	all.Wait()
	if n := h.started.Load(); n != 1 {
		t.Errorf("%d programs were started, want one", n)
	}
}

// TestDirectly: what the program can't do, or should not, is done as before.
func TestDirectly(t *testing.T) {
	h, r := newRunner(t)
	direct := func(name string, ctx context.Context, cmd sandbox.Command, want string) {
		t.Helper()
		before := h.started.Load()
		got, err := r.Exec(ctx, cmd)
		if err != nil || string(got.Stdout) != want || h.started.Load() != before+1 {
			t.Errorf("%s: %s, error %v, %d programs", name, said(got), err, h.started.Load()-before)
		}
	}
	bounded, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	direct("without a deadline", t.Context(), sandbox.Command{Where: sandbox.OnNode, Argv: []string{"echo", "a"}}, "a\n")
	direct("elsewhere", bounded, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"echo", "a"}}, "a\n")
	direct("with input", bounded, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"cat"}, Stdin: strings.NewReader("b")}, "b")
	r.Close()
	direct("closed", bounded, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"echo", "c"}}, "c\n")
}

// TestEndless: a command that does not end is ended where it runs, and leaves the others alone.
func TestEndless(t *testing.T) {
	h, r := newRunner(t)
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	endless := sandbox.Command{Where: sandbox.OnNode, Argv: []string{"sh", "-c", "echo $$ > " + pid + "; exec yes"}}
	if got, err := r.Exec(ctx, endless); err == nil && got.ExitCode != 124 || err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d bytes, code %d, error %v", len(got.Stdout), got.ExitCode, err)
	}
	if got, err := run(t, r, sandbox.Command{Argv: []string{"sh", "-c", "while kill -0 $(cat " + pid + "); do sleep 0.1; done 2>&-; echo gone"}}); err != nil || string(got.Stdout) != "gone\n" {
		t.Errorf("it goes on: %s, %v", said(got), err)
	}
	if n := h.started.Load(); n > 2 {
		t.Errorf("%d programs were started", n)
	}
}

// TestLost: a program that is killed is an error, and then there is another one.
func TestLost(t *testing.T) {
	h, r := newRunner(t)
	if got, err := run(t, r, sandbox.Command{Argv: []string{"echo", "a"}}); err != nil || string(got.Stdout) != "a\n" {
		t.Fatalf("%s, %v", said(got), err)
	}
	if _, err := run(t, r, sandbox.Command{Argv: []string{"sh", "-c", fmt.Sprintf("kill -9 %d; sleep 60", h.latest.Process.Pid)}}); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("under way when it was killed: %v", err)
	}
	if got, err := run(t, r, sandbox.Command{Argv: []string{"echo", "b"}}); err != nil || string(got.Stdout) != "b\n" {
		t.Errorf("afterwards: %s, %v", said(got), err)
	}
	if n := h.started.Load(); n != 2 {
		t.Errorf("%d programs were started, want two", n)
	}
}

// TestLies: a program that says something else is given up, with what it says bounded.
func TestLies(t *testing.T) {
	for name, says := range map[string]string{
		"words": "hello there\n", "a strange kind": "1 3 eA==\n", "no base64": "1 1 !!\n", "no code": "1 0 x\n",
		"too much": "1 1 " + strings.Repeat("eA==", 900) + "\n", "no line": strings.Repeat("x", 2*maxLine),
	} {
		t.Run(name, func(t *testing.T) {
			r := New(func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
				one := make([]byte, 1)
				if _, err := cmd.Stdin.Read(one); err != nil { // once it was asked something
					return sandbox.Result{}, err
				}
				_, err := cmd.Stdout.Write([]byte(says))
				return sandbox.Result{}, err
			})
			defer r.Close()
			if _, err := run(t, r, sandbox.Command{Argv: []string{"true"}, MaxOutput: 10}); !errors.Is(err, errLine) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// FuzzOutput: whatever the program says is read within bounds.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("1 1 eA==\n1 0 0\n"), uint8(3))
	f.Add([]byte("1 2 \n2 0 0\nx"), uint8(1))
	f.Fuzz(func(t *testing.T, output []byte, step uint8) {
		s := &program{waiting: map[string]*asked{}}
		const most = 8
		a := s.ask("1", most)
		for piece := output; len(piece) > 0; {
			n := min(len(piece), int(step)+1)
			if _, err := s.Write(piece[:n]); err != nil {
				break
			}
			piece = piece[n:]
		}
		if a.out[0].Len() > most+1 || a.out[1].Len() > most+1 || len(s.partial) > maxLine {
			t.Errorf("kept %d and %d bytes, and a line of %d", a.out[0].Len(), a.out[1].Len(), len(s.partial))
		}
		select {
		case res := <-a.done:
			if len(res.Stdout) > most || len(res.Stderr) > most {
				t.Error(said(res))
			}
		default:
		}
	})
}
