package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drydock/sandbox"
)

// Labels that containers, networks and volumes of a sandbox carry.
const (
	labelInstance = "drydock.instance"
	labelSession  = "drydock.session"
	labelRole     = "drydock.role"
	labelKind     = "drydock.kind"
)

// Values of labelRole.
const (
	roleNode     = "node"
	roleTerminal = "terminal"
)

func (p *Provider) labels(session, role string) map[string]string {
	l := map[string]string{labelInstance: p.cfg.Instance, labelSession: session, labelKind: string(sandbox.Cluster)}
	if role != "" {
		l[labelRole] = role
	}
	return l
}

// filter selects what belongs to a session, or to all of this instance's.
func (p *Provider) filter(session string) client.Filters {
	f := make(client.Filters).Add("label", labelInstance+"="+p.cfg.Instance, labelKind+"="+string(sandbox.Cluster))
	if session != "" {
		f.Add("label", labelSession+"="+session)
	}
	return f
}

// engineError says what was attempted and tells a dead engine from one that refuses.
func engineError(attempt string, err error) error {
	if err == nil {
		return nil
	}
	var op *net.OpError
	dead := client.IsErrConnectionFailed(err) || errors.As(err, &op) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if dead && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w: %w", attempt, sandbox.ErrEngine, err)
	}
	return fmt.Errorf("%s: %w", attempt, err)
}

// containers returns those of a session, or of the whole instance.
func (p *Provider) containers(ctx context.Context, session string) ([]container.Summary, error) {
	list, err := p.cfg.Engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: p.filter(session)})
	if err != nil {
		return nil, engineError("list the containers of the sandboxes", err)
	}
	return list.Items, nil
}

// find returns the container of a session that has a role.
func (p *Provider) find(ctx context.Context, session, role string) (container.Summary, error) {
	list, err := p.containers(ctx, session)
	if err != nil {
		return container.Summary{}, err
	}
	i := slices.IndexFunc(list, func(c container.Summary) bool { return c.Labels[labelRole] == role })
	if i < 0 {
		return container.Summary{}, notFound(session)
	}
	return list[i], nil
}

func notFound(session string) error {
	return fmt.Errorf("session %s: %w", session, sandbox.ErrNotFound)
}

// List returns the sandboxes of this instance, half-made ones included.
func (p *Provider) List(ctx context.Context) ([]sandbox.Info, error) {
	return p.list(ctx, "")
}

// Get returns one sandbox.
func (p *Provider) Get(ctx context.Context, session string) (sandbox.Info, error) {
	list, err := p.list(ctx, session)
	if err != nil {
		return sandbox.Info{}, err
	}
	if len(list) == 0 {
		return sandbox.Info{}, notFound(session)
	}
	return list[0], nil
}

func (p *Provider) list(ctx context.Context, session string) ([]sandbox.Info, error) {
	found := map[string]*parts{}
	of := func(session string) *parts {
		if found[session] == nil {
			found[session] = &parts{}
		}
		return found[session]
	}
	networks, err := p.cfg.Engine.NetworkList(ctx, client.NetworkListOptions{Filters: p.filter(session)})
	if err != nil {
		return nil, engineError("list the networks of the sandboxes", err)
	}
	for _, n := range networks.Items {
		s := of(n.Labels[labelSession])
		s.network, s.created = true, n.Created
	}
	containers, err := p.containers(ctx, session)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		s := of(c.Labels[labelSession])
		s.containers = append(s.containers, c)
	}
	// A container that was removed by hand can leave its volume.
	volumes, err := p.cfg.Engine.VolumeList(ctx, client.VolumeListOptions{Filters: p.filter(session)})
	if err != nil {
		return nil, engineError("list the volumes of the sandboxes", err)
	}
	for _, v := range volumes.Items {
		of(v.Labels[labelSession])
	}
	infos := make([]sandbox.Info, 0, len(found))
	for session, s := range found {
		infos = append(infos, s.info(session, p.names(session)))
	}
	slices.SortFunc(infos, func(a, b sandbox.Info) int { return a.Created.Compare(b.Created) })
	return infos, nil
}

// parts are what the engine has of one sandbox.
type parts struct {
	network    bool
	created    time.Time
	containers []container.Summary
}

