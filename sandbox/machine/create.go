package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/machine/boot"
)

const (
	// removeTimeout bounds the removal of a machine, which takes a fraction of a second.
	removeTimeout = time.Minute
	// startTimeout bounds the start of a machine, /etc/rc.local included.
	startTimeout = 2 * time.Minute
	// stopSeconds is what the engine gives a machine to end by itself.
	stopSeconds = 5
)

// The names of the stages that are not the lab's own.
const (
	stageMake  = "Make the machine"
	stageStart = "Start the machine"
	stageThaw  = "Wake the machine"
)

// Labels of a machine's container beside those of every sandbox's: its limits,
// where the engine does not know them itself.
const (
	labelDisk = "drydock.disk"
	labelPIDs = "drydock.pids"
)

// Create gives a session a spare, or else a machine of its own.
func (p *Provider) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.planFor(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	ctx, done, err := p.changes.Begin(ctx, spec.Session)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer done()
	if _, err := p.Get(ctx, spec.Session); err == nil {
		return sandbox.Info{}, fmt.Errorf("session %s has a sandbox already", spec.Session)
	} else if !errors.Is(err, sandbox.ErrNotFound) {
		return sandbox.Info{}, err
	}
	info, err := p.provide(ctx, plan, dock.Assignment{Session: spec.Session, Number: 1}, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("create the machine of session %s: %w", spec.Session, err)
	}
	return info, nil
}

// Reset gives the session a fresh machine. The old one serves until then.
func (p *Provider) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.planFor(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	ctx, done, err := p.changes.Begin(ctx, spec.Session)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer done()
	old, last, err := p.serving(ctx, spec.Session)
	if err != nil && !errors.Is(err, sandbox.ErrNotFound) {
		return sandbox.Info{}, err
	}
	to := dock.Assignment{Session: spec.Session, Number: last.Number + 1}
	info, err := p.provide(ctx, plan, to, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("reset the machine of session %s: %w", spec.Session, err)
	}
	if old.ID != "" {
		p.removeBehind(old.Labels[dock.LabelSandbox])
	}
	return info, nil
}

// Spare prepares a machine for whoever comes next, and freezes it.
func (p *Provider) Spare(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	if plan.template == "" {
		return sandbox.Info{}, errors.New("make a spare: the lab names no template")
	}
	info, err := p.make(ctx, plan, dock.EndSpare, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("make a spare of %s: %w", spec.Template, err)
	}
	return info, nil
}

