package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// asProgram in the environment makes the test binary the program drydock-probe.
const asProgram = "DRYDOCK_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if err := Run(os.Stdin, os.Stdout, Config{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := withAuthority(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// patience is for what takes milliseconds, on a machine that is busy with other things.
const patience = time.Minute

// asked is a program that is talked with.
type asked struct {
	t     *testing.T
	in    io.WriteCloser
	lines *bufio.Scanner
	ended chan error
}

// start runs the engine in this process.
func start(t *testing.T, cfg Config) *asked {
	t.Helper()
	input, in := io.Pipe()
	out, output := io.Pipe()
	a := &asked{t: t, in: in, lines: Lines(out), ended: make(chan error, 1)}
	go func() {
		err := Run(input, output, cfg)
		input.CloseWithError(io.ErrClosedPipe)
		output.Close()
		a.ended <- err
	}()
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	return a
}

func (a *asked) send(r Request) {
	a.t.Helper()
	if err := r.Write(a.in); err != nil {
		a.t.Fatalf("send %+v: %v", r, err)
	}
}

func (a *asked) next() Answer {
	a.t.Helper()
	if !a.lines.Scan() {
		a.t.Fatalf("the program has ended: %v, %v", a.lines.Err(), <-a.ended)
	}
	answer, err := DecodeAnswer(a.lines.Bytes())
	if err != nil {
		a.t.Fatalf("%v: %s", err, a.lines.Bytes())
	}
	return answer
}

// once sends a request and returns its first answer.
func (a *asked) once(r Request) Answer {
	a.t.Helper()
	if r.ID == "" {
		r.ID = "once"
	}
	a.send(r)
	got := a.next()
	if got.ID != r.ID {
		a.t.Fatalf("an answer of %q, want %q", got.ID, r.ID)
	}
	a.send(Request{ID: r.ID, Stop: true})
	return got
}

func TestHTTP(t *testing.T) {
	var seen struct {
		sync.Mutex
		requests []string
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen.Lock()
		seen.requests = append(seen.requests, fmt.Sprintf("%s %s %s %v %q", r.Method, r.Host, r.URL, r.Header, body))
		seen.Unlock()
		w.Header()["Date"] = nil
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/long":
			_, _ = io.WriteString(w, strings.Repeat("long ", 1<<20)) // the probe hangs up
		case "/fails":
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "\xff\x00 binary")
		default:
			w.Header().Add("X-Two", "a")
			w.Header().Add("X-Two", "b")
			fmt.Fprintf(w, "hello %s", r.Method)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	a := start(t, Config{})
	for _, test := range []struct {
		name string
		http HTTP
		want string // status, some headers, body
		sent string
	}{
		{"get", HTTP{URL: server.URL + "/?a=b"}, `200 map[content-length:9 content-type:text/plain; charset=utf-8 x-two:a, b] "hello GET"`,
			"GET " + host + ` /?a=b map[Accept:[*/*] User-Agent:[` + agent + `]] ""`},
		{"head", HTTP{URL: server.URL, Method: "HEAD"}, `200 map[content-length:10 content-type:text/plain; charset=utf-8 x-two:a, b] ""`, "HEAD " + host + ` / map[Accept:[*/*] User-Agent:[` + agent + `]] ""`},
		{"post", HTTP{URL: server.URL, Method: "POST", Body: "x=y"}, `200 map[content-length:10 content-type:text/plain; charset=utf-8 x-two:a, b] "hello POST"`,
			"POST " + host + ` / map[Accept:[*/*] Content-Length:[3] Content-Type:[application/x-www-form-urlencoded] User-Agent:[` + agent + `]] "x=y"`},
		{"headers", HTTP{URL: server.URL, Header: map[string]string{"Host": "shop.example", "User-Agent": "", "accept": "", "x-own": "1"}},
			`200 map[content-length:9 content-type:text/plain; charset=utf-8 x-two:a, b] "hello GET"`, `GET shop.example / map[X-Own:[1]] ""`},
		{"user", HTTP{URL: "http://me:secret@" + host + "/moved"}, `302 map[content-length:33 content-type:text/html; charset=utf-8 location:/elsewhere] "<a href=\"/elsewhere\">Found</a>.\n\n"`,
			"GET " + host + ` /moved map[Accept:[*/*] Authorization:[Basic bWU6c2VjcmV0] User-Agent:[` + agent + `]] ""`},
		{"empty", HTTP{URL: server.URL + "/empty"}, `204 map[] ""`, ""},
		{"fails", HTTP{URL: server.URL + "/fails"}, "502 map[content-length:9 content-type:application/octet-stream] \"\\xff\\x00 binary\"", ""},
	} {
		got := a.once(Request{HTTP: &test.http})
		if got.Error != "" || got.HTTP == nil || got.HTTP.Error != "" || got.HTTP.Seconds <= 0 || time.Since(got.At) > patience {
			t.Errorf("%s: %+v %+v", test.name, got, got.HTTP)
			continue
		}
		if text := fmt.Sprintf("%d %v %q", got.HTTP.Code, got.HTTP.Headers, got.HTTP.Body); text != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.name, text, test.want)
		}
		if sent := seen.requests[len(seen.requests)-1]; test.sent != "" && sent != test.sent {
			t.Errorf("%s: the server has seen\n%s, want\n%s", test.name, sent, test.sent)
		}
	}
	if got := a.once(Request{HTTP: &HTTP{URL: server.URL + "/long"}}); len(got.HTTP.Body) != MaxBody || got.HTTP.Error != "" || got.HTTP.Headers["transfer-encoding"] != "chunked" {
		t.Errorf("of a long body are kept %d bytes, %q, %v", len(got.HTTP.Body), got.HTTP.Error, got.HTTP.Headers)
	}
	if got := a.once(Request{HTTP: &HTTP{URL: server.URL + "/long"}, Limit: 7}); string(got.HTTP.Body) != "long lo" {
		t.Errorf("of a long body is kept %q", got.HTTP.Body)
	}
}

