package grade

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/sandbox"
)

const (
	// probeTimeout bounds one request of a probe.
	probeTimeout = 5 * time.Second
	// probeSpan is how long one command keeps probing while nothing changes:
	// starting a command through the engine costs ten times what the request
	// itself does. It also bounds what is left running when a run ends.
	probeSpan = 20 * time.Second
	// probeGrace is what starting and ending the command may take on top
	// before the engine is held to be in trouble.
	probeGrace = 10 * time.Second
	// maxBody bounds what is kept of an answer's body; the rest is cut off.
	maxBody = 64 << 10
	// defaultServiceEvery is fine enough to count lost seconds of service.
	defaultServiceEvery = 500 * time.Millisecond
)

//go:embed probe.sh
var probeScript string

// requests is the source of an http check: curl on the node, where the
// learner has no say, through the cluster's own DNS and service network.
type requests struct {
	*place
	http        HTTP
	everyAnswer bool // do not leave out answers with the same status and body
}

// probing is one command that sends the request, once or for a while.
type probing struct {
	known string // state of the last answer: return when it differs
	watch string
	first time.Duration
	span  time.Duration
}

// What makes two answers differ for probe.sh.
const (
	watchStatus = "status"
	watchUp     = "up"
)

// stateUp is the state of a service that is up, with watchUp.
const stateUp = "up"

func (r *requests) look(ctx context.Context) (data, error) {
	_, seen, err := r.probe(ctx, probing{watch: watchStatus})
	return seen, err
}

func (r *requests) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	r.followProbe(ctx, watchStatus, again, func(_ string, seen data, err error) { report(seen, err) })
}

// followProbe probes until ctx ends, and reports each answer that differs from the one before.
func (r *requests) followProbe(ctx context.Context, watch string, again <-chan struct{}, report func(state string, seen data, err error)) {
	every := r.http.period()
	next := probing{watch: watch}
	var after retry
	for {
		interruptible, stop := interruptedBy(ctx, again)
		state, seen, err := r.probe(interruptible, next)
		interrupted := interruptible.Err() != nil
		stop()
		switch {
		case ctx.Err() != nil:
			return
		case interrupted:
			next = probing{watch: watch}
		case err != nil:
			report("", data{}, err)
			after.pause(ctx, again)
			next = probing{watch: watch}
		default:
			after.reset()
			report(state, seen, nil)
			next = probing{watch: watch, known: state, first: every, span: probeSpan}
			if r.everyAnswer {
				next.span = 0
			}
		}
	}
}

// interruptedBy returns a context that also ends when again can be received from.
func interruptedBy(ctx context.Context, again <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case <-again:
			cancel()
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// probe runs the probe command. No answer is something seen; only a command
// that could not run is an error.
func (r *requests) probe(ctx context.Context, p probing) (string, data, error) {
	ctx, cancel := context.WithTimeout(ctx, p.first+p.span+probeTimeout+probeGrace)
	defer cancel()
	res, err := r.run(ctx, sandbox.Command{
		Where: sandbox.OnNode, Argv: r.argv(p), Stdin: strings.NewReader(probeScript), MaxOutput: 4 * maxBody,
	})
	if err != nil {
		return "", data{}, err
	}
	if res.ExitCode != 0 {
		return "", data{}, &blindness{cannotRun, fmt.Errorf("the probe ended with code %d: %s", res.ExitCode, excerpt(string(res.Stderr)))}
	}
	state, seen, err := parseProbe(res.Stdout, r.bodyLimit())
	if err != nil {
		return "", data{}, &blindness{cannotRun, err}
	}
	return state, data{Response: seen}, nil
}

// argv is the probe's command line: a shell that reads the script from its
// input. No argument is read as code.
func (r *requests) argv(p probing) []string {
	argv := []string{"sh", "-s", "--"}
	from := ""
	if r.cluster != nil {
		argv = append([]string{"unshare", "--mount"}, argv...)
		from = r.http.From
	}
	every := r.http.period()
	argv = append(argv, from, p.known, p.watch, inSeconds(p.first), inSeconds(every),
		strconv.Itoa(int(p.span.Seconds())), inSeconds(probeTimeout), strconv.Itoa(r.bodyLimit()))
	method := cmp.Or(r.http.Method, http.MethodGet)
	if method == http.MethodHead {
		argv = append(argv, "--head")
	} else {
		argv = append(argv, "--request", method)
	}
	for _, name := range slices.Sorted(maps.Keys(r.http.Header)) {
		argv = append(argv, "--header", name+": "+r.http.Header[name])
	}
	if r.http.Body != "" {
		argv = append(argv, "--data-raw", r.http.Body)
	}
	return append(argv, "--url", r.http.URL)
}

// bodyLimit is 0 for HEAD: its answer has no body, but curl writes the headers there.
func (r *requests) bodyLimit() int {
	if r.http.Method == http.MethodHead {
		return 0
	}
	return maxBody
}

func inSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
}

