// Package firewall lets the containers of a sandbox reach their own sandbox and
// nothing else: not the internet, not the machine they run on at any of its
// addresses, not its neighbours, not another sandbox.
//
// The container engine keeps its networks apart from each other, but gives each
// of them a way to the machine and through it. So every network of a sandbox
// gets a bridge whose name begins as [Bridge] says, and one table of nftables
// in the engine's own network namespace drops what comes from such bridges.
// What a sandbox's container does with addresses, routes and raw packets of its
// own (a cluster's node is root in its network) makes no difference to that.
//
// A server may have nothing but the engine's socket, so the table is put there
// by a container that lives for a moment: it runs nft in the machine's network
// namespace and has no other right.
//
// The package may import the engine's client and nothing else of Drydock's.
package firewall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Labels of the container that sets the rules.
const (
	labelInstance = "drydock.instance"
	labelRole     = "drydock.role"
	role          = "firewall"
)

const (
	// goodFor is how long rules that were put in place are taken to be there.
	// What flushes them (a reload of the machine's own firewall) tells nobody.
	goodFor = time.Minute
	// runTimeout bounds one run of nft, which takes half a second.
	runTimeout = time.Minute
	// Of a container that runs nft.
	memory = 64 << 20
	pids   = 16
	// maxOutput is more than the rules take.
	maxOutput = 64 << 10
)

// ErrOpen: the rules are not in place.
var ErrOpen = errors.New("the sandboxes' firewall is not in place")

// Config says whose networks are walled in, and by what.
type Config struct {
	// Instance is that of the server: 1 to 16 of [a-z0-9].
	Instance string
	// Image is one on the engine that has nft: the node image.
	Image  string
	Engine *client.Client
}

// Firewall keeps the rules of one instance in place. Its methods are safe for
// concurrent use.
type Firewall struct {
	cfg Config

	mu   sync.Mutex
	good string    // the engine's generation for which the rules were set
	at   time.Time // when that was
}

// New returns a firewall. It does not talk to the engine.
func New(cfg Config) *Firewall { return &Firewall{cfg: cfg} }

// The parts of a bridge's name: an interface's name has at most 15 bytes.
const (
	namePrefix    = "dk"
	instanceBytes = 5
	idBytes       = 8
)

// Bridge is the name of the bridge of a sandbox's network, for the engine's
// option [BridgeOption]. Sandboxes have different ones, and the rules know them
// by their beginning.
func Bridge(instance, id string) string {
	return prefix(instance) + short(instance+"/"+id, idBytes)
}

// BridgeOption is the option of the engine's bridge driver that names a network's bridge.
const BridgeOption = "com.docker.network.bridge.name"

func prefix(instance string) string { return namePrefix + short(instance, instanceBytes) }

// short is the beginning of a hash, of a to z and 2 to 7.
func short(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:n]
}

func (f *Firewall) table() string { return "inet drydock_" + f.cfg.Instance }

// rules is what nft is given: one transaction that makes the table anew.
//
// Both chains come before the engine's own rules; what they drop is gone, and
// what they let through is still subject to those.
//
// Of what arrives from a sandbox, IPv6 is dropped, since no sandbox's network
// has it; next, packets whose source does not belong there. Then the machine
// takes replies to what it has asked itself, as it does through a published
// port, and passes on what stays within the same bridge (which it sees only
// where bridged packets are filtered, as Docker sets it up).
// Nothing is passed on into a sandbox from elsewhere.
func (f *Firewall) rules() string {
	from := fmt.Sprintf("iifname %q", prefix(f.cfg.Instance)+"*")
	to := fmt.Sprintf("oifname %q", prefix(f.cfg.Instance)+"*")
	chain := func(name string, lines ...string) string {
		return fmt.Sprintf("chain %s { type filter hook %s priority filter - 10; policy accept; %s; }", name, name, strings.Join(lines, "; "))
	}
	body := chain("input",
		from+" meta nfproto ipv6 drop",
		from+" fib saddr . iif oif missing drop",
		from+" ct state established,related accept",
		from+" drop",
	) + "\n" + chain("forward",
		from+" meta nfproto ipv6 drop",
		from+" fib saddr . iif oif missing drop",
		from+" fib daddr . iif oif exists accept",
		from+" drop",
		to+" drop",
	)
	table := f.table()
	return fmt.Sprintf("table %s { }\ndelete table %s\ntable %s {\ncomment %q\n%s\n}\n", table, table, table, mark(body), body)
}

// mark tells the rules of this version from those of another.
func mark(body string) string { return "drydock " + short(body, 16) }