// serve answers each connection with fn, which closes it by returning.
func serve(t *testing.T, fn func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fn(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// says reads a little and writes text.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, text)
	}
}

func TestHTTPTroubles(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	hangs := func(text string) func(net.Conn) {
		return func(conn net.Conn) { says(text)(conn); <-hang }
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	plain := serve(t, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	for name, test := range map[string]struct {
		url  string
		want string
	}{
		"refused":         {"http://" + freeAddress(t, "tcp"), "0 connection refused "},
		"closed":          {"http://" + serve(t, says("")), "0 the connection was closed without an answer "},
		"not HTTP":        {"http://" + serve(t, says("220 mail.example ESMTP\r\n")), "0 the answer is not HTTP "},
		"half a head":     {"http://" + serve(t, says("HTTP/1.1 200 OK\r\nA: b\r\n")), "0 the connection was closed without an answer "},
		"half a body":     {"http://" + serve(t, says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")), "200 the connection broke off half"},
		"no length":       {"http://" + serve(t, says("HTTP/1.0 200 OK\r\n\r\nall of it")), "200  all of it"},
		"continue":        {"http://" + serve(t, says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nhi")), "201  hi"},
		"big headers":     {"http://" + serve(t, says("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")), "0 the answer's headers are longer than 16 KiB "},
		"hangs":           {"http://" + serve(t, hangs("")), "0 timed out after 0.5 s waiting for the answer "},
		"hangs in a body": {"http://" + serve(t, hangs("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nso far")), "503 timed out after 0.5 s reading the answer so far"},
		"no such name":    {"http://nosuch.invalid/", "0 no such host "},
		"own authority":   {authority.server(t, "localhost"), "200  secure"},
		"another name":    {strings.Replace(authority.server(t, "other.example"), "127.0.0.1", "localhost", 1), "0 the certificate is for another name "},
		"expired":         {authority.expired(t), "0 the certificate is not valid at this time "},
		"no authority":    {other.URL, "0 the certificate is from an unknown authority "},
		"no TLS":          {"https://" + plain, "0 the server does not speak TLS "},
		"TLS hangs":       {"https://" + serve(t, func(net.Conn) { <-hang }), "0 timed out after 0.5 s while connecting "},
	} {
		t.Run(name, func(t *testing.T) {
			dns := serveDNS(t, "127.0.0.1:0", zone{})
			v := vantage{names: names{servers: nil, hosts: []host{{dns.address.Addr(), []string{"localhost"}}}}}
			v.names.servers = append(v.names.servers, dns.address)
			limit := DefaultTimeout
			if strings.Contains(name, "hangs") {
				limit = 500 * time.Millisecond
			}
			got, err := v.http(timeout(t, limit), HTTP{URL: test.url}, Request{Timeout: limit}.complete())
			if text := fmt.Sprintf("%d %s %s", got.Code, got.Error, got.Body); err != nil || text != test.want {
				t.Errorf("%q, %v, want %q", text, err, test.want)
			}
		})
	}
}

func TestTCP(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	a := start(t, Config{})
	for name, test := range map[string]struct {
		tcp  TCP
		want string
	}{
		"open":       {TCP{Address: serve(t, func(net.Conn) { <-hang })}, "true  "},
		"refused":    {TCP{Address: freeAddress(t, "tcp")}, "false connection refused "},
		"echo":       {TCP{Address: serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) }), Send: "hello\n", Expect: "hello\n"}, "true  hello\n"},
		"talks on":   {TCP{Address: serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) }), Send: "hello\n"}, "true  hello\n"},
		"banner":     {TCP{Address: serve(t, func(c net.Conn) { fmt.Fprint(c, "220 ready\r\n"); <-hang }), Expect: "220 "}, "true  220 ready\r\n"},
		"other":      {TCP{Address: serve(t, says("-ERR")), Send: "PING\r\n", Expect: "PONG"}, "true  -ERR"},
		"says no":    {TCP{Address: serve(t, func(c net.Conn) { says("no")(c); <-hang }), Send: "PING", Expect: "PONG"}, "true timed out after 0.5 s waiting for the answer no"},
		"says ample": {TCP{Address: serve(t, says(strings.Repeat("x", 100))), Send: "?"}, "true  " + strings.Repeat("x", 20)},
	} {
		got := a.once(Request{TCP: &test.tcp, Timeout: 500 * time.Millisecond, Limit: 20})
		if got.TCP == nil {
			t.Errorf("%s: %+v", name, got)
		} else if text := fmt.Sprintf("%v %s %s", got.TCP.Open, got.TCP.Error, got.TCP.Received); text != test.want {
			t.Errorf("%s: %q, want %q", name, text, test.want)
		}
	}
}

