package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/web"
)

// scrape reads metrics from a listener as Prometheus does.
func scrape(t *testing.T, address string) map[string]*dto.MetricFamily {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+metricsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v:\n%s", response.StatusCode, err, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatalf("Prometheus can't read it: %v\n%s", err, text)
	}
	return families
}

// sample finds the one metric of a family with these labels: names and values in turn.
func sample(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) *dto.Metric {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		fits := len(have) == len(labels)/2
		for i := 0; i+1 < len(labels); i += 2 {
			fits = fits && have[labels[i]] == labels[i+1]
		}
		if fits {
			return m
		}
	}
	t.Fatalf("there is no %s%q; there are: %v", name, labels, families[name])
	return nil
}

// memoryHistory remembers measurements, and can be told to fail.
type memoryHistory struct {
	kept []fleet.Measurement
	err  error
}

func (h *memoryHistory) AddMeasurement(_ context.Context, m fleet.Measurement) error {
	h.kept = append(h.kept, m)
	return h.err
}

func (h *memoryHistory) Measurements(context.Context, time.Time) ([]fleet.Measurement, error) {
	return h.kept, nil
}

// failingProvider does what it is asked, unless err is set.
type failingProvider struct {
	sandbox.Provider
	err error
}

func (*failingProvider) Differences() []string { return []string{"It fails."} }

func (p *failingProvider) Kind() sandbox.Kind { return sandbox.Cluster }
func (p *failingProvider) Create(ctx context.Context, _ sandbox.Spec, _ sandbox.Progress) (sandbox.Info, error) {
	return sandbox.Info{}, errors.Join(p.err, ctx.Err())
}
func (p *failingProvider) Freeze(context.Context, string) error { return p.err }
func (p *failingProvider) Thaw(context.Context, string) error   { return p.err }

func TestMetricsTellHowThingsStand(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	status := fleet.Status{
		Sandboxes: []fleet.SandboxStatus{
			{Info: sandbox.Info{ID: "a", Kind: sandbox.Cluster, Use: sandbox.Serving, State: sandbox.Frozen}, Usage: sandbox.Usage{PIDs: 100, Disk: 5}},
			{Info: sandbox.Info{ID: "b", Kind: sandbox.Cluster, Use: sandbox.Spare, State: sandbox.Frozen}, Usage: sandbox.Usage{PIDs: 50, Disk: 6}},
		},
		Templates: []fleet.TemplateStatus{
			{Template: sandbox.Template{ID: "1", Name: "lab-1-typo", Size: 100}},
			{Template: sandbox.Template{ID: "2", Name: "lab-1-typo", Size: 30}}, // of an older image
			{Template: sandbox.Template{ID: "3", Name: "lab-1-port"}, Making: true},
		},
		Spares: []fleet.SpareStatus{
			{Template: "lab-1-typo", Ready: 2, Wanted: 2}, {Template: "lab-1-port", Wanted: 1},
			{Template: "machine-1-default", Ready: 1, Wanted: 1},
		},
		Queue:    []fleet.Waiting{{Since: now.Add(-90 * time.Second)}, {Since: now.Add(-3 * time.Second)}},
		Memory:   fleet.Memory{Budget: 1000, Used: 400, Reserved: 500, Spares: 150},
		Draining: true, Engine: sandbox.ErrEngine,
	}
	m := newMetrics()
	m.watch(func() fleet.Status { return status }, func() []*labs.Session { return nil }, func() time.Time { return now })

	history := &memoryHistory{err: errors.New("the disk is full")}
	observed := m.history(history)
	for _, took := range []time.Duration{700 * time.Millisecond, 900 * time.Millisecond, 5 * time.Second} {
		if err := observed.AddMeasurement(t.Context(), fleet.Measurement{Kind: sandbox.Cluster, How: fleet.Warm, Took: took}); err == nil {
			t.Error("the history's error is lost")
		}
	}
	_ = observed.AddMeasurement(t.Context(), fleet.Measurement{Kind: sandbox.Cluster, How: fleet.Used, Took: time.Hour})
	if len(history.kept) != 4 {
		t.Errorf("%d measurements were passed on", len(history.kept))
	}

	broken := &failingProvider{}
	counted := m.provider(broken)
	_, _ = counted.Freeze(t.Context(), "s"), counted.Thaw(t.Context(), "s")
	broken.err = errors.New("no")
	_ = counted.Freeze(t.Context(), "s")
	_, _ = counted.Create(t.Context(), sandbox.Spec{}, nil)
	if d := counted.(sandbox.Different).Differences(); !slices.Equal(d, broken.Differences()) {
		t.Errorf("a provider that is counted has the differences %q", d)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	_, _ = counted.Create(ended, sandbox.Spec{}, nil) // called off: no failure

	m.answered(web.Answer{Method: "GET", Route: "/labs/{slug}", Status: 200, Took: 20 * time.Millisecond})
	m.answered(web.Answer{Method: "BREW", Status: 405, Took: time.Millisecond})
	m.answered(web.Answer{Method: "GET", Route: "/sessions/{id}/events", Status: 200, Took: time.Hour, Open: true})

	got := scrape(t, serveMetrics(t, m))
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{0, "drydock_engine_up", nil},
		{1, "drydock_draining", nil},
		{0, "drydock_sessions", []string{"phase", "running"}},
		{1, "drydock_sandboxes", []string{"kind", "cluster", "use", "serving", "state", "frozen"}},
		{1, "drydock_sandboxes", []string{"kind", "cluster", "use", "spare", "state", "frozen"}},
		{150, "drydock_sandbox_pids", nil},
		{11, "drydock_sandbox_disk_bytes", nil},
		{1000, "drydock_memory_bytes", []string{"of", "budget"}},
		{400, "drydock_memory_bytes", []string{"of", "used"}},
		{500, "drydock_memory_bytes", []string{"of", "reserved"}},
		{150, "drydock_memory_bytes", []string{"of", "spares"}},
		{2, "drydock_templates", []string{"state", "ready"}},
		{1, "drydock_templates", []string{"state", "making"}},
		{130, "drydock_template_bytes", nil},
		{2, "drydock_spares", []string{"template", "lab-1-typo"}},
		{2, "drydock_spares_wanted", []string{"template", "lab-1-typo"}},
		{1, "drydock_spares_wanted", []string{"template", "lab-1-port"}},
		{1, "drydock_spares", []string{"template", "machine-1-default"}},
		{2, "drydock_queue_length", nil},
		{90, "drydock_queue_oldest_wait_seconds", nil},
		{1, "drydock_build_info", []string{"version", version}},
	} {
		if v := sample(t, got, want.name, want.labels...).GetGauge().GetValue(); v != want.value {
			t.Errorf("%s%q is %v, want %v", want.name, want.labels, v, want.value)
		}
	}
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{1, "drydock_sandbox_sleeps_total", []string{"kind", "cluster", "to", "frozen"}},
		{1, "drydock_sandbox_sleeps_total", []string{"kind", "cluster", "to", "running"}},
		{1, "drydock_sandbox_failures_total", []string{"kind", "cluster", "doing", "freeze"}},
		{1, "drydock_sandbox_failures_total", []string{"kind", "cluster", "doing", "create"}},
		{1, "drydock_http_requests_total", []string{"method", "GET", "route", "/labs/{slug}", "code", "200"}},
		{1, "drydock_http_requests_total", []string{"method", "other", "route", "none", "code", "405"}},
		{1, "drydock_http_requests_total", []string{"method", "GET", "route", "/sessions/{id}/events", "code", "200"}},
	} {
		if v := sample(t, got, want.name, want.labels...).GetCounter().GetValue(); v != want.value {
			t.Errorf("%s%q is %v, want %v", want.name, want.labels, v, want.value)
		}
	}
	starts := sample(t, got, "drydock_sandbox_start_seconds", "kind", "cluster", "how", "warm").GetHistogram()
	if starts.GetSampleCount() != 3 || starts.GetSampleSum() != 6.6 {
		t.Errorf("the starts are %v", starts)
	}
	for _, b := range starts.GetBucket() {
		if b.GetUpperBound() == 1 && b.GetCumulativeCount() != 2 {
			t.Errorf("%d starts within a second, want 2", b.GetCumulativeCount())
		}
	}
	if len(families(got, "drydock_sandbox_start_seconds")) != 1 {
		t.Error("how long a session lasted counts as a start")
	}
	if len(families(got, "drydock_http_request_seconds")) != 2 {
		t.Error("an event stream counts as a slow request")
	}
	if got["go_goroutines"] == nil || got["process_open_fds"] == nil {
		t.Error("nothing of the Go runtime and the process")
	}
}

