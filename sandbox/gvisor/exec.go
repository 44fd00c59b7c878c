package gvisor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/machine/boot"
)

const (
	// endTimeout bounds the ending of an abandoned command.
	endTimeout = 10 * time.Second
	// outputGrace is for the output of a command that has ended while something
	// that it has left running holds it open.
	outputGrace = time.Second
	// runscFailed is the exit code of runsc when it, and not the command, fails.
	runscFailed = 128
)

// account is whom a command runs as.
type account int

const (
	asRoot account = iota
	asLearner
	// asKeeper is root without rights, who owns the shells' socket.
	asKeeper
)

// learnerScript puts a command among the learner's processes. It is given the
// control group of the machine, and the program that gives up all rights with
// its arguments.
const learnerScript = `echo $$ >"/sys/fs/cgroup/$1/learner/cgroup.procs"; shift; exec "$@"`

// spec is a process as runsc reads it.
func (p *Provider) spec(b *box, as account, cmd sandbox.Command) map[string]any {
	home, argv, caps := "/root", cmd.Argv, rootCapabilities
	switch as {
	case asKeeper:
		home, caps = "/", nil
	case asLearner:
		// The program changes directory and environment, as the learner.
		home, caps = "/", changeCapabilities
		argv = append([]string{"/bin/sh", "-c", learnerScript, "sh", p.container(b.ID),
			boot.Program, "as-" + boot.LearnerName, "-pids", fmt.Sprint(b.Limits.PIDs), "--"}, argv...)
	}
	env := append([]string{"PATH=" + machinePath, "LANG=C.UTF-8", "HOME=" + home, "USER=root", "LOGNAME=root"}, cmd.Env...)
	return map[string]any{
		"args": argv, "env": env, "cwd": home, "user": map[string]int{"uid": 0, "gid": 0},
		"capabilities": capabilities(caps...), "noNewPrivileges": true,
	}
}

// command prepares runsc exec. started says, once the command has ended, whether
// the command in the machine was ever started; it is to be called once.
func (p *Provider) command(ctx context.Context, b *box, as account, cmd sandbox.Command) (c *exec.Cmd, started func() bool, err error) {
	text, err := json.Marshal(p.spec(b, as, cmd))
	if err != nil {
		return nil, nil, err
	}
	// Through a pipe: command lines and files can be read by others.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	go func() {
		_, _ = write.Write(text)
		write.Close()
	}()
	pidFile := b.path("exec-" + rand.Text())
	c = p.runsc(ctx, b.Root, "exec", "--process=/proc/self/fd/3", "--internal-pid-file="+pidFile, p.container(b.ID))
	c.ExtraFiles = []*os.File{read}
	return c, func() bool {
		read.Close()
		return os.Remove(pidFile) == nil
	}, nil
}

// Exec runs a command and waits for it. When ctx ends first, the command's processes are killed.
func (p *Provider) Exec(ctx context.Context, session string, cmd sandbox.Command) (sandbox.Result, error) {
	as := asLearner
	if cmd.Where == sandbox.OnNode {
		as = asRoot
	} else if cmd.Where != sandbox.InTerminal {
		return sandbox.Result{}, fmt.Errorf("no such place in a machine: %q", cmd.Where)
	}
	if len(cmd.Argv) == 0 {
		return sandbox.Result{}, errors.New("run a command: there is none")
	}
	b, err := p.reached(session)
	if err != nil {
		return sandbox.Result{}, err
	}
	res, err := p.execIn(ctx, b, as, cmd)
	if err != nil {
		return res, fmt.Errorf("run %q in the machine of session %s: %w", cmd.Argv, session, err)
	}
	return res, nil
}

func (p *Provider) execIn(ctx context.Context, b *box, as account, cmd sandbox.Command) (sandbox.Result, error) {
	ctx, output, cancel := dock.NewOutput(ctx, cmd)
	defer cancel()
	mark := dock.ExecMark + "=" + rand.Text()
	cmd.Env = append([]string{mark}, cmd.Env...)
	c, started, err := p.command(ctx, b, as, cmd)
	if err != nil {
		return sandbox.Result{}, err
	}
	c.Stdout, c.Stderr = output.Stdout, output.Stderr
	c.WaitDelay = outputGrace
	err = converse(c, cmd.Stdin, func() { p.end(b, mark) })
	ran := started()
	res := output.Result()
	if ctx.Err() != nil {
		return res, context.Cause(ctx)
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return res, nil
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return res, err
	}
	res.ExitCode = exit.ExitCode()
	if ran && (res.ExitCode != runscFailed || p.answers(ctx, b)) {
		return res, nil
	}
	return p.explain(b, res)
}

// converse runs a prepared command with its input. abandoned is called when the
// command's context ends first.
func converse(c *exec.Cmd, stdin io.Reader, abandoned func()) error {
	input, err := c.StdinPipe()
	if err != nil {
		return err
	}
	c.Cancel = func() error { // c.Wait ends after it
		input.Close() // also in a frozen machine, where no process can be killed
		abandoned()
		return c.Process.Kill()
	}
	if err := c.Start(); err != nil {
		return err
	}
	go func() {
		defer input.Close()
		if stdin != nil {
			// A command may end without reading its input: its output tells how it went.
			_, _ = io.Copy(input, stdin)
		}
	}()
	return c.Wait()
}

// answersTimeout bounds the shortest of commands, which takes some 20 ms.
const answersTimeout = 10 * time.Second

// answers says whether commands can be run in a machine. One whose process is
// being killed is there for a while, but does not answer.
func (p *Provider) answers(ctx context.Context, b *box) bool {
	ctx, cancel := context.WithTimeout(ctx, answersTimeout)
	defer cancel()
	c, started, err := p.command(ctx, b, asRoot, sandbox.Command{Argv: []string{"/bin/true"}})
	if err != nil {
		return false
	}
	err = c.Run()
	return started() && err == nil
}

// explain says why runsc has not run a command.
func (p *Provider) explain(b *box, res sandbox.Result) (sandbox.Result, error) {
	said := tail(res.Stderr)
	switch {
	case !b.alive() || strings.Contains(said, "connection refused") || strings.Contains(said, ": EOF"):
		return res, errors.New("the machine does not run")
	case b.frozen():
		return res, errors.New("the machine is frozen")
	// As a shell has it.
	case strings.Contains(said, "no such file or directory") || strings.Contains(said, "not found"):
		res.ExitCode = 127
		return res, nil
	case strings.Contains(said, "permission denied") || strings.Contains(said, "exec format"):
		res.ExitCode = 126
		return res, nil
	}
	return res, errors.New(said)
}

// end kills what an abandoned command has started. When the machine is gone, so are its processes.
func (p *Provider) end(b *box, mark string) {
	if !b.alive() || b.frozen() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	c, started, err := p.command(ctx, b, asRoot, sandbox.Command{Argv: []string{"/bin/sh", "-c", dock.EndScript, "sh", mark}})
	if err == nil {
		err = c.Run()
		started()
	}
	if err != nil && b.alive() && ctx.Err() == nil {
		p.cfg.Log.Warn("an abandoned command may still run", "machine", b.ID, "err", err)
	}
}