// changing is a server whose answer can be changed, and waits until it was asked for.
type changing struct {
	*httptest.Server
	status atomic.Int64
	asked  chan struct{}
}

func newChanging(t *testing.T) *changing {
	c := &changing{asked: make(chan struct{})}
	c.status.Store(200)
	done := make(chan struct{})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(c.status.Load()))
		select {
		case c.asked <- struct{}{}:
		case <-done:
		}
	}))
	t.Cleanup(func() {
		close(done)
		c.Close()
	})
	return c
}

func (c *changing) answers(t *testing.T, status int, times int) {
	t.Helper()
	c.status.Store(int64(status))
	for range times {
		select {
		case <-c.asked:
		case <-time.After(patience):
			t.Fatal("nobody asks")
		}
	}
}

// TestWatch: only what differs is sent.
func TestWatch(t *testing.T) {
	for watch, want := range map[Watch][]int{
		WatchStatus: {200, 404, 500, 503, 200},
		WatchUp:     {200, 500, 200},
		WatchEvery:  {200, 200, 200, 404, 404, 404, 500, 500, 500, 503, 503, 503, 200, 200, 200},
	} {
		server := newChanging(t)
		a := start(t, Config{})
		a.send(Request{ID: "1", HTTP: &HTTP{URL: server.URL}, Watch: watch, Every: MinEvery})
		go func() {
			for _, status := range []int{200, 404, 500, 503, 200} {
				// A status that is set while a look is under way may be its answer or the next one's.
				server.answers(t, status, 3)
			}
		}()
		var got []int
		for len(got) < len(want) {
			got = append(got, a.next().HTTP.Code)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", watch, got, want)
		}
	}
}

func TestAgain(t *testing.T) {
	server := newChanging(t)
	a := start(t, Config{})
	a.send(Request{ID: "1", HTTP: &HTTP{URL: server.URL}, Every: time.Hour})
	server.answers(t, 200, 1)
	a.next()
	for range 3 {
		a.send(Request{ID: "1", Again: true})
		server.answers(t, 200, 1)
		if got := a.next(); got.HTTP.Code != 200 {
			t.Errorf("%+v", got)
		}
	}
	// What is asked for while a look is under way is one more look.
	began, finish := make(chan struct{}), make(chan struct{})
	slow := serve(t, func(net.Conn) { began <- struct{}{}; <-finish })
	a.send(Request{ID: "slow", TCP: &TCP{Address: slow, Expect: "x"}, Every: time.Hour})
	<-began
	a.send(Request{ID: "slow", Again: true})
	a.send(Request{ID: "slow", Again: true})
	a.send(Request{ID: "nobody", Again: true})
	if got := a.next(); got.ID != "nobody" { // by then the others have been read
		t.Errorf("%+v", got)
	}
	close(finish)
	a.next()
	<-began
	a.next()
	a.send(Request{ID: "2", Again: true})
	if got := a.next(); got.ID != "2" || got.Error != "there is no such probe" {
		t.Errorf("%+v", got)
	}
	// A request with the same id takes its place.
	a.send(Request{ID: "1", TCP: &TCP{Address: freeAddress(t, "tcp")}, Every: time.Hour})
	if got := a.next(); got.TCP == nil || got.TCP.Error != "connection refused" {
		t.Errorf("%+v", got)
	}
	a.send(Request{ID: "1", Stop: true})
	a.send(Request{ID: "1", Again: true})
	if got := a.next(); got.Error != "there is no such probe" {
		t.Errorf("%+v", got)
	}
	a.send(Request{ID: "3", HTTP: &HTTP{URL: "gopher://x"}})
	if got := a.next(); got.ID != "3" || !strings.Contains(got.Error, "no http or https URL") {
		t.Errorf("%+v", got)
	}
}

