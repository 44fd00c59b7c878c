package shell_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/shell"
	"drydock/sandbox/shell/shelltest"
)

// patience is for what takes milliseconds, on a machine that is busy with other things.
const patience = 20 * time.Second

// supervisor is the real program, running as it does in the terminal container.
type supervisor struct {
	t       *testing.T
	program string
	socket  string
	pid     int
}

// program builds drydock-shell, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "drydock-shell")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "drydock-shell")
	build := exec.Command("go", "build", "-o", path, "./cmd/drydock-shell")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the supervisor: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// start runs the program. Its shells are of the named user.
func start(t *testing.T, name string) *supervisor {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{t: t, program: path, socket: filepath.Join(t.TempDir(), "run", "shell.sock")}
	home, err := os.MkdirTemp("", "home") // t.TempDir's parents are closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.program, "-socket", s.socket, "-user", name, "-home", home, "-integration", filepath.Join(home, "..", filepath.Base(home)+".bash"))
	t.Cleanup(func() { os.Remove(home + ".bash") })
	if err := os.WriteFile(filepath.Join(home, ".profile"), []byte("LOGIN_FILES=profile\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PS1=$ ")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the supervisor did not end well: %v", err)
		}
		if err := shelltest.KillLeft(home); err != nil {
			t.Errorf("end what the shells left: %v", err)
		}
	})
	eventually(t, "the socket is there", func() bool {
		_, err := os.Stat(s.socket)
		return err == nil
	})
	return s
}

func currentUser(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

// pipes is a running "drydock-shell attach" as the engine's exec presents it.
type pipes struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

func (p pipes) Close() error {
	err := p.WriteCloser.Close()
	// As on the engine, the end of the input ends the command; its status tells nothing.
	go p.cmd.Wait()
	return err
}

func (s *supervisor) attach(tab string, from int64) *shell.Conn {
	s.t.Helper()
	conn, err := s.tryAttach(tab, from)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

func (s *supervisor) tryAttach(tab string, from int64) (*shell.Conn, error) {
	s.t.Helper()
	cmd := exec.Command(s.program, "attach", "-socket", s.socket, "-tab", tab, "-from", fmt.Sprint(from), "-cols", "80", "-rows", "24")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return shell.NewConn(pipes{out, in, cmd})
}

func typeIn(t *testing.T, c *shell.Conn, line string) {
	t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		t.Fatalf("type %q: %v", line, err)
	}
}

// readUntil reads until what was read matches, and returns all of it.
func readUntil(t *testing.T, c *shell.Conn, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	watchdog := time.AfterFunc(patience, func() { c.Close() })
	defer watchdog.Stop()
	var got []byte
	buf := make([]byte, 4096)
	// The end is enough to look at: a pattern names what is printed last.
	for !re.Match(got[max(0, len(got)-2*len(buf)):]) {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			t.Fatalf("waiting for %q: %v after %d bytes: …%q", pattern, err, len(got), got[max(0, len(got)-500):])
		}
	}
	return string(got)
}

func readToEnd(t *testing.T, c *shell.Conn) (string, error) {
	t.Helper()
	watchdog := time.AfterFunc(patience, func() { c.Close() })
	defer watchdog.Stop()
	var got bytes.Buffer
	_, err := io.Copy(&got, c) // nil at io.EOF
	return got.String(), err
}

