// Package dock is what providers share whose sandboxes are made of containers
// of an engine. It owns how a command in a container is fed, read and ended,
// how the server's side of a terminal is joined to drydock-shell, which of the
// engine's errors mean that it is dead or that something has gone, the labels
// and the names by which sandboxes are found again after a crash, and the
// order of what one process does for a session.
//
// It may import package sandbox and sandbox/shell.
package dock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"drydock/sandbox"
)

// Runner runs things in the containers of one engine.
type Runner struct {
	Engine  *client.Client
	Log     *slog.Logger
	Freezer *Freezer
}

// Place is where a command runs.
type Place struct {
	Container string // its id
	User      string // who the engine starts the command as
	// Enter precedes the command: a program that goes on to where the command belongs.
	Enter []string
}

// RootUser is the user of what the server runs for itself.
const RootUser = "0:0"

// Error says what was attempted and tells a dead engine, [sandbox.ErrEngine],
// from one that refuses. Of nil it makes nil.
func Error(attempt string, err error) error {
	if err == nil {
		return nil
	}
	var op *net.OpError
	dead := client.IsErrConnectionFailed(err) || errors.As(err, &op) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if dead && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w: %w", attempt, sandbox.ErrEngine, err)
	}
	return fmt.Errorf("%s: %w", attempt, err)
}

// Gone says that something else has removed what was asked for, or is doing so.
func Gone(err error) bool { return errdefs.IsNotFound(err) || errdefs.IsConflict(err) }

// Absent says that what was asked for is not there.
func Absent(err error) bool { return errdefs.IsNotFound(err) }