func (s *parts) info(session string, n names) sandbox.Info {
	created := s.created
	for _, c := range s.containers {
		if at := time.Unix(c.Created, 0); created.IsZero() || at.Before(created) {
			created = at
		}
	}
	info := sandbox.Info{ID: session, Session: session, Name: n.cluster, Kind: sandbox.Cluster, Use: sandbox.Serving, State: s.state(n), Created: created}
	if info.State == sandbox.Creating {
		info.Use = sandbox.Preparing
	}
	return info
}

func (s *parts) state(n names) sandbox.State {
	has := func(name string) bool {
		return slices.ContainsFunc(s.containers, func(c container.Summary) bool { return slices.Contains(c.Names, "/"+name) })
	}
	if !s.network || !has(n.node) || !has(n.terminal) {
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

// remove removes everything that carries the session's labels, and the files
// of a creation that was cut short.
func (p *Provider) remove(ctx context.Context, session string) error {
	files, err := filepath.Glob(filepath.Join(p.cfg.StateDir, p.names(session).cluster+"-*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			return fmt.Errorf("remove the files of session %s: %w", session, err)
		}
	}
	info, err := p.Get(ctx, session)
	halfMade := err == nil && info.State == sandbox.Creating
	// The engine may be busy removing: only a look that finds nothing is the end.
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		found, err := p.removeOnce(ctx, session)
		if err == nil && found == 0 {
			if !halfMade {
				return nil
			}
			if found, err = p.underWay(ctx, session); err == nil && found == 0 {
				return nil
			}
		}
		if errors.Is(err, sandbox.ErrEngine) {
			return fmt.Errorf("remove the sandbox of session %s: %w", session, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove the sandbox of session %s: %w", session, errors.Join(context.Cause(ctx), err))
		case <-time.After(wait):
		}
	}
}

// underWay counts the containers of a session that the engine is making at
// this moment for a client that may be gone. It lists them only when they are
// made, but gives their names to nobody else from the start.
func (p *Provider) underWay(ctx context.Context, session string) (int, error) {
	ctx = context.WithoutCancel(ctx) // what it makes itself must not be left behind
	n, count := p.names(session), 0
	for _, name := range []string{n.node, n.starting} {
		created, err := p.cfg.Engine.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: name, Config: &container.Config{Image: p.cfg.TerminalImage, Labels: p.labels(session, "")},
		})
		switch {
		case errdefs.IsConflict(err):
			count++
		case errdefs.IsNotFound(err): // no image, so nothing was made of it either
		case err != nil:
			return count, engineError("ask for a container's name", err)
		default:
			_, err := p.cfg.Engine.ContainerRemove(ctx, created.ID, client.ContainerRemoveOptions{Force: true})
			if err != nil && !gone(err) {
				return count, engineError("give a container's name back", err)
			}
		}
	}
	return count, nil
}

// removeOnce removes what it finds, the terminal first: without it the sandbox
// is no longer taken for a working one. It returns how much it found.
func (p *Provider) removeOnce(ctx context.Context, session string) (int, error) {
	found := 0
	containers, err := p.containers(ctx, session)
	if err != nil {
		return 0, err
	}
	slices.SortFunc(containers, func(a, b container.Summary) int {
		if a.Labels[labelRole] == roleTerminal {
			return -1
		}
		return 1
	})
	for _, c := range containers {
		found++
		_, err := p.cfg.Engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !gone(err) {
			return found, engineError("remove a container", err)
		}
	}
	networks, err := p.cfg.Engine.NetworkList(ctx, client.NetworkListOptions{Filters: p.filter(session)})
	if err != nil {
		return found, engineError("list networks", err)
	}
	for _, n := range networks.Items {
		found++
		if _, err := p.cfg.Engine.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil && !gone(err) {
			return found, engineError("remove a network", err)
		}
	}
	volumes, err := p.cfg.Engine.VolumeList(ctx, client.VolumeListOptions{Filters: p.filter(session)})
	if err != nil {
		return found, engineError("list volumes", err)
	}
	for _, v := range volumes.Items {
		found++
		if _, err := p.cfg.Engine.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true}); err != nil && !gone(err) {
			return found, engineError("remove a volume", err)
		}
	}
	return found, nil
}

// gone says that something else has removed it or is doing so.
func gone(err error) bool { return errdefs.IsNotFound(err) || errdefs.IsConflict(err) }