// Ensure puts the rules in place. It costs one question to the engine when
// they were a moment ago, and else a short-lived container.
func (f *Firewall) Ensure(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	generation, err := f.generation(ctx)
	if err != nil {
		return fmt.Errorf("wall the sandboxes in: %w", err)
	}
	if generation != "" && generation == f.good && time.Since(f.at) < goodFor {
		return nil
	}
	begun := time.Now()
	if _, err := f.nft(ctx, f.rules()); err != nil {
		return fmt.Errorf("wall the sandboxes in: %w", err)
	}
	f.good, f.at = generation, begun
	return nil
}

// Check says whether the rules are in place, without changing anything: it
// returns [ErrOpen] when they are not.
func (f *Firewall) Check(ctx context.Context) error {
	listed, err := f.nft(ctx, "list table "+f.table())
	switch {
	case errors.Is(err, errNFT) && strings.Contains(err.Error(), "No such file or directory"):
		return ErrOpen
	case err != nil:
		return fmt.Errorf("look at the sandboxes' firewall: %w", err)
	}
	_, want, _ := strings.Cut(f.rules(), "comment ")
	want, _, _ = strings.Cut(want, "\n")
	if !strings.Contains(listed, "comment "+want) || strings.Count(listed, " drop") != strings.Count(f.rules(), " drop") {
		return fmt.Errorf("%w: its rules are those of another version", ErrOpen)
	}
	return nil
}

// Remove takes the rules away, for when the instance has no sandboxes any more.
func (f *Firewall) Remove(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good = ""
	if _, err := f.nft(ctx, fmt.Sprintf("table %s { }\ndelete table %s\n", f.table(), f.table())); err != nil {
		return fmt.Errorf("take the sandboxes' firewall away: %w", err)
	}
	return nil
}

// generation changes with every start of the engine, which makes its default
// network anew. An engine without that network has none that is known.
func (f *Firewall) generation(ctx context.Context) (string, error) {
	found, err := f.cfg.Engine.NetworkInspect(ctx, "bridge", client.NetworkInspectOptions{})
	if errdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask the engine for its default network: %w", err)
	}
	return found.Network.ID, nil
}

// errNFT: nft did not do as it was told.
var errNFT = errors.New("nft failed")

// nft runs nft in the engine's network namespace and returns what it prints.
func (f *Firewall) nft(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	if err := f.Sweep(ctx); err != nil {
		return "", err
	}
	limit := int64(pids)
	// Abandoned halfway, the engine would make the container all the same.
	created, err := f.cfg.Engine.ContainerCreate(context.WithoutCancel(ctx), client.ContainerCreateOptions{
		Config: &container.Config{
			Image: f.cfg.Image, Entrypoint: []string{"nft"}, Cmd: []string{script},
			Labels: map[string]string{labelInstance: f.cfg.Instance, labelRole: role},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "host", CapDrop: []string{"ALL"}, CapAdd: []string{"NET_ADMIN"},
			SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: true,
			Resources: container.Resources{Memory: memory, MemorySwap: memory, PidsLimit: &limit},
		},
	})
	if err != nil {
		return "", fmt.Errorf("make a container that runs nft: %w", err)
	}
	id := created.ID
	defer f.remove(context.WithoutCancel(ctx), id)
	wait := f.cfg.Engine.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := f.cfg.Engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return "", fmt.Errorf("start the container that runs nft: %w", err)
	}
	select {
	case end := <-wait.Result:
		return f.output(ctx, id, end.StatusCode)
	case err := <-wait.Error:
		return "", fmt.Errorf("wait for nft: %w", err)
	}
}

// remove removes a container that ran nft. What it fails to remove, Sweep does.
func (f *Firewall) remove(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	_, _ = f.cfg.Engine.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
}

func (f *Firewall) output(ctx context.Context, id string, code int64) (string, error) {
	logs, err := f.cfg.Engine.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", fmt.Errorf("read what nft said: %w", err)
	}
	defer logs.Close()
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, io.LimitReader(logs, maxOutput)); err != nil {
		return "", fmt.Errorf("read what nft said: %w", err)
	}
	if code != 0 {
		return "", fmt.Errorf("%w (exit %d): %s", errNFT, code, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Sweep removes the containers that ran nft for a server that was killed; those
// of a living one are younger than a minute.
func (f *Firewall) Sweep(ctx context.Context) error { return f.sweep(ctx, runTimeout) }

// sweep removes those that are older than that.
func (f *Firewall) sweep(ctx context.Context, age time.Duration) error {
	left, err := f.cfg.Engine.ContainerList(ctx, client.ContainerListOptions{All: true,
		Filters: make(client.Filters).Add("label", labelInstance+"="+f.cfg.Instance, labelRole+"="+role)})
	if err != nil {
		return fmt.Errorf("look for what an earlier run left: %w", err)
	}
	for _, c := range left.Items {
		if time.Since(time.Unix(c.Created, 0)) > age {
			f.remove(ctx, c.ID)
		}
	}
	return nil
}