// curlReport is what curl says of a request (--write-out '%{json}').
type curlReport struct {
	Code    int     `json:"http_code"`
	Exit    int     `json:"exitcode"`
	Error   string  `json:"errormsg"`
	Seconds float64 `json:"time_total"`
}

var errProbeOutput = errors.New("the probe's output cannot be read")

// parseProbe reads what probe.sh prints, with the limit that the body had.
func parseProbe(out []byte, limit int) (state string, seen *answer, err error) {
	line, rest, found := bytes.Cut(out, []byte("\n"))
	var sizes [3]int
	if n, err := fmt.Sscan(string(line), &state, &sizes[0], &sizes[1], &sizes[2]); !found || n != 4 || err != nil {
		return "", nil, fmt.Errorf("%w: it begins with %q", errProbeOutput, excerpt(string(line)))
	}
	var parts [3][]byte
	for i, size := range sizes {
		if size < 0 || size > len(rest) {
			return "", nil, fmt.Errorf("%w: it is cut off", errProbeOutput)
		}
		parts[i], rest = rest[:size], rest[size:]
	}
	var report curlReport
	if err := json.Unmarshal(parts[0], &report); err != nil {
		return "", nil, fmt.Errorf("%w: %w", errProbeOutput, err)
	}
	seen = &answer{Code: report.Code, Body: string(parts[2]), Headers: lastHeaders(parts[1]), Seconds: seconds(report.Seconds)}
	cut := report.Exit == curlWriteError && len(parts[2]) == limit // head closed the pipe: it had enough
	if report.Exit != 0 && !cut {
		seen.Error = report.inWords()
	}
	return state, seen, nil
}

// curl's exit codes that are told in our own words, and the one that is not
// an error here.
const (
	curlNoHost     = 6
	curlNoConnect  = 7
	curlWriteError = 23
	curlTimeout    = 28
	curlNoAnswer   = 52
	curlReceive    = 56
)

func (c curlReport) inWords() string {
	switch c.Exit {
	case curlNoHost:
		return "the name could not be resolved"
	case curlNoConnect:
		return "could not connect"
	case curlTimeout:
		return fmt.Sprintf("nothing came within %s", probeTimeout)
	case curlNoAnswer:
		return "the connection was closed without an answer"
	case curlReceive:
		return "the connection broke off"
	}
	return cmp.Or(excerpt(c.Error), "curl failed with code "+strconv.Itoa(c.Exit))
}

// lastHeaders reads the headers of the final answer; those of a `100
// Continue` come before.
func lastHeaders(raw []byte) map[string]string {
	blocks := bytes.Split(bytes.TrimSpace(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))), []byte("\n\n"))
	_, fields, _ := bytes.Cut(blocks[len(blocks)-1], []byte("\n"))
	parsed, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(fields, "\n\n"...)))).ReadMIMEHeader()
	headers := make(map[string]string, len(parsed))
	for name, values := range parsed {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return headers
}

// ProbeService probes a lab's service until ctx ends; a zero every means 500
// ms. It calls on at the first probe and whenever the service went up or down;
// detail says what was seen. A service is up when it answers with a status
// below 500. When the checker cannot look, nothing is reported. It returns nil
// when ctx ends, and an error only when env cannot serve h.
func ProbeService(ctx context.Context, env Env, h HTTP, every time.Duration, on func(up bool, at time.Time, detail string)) error {
	p, err := newPlace(env)
	if err != nil {
		return err
	}
	defer p.close()
	h.Every = Duration(cmp.Or(every, defaultServiceEvery))
	_, src, err := p.source(&condition{Check: Check{ID: "service", HTTP: &h}, path: "service"})
	if err != nil {
		return fmt.Errorf("probe the service: %w", err)
	}
	last := ""
	src.(*requests).followProbe(ctx, watchUp, nil, func(state string, seen data, err error) {
		switch {
		case err != nil:
			p.env.Log.Warn("the service probe could not look", "err", err)
		case state != last:
			last = state
			on(state == stateUp, p.env.Now(), seen.Response.inWords())
		}
	})
	return nil
}

func (a *answer) inWords() string {
	if a.Error != "" {
		return a.Error
	}
	return strings.TrimSpace(strconv.Itoa(a.Code) + " " + http.StatusText(a.Code))
}