func TestTypeAndResize(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	typeIn(t, c, "echo $LOGIN_FILES $TERM $((6*7))")
	readUntil(t, c, `profile xterm-256color 42\r\n`)
	typeIn(t, c, "stty size")
	readUntil(t, c, `24 80\r\n`)
	if err := c.Resize(sandbox.Size{Cols: 132, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	typeIn(t, c, "stty size")
	readUntil(t, c, `50 132\r\n`)

	other := s.attach("2", 0)
	typeIn(t, other, "stty size")
	readUntil(t, other, `24 80\r\n`)
}

func TestDetachAndContinueWithoutGap(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	typeIn(t, c, "stty -echo; PS1=")
	typeIn(t, c, "echo be''gin; seq 1 100000; echo en''d")
	first := readUntil(t, c, `\n777\r\n`)
	seen := c.Offset() + int64(len(first))
	c.Close()

	c = s.attach("main", seen)
	if c.Offset() != seen {
		t.Fatalf("continues at %d, want %d", c.Offset(), seen)
	}
	all := first + readUntil(t, c, `end\r\n`)
	all = all[strings.Index(all, "begin"):]
	var want strings.Builder
	want.WriteString("begin\r\n")
	for i := range 100_000 {
		fmt.Fprintf(&want, "%d\r\n", i+1)
	}
	want.WriteString("end\r\n")
	if !strings.HasPrefix(all, want.String()) {
		t.Errorf("a gap or a duplicate: got %d bytes, want %d", len(all), want.Len())
	}
}

func TestRunsOnUnattended(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	marker := filepath.Join(t.TempDir(), "done")
	const printed = 2 * shell.History
	typeIn(t, c, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; touch %s; echo all''done", printed, marker))
	readUntil(t, c, `xxxx`)
	c.Close()
	eventually(t, "the program ends with nobody attached", func() bool {
		_, err := os.Stat(marker)
		return err == nil
	})
	c = s.attach("main", 5)
	if c.Offset() < printed-shell.History {
		t.Errorf("keeps more than it should: starts at %d", c.Offset())
	}
	readUntil(t, c, `xalldone\r\n`)

	beyond := s.attach("main", 1<<40)
	if beyond.Offset() < printed-shell.History || beyond.Offset() > 2*printed {
		t.Errorf("an offset of the future starts at %d", beyond.Offset())
	}
}

func TestSlowReaderSlowsTheProgram(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	marker := filepath.Join(t.TempDir(), "done")
	typeIn(t, c, "stty -echo -onlcr; PS1=; echo rea''dy")
	readUntil(t, c, "ready\n")
	const printed = 3 << 20
	typeIn(t, c, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' y; touch %s; echo en''d", printed, marker))
	eventually(t, "a full window has arrived", func() bool { return c.Buffered() > shell.Window/2 })
	if _, err := os.Stat(marker); err == nil {
		t.Error("3 MiB were printed into a terminal that nobody read")
	}
	// Resizing and Ctrl-C's byte get through all the same.
	if err := c.Resize(sandbox.Size{Cols: 100, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	got := readUntil(t, c, "end\n")
	if n := strings.Count(got[strings.LastIndex(got, "\x1b]133;C"):], "y"); n != printed { // its own line has one, too
		t.Errorf("%d of %d bytes arrived", n, printed)
	}
}

// A program that prints while it is typed at must not lock up: its output
// waits for acknowledgements that stand behind its input.
func TestLargePasteIntoAProgramThatPrints(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	const size = 3 << 20
	typeIn(t, c, fmt.Sprintf("stty raw -echo; echo rea''dy; head -c %d; stty sane", size))
	readUntil(t, c, `ready`)
	paste := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	typed := make(chan error, 1)
	go func() {
		_, err := c.Write(paste)
		typed <- err
	}()
	eventually(t, "output fills the window", func() bool { return c.Buffered() > shell.Window/2 })
	var got string
	for len(got) < size {
		got += readUntil(t, c, `(?s).`)
	}
	if err := <-typed; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, string(paste[:size-16])) {
		t.Error("the paste came back changed")
	}
}

func TestShellExits(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	// Something left behind holds the terminal open: the tab ends all the same.
	// It goes by itself soon after the test.
	typeIn(t, c, "echo he''re; sleep 15 & disown; exit 7")
	got, err := readToEnd(t, c)
	if err != nil || !strings.Contains(got, "here\r\n") {
		t.Fatalf("the end of the shell: %v after %q, want io.EOF", err, got)
	}
	if c.ExitStatus() != 7 {
		t.Errorf("exit status %d, want 7", c.ExitStatus())
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, sandbox.ErrShellGone) {
		t.Errorf("typing into it: %v, want ErrShellGone", err)
	}
	seen := c.Offset() + int64(len(got))
	c = s.attach("main", seen)
	if c.Offset() != seen {
		t.Errorf("the new shell starts at %d, want %d", c.Offset(), seen)
	}
	typeIn(t, c, "echo a''new; kill -9 $$")
	if got, err := readToEnd(t, c); err != nil || !strings.Contains(got, "anew") {
		t.Errorf("the second shell: %v after %q", err, got)
	}
	if c.ExitStatus() != 128+9 {
		t.Errorf("exit status of a killed shell %d, want %d", c.ExitStatus(), 128+9)
	}
}

func TestNewestConnectionHasTheTab(t *testing.T) {
	s := start(t, currentUser(t))
	old := s.attach("main", 0)
	typeIn(t, old, "X=kept")
	readUntil(t, old, `kept`)
	c := s.attach("main", 0)
	if _, err := readToEnd(t, old); !errors.Is(err, sandbox.ErrTerminalTaken) {
		t.Errorf("the older connection ended with %v, want ErrTerminalTaken", err)
	}
	typeIn(t, c, "echo <$X>")
	readUntil(t, c, `<kept>|syntax`)
	typeIn(t, c, "echo [$X]")
	readUntil(t, c, `\[kept\]`)
}

// A server that is killed closes nothing in order.
func TestKilledAttachCommand(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	typeIn(t, c, "sleep 0.2; echo af''ter")
	first := readUntil(t, c, `ter`)
	for _, pid := range childrenOf(t, os.Getpid()) {
		if pid != s.pid {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := readToEnd(t, c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken connection ends with %v, want io.ErrUnexpectedEOF", err)
	}
	readUntil(t, s.attach("main", c.Offset()+int64(len(first))), `after\r\n`)
}

func TestCloseEndsTheShell(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	typeIn(t, c, "trap '' HUP TERM; echo stub''born")
	got := readUntil(t, c, `stubborn`)
	if out, err := exec.Command(s.program, "close", "-socket", s.socket, "-tab", "main").CombinedOutput(); err != nil {
		t.Fatalf("close: %v\n%s", err, out)
	}
	rest, err := readToEnd(t, c)
	if err != nil {
		t.Errorf("the closed terminal ends with %v, want io.EOF", err)
	}
	seen := c.Offset() + int64(len(got)+len(rest))
	if c = s.attach("main", seen); c.Offset() != seen {
		t.Errorf("opened again it starts at %d, want %d", c.Offset(), seen)
	}
	if out, err := exec.Command(s.program, "close", "-socket", s.socket, "-tab", "nosuch").CombinedOutput(); err != nil {
		t.Errorf("closing what is not open: %v\n%s", err, out)
	}
}

func TestTabLimits(t *testing.T) {
	s := start(t, currentUser(t))
	for i := range shell.MaxTabs {
		s.attach(fmt.Sprint("t", i), 0)
	}
	for tab, want := range map[string]string{
		"onemore": "no more than 8 ", "Upper": "only a to z", "": "1 to 16", "../../x": "only a to z",
	} {
		if _, err := s.tryAttach(tab, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("attach to %q: %v, want something with %q", tab, err, want)
		}
	}
}

func TestReapsOrphans(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	typeIn(t, c, "(sh -c 'sleep 0.1; exit 3' & sh -c 'sleep 300' & echo orp''han=$!)")
	out := readUntil(t, c, `orphan=\d+\r\n`)
	pid, err := strconv.Atoi(regexp.MustCompile(`orphan=(\d+)`).FindStringSubmatch(out)[1])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the supervisor has inherited the orphan", func() bool {
		return fmt.Sprint(childrenOf(t, s.pid)) != "[]" && strings.Contains(fmt.Sprint(childrenOf(t, s.pid)), fmt.Sprint(pid))
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no zombie is left", func() bool {
		for _, child := range childrenOf(t, s.pid) {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
			if bytes.Contains(stat, []byte(") Z ")) || child == pid {
				return false
			}
		}
		return true
	})
}

func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for _, name := range files {
		list, _ := os.ReadFile(name) // a thread may end meanwhile
		for word := range strings.FieldsSeq(string(list)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
	}
	return children
}

// The shells of another user than the supervisor's can do nothing to it. Only
// root can start them; the conformance suite shows the same in the container.
func TestLearnerCannotTouchTheSupervisor(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: the container's conformance test shows this")
		return
	}
	s := start(t, "nobody")
	c := s.attach("main", 0)
	typeIn(t, c, "PS1=; stty -echo")
	for command, want := range map[string]string{
		"id -un":                                   `nobody\r\n`,
		"id -Gn":                                   `nogroup\r\n`,
		"test -O $(tty); echo =$?":                 `=0\r\n`,
		"cd && test -O . && test -w .; echo =$?":   `=0\r\n`,
		fmt.Sprintf("kill -9 %d", s.pid):           `not permitted`,
		"ls " + filepath.Dir(s.socket):             `denied`,
		fmt.Sprintf("cat /proc/%d/environ", s.pid): `denied`,
		fmt.Sprintf("%s attach -socket %s -tab x", s.program, s.socket): `denied`,
	} {
		typeIn(t, c, command)
		readUntil(t, c, want)
	}
}
