package grade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"drydock/sandbox"
)

// sight is what a source saw at one moment, or that it could not look.
type sight struct {
	at    time.Time
	data  json.RawMessage
	err   string // in words for the learner
	cause error  // for the log
}

// source is one thing to look at, for all checks that look at it.
type source interface {
	// look looks once. The error is a blindness when there is something to tell a learner.
	look(ctx context.Context) (data, error)
	// follow reports what there is to see, and each change, until ctx ends.
	// When again can be received from, it looks again at once and reports
	// even what is as before. report must not be called concurrently.
	follow(ctx context.Context, again <-chan struct{}, report func(data, error))
}

// blindness is the reason why a source could not look, in words for the
// learner, with the cause for the log.
type blindness struct {
	words string
	cause error
}

func (b *blindness) Error() string { return b.words + ": " + b.cause.Error() }
func (b *blindness) Unwrap() error { return b.cause }

// blind wraps what a request to the cluster failed with.
func blind(err error) error { return &blindness{inWords(err), err} }

// place is what the sources of one run share.
type place struct {
	env     Env
	cluster *cluster      // nil on a machine
	execs   chan struct{} // a slot for each command that may run at once
}

// maxExecs bounds the commands that a run has going at once in its sandbox,
// which has little more than one core.
const maxExecs = 4

func newPlace(env Env) (*place, error) {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.Default()
	}
	p := &place{env: env, execs: make(chan struct{}, maxExecs)}
	if env.REST == nil {
		return p, nil
	}
	var err error
	p.cluster, err = newCluster(env.REST)
	return p, err
}

func (p *place) close() {
	if p.cluster != nil {
		p.cluster.close()
	}
}

// run executes a command in the sandbox; the error is a blindness.
func (p *place) run(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	res, err := p.env.Exec(ctx, cmd)
	if err != nil {
		return res, &blindness{cannotRun, fmt.Errorf("run %s in the sandbox: %w", cmd.Argv[0], err)}
	}
	return res, nil
}

// sight notes what was seen, now.
func (p *place) sight(seen data, err error) sight {
	s := sight{at: p.env.Now()}
	if err == nil {
		s.data, err = seen.encode()
		if errors.Is(err, errTooBig) {
			err = &blindness{"the checker cannot decide: " + errTooBig.Error(), err}
		}
	}
	if err != nil {
		s.err, s.cause = cannotReach, err
		if b, ok := errors.AsType[*blindness](err); ok {
			s.err = b.words
		}
	}
	return s
}

// source makes the source that the check looks at, with the variant's vars
// put in. Checks with equal keys share one.
func (p *place) source(c *compiled) (key string, src source, err error) {
	check, err := c.withVars(p.env.Vars)
	if err != nil {
		return "", nil, fmt.Errorf("check %s: %w", c.ID, err)
	}
	raw, err := json.Marshal(check)
	if err != nil {
		return "", nil, fmt.Errorf("check %s: %w", c.ID, err)
	}
	key = string(raw)
	needCluster := check.Watch != nil || check.Logs != nil || check.Exec != nil && check.Exec.On == onPod
	needExec := check.HTTP != nil || check.Exec != nil && check.Exec.On != onPod
	switch {
	case needCluster && p.cluster == nil:
		return "", nil, fmt.Errorf("check %s needs a cluster, and the sandbox is none", c.ID)
	case needExec && p.env.Exec == nil:
		return "", nil, fmt.Errorf("check %s needs to run commands, and nothing to run them with was given", c.ID)
	case check.Watch != nil:
		return key, &objects{place: p, watch: *check.Watch}, nil
	case check.HTTP != nil:
		return key, &requests{place: p, http: *check.HTTP}, nil
	case check.Logs != nil:
		return key, &logs{place: p, logs: *check.Logs}, nil
	default:
		return key, &commands{place: p, exec: *check.Exec}, nil
	}
}

// withVars returns just the collector, with ${vars.x} replaced.
func (c *compiled) withVars(vars map[string]string) (Check, error) {
	var missing error
	fill := func(text string) string {
		out, err := expand(text, vars, asIs)
		missing = errors.Join(missing, err)
		return out
	}
	var out Check
	switch {
	case c.Watch != nil:
		w := *c.Watch
		w.Namespace, w.Name, w.Selector = fill(w.Namespace), fill(w.Name), fill(w.Selector)
		out.Watch = &w
	case c.HTTP != nil:
		h := *c.HTTP
		h.From, h.URL, h.Body = fill(h.From), fill(h.URL), fill(h.Body)
		h.Header = make(map[string]string, len(c.HTTP.Header))
		for name, value := range c.HTTP.Header {
			h.Header[name] = fill(value)
		}
		out.HTTP = &h
	case c.Logs != nil:
		l := *c.Logs
		l.Namespace, l.Selector, l.Container = fill(l.Namespace), fill(l.Selector), fill(l.Container)
		out.Logs = &l
	case c.Exec != nil:
		e := *c.Exec
		e.Namespace, e.Selector, e.Container = fill(e.Namespace), fill(e.Selector), fill(e.Container)
		e.Command = make([]string, len(c.Exec.Command))
		for i, word := range c.Exec.Command {
			e.Command[i] = fill(word)
		}
		out.Exec = &e
	}
	return out, missing
}

// pause waits for d, or until again can be received from; it reports false
// when ctx ended.
func pause(ctx context.Context, d time.Duration, again <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-again:
	}
	return true
}

// retry gives growing pauses after failures.
type retry struct{ next time.Duration }

const (
	firstRetry = 250 * time.Millisecond // a blip is over by then
	maxRetry   = 3 * time.Second        // so that a tick comes soon after a long outage, too
)

func (r *retry) pause(ctx context.Context, again <-chan struct{}) bool {
	r.next = min(max(2*r.next, firstRetry), maxRetry)
	return pause(ctx, r.next, again)
}

func (r *retry) reset() { r.next = 0 }
