package kind

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

const (
	learnerHome = "/home/learner"
	// terminalHost is the host name that the learner sees.
	terminalHost = "lab"
)

// startTerminal makes the learner's container. It is what the learner can
// reach, so it gets nothing: no capabilities but the three that package shell
// explains, no way to gain others, no engine socket, a root file system that
// cannot be written.
func (p *Provider) startTerminal(ctx context.Context, b *box) error {
	n := b.names
	pids := int64(terminalPIDs)
	// Abandoned halfway, the engine would make the container all the same, when nobody looks for it any more.
	created, err := p.cfg.Engine.ContainerCreate(context.WithoutCancel(ctx), client.ContainerCreateOptions{
		Name: p.named().Of(b.id, dock.EndPreparing),
		Config: &container.Config{
			Image: p.cfg.TerminalImage, Hostname: terminalHost, Labels: p.labels(b.id, roleTerminal, b.plan.template),
		},
		HostConfig: &container.HostConfig{
			NetworkMode:    container.NetworkMode(n.cluster),
			DNS:            []netip.Addr{netip.MustParseAddr(noDNS)},
			DNSSearch:      []string{noSearch},
			DNSOptions:     dnsOptions(),
			CapDrop:        []string{"ALL"},
			CapAdd:         []string{"SETUID", "SETGID", "KILL"},
			SecurityOpt:    []string{"no-new-privileges"},
			ReadonlyRootfs: true,
			Tmpfs: map[string]string{
				"/run":      "size=1m,mode=0755",
				"/tmp":      fmt.Sprintf("size=%d,mode=1777,exec,nosuid,nodev", tmpSize),
				learnerHome: fmt.Sprintf("size=%d,mode=0700,uid=1000,gid=1000,exec,nosuid,nodev", homeSize),
			},
			Resources: container.Resources{
				Memory: terminalMemory, MemorySwap: terminalMemory, NanoCPUs: terminalCPUs * 1e9, PidsLimit: &pids,
			},
		},
		NetworkingConfig: &network.NetworkingConfig{
			EndpointsConfig: map[string]*network.EndpointSettings{n.cluster: {}},
		},
	})
	if err != nil {
		return dock.Error("make the terminal", err)
	}
	if _, err := p.cfg.Engine.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		return dock.Error("start the terminal", err)
	}
	return nil
}

// Terminal attaches to a shell where the learner works. ctx bounds
// the attaching only.
func (p *Provider) Terminal(ctx context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	_, keeper, err := p.desk(ctx, session)
	if err != nil {
		return nil, err
	}
	t, err := p.dock.Terminal(ctx, keeper, spec)
	if err != nil {
		return nil, fmt.Errorf("open terminal %s of session %s: %w", spec.Tab, session, err)
	}
	return t, nil
}

// CloseTerminal ends a shell. Closing what is not open is no error.
func (p *Provider) CloseTerminal(ctx context.Context, session, tab string) error {
	_, keeper, err := p.desk(ctx, session)
	if err != nil {
		return err
	}
	if err := p.dock.CloseTerminal(ctx, keeper, tab); err != nil {
		return fmt.Errorf("close terminal %s of session %s: %w", tab, session, err)
	}
	return nil
}
