package labs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// Rehearsal is an author's own try at a lab: a sandbox of it that is judged
// live, as a learner's is, while the lab may change. Nothing is stored. Its
// methods are safe for concurrent use.
type Rehearsal struct {
	provider sandbox.Provider
	session  string
	tell     func(RehearsalEvent)
	log      *slog.Logger

	doing sync.Mutex // held while the sandbox or what judges it is changed

	mu       sync.Mutex // guards what follows, and orders what is told
	lab      *Lab       // the newest that can be judged
	madeOf   *Lab       // what the sandbox was made of
	variant  Variant
	checks   *grade.Set // of lab
	env      grade.Env
	results  map[string]grade.Result
	violated map[string]bool // guards
	done     map[string]bool // tasks
	hints    map[string]int  // shown, by task
	stop     func()          // ends the judging; nil while nothing is judged
}

// RehearsalEventType says what happened.
type RehearsalEventType string

const (
	// RehearsalReady: a sandbox was handed over; Variant says of which fault.
	RehearsalReady RehearsalEventType = "ready"
	// RehearsalCheck: a check of a task stands otherwise than before.
	RehearsalCheck RehearsalEventType = "check"
	// RehearsalGuard: a guard was violated, for the first time.
	RehearsalGuard RehearsalEventType = "guard"
	// RehearsalTask: a task is done, or no longer.
	RehearsalTask RehearsalEventType = "task"
	// RehearsalReload: the lab was changed; from now on it is judged by its new version.
	RehearsalReload RehearsalEventType = "reload"
	// RehearsalProblems: the lab was changed and has errors; it is judged by the last version without.
	RehearsalProblems RehearsalEventType = "problems"
	// RehearsalStopped: the judging ended before its time.
	RehearsalStopped RehearsalEventType = "stopped"
)

// RehearsalEvent is something that happened in a rehearsal.
type RehearsalEvent struct {
	At      time.Time          `json:"at"`
	Type    RehearsalEventType `json:"type"`
	ID      string             `json:"id,omitempty"` // of the check, guard or task
	Variant string             `json:"variant,omitempty"`
	Version string             `json:"version,omitempty"`
	Done    bool               `json:"done,omitempty"` // of a task
	Verdict grade.Verdict      `json:"verdict,omitempty"`
	Holding bool               `json:"holding,omitempty"` // true, but not yet for its hold
	Reason  string             `json:"reason,omitempty"`
	// Problems are those of a lab with errors.
	Problems Problems `json:"problems,omitempty"`
	// Reset lists what of a reload is only there after a reset.
	Reset []string `json:"reset,omitempty"`
	// Baselines are the checks that compare with the moment of the reload,
	// because at hand-over nobody looked at what they look at.
	Baselines []string `json:"baselines,omitempty"`
}

// NewRehearsal prepares a rehearsal of a lab that [Lint] finds gradable. tell
// is told of events one after the other; it must not call the rehearsal.
func NewRehearsal(provider sandbox.Provider, session string, lab *Lab, v Variant, tell func(RehearsalEvent)) *Rehearsal {
	return &Rehearsal{
		provider: provider, session: session, tell: tell, log: slog.New(slog.DiscardHandler),
		lab: lab, variant: v, hints: map[string]int{},
	}
}

// Open makes the sandbox and begins to judge it.
func (r *Rehearsal) Open(ctx context.Context, progress sandbox.Progress) error {
	r.doing.Lock()
	defer r.doing.Unlock()
	return r.bring(ctx, r.provider.Create, "", progress)
}

// Reset makes a fresh sandbox of the newest version of the lab, with the same
// variant or, if it is not empty, the one named. When it fails, the old one
// goes on.
func (r *Rehearsal) Reset(ctx context.Context, variant string, progress sandbox.Progress) error {
	r.doing.Lock()
	defer r.doing.Unlock()
	return r.bring(ctx, r.provider.Reset, variant, progress)
}

type bringUp = func(context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Info, error)

