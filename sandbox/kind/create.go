package kind

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"drydock/sandbox"
	"drydock/sandbox/firewall"
)

// removeTimeout bounds the removal of a sandbox, which takes a second or two.
const removeTimeout = 2 * time.Minute

// Names of the stages that are not kind's own.
const (
	stageNetwork  = "Make a network"
	stageTerminal = "Start the terminal"
	stageReady    = "Wait for the node"
	stageAccess   = "Hand over the keys"
)

// Create makes a cluster and a terminal beside it.
func (p *Provider) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	if _, err := p.Get(ctx, spec.Session); err == nil {
		return sandbox.Info{}, fmt.Errorf("session %s has a sandbox already", spec.Session)
	} else if !errors.Is(err, sandbox.ErrNotFound) {
		return sandbox.Info{}, err
	}
	ctx, done, err := p.begin(ctx, spec.Session)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer done()
	return p.create(ctx, plan, newStages(progress, p.cfg.Log))
}

// Reset destroys the sandbox and makes a fresh one. The old one goes first:
// kind names a cluster's containers after it, and there are no two under one name.
func (p *Provider) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	ctx, done, err := p.begin(ctx, spec.Session)
	if err != nil {
		return sandbox.Info{}, err
	}
	defer done()
	s := newStages(progress, p.cfg.Log)
	if err := s.run("Remove the old sandbox", func() error { return p.remove(ctx, spec.Session) }); err != nil {
		return sandbox.Info{}, err
	}
	return p.create(ctx, plan, s)
}

// Destroy removes everything the sandbox has, one that is just being created included.
func (p *Provider) Destroy(ctx context.Context, session string) error {
	if !sessionName.MatchString(session) {
		return fmt.Errorf("session id %q: it must be 4 to 20 of a to z and 0 to 9", session)
	}
	ctx, done, err := p.begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	return p.remove(ctx, session)
}

// plan is a spec that was found good.
type plan struct {
	spec   sandbox.Spec
	names  names
	limits nodeLimits
	host   hostCapacity
	// gateway is the network's, once it is made.
	gateway netip.Addr
}

// hostCapacity is what the engine's machine has: kubelet sees all of it.
type hostCapacity struct {
	memory int64
	cpus   int
}

func (p *Provider) plan(ctx context.Context, spec sandbox.Spec) (*plan, error) {
	switch {
	case !sessionName.MatchString(spec.Session):
		return nil, fmt.Errorf("session id %q: it must be 4 to 20 of a to z and 0 to 9", spec.Session)
	case spec.Kind != "" && spec.Kind != sandbox.Cluster:
		return nil, fmt.Errorf("this provider makes clusters, not a %q", spec.Kind)
	case spec.Nodes > 1:
		return nil, fmt.Errorf("a cluster of %d nodes: clusters have one node in this version", spec.Nodes)
	case spec.Access != "" && spec.Access != sandbox.AccessNamespace && spec.Access != sandbox.AccessCluster && spec.Access != sandbox.AccessNode:
		return nil, fmt.Errorf("access %q: it is namespace, cluster or node", spec.Access)
	}
	if spec.Access == "" {
		spec.Access = sandbox.AccessNamespace
	}
	if len(spec.Namespaces) == 0 {
		spec.Namespaces = []string{"default"}
	}
	limits, err := limitNode(spec.Limits)
	if err != nil {
		return nil, err
	}
	for _, image := range []string{p.cfg.NodeImage, p.cfg.TerminalImage} {
		if err := p.checkImage(ctx, image); err != nil {
			return nil, err
		}
	}
	info, err := p.cfg.Engine.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, engineError("ask the engine about its machine", err)
	}
	return &plan{
		spec: spec, names: p.names(spec.Session), limits: limits,
		host: hostCapacity{memory: info.Info.MemTotal, cpus: info.Info.NCPU},
	}, nil
}

func (p *Provider) checkImage(ctx context.Context, ref string) error {
	_, err := p.cfg.Engine.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %s is not on the container engine; \"drydock image build\" makes it", sandbox.ErrNoImage, ref)
	}
	if err != nil {
		return engineError("look for the image "+ref, err)
	}
	return nil
}

// create makes the sandbox. What a failure leaves is removed, also when ctx has ended.
func (p *Provider) create(ctx context.Context, plan *plan, s *stages) (_ sandbox.Info, err error) {
	session := plan.spec.Session
	defer func() {
		if err == nil {
			return
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what failed then failed for this
		}
		err = fmt.Errorf("create the cluster of session %s: %w", session, err)
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		err = errors.Join(err, p.remove(clean, session))
	}()
	err = s.run(stageNetwork, func() (err error) {
		plan.gateway, err = p.makeNetwork(ctx, session)
		return err
	})
	if err != nil {
		return sandbox.Info{}, err
	}
	if err := p.build(ctx, plan, s); err != nil {
		return sandbox.Info{}, err
	}
	if err := s.run(stageAccess, func() error { return p.handOver(ctx, plan) }); err != nil {
		return sandbox.Info{}, err
	}
	return p.Get(ctx, session)
}

