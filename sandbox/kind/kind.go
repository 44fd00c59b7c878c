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
// (docs/decisions/0010-a-sandbox-has-an-id-of-its-own.md).
//
// A lab is set up once, in a cluster that kubeadm made, and kept as a
// template: an image of the engine. What a session gets is a copy of it, which
// only has to be started (docs/decisions/0011-a-template-is-an-image.md).
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
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
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

	dock    dock.Runner
	changes dock.Changes

	mu sync.Mutex
	// making are the sandboxes that this process is preparing now. While they
	// are, they are known by their own ids.
	making map[string]bool
	// templates are those that this process is making now.
	templates map[string]*templateWork

	taking   sync.Mutex     // one taker of spares at a time
	removals sync.WaitGroup // see Close
}

// New returns a provider. It does not talk to the engine.
func New(cfg Config) (*Provider, error) {
	if err := dock.CheckInstance(cfg.Instance); err != nil {
		return nil, err
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
		cfg: cfg, wall: wall, dock: dock.Runner{Engine: cfg.Engine, Log: cfg.Log, Freezer: &dock.Freezer{}}, making: map[string]bool{}, templates: map[string]*templateWork{},
	}, nil
}

var _ sandbox.Provider = (*Provider)(nil)

// Kind is [sandbox.Cluster].
func (p *Provider) Kind() sandbox.Kind { return sandbox.Cluster }

// names are those of the parts of one sandbox.
type names struct {
	cluster string // of the kind cluster and of the network
	node    string
}

func (p *Provider) names(id string) names {
	cluster := p.named().Base(id)
	return names{cluster: cluster, node: cluster + "-control-plane"} // as kind names it
}

// named gives the terminals their names, which say what the sandboxes are there for.
func (p *Provider) named() dock.Names {
	return dock.Names{Instance: p.cfg.Instance, Role: roleTerminal}
}
