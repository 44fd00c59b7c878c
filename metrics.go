package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/web"
)

// metricsPath is where Prometheus looks unless told otherwise.
const metricsPath = "/metrics"

// startBuckets are seconds: around the second that a warm start may take, the
// six of a cold one, and the minute of a template.
var startBuckets = []float64{.25, .5, .75, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 30, 60, 120, 300}

// methods are those that the site answers; what else a client writes there must
// not make a metric of its own.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// metrics are what Prometheus reads of one server. How things stand is told at
// each scrape, as the fleet knows it: no scrape has containers measured. What
// happens is counted when it does.
type metrics struct {
	registry  *prometheus.Registry
	starts    *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	sleeps    *prometheus.CounterVec
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		starts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "drydock_sandbox_start_seconds", Buckets: startBuckets,
			Help: "How long it took to hand over a sandbox (how: warm, cold or scratch) or to make a template (how: template).",
		}, []string{"kind", "how"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drydock_sandbox_failures_total", Help: "Operations on sandboxes and templates that failed.",
		}, []string{"kind", "doing"}),
		sleeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drydock_sandbox_sleeps_total", Help: "Sessions' sandboxes that were frozen because nobody used them, and thawed (to: frozen or running).",
		}, []string{"kind", "to"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drydock_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"method", "route", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "drydock_http_request_seconds", Buckets: prometheus.DefBuckets,
			Help: "How long requests took; event streams and terminals are left out, they last as long as a page is open.",
		}, []string{"route"}),
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "drydock_build_info", Help: "Always 1; the label tells the version.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.starts, m.failures, m.sleeps, m.requests, m.durations, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// answered counts a request.
func (m *metrics) answered(a web.Answer) {
	method, route := a.Method, a.Route
	if !slices.Contains(methods, method) {
		method = "other"
	}
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(a.Status)).Inc()
	if !a.Open {
		m.durations.WithLabelValues(route).Observe(a.Took.Seconds())
	}
}

// history passes measurements on to next, and observes the starts among them.
func (m *metrics) history(next fleet.History) fleet.History { return observedHistory{next, m} }

type observedHistory struct {
	fleet.History
	metrics *metrics
}

func (h observedHistory) AddMeasurement(ctx context.Context, measured fleet.Measurement) error {
	if measured.How != fleet.Used {
		h.metrics.starts.WithLabelValues(string(measured.Kind), measured.How).Observe(measured.Took.Seconds())
	}
	return h.History.AddMeasurement(ctx, measured)
}

// provider counts what a provider fails at, and what falls asleep and wakes.
func (m *metrics) provider(next sandbox.Provider) sandbox.Provider {
	return countedProvider{next, m}
}

type countedProvider struct {
	sandbox.Provider
	metrics *metrics
}

// Differences are the provider's, which may have none to tell.
func (p countedProvider) Differences() []string {
	if d, ok := p.Provider.(sandbox.Different); ok {
		return d.Differences()
	}
	return nil
}

// failed counts an error. What was called off, as by the end of a session, is no failure.
func (p countedProvider) failed(ctx context.Context, doing string, err error) error {
	if err != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		p.metrics.failures.WithLabelValues(string(p.Kind()), doing).Inc()
	}
	return err
}

func (p countedProvider) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	info, err := p.Provider.Create(ctx, spec, progress)
	return info, p.failed(ctx, "create", err)
}

func (p countedProvider) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	info, err := p.Provider.Reset(ctx, spec, progress)
	return info, p.failed(ctx, "reset", err)
}

func (p countedProvider) Spare(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	info, err := p.Provider.Spare(ctx, spec, progress)
	return info, p.failed(ctx, "spare", err)
}

func (p countedProvider) MakeTemplate(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Template, error) {
	t, err := p.Provider.MakeTemplate(ctx, spec, progress)
	return t, p.failed(ctx, "template", err)
}

func (p countedProvider) Keep(ctx context.Context, session string) error {
	return p.failed(ctx, "keep", p.Provider.Keep(ctx, session))
}

func (p countedProvider) Destroy(ctx context.Context, session string) error {
	return p.failed(ctx, "destroy", p.Provider.Destroy(ctx, session))
}

func (p countedProvider) Discard(ctx context.Context, id string) error {
	return p.failed(ctx, "discard", p.Provider.Discard(ctx, id))
}

func (p countedProvider) Recover(ctx context.Context, session string) error {
	return p.failed(ctx, "recover", p.Provider.Recover(ctx, session))
}

func (p countedProvider) Freeze(ctx context.Context, session string) error {
	err := p.Provider.Freeze(ctx, session)
	if err == nil {
		p.metrics.sleeps.WithLabelValues(string(p.Kind()), string(sandbox.Frozen)).Inc()
	}
	return p.failed(ctx, "freeze", err)
}

func (p countedProvider) Thaw(ctx context.Context, session string) error {
	err := p.Provider.Thaw(ctx, session)
	if err == nil {
		p.metrics.sleeps.WithLabelValues(string(p.Kind()), string(sandbox.Running)).Inc()
	}
	return p.failed(ctx, "thaw", err)
}

// watch adds how the fleet and the sessions stand at each scrape.
func (m *metrics) watch(status func() fleet.Status, running func() []*labs.Session, now func() time.Time) {
	m.registry.MustRegister(&fleetCollector{status: status, running: running, now: now, is: fleetDescs()})
}

// fleetCollector asks the fleet and the sessions how they stand.
type fleetCollector struct {
	status  func() fleet.Status
	running func() []*labs.Session
	now     func() time.Time
	is      descs
}

