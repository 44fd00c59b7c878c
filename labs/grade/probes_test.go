package grade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/probe"
)

// here runs commands on this machine, as they would run on a machine sandbox,
// with the probe program built for it.
type here struct {
	program string
	started atomic.Int64 // probe programs, until now
	mu      sync.Mutex
	kill    context.CancelFunc // ends the latest
}

func newHere(t *testing.T) *here {
	t.Helper()
	h := &here{program: filepath.Join(t.TempDir(), "drydock-probe")}
	if out, err := exec.Command("go", "build", "-o", h.program, "drydock/sandbox/probe/cmd/drydock-probe").CombinedOutput(); err != nil {
		t.Fatalf("build the probe program: %v: %s", err, out)
	}
	return h
}

func (h *here) exec(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	name := cmd.Argv[0]
	if name == probe.Program {
		name = h.program
		h.started.Add(1)
		var kill context.CancelFunc
		ctx, kill = context.WithCancel(ctx)
		defer kill()
		h.mu.Lock()
		h.kill = kill
		h.mu.Unlock()
	}
	c := exec.CommandContext(ctx, name, cmd.Argv[1:]...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if cmd.Stdout != nil {
		c.Stdout = cmd.Stdout
	}
	stdin, err := c.StdinPipe()
	if err != nil {
		return sandbox.Result{}, err
	}
	if err := c.Start(); err != nil {
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

// TestProbes: without a cluster, probes are sent from the machine itself, all
// by one program.
func TestProbes(t *testing.T) {
	h := newHere(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", r.Method+" "+r.Header.Get("X-Sent"))
		if r.URL.Path == "/big" {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 4*probe.MaxBody))
			return
		}
		_, _ = fmt.Fprintf(w, `{"path":%q}`, r.URL.Path)
	}))
	defer server.Close()
	env := Env{Exec: h.exec, Vars: map[string]string{"path": "[a]{b}"}}
	request := func(that, method, path string) Check {
		return Check{HTTP: &HTTP{URL: server.URL + path, Method: method, Header: map[string]string{"X-Sent": `it's $(id)`}, Body: "@/etc/passwd"}, That: that}
	}
	set := mustCompile(t,
		request(`response.json.path == "/[a]{b}" && response.headers["x-saw"] == "POST it's $(id)"`, "POST", "/${vars.path}"),
		request(fmt.Sprintf(`response.code == 200 && response.error == "" && size(response.body) == %d`, probe.MaxBody), "PUT", "/big"),
		Check{HTTP: &HTTP{URL: server.URL, Method: "HEAD"}, That: `response.code == 200 && response.body == ""`},
		Check{HTTP: &HTTP{URL: "http://127.0.0.1:1/"}, That: `response.code == 0 && response.error == "connection refused"`},
		Check{TCP: &TCP{Address: server.Listener.Addr().String(), Send: "GET / HTTP/1.0\r\n\r\n", Expect: "200 OK"}, That: `connection.open && connection.received.startsWith("HTTP/1.0 200 OK")`},
		Check{TCP: &TCP{Address: "127.0.0.1:1"}, That: `!connection.open && connection.error == "connection refused"`},
		Check{DNS: &DNS{Name: "localhost"}, That: `lookup.code == "NOERROR" && lookup.records == ["127.0.0.1"]`},
	)
	_, results, err := set.Once(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Verdict != Pass {
			t.Errorf("%+v", r)
		}
	}
	if n := h.started.Load(); n != 1 {
		t.Errorf("%d probe programs were started for %d checks, want one", n, len(results))
	}
	if _, _, err := mustCompile(t, check(aDeployment, "true")).Once(t.Context(), env); err == nil || !strings.Contains(err.Error(), "needs a cluster") {
		t.Errorf("a watch on a machine gives %v", err)
	}
	if _, _, err := set.Once(t.Context(), Env{Exec: h.exec}); err == nil || !strings.Contains(err.Error(), "the variant has no var path") {
		t.Errorf("a missing var gives %v", err)
	}
}

