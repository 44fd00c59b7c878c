package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is an output that a running part and its test share.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	// wrote is signalled when there is more to read.
	wrote chan struct{}
}

func newBuffer() *buffer { return &buffer{wrote: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// after waits until the text is in the output and returns what follows it on that line.
func (b *buffer) after(t *testing.T, text string) string {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		if _, rest, ok := strings.Cut(b.String(), text); ok {
			line, _, whole := strings.Cut(rest, "\n")
			if whole {
				return strings.TrimSpace(line)
			}
		}
		select {
		case <-b.wrote:
		case <-limit:
			t.Fatalf("%q was not printed; what was: %s", text, b.String())
		}
	}
}

// start runs a part until the test ends and makes sure that it ends well.
func start(t *testing.T, args ...string) *buffer {
	t.Helper()
	out := newBuffer()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, out, out) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("workload %s ended with %d: %s", strings.Join(args, " "), code, out)
		}
	})
	return out
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// The three parts of the shop together, and what a user sees when the last of them is gone.
func TestShop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dbCtx, stopDB := context.WithCancel(t.Context())
	defer stopDB()
	dbOut, dbDone := newBuffer(), make(chan error, 1)
	go func() { dbDone <- serveDB(dbCtx, l, dbOut) }()

	api := start(t, "api", "--listen", "127.0.0.1:0", "--db", l.Addr().String())
	apiAddr := api.after(t, "listening on ")
	web := start(t, "web", "--listen", "127.0.0.1:0", "--api", "http://"+apiAddr+"/items", "--title", "A <shop>")
	base := "http://" + web.after(t, "listening on ")

	status, page := get(t, base+"/")
	if status != 200 || !strings.Contains(page, "compass") || !strings.Contains(page, "A &lt;shop&gt;") {
		t.Errorf("%d\n%s", status, page)
	}
	if status, _ := get(t, base+"/healthz"); status != 200 {
		t.Errorf("health: %d", status)
	}
	if status, _ := get(t, base+"/nothing-here"); status != 404 {
		t.Errorf("unknown page: %d", status)
	}

	stopDB()
	if err := <-dbDone; err != nil {
		t.Errorf("the database ended with %v", err)
	}
	if status, body := get(t, "http://"+apiAddr+"/healthz"); status != 503 || !strings.Contains(body, "database") {
		t.Errorf("API without a database: %d %s", status, body)
	}
	if status, body := get(t, base+"/"); status != 502 || !strings.Contains(body, "API") {
		t.Errorf("web without an API: %d %s", status, body)
	}
	web.after(t, "GET / 502")
}

func TestAPIWork(t *testing.T) {
	s := httptest.NewServer(api("", 0))
	defer s.Close()
	if status, body := get(t, s.URL+"/work?ms=1"); status != 200 || body != "done\n" {
		t.Errorf("%d %q", status, body)
	}
	for _, bad := range []string{"", "x", "-1", "999999"} {
		if status, _ := get(t, s.URL+"/work?ms="+bad); status != 400 {
			t.Errorf("ms=%q: %d", bad, status)
		}
	}
}

// Another kind of server on the database's port must not pass for it.
func TestAPIKnowsItsDatabase(t *testing.T) {
	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	if err := askDB(t.Context(), strings.TrimPrefix(stranger.URL, "http://")); err == nil {
		t.Error("a web server was taken for the database")
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	t.Setenv("CODE", "7")
	t.Setenv("AFTER", "1ms")
	t.Setenv("MESSAGE", "from the environment")
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"crash"}, &out, &errOut); code != 7 || !strings.Contains(out.String(), "from the environment") {
		t.Errorf("code %d, %s%s", code, &out, &errOut)
	}
	if code := run(t.Context(), []string{"crash", "--code", "9"}, &out, &errOut); code != 9 {
		t.Errorf("a flag did not win over the environment: %d", code)
	}
	t.Setenv("CODE", "many")
	if code := run(t.Context(), []string{"crash"}, &out, &errOut); code != exitUsage || !strings.Contains(errOut.String(), "environment variable CODE") {
		t.Errorf("code %d, %s", code, &errOut)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 0, "Parts:"},
		{[]string{"--help"}, 0, "load generator"},
		{[]string{"web", "--help"}, 0, "-listen-after"},
		{[]string{"webb"}, exitUsage, `no "webb"`},
		{[]string{"web", "--colour", "red"}, exitUsage, "colour"},
		{[]string{"web", "extra"}, exitUsage, `"extra" is not a flag`},
		{[]string{"wait"}, exitUsage, "--for"},
		{[]string{"load"}, exitUsage, "--url"},
		{[]string{"hog", "--step", "0"}, exitUsage, "--step"},
		{[]string{"web", "--listen", "256.0.0.1:1"}, 1, "256.0.0.1"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("workload %s: code %d\n%s", strings.Join(tt.args, " "), code, &out)
		}
	}
}

func TestEveryPartHasHelp(t *testing.T) {
	for _, p := range parts() {
		var out bytes.Buffer
		if code := run(t.Context(), []string{p.name, "--help"}, &out, &out); code != 0 || !strings.Contains(out.String(), "Usage of "+p.name) {
			t.Errorf("%s: code %d\n%s", p.name, code, &out)
		}
	}
}

func TestCrashIsMendedByAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, "crash", "--after", "1ms", "--unless-file", file).after(t, "all is well")
}

func TestSlowServesInTheEnd(t *testing.T) {
	out := start(t, "slow", "--listen", "127.0.0.1:0", "--listen-after", "50ms")
	out.after(t, "ready in 50ms")
	if status, _ := get(t, "http://"+out.after(t, "listening on ")+"/healthz"); status != 200 {
		t.Errorf("health: %d", status)
	}
}

func TestHogStopsAtItsMost(t *testing.T) {
	out := start(t, "hog", "--step", "2", "--every", "1ms", "--max", "4")
	out.after(t, "holding 4 MiB")
	if strings.Contains(out.String(), "holding 6 MiB") {
		t.Error("it took more than it was told")
	}
}

func TestWorkerDoesItsJobs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobs")
	s := httptest.NewServer(api("", 0))
	defer s.Close()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"worker", "--jobs", "2", "--every", "1ms", "--file", file, "--url", s.URL + "/items"}, &out, &out); code != 0 {
		t.Fatalf("code %d: %s", code, &out)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "job 1\njob 2\n" {
		t.Errorf("%q, %v", text, err)
	}
	out.Reset()
	run(t.Context(), []string{"worker", "--jobs", "1", "--url", s.URL + "/nothing"}, &out, &out)
	if !strings.Contains(out.String(), "job 1 failed") {
		t.Errorf("a failing job: %s", &out)
	}
}

func TestWaitWaits(t *testing.T) {
	// A port that is free now, and is listened on only after the first attempt has failed.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	out := newBuffer()
	done := make(chan int, 1)
	go func() { done <- run(t.Context(), []string{"wait", "--for", addr, "--every", "5ms"}, out, out) }()
	out.after(t, "waiting for "+addr)
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if code := <-done; code != 0 {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestLoadCounts(t *testing.T) {
	var n int
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n > 3 {
			http.Error(w, "no", http.StatusTeapot)
		}
	}))
	defer s.Close()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"load", "--url", s.URL, "--calls", "5", "--rate", "500"}, &out, &out); code != 0 {
		t.Fatalf("code %d: %s", code, &out)
	}
	if want := "3 answered, 2 failed, the last with: " + fmt.Sprintf("%s answered 418", s.URL); !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %q", &out, want)
	}
}
