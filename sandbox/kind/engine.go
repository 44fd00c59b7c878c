package kind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// Values of the label of a role.
const (
	roleNode     = "node"
	roleTerminal = "terminal"
)

// labelAccess is of a node, and says what its learner may do.
const labelAccess = "drydock.access"

// labels are those of a part of a sandbox; template is the id of the one it is a copy of.
func (p *Provider) labels(id, role, template string) map[string]string {
	l := map[string]string{dock.LabelInstance: p.cfg.Instance, dock.LabelSandbox: id, dock.LabelKind: string(sandbox.Cluster)}
	if role != "" {
		l[dock.LabelRole] = role
	}
	if template != "" {
		l[dock.LabelTemplate] = template
	}
	return l
}

// filter selects what belongs to a sandbox, or to all of this instance's.
func (p *Provider) filter(id string) client.Filters {
	f := make(client.Filters).Add("label", dock.LabelInstance+"="+p.cfg.Instance, dock.LabelKind+"="+string(sandbox.Cluster))
	if id != "" {
		return f.Add("label", dock.LabelSandbox+"="+id)
	}
	return f.Add("label", dock.LabelSandbox) // not the image of a template
}

// containers returns those of a sandbox, or of the whole instance.
func (p *Provider) containers(ctx context.Context, id string) ([]container.Summary, error) {
	list, err := p.cfg.Engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: p.filter(id)})
	if err != nil {
		return nil, dock.Error("list the containers of the sandboxes", err)
	}
	return list.Items, nil
}

// resolve finds the sandbox that serves a session, or is kept of it. A sandbox that is being
// prepared answers to its own id.
func (p *Provider) resolve(ctx context.Context, session string) (id string, latest dock.Assignment, err error) {
	p.mu.Lock()
	making := p.making[session]
	p.mu.Unlock()
	if making {
		return session, dock.Assignment{}, nil
	}
	list, err := p.cfg.Engine.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: p.filter("").Add("name", p.named().SessionFilter(session)),
	})
	if err != nil {
		return "", dock.Assignment{}, dock.Error("look for the sandbox of session "+session, err)
	}
	for _, c := range list.Items {
		use, a := p.named().Use(c)
		if use.OfSession() && a.Session == session && (id == "" || a.Number > latest.Number) {
			id, latest = c.Labels[dock.LabelSandbox], a
		}
	}
	if id == "" {
		return "", dock.Assignment{}, notFound(session)
	}
	return id, latest, nil
}

// find returns the container that has a role in the sandbox of a session.
func (p *Provider) find(ctx context.Context, session, role string) (container.Summary, error) {
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return container.Summary{}, err
	}
	return p.part(ctx, id, role)
}

// part returns the container that has a role in a sandbox.
func (p *Provider) part(ctx context.Context, id, role string) (container.Summary, error) {
	list, err := p.containers(ctx, id)
	if err != nil {
		return container.Summary{}, err
	}
	i := slices.IndexFunc(list, func(c container.Summary) bool { return c.Labels[dock.LabelRole] == role })
	if i < 0 {
		return container.Summary{}, notFound(id)
	}
	return list[i], nil
}

// desk is where the learner of a session works: the terminal container or, with
// access to the node, the node. keeper is who keeps the shells there.
func (p *Provider) desk(ctx context.Context, session string) (learner, keeper dock.Place, err error) {
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return learner, keeper, err
	}
	list, err := p.containers(ctx, id)
	if err != nil {
		return learner, keeper, err
	}
	for _, c := range list {
		switch {
		case c.Labels[labelAccess] == string(sandbox.AccessNode):
			return asRoot(c.ID), asRoot(c.ID), nil
		case c.Labels[dock.LabelRole] == roleTerminal:
			learner, keeper = dock.Place{Container: c.ID, User: learnerUser}, asRoot(c.ID)
		}
	}
	if learner.Container == "" {
		err = notFound(id)
	}
	return learner, keeper, err
}