// TestProbesLive: what changes is seen, what stands is not asked anew, and a
// program that is killed is started again.
func TestProbesLive(t *testing.T) {
	h := newHere(t)
	var status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer server.Close()
	set := mustCompile(t,
		Check{ID: "up", HTTP: &HTTP{URL: server.URL, Every: Duration(200 * time.Millisecond)}, That: "response.code == 200"},
		Check{ID: "rarely", HTTP: &HTTP{URL: server.URL + "/rarely", Every: Duration(time.Hour)}, That: "response.code == 200"},
	)
	b := &bench{T: t, env: Env{Exec: h.exec}}
	r := b.run(set)
	of := func(check string, fits func(Result) bool) func(Result) bool {
		return func(r Result) bool { return r.Check == check && fits(r) }
	}
	r.await(t, 0, "up", of("up", passes))
	r.await(t, 0, "rarely", of("rarely", passes))
	seen := len(r.all())
	status.Store(http.StatusServiceUnavailable)
	r.await(t, seen, "down", of("up", fails("response.code is 503, wanted 200")))
	set.Recheck("rarely")
	r.await(t, seen, "asked again", of("rarely", fails("response.code is 503, wanted 200")))

	seen = len(r.all())
	h.mu.Lock()
	h.kill()
	h.mu.Unlock()
	r.await(t, seen, "nobody looks", of("up", func(r Result) bool { return r.Verdict == Error && r.Reason == cannotRun }))
	status.Store(http.StatusOK)
	r.await(t, seen, "up again", of("up", passes))
	r.await(t, seen, "the other, too", of("rarely", passes))
	if n := h.started.Load(); n != 2 {
		t.Errorf("%d probe programs were started, want two", n)
	}
}

// TestProbeLies: a program that says nothing to the point is an error of the checker's.
func TestProbeLies(t *testing.T) {
	for name, says := range map[string]string{
		"nothing":       "",
		"no protocol":   "hello\n",
		"another's id":  `{"id":"99","at":"2026-11-23T09:00:00Z","http":{"code":200}}` + "\n",
		"an empty line": "\n",
	} {
		t.Run(name, func(t *testing.T) {
			env := Env{Exec: func(_ context.Context, cmd sandbox.Command) (sandbox.Result, error) {
				_, _ = cmd.Stdout.Write([]byte(says))
				return sandbox.Result{ExitCode: 1, Stderr: []byte("gave up")}, nil
			}}
			set := mustCompile(t, Check{ID: "up", HTTP: &HTTP{URL: "http://localhost/"}, That: "response.code == 200"})
			_, results, err := set.Once(t.Context(), env)
			if err != nil || results[0].Verdict != Error || results[0].Reason != cannotRun {
				t.Errorf("%+v, %v", results, err)
			}
		})
	}
}

// TestServiceProbe: only going up and down is told.
func TestServiceProbe(t *testing.T) {
	h := newHere(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	serve := func(l net.Listener) *http.Server {
		s := &http.Server{Handler: http.NotFoundHandler()}
		go func() { _ = s.Serve(l) }()
		return s
	}
	server := serve(listener)
	changes := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	var probing sync.WaitGroup
	probing.Go(func() {
		err := ProbeService(ctx, Env{Exec: h.exec}, HTTP{URL: "http://" + address + "/"}, 200*time.Millisecond, func(up bool, _ time.Time, detail string) {
			select {
			case changes <- fmt.Sprint(up, " ", detail):
			case <-ctx.Done():
			}
		})
		if err != nil {
			t.Errorf("probe: %v", err)
		}
	})
	defer probing.Wait()
	defer cancel()
	if got := <-changes; got != "true 404 Not Found" {
		t.Errorf("at first the service is %s", got)
	}
	server.Close()
	if got := <-changes; got != "false connection refused" {
		t.Errorf("then it is %s", got)
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer serve(listener).Close()
	if got := <-changes; got != "true 404 Not Found" {
		t.Errorf("at last it is %s", got)
	}
}
