// Package machine runs labs on Linux machines: it implements
// [sandbox.Provider] for [sandbox.Machine].
//
// A sandbox is one container of the engine's and its volume. In the container
// package boot makes the machine itself: in namespaces of its own, its root a
// user without any right on the host, everything that is written in it on a
// file system of fixed size, with no network but its own loopback. Its doc
// comment says what keeps a learner in. What does not work there, and why:
//
//   - new user namespaces (unshare -Ur), mounts, BPF, raw sockets and changes of
//     the kernel's settings are refused to the learner; setup scripts run as the
//     machine's root and can mount, and make namespaces of any other type, also
//     for networks of several addresses (nsenter --net=/run/netns/NAME, not ip
//     netns exec, which wants to mount a /sys that can be written);
//   - perf sees what kernel.perf_event_paranoid of the host allows: at 2, the
//     learner's own processes outside of the kernel; at 3, as Debian has it, nothing.
//     Hardware counters are there where the host has them;
//   - where the host's kernel.yama.ptrace_scope is 1 or more, gdb and strace can
//     start a program but not attach to one;
//   - free, nproc and /proc/cpuinfo tell of the host. The limits stand in /sys/fs/cgroup.
//
// # Templates and spares
//
// A machine takes less than a second to make, so nothing is kept to make
// copies of. A template is only the name of what is asked for: its id is the
// content address of the lab's template, the image, and the limits. Making one
// does nothing, and [Provider.Templates] lists none. By the id a spare is found:
// a machine on which setup has run, whose ready conditions held, and which was
// frozen then. To hand it out is to rename it and let it go on.
//
// # What is where
//
// All state is on the engine: labels say whose a container is, and its name
// what it is there for (package dock). The learner's files are in a volume that
// goes with the container, and outlive everything else: a freeze, a restart of
// the server or the host.
//
// The package may import package sandbox and its sub-packages.
package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// Config says where and how a Provider makes its machines.
type Config struct {
	// Instance tells this server's sandboxes from those of others on the same engine: 1 to 16 of [a-z0-9].
	Instance string
	// Image is the reference of an image on the engine; nothing is ever pulled.
	Image  string
	Engine *client.Client
	Log    *slog.Logger
}

// Provider makes machines. Its methods are safe for concurrent use.
type Provider struct {
	cfg    Config
	names  dock.Names
	runner dock.Runner

	changes dock.Changes

	mu sync.Mutex
	// making are the sandboxes that this process is preparing now. While they
	// are, they are known by their own ids.
	making map[string]bool

	taking   sync.Mutex     // one taker of spares at a time
	removals sync.WaitGroup // see Close
}

// role is that of a machine's only container.
const role = "machine"

// New returns a provider. It does not talk to the engine.
func New(cfg Config) (*Provider, error) {
	if err := dock.CheckInstance(cfg.Instance); err != nil {
		return nil, err
	}
	if cfg.Engine == nil || cfg.Image == "" {
		return nil, errors.New("the machine provider needs an engine and an image")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Provider{
		cfg: cfg, names: dock.Names{Instance: cfg.Instance, Role: role},
		runner: dock.Runner{Engine: cfg.Engine, Log: cfg.Log, Freezer: &dock.Freezer{}}, making: map[string]bool{},
	}, nil
}

var _ sandbox.Provider = (*Provider)(nil)

// Kind is [sandbox.Machine].
func (p *Provider) Kind() sandbox.Kind { return sandbox.Machine }

// plan is a spec that was found good.
type plan struct {
	spec     sandbox.Spec
	limits   sandbox.Limits
	image    string // its id
	template string // its id; empty for none
}

// planFor is plan for a session.
func (p *Provider) planFor(ctx context.Context, spec sandbox.Spec) (*plan, error) {
	if err := dock.CheckID(spec.Session); err != nil {
		return nil, fmt.Errorf("session %w", err)
	}
	return p.plan(ctx, spec)
}

func (p *Provider) plan(ctx context.Context, spec sandbox.Spec) (*plan, error) {
	limits, err := Accept(spec)
	if err != nil {
		return nil, err
	}
	image, err := p.cfg.Engine.ImageInspect(ctx, p.cfg.Image)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %s is not on the container engine; \"drydock image build\" makes it", sandbox.ErrNoImage, p.cfg.Image)
	}
	if err != nil {
		return nil, dock.Error("look for the image "+p.cfg.Image, err)
	}
	made := &plan{spec: spec, limits: limits, image: image.ID}
	made.template, err = made.templateID()
	return made, err
}

// templateFormat is part of every template's id. A new number says that this
// program makes something else of the same spec than earlier ones did.
const templateFormat = 1

// templateID is the content address of what is asked for.
func (p *plan) templateID() (string, error) {
	if p.spec.Template == "" {
		return "", nil
	}
	content, err := json.Marshal(struct {
		Format      int
		Name, Image string
		Limits      sandbox.Limits
	}{templateFormat, p.spec.Template, p.image, p.limits})
	if err != nil {
		return "", fmt.Errorf("name the template: %w", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8]), nil
}

// TemplateID is the id by which spares for the spec are found.
func (p *Provider) TemplateID(ctx context.Context, spec sandbox.Spec) (string, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return "", err
	}
	return plan.template, nil
}

// MakeTemplate has nothing to make; see the package's comment.
func (p *Provider) MakeTemplate(ctx context.Context, spec sandbox.Spec, _ sandbox.Progress) (sandbox.Template, error) {
	plan, err := p.plan(ctx, spec)
	if err != nil {
		return sandbox.Template{}, err
	}
	if plan.template == "" {
		return sandbox.Template{}, errors.New("make a template: the lab names none")
	}
	return sandbox.Template{ID: plan.template, Name: spec.Template, Kind: sandbox.Machine, Created: time.Now()}, nil
}

// Templates returns none: nothing is kept.
func (p *Provider) Templates(context.Context) ([]sandbox.Template, error) { return nil, nil }

// RemoveTemplate has nothing to remove.
func (p *Provider) RemoveTemplate(context.Context, string) error { return nil }

// Close waits for what is being removed behind a reset.
func (p *Provider) Close(ctx context.Context) error {
	return dock.Await(ctx, &p.removals, "wait for the removal of old machines")
}
