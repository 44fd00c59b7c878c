package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"drydock/sandbox"
)

// Kind is that of the first provider: a fleet has several.
func (f *Fleet) Kind() sandbox.Kind { return f.cfg.Providers[0].Kind() }

// provider is the one that makes sandboxes of a kind; of an empty one, the first.
func (f *Fleet) provider(kind sandbox.Kind) (sandbox.Provider, error) {
	if kind == "" {
		return f.cfg.Providers[0], nil
	}
	if p := f.kinds[kind]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrKind, kind)
}

// Differences says what learners find otherwise in the sandboxes of a kind here; see [sandbox.Different].
func (f *Fleet) Differences(kind sandbox.Kind) []string {
	if p, ok := f.kinds[kind].(sandbox.Different); ok {
		return p.Differences()
	}
	return nil
}

// route finds the provider of a session, or of a sandbox by its own id. What
// this process has not seen yet the providers are asked for.
func (f *Fleet) route(ctx context.Context, session string) (sandbox.Provider, error) {
	if len(f.cfg.Providers) == 1 {
		return f.cfg.Providers[0], nil
	}
	if kind, ok := f.kindOf(session); ok {
		return f.kinds[kind], nil
	}
	var problems []error
	for _, p := range f.cfg.Providers {
		_, err := p.Get(ctx, session)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, sandbox.ErrNotFound) {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return nil, fmt.Errorf("%s: %w", session, sandbox.ErrNotFound)
}

func (f *Fleet) kindOf(id string) (sandbox.Kind, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind, ok := f.made[id]; ok {
		return kind, true
	}
	for _, b := range f.boxes {
		if b.ID == id || b.Session == id {
			return b.Kind, true
		}
	}
	return "", false
}

// List returns the sandboxes of all providers. When some do not answer it
// returns those of the others with a [PartialError].
func (f *Fleet) List(ctx context.Context) ([]sandbox.Info, error) {
	var all []sandbox.Info
	failed := map[sandbox.Kind]error{}
	began := f.cfg.Now()
	for _, p := range f.cfg.Providers {
		infos, err := p.List(ctx)
		if err != nil {
			failed[p.Kind()] = err
			continue
		}
		all = append(all, infos...)
		f.seen(p.Kind(), infos, began)
	}
	err := f.partial(failed)
	if errors.Is(ctx.Err(), context.Canceled) {
		return all, err // who asked has gone, and not the engine
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent, f.listed = failed, err
	return all, err
}

// partial is the error of those that did not answer; nil when all did.
func (f *Fleet) partial(failed map[sandbox.Kind]error) error {
	if len(failed) == 0 {
		return nil
	}
	return &PartialError{Kinds: failed, Answered: len(f.cfg.Providers) - len(failed)}
}

// Get returns the sandbox that serves a session.
func (f *Fleet) Get(ctx context.Context, session string) (sandbox.Info, error) {
	p, err := f.route(ctx, session)
	if err != nil {
		return sandbox.Info{}, err
	}
	return p.Get(ctx, session)
}

// Create makes a session's sandbox, after its template where there is none yet.
func (f *Fleet) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	return f.bring(ctx, "create", spec, progress, sandbox.Provider.Create)
}

// Reset gives the session a fresh sandbox in the same way.
func (f *Fleet) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	return f.bring(ctx, "reset", spec, progress, sandbox.Provider.Reset)
}

type bringer = func(sandbox.Provider, context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Info, error)

// bring makes a session's sandbox and measures how long that takes.
func (f *Fleet) bring(ctx context.Context, doing string, spec sandbox.Spec, progress sandbox.Progress, by bringer) (sandbox.Info, error) {
	p, err := f.provider(spec.Kind)
	if err != nil {
		return sandbox.Info{}, err
	}
	t := track(progress)
	id, err := f.ensureTemplate(ctx, p, spec, t.progress)
	if err != nil {
		return sandbox.Info{}, err // noted where it was made
	}
	began := f.cfg.Now()
	spec, forget := f.follow(p, spec)
	defer forget()
	info, err := by(p, ctx, spec, t.progress)
	if err != nil {
		f.fail(ctx, Failure{Session: spec.Session, Template: spec.Template, Doing: doing, Stage: t.stage()}, err)
		return info, err
	}
	how := f.arrived(info, spec, id)
	f.measured(Measurement{At: f.cfg.Now(), Kind: p.Kind(), How: how, Template: spec.Template, Took: f.cfg.Now().Sub(began)})
	return info, nil
}

