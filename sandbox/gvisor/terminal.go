package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/shell"
)

// Terminal attaches to a shell of the machine's learner. ctx bounds the attaching only.
func (p *Provider) Terminal(ctx context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	if err := shell.CheckTab(spec.Tab); err != nil {
		return nil, err
	}
	b, err := p.serving(session)
	if err != nil {
		return nil, err
	}
	conn, err := p.attach(ctx, b, spec)
	if err != nil {
		return nil, fmt.Errorf("open terminal %s of session %s: %w", spec.Tab, session, err)
	}
	return &terminal{Conn: conn, box: b}, nil
}

func (p *Provider) attach(ctx context.Context, b *box, spec sandbox.TerminalSpec) (*shell.Conn, error) {
	if b.state() != sandbox.Running {
		return nil, fmt.Errorf("the machine is %s", b.state())
	}
	// Its life does not end with ctx.
	cmd, started, err := p.command(context.WithoutCancel(ctx), b, asKeeper, sandbox.Command{
		Argv: []string{dock.ShellProgram, "attach", "-tab", spec.Tab, "-from", strconv.FormatInt(spec.From, 10),
			"-cols", strconv.Itoa(int(spec.Size.Cols)), "-rows", strconv.Itoa(int(spec.Size.Rows))},
	})
	if err != nil {
		return nil, err
	}
	s, err := newStream(cmd, started)
	if err != nil {
		return nil, err
	}
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

// maxComplaint is more than the attach command ever says.
const maxComplaint = 4 << 10

// stream is the standard input and output of a command, as one stream.
type stream struct {
	io.WriteCloser // to the command
	out            io.ReadCloser
	cmd            *exec.Cmd
	stderr         *dock.Capture
	once           sync.Once
	ended          chan struct{} // closed when the command has ended and stderr is complete
}

func newStream(cmd *exec.Cmd, started func() bool) (*stream, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// The command's end must not close what is still to be read, as StdoutPipe would.
	read, write := io.Pipe()
	s := &stream{WriteCloser: in, out: read, cmd: cmd, stderr: dock.NewCapture(maxComplaint), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = write, s.stderr
	if err := cmd.Start(); err != nil {
		started()
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // how it ended shows in what it said
		started()
		close(s.ended)
		write.Close()
	}()
	return s, nil
}

func (s *stream) Read(p []byte) (int, error) { return s.out.Read(p) }

// Close ends the command: in the machine it ends with its input.
func (s *stream) Close() error {
	s.once.Do(func() {
		s.WriteCloser.Close()
		s.out.Close()
		_ = s.cmd.Process.Kill() // it may have ended
	})
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

// endGrace is how long a kernel that is ending may take to.
const endGrace = 2 * time.Second

// terminal tells a connection that broke from a shell that is gone with its machine.
type terminal struct {
	*shell.Conn
	box *box
}

func (t *terminal) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if err == nil || err == io.EOF || !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	// A kernel that was killed lets go of its connections before it has ended.
	for give := time.Now().Add(endGrace); t.box.alive(); time.Sleep(lookEvery) {
		if time.Now().After(give) {
			return n, fmt.Errorf("the connection to the terminal broke: %w", err)
		}
	}
	return n, fmt.Errorf("%w: its machine has stopped", sandbox.ErrShellGone)
}

// CloseTerminal ends a shell. Closing what is not open is no error.
func (p *Provider) CloseTerminal(ctx context.Context, session, tab string) error {
	if err := shell.CheckTab(tab); err != nil {
		return err
	}
	b, err := p.serving(session)
	if err != nil {
		return err
	}
	res, err := p.execIn(ctx, b, asKeeper, sandbox.Command{Argv: []string{dock.ShellProgram, "close", "-tab", tab}})
	if err == nil && res.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(string(res.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("close terminal %s of session %s: %w", tab, session, err)
	}
	return nil
}
