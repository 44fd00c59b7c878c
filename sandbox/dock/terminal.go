package dock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/shell"
)

// ShellProgram is where images that learners work in have drydock-shell.
const ShellProgram = "/usr/local/bin/drydock-shell"

// Terminal attaches to a shell that drydock-shell keeps in the place given,
// whose user must be the supervisor's. ctx bounds the attaching only.
func (r Runner) Terminal(ctx context.Context, place Place, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	if err := shell.CheckTab(spec.Tab); err != nil {
		return nil, err
	}
	conn, err := r.attach(ctx, place, spec)
	if err != nil {
		return nil, err
	}
	return &terminal{Conn: conn, runner: r, container: place.Container}, nil
}

func (r Runner) attach(ctx context.Context, place Place, spec sandbox.TerminalSpec) (*shell.Conn, error) {
	_, attached, err := r.start(ctx, place.Container, client.ExecCreateOptions{
		User: place.User, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Cmd: slices.Concat(place.Enter, []string{ShellProgram, "attach", "-tab", spec.Tab, "-from", strconv.FormatInt(spec.From, 10),
			"-cols", strconv.Itoa(int(spec.Size.Cols)), "-rows", strconv.Itoa(int(spec.Size.Rows))}),
	})
	if err != nil {
		return nil, err
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
	stderr *Capture
	ended  chan struct{} // closed when stderr is complete
}

// maxComplaint is more than the attach command ever says.
const maxComplaint = 4 << 10

func newStream(conn client.HijackedResponse) *stream {
	r, w := io.Pipe()
	s := &stream{PipeReader: r, conn: conn, stderr: NewCapture(maxComplaint), ended: make(chan struct{})}
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
	runner    Runner
	container string
}

func (t *terminal) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if err == nil || err == io.EOF || !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	found, inspectErr := t.runner.Engine.ContainerInspect(ctx, t.container, client.ContainerInspectOptions{})
	switch {
	case inspectErr != nil && Gone(inspectErr):
		return n, fmt.Errorf("%w: its container is gone", sandbox.ErrShellGone)
	case inspectErr != nil:
		return n, Error("look what became of the terminal", inspectErr)
	case found.Container.State == nil || !found.Container.State.Running:
		return n, fmt.Errorf("%w: its container has stopped", sandbox.ErrShellGone)
	}
	return n, fmt.Errorf("the connection to the terminal broke: %w", err)
}

// CloseTerminal ends a shell. Closing what is not open is no error.
func (r Runner) CloseTerminal(ctx context.Context, place Place, tab string) error {
	if err := shell.CheckTab(tab); err != nil {
		return err
	}
	res, err := r.Exec(ctx, place, sandbox.Command{Argv: []string{ShellProgram, "close", "-tab", tab}})
	if err == nil && res.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(string(res.Stderr)))
	}
	return err
}
