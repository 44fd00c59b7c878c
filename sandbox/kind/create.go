package kind

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/firewall"
	"drydock/sandbox/image"
)

// removeTimeout bounds the removal of a sandbox, which takes a second or two.
const removeTimeout = 2 * time.Minute

// Names of the stages that are not kind's own.
const (
	stageNetwork  = "Make a network"
	stageTerminal = "Start the terminal"
	stageReady    = "Wait for the node"
	stagePods     = "Wait for the pods"
	stageAccess   = "Hand over the keys"
	stageThaw     = "Wake the cluster"
)

// Create gives a session a spare, or a copy of the lab's template, or, where
// the spec names no template, a cluster of its own making.
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
		return sandbox.Info{}, fmt.Errorf("create the cluster of session %s: %w", spec.Session, err)
	}
	return info, nil
}

// Reset gives the session a fresh cluster. The old one serves until then.
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
	old, last, err := p.resolve(ctx, spec.Session)
	if err != nil && !errors.Is(err, sandbox.ErrNotFound) {
		return sandbox.Info{}, err
	}
	info, err := p.provide(ctx, plan, dock.Assignment{Session: spec.Session, Number: last.Number + 1}, dock.NewStages(progress, p.cfg.Log))
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("reset the cluster of session %s: %w", spec.Session, err)
	}
	if old != "" {
		p.removeBehind(old)
	}
	return info, nil
}

