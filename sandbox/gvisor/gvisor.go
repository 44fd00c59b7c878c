// Package gvisor runs machine labs where there is no container engine: it
// implements [sandbox.Provider] for [sandbox.Machine] with gVisor's runsc and a
// root file system that "drydock image build" has unpacked, and needs nothing
// else. gVisor is a kernel written in Go that runs as a process; it needs no
// virtualisation and, as a last resort, no root. What a learner notices of it
// is in [Provider.Differences].
//
// # Where the state is
//
// Everything is below the state directory; nothing is known from memory alone.
//
//	<instance>/sandboxes/<id>/sandbox.json   what it was made with; never changes
//	                          use.json       what it is there for; replaced in one step
//	                          process.json   the kernel's process, once it runs
//	                          frozen         there while it is, or is being, frozen
//	                          disk.img       its disk (or upper.tar, see below)
//	<instance>/locks/<id>                    held by the process that prepares it
//	<instance>/run/                          runsc's own
//
// A sandbox's processes are nobody's children and outlive the server. They are
// found again by the path of the sandbox's directory in their command lines.
//
// # Two kinds of disk
//
// With the rights for it, a disk is a file with an ext4 file system of the
// size that the lab allows, laid over the root file system by the kernel in a
// mount namespace that only this sandbox's processes have: what is written is
// on the host's disk at once, and no mount can outlive the processes. Without
// these rights gVisor lays files in its own memory and a temporary file over
// the root file system; they are saved when the sandbox is frozen, and what
// was written after that is lost when its process dies.
//
// # Templates and spares
//
// As in package machine a template is only a name: its id is the content address
// of what is asked for. A machine takes a third of a second to make, and what a
// lab's setup starts would not outlive a template. By the id a spare is found.
//
// The package may import package sandbox and its sub-packages.
package gvisor

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// Config says where a Provider finds and keeps its machines.
type Config struct {
	// Instance tells this server's sandboxes from those of others: 1 to 16 of [a-z0-9].
	Instance string
	// Machines is the directory that "drydock image build" keeps runsc and the
	// root file systems in; see [drydock/sandbox/image.MachineDir].
	Machines string
	// StateDir is for the sandboxes. Keep it short: sockets lie in it.
	StateDir string
	// Unprivileged does without the rights of root even where it has them.
	Unprivileged bool
	Log          *slog.Logger
}

// Provider makes machines. Its methods are safe for concurrent use.
type Provider struct {
	cfg  Config
	dir  string // of this instance
	disk disk
	// rootless: runsc is to make itself a user namespace.
	rootless bool
	// cgroups: the host's control groups can be written.
	cgroups bool

	changes  dock.Changes
	taking   sync.Mutex     // one taker of spares at a time
	removals sync.WaitGroup // see Close
}

var _ sandbox.Provider = (*Provider)(nil)

// New returns a provider. It starts nothing.
func New(cfg Config) (*Provider, error) {
	if err := dock.CheckInstance(cfg.Instance); err != nil {
		return nil, err
	}
	if cfg.Machines == "" || cfg.StateDir == "" {
		return nil, errors.New("the gVisor provider needs the directory of the machines and one for its state")
	}
	for _, dir := range []*string{&cfg.Machines, &cfg.StateDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, fmt.Errorf("find the directory of the machines: %w", err)
		}
		if strings.ContainsAny(abs, ",:\\") {
			return nil, fmt.Errorf("the path %s has a comma, a colon or a backslash, which mount options cannot name", abs)
		}
		*dir = abs
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Provider{cfg: cfg, dir: filepath.Join(cfg.StateDir, cfg.Instance)}
	for _, dir := range []string{p.sandboxes(), p.locks(), p.runDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the state directory of the machines: %w", err)
		}
	}
	p.rootless = os.Geteuid() != 0 || cfg.Unprivileged
	p.cgroups = !p.rootless && canMakeCgroups()
	p.disk = overlayDisk{}
	if !p.rootless && canMount() {
		p.disk = imageDisk{}
	}
	return p, nil
}

// canMount says whether this process may mount, and whether there are loop devices.
func canMount() bool {
	return unix.Access("/dev/loop-control", unix.W_OK) == nil && hasCapability(unix.CAP_SYS_ADMIN)
}

func hasCapability(c int) bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &data[0]) == nil && data[c/32].Effective&(1<<(c%32)) != 0
}

// Kind is [sandbox.Machine].
func (p *Provider) Kind() sandbox.Kind { return sandbox.Machine }

// Durable says whether what a learner writes is on the host's disk at once; if
// not, it is saved when the sandbox is frozen.
func (p *Provider) Durable() bool { return p.disk.durable() }

// Bounded says whether the host bounds the memory and the processors of a
// sandbox, which takes the right to make control groups.
func (p *Provider) Bounded() bool { return p.cgroups }

func (p *Provider) sandboxes() string { return filepath.Join(p.dir, "sandboxes") }
func (p *Provider) locks() string     { return filepath.Join(p.dir, "locks") }
func (p *Provider) runDir() string    { return filepath.Join(p.dir, "run") }

// container is the name that runsc knows a sandbox by.
func (p *Provider) container(id string) string { return "drydock-" + p.cfg.Instance + "-" + id }