func notFound(session string) error {
	return fmt.Errorf("session %s: %w", session, sandbox.ErrNotFound)
}

// List returns the sandboxes of this instance, half-made ones included.
func (p *Provider) List(ctx context.Context) ([]sandbox.Info, error) {
	return p.list(ctx, "")
}

// Get returns the sandbox of a session.
func (p *Provider) Get(ctx context.Context, session string) (sandbox.Info, error) {
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return sandbox.Info{}, err
	}
	return p.get(ctx, id)
}

// get returns a sandbox by its own id.
func (p *Provider) get(ctx context.Context, id string) (sandbox.Info, error) {
	list, err := p.list(ctx, id)
	if err != nil {
		return sandbox.Info{}, err
	}
	if len(list) == 0 {
		return sandbox.Info{}, notFound(id)
	}
	return list[0], nil
}

func (p *Provider) list(ctx context.Context, id string) ([]sandbox.Info, error) {
	found := map[string]*parts{}
	of := func(labels map[string]string) *parts {
		id := labels[dock.LabelSandbox]
		if found[id] == nil {
			found[id] = &parts{id: id}
		}
		found[id].template = cmp.Or(found[id].template, labels[dock.LabelTemplate])
		return found[id]
	}
	networks, err := p.cfg.Engine.NetworkList(ctx, client.NetworkListOptions{Filters: p.filter(id)})
	if err != nil {
		return nil, dock.Error("list the networks of the sandboxes", err)
	}
	for _, n := range networks.Items {
		s := of(n.Labels)
		s.network, s.created = true, n.Created
	}
	containers, err := p.containers(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		s := of(c.Labels)
		s.containers = append(s.containers, c)
	}
	// A container that was removed by hand can leave its volume.
	volumes, err := p.cfg.Engine.VolumeList(ctx, client.VolumeListOptions{Filters: p.filter(id)})
	if err != nil {
		return nil, dock.Error("list the volumes of the sandboxes", err)
	}
	for _, v := range volumes.Items {
		of(v.Labels)
	}
	return p.describe(found), nil
}

// describe says what the sandboxes are there for. Of several that are named
// for a session the latest serves it: a crash came before the others were removed.
func (p *Provider) describe(found map[string]*parts) []sandbox.Info {
	latest := map[string]int{}
	for _, s := range found {
		s.use, s.assigned = sandbox.Preparing, dock.Assignment{}
		for _, c := range s.containers {
			if c.Labels[dock.LabelRole] == roleTerminal {
				s.use, s.assigned = p.named().Use(c)
			}
		}
		if s.use.OfSession() {
			latest[s.assigned.Session] = max(latest[s.assigned.Session], s.assigned.Number)
		}
	}
	infos := make([]sandbox.Info, 0, len(found))
	for _, s := range found {
		if s.use.OfSession() && s.assigned.Number < latest[s.assigned.Session] {
			s.use, s.assigned = sandbox.Leaving, dock.Assignment{}
		}
		infos = append(infos, s.info(p.names(s.id)))
	}
	slices.SortFunc(infos, func(a, b sandbox.Info) int { return a.Created.Compare(b.Created) })
	return infos
}

// parts are what the engine has of one sandbox.
type parts struct {
	id, template string
	network      bool
	created      time.Time
	containers   []container.Summary
	use          sandbox.Use
	assigned     dock.Assignment
}

func (s *parts) info(n names) sandbox.Info {
	created := s.created
	for _, c := range s.containers {
		if at := time.Unix(c.Created, 0); created.IsZero() || at.Before(created) {
			created = at
		}
	}
	return sandbox.Info{
		ID: s.id, Session: s.assigned.Session, Name: n.cluster, Kind: sandbox.Cluster,
		Use: s.use, State: s.state(), Template: s.template, Created: created,
	}
}

