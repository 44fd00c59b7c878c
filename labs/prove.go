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
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/sandbox/resident"
)

// CaseKind says what a case of a proof tries.
type CaseKind string

const (
	// CaseHandOver: nothing is done yet. Every check of every task fails, every guard
	// holds, and questions take the right answers and no others.
	CaseHandOver CaseKind = "hand-over"
	// CaseSolution: a solution ran as the learner. Every check passes, and no guard was violated.
	CaseSolution CaseKind = "solution"
	// CaseWrong: a wrong fix ran as the learner. What it names catches it, once
	// nothing changes any more: the guard was violated; or the check fails;
	// or the question refuses the answer.
	CaseWrong CaseKind = "wrong fix"
	// CaseEveryLab: what is tried against every lab: doing nothing for a minute,
	// in which no check ever holds and no guard is violated; deleting everything
	// and starting everything anew, which must not do every task that has
	// checks without violating a guard.
	CaseEveryLab CaseKind = "every lab"
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
	Notes    []string      `json:"notes,omitempty"`    // what an author should know all the same

	// Where a wrong fix, or one for every lab, got to: the state once nothing changed any more.
	Done     []string `json:"done,omitempty"`     // tasks whose checks all pass
	Failing  []string `json:"failing,omitempty"`  // checks of tasks that do not pass
	Violated []string `json:"violated,omitempty"` // guards, at any time
	Refused  []string `json:"refused,omitempty"`  // questions whose answer was wrong
}

// CaughtBy is everything that catches a wrong fix.
func (c Case) CaughtBy() []string { return slices.Concat(c.Failing, c.Violated, c.Refused) }