func (r *Rehearsal) bring(ctx context.Context, by bringUp, variant string, progress sandbox.Progress) error {
	lab, v, err := r.next(variant)
	if err != nil {
		return err
	}
	set, problems := grade.Compile(lab.Checks())
	if len(problems) > 0 {
		return lab.gradeProblems(problems)
	}
	if _, err := by(ctx, lab.SandboxSpec(r.provider, r.session, v), progress); err != nil {
		return err
	}
	env := grade.Env{
		Files: lab.FS,
		Vars:  v.Vars, Log: r.log,
		Exec: func(ctx context.Context, c sandbox.Command) (sandbox.Result, error) {
			return r.provider.Exec(ctx, r.session, c)
		},
	}
	if lab.Sandbox.Kind == sandbox.Cluster {
		if env.REST, err = AdminConfig(ctx, r.provider, r.session); err != nil {
			return err
		}
	}
	if env.Baseline, err = set.Baseline(ctx, env); err != nil {
		return fmt.Errorf("take the baseline: %w", err)
	}
	r.halt()
	r.mu.Lock()
	r.madeOf, r.variant = lab, v
	r.results, r.violated, r.done = map[string]grade.Result{}, map[string]bool{}, map[string]bool{}
	r.tellLocked(RehearsalEvent{Type: RehearsalReady, Variant: v.Name, Version: lab.Version})
	r.mu.Unlock()
	r.judge(lab, set, env)
	return nil
}

// next is what the next sandbox is made of.
func (r *Rehearsal) next(variant string) (*Lab, Variant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if variant != "" {
		v, err := r.lab.FindVariant(variant)
		return r.lab, v, err
	}
	v, ok := r.lab.variant(r.variant.Name)
	if !ok { // it was taken out of the lab
		v = r.lab.AllVariants()[0]
	}
	return r.lab, v, nil
}

// judge begins to judge the sandbox by a version of the lab.
func (r *Rehearsal) judge(lab *Lab, set *grade.Set, env grade.Env) {
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	r.mu.Lock()
	r.lab, r.checks, r.env = lab, set, env
	r.stop = func() { cancel(); run.Wait() }
	r.mu.Unlock()
	run.Go(func() {
		if err := set.Run(ctx, env, rehearsalSink{r}); err != nil && ctx.Err() == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.tellLocked(RehearsalEvent{Type: RehearsalStopped, Reason: err.Error()})
		}
	})
}

// halt ends the judging and waits for its end.
func (r *Rehearsal) halt() {
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Close ends the judging and removes the sandbox.
func (r *Rehearsal) Close(ctx context.Context) error {
	r.doing.Lock()
	defer r.doing.Unlock()
	r.halt()
	return r.provider.Destroy(ctx, r.session)
}

// Reload judges the sandbox by a changed version of the lab. What was seen at
// hand-over stays what it is compared with, for all that was looked at then.
// A version that can't be judged is told with its problems, and changes nothing.
func (r *Rehearsal) Reload(ctx context.Context, lab *Lab) {
	r.doing.Lock()
	defer r.doing.Unlock()
	if err := r.reload(ctx, lab); err != nil {
		problems, ok := errors.AsType[Problems](err)
		if !ok {
			problems = Problems{{File: lab.path(labFile), Msg: err.Error()}}
		}
		r.Broken(problems)
	}
}

func (r *Rehearsal) reload(ctx context.Context, lab *Lab) error {
	set, problems := grade.Compile(lab.Checks())
	if len(problems) > 0 {
		return lab.gradeProblems(problems)
	}
	r.mu.Lock()
	env, before, madeOf := r.env, r.checks, r.madeOf
	v, known := lab.variant(r.variant.Name)
	r.mu.Unlock()
	reset := remade(madeOf, lab, r.variant.Name)
	oldVars := env.Vars
	env.Files = lab.FS
	if known {
		env.Vars = v.Vars
	}
	fresh, err := set.Baseline(ctx, env)
	if err != nil {
		return fmt.Errorf("it can't be judged by the new version: take the baseline: %w", err)
	}
	var taken []string
	env.Baseline, taken = keepBaseline(env.Baseline, fresh, before.Checks(), set.Checks(), oldVars, env.Vars)
	r.halt()
	r.mu.Lock()
	forget(r.results, lab)
	forget(r.violated, lab)
	forget(r.done, lab)
	r.tellLocked(RehearsalEvent{Type: RehearsalReload, Version: lab.Version, Reset: reset, Baselines: taken})
	r.mu.Unlock()
	r.judge(lab, set, env)
	return nil
}

// forget drops what is known by ids that the lab no longer has.
func forget[V any](known map[string]V, lab *Lab) {
	maps.DeleteFunc(known, func(id string, _ V) bool {
		_, isTask := lab.task(id)
		return !isTask && !slices.ContainsFunc(lab.Checks(), func(c grade.Check) bool { return c.ID == id })
	})
}

// Broken tells of a changed version of the lab that has errors.
func (r *Rehearsal) Broken(problems Problems) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellLocked(RehearsalEvent{Type: RehearsalProblems, Problems: problems})
}