func (s *parts) state() sandbox.State {
	has := func(role string) bool {
		return slices.ContainsFunc(s.containers, func(c container.Summary) bool { return c.Labels[dock.LabelRole] == role })
	}
	if s.use == sandbox.Preparing || !s.network || !has(roleNode) || !has(roleTerminal) {
		return sandbox.Creating // or half removed: either way not to be used
	}
	state := sandbox.Running
	for _, c := range s.containers {
		switch c.State {
		case container.StateRunning:
		case container.StatePaused:
			if state == sandbox.Running {
				state = sandbox.Frozen
			}
		default:
			state = sandbox.Stopped
		}
	}
	return state
}

// remove removes everything that carries the sandbox's label, and the files
// of a creation that was cut short.
func (p *Provider) remove(ctx context.Context, id string) error {
	files, err := filepath.Glob(filepath.Join(p.cfg.StateDir, p.names(id).cluster+"-*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			return fmt.Errorf("remove the files of sandbox %s: %w", id, err)
		}
	}
	info, err := p.get(ctx, id)
	halfMade := err == nil && info.State == sandbox.Creating
	// The engine may be busy removing: only a look that finds nothing is the end.
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		found, err := p.removeOnce(ctx, id)
		if err == nil && found == 0 {
			if !halfMade {
				return nil
			}
			if found, err = p.underWay(ctx, id); err == nil && found == 0 {
				return nil
			}
		}
		if errors.Is(err, sandbox.ErrEngine) {
			return fmt.Errorf("remove the sandbox %s: %w", id, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove the sandbox %s: %w", id, errors.Join(context.Cause(ctx), err))
		case <-time.After(wait):
		}
	}
}

// underWay counts the containers of a sandbox that the engine is making at
// this moment for a client that may be gone. It lists them only when they are
// made, but gives their names to nobody else from the start.
func (p *Provider) underWay(ctx context.Context, id string) (int, error) {
	ctx = context.WithoutCancel(ctx) // what it makes itself must not be left behind
	count := 0
	for _, name := range []string{p.names(id).node, p.named().Of(id, dock.EndPreparing)} {
		created, err := p.cfg.Engine.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: name, Config: &container.Config{Image: p.cfg.TerminalImage, Labels: p.labels(id, "", "")},
		})
		switch {
		case errdefs.IsConflict(err):
			count++
		case dock.Absent(err): // no image, so nothing was made of it either
		case err != nil:
			return count, dock.Error("ask for a container's name", err)
		default:
			_, err := p.cfg.Engine.ContainerRemove(ctx, created.ID, client.ContainerRemoveOptions{Force: true})
			if err != nil && !dock.Gone(err) {
				return count, dock.Error("give a container's name back", err)
			}
		}
	}
	return count, nil
}

// removeOnce removes what it finds, the terminal first: without it the sandbox
// is no longer taken for a working one. It returns how much it found.
func (p *Provider) removeOnce(ctx context.Context, id string) (int, error) {
	found := 0
	containers, err := p.containers(ctx, id)
	if err != nil {
		return 0, err
	}
	slices.SortFunc(containers, func(a, b container.Summary) int {
		if a.Labels[dock.LabelRole] == roleTerminal {
			return -1
		}
		return 1
	})
	for _, c := range containers {
		found++
		_, err := p.cfg.Engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !dock.Gone(err) {
			return found, dock.Error("remove a container", err)
		}
	}
	networks, err := p.cfg.Engine.NetworkList(ctx, client.NetworkListOptions{Filters: p.filter(id)})
	if err != nil {
		return found, dock.Error("list networks", err)
	}
	for _, n := range networks.Items {
		found++
		if _, err := p.cfg.Engine.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil && !dock.Gone(err) {
			return found, dock.Error("remove a network", err)
		}
	}
	volumes, err := p.cfg.Engine.VolumeList(ctx, client.VolumeListOptions{Filters: p.filter(id)})
	if err != nil {
		return found, dock.Error("list volumes", err)
	}
	for _, v := range volumes.Items {
		found++
		if _, err := p.cfg.Engine.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true}); err != nil && !dock.Gone(err) {
			return found, dock.Error("remove a volume", err)
		}
	}
	return found, nil
}