func families(all map[string]*dto.MetricFamily, name string) []*dto.Metric {
	return all[name].GetMetric()
}

// serveMetrics serves them on a listener of their own, until the test ends.
func serveMetrics(t *testing.T, m *metrics) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.serve(ctx, listener, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// The server itself, without an engine: its metrics are where it says, and
// nowhere on the learners' port.
func TestServeTellsMetricsOnAListenerOfTheirOwn(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	ctx, stop := context.WithCancel(t.Context())
	out, printed := io.Pipe()
	cmd := newServeCommand()
	cmd.SetArgs([]string{"--addr", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data", t.TempDir(), "--memory", "3GiB"})
	cmd.SetOut(printed)
	cmd.SetErr(io.Discard)
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		printed.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	defer func() {
		stop()
		go func() { _, _ = io.Copy(io.Discard, out) }() // what it still prints
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var site, metricsAt string
	for lines := bufio.NewScanner(out); site == "" && lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "Metrics are at http://"); ok {
			metricsAt = strings.TrimSuffix(at, metricsPath)
		}
		if at, ok := strings.CutPrefix(lines.Text(), "Drydock is at "); ok {
			site = at
		}
	}
	if site == "" || metricsAt == "" || strings.HasSuffix(site, metricsAt) {
		t.Fatalf("the site is at %q, its metrics at %q", site, metricsAt)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for path, want := range map[string]int{"/labs": http.StatusOK, metricsPath: http.StatusNotFound} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("the site's %s: status %d, want %d", path, response.StatusCode, want)
		}
	}
	got := scrape(t, metricsAt)
	if v := sample(t, got, "drydock_engine_up").GetGauge().GetValue(); v != 0 {
		t.Errorf("an engine that is not there is up: %v", v)
	}
	if v := sample(t, got, "drydock_memory_bytes", "of", "budget").GetGauge().GetValue(); v != 3<<30 {
		t.Errorf("the budget is %v", v)
	}
	if v := sample(t, got, "drydock_http_requests_total", "method", "GET", "route", "/labs", "code", "200").GetCounter().GetValue(); v != 1 {
		t.Errorf("%v requests for the labs", v)
	}
	sample(t, got, "drydock_http_requests_total", "method", "GET", "route", "none", "code", "404")
}
