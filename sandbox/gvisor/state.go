package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"drydock/sandbox"
)

// List returns the sandboxes of this instance, the oldest first.
func (p *Provider) List(context.Context) ([]sandbox.Info, error) {
	all, err := p.boxes()
	if err != nil {
		return nil, err
	}
	infos := make([]sandbox.Info, len(all))
	for i, b := range all {
		infos[i] = p.info(b)
	}
	return infos, nil
}

// Get returns the sandbox that serves a session.
func (p *Provider) Get(_ context.Context, session string) (sandbox.Info, error) {
	b, err := p.serving(session)
	if err != nil {
		return sandbox.Info{}, err
	}
	return p.info(b), nil
}

// Freeze stops all processes where they are.
func (p *Provider) Freeze(ctx context.Context, session string) error {
	b, err := p.serving(session)
	if err == nil {
		err = p.freeze(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("freeze session %s: %w", session, err)
	}
	return nil
}

// freeze marks the sandbox before it stops it, and thaw after it has let it go
// on: whenever the server is killed, a sandbox that stands still is marked, and
// thawing one that does not stand still is no error.
func (p *Provider) freeze(ctx context.Context, b *box) error {
	if !b.alive() {
		return fmt.Errorf("the machine %s does not run", b.ID)
	}
	if b.frozen() {
		return nil
	}
	if err := os.WriteFile(b.path(frozenFile), nil, 0o600); err != nil {
		return err
	}
	err := p.call(ctx, b, "stop the machine's processes", "pause", p.container(b.ID))
	if err == nil {
		err = p.disk.keep(ctx, p, b)
	}
	if err != nil {
		return errors.Join(err, p.thaw(context.WithoutCancel(ctx), b))
	}
	return nil
}

// Keep writes it down first, so that a crash leaves one that is kept.
func (p *Provider) Keep(ctx context.Context, session string) error {
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	b, err := p.serving(session)
	if err == nil && b.use.Use != sandbox.Kept {
		err = b.setUse(use{sandbox.Kept, b.use.Session, b.use.Number})
	}
	if err == nil {
		err = p.freeze(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("keep the machine of session %s: %w", session, err)
	}
	return nil
}

// Thaw lets them go on.
func (p *Provider) Thaw(ctx context.Context, session string) error {
	b, err := p.serving(session)
	if err == nil {
		err = p.thaw(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("thaw session %s: %w", session, err)
	}
	return nil
}

func (p *Provider) thaw(ctx context.Context, b *box) error {
	if !b.alive() {
		return fmt.Errorf("the machine %s does not run", b.ID)
	}
	if !b.frozen() {
		return nil
	}
	err := p.call(ctx, b, "let the machine's processes go on", "resume", p.container(b.ID))
	if err != nil && !p.runs(ctx, b) {
		return err
	}
	if err := os.Remove(b.path(frozenFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// runs asks runsc whether a sandbox's processes run.
func (p *Provider) runs(ctx context.Context, b *box) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := p.runsc(ctx, b.Root, "state", p.container(b.ID)).Output()
	var state struct{ Status string }
	return err == nil && json.Unmarshal(out, &state) == nil && state.Status == "running"
}

// Recover starts a stopped sandbox again with its disk. The shells are new.
func (p *Provider) Recover(ctx context.Context, session string) error {
	if err := p.recover(ctx, session); err != nil {
		return fmt.Errorf("recover session %s: %w", session, err)
	}
	return nil
}

func (p *Provider) recover(ctx context.Context, session string) error {
	b, err := p.serving(session)
	if err != nil {
		return err
	}
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	if b.alive() && p.thaw(ctx, b) == nil && p.answers(ctx, b) {
		return nil
	}
	if err := p.quench(ctx, b); err != nil {
		return err
	}
	if err := p.disk.check(ctx, b); err != nil {
		return err
	}
	if err := p.launch(ctx, b); err != nil {
		return err
	}
	return p.ready(ctx, b, false)
}

// KubeConfig is an error: a machine is no cluster.
func (p *Provider) KubeConfig(_ context.Context, session string) ([]byte, error) {
	if _, err := p.reached(session); err != nil {
		return nil, err
	}
	return nil, errors.New("a machine has no kubeconfig: it is no cluster")
}

// Usage measures sandboxes by their own ids.
func (p *Provider) Usage(ctx context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	usage := map[string]sandbox.Usage{}
	for _, id := range ids {
		b, err := p.load(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("measure the machine %s: %w", id, err)
		}
		u := sandbox.Usage{Disk: p.disk.used(b.dir), DiskMax: b.Limits.Disk}
		if b.alive() {
			p.measure(ctx, b, &u)
		}
		u.Note(sandbox.Memory, u.Memory, b.Limits.Memory)
		u.Note(sandbox.Processes, u.PIDs, b.Limits.PIDs)
		u.Note(sandbox.Disk, u.Disk, u.DiskMax)
		usage[id] = u
	}
	return usage, nil
}

// measure fills in what only a running machine takes. What cannot be learned stays 0.
func (p *Provider) measure(ctx context.Context, b *box, u *sandbox.Usage) {
	var ok bool
	if p.cgroups {
		u.Memory, u.CPU, ok = cgroupUsage(p.container(b.ID))
	}
	if !ok {
		u.Memory, u.CPU, _ = processUsage(b.dir)
	}
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	out, err := p.runsc(ctx, b.Root, "events", "--stats", p.container(b.ID)).Output()
	var event struct {
		Data struct {
			Pids struct{ Current int64 }
		}
	}
	if err == nil && json.Unmarshal(out, &event) == nil {
		u.PIDs = event.Data.Pids.Current
	}
}

// usageTimeout bounds one look at a machine, which takes some 20 ms.
const usageTimeout = 5 * time.Second