// Destroy removes everything the session has, what is just being created included.
func (p *Provider) Destroy(ctx context.Context, session string) error {
	if err := dock.CheckID(session); err != nil {
		return fmt.Errorf("session %w", err)
	}
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	for {
		c, _, err := p.serving(ctx, session)
		if errors.Is(err, sandbox.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.discard(ctx, c.Labels[dock.LabelSandbox]); err != nil {
			return err
		}
	}
}

// provide gives a session its machine.
func (p *Provider) provide(ctx context.Context, plan *plan, to dock.Assignment, s *dock.Stages) (sandbox.Info, error) {
	for plan.template != "" {
		c, err := p.takeSpare(ctx, plan.template, to)
		if err != nil {
			return sandbox.Info{}, err
		}
		if c.ID == "" {
			break
		}
		id := c.Labels[dock.LabelSandbox]
		err = s.Run(stageThaw, func() error { return p.thaw(ctx, c) })
		if err == nil {
			return p.get(ctx, id)
		}
		p.removeBehind(id)
		if ctx.Err() != nil {
			return sandbox.Info{}, context.Cause(ctx)
		}
		p.cfg.Log.Warn("a spare is no longer good", "sandbox", id, "err", err)
	}
	return p.make(ctx, plan, to.End(), s)
}

// takeSpare gives the oldest spare of a template to a session, if there is one.
func (p *Provider) takeSpare(ctx context.Context, template string, to dock.Assignment) (container.Summary, error) {
	p.taking.Lock()
	defer p.taking.Unlock()
	list, err := p.containers(ctx, p.filter("").Add("label", dock.LabelTemplate+"="+template))
	if err != nil {
		return container.Summary{}, err
	}
	for _, c := range list {
		if use, _ := p.names.Use(c); use != sandbox.Spare || c.State != container.StatePaused {
			continue
		}
		return c, p.rename(ctx, c, to.End())
	}
	return container.Summary{}, nil
}

// rename says in the container's name what the machine is there for from now on.
func (p *Provider) rename(ctx context.Context, c container.Summary, end string) error {
	name := p.names.Of(c.Labels[dock.LabelSandbox], end)
	if slices.Contains(c.Names, "/"+name) {
		return nil // the engine refuses that
	}
	_, err := p.cfg.Engine.ContainerRename(ctx, c.ID, client.ContainerRenameOptions{NewName: name})
	return dock.Error("say whom the machine serves", err)
}

// make makes a machine and prepares it; end is of its name when it is done. A
// spare is frozen then. What a failure leaves is removed, also when ctx has ended.
func (p *Provider) make(ctx context.Context, plan *plan, end string, s *dock.Stages) (info sandbox.Info, err error) {
	id := dock.NewID()
	p.prepares(id, true)
	defer p.prepares(id, false)
	defer func() {
		if err == nil {
			return
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what failed then failed for this
		}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		err = errors.Join(err, p.remove(clean, id))
	}()
	if err := p.prepare(ctx, id, plan, s); err != nil {
		return sandbox.Info{}, err
	}
	c, err := p.container(ctx, id)
	if err != nil {
		return sandbox.Info{}, err
	}
	if end == dock.EndSpare {
		if err := p.freeze(ctx, c); err != nil {
			return sandbox.Info{}, err
		}
	}
	if err := p.rename(ctx, c, end); err != nil {
		return sandbox.Info{}, err
	}
	return p.get(ctx, id)
}

// prepares notes that this process prepares a sandbox, or no longer does.
func (p *Provider) prepares(id string, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if yes {
		p.making[id] = true
	} else {
		delete(p.making, id)
	}
}

func (p *Provider) preparing(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.making[id]
}

// prepare brings a new machine into the state that is handed over.
func (p *Provider) prepare(ctx context.Context, id string, plan *plan, s *dock.Stages) error {
	var c string
	err := s.Run(stageMake, func() (err error) {
		c, err = p.createContainer(ctx, id, plan)
		return err
	})
	if err != nil {
		return err
	}
	err = s.Run(stageStart, func() error {
		_, err := p.cfg.Engine.ContainerStart(ctx, c, client.ContainerStartOptions{})
		if err != nil {
			return dock.Error("start the machine", err)
		}
		return p.awaitStart(ctx, c)
	})
	if err != nil {
		return err
	}
	return p.whileRunning(ctx, c, func(ctx context.Context) error {
		for _, step := range []func(context.Context, string, sandbox.Progress) error{plan.spec.Prepare, plan.spec.Ready} {
			if step == nil {
				continue
			}
			if err := step(ctx, id, s.Report); err != nil {
				return err
			}
		}
		return nil
	})
}

// errStopped ends the preparation of a machine.
var errStopped = errors.New("the machine was stopped while it was being prepared")

// whileRunning ends do when the machine stops or the engine goes: conditions
// that are waited for would not hold for as long as the wait may take.
func (p *Provider) whileRunning(ctx context.Context, id string, do func(context.Context) error) error {
	within, end := context.WithCancelCause(ctx)
	defer end(nil)
	stopped := p.cfg.Engine.ContainerWait(within, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	go func() {
		select {
		case <-stopped.Result:
			end(errStopped)
		case err := <-stopped.Error:
			end(dock.Error("watch the machine", err))
		case <-within.Done():
		}
	}()
	err := do(within)
	if cause := context.Cause(within); err != nil && cause != nil {
		return cause
	}
	return err
}

// capabilities are those of the container around the machine, which are
// nobody's in it: to mount its disk and its root, to make devices and
// namespaces and map their users, and to end what runs there.
var capabilities = []string{
	"SYS_ADMIN", "SYS_CHROOT", "MKNOD", "SETUID", "SETGID", "SETPCAP", "KILL", "CHOWN", "FOWNER", "DAC_OVERRIDE",
}

func (p *Provider) createContainer(ctx context.Context, id string, plan *plan) (string, error) {
	l := plan.limits
	labels := p.labels(id)
	if plan.template != "" {
		labels[dock.LabelTemplate] = plan.template
	}
	labels[labelDisk] = strconv.FormatInt(l.Disk, 10)
	labels[labelPIDs] = strconv.FormatInt(l.PIDs, 10)
	stop := stopSeconds
	created, err := p.cfg.Engine.ContainerCreate(
		// Abandoned halfway, the engine would make the container all the same, when nobody looks for it any more.
		context.WithoutCancel(ctx), client.ContainerCreateOptions{
			Name: p.names.Of(id, dock.EndPreparing),
			Config: &container.Config{
				Image: plan.image, User: dock.RootUser, Labels: labels, StopTimeout: &stop,
				Cmd: []string{"serve", "-disk", labels[labelDisk], "-pids", labels[labelPIDs], "-hostname", boot.Hostname},
			},
			HostConfig: &container.HostConfig{
				NetworkMode: network,
				CapDrop:     []string{"ALL"},
				CapAdd:      capabilities,
				// Its mounts are those of package boot, which restricts what runs in the machine itself.
				SecurityOpt: []string{"seccomp=unconfined", "apparmor=unconfined", "label=disable"},
				MaskedPaths: []string{}, ReadonlyPaths: []string{},
				LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
				Mounts: []mount.Mount{{
					Type: mount.TypeVolume, Target: boot.StoreDir,
					VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: p.labels(id)},
				}},
				Resources: container.Resources{
					Memory: l.Memory, MemorySwap: l.Memory, // as much as memory: none
					NanoCPUs: int64(l.CPUs * 1e9), PidsLimit: &l.PIDs,
					Devices:           []container.DeviceMapping{{PathOnHost: loopControl, PathInContainer: loopControl, CgroupPermissions: "rw"}},
					DeviceCgroupRules: []string{"b 7:* rmw"}, // loop devices
				},
			},
		})
	return created.ID, dock.Error("make the machine", err)
}

const (
	// network: a machine has its own loopback and nothing else. There is no way
	// out that a mistake in a firewall could open, and nothing to set up. Labs
	// that need several hosts make network namespaces in their setup.
	network = "none"
	// loopControl is the device by which free loop devices are found.
	loopControl = "/dev/loop-control"
)

// awaitStart waits until a started machine takes commands.
func (p *Provider) awaitStart(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	res, err := p.runner.Exec(ctx, asRoot(container.Summary{ID: id}), sandbox.Command{Argv: []string{"true"}})
	if err == nil && res.ExitCode == 0 {
		return nil
	}
	return fmt.Errorf("start the machine: %w", errors.Join(err, p.complaint(ctx, id, res)))
}

// complaint is what a machine that does not start has said.
func (p *Provider) complaint(ctx context.Context, id string, res sandbox.Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), complaintTimeout)
	defer cancel()
	said, err := p.runner.Logs(ctx, id)
	if err != nil || said == "" {
		said = string(res.Stderr)
	}
	return errors.New(said)
}

