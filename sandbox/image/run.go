package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a build tool may take to clean up after itself when the
// build is cancelled: mmdebstrap has a directory of some hundred MB to remove.
const stopGrace = 15 * time.Second

// tailLines of a failed command's output are shown: enough for a compiler's errors.
const tailLines = 20

// command prepares a build tool. Cancelling stops it together with everything it started.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	return cmd
}

// run runs a build tool with its output going to log. The error of one that
// fails carries the command line and the end of the output.
func run(ctx context.Context, cmd *exec.Cmd, log io.Writer) error {
	var all bytes.Buffer
	out := io.MultiWriter(&all, log)
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not installed: run \"sandbox/engine/setup.sh up\"", cmd.Args[0])
	}
	return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, tail(all.Bytes()))
}

func tail(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return strings.Join(lines, "\n")
}

// output runs a build tool and returns what it printed, without the last newline.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := run(ctx, cmd, io.Discard); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// goCommand prepares a run of the go tool in the module at dir, with env added
// to the environment.
func goCommand(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := command(ctx, dir, "go", args...)
	// A workspace above the source tree would replace the versions that the recipe pins.
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	return cmd
}

func goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	return output(ctx, goCommand(ctx, dir, nil, args...))
}

// MissingTools returns the programs that a build runs and this machine lacks.
func MissingTools() []string {
	var missing []string
	for _, name := range []string{"go", "gcc", "mmdebstrap"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}