// The engine resolves the names of the sandbox's containers itself and would
// pass all others on, to servers that cannot be reached from this network:
// every wrong name would cost ten seconds. On its own loopback a container is
// refused; an engine that does not pass that on (Docker 20.10) costs a second.
const noDNS = "127.0.0.1"

// dnsOptions are for the resolvers of the sandbox's containers.
func dnsOptions() []string { return []string{"timeout:1", "attempts:1"} }

// noSearch keeps the machine's own domain out of the sandbox.
const noSearch = "."

// makeNetwork makes the sandbox's own network and returns its gateway. The
// engine keeps networks apart; nothing on this one reaches further than its
// bridge (package firewall), and answers would not find back.
func (p *Provider) makeNetwork(ctx context.Context, session string) (gateway netip.Addr, err error) {
	walled := make(chan error, 1)
	go func() { walled <- p.wall.Ensure(ctx) }()
	// An abandoned request is carried out all the same; see startTerminal.
	created, err := p.cfg.Engine.NetworkCreate(context.WithoutCancel(ctx), p.names(session).cluster, client.NetworkCreateOptions{
		Driver: "bridge",
		Labels: p.labels(session, ""),
		Options: map[string]string{
			"com.docker.network.bridge.enable_ip_masquerade": "false",
			firewall.BridgeOption:                            firewall.Bridge(p.cfg.Instance, session),
		},
	})
	if err := <-walled; err != nil {
		return netip.Addr{}, engineError("make the sandbox's network", err)
	}
	if err != nil {
		return netip.Addr{}, engineError("make the sandbox's network", err)
	}
	found, err := p.cfg.Engine.NetworkInspect(ctx, created.ID, client.NetworkInspectOptions{})
	if err != nil {
		return netip.Addr{}, engineError("look at the sandbox's network", err)
	}
	for _, c := range found.Network.IPAM.Config {
		if c.Gateway.Is4() {
			return c.Gateway, nil
		}
	}
	return netip.Addr{}, errors.New("make the sandbox's network: it has no gateway")
}

// build makes the containers and, as soon as the cluster answers, prepares it.
func (p *Provider) build(ctx context.Context, plan *plan, s *stages) error {
	answers := make(chan struct{})
	answer := sync.OnceFunc(func() { close(answers) })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := p.createCluster(ctx, plan, s, answer)
		if err == nil {
			answer()
		}
		return err
	})
	g.Go(func() error {
		return s.run(stageTerminal, func() error { return p.startTerminal(ctx, plan.spec.Session) })
	})
	g.Go(func() error {
		select {
		case <-answers:
			return p.settle(ctx, plan, s)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return g.Wait()
}

// settle brings the new cluster into the state that is handed over. The lab's
// own preparation does not wait for the node: its objects can be made at once.
func (p *Provider) settle(ctx context.Context, plan *plan, s *stages) error {
	keys, err := p.openAccess(ctx, plan.spec.Session)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.run(stageReady, func() error { return keys.waitForNode(ctx, plan.names.node) })
	})
	g.Go(func() error { return keys.trim(ctx) })
	g.Go(func() error { return keys.addLearner(ctx, plan.spec.Namespaces[0]) })
	g.Go(func() error {
		if err := keys.waitForServiceAccounts(ctx); err != nil {
			return err
		}
		for _, step := range []func(context.Context, string, sandbox.Progress) error{plan.spec.Prepare, plan.spec.Ready} {
			if step == nil {
				continue
			}
			if err := step(ctx, plan.spec.Session, s.report); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// handOver lets the learner in.
func (p *Provider) handOver(ctx context.Context, plan *plan) error {
	keys, err := p.openAccess(ctx, plan.spec.Session)
	if err != nil {
		return err
	}
	if err := keys.grant(ctx, plan.spec); err != nil {
		return err
	}
	if err := p.giveKubeconfig(ctx, plan.spec.Session, keys, plan.spec.Namespaces[0]); err != nil {
		return err
	}
	return p.finish(ctx, plan.spec.Session)
}

// finish marks the sandbox as complete; see names.starting.
func (p *Provider) finish(ctx context.Context, session string) error {
	c, err := p.find(ctx, session, roleTerminal)
	if err != nil {
		return err
	}
	_, err = p.cfg.Engine.ContainerRename(ctx, c.ID, client.ContainerRenameOptions{NewName: p.names(session).terminal})
	return engineError("mark the sandbox as complete", err)
}
