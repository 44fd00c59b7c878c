package dock

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"drydock/sandbox"
)

const (
	// ExecMark is a variable in the environment of everything that Exec
	// starts. The engine cannot end a command; by its value the processes are found.
	ExecMark = "DRYDOCK_EXEC"
	// endTimeout bounds the ending of an abandoned command.
	endTimeout = 10 * time.Second
)

// Exec runs a command and waits for it. When ctx ends first, the command's
// input ends and its processes are killed.
func (r Runner) Exec(ctx context.Context, place Place, cmd sandbox.Command) (sandbox.Result, error) {
	ctx, output, cancel := NewOutput(ctx, cmd)
	defer cancel()
	mark := ExecMark + "=" + rand.Text()
	id, attached, err := r.start(ctx, place.Container, client.ExecCreateOptions{
		User: place.User, Cmd: slices.Concat(place.Enter, cmd.Argv), Env: append([]string{mark}, cmd.Env...),
		AttachStdin: cmd.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return sandbox.Result{}, err
	}
	defer attached.Close()
	abandoned := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(abandoned)
		_ = attached.CloseWrite() // also in a frozen sandbox, where no process can be killed
		r.end(place, mark)
		attached.Close()
	})
	if cmd.Stdin != nil {
		go func() {
			// A command may end without reading its input: its output tells how it went.
			_, _ = io.Copy(attached.Conn, cmd.Stdin)
			_ = attached.CloseWrite()
		}()
	}
	_, err = stdcopy.StdCopy(output.Stdout, output.Stderr, attached.Reader)
	res := output.Result()
	if !stop() {
		<-abandoned
		return res, context.Cause(ctx)
	}
	if err != nil {
		return res, Error("read the command's output", err)
	}
	res.ExitCode, err = r.exitCode(ctx, id)
	return res, err
}

// exitCode waits until the engine has noticed the end of a command whose
// output has ended, which takes it a moment longer.
func (r Runner) exitCode(ctx context.Context, exec string) (int, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		state, err := r.Engine.ExecInspect(ctx, exec, client.ExecInspectOptions{})
		if err != nil {
			return 0, Error("ask how the command ended", err)
		}
		if !state.Running {
			return state.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// EndScript kills the processes that have its first argument in their environment.
const EndScript = `for p in /proc/[0-9]*; do
  if [ "${p#/proc/}" != $$ ] && grep -qzxF -- "$1" "$p/environ"; then kill -9 "${p#/proc/}"; fi
done 2>/dev/null`

// end kills what an abandoned command has started. The engine's container sees
// it also where the command has gone on from there.
func (r Runner) end(place Place, mark string) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	_, attached, err := r.start(ctx, place.Container, client.ExecCreateOptions{
		User: place.User, Cmd: []string{"/bin/sh", "-c", EndScript, "sh", mark}, AttachStdout: true,
	})
	if err == nil {
		defer attached.Close()
		stop := context.AfterFunc(ctx, attached.Close)
		defer stop()
		_, err = io.Copy(io.Discard, attached.Reader)
	}
	// When the container is gone, so are its processes.
	if err != nil && !Gone(err) && !errors.Is(err, context.DeadlineExceeded) {
		r.Log.Warn("an abandoned command may still run", "container", place.Container, "error", err)
	}
}

// maxLog is more than a program says that can't start.
const maxLog = 8 << 10

// Logs returns the end of what a container's first process has printed.
func (r Runner) Logs(ctx context.Context, id string) (string, error) {
	found, err := r.Engine.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "20"})
	if err != nil {
		return "", Error("read the container's log", err)
	}
	defer found.Close()
	said := NewCapture(maxLog)
	if _, err := stdcopy.StdCopy(said, said, found); err != nil {
		return "", Error("read the container's log", err)
	}
	return strings.TrimSpace(said.String()), nil
}
