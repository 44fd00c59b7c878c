package kind

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

const (
	// templateFormat is part of every template's id. A new number says that
	// this program makes something else of the same spec than earlier ones did.
	templateFormat = 1
	// templateIDLength in hexadecimal digits makes 64 bits of the hash.
	templateIDLength = 16
	// Labels of a template's image, besides those of a sandbox.
	labelName = "drydock.template-name"
	labelPods = "drydock.ready-pods"
	// bootProgram is the node's entrypoint (sandbox/nodeimage/boot).
	bootProgram = "/usr/local/bin/drydock-boot"
	// renewedFile appears on a copy's node when it has keys of its own.
	renewedFile = "/kind/renewed"
)

// The stages of a template's making that come after the lab's own.
const stagePack = "Keep the template"

// templateID is the content address of everything that goes into the template.
func (p *plan) templateID() (string, error) {
	if p.spec.Template == "" {
		return "", nil
	}
	content, err := json.Marshal(struct {
		Format     int
		Name       string
		Image      string
		Access     sandbox.Access
		Namespaces []string
		Cluster    any
	}{templateFormat, p.spec.Template, p.image, p.spec.Access, p.spec.Namespaces, clusterConfig(p)})
	if err != nil {
		return "", fmt.Errorf("name the template: %w", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])[:templateIDLength], nil
}

// TemplateID is the id of the template that the spec asks for.
func (p *Provider) TemplateID(ctx context.Context, spec sandbox.Spec) (string, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return "", err
	}
	return plan.template, nil
}

// templateRef is the name of a template's image.
func (p *Provider) templateRef(id string) string {
	return "drydock/template:" + p.cfg.Instance + "-" + id
}

// MakeTemplate makes the template that the spec asks for, unless it is there.
func (p *Provider) MakeTemplate(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Template, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return sandbox.Template{}, err
	}
	if plan.template == "" {
		return sandbox.Template{}, errors.New("make a template: the lab names none")
	}
	if err := p.ensureTemplate(ctx, plan, dock.NewStages(progress, p.cfg.Log)); err != nil {
		return sandbox.Template{}, err
	}
	all, err := p.Templates(ctx)
	if err != nil {
		return sandbox.Template{}, err
	}
	i := slices.IndexFunc(all, func(t sandbox.Template) bool { return t.ID == plan.template })
	if i < 0 {
		return sandbox.Template{}, fmt.Errorf("the template %s was removed as soon as it was made", plan.template)
	}
	return all[i], nil
}

// templateWork is the making of one template. All who need it wait for the
// same; when none is left, it ends.
type templateWork struct {
	cancel  context.CancelFunc
	waiting int // guarded by the provider's mu
	done    chan struct{}
	err     error // set when done

	mu     sync.Mutex
	stages []sandbox.Stage // so far, for those who come later
	listen map[int]*dock.Stages
	joined int
}

func (w *templateWork) report(stage sandbox.Stage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stages = append(w.stages, stage)
	for _, s := range w.listen {
		s.Report(stage)
	}
}

// follow tells s of the stages so far and of those to come.
func (w *templateWork) follow(s *dock.Stages) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, stage := range w.stages {
		s.Report(stage)
	}
	w.joined++
	key := w.joined
	w.listen[key] = s
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.listen, key)
	}
}

// ensureTemplate makes the plan's template unless it is there.
func (p *Provider) ensureTemplate(ctx context.Context, plan *plan, s *dock.Stages) error {
	for {
		_, err := p.cfg.Engine.ImageInspect(ctx, p.templateRef(plan.template))
		if err == nil {
			return nil
		}
		if !dock.Absent(err) {
			return dock.Error("look for the template", err)
		}
		err = p.joinTemplate(ctx, plan, s)
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return err
		}
		// Whoever made it gave up in the moment that we came.
	}
}

