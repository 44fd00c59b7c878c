package grade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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
	env       Env
	cluster   *cluster // nil on a machine
	probes    *probes
	measuring sync.Mutex    // held while a program is measured
	execs     chan struct{} // a slot for each command that may run at once
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
	p.probes = &probes{place: p}
	if env.REST == nil {
		return p, nil
	}
	var err error
	p.cluster, err = newCluster(env.REST)
	return p, err
}

func (p *place) close() {
	p.probes.close()
	if p.cluster != nil {
		p.cluster.close()
	}
}

// slot waits for its turn to run a command, and returns what ends it.
func (p *place) slot(ctx context.Context) (release func(), err error) {
	select {
	case p.execs <- struct{}{}:
		return func() { <-p.execs }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
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

// sight notes what was seen, now. It is judged as it is kept: with secrets
// masked, at a time of whole milliseconds.
func (p *place) sight(seen data, err error) sight {
	s := sight{at: p.env.Now().Truncate(time.Millisecond)}
	if err == nil {
		seen.mask()
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

// source makes what looks for the condition, with the variant's vars put in.
// Conditions with equal keys share one.
func (p *place) source(c *condition) (key string, src source, err error) {
	looks, key, err := c.withVars(p.env.Vars)
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("check %s: %w", c.path, err)
	case looks.needs()&throughCluster != 0 && p.cluster == nil:
		return "", nil, fmt.Errorf("check %s needs a cluster, and the sandbox is none", c.path)
	case looks.needs()&throughFiles != 0 && p.env.Files == nil:
		return "", nil, fmt.Errorf("check %s needs files of the lab, and was given none", c.path)
	case looks.needs()&throughExec != 0 && p.env.Exec == nil:
		return "", nil, fmt.Errorf("check %s needs to run commands, and nothing to run them with was given", c.path)
	}
	return key, looks.source(p), nil
}

// withVars returns the collector with ${vars.x} replaced.
func (c *condition) withVars(vars map[string]string) (collector, string, error) {
	var missing error
	looks, key, err := c.filled(func(text string) string {
		out, err := expand(text, vars, asIs)
		missing = errors.Join(missing, err)
		return out
	})
	return looks, key, errors.Join(err, missing)
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
