package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binDir holds the built program; TestMain removes it.
var binDir string

// built builds the program once for all tests that start it as a user would.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "drydock-bin-")
	if err != nil {
		return "", err
	}
	binDir = dir
	path := filepath.Join(dir, "drydock")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(status)
}

// program is the path of the built program.
func program(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needsEngine keeps a test out of `go test -short`; everywhere else a missing engine fails it.
func needsEngine(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	if out, err := exec.Command(program(t), "doctor", "--offline").CombinedOutput(); err != nil {
		t.Fatalf("this machine can't run a lab; make up mends it:\n%s", out)
	}
}

// testServer is one Drydock as a process of its own, on one data directory.
type testServer struct {
	t     *testing.T
	data  string
	addr  string
	env   []string
	url   string
	setup string // the first instructor's link, when one was printed
	cmd   *exec.Cmd
	log   *lockedBuffer
}

// newServer prepares a server that is removed, with its sandboxes, at the end of the test.
func newServer(t *testing.T, env ...string) *testServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	s := &testServer{t: t, data: filepath.Join(t.TempDir(), "data"), addr: addr, env: env, log: &lockedBuffer{}}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.stop(syscall.SIGTERM)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.tail(200))
		}
		if out, err := exec.Command(program(t), "sandbox", "remove", "--all", "--data", s.data).CombinedOutput(); err != nil {
			t.Errorf("remove the sandboxes: %v\n%s", err, out)
		}
	})
	return s
}

// start starts the server and waits until it has said where it is.
func (s *testServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(program(s.t), "serve", "--addr", s.addr, "--data", s.data)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	link := make(chan string, 1)
	go func() {
		links := regexp.MustCompile(`http://\S+/setup/\S+`)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if found := links.FindString(lines.Text()); found != "" {
				link <- found
			}
		}
	}()
	s.url = "http://" + s.addr
	s.until("the server answers", serverUp, func() bool { return s.healthy() })
	if s.setup == "" { // only the first start prints a link, and it does so before it answers
		select {
		case s.setup = <-link:
		case <-time.After(500 * time.Millisecond):
		}
	}
}

const (
	// serverUp is how long a server may take to answer on a busy machine.
	serverUp = 30 * time.Second
	// serverDown is more than a server takes to stop, whatever it is doing.
	serverDown = 60 * time.Second
)

func (s *testServer) healthy() bool {
	response, err := http.Get("http://" + s.addr + "/healthz")
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// stop ends the server with a signal and waits for its end.
func (s *testServer) stop(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Errorf("signal the server: %v", err)
	}
	cmd := s.cmd
	late := time.AfterFunc(serverDown, func() {
		s.t.Errorf("the server has not stopped within %s of %v", serverDown, signal)
		_ = cmd.Process.Kill()
	})
	_ = s.cmd.Wait() // a killed server has a status that says so
	late.Stop()
	s.cmd = nil
}

// until waits for something that can only be asked for.
func (s *testServer) until(what string, within time.Duration, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// run runs another command of the program on the server's data directory.
func (s *testServer) run(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(program(s.t), append(args, "--data", s.data)...)
	cmd.Env = append(os.Environ(), s.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("drydock %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// lockedBuffer keeps a process's output for the report of a failed test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) tail(lines int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := strings.Split(b.buf.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// engineProxy stands between a server and the engine, so that a test can take
// the engine away from that one server without touching anybody else's.
type engineProxy struct {
	t        *testing.T
	path     string
	upstream string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

// newEngineProxy listens on a socket of its own; env makes a process use it.
func newEngineProxy(t *testing.T) (proxy *engineProxy, env string) {
	t.Helper()
	upstream := strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if upstream == "" {
		upstream = "/var/run/docker.sock"
	}
	return newProxyOf(t, upstream)
}

func newProxyOf(t *testing.T, upstream string) (proxy *engineProxy, env string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-") // short: a socket's path has a limit of 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	p := &engineProxy{t: t, path: filepath.Join(dir, "e.sock"), upstream: upstream, open: map[net.Conn]bool{}}
	p.up()
	t.Cleanup(func() {
		p.down()
		os.RemoveAll(dir)
	})
	return p, "DOCKER_HOST=unix://" + p.path
}

func (p *engineProxy) up() {
	p.t.Helper()
	listener, err := net.Listen("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(conn, listener)
		}
	}()
}

func (p *engineProxy) serve(conn net.Conn, from net.Listener) {
	engine, err := net.Dial("unix", p.upstream)
	if err != nil {
		conn.Close()
		return
	}
	p.mu.Lock()
	up := p.listener == from
	if up {
		p.open[conn], p.open[engine] = true, true
	}
	p.mu.Unlock()
	if !up { // accepted just before the engine was taken away
		conn.Close()
		engine.Close()
		return
	}
	var both sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		if half, ok := to.(*net.UnixConn); ok {
			_ = half.CloseWrite()
		}
	}
	both.Go(func() { pipe(engine, conn) })
	both.Go(func() { pipe(conn, engine) })
	both.Wait()
	conn.Close()
	engine.Close()
	p.mu.Lock()
	delete(p.open, conn)
	delete(p.open, engine)
	p.mu.Unlock()
}

// down takes the engine away, open connections included.
func (p *engineProxy) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for conn := range p.open {
		conn.Close()
	}
}
