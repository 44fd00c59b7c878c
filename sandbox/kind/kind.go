// Package kind runs labs in real kind clusters: it implements
// [sandbox.Provider] for [sandbox.Cluster].
//
// A sandbox is one network of the container engine with two containers on it:
// the cluster's node, made through kind's Go API, so that kind's own tools
// list and delete it as any other cluster, and the learner's unprivileged
// terminal. All of them, the node's volume included, carry the labels
// drydock.instance and drydock.sandbox, and everything the package knows about
// a sandbox it reads from the engine by these labels and by the terminal's
// name, which says whom the sandbox serves
// (docs/decisions/0009-a-sandbox-has-an-id-of-its-own.md).
//
// A lab is set up once, in a cluster that kubeadm made, and kept as a
// template: an image of the engine. What a session gets is a copy of it, which
// only has to be started (docs/decisions/0010-a-template-is-an-image.md).
//
// kind has no way to cancel a creation, reads its settings from the
// environment of the process and runs the docker command line. Creation
// therefore happens in a child process, the program's own binary run again as
// [ChildCommand], with a wrapper around docker in its PATH that adds the labels
// and the limits (docs/decisions/0006-kind-runs-in-a-child-with-a-wrapped-docker.md).
//
// The package may import package sandbox and its sub-packages, kind, the
// engine's client and client-go.
package kind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/firewall"
)

// Config says where and how a Provider makes its clusters.
type Config struct {
	// Instance tells this server's sandboxes from those of others on the same engine: 1 to 16 of [a-z0-9].
	Instance string
	// NodeImage and TerminalImage are references of images on the engine; nothing is ever pulled.
	NodeImage, TerminalImage string
	// StateDir is for files that a creation needs while it runs.
	StateDir string
	Engine   *client.Client
	// Self is the path of a program that runs [ChildCommand] under its name.
	Self string
	Log  *slog.Logger
}

// Provider makes clusters. Its methods are safe for concurrent use.
type Provider struct {
	cfg  Config
	wall *firewall.Firewall

	mu sync.Mutex
	// changing holds, by session or sandbox, the operation that makes or
	// removes something for it now. It only orders this process's own work.
	changing map[string]*change
	// making are the sandboxes that this process is preparing now. While they
	// are, they are known by their own ids.
	making map[string]bool
	// templates are those that this process is making now.
	templates map[string]*templateWork

	taking   sync.Mutex     // one taker of spares at a time
	removals sync.WaitGroup // see Close
}

// change is one creation or removal under way.
type change struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

var (
	instanceName = regexp.MustCompile(`^[a-z0-9]{1,16}$`) // a node's host name has room for no more
	sessionName  = regexp.MustCompile(`^[a-z0-9]{4,20}$`)
)

// errReplaced ends a creation whose sandbox is being destroyed.
var errReplaced = errors.New("the sandbox was destroyed while it was being created")

// New returns a provider. It does not talk to the engine.
func New(cfg Config) (*Provider, error) {
	if !instanceName.MatchString(cfg.Instance) {
		return nil, fmt.Errorf("instance name %q: it must be 1 to 16 of a to z and 0 to 9", cfg.Instance)
	}
	if cfg.Engine == nil || cfg.Self == "" || cfg.StateDir == "" || cfg.NodeImage == "" || cfg.TerminalImage == "" {
		return nil, errors.New("the kind provider needs an engine, images, a state directory and the program's own path")
	}
	dir, err := filepath.Abs(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory of the clusters: %w", err)
	}
	cfg.StateDir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory of the clusters: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	wall := firewall.New(firewall.Config{Instance: cfg.Instance, Image: cfg.NodeImage, Engine: cfg.Engine})
	return &Provider{
		cfg: cfg, wall: wall, changing: map[string]*change{}, making: map[string]bool{}, templates: map[string]*templateWork{},
	}, nil
}

var _ sandbox.Provider = (*Provider)(nil)

// Kind is [sandbox.Cluster].
func (p *Provider) Kind() sandbox.Kind { return sandbox.Cluster }

// begin registers an operation that makes or removes what a session has. It
// ends the one under way, if any, and waits until that has cleaned up.
func (p *Provider) begin(ctx context.Context, session string) (context.Context, func(), error) {
	for {
		p.mu.Lock()
		other := p.changing[session]
		if other == nil {
			ctx, cancel := context.WithCancelCause(ctx)
			c := &change{cancel: cancel, done: make(chan struct{})}
			p.changing[session] = c
			p.mu.Unlock()
			return ctx, func() {
				p.mu.Lock()
				delete(p.changing, session)
				p.mu.Unlock()
				cancel(nil)
				close(c.done)
			}, nil
		}
		p.mu.Unlock()
		other.cancel(errReplaced)
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// stages reports the steps of an operation with the time they took, one
// report at a time although some steps run side by side.
type stages struct {
	mu       sync.Mutex
	progress sandbox.Progress
	log      *slog.Logger
}

func newStages(progress sandbox.Progress, log *slog.Logger) *stages {
	if progress == nil {
		progress = func(sandbox.Stage) {}
	}
	return &stages{progress: progress, log: log}
}

func (s *stages) report(stage sandbox.Stage) {
	if stage.Done {
		s.log.Debug("stage of a sandbox", "stage", stage.Name, "took", stage.Took)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress(stage)
}

// run reports a step around fn.
func (s *stages) run(name string, fn func() error) error {
	begin := time.Now()
	s.report(sandbox.Stage{Name: name})
	if err := fn(); err != nil {
		return err
	}
	s.report(sandbox.Stage{Name: name, Done: true, Took: time.Since(begin)})
	return nil
}