// Proof is what Prove found.
type Proof struct {
	Lab     string        `json:"lab"`
	Version string        `json:"version"`
	OK      bool          `json:"ok"` // every case is
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"tookNs"`
	Cases   []Case        `json:"cases"`
	// Needs says of each check, guard and question which wrong fixes it alone catches.
	Needs []Need `json:"needs"`
	// Kubernetes is the version that clusters had, such as v1.37.2; empty for a machine.
	Kubernetes string `json:"kubernetes,omitempty"`
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
	// Idle is for how long nothing is done to see that this earns nothing; 0 means a minute.
	Idle time.Duration
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
	// minQuiet is for how long nothing must change before a state counts as
	// final: longer than a controller pauses between two steps of a rollout.
	minQuiet = 4 * time.Second
	// removeTimeout bounds taking away what a proof made.
	removeTimeout = 2 * time.Minute
)

// Prove tries a lab on real sandboxes: for every variant the state at
// hand-over, every solution, every wrong fix, what is tried against every lab,
// and a reset, each on a sandbox that nobody has touched. The error is for
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
	proof := Proof{Lab: lab.Slug, Version: lab.Version, OK: true, Began: began, Took: time.Since(began), Kubernetes: p.kubernetes}
	for _, t := range p.trials {
		proof.Cases = append(proof.Cases, t.result)
		proof.OK = proof.OK && t.result.OK
	}
	proof.Needs = needs(lab, proof.Cases)
	return proof, nil
}

// trial is one case to try.
type trial struct {
	variant Variant
	kind    CaseKind
	script  script // of a solution or wrong fix
	idle    *trial // goes on in the sandbox of this one when it is done
	result  Case
}

// prover tries the cases of one lab.
type prover struct {
	lab     *Lab
	options ProveOptions
	log     *slog.Logger
	checks  *grade.Set
	trials  []*trial // all, in the order in which they are told

	mu         sync.Mutex
	queue      []*trial        // those not taken yet
	broken     map[string]bool // variants that can't be brought up
	kubernetes string
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
	if p.options.Idle == 0 {
		p.options.Idle = idleFor
	}
	for _, name := range options.Variants {
		if _, err := lab.FindVariant(name); err != nil {
			return nil, err
		}
	}
	return p, p.plan()
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
	everyLab, err := p.lab.everyLab()
	if err != nil {
		return err
	}
	for _, v := range p.lab.AllVariants() {
		if len(p.options.Variants) > 0 && !slices.Contains(p.options.Variants, v.Name) {
			continue
		}
		add := func(kind CaseKind, scripts ...script) {
			for _, s := range scripts {
				t := &trial{variant: v, kind: kind, script: s}
				p.trials, p.queue = append(p.trials, t), append(p.queue, t)
			}
		}
		add(CaseHandOver, script{})
		idle := &trial{variant: v, kind: CaseEveryLab, script: script{name: doNothing}}
		p.trials[len(p.trials)-1].idle = idle
		p.trials = append(p.trials, idle)
		add(CaseSolution, solutions...)
		add(CaseWrong, wrong...)
		add(CaseEveryLab, everyLab...)
		add(CaseReset, script{})
	}
	if p.lab.Sandbox.Kind == sandbox.Machine {
		// The minutes of doing nothing pass side by side: machines take next to no memory.
		slices.SortStableFunc(p.queue, func(a, b *trial) int { return handOverFirst(a) - handOverFirst(b) })
	}
	return nil
}

func handOverFirst(t *trial) int {
	if t.kind == CaseHandOver {
		return 0
	}
	return 1
}

// run lets the benches take the cases one by one.
func (p *prover) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range max(1, p.options.Parallel) {
		group.Go(func() error { return p.work(ctx, group) })
	}
	return group.Wait()
}

// work tries cases until none is left. Where nothing is to be done for a
// while the bench is left to itself, and the work goes on at another: waiting
// takes none of the machine.
func (p *prover) work(ctx context.Context, group *errgroup.Group) (err error) {
	b := p.newBench()
	defer func() { err = errors.Join(err, b.remove()) }()
	for t := p.take(); t != nil; t = p.take() {
		if err := p.try(ctx, b, t); err != nil {
			return err
		}
		switch {
		case t.idle == nil:
		case !t.result.OK:
			p.finish(t.idle, []string{"not tried: the state at hand-over is wrong already"}, 0)
		default:
			left := b
			b = p.newBench()
			group.Go(func() error { return errors.Join(p.idle(ctx, left, t.idle), left.remove()) })
		}
	}
	return nil
}

func (p *prover) newBench() *bench {
	b := &bench{prover: p, session: "prove" + newID()}
	b.newRunner()
	return b
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
	if len(p.queue) == 0 {
		return nil
	}
	t := p.queue[0]
	p.queue = p.queue[1:]
	return t
}

// try brings the sandbox into the state of hand-over and tries the case. An
// error ends the whole proof.
func (p *prover) try(ctx context.Context, b *bench, t *trial) error {
	return p.timed(t, func() ([]string, error) { return p.attempt(ctx, b, t) })
}

// timed runs a case and tells of it.
func (p *prover) timed(t *trial, run func() (problems []string, err error)) error {
	began := time.Now()
	problems, err := run()
	if err != nil {
		return err
	}
	p.finish(t, problems, time.Since(began))
	return nil
}

// finish completes the result of a case and tells of it.
func (p *prover) finish(t *trial, problems []string, took time.Duration) {
	r := &t.result
	r.Variant, r.Kind, r.Name = t.variant.Name, t.kind, t.script.name
	r.OK, r.Took, r.Problems = len(problems) == 0, took, problems
	if p.options.Done != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.options.Done(*r)
	}
}

// live is a case that is going on: the sandbox, and what is seen of it.
type live struct {
	env  grade.Env
	seen *tally
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
	b.handedOver = env
	seen, stop := judge(ctx, p.checks, env)
	defer stop()
	at := &live{env: env, seen: seen}
	switch t.kind {
	case CaseSolution:
		return p.solution(ctx, at, t), ctx.Err()
	case CaseWrong:
		return p.wrong(ctx, at, t), ctx.Err()
	case CaseEveryLab:
		return p.everyLabCase(ctx, at, t), ctx.Err()
	}
	return append(p.handOver(ctx, at, t), p.questions(t.variant)...), ctx.Err()
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
	runner  *resident.Runner // of what checks run again and again, as in a learner's session

	handedOver grade.Env // of the latest case
}

// newRunner is for a sandbox in which nothing runs yet.
func (b *bench) newRunner() {
	b.runner = resident.New(func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		return b.prover.options.Provider.Exec(ctx, b.session, cmd)
	})
}

// bringUp gives the sandbox the state of hand-over of the case's variant.
func (b *bench) bringUp(ctx context.Context, t *trial) error {
	spec := b.prover.lab.SandboxSpec(b.prover.options.Provider, b.session, t.variant)
	spec.Prepare, spec.Ready = itsOwnFault(spec.Prepare), itsOwnFault(spec.Ready)
	bring := b.prover.options.Provider.Create
	b.runner.Close() // a reset would take the program away while it is used
	b.newRunner()
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
		Vars: v.Vars, Files: b.prover.lab.FS,
		Exec: b.runner.Exec,
		Log:  b.prover.log.With("session", b.session),
	}
	if b.prover.lab.Sandbox.Kind != sandbox.Cluster {
		return env, nil
	}
	var err error
	if env.REST, err = AdminConfig(ctx, b.prover.options.Provider, b.session); err != nil {
		return env, err
	}
	return env, b.prover.noteVersion(env.REST)
}

// noteVersion asks the first cluster for its version.
func (p *prover) noteVersion(config *rest.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kubernetes != "" {
		return nil
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for the cluster: %w", err)
	}
	version, err := client.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the cluster for its version: %w", err)
	}
	p.kubernetes = version.GitVersion
	return nil
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
	b.runner.Close()
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