// joinTemplate waits for the making of a template, which it begins if nobody has.
func (p *Provider) joinTemplate(ctx context.Context, plan *plan, s *dock.Stages) error {
	p.mu.Lock()
	work := p.templates[plan.template]
	if work == nil {
		var wctx context.Context
		work = &templateWork{done: make(chan struct{}), listen: map[int]*dock.Stages{}}
		wctx, work.cancel = context.WithCancel(context.WithoutCancel(ctx))
		p.templates[plan.template] = work
		p.removals.Go(func() { p.runTemplate(wctx, plan, work) })
	}
	work.waiting++
	p.mu.Unlock()
	stop := work.follow(s)
	defer stop()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if work.waiting--; work.waiting == 0 {
			work.cancel()
		}
	}()
	select {
	case <-work.done:
		return work.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Provider) runTemplate(ctx context.Context, plan *plan, work *templateWork) {
	err := p.buildTemplate(ctx, plan, dock.NewStages(work.report, p.cfg.Log))
	if err != nil {
		err = fmt.Errorf("make the template of %s: %w", plan.spec.Template, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.templates, plan.template)
	work.err = err
	work.cancel()
	close(work.done)
}

// buildTemplate lets kubeadm make a cluster, sets up the lab in it, and keeps
// its node as an image.
func (p *Provider) buildTemplate(ctx context.Context, plan *plan, s *dock.Stages) error {
	var made string
	fresh := *plan
	fresh.template = "" // it is no copy of one
	err := p.box(ctx, &fresh, func(b *box) error {
		made = b.id
		keys, err := p.startCluster(ctx, b, s, p.settle)
		if err != nil {
			return err
		}
		return s.Run(stagePack, func() error { return p.pack(ctx, b, plan, keys) })
	}, s)
	if err == nil {
		p.removeBehind(made)
	}
	return err
}

// pack stops the cluster and keeps the node.
func (p *Provider) pack(ctx context.Context, b *box, plan *plan, keys *access) error {
	node, err := p.part(ctx, b.id, roleNode)
	if err != nil {
		return err
	}
	// Without kubelet nobody contradicts that the pods have not started, and
	// without controllers nobody acts on it.
	if err := p.onNode(ctx, node.ID, "systemctl", "stop", "kubelet"); err != nil {
		return err
	}
	if err := p.onNode(ctx, node.ID, bootProgram, "quiesce"); err != nil {
		return err
	}
	pods, err := keys.rewind(ctx)
	if err != nil {
		return err
	}
	if err := p.onNode(ctx, node.ID, bootProgram, "seal"); err != nil {
		return err
	}
	ready, err := json.Marshal(pods)
	if err != nil {
		return err
	}
	labels := map[string]string{
		dock.LabelInstance: p.cfg.Instance, dock.LabelKind: string(sandbox.Cluster), dock.LabelTemplate: plan.template,
		labelName: plan.spec.Template, labelPods: string(ready),
		// Of the node image, which this is no longer.
		"drydock.image": "template",
	}
	var changes []string
	for name, value := range labels {
		changes = append(changes, fmt.Sprintf("LABEL %s=%q", name, value))
	}
	// Nothing in it is of use without the mark that the name is, which comes last.
	_, err = p.cfg.Engine.ContainerCommit(ctx, node.ID, client.ContainerCommitOptions{Reference: p.templateRef(plan.template), Changes: changes})
	return dock.Error("keep the node as an image", err)
}

// onNode runs a command on a node that must succeed.
func (p *Provider) onNode(ctx context.Context, container string, argv ...string) error {
	res, err := p.dock.Exec(ctx, asRoot(container), sandbox.Command{Argv: argv})
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", res.ExitCode, strings.TrimSpace(string(res.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

const (
	// bootTimeout is for a copy until its API answers; it takes some five seconds.
	bootTimeout = 2 * time.Minute
	// bootPoll is how often a copy is asked. There is nothing to watch before it answers.
	bootPoll = 50 * time.Millisecond
)

// awaitCopy waits until the API of a new copy answers.
func (p *Provider) awaitCopy(ctx context.Context, b *box, s *dock.Stages) error {
	return s.Run(startKubernetes, func() error {
		ctx, cancel := context.WithTimeout(ctx, bootTimeout)
		defer cancel()
		for {
			_, err := p.cfg.Engine.ContainerStatPath(ctx, b.names.node, client.ContainerStatPathOptions{Path: renewedFile})
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the node's own keys: %w (%v)", context.Cause(ctx), err)
			case <-time.After(bootPoll):
			}
		}
		keys, err := p.accessTo(ctx, b.id)
		if err != nil {
			return err
		}
		return keys.waitForAPI(ctx)
	})
}

// settleCopy waits until a copy of a template is in the state that is handed over.
func (p *Provider) settleCopy(ctx context.Context, b *box, keys *access, s *dock.Stages) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.Run(stagePods, func() error {
			pods, err := p.readyPods(gctx, b.plan.template)
			if err != nil {
				return err
			}
			return keys.waitForPods(gctx, pods)
		})
	})
	g.Go(func() error {
		if b.plan.spec.Ready == nil {
			return nil
		}
		return b.plan.spec.Ready(gctx, b.id, s.Report)
	})
	return g.Wait()
}

