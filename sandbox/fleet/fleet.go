package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
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

// errUnasked is that of a fleet that has not listed anything yet.
var errUnasked = errors.New("the container engine has not been asked yet")

// PartialError is that of a List that not all providers answered.
type PartialError struct {
	Kinds    map[sandbox.Kind]error // why, of those that did not
	Answered int                    // how many did
}

func (e *PartialError) Error() string {
	var words []string
	for kind, err := range e.Kinds {
		words = append(words, fmt.Sprintf("sandboxes of kind %s did not answer: %v", kind, err))
	}
	slices.Sort(words)
	return strings.Join(words, "; ")
}

// Unwrap returns what the providers said.
func (e *PartialError) Unwrap() []error { return slices.Collect(maps.Values(e.Kinds)) }

// Partly returns the [PartialError] in err when others did answer: what came
// with it is all of theirs.
func Partly(err error) (silent *PartialError, some bool) {
	if !errors.As(err, &silent) || silent.Answered == 0 {
		return nil, false
	}
	return silent, true
}

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
	// Starts bounds how many sessions' sandboxes are made at once, beside at most
	// one thing that the pool makes; 0 means 1.
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
	// Draining begins as after [Fleet.Drain], and KeepDraining is told of each
	// change, so that the next run begins with it; nil: nothing is kept.
	Draining     bool
	KeepDraining func(on bool) error
	Now          func() time.Time
	Log          *slog.Logger
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
	nudge chan struct{} // has the pool look whether it has something to do

	keeping sync.Mutex // taken before mu, so that what is kept is what was said last

	mu        sync.Mutex
	boxes     map[string]*box             // by their own ids, as last seen
	made      map[string]sandbox.Kind     // ids of what is being made, which no list has yet
	names     map[string]string           // template names of sessions
	since     map[string]time.Time        // from when sessions are served
	templates map[string]sandbox.Template // by id
	unkept    map[string]bool             // ids of templates of which their providers keep nothing
	ids       map[string]templateID       // by name
	shared    map[string]*making          // templates that are being made, by name
	queue     queue
	demands   []Demand
	wanted    map[string]int // spares by template name
	making    *job           // what the pool makes now
	failed    map[string]retry
	resting   time.Time // the pool makes nothing until then
	draining  bool
	past      past
	unwritten []Measurement          // those that the history has not got yet
	failures  []Failure              // the oldest first
	silent    map[sandbox.Kind]error // kinds that did not answer the last list
	listed    error                  // what the last list lacks, and
	kept      error                  // the last list of templates
}

// New returns a fleet. It asks the engine nothing; [Fleet.Run] does the work in the background.
func New(cfg Config) (*Fleet, error) {
	if len(cfg.Providers) == 0 {
		return nil, errors.New("a fleet needs a provider")
	}
	switch cfg.Templates {
	case "":
		cfg.Templates = TemplatesUsed
	case TemplatesAll, TemplatesUsed, TemplatesNone:
	default:
		return nil, fmt.Errorf("templates %q: it is all, used or none", cfg.Templates)
	}
	cfg.Starts = max(1, cfg.Starts)
	if cfg.Specs == nil {
		cfg.Specs = func() []sandbox.Spec { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{
		cfg: cfg, log: cfg.Log, nudge: make(chan struct{}, 1),
		kinds: map[sandbox.Kind]sandbox.Provider{},
		boxes: map[string]*box{}, made: map[string]sandbox.Kind{},
		names: map[string]string{}, since: map[string]time.Time{},
		templates: map[string]sandbox.Template{}, unkept: map[string]bool{}, ids: map[string]templateID{}, shared: map[string]*making{},
		wanted: map[string]int{}, failed: map[string]retry{},
		listed: errUnasked, draining: cfg.Draining,
	}
	for _, p := range cfg.Providers {
		if f.kinds[p.Kind()] != nil {
			return nil, fmt.Errorf("two providers of kind %q", p.Kind())
		}
		f.kinds[p.Kind()] = p
	}
	return f, nil
}

var _ sandbox.Provider = (*Fleet)(nil)

// Drain refuses new sessions, those that wait included, or lets them in again.
// Those that run go on, and may be reset. The error is that of keeping it for
// the next run of the server; in this one it is done all the same.
func (f *Fleet) Drain(on bool) error {
	f.keeping.Lock()
	defer f.keeping.Unlock()
	f.mu.Lock()
	f.draining = on
	f.pump()
	f.wake()
	f.mu.Unlock()
	if f.cfg.KeepDraining == nil {
		return nil
	}
	return f.cfg.KeepDraining(on)
}

// Accepts says whether a session's sandbox could be made at all, if need be after a wait.
func (f *Fleet) Accepts(spec sandbox.Spec) error {
	if _, err := f.provider(spec.Kind); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepts(spec)
}

func (f *Fleet) accepts(spec sandbox.Spec) error {
	if f.draining {
		return ErrDraining
	}
	if cost := f.cost(spec); f.cfg.Memory > 0 && cost > f.cfg.Memory {
		return fmt.Errorf("%w: it takes some %d MiB, and all together may take %d MiB", ErrTooLarge, cost>>20, f.cfg.Memory>>20)
	}
	return nil
}

// Expect says what is going to be asked for; it replaces what it was told before.
func (f *Fleet) Expect(demands []Demand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.demands = slices.Clone(demands)
	f.wake()
}

// wake has the pool look again.
func (f *Fleet) wake() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}
