package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/machine/boot"
)

func (p *Provider) labels(id string) map[string]string {
	return map[string]string{
		dock.LabelInstance: p.cfg.Instance, dock.LabelKind: string(sandbox.Machine), dock.LabelRole: role, dock.LabelSandbox: id,
	}
}

// filter selects what belongs to a sandbox, or to all of this instance's.
func (p *Provider) filter(id string) client.Filters {
	f := make(client.Filters).Add("label", dock.LabelInstance+"="+p.cfg.Instance, dock.LabelKind+"="+string(sandbox.Machine))
	if id != "" {
		return f.Add("label", dock.LabelSandbox+"="+id)
	}
	return f
}

// containers returns those that a filter selects, the oldest first.
func (p *Provider) containers(ctx context.Context, f client.Filters) ([]container.Summary, error) {
	list, err := p.cfg.Engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: f})
	if err != nil {
		return nil, dock.Error("list the machines", err)
	}
	slices.SortFunc(list.Items, func(a, b container.Summary) int { return int(a.Created - b.Created) })
	return list.Items, nil
}

func (p *Provider) volumes(ctx context.Context, f client.Filters) ([]volume.Volume, error) {
	list, err := p.cfg.Engine.VolumeList(ctx, client.VolumeListOptions{Filters: f})
	if err != nil {
		return nil, dock.Error("list the machines' disks", err)
	}
	return list.Items, nil
}

// container returns that of a machine, by its own id.
func (p *Provider) container(ctx context.Context, id string) (container.Summary, error) {
	list, err := p.containers(ctx, p.filter(id))
	if err != nil {
		return container.Summary{}, err
	}
	if len(list) == 0 {
		return container.Summary{}, notFound(id)
	}
	return list[0], nil
}

func notFound(id string) error { return fmt.Errorf("session %s: %w", id, sandbox.ErrNotFound) }

// serving finds the container of the machine that serves a session, or is kept of it.
func (p *Provider) serving(ctx context.Context, session string) (container.Summary, dock.Assignment, error) {
	list, err := p.containers(ctx, p.filter("").Add("name", p.names.SessionFilter(session)))
	if err != nil {
		return container.Summary{}, dock.Assignment{}, err
	}
	var found container.Summary
	var latest dock.Assignment
	for _, c := range list {
		use, a := p.names.Use(c)
		if use.OfSession() && a.Session == session && (found.ID == "" || a.Number > latest.Number) {
			found, latest = c, a
		}
	}
	if found.ID == "" {
		return found, latest, notFound(session)
	}
	return found, latest, nil
}

// find is serving, but a machine that is being prepared answers to its own id.
func (p *Provider) find(ctx context.Context, session string) (container.Summary, error) {
	if p.preparing(session) {
		return p.container(ctx, session)
	}
	c, _, err := p.serving(ctx, session)
	return c, err
}

// List returns the machines of this instance, half-made ones included.
func (p *Provider) List(ctx context.Context) ([]sandbox.Info, error) { return p.list(ctx, "") }

// Get returns the machine of a session.
func (p *Provider) Get(ctx context.Context, session string) (sandbox.Info, error) {
	c, err := p.find(ctx, session)
	if err != nil {
		return sandbox.Info{}, err
	}
	return p.info(c), nil
}

// get returns a machine by its own id.
func (p *Provider) get(ctx context.Context, id string) (sandbox.Info, error) {
	c, err := p.container(ctx, id)
	if err != nil {
		return sandbox.Info{}, err
	}
	return p.info(c), nil
}

func (p *Provider) list(ctx context.Context, id string) ([]sandbox.Info, error) {
	containers, err := p.containers(ctx, p.filter(id))
	if err != nil {
		return nil, err
	}
	// A container that was removed by hand can leave its volume.
	volumes, err := p.volumes(ctx, p.filter(id))
	if err != nil {
		return nil, err
	}
	latest := map[string]int{}
	infos, known := make([]sandbox.Info, 0, len(containers)), map[string]bool{}
	for _, c := range containers {
		_, a := p.names.Use(c)
		latest[a.Session] = max(latest[a.Session], a.Number)
	}
	for _, c := range containers {
		info := p.info(c)
		known[info.ID] = true
		if _, a := p.names.Use(c); a.Number < latest[a.Session] {
			// A crash came before it was removed behind a reset.
			info.Use, info.Session = sandbox.Leaving, ""
		}
		infos = append(infos, info)
	}
	for _, v := range volumes {
		id := v.Labels[dock.LabelSandbox]
		if known[id] {
			continue
		}
		created, _ := time.Parse(time.RFC3339, v.CreatedAt) // the engine's own form
		infos = append(infos, sandbox.Info{
			ID: id, Name: p.names.Base(id), Kind: sandbox.Machine, Use: sandbox.Preparing, State: sandbox.Creating, Created: created,
		})
	}
	return infos, nil
}