// Spare makes a copy of the spec's template for whoever comes next.
func (p *Provider) Spare(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	if plan.template == "" {
		return sandbox.Info{}, errors.New("make a spare: the lab names no template")
	}
	s := dock.NewStages(progress, p.cfg.Log)
	if err := p.ensureTemplate(ctx, plan, s); err != nil {
		return sandbox.Info{}, err
	}
	info, err := p.create(ctx, plan, dock.EndSpare, s)
	if err != nil {
		return sandbox.Info{}, fmt.Errorf("make a spare of %s: %w", spec.Template, err)
	}
	return info, nil
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
	for {
		id, _, err := p.resolve(ctx, session)
		if errors.Is(err, sandbox.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.remove(ctx, id); err != nil {
			return err
		}
	}
}

// provide gives a session its sandbox.
func (p *Provider) provide(ctx context.Context, plan *plan, to dock.Assignment, s *dock.Stages) (sandbox.Info, error) {
	if plan.template == "" {
		return p.create(ctx, plan, to.End(), s)
	}
	for {
		id, err := p.takeSpare(ctx, plan.template, to)
		if err != nil {
			return sandbox.Info{}, err
		}
		if id == "" {
			break
		}
		var info sandbox.Info
		if err = p.wake(ctx, id, s); err == nil {
			info, err = p.get(ctx, id)
		}
		if err == nil {
			return info, nil
		}
		p.removeBehind(id)
		if ctx.Err() != nil {
			return sandbox.Info{}, context.Cause(ctx)
		}
		p.cfg.Log.Warn("a spare is no longer good", "sandbox", id, "err", err)
	}
	if err := p.ensureTemplate(ctx, plan, s); err != nil {
		return sandbox.Info{}, err
	}
	return p.create(ctx, plan, to.End(), s)
}

// takeSpare gives the oldest spare of a template to a session, if there is one.
func (p *Provider) takeSpare(ctx context.Context, template string, to dock.Assignment) (id string, err error) {
	p.taking.Lock()
	defer p.taking.Unlock()
	infos, err := p.List(ctx)
	if err != nil {
		return "", err
	}
	for _, info := range infos {
		if info.Use != sandbox.Spare || info.Template != template || info.State != sandbox.Frozen {
			continue
		}
		if err := p.rename(ctx, info.ID, to.End()); err != nil {
			return "", err
		}
		return info.ID, nil
	}
	return "", nil
}

// wakeTimeout is for a frozen cluster, which takes a fraction of a second.
const wakeTimeout = 20 * time.Second

// wake thaws a spare and makes sure that its API answers.
func (p *Provider) wake(ctx context.Context, id string, s *dock.Stages) error {
	return s.Run(stageThaw, func() error {
		ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
		defer cancel()
		if err := p.thaw(ctx, id); err != nil {
			return err
		}
		keys, err := p.accessTo(ctx, id)
		if err != nil {
			return err
		}
		return keys.waitForAPI(ctx)
	})
}

// rename says in the terminal's name what the sandbox is there for from now on.
func (p *Provider) rename(ctx context.Context, id, end string) error {
	c, err := p.part(ctx, id, roleTerminal)
	if err != nil {
		return err
	}
	name := p.named().Of(id, end)
	if slices.Contains(c.Names, "/"+name) {
		return nil // the engine refuses that
	}
	_, err = p.cfg.Engine.ContainerRename(ctx, c.ID, client.ContainerRenameOptions{NewName: name})
	return dock.Error("say whom the sandbox serves", err)
}

// plan is a spec that was found good.
type plan struct {
	spec     sandbox.Spec
	limits   nodeLimits
	host     hostCapacity
	template string // id of the template; empty for none
	image    string // id of the node image
	version  string // of Kubernetes in it
	engine   system.Info
}

// hostCapacity is what the engine's machine has: kubelet sees all of it.
type hostCapacity struct {
	memory int64
	cpus   int
}

// planFor is plan for a session.
func (p *Provider) planFor(ctx context.Context, spec sandbox.Spec) (*plan, error) {
	if err := dock.CheckID(spec.Session); err != nil {
		return nil, err
	}
	return p.plan(ctx, spec)
}

func (p *Provider) plan(ctx context.Context, spec sandbox.Spec) (*plan, error) {
	switch {
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
	node, err := p.inspectImage(ctx, p.cfg.NodeImage)
	if err != nil {
		return nil, err
	}
	if _, err := p.inspectImage(ctx, p.cfg.TerminalImage); err != nil {
		return nil, err
	}
	info, err := p.cfg.Engine.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, dock.Error("ask the engine about its machine", err)
	}
	made := &plan{
		spec: spec, limits: limits, image: node.ID, version: node.Config.Labels[image.LabelKubernetes],
		host: hostCapacity{memory: info.Info.MemTotal, cpus: info.Info.NCPU}, engine: info.Info,
	}
	made.template, err = made.templateID()
	return made, err
}

func (p *Provider) inspectImage(ctx context.Context, ref string) (client.ImageInspectResult, error) {
	found, err := p.cfg.Engine.ImageInspect(ctx, ref)
	if dock.Absent(err) {
		return found, fmt.Errorf("%w: %s is not on the container engine; \"drydock image build\" makes it", sandbox.ErrNoImage, ref)
	}
	return found, dock.Error("look for the image "+ref, err)
}

// box is a sandbox that is being prepared.
type box struct {
	id    string
	names names
	plan  *plan
	// gateway is the network's, once it is made.
	gateway netip.Addr
}

// create makes a sandbox; end is of its terminal's name when it is done. A
// spare is frozen then. What a failure leaves is removed, also when ctx has ended.
func (p *Provider) create(ctx context.Context, plan *plan, end string, s *dock.Stages) (info sandbox.Info, err error) {
	err = p.box(ctx, plan, func(b *box) error {
		if err := p.build(ctx, b, s); err != nil {
			return err
		}
		if end == dock.EndSpare {
			if err := p.freeze(ctx, b.id); err != nil {
				return err
			}
		}
		if err := p.rename(ctx, b.id, end); err != nil {
			return err
		}
		info, err = p.get(ctx, b.id)
		return err
	}, s)
	return info, err
}

// box makes a network for a new sandbox and lets fill do the rest.
func (p *Provider) box(ctx context.Context, plan *plan, fill func(*box) error, s *dock.Stages) (err error) {
	b := &box{id: dock.NewID(), plan: plan}
	b.names = p.names(b.id)
	p.prepares(b.id, true)
	defer p.prepares(b.id, false)
	defer func() {
		if err == nil {
			return
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what failed then failed for this
		}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		err = errors.Join(err, p.remove(clean, b.id))
	}()
	err = s.Run(stageNetwork, func() (err error) {
		b.gateway, err = p.makeNetwork(ctx, b)
		return err
	})
	if err != nil {
		return err
	}
	return fill(b)
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
func (p *Provider) makeNetwork(ctx context.Context, b *box) (gateway netip.Addr, err error) {
	walled := make(chan error, 1)
	go func() { walled <- p.wall.Ensure(ctx) }()
	// An abandoned request is carried out all the same; see startTerminal.
	created, err := p.cfg.Engine.NetworkCreate(context.WithoutCancel(ctx), b.names.cluster, client.NetworkCreateOptions{
		Driver: "bridge",
		Labels: p.labels(b.id, "", ""),
		Options: map[string]string{
			"com.docker.network.bridge.enable_ip_masquerade": "false",
			firewall.BridgeOption:                            firewall.Bridge(p.cfg.Instance, b.id),
		},
	})
	if err := <-walled; err != nil {
		return netip.Addr{}, dock.Error("make the sandbox's network", err)
	}
	if err != nil {
		return netip.Addr{}, dock.Error("make the sandbox's network", err)
	}
	found, err := p.cfg.Engine.NetworkInspect(ctx, created.ID, client.NetworkInspectOptions{})
	if err != nil {
		return netip.Addr{}, dock.Error("look at the sandbox's network", err)
	}
	for _, c := range found.Network.IPAM.Config {
		if c.Gateway.Is4() {
			return c.Gateway, nil
		}
	}
	return netip.Addr{}, errors.New("make the sandbox's network: it has no gateway")
}

// build makes the containers, brings the cluster into the state that is handed
// over, and puts the learner's keys into the terminal.
func (p *Provider) build(ctx context.Context, b *box, s *dock.Stages) error {
	settle := p.settle
	if b.plan.template != "" {
		settle = p.settleCopy
	}
	g, ctx := errgroup.WithContext(ctx)
	terminal := make(chan struct{})
	g.Go(func() error {
		defer close(terminal)
		return s.Run(stageTerminal, func() error { return p.startTerminal(ctx, b) })
	})
	g.Go(func() error {
		keys, err := p.startCluster(ctx, b, s, settle)
		if err != nil {
			return err
		}
		select {
		case <-terminal:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return s.Run(stageAccess, func() error { return p.giveKubeconfig(ctx, b.id, keys, b.plan.spec.Namespaces[0]) })
	})
	return g.Wait()
}

// settler brings a cluster, once its API answers, into the state that is handed over.
type settler func(ctx context.Context, b *box, keys *access, s *dock.Stages) error

// startCluster makes the node and, as soon as the cluster answers, settles it.
func (p *Provider) startCluster(ctx context.Context, b *box, s *dock.Stages, settle settler) (keys *access, err error) {
	answers := make(chan struct{})
	answer := sync.OnceFunc(func() { close(answers) })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := p.createCluster(ctx, b, s, answer)
		if err == nil {
			answer()
		}
		return err
	})
	g.Go(func() error {
		if b.plan.template != "" {
			if err := p.awaitCopy(ctx, b, s); err != nil {
				return err
			}
			answer()
		}
		select {
		case <-answers:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var err error
		if keys, err = p.accessTo(ctx, b.id); err != nil {
			return err
		}
		return settle(ctx, b, keys, s)
	})
	return keys, g.Wait()
}

// settle brings a cluster that kubeadm has made into the state that is handed
// over. The lab's own preparation does not wait for the node: its objects can
// be made at once.
func (p *Provider) settle(ctx context.Context, b *box, keys *access, s *dock.Stages) error {
	spec := b.plan.spec
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.Run(stageReady, func() error { return keys.waitForNode(gctx, nodeName) })
	})
	if spec.Access == sandbox.AccessNode {
		g.Go(func() error { return p.giveNode(gctx, b) })
	}
	g.Go(func() error { return keys.trim(gctx) })
	g.Go(func() error { return keys.addLearner(gctx, spec.Namespaces[0]) })
	g.Go(func() error {
		if err := keys.waitForServiceAccounts(gctx); err != nil {
			return err
		}
		if spec.Prepare == nil {
			return nil
		}
		return spec.Prepare(gctx, b.id, s.Report)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := keys.grant(ctx, spec); err != nil {
		return err
	}
	if spec.Ready == nil {
		return nil
	}
	return spec.Ready(ctx, b.id, s.Report)
}

// giveNode has the node keep the learner's shells from now on, also in its copies.
func (p *Provider) giveNode(ctx context.Context, b *box) error {
	res, err := p.dock.Exec(ctx, asRoot(b.names.node), sandbox.Command{Argv: []string{"systemctl", "enable", "--now", "drydock-shell.service"}})
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", res.ExitCode, strings.TrimSpace(string(res.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("start the shells on the node: %w", err)
	}
	return nil
}

// removeBehind removes a sandbox that serves nobody any more while its caller
// goes on. What a crash leaves of it, Sweep removes.
func (p *Provider) removeBehind(id string) {
	p.removals.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
		defer cancel()
		if err := p.discard(ctx, id); err != nil {
			p.cfg.Log.Warn("a sandbox could not be removed yet", "sandbox", id, "err", err)
		}
	})
}

