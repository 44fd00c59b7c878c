package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/image"
	"drydock/sandbox/machine"
)

// removeTimeout bounds the removal of a sandbox, which takes a tenth of a second.
const removeTimeout = time.Minute

// Names of the stages.
const (
	stageDisk  = "Make the disk"
	stageStart = "Start the machine"
	stageSetUp = "Set up the machine"
	stageWake  = "Wake the machine"
)

// plan is a spec that was found good.
type plan struct {
	spec     sandbox.Spec
	root     string // of runsc and the root file system
	limits   sandbox.Limits
	template string // its id; empty for none
}

// plan checks a spec without its session, which a spare and a template have none of.
func (p *Provider) plan(spec sandbox.Spec) (*plan, error) {
	limits, err := machine.Accept(spec)
	if err != nil {
		return nil, err
	}
	root, err := image.CurrentMachineRoot(p.cfg.Machines)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sandbox.ErrNoImage, err)
	}
	plan := &plan{spec: spec, root: root, limits: limits}
	plan.template, err = p.templateID(plan)
	return plan, err
}

func (p *Provider) planFor(spec sandbox.Spec) (*plan, error) {
	if err := dock.CheckID(spec.Session); err != nil {
		return nil, err
	}
	return p.plan(spec)
}

// Create gives a session a spare, or a copy of the lab's template, or, where
// the spec names no template, a machine of its own making.
func (p *Provider) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.planFor(spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	ctx, done, err := p.changes.Begin(ctx, spec.Session)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer done()
	if _, err := p.serving(spec.Session); err == nil {
		return sandbox.Info{}, fmt.Errorf("session %s has a sandbox already", spec.Session)
	} else if !errors.Is(err, sandbox.ErrNotFound) {
		return sandbox.Info{}, err
	}
	info, err := p.provide(ctx, plan, use{sandbox.Serving, spec.Session, 1}, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("create the machine of session %s: %w", spec.Session, err)
	}
	return info, nil
}

// Reset gives the session a fresh machine. The old one serves until then.
func (p *Provider) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.planFor(spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	ctx, done, err := p.changes.Begin(ctx, spec.Session)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer done()
	old, err := p.serving(spec.Session)
	if err != nil && !errors.Is(err, sandbox.ErrNotFound) {
		return sandbox.Info{}, err
	}
	to := use{sandbox.Serving, spec.Session, 1}
	if old != nil {
		to.Number = old.use.Number + 1
	}
	info, err := p.provide(ctx, plan, to, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("reset the machine of session %s: %w", spec.Session, err)
	}
	if old != nil {
		p.removeBehind(old.ID)
	}
	return info, nil
}

// provide gives a session a spare, or a machine of its own.
func (p *Provider) provide(ctx context.Context, plan *plan, to use, s *dock.Stages) (sandbox.Info, error) {
	for plan.template != "" {
		b, err := p.takeSpare(plan.template, to)
		if err != nil {
			return sandbox.Info{}, err
		}
		if b == nil {
			break
		}
		if err = s.Run(stageWake, func() error { return p.thaw(ctx, b) }); err == nil {
			return p.info(b), nil
		}
		p.removeBehind(b.ID)
		if ctx.Err() != nil {
			return sandbox.Info{}, context.Cause(ctx)
		}
		p.cfg.Log.Warn("a spare is no longer good", "machine", b.ID, "err", err)
	}
	return p.create(ctx, plan, to, s)
}

// takeSpare gives the oldest spare of a template to a session, if there is one.
func (p *Provider) takeSpare(template string, to use) (*box, error) {
	p.taking.Lock()
	defer p.taking.Unlock()
	all, err := p.boxes()
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.use.Use == sandbox.Spare && b.Template == template && b.state() == sandbox.Frozen {
			return b, b.setUse(to)
		}
	}
	return nil, nil
}

// Spare makes a copy of the spec's template for whoever comes next.
func (p *Provider) Spare(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.plan(spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	if plan.template == "" {
		return sandbox.Info{}, errors.New("make a spare: the lab names no template")
	}
	info, err := p.create(ctx, plan, use{Use: sandbox.Spare}, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("make a spare of %s: %w", spec.Template, err)
	}
	return info, nil
}

// create makes a sandbox, brings it into the lab's state and gives it its use. What a failure leaves is removed, also when ctx has ended.
func (p *Provider) create(ctx context.Context, plan *plan, to use, s *dock.Stages) (sandbox.Info, error) {
	b, unlock, err := p.prepare(ctx, plan, to.Session, s)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer unlock()
	if to.Use == sandbox.Spare {
		err = p.freeze(ctx, b)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = b.setUse(to)
	}
	if err != nil {
		return sandbox.Info{}, errors.Join(err, p.clean(ctx, b.ID))
	}
	return p.info(b), nil
}

// prepare makes a sandbox and brings it into the state that is handed over. It
// stays locked, and in use as Preparing, until the caller says what is to become
// of it and calls unlock.
func (p *Provider) prepare(ctx context.Context, plan *plan, session string, s *dock.Stages) (_ *box, unlock func(), err error) {
	b, l, err := p.found(plan, session)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what failed then failed for this
		}
		err = errors.Join(err, p.clean(ctx, b.ID))
		l.release()
	}()
	if err := s.Run(stageDisk, func() error { return p.disk.fresh(ctx, b) }); err != nil {
		return nil, nil, err
	}
	if err := s.Run(stageStart, func() error { return p.launch(ctx, b) }); err != nil {
		return nil, nil, err
	}
	if err := s.Run(stageSetUp, func() error { return p.ready(ctx, b, true) }); err != nil {
		return nil, nil, err
	}
	name := b.ID
	if session != "" && plan.template == "" {
		name = session
	}
	for _, step := range []func(context.Context, string, sandbox.Progress) error{plan.spec.Prepare, plan.spec.Ready} {
		if step == nil {
			continue
		}
		if err := step(ctx, name, s.Report); err != nil {
			return nil, nil, err
		}
	}
	return b, l.release, nil
}