// TestBounds: so many probes and no more, and so many looks at once.
func TestBounds(t *testing.T) {
	var now, most atomic.Int64
	full, release := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == MaxInFlight {
			select {
			case full <- struct{}{}:
			default:
			}
		}
		<-release
	}))
	defer server.Close()
	a := start(t, Config{})
	for i := range MaxProbes {
		a.send(Request{ID: fmt.Sprint(i), HTTP: &HTTP{URL: server.URL}, Every: time.Hour, Timeout: MaxTimeout})
	}
	a.send(Request{ID: "more", HTTP: &HTTP{URL: server.URL}})
	if got := a.next(); got.ID != "more" || got.Error != "there are 64 probes already" {
		t.Errorf("%+v", got)
	}
	<-full
	close(release)
	for range MaxProbes {
		if got := a.next(); got.HTTP == nil || got.HTTP.Code != 200 {
			t.Errorf("%+v", got)
		}
	}
	if got := most.Load(); got != MaxInFlight {
		t.Errorf("%d looks at once, want %d", got, MaxInFlight)
	}
	a.send(Request{ID: "0", Stop: true})
	if got := a.once(Request{ID: "more", HTTP: &HTTP{URL: server.URL}}); got.HTTP == nil {
		t.Errorf("in the place of a probe that was stopped: %+v", got)
	}
}

// TestSignOfLife: what does not change is told from time to time, as it was.
func TestSignOfLife(t *testing.T) {
	address := freeAddress(t, "tcp")
	synctest.Test(t, func(t *testing.T) {
		a := start(t, Config{})
		begin := time.Now()
		a.send(Request{ID: "1", TCP: &TCP{Address: address}, Every: time.Hour})
		first := a.next()
		for i := 1; i <= 3; i++ {
			again := a.next()
			if took := time.Since(begin); took != time.Duration(i)*SignOfLife || again.TCP == nil || !again.At.Equal(first.At) {
				t.Errorf("after %v: %+v, want what was seen at %v", took, again, first.At)
			}
		}
		a.in.Close()
		if err := <-a.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestEnd(t *testing.T) {
	server := newChanging(t)
	running := func() *asked {
		a := start(t, Config{})
		a.send(Request{ID: "1", HTTP: &HTTP{URL: server.URL}, Every: MinEvery, Watch: WatchEvery})
		server.answers(t, 200, 1)
		a.next()
		return a
	}
	a := running()
	a.in.Close()
	if err := <-a.ended; err != nil {
		t.Errorf("at its input's end it ends with %v", err)
	}
	a = running()
	if _, err := io.WriteString(a.in, "shell\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-a.ended; !errors.Is(err, errLine) {
		t.Errorf("an unreadable line: %v", err)
	}
	a = running()
	go func() { _, _ = a.in.Write(make([]byte, 2*MaxLine)) }()
	if err := <-a.ended; !errors.Is(err, bufio.ErrTooLong) {
		t.Errorf("an endless line: %v", err)
	}
	deaf := errors.New("nobody listens")
	err := Run(strings.NewReader(`{"id":"1","dns":{"name":"localhost","type":"A"}}`+"\n"+strings.Repeat(" ", MaxLine/2)), failing{deaf}, Config{})
	if err != nil && !errors.Is(err, deaf) && !errors.Is(err, errLine) {
		t.Errorf("an output that fails: %v", err)
	}
	hold, holding := io.Pipe()
	defer holding.Close()
	go func() { _ = Request{ID: "1", DNS: &DNS{Name: "localhost", Type: "A"}}.Write(holding) }()
	if err := Run(hold, failing{deaf}, Config{}); !errors.Is(err, deaf) {
		t.Errorf("an output that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestFrozen: a look during which the program stood still is no answer. It is
// stopped as the kernel's freezer does it, without its knowing.
func TestFrozen(t *testing.T) {
	const limit = 300 * time.Millisecond
	arrived, release := make(chan struct{}), make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case arrived <- struct{}{}:
			<-release
		default: // nobody waits for later ones
		}
		fmt.Fprint(w, "well")
	}))
	defer server.Close()
	defer close(release)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=1")
	in, err := cmd.StdinPipe()
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
	a := &asked{t: t, in: in, lines: Lines(out), ended: make(chan error, 1)}
	a.send(Request{ID: "1", HTTP: &HTTP{URL: server.URL}, Every: time.Hour, Timeout: limit})
	<-arrived
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(limit + stillness + 100*time.Millisecond) // the time of the ice
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := a.next(); got.HTTP.Error != "" || string(got.HTTP.Body) != "well" {
		t.Errorf("after the thaw: %+v", got.HTTP)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ends with %v", err)
	}
}