// readyPods are those that were ready when the template was made.
func (p *Provider) readyPods(ctx context.Context, template string) ([]string, error) {
	found, err := p.cfg.Engine.ImageInspect(ctx, p.templateRef(template))
	if err != nil {
		return nil, dock.Error("look at the template", err)
	}
	var pods []string
	if err := json.Unmarshal([]byte(found.Config.Labels[labelPods]), &pods); err != nil {
		return nil, fmt.Errorf("look at the template: its label %s: %w", labelPods, err)
	}
	return pods, nil
}

// sweepTemplates removes images that were to become templates: the engine died
// before it gave them their names.
func (p *Provider) sweepTemplates(ctx context.Context) error {
	p.mu.Lock()
	making := len(p.templates) > 0
	p.mu.Unlock()
	if making {
		return nil // one may be about to get its name
	}
	images, err := p.cfg.Engine.ImageList(ctx, client.ImageListOptions{
		Filters: make(client.Filters).Add("dangling", "true").
			Add("label", dock.LabelInstance+"="+p.cfg.Instance, dock.LabelKind+"="+string(sandbox.Cluster), dock.LabelTemplate),
	})
	if err != nil {
		return dock.Error("list the unfinished templates", err)
	}
	var errs []error
	for _, image := range images.Items {
		_, err := p.cfg.Engine.ImageRemove(ctx, image.ID, client.ImageRemoveOptions{PruneChildren: true})
		if err != nil && !dock.Gone(err) {
			errs = append(errs, dock.Error("remove an unfinished template", err))
		}
	}
	return errors.Join(errs...)
}

// Templates returns the templates of this instance.
func (p *Provider) Templates(ctx context.Context) ([]sandbox.Template, error) {
	images, err := p.cfg.Engine.ImageList(ctx, client.ImageListOptions{
		Filters: make(client.Filters).Add("label", dock.LabelInstance+"="+p.cfg.Instance, dock.LabelKind+"="+string(sandbox.Cluster), dock.LabelTemplate),
	})
	if err != nil {
		return nil, dock.Error("list the templates", err)
	}
	used := map[string]int{}
	infos, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		used[info.Template]++
	}
	base := int64(0)
	if found, err := p.cfg.Engine.ImageInspect(ctx, p.cfg.NodeImage); err == nil {
		base = found.Size
	}
	var all []sandbox.Template
	for _, image := range images.Items {
		id := image.Labels[dock.LabelTemplate]
		if !slices.Contains(image.RepoTags, p.templateRef(id)) {
			continue
		}
		all = append(all, sandbox.Template{
			ID: id, Name: image.Labels[labelName], Kind: sandbox.Cluster,
			Size: max(0, image.Size-base), Created: time.Unix(image.Created, 0), Used: used[id],
		})
	}
	slices.SortFunc(all, func(a, b sandbox.Template) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return all, nil
}

// RemoveTemplate removes a template. The engine refuses while copies run from it.
func (p *Provider) RemoveTemplate(ctx context.Context, id string) error {
	_, err := p.cfg.Engine.ImageRemove(ctx, p.templateRef(id), client.ImageRemoveOptions{PruneChildren: true})
	if err != nil && !dock.Absent(err) {
		return dock.Error("remove the template "+id, err)
	}
	return nil
}