// follow has the sandbox's own id lead to its provider from the moment that
// its preparation begins, when it is in no list yet.
func (f *Fleet) follow(p sandbox.Provider, spec sandbox.Spec) (followed sandbox.Spec, forget func()) {
	var known []string
	note := func(id string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.made[id] = p.Kind()
		known = append(known, id)
	}
	with := func(step func(context.Context, string, sandbox.Progress) error) func(context.Context, string, sandbox.Progress) error {
		if step == nil {
			return nil
		}
		return func(ctx context.Context, id string, progress sandbox.Progress) error {
			note(id)
			return step(ctx, id, progress)
		}
	}
	spec.Prepare, spec.Ready = with(spec.Prepare), with(spec.Ready)
	return spec, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, id := range known {
			delete(f.made, id)
		}
	}
}

// Destroy removes everything the session's sandbox has.
func (f *Fleet) Destroy(ctx context.Context, session string) error {
	var problems []error
	for _, p := range f.providersOf(session) {
		if err := p.Destroy(ctx, session); err != nil {
			f.fail(ctx, Failure{Session: session, Doing: "destroy"}, err)
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	f.left(func(b *box) bool { return b.Session == session })
	return nil
}

// providersOf are those that may have the session: all of them, where that is
// not known. What is not there is no error to destroy.
func (f *Fleet) providersOf(session string) []sandbox.Provider {
	if kind, ok := f.kindOf(session); ok {
		return []sandbox.Provider{f.kinds[kind]}
	}
	return f.cfg.Providers
}

// Discard removes a sandbox by its own id, whatever its use.
func (f *Fleet) Discard(ctx context.Context, id string) error {
	var problems []error
	for _, p := range f.providersOf(id) {
		if err := p.Discard(ctx, id); err != nil {
			f.fail(ctx, Failure{Sandbox: id, Doing: "discard"}, err)
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	f.left(func(b *box) bool { return b.ID == id })
	return nil
}

// Freeze stops all processes of the session's sandbox where they are.
func (f *Fleet) Freeze(ctx context.Context, session string) error {
	return f.change(ctx, session, "freeze", sandbox.Provider.Freeze, sandbox.Frozen)
}

// Thaw lets them go on.
func (f *Fleet) Thaw(ctx context.Context, session string) error {
	return f.change(ctx, session, "thaw", sandbox.Provider.Thaw, sandbox.Running)
}

// Recover starts a Stopped sandbox again and waits until it answers.
func (f *Fleet) Recover(ctx context.Context, session string) error {
	return f.change(ctx, session, "recover", sandbox.Provider.Recover, sandbox.Running)
}

func (f *Fleet) change(ctx context.Context, session, doing string, by func(sandbox.Provider, context.Context, string) error, to sandbox.State) error {
	p, err := f.route(ctx, session)
	if err != nil {
		return err
	}
	if err := by(p, ctx, session); err != nil {
		f.fail(ctx, Failure{Session: session, Doing: doing}, err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.boxes {
		if b.Session == session && b.Use.OfSession() {
			b.State = to
		}
	}
	return nil
}

// Keep freezes what a session that has ended left, and keeps it while its
// memory is not needed.
func (f *Fleet) Keep(ctx context.Context, session string) error {
	p, err := f.route(ctx, session)
	if err != nil {
		return err
	}
	if err := p.Keep(ctx, session); err != nil {
		f.fail(ctx, Failure{Session: session, Doing: "keep"}, err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.boxes {
		if b.Session != session || !b.Use.OfSession() {
			continue
		}
		if b.Use == sandbox.Serving {
			f.served(b)
		}
		b.Use, b.State, b.added = sandbox.Kept, sandbox.Frozen, f.cfg.Now()
	}
	f.pump()
	f.wake()
	return nil
}

// Exec runs a command in a sandbox.
func (f *Fleet) Exec(ctx context.Context, session string, cmd sandbox.Command) (sandbox.Result, error) {
	p, err := f.route(ctx, session)
	if err != nil {
		return sandbox.Result{}, err
	}
	return p.Exec(ctx, session, cmd)
}

// Terminal attaches to a shell where the learner works.
func (f *Fleet) Terminal(ctx context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	p, err := f.route(ctx, session)
	if err != nil {
		return nil, err
	}
	return p.Terminal(ctx, session, spec)
}

// CloseTerminal ends a shell.
func (f *Fleet) CloseTerminal(ctx context.Context, session, tab string) error {
	p, err := f.route(ctx, session)
	if err != nil {
		return err
	}
	return p.CloseTerminal(ctx, session, tab)
}

// KubeConfig returns an administrator's kubeconfig for the cluster.
func (f *Fleet) KubeConfig(ctx context.Context, session string) ([]byte, error) {
	p, err := f.route(ctx, session)
	if err != nil {
		return nil, err
	}
	return p.KubeConfig(ctx, session)
}

// TemplateID is the id of the template that spec asks for.
func (f *Fleet) TemplateID(ctx context.Context, spec sandbox.Spec) (string, error) {
	p, err := f.provider(spec.Kind)
	if err != nil {
		return "", err
	}
	return f.templateID(ctx, p, spec)
}

// MakeTemplate makes the template that spec asks for, unless it is there.
func (f *Fleet) MakeTemplate(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Template, error) {
	p, err := f.provider(spec.Kind)
	if err != nil {
		return sandbox.Template{}, err
	}
	return f.makeTemplate(ctx, p, spec, progress)
}

// Templates returns the templates of all providers. When some do not answer it
// returns those of the others with a [PartialError].
func (f *Fleet) Templates(ctx context.Context) ([]sandbox.Template, error) {
	var all []sandbox.Template
	failed := map[sandbox.Kind]error{}
	for _, p := range f.cfg.Providers {
		some, err := p.Templates(ctx)
		if err != nil {
			failed[p.Kind()] = err
			continue
		}
		all = append(all, some...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.templates, func(_ string, t sandbox.Template) bool { return failed[t.Kind] == nil })
	for _, t := range all {
		f.templates[t.ID] = t
	}
	err := f.partial(failed)
	if !errors.Is(ctx.Err(), context.Canceled) {
		f.kept = err
	}
	return all, err
}

// RemoveTemplate removes a template; one that is not there is no error.
func (f *Fleet) RemoveTemplate(ctx context.Context, id string) error {
	f.mu.Lock()
	providers := f.cfg.Providers
	if t, known := f.templates[id]; known { // another kind may be silent
		providers = []sandbox.Provider{f.kinds[t.Kind]}
	}
	f.mu.Unlock()
	for _, p := range providers {
		if err := p.RemoveTemplate(ctx, id); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.templates, id)
	return nil
}

// Spare makes a sandbox that serves nobody yet and freezes it.
func (f *Fleet) Spare(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	p, err := f.provider(spec.Kind)
	if err != nil {
		return sandbox.Info{}, err
	}
	t := track(progress)
	if _, err := f.ensureTemplate(ctx, p, spec, t.progress); err != nil {
		return sandbox.Info{}, err
	}
	spec, forget := f.follow(p, spec)
	defer forget()
	info, err := p.Spare(ctx, spec, t.progress)
	if err != nil {
		f.fail(ctx, Failure{Template: spec.Template, Doing: "make a spare", Stage: t.stage()}, err)
		return info, err
	}
	f.add(info, spec.Template)
	return info, nil
}

// Sweep removes what nothing needs.
func (f *Fleet) Sweep(ctx context.Context) error {
	return f.all(func(p sandbox.Provider) error { return p.Sweep(ctx) })
}

// Usage measures sandboxes by their own ids.
func (f *Fleet) Usage(ctx context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	all := map[string]sandbox.Usage{}
	var problems []error
	for kind, of := range f.byKind(ids) {
		some, err := f.kinds[kind].Usage(ctx, of...)
		if err != nil {
			problems = append(problems, err)
		}
		for id, usage := range some {
			all[id] = usage
		}
	}
	f.used(all)
	return all, errors.Join(problems...)
}

func (f *Fleet) byKind(ids []string) map[sandbox.Kind][]string {
	of := map[sandbox.Kind][]string{}
	for _, id := range ids {
		kind, ok := f.kindOf(id)
		if !ok && len(f.cfg.Providers) > 1 {
			continue // it has gone
		}
		if !ok {
			kind = f.Kind()
		}
		of[kind] = append(of[kind], id)
	}
	return of
}

// Close waits until what is being removed behind a Reset has gone, or ctx ends.
func (f *Fleet) Close(ctx context.Context) error {
	if f.cfg.History != nil {
		f.write(ctx)
	}
	return f.all(func(p sandbox.Provider) error { return p.Close(ctx) })
}

func (f *Fleet) all(do func(sandbox.Provider) error) error {
	var problems []error
	for _, p := range f.cfg.Providers {
		problems = append(problems, do(p))
	}
	return errors.Join(problems...)
}