// descs name and explain what the collector tells.
type descs struct {
	engine, draining, sessions, sandboxes, memory, pids, disk,
	templates, templateBytes, spares, wanted, queue, wait *prometheus.Desc
}

func fleetDescs() descs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("drydock_"+name, help, labels, nil)
	}
	return descs{
		engine:        desc("engine_up", "1 while the container engine answers."),
		draining:      desc("draining", "1 while an operator lets no new session in."),
		sessions:      desc("sessions", "Sessions that have not ended, by phase: queued, starting, running, asleep or trouble.", "phase"),
		sandboxes:     desc("sandboxes", "Sandboxes on the engine, by what they are for and what they do.", "kind", "use", "state"),
		memory:        desc("memory_bytes", "What sandboxes may take together (budget), take (used; the spares of it: spares), and are promised (reserved).", "of"),
		pids:          desc("sandbox_pids", "Processes and threads in all sandboxes."),
		disk:          desc("sandbox_disk_bytes", "What all sandboxes have written, as far as it is known."),
		templates:     desc("templates", "Templates by whether they are there (ready) or being made (making).", "state"),
		templateBytes: desc("template_bytes", "Disk that templates take."),
		spares:        desc("spares", "Spares that are ready, by template.", "template"),
		wanted:        desc("spares_wanted", "Spares that the pool means to have, by template.", "template"),
		queue:         desc("queue_length", "Starts that wait for room or a turn."),
		wait:          desc("queue_oldest_wait_seconds", "How long the longest-waiting start has waited; 0 when none waits."),
	}
}

func (d descs) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.engine, d.draining, d.sessions, d.sandboxes, d.memory, d.pids, d.disk,
		d.templates, d.templateBytes, d.spares, d.wanted, d.queue, d.wait}
}

// Describe implements [prometheus.Collector].
func (c *fleetCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.is.all() {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *fleetCollector) Collect(out chan<- prometheus.Metric) {
	g := gauges{out}
	s := c.status()
	g.set(c.is.engine, truth(s.Engine == nil))
	g.set(c.is.draining, truth(s.Draining))
	c.sessions(g)
	c.sandboxes(g, s)
	c.templates(g, s)
	g.set(c.is.memory, float64(s.Memory.Budget), "budget")
	g.set(c.is.memory, float64(s.Memory.Used), "used")
	g.set(c.is.memory, float64(s.Memory.Reserved), "reserved")
	g.set(c.is.memory, float64(s.Memory.Spares), "spares")
	g.set(c.is.memory, float64(s.Memory.Kept), "kept")
	g.set(c.is.queue, float64(len(s.Queue)))
	var oldest time.Duration
	for _, w := range s.Queue {
		oldest = max(oldest, c.now().Sub(w.Since))
	}
	g.set(c.is.wait, oldest.Seconds())
}

func (c *fleetCollector) sessions(g gauges) {
	// Those at 0 are told, too: a graph then falls to 0 instead of ending.
	phases := map[string]int{"queued": 0, "starting": 0, "running": 0, "asleep": 0, "trouble": 0}
	for _, session := range c.running() {
		phases[phaseOf(session.Snapshot())]++
	}
	for phase, n := range phases {
		g.set(c.is.sessions, float64(n), phase)
	}
}

// phaseOf tells apart what costs a server differently.
func phaseOf(p labs.Progress) string {
	switch {
	case p.Asleep:
		return "asleep"
	case p.Queued.Place > 0:
		return "queued"
	default:
		return string(p.Phase)
	}
}

func (c *fleetCollector) sandboxes(g gauges, s fleet.Status) {
	type key struct{ kind, use, state string }
	counts := map[key]int{}
	var pids, disk int64
	for _, box := range s.Sandboxes {
		counts[key{string(box.Kind), string(box.Use), string(box.State)}]++
		pids += box.Usage.PIDs
		disk += box.Usage.Disk
	}
	for k, n := range counts {
		g.set(c.is.sandboxes, float64(n), k.kind, k.use, k.state)
	}
	g.set(c.is.pids, float64(pids))
	g.set(c.is.disk, float64(disk))
}

func (c *fleetCollector) templates(g gauges, s fleet.Status) {
	ready, making := 0, 0
	var size int64
	for _, t := range s.Templates {
		if t.Making {
			making++
		} else {
			ready++
		}
		size += t.Size
	}
	g.set(c.is.templates, float64(ready), "ready")
	g.set(c.is.templates, float64(making), "making")
	g.set(c.is.templateBytes, float64(size))
	for _, spares := range s.Spares {
		g.set(c.is.spares, float64(spares.Ready), spares.Template)
		g.set(c.is.wanted, float64(spares.Wanted), spares.Template)
	}
}

type gauges struct{ out chan<- prometheus.Metric }

func (g gauges) set(desc *prometheus.Desc, value float64, labels ...string) {
	g.out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// serveMetrics answers scrapes at addr until stop is called; with an empty addr
// it does nothing. The address is said on out.
func (p *platform) serveMetrics(ctx context.Context, out io.Writer, addr string, log *slog.Logger) (stop func() error, err error) {
	if addr == "" {
		return func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for metrics: %w (choose another address with --metrics)", addr, err)
	}
	fmt.Fprintf(out, "Metrics are at %s%s\n", localURL(listener.Addr()), metricsPath)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.metrics.serve(ctx, listener, log) }()
	return func() error {
		cancel()
		return <-ended
	}, nil
}

// serve answers scrapes until ctx ends. The listener is not the learners'.
func (m *metrics) serve(ctx context.Context, listener net.Listener, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), MaxRequestsInFlight: 2, Registry: m.registry,
	}))
	return serveHTTP(ctx, listener, mux, log)
}