func (p *Provider) info(c container.Summary) sandbox.Info {
	id := c.Labels[dock.LabelSandbox]
	use, a := p.names.Use(c)
	info := sandbox.Info{
		ID: id, Session: a.Session, Name: p.names.Base(id), Kind: sandbox.Machine, Use: use,
		Template: c.Labels[dock.LabelTemplate], Created: time.Unix(c.Created, 0),
	}
	switch {
	case use == sandbox.Preparing:
		info.State = sandbox.Creating
	case c.State == container.StateRunning:
		info.State = sandbox.Running
	case c.State == container.StatePaused:
		info.State = sandbox.Frozen
	default:
		info.State = sandbox.Stopped
	}
	return info
}

// Freeze stops all processes where they are.
func (p *Provider) Freeze(ctx context.Context, session string) error {
	c, err := p.find(ctx, session)
	if err != nil {
		return err
	}
	return p.freeze(ctx, c)
}

func (p *Provider) freeze(ctx context.Context, c container.Summary) error {
	if c.State == container.StatePaused {
		return nil
	}
	return dock.Error("freeze the machine", p.runner.Freeze(ctx, c.ID))
}

// Keep says so in the machine's name first, so that a crash leaves one that is kept.
func (p *Provider) Keep(ctx context.Context, session string) error {
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	c, to, err := p.serving(ctx, session)
	if err != nil {
		return err
	}
	if err := p.rename(ctx, c, to.KeptEnd()); err != nil {
		return fmt.Errorf("keep the machine of session %s: %w", session, err)
	}
	return p.freeze(ctx, c)
}

// Thaw lets them go on.
func (p *Provider) Thaw(ctx context.Context, session string) error {
	c, err := p.find(ctx, session)
	if err != nil {
		return err
	}
	return p.thaw(ctx, c)
}

func (p *Provider) thaw(ctx context.Context, c container.Summary) error {
	if c.State != container.StatePaused {
		return nil
	}
	_, err := p.cfg.Engine.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
	return dock.Error("thaw the machine", err)
}

// Recover starts a machine again that was stopped, with all its files and
// whatever its /etc/rc.local starts. The shells are new.
func (p *Provider) Recover(ctx context.Context, session string) error {
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	c, err := p.find(ctx, session)
	if err != nil {
		return err
	}
	if err := p.thaw(ctx, c); err != nil {
		return fmt.Errorf("recover session %s: %w", session, err)
	}
	if _, err := p.cfg.Engine.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("recover session %s: %w", session, dock.Error("start the machine", err))
	}
	if err := p.awaitStart(ctx, c.ID); err != nil {
		return fmt.Errorf("recover session %s: %w", session, err)
	}
	return nil
}

// KubeConfig fails: a machine is no cluster.
func (p *Provider) KubeConfig(ctx context.Context, session string) ([]byte, error) {
	if _, err := p.find(ctx, session); err != nil {
		return nil, err
	}
	return nil, errors.New("a machine has no kubeconfig")
}

// Usage measures machines. What they have written is looked at every few
// seconds, and not while they are frozen.
func (p *Provider) Usage(ctx context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	list, err := p.containers(ctx, p.filter(""))
	if err != nil {
		return nil, err
	}
	all := map[string]sandbox.Usage{}
	for _, c := range list {
		id := c.Labels[dock.LabelSandbox]
		if !slices.Contains(ids, id) {
			continue
		}
		u, err := p.usage(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("measure the machine %s: %w", id, err)
		}
		all[id] = u
	}
	return all, nil
}

func (p *Provider) usage(ctx context.Context, c container.Summary) (sandbox.Usage, error) {
	u, err := p.runner.Usage(ctx, c.ID)
	if err != nil {
		return u, err
	}
	used, err := p.cfg.Engine.ContainerStatPath(ctx, c.ID, client.ContainerStatPathOptions{Path: boot.UsedFile})
	if dock.Absent(err) {
		return u, nil // it has not looked yet; or it has gone, which matters little
	}
	if err != nil {
		return u, dock.Error("look at a machine's disk", err)
	}
	u.Disk = used.Stat.Size
	u.DiskMax, err = strconv.ParseInt(c.Labels[labelDisk], 10, 64)
	u.Note(sandbox.Disk, u.Disk, u.DiskMax)
	return u, err
}
