package labs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// CaseKind says what a case of a proof tries.
type CaseKind string

const (
	// CaseHandOver: nothing is done yet. Every check of every task fails, every guard
	// holds, and questions take the right answers and no others.
	CaseHandOver CaseKind = "hand-over"
	// CaseSolution: a solution ran as the learner. Every check passes, and no guard was violated.
	CaseSolution CaseKind = "solution"
	// CaseWrong: a wrong fix ran as the learner. What it names catches it: the guard
	// is violated; or the check still fails once nothing has changed for a while;
	// or the question refuses the answer.
	CaseWrong CaseKind = "wrong fix"
	// CaseReset: the hand-over state again, after a reset.
	CaseReset CaseKind = "reset"
)

// Case is one thing that a proof tried.
type Case struct {
	Variant  string        `json:"variant"`
	Kind     CaseKind      `json:"kind"`
	Name     string        `json:"name,omitempty"` // of the solution or the wrong fix
	OK       bool          `json:"ok"`
	Took     time.Duration `json:"tookNs"`
	Problems []string      `json:"problems,omitempty"` // why it is not OK
}

// Proof is what Prove found.
type Proof struct {
	Lab     string        `json:"lab"`
	Version string        `json:"version"`
	OK      bool          `json:"ok"` // every case is
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"tookNs"`
	Cases   []Case        `json:"cases"`
}

// ProveOptions say how a lab is proven.
type ProveOptions struct {
	Provider sandbox.Provider
	// Variants are the names of those to try; none means all.
	Variants []string
	// Parallel is how many sandboxes work at once; 0 means 1.
	Parallel int
	// Patience is how long a cluster may take to come right behind a solution,
	// and the grader to see it, beside the checks' own hold; 0 means 90 s.
	Patience time.Duration
	// Done is told of each case as it ends. It may be nil.
	Done func(Case)
	Log  *slog.Logger // nil: slog.Default
}

const (
	// scriptTimeout bounds a solution or wrong fix.
	scriptTimeout = 3 * time.Minute
	// verdictTimeout is how long the grader may take to the first look at everything.
	verdictTimeout = time.Minute
	// defaultPatience is three times what a rollout of the slowest own lab takes on two busy cores.
	defaultPatience = 90 * time.Second
	// caughtTimeout is how long a guard may take to catch what was done.
	caughtTimeout = 30 * time.Second
	// minQuiet is for how long nothing must change before a state counts as
	// final: longer than a controller pauses between two steps of a rollout.
	minQuiet = 4 * time.Second
	// removeTimeout bounds taking away what a proof made.
	removeTimeout = 2 * time.Minute
)

// Prove tries a lab on real sandboxes: for every variant the state at
// hand-over, every solution, every wrong fix, and a reset, each on a sandbox
// that nobody has touched. The error is for
// what kept it from trying: [Problems] that the linter finds, an unknown
// variant, an engine that does not answer. What the lab itself gets wrong
// stands in the Proof.
func Prove(ctx context.Context, lab *Lab, options ProveOptions) (Proof, error) {
	if problems := Lint(lab); len(problems) > 0 {
		return Proof{}, Problems(problems)
	}
	p, err := newProver(lab, options)
	if err != nil {
		return Proof{}, err
	}
	began := time.Now()
	err = p.run(ctx)
	if clearErr := p.clear(); clearErr != nil { // what was found stands
		p.log.Warn("not all templates of a proof could be removed", "err", clearErr)
	}
	if err != nil {
		return Proof{}, err
	}
	proof := Proof{Lab: lab.Slug, Version: lab.Version, OK: true, Began: began, Took: time.Since(began)}
	for _, t := range p.trials {
		proof.Cases = append(proof.Cases, t.result)
		proof.OK = proof.OK && t.result.OK
	}
	return proof, nil
}

// trial is one case to try.
type trial struct {
	variant Variant
	kind    CaseKind
	script  script // of a solution or wrong fix
	result  Case
}

// prover tries the cases of one lab.
type prover struct {
	lab     *Lab
	options ProveOptions
	log     *slog.Logger
	checks  *grade.Set
	trials  []*trial

	mu     sync.Mutex
	next   int
	broken map[string]bool // variants that can't be brought up
}

func newProver(lab *Lab, options ProveOptions) (*prover, error) {
	checks, problems := grade.Compile(lab.Checks())
	if len(problems) > 0 {
		return nil, lab.gradeProblems(problems)
	}
	p := &prover{lab: lab, options: options, log: options.Log, checks: checks, broken: map[string]bool{}}
	if p.log == nil {
		p.log = slog.Default()
	}
	if p.options.Patience == 0 {
		p.options.Patience = defaultPatience
	}
	for _, name := range options.Variants {
		if _, ok := lab.variant(name); !ok {
			return nil, fmt.Errorf("the lab %s has no variant %q%s", lab.Slug, name, didYouMean(name, lab.variantNames()))
		}
	}
	return p, p.plan()
}

func (l *Lab) variantNames() []string {
	var names []string
	for _, v := range l.AllVariants() {
		names = append(names, v.Name)
	}
	return names
}

// plan lists the cases in the order they are tried.
func (p *prover) plan() error {
	solutions, err := p.lab.scripts(solutionsDir)
	if err != nil {
		return err
	}
	wrong, err := p.lab.scripts(wrongDir)
	if err != nil {
		return err
	}
	for _, v := range p.lab.AllVariants() {
		if len(p.options.Variants) > 0 && !slices.Contains(p.options.Variants, v.Name) {
			continue
		}
		p.trials = append(p.trials, &trial{variant: v, kind: CaseHandOver})
		for _, s := range solutions {
			p.trials = append(p.trials, &trial{variant: v, kind: CaseSolution, script: s})
		}
		for _, s := range wrong {
			p.trials = append(p.trials, &trial{variant: v, kind: CaseWrong, script: s})
		}
		p.trials = append(p.trials, &trial{variant: v, kind: CaseReset})
	}
	return nil
}

// run lets the benches take the cases one by one.
func (p *prover) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range max(1, p.options.Parallel) {
		group.Go(func() (err error) {
			b := &bench{prover: p, session: "prove" + newID()}
			defer func() { err = errors.Join(err, b.remove()) }()
			for t := p.take(); t != nil; t = p.take() {
				if err := p.try(ctx, b, t); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// clear removes the templates of the variants that were tried: the lab may be
// another one next time.
func (p *prover) clear() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	provider := p.options.Provider
	err := provider.Close(ctx) // sandboxes that are being removed still use them
	for _, t := range p.trials {
		v := t.variant
		if t.kind != CaseHandOver {
			continue // every variant has one such case
		}
		id, idErr := provider.TemplateID(ctx, p.lab.SandboxSpec(provider, "", v))
		if idErr == nil && id != "" {
			idErr = provider.RemoveTemplate(ctx, id)
		}
		if idErr != nil {
			err = errors.Join(err, fmt.Errorf("remove the template of %s: %w", v.Name, idErr))
		}
	}
	return err
}

func (p *prover) take() *trial {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == len(p.trials) {
		return nil
	}
	p.next++
	return p.trials[p.next-1]
}

// try brings the sandbox into the state of hand-over and tries the case. An
// error ends the whole proof.
func (p *prover) try(ctx context.Context, b *bench, t *trial) error {
	began := time.Now()
	problems, err := p.attempt(ctx, b, t)
	if err != nil {
		return err
	}
	t.result = Case{
		Variant: t.variant.Name, Kind: t.kind, Name: t.script.name,
		OK: len(problems) == 0, Took: time.Since(began), Problems: problems,
	}
	if p.options.Done != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.options.Done(t.result)
	}
	return nil
}

func (p *prover) attempt(ctx context.Context, b *bench, t *trial) ([]string, error) {
	if p.isBroken(t.variant) {
		return []string{"not tried: the variant can't be brought up"}, nil
	}
	err := b.bringUp(ctx, t)
	var unprepared *prepareError
	switch {
	case errors.As(err, &unprepared) && ctx.Err() == nil:
		p.mu.Lock()
		p.broken[t.variant.Name] = true
		p.mu.Unlock()
		return []string{unprepared.Error()}, nil
	case err != nil:
		return nil, fmt.Errorf("bring up a sandbox for %s: %w", p.lab.Slug, err)
	}
	env, err := b.env(ctx, t.variant)
	if err != nil {
		return nil, err
	}
	if env.Baseline, err = p.checks.Baseline(ctx, env); err != nil {
		return []string{fmt.Sprintf("the baseline could not be taken: %v", err)}, nil
	}
	seen, stop := judge(ctx, p.checks, env)
	defer stop()
	switch t.kind {
	case CaseSolution:
		return p.solution(ctx, env, seen, t), ctx.Err()
	case CaseWrong:
		return p.wrong(ctx, env, seen, t), ctx.Err()
	}
	return append(p.handOver(ctx, seen), p.questions(t.variant)...), ctx.Err()
}

func (p *prover) isBroken(v Variant) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken[v.Name]
}

// prepareError is a lab that does not come into its state of hand-over,
// unlike an engine that fails.
type prepareError struct{ err error }

func (e *prepareError) Error() string { return e.err.Error() }
func (e *prepareError) Unwrap() error { return e.err }

// bench is one sandbox that cases are tried in, one after the other.
type bench struct {
	prover  *prover
	session string
	made    bool
}

// bringUp gives the sandbox the state of hand-over of the case's variant.
func (b *bench) bringUp(ctx context.Context, t *trial) error {
	spec := b.prover.lab.SandboxSpec(b.prover.options.Provider, b.session, t.variant)
	spec.Prepare, spec.Ready = itsOwnFault(spec.Prepare), itsOwnFault(spec.Ready)
	bring := b.prover.options.Provider.Create
	if b.made {
		bring = b.prover.options.Provider.Reset
	}
	b.made = true // so that remove looks for it even when this fails
	if _, err := bring(ctx, spec, nil); err != nil {
		b.made = false
		return errors.Join(err, b.destroy())
	}
	return nil
}

// itsOwnFault marks what a step says as the lab's fault.
func itsOwnFault(step func(context.Context, string, sandbox.Progress) error) func(context.Context, string, sandbox.Progress) error {
	return func(ctx context.Context, id string, progress sandbox.Progress) error {
		if err := step(ctx, id, progress); err != nil {
			return &prepareError{err}
		}
		return nil
	}
}

// env is what the grader needs to see the bench's sandbox.
func (b *bench) env(ctx context.Context, v Variant) (grade.Env, error) {
	env := grade.Env{
		Vars: v.Vars,
		Exec: func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
			return b.prover.options.Provider.Exec(ctx, b.session, cmd)
		},
		Log: b.prover.log.With("session", b.session),
	}
	if b.prover.lab.Sandbox.Kind != sandbox.Cluster {
		return env, nil
	}
	var err error
	env.REST, err = AdminConfig(ctx, b.prover.options.Provider, b.session)
	return env, err
}

// AdminConfig is an administrator's access to the cluster of a session.
func AdminConfig(ctx context.Context, provider sandbox.Provider, session string) (*rest.Config, error) {
	kubeconfig, err := provider.KubeConfig(ctx, session)
	if err != nil {
		return nil, fmt.Errorf("get the kubeconfig of %s: %w", session, err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of %s: %w", session, err)
	}
	return config, nil
}

// remove destroys the bench's sandbox, also when the proof was cancelled.
func (b *bench) remove() error {
	if !b.made {
		return nil
	}
	return b.destroy()
}

func (b *bench) destroy() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if err := b.prover.options.Provider.Destroy(ctx, b.session); err != nil {
		return fmt.Errorf("remove the sandbox %s: %w", b.session, err)
	}
	return nil
}
