package kind

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"drydock/sandbox/dock"
)

// Freeze stops all processes where they are, the terminal's first.
func (p *Provider) Freeze(ctx context.Context, session string) error {
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return err
	}
	return p.freeze(ctx, id)
}

func (p *Provider) freeze(ctx context.Context, id string) error {
	return p.each(ctx, id, roleTerminal, func(c container.Summary) error {
		if c.State == container.StatePaused {
			return nil
		}
		return dock.Error("freeze the sandbox "+id, p.dock.Freeze(ctx, c.ID))
	})
}

// Keep says so in the sandbox's name first, so that a crash leaves one that is kept.
func (p *Provider) Keep(ctx context.Context, session string) error {
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	id, to, err := p.resolve(ctx, session)
	if err != nil {
		return err
	}
	if err := p.rename(ctx, id, to.KeptEnd()); err != nil {
		return fmt.Errorf("keep the cluster of session %s: %w", session, err)
	}
	return p.freeze(ctx, id)
}

// Thaw lets them go on, the node's first.
func (p *Provider) Thaw(ctx context.Context, session string) error {
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return err
	}
	return p.thaw(ctx, id)
}

func (p *Provider) thaw(ctx context.Context, id string) error {
	return p.each(ctx, id, roleNode, func(c container.Summary) error {
		if c.State != container.StatePaused {
			return nil
		}
		_, err := p.cfg.Engine.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
		return dock.Error("thaw the sandbox "+id, err)
	})
}

// each visits the containers of a sandbox, those with the role given first.
func (p *Provider) each(ctx context.Context, id, first string, visit func(container.Summary) error) error {
	list, err := p.containers(ctx, id)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return notFound(id)
	}
	slices.SortFunc(list, func(a, b container.Summary) int {
		if a.Labels[dock.LabelRole] == first {
			return -1
		}
		return 1
	})
	for _, c := range list {
		if err := visit(c); err != nil {
			return err
		}
	}
	return nil
}

// recoverTimeout bounds the start of a stopped cluster, which takes some 20 s
// on a small machine.
const recoverTimeout = 3 * time.Minute

// Recover starts the sandbox's containers again and waits until its API
// answers. The shells are new, and so is what lay in the learner's home.
func (p *Provider) Recover(ctx context.Context, session string) error {
	ctx, done, err := p.changes.Begin(ctx, session)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return err
	}
	if err := dock.Error("wall the sandbox in", p.wall.Ensure(ctx)); err != nil { // a restart of the machine has lost the rules
		return fmt.Errorf("recover session %s: %w", session, err)
	}
	err = p.each(ctx, id, roleNode, func(c container.Summary) error {
		if c.State == container.StatePaused {
			_, err := p.cfg.Engine.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
			return dock.Error("thaw a container", err)
		}
		_, err := p.cfg.Engine.ContainerStart(ctx, c.ID, client.ContainerStartOptions{})
		return dock.Error("start a container", err)
	})
	if err != nil {
		return fmt.Errorf("recover session %s: %w", session, err)
	}
	if err := p.reopen(ctx, id); err != nil {
		return fmt.Errorf("recover session %s: %w", session, err)
	}
	return nil
}

// reopen waits for a cluster that was started again and renews the learner's
// kubeconfig, which was lost with the terminal's memory.
func (p *Provider) reopen(ctx context.Context, id string) error {
	keys, err := p.accessTo(ctx, id)
	if err != nil {
		return err
	}
	if err := keys.waitForAPI(ctx); err != nil {
		return err
	}
	if err := keys.waitForNode(ctx, nodeName); err != nil {
		return err
	}
	namespace, err := keys.defaultNamespace(ctx)
	if err != nil {
		return err
	}
	return p.giveKubeconfig(ctx, id, keys, namespace)
}