// found makes a sandbox's directory, under its lock.
func (p *Provider) found(plan *plan, session string) (*box, *lock, error) {
	b := &box{ID: dock.NewID(), Root: plan.root, Template: plan.template, Limits: plan.limits, Created: time.Now().UTC().Truncate(time.Millisecond)}
	b.dir = filepath.Join(p.sandboxes(), b.ID)
	l, err := p.tryLock(b.ID)
	if err != nil {
		return nil, nil, err
	}
	if l == nil {
		return nil, nil, fmt.Errorf("the name %s is taken", b.ID)
	}
	err = os.Mkdir(b.dir, 0o700)
	if err == nil {
		err = errors.Join(
			b.setUse(use{Use: sandbox.Preparing, Session: session}),
			image.UseMachineRoot(plan.root, p.container(b.ID), b.dir),
			writeJSON(b.path(boxFile), b))
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("make the machine's directory: %w", err), os.RemoveAll(b.dir))
		l.release()
		return nil, nil, err
	}
	return b, l, nil
}

// clean removes what a failed creation has left, also when ctx has ended.
func (p *Provider) clean(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	return p.remove(ctx, id)
}

// remove removes everything that a sandbox has, whole or not.
func (p *Provider) remove(ctx context.Context, id string) error {
	dir := filepath.Join(p.sandboxes(), id)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b, err := p.load(id)
	if err == nil {
		err = b.setUse(use{Use: sandbox.Leaving})
	}
	if err != nil {
		// Half made, or half removed.
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the machine %s: %w", id, err)
		}
		b = &box{ID: id, dir: dir}
	}
	if err := p.quench(ctx, b); err != nil {
		return fmt.Errorf("remove the machine %s: %w", id, err)
	}
	// The record goes last: whatever fails, the rest is found again.
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the machine %s: %w", id, err)
	}
	for _, e := range entries {
		if e.Name() == useFile || e.Name() == boxFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove the machine %s: %w", id, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the machine %s: %w", id, err)
	}
	if b.Root != "" {
		image.LeaveMachineRoot(b.Root, p.container(id))
	}
	return nil
}

// removeBehind removes a sandbox behind its caller's back. One that is not
// removed, as when the server is killed, is removed by the next Sweep.
func (p *Provider) removeBehind(id string) {
	if b, err := p.load(id); err == nil {
		if err := b.setUse(use{Use: sandbox.Leaving}); err != nil {
			p.cfg.Log.Warn("a machine stays until it is swept", "machine", id, "err", err)
		}
	}
	p.removals.Go(func() {
		if err := p.clean(context.Background(), id); err != nil {
			p.cfg.Log.Warn("a machine stays until it is swept", "machine", id, "err", err)
		}
	})
}

// Destroy removes everything the session has, what is just being created included.
func (p *Provider) Destroy(ctx context.Context, session string) error {
	if err := dock.CheckID(session); err != nil {
		return err
	}
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	all, err := p.boxes()
	if err != nil {
		return err
	}
	for _, b := range all {
		if b.use.Session != session {
			continue
		}
		if b.use.Use == sandbox.Preparing {
			l, err := p.tryLock(b.ID)
			if err != nil {
				return err
			}
			if l == nil {
				continue // another server's; it does not belong to this one
			}
			defer l.release()
		}
		if err := p.remove(ctx, b.ID); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes a sandbox by its own id, whatever its use.
func (p *Provider) Discard(ctx context.Context, id string) error {
	if !isID(id) {
		return nil
	}
	return p.remove(ctx, id)
}

// Sweep removes the sandboxes that are leaving and those that nobody prepares
// any more, and whatever a killed server has left half made.
func (p *Provider) Sweep(ctx context.Context) error {
	whole, err := p.boxes()
	if err != nil {
		return err
	}
	stays := map[string]bool{}
	for _, b := range whole {
		stays[b.ID] = b.use.Use.OfSession() || b.handable()
	}
	ids, err := p.ids()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if !stays[id] {
			errs = append(errs, p.sweepOne(ctx, id))
		}
	}
	return errors.Join(append(errs, p.sweepLocks())...)
}

func (p *Provider) sweepOne(ctx context.Context, id string) error {
	l, err := p.tryLock(id)
	if err != nil || l == nil {
		return err // somebody is at it
	}
	defer l.release()
	// It may have become something since it was looked at.
	if b, err := p.load(id); err == nil && (b.handable() || b.use.Use.OfSession() && !p.outnumbered(b)) {
		return nil
	}
	return p.remove(ctx, id)
}

// handable says whether it is a spare that can be handed out: one that has
// stopped, as at a restart of the host, never is.
func (b *box) handable() bool {
	return b.use.Use == sandbox.Spare && b.state() == sandbox.Frozen
}

// outnumbered says whether a newer sandbox serves the same session.
func (p *Provider) outnumbered(b *box) bool {
	newest, err := p.serving(b.use.Session)
	return err == nil && newest.ID != b.ID
}

// sweepLocks removes the files of locks that nobody holds.
func (p *Provider) sweepLocks() error {
	entries, err := os.ReadDir(p.locks())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isID(e.Name()) {
			continue
		}
		l, err := p.tryLock(e.Name())
		if err != nil {
			return err
		}
		if l != nil {
			l.release()
		}
	}
	return nil
}

// Close waits until what is being removed behind its callers has gone, or ctx ends.
func (p *Provider) Close(ctx context.Context) error {
	return dock.Await(ctx, &p.removals, "wait for the removal of old machines")
}