// complaintTimeout bounds the reading of a container's log.
const complaintTimeout = 5 * time.Second

// removeBehind removes a machine that serves nobody any more while its caller
// goes on. What a crash leaves of it, Sweep removes.
func (p *Provider) removeBehind(id string) {
	p.removals.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
		defer cancel()
		if err := p.discard(ctx, id); err != nil {
			p.cfg.Log.Warn("a machine could not be removed yet", "sandbox", id, "err", err)
		}
	})
}

// Discard removes a machine by its own id.
func (p *Provider) Discard(ctx context.Context, id string) error {
	if err := dock.CheckID(id); err != nil {
		return fmt.Errorf("sandbox %w", err)
	}
	return p.discard(ctx, id)
}

// discard renames first: what is half removed must not be taken for a machine.
func (p *Provider) discard(ctx context.Context, id string) error {
	c, err := p.container(ctx, id)
	if err == nil {
		err = p.rename(ctx, c, dock.EndLeaving)
	}
	if err != nil && !errors.Is(err, sandbox.ErrNotFound) && !dock.Gone(err) {
		return err
	}
	return p.remove(ctx, id)
}

// remove removes everything that carries the sandbox's label.
func (p *Provider) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	// The engine may be busy removing: only a look that finds nothing is the end.
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		found, err := p.removeOnce(ctx, id)
		if err == nil && found == 0 {
			return nil
		}
		if errors.Is(err, sandbox.ErrEngine) {
			return fmt.Errorf("remove the machine %s: %w", id, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove the machine %s: %w", id, errors.Join(context.Cause(ctx), err))
		case <-time.After(wait):
		}
	}
}

// removeOnce removes what it finds, and returns how much that was.
func (p *Provider) removeOnce(ctx context.Context, id string) (int, error) {
	containers, err := p.containers(ctx, p.filter(id))
	if err != nil {
		return 0, err
	}
	for _, c := range containers {
		_, err := p.cfg.Engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !dock.Absent(err) {
			return len(containers), dock.Error("remove a container", err)
		}
	}
	volumes, err := p.volumes(ctx, p.filter(id))
	if err != nil {
		return len(containers), err
	}
	for _, v := range volumes {
		_, err := p.cfg.Engine.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
		if err != nil && !dock.Absent(err) {
			return len(containers) + len(volumes), dock.Error("remove a volume", err)
		}
	}
	return len(containers) + len(volumes), nil
}

// Sweep removes the machines that are leaving, those that were being prepared
// by a process that has died, and spares that are no longer good.
func (p *Provider) Sweep(ctx context.Context) error {
	infos, err := p.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, info := range infos {
		if left, err := p.leftover(ctx, info); err != nil {
			errs = append(errs, err)
		} else if left {
			errs = append(errs, p.discard(ctx, info.ID))
		}
	}
	return errors.Join(errs...)
}

// leftover says whether nothing needs a listed machine. One that this process
// was preparing may have been handed over since the list: it is looked at again.
// A spare is frozen: one that is not was stopped or thawed by somebody else, as
// by a restart of the host, and is never handed out.
func (p *Provider) leftover(ctx context.Context, listed sandbox.Info) (bool, error) {
	switch {
	case listed.Use == sandbox.Leaving:
		return true, nil
	case listed.Use != sandbox.Preparing && (listed.Use != sandbox.Spare || listed.State == sandbox.Frozen), p.preparing(listed.ID):
		return false, nil
	}
	all, err := p.list(ctx, listed.ID)
	return len(all) == 1 && all[0].Use == listed.Use && all[0].State == listed.State, err
}
