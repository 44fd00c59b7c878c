package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// callTimeout bounds one call of another part: a user would not wait longer for a page.
	callTimeout = 2 * time.Second
	// drainTime is how long requests under way may take after SIGTERM; Kubernetes kills after 30 s.
	drainTime = 5 * time.Second
	// maxAnswer is how much of another part's answer is read: they are all small.
	maxAnswer = 1 << 20
	// headerTimeout keeps a client that says nothing from holding a connection.
	headerTimeout = 10 * time.Second
)

// serve answers HTTP on addr until the context ends, then lets requests under way finish.
func serve(ctx context.Context, out io.Writer, addr string, handler http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	say(out, "listening on %s", l.Addr())
	server := &http.Server{Handler: logged(out, handler), ReadHeaderTimeout: headerTimeout}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		say(out, "stopping: finishing requests under way")
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		drained <- server.Shutdown(ctx)
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// logged prints a line for each request, except for successful health checks: they would bury the rest.
func logged(out io.Writer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		start := time.Now()
		next.ServeHTTP(sw, r)
		if r.URL.Path != "/healthz" || sw.status >= http.StatusBadRequest {
			say(out, "%s %s %d %s", r.Method, r.URL.Path, sw.status, time.Since(start).Round(time.Millisecond))
		}
	})
}

// call gets a URL's answer; anything but 200 is an error.
func call(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// A connection of its own for each call: a kept one would go on reaching a
	// pod that its Service has long taken out.
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, res.Status)
	}
	return body, nil
}

func runWeb(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("web", flag.ContinueOnError)
	listen := fs.String("listen", ":8080", "`address` to serve on")
	title := fs.String("title", "The shop", "what the page is called")
	api := fs.String("api", "", "`URL` whose answer the page shows; without one the page is always the same")
	after := fs.Duration("listen-after", 0, "wait this long before serving")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if err := pause(ctx, out, *after); err != nil {
		return err
	}
	return serve(ctx, out, *listen, web(*title, *api))
}

// web serves a page at /, and at /healthz whether the page could be made.
func web(title, api string) http.Handler {
	host, _ := os.Hostname()
	mux := http.NewServeMux()
	page := func(w http.ResponseWriter, r *http.Request) (string, bool) {
		if api == "" {
			return "", true
		}
		body, err := call(r.Context(), api)
		if err != nil {
			http.Error(w, "the API does not answer: "+err.Error(), http.StatusBadGateway)
			return "", false
		}
		return string(body), true
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		body, ok := page(w, r)
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html>\n<title>%[1]s</title>\n<h1>%[1]s</h1>\n<pre>%[2]s</pre>\n<p>served by %[3]s</p>\n",
			html.EscapeString(title), html.EscapeString(body), html.EscapeString(host))
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := page(w, r); ok {
			fmt.Fprintln(w, "ok")
		}
	})
	return mux
}

func runAPI(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("api", flag.ContinueOnError)
	listen := fs.String("listen", ":8081", "`address` to serve on")
	db := fs.String("db", "", "`address` of the database; without one the API needs none")
	latency := fs.Duration("latency", 0, "how long each answer takes")
	after := fs.Duration("listen-after", 0, "wait this long before serving")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if err := pause(ctx, out, *after); err != nil {
		return err
	}
	return serve(ctx, out, *listen, api(*db, *latency))
}

// api answers /items from the database, /work with the processor's time that ?ms= asks for, and /healthz.
func api(db string, latency time.Duration) http.Handler {
	var served atomic.Int64
	mux := http.NewServeMux()
	ready := func(w http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(latency):
		case <-r.Context().Done():
			return false
		}
		if db == "" {
			return true
		}
		if err := askDB(r.Context(), db); err != nil {
			http.Error(w, "the database does not answer: "+err.Error(), http.StatusServiceUnavailable)
			return false
		}
		return true
	}
	mux.HandleFunc("GET /items", func(w http.ResponseWriter, r *http.Request) {
		if !ready(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"items": []string{"anchor", "compass", "rope"}, "served": served.Add(1)})
	})
	mux.HandleFunc("GET /work", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("ms") + "ms")
		if err != nil || d < 0 || d > drainTime {
			http.Error(w, "ms is a number of milliseconds, at most 5000", http.StatusBadRequest)
			return
		}
		burn(r.Context(), d)
		fmt.Fprintln(w, "done")
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if ready(w, r) {
			fmt.Fprintln(w, "ok")
		}
	})
	return mux
}

// burn keeps a processor busy.
func burn(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
	}
}

// askDB sends the database one line and waits for its answer.
func askDB(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(conn, "ping"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", addr, err)
	}
	if answer != "ok ping\n" {
		return fmt.Errorf("%s answered %q, which is not how this database speaks", addr, answer)
	}
	return nil
}

func runDB(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("db", flag.ContinueOnError)
	listen := fs.String("listen", ":5432", "`address` to serve on")
	after := fs.Duration("listen-after", 0, "wait this long before serving")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if err := pause(ctx, out, *after); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	return serveDB(ctx, l, out)
}

// serveDB answers each line with "ok" and the line.
func serveDB(ctx context.Context, l net.Listener, out io.Writer) error {
	say(out, "ready to accept connections on %s", l.Addr())
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				fmt.Fprintf(conn, "ok %s\n", lines.Text())
			}
		}()
	}
}
