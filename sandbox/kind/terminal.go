package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/shell"
)

const (
	shellProgram = "/usr/local/bin/drydock-shell"
	learnerHome  = "/home/learner"
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
		Name: n.terminal + endPreparing,
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
		return engineError("make the terminal", err)
	}
	if _, err := p.cfg.Engine.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		return engineError("start the terminal", err)
	}
	return nil
}

// Terminal attaches to a shell in the learner's terminal container. ctx bounds
// the attaching only.
func (p *Provider) Terminal(ctx context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	if err := shell.CheckTab(spec.Tab); err != nil {
		return nil, err
	}
	c, err := p.find(ctx, session, roleTerminal)
	if err != nil {
		return nil, err
	}
	conn, err := p.attach(ctx, c.ID, spec)
	if err != nil {
		return nil, fmt.Errorf("open terminal %s of session %s: %w", spec.Tab, session, err)
	}
	return &terminal{Conn: conn, provider: p, container: c.ID}, nil
}

func (p *Provider) attach(ctx context.Context, id string, spec sandbox.TerminalSpec) (*shell.Conn, error) {
	created, err := p.cfg.Engine.ExecCreate(ctx, id, client.ExecCreateOptions{
		User: rootUser, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Cmd: []string{shellProgram, "attach", "-tab", spec.Tab, "-from", strconv.FormatInt(spec.From, 10),
			"-cols", strconv.Itoa(int(spec.Size.Cols)), "-rows", strconv.Itoa(int(spec.Size.Rows))},
	})
	if err != nil {
		return nil, engineError("ask the engine", err)
	}
	attached, err := p.cfg.Engine.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, engineError("start the connection", err)
	}
	s := newStream(attached.HijackedResponse)
	stop := context.AfterFunc(ctx, func() { s.Close() })
	conn, err := shell.NewConn(s)
	if !stop() && err == nil {
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return conn, nil
}

// stream is the standard input and output of an exec, as one stream.
type stream struct {
	*io.PipeReader
	conn   client.HijackedResponse
	stderr *capture
	ended  chan struct{} // closed when stderr is complete
}

// maxComplaint is more than the attach command ever says.
const maxComplaint = 4 << 10

func newStream(conn client.HijackedResponse) *stream {
	r, w := io.Pipe()
	s := &stream{PipeReader: r, conn: conn, stderr: &capture{left: maxComplaint}, ended: make(chan struct{})}
	go func() {
		_, err := stdcopy.StdCopy(w, s.stderr, conn.Reader)
		close(s.ended)
		w.CloseWithError(err) // nil is io.EOF
	}()
	return s
}

func (s *stream) Write(p []byte) (int, error) { return s.conn.Conn.Write(p) }

func (s *stream) Close() error {
	s.PipeReader.Close()
	s.conn.Close()
	return nil
}

// explain adds what the attach command said before it ended.
func (s *stream) explain(err error) error {
	<-s.ended
	if said := strings.TrimSpace(s.stderr.String()); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// terminal tells a connection that broke from a shell that is gone with its container.
type terminal struct {
	*shell.Conn
	provider  *Provider
	container string
}

func (t *terminal) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if err == nil || err == io.EOF || !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	found, inspectErr := t.provider.cfg.Engine.ContainerInspect(ctx, t.container, client.ContainerInspectOptions{})
	switch {
	case inspectErr != nil && gone(inspectErr):
		return n, fmt.Errorf("%w: its container is gone", sandbox.ErrShellGone)
	case inspectErr != nil:
		return n, engineError("look what became of the terminal", inspectErr)
	case found.Container.State == nil || !found.Container.State.Running:
		return n, fmt.Errorf("%w: its container has stopped", sandbox.ErrShellGone)
	}
	return n, fmt.Errorf("the connection to the terminal broke: %w", err)
}

// CloseTerminal ends a shell. Closing what is not open is no error.
func (p *Provider) CloseTerminal(ctx context.Context, session, tab string) error {
	if err := shell.CheckTab(tab); err != nil {
		return err
	}
	c, err := p.find(ctx, session, roleTerminal)
	if err != nil {
		return err
	}
	res, err := p.execIn(ctx, c.ID, rootUser, sandbox.Command{Argv: []string{shellProgram, "close", "-tab", tab}})
	if err == nil && res.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(string(res.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("close terminal %s of session %s: %w", tab, session, err)
	}
	return nil
}