// discard renames first: a sandbox that is half removed must not be taken for a whole one.
func (p *Provider) discard(ctx context.Context, id string) error {
	if err := p.rename(ctx, id, dock.EndLeaving); err != nil && !errors.Is(err, sandbox.ErrNotFound) && !dock.Gone(err) {
		return err
	}
	return p.remove(ctx, id)
}

// Discard removes a sandbox by its own id.
func (p *Provider) Discard(ctx context.Context, id string) error {
	if err := dock.CheckID(id); err != nil {
		return err
	}
	return p.discard(ctx, id)
}

// Sweep removes the sandboxes that are leaving, those that were being prepared
// by a process that has died, and spares that are no longer good.
func (p *Provider) Sweep(ctx context.Context) error {
	infos, err := p.List(ctx)
	if err != nil {
		return err
	}
	errs := []error{dock.Error("look for what the firewall left", p.wall.Sweep(ctx))}
	if len(infos) > 0 {
		// Nobody tells when the machine's own firewall was loaded anew, and ours lost.
		errs = append(errs, p.wall.Ensure(ctx))
	}
	for _, info := range infos {
		if left, err := p.leftover(ctx, info); err != nil {
			errs = append(errs, err)
		} else if left {
			errs = append(errs, p.discard(ctx, info.ID))
		}
	}
	return errors.Join(append(errs, p.sweepTemplates(ctx))...)
}

// leftover says whether nothing needs a listed sandbox. One that this process
// was preparing may have been handed over since the list: it is looked at again.
// A spare is frozen: one that is not was stopped or thawed by somebody else, as
// by a restart of the host, and is never handed out.
func (p *Provider) leftover(ctx context.Context, listed sandbox.Info) (bool, error) {
	p.mu.Lock()
	ours := p.making[listed.ID]
	p.mu.Unlock()
	switch {
	case ours:
		return false, nil
	case listed.Use == sandbox.Leaving:
		return true, nil
	case listed.Use != sandbox.Preparing && (listed.Use != sandbox.Spare || listed.State == sandbox.Frozen):
		return false, nil
	}
	all, err := p.list(ctx, listed.ID)
	return len(all) == 1 && all[0].Use == listed.Use && all[0].State == listed.State, err
}

// Close waits for what is being removed behind a reset.
func (p *Provider) Close(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		p.removals.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the removal of old sandboxes: %w", context.Cause(ctx))
	}
}