// keepBaseline returns the baseline of the new checks: what was seen at
// hand-over, and of what was not looked at then, what is seen now. taken are
// the checks of the latter.
func keepBaseline(old, fresh grade.Baseline, before, after []grade.Check, oldVars, vars map[string]string) (kept grade.Baseline, taken []string) {
	kept = maps.Clone(fresh)
	for _, c := range after {
		i := slices.IndexFunc(before, func(was grade.Check) bool { return was.ID == c.ID })
		same := i >= 0 && grade.SameSight(c, vars, before[i], oldVars)
		for path := range fresh {
			if !grade.OfCheck(path, c.ID) {
				continue
			}
			if seen, ok := old[path]; ok && same {
				kept[path] = seen
			} else if !slices.Contains(taken, c.ID) {
				taken = append(taken, c.ID)
			}
		}
	}
	return kept, taken
}

// asText makes values comparable that have no meaning beyond their fields in lab.yaml.
func asText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic("labs: " + err.Error()) // a field of a type that no file can hold
	}
	return string(text)
}

// rehearsalSink takes the results of the judging.
type rehearsalSink struct{ *Rehearsal }

// Evidence implements grade.Sink.
func (s rehearsalSink) Evidence(grade.Evidence) {}

// Result implements grade.Sink.
func (s rehearsalSink) Result(result grade.Result) {
	r := s.Rehearsal
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.results[result.Check]
	r.results[result.Check] = result
	if slices.ContainsFunc(r.lab.Guards, func(g grade.Check) bool { return g.ID == result.Check }) {
		if result.Verdict == grade.Fail && !holds(result) && !r.violated[result.Check] {
			r.violated[result.Check] = true
			r.tellLocked(RehearsalEvent{Type: RehearsalGuard, ID: result.Check, Verdict: result.Verdict, Reason: result.Reason})
		}
		return
	}
	moved := before.Verdict != result.Verdict || before.HoldUntil.IsZero() != result.HoldUntil.IsZero()
	if moved && (known || result.Verdict != grade.Fail || holds(result)) { // at hand-over all fail
		r.tellLocked(RehearsalEvent{
			Type: RehearsalCheck, ID: result.Check, Verdict: result.Verdict, Holding: !result.HoldUntil.IsZero(), Reason: result.Reason,
		})
	}
	for _, task := range r.lab.Tasks {
		if task.Ask == nil {
			r.setDone(task, !slices.ContainsFunc(task.Checks, func(c grade.Check) bool { return r.results[c.ID].Verdict != grade.Pass }))
		}
	}
}

// setDone notes whether a task is done. r.mu is held.
func (r *Rehearsal) setDone(task Task, done bool) {
	if done != r.done[task.ID] {
		r.done[task.ID] = done
		r.tellLocked(RehearsalEvent{Type: RehearsalTask, ID: task.ID, Done: done})
	}
}

func (r *Rehearsal) tellLocked(e RehearsalEvent) {
	e.At = time.Now()
	r.tell(e)
}

// RehearsalStanding is where a rehearsal stands.
type RehearsalStanding struct {
	Lab      *Lab // by which it is judged
	Variant  Variant
	Results  map[string]grade.Result // the latest of each check and guard
	Done     map[string]bool         // tasks
	Violated map[string]bool         // guards, since the hand-over
}

// Standing returns where the rehearsal stands; the caller may keep it.
func (r *Rehearsal) Standing() RehearsalStanding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return RehearsalStanding{
		Lab: r.lab, Variant: r.variant,
		Results: maps.Clone(r.results), Done: maps.Clone(r.done), Violated: maps.Clone(r.violated),
	}
}

// Points are those of the tasks that are done.
func (s RehearsalStanding) Points() int {
	points := 0
	for _, task := range s.Lab.Tasks {
		if s.Done[task.ID] {
			points += task.Points
		}
	}
	return points
}

// Hint returns the next hint of a task; false when there is none left.
func (r *Rehearsal) Hint(id string) (Hint, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	task, ok := r.lab.task(id)
	if !ok || r.hints[id] >= len(task.Hints) {
		return Hint{}, false
	}
	r.hints[id]++
	return task.Hints[r.hints[id]-1], true
}

// Answer judges the answer to a question.
func (r *Rehearsal) Answer(id, text string) (right bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	task, ok := r.lab.task(id)
	if !ok || task.Ask == nil {
		return false, fmt.Errorf("there is no question %q%s", id, didYouMean(id, r.lab.questionIDs()))
	}
	if right = task.Ask.Right(text, r.env.Vars); right {
		r.setDone(task, true)
	}
	return right, nil
}
