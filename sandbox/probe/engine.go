package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Config says where the program finds things. A zero field means the usual place.
type Config struct {
	Kubelet    string // its configuration
	Networks   string // the directory of the pods' network namespaces
	ResolvConf string
	Hosts      string
}

func (c Config) complete() Config {
	c.Kubelet = cmp.Or(c.Kubelet, "/var/lib/kubelet/config.yaml")
	c.Networks = cmp.Or(c.Networks, "/var/run/netns")
	c.ResolvConf = cmp.Or(c.ResolvConf, "/etc/resolv.conf")
	c.Hosts = cmp.Or(c.Hosts, "/etc/hosts")
	return c
}

// stillness is how much longer than its timeout a look takes that was not the
// only one to stand still: the whole sandbox was frozen.
const stillness = time.Second

// Run probes as the requests in the input say, and writes answers to the
// output. It returns nil at the input's end, and an error when a line of it is no
// request or when the output fails. Then nothing more is written; a Write
// that is under way is not waited for.
func Run(input io.Reader, output io.Writer, cfg Config) error {
	cfg = cfg.complete()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	e := &engine{
		ctx: ctx, cfg: cfg, fail: cancel, output: output,
		slots:    make(chan struct{}, MaxInFlight),
		networks: &networks{dir: cfg.Networks, known: map[netip.Addr]string{}},
		probes:   map[string]*running{},
		kubelet:  &kubelet{config: cfg.Kubelet},
	}
	ended := make(chan error, 1)
	go func() { ended <- e.serve(input) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type engine struct {
	ctx      context.Context // ends with the program
	cfg      Config
	fail     context.CancelCauseFunc
	slots    chan struct{} // one for each look that may be going on
	networks *networks
	probes   map[string]*running // serve's
	kubelet  *kubelet

	mu     sync.Mutex
	output io.Writer
}

// serve does what the requests say, until there are no more.
func (e *engine) serve(input io.Reader) error {
	lines := Lines(input)
	for lines.Scan() {
		r, err := DecodeRequest(lines.Bytes())
		if err != nil {
			return err
		}
		e.take(r)
	}
	return lines.Err()
}

func (e *engine) take(r Request) {
	p := e.probes[r.ID]
	switch {
	case r.Again:
		if p == nil {
			e.send(Answer{ID: r.ID, At: time.Now(), Error: "there is no such probe"})
		} else {
			p.lookAgain()
		}
		return
	case p != nil:
		p.stop()
		delete(e.probes, r.ID)
	}
	if r.Stop {
		return
	}
	if err := r.Check(); err != nil {
		e.send(Answer{ID: r.ID, At: time.Now(), Error: err.Error()})
		return
	}
	if len(e.probes) == MaxProbes {
		e.send(Answer{ID: r.ID, At: time.Now(), Error: fmt.Sprintf("there are %d probes already", MaxProbes)})
		return
	}
	ctx, stop := context.WithCancel(e.ctx)
	p = &running{engine: e, request: r.complete(), stop: stop, again: make(chan struct{}, 1)}
	e.probes[r.ID] = p
	go p.run(ctx)
}

// send writes an answer.
func (e *engine) send(a Answer) {
	line, err := encode(a)
	if err != nil { // the bounds of what is kept keep it from that
		line, err = encode(Answer{ID: a.ID, At: a.At, Error: "the answer is too long to be told"})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil && e.ctx.Err() == nil {
		_, err = e.output.Write(line)
	}
	if err != nil {
		e.fail(fmt.Errorf("write an answer: %w", err))
	}
}

// running is a probe that is going on.
type running struct {
	engine  *engine
	request Request
	stop    context.CancelFunc
	again   chan struct{} // someone wants a look
}

func (p *running) lookAgain() {
	select {
	case p.again <- struct{}{}:
	default: // one is wanted already
	}
}

// run looks and tells until ctx ends.
func (p *running) run(ctx context.Context) {
	defer p.stop()
	looks := make(chan Answer, 1) // one at a time
	look := func() { go func() { looks <- p.look(ctx) }() }
	next, alive := time.NewTimer(0), time.NewTimer(SignOfLife)
	defer next.Stop()
	defer alive.Stop()
	var last, sent Answer
	again, wanted := p.again, true // the first look is wanted
	tell := func(a Answer) {
		p.engine.send(a)
		sent = a
		alive.Reset(SignOfLife)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			again = nil // until this look has ended, which may not have seen what the caller has in mind
			look()
		case <-again:
			next.Stop()
			again, wanted = nil, true
			look()
		case last = <-looks:
			if ctx.Err() != nil {
				return
			}
			if wanted || last.differs(sent, p.request.Watch) {
				tell(last)
			}
			again, wanted = p.again, false
			next.Reset(p.request.Every)
		case <-alive.C:
			if last.ID == "" {
				alive.Reset(SignOfLife) // it is still the first look
				continue
			}
			tell(last)
		}
	}
}

// look looks once, when it is its turn.
func (p *running) look(ctx context.Context) Answer {
	select {
	case p.engine.slots <- struct{}{}:
		defer func() { <-p.engine.slots }()
	case <-ctx.Done():
		return Answer{}
	}
	for {
		begin := time.Now()
		a := p.engine.look(ctx, p.request)
		stood := time.Since(begin) > p.request.Timeout+stillness
		if !stood || ctx.Err() != nil {
			return a
		}
	}
}

// look looks once.
func (e *engine) look(ctx context.Context, r Request) Answer {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	a := Answer{ID: r.ID}
	v, err := e.vantage(r.From)
	if err == nil {
		if v.network != nil {
			defer v.network.Close()
		}
		switch {
		case r.HTTP != nil:
			a.HTTP, err = v.http(ctx, *r.HTTP, r)
		case r.TCP != nil:
			a.TCP, err = v.tcp(ctx, *r.TCP, r)
		default:
			a.DNS, err = v.dns(ctx, *r.DNS, r.Timeout)
		}
	}
	if err != nil {
		a.Error = blindness(err)
	}
	a.At = time.Now()
	return a
}

// blindness says why there was no look.
func blindness(err error) string {
	if errors.Is(err, errPodGone) {
		return PodGone
	}
	return "the checker cannot look: " + innermost(err)
}

// vantage is the place to look from. The caller closes its network.
func (e *engine) vantage(from From) (v vantage, err error) {
	if from.Namespace == "" {
		v.names = systemNames(e.cfg.ResolvConf, e.cfg.Hosts)
	} else if v.names, err = e.kubelet.names(from.Namespace); err != nil {
		return v, err
	}
	if from.Pod == "" {
		return v, nil
	}
	address, err := netip.ParseAddr(from.Pod)
	if err != nil {
		return v, err
	}
	v.network, v.home, err = e.networks.of(address)
	return v, err
}