// The administrator's kubeconfig on the node, and the port of its API server.
const (
	adminConfig   = "/etc/kubernetes/admin.conf"
	apiServerPort = 6443
	// maxAdminConfig bounds what is read of a file that the learner of a lab
	// with access to the node can write.
	maxAdminConfig = 1 << 20
)

// KubeConfig returns the administrator's kubeconfig as kind gives it out: the
// node's own with the address that the engine publishes on this machine.
func (p *Provider) KubeConfig(ctx context.Context, session string) ([]byte, error) {
	id, _, err := p.resolve(ctx, session)
	if err != nil {
		return nil, err
	}
	return p.kubeConfig(ctx, id)
}

func (p *Provider) kubeConfig(ctx context.Context, id string) ([]byte, error) {
	node := p.names(id).node // the engine takes a name for an id
	raw, err := p.readFile(ctx, node, adminConfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of sandbox %s: %w", id, err)
	}
	cfg, err := clientcmd.Load(raw)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of sandbox %s: %w", id, err)
	}
	server, err := p.publishedServer(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("find the API server of sandbox %s: %w", id, err)
	}
	trusted, err := plainConfig(cfg, server)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of sandbox %s: %w", id, err)
	}
	return clientcmd.Write(*trusted)
}

// plainConfig takes certificates and a key out of a kubeconfig and nothing
// else. Who is root on the node can write the file, and this program would run
// a command, read a file or call an address that it names.
func plainConfig(cfg *clientcmdapi.Config, server string) (*clientcmdapi.Config, error) {
	current := cfg.Contexts[cfg.CurrentContext]
	if current == nil || cfg.Clusters[current.Cluster] == nil || cfg.AuthInfos[current.AuthInfo] == nil {
		return nil, errors.New("it has no current context with a cluster and a user")
	}
	cluster, user := cfg.Clusters[current.Cluster], cfg.AuthInfos[current.AuthInfo]
	if len(cluster.CertificateAuthorityData) == 0 || len(user.ClientCertificateData) == 0 || len(user.ClientKeyData) == 0 {
		return nil, errors.New("it lacks a certificate or a key")
	}
	plain := clientcmdapi.NewConfig()
	plain.CurrentContext = cfg.CurrentContext
	plain.Contexts[cfg.CurrentContext] = &clientcmdapi.Context{Cluster: current.Cluster, AuthInfo: current.AuthInfo}
	plain.Clusters[current.Cluster] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: cluster.CertificateAuthorityData}
	plain.AuthInfos[current.AuthInfo] = &clientcmdapi.AuthInfo{
		ClientCertificateData: user.ClientCertificateData, ClientKeyData: user.ClientKeyData,
	}
	return plain, nil
}

// publishedServer is the API server's address on this machine. kind fixes the
// port when it makes the node, so it outlives a restart.
func (p *Provider) publishedServer(ctx context.Context, id string) (string, error) {
	found, err := p.cfg.Engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return "", dock.Error("inspect the node", err)
	}
	port, ok := network.PortFrom(apiServerPort, network.TCP)
	if !ok || found.Container.HostConfig == nil || len(found.Container.HostConfig.PortBindings[port]) == 0 {
		return "", errors.New("the node publishes no API server")
	}
	return "https://127.0.0.1:" + found.Container.HostConfig.PortBindings[port][0].HostPort, nil
}

// readFile reads a file of a container, also of one that is frozen or stopped.
func (p *Provider) readFile(ctx context.Context, id, path string) ([]byte, error) {
	found, err := p.cfg.Engine.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: path})
	if dock.Absent(err) {
		return nil, fmt.Errorf("%s is not there: the cluster has not started yet", path)
	}
	if err != nil {
		return nil, dock.Error("copy "+path, err)
	}
	defer found.Content.Close()
	archive := tar.NewReader(found.Content)
	if _, err := archive.Next(); err != nil {
		return nil, dock.Error("copy "+path, err)
	}
	return io.ReadAll(io.LimitReader(archive, maxAdminConfig))
}
