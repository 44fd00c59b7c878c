package gvisor

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"drydock/sandbox"
	"drydock/sandbox/machine/boot"
)

// runscArgs are the flags that all of runsc's commands get.
func (p *Provider) runscArgs() []string {
	args := []string{
		"--root=" + p.runDir(), "--platform=systrap", "--network=none", "--in-sandbox-cgroup=v2",
		// A namespace shared by all would be a mount that stays.
		"--gofer-network-namespace=new",
		// The kernel process runs as nobody and reaches files through a second process.
		"--directfs=false",
	}
	if p.rootless {
		args = append(args, "--rootless")
	}
	if !p.cgroups {
		args = append(args, "--ignore-cgroups")
	}
	return args
}

func runscPath(root string) string { return filepath.Join(root, "runsc") }

// runsc prepares a command of runsc's.
func (p *Provider) runsc(ctx context.Context, root string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, runscPath(root), append(p.runscArgs(), args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	// A Ctrl+C in the server's terminal is not meant for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// call runs one of runsc's short commands on a sandbox.
func (p *Provider) call(ctx context.Context, b *box, what string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := p.runsc(ctx, b.Root, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if !b.alive() {
		return fmt.Errorf("%s: the machine %s does not run", what, b.ID)
	}
	return fmt.Errorf("%s: %w: %s", what, err, tail(out))
}

const (
	// callTimeout bounds what takes runsc some 20 ms.
	callTimeout = 30 * time.Second
	// startTimeout bounds the start of a machine, which takes a quarter of a second.
	startTimeout = time.Minute
	// killTimeout bounds the end of killed processes.
	killTimeout = 20 * time.Second
	// between two looks at something that tells nobody when it happens.
	lookEvery = 2 * time.Millisecond
	// tailSize of a failed program's output tells why.
	tailSize = 2 << 10
)

func tail(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) > tailSize {
		text = append([]byte("…"), text[len(text)-tailSize:]...)
	}
	return string(text)
}

// process is the kernel of a running sandbox. The number alone could be
// another's after a restart of the machine.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in ticks since the boot
	Boot  string `json:"boot"`
}

func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it there is one boot
	return strings.TrimSpace(string(text))
}

// startedAt returns the time of a process' start, and whether it runs. One that
// has ended and that nobody has asked after does not.
func startedAt(pid int) (uint64, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	// The name is in parentheses and may have any character in it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const state, start = 0, 19
	if len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return 0, false
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 64)
	return ticks, err == nil
}

// alive says whether the sandbox's kernel runs.
func (b *box) alive() bool {
	_, ok := b.process()
	return ok
}

func (b *box) process() (process, bool) {
	var proc process
	if readJSON(b.path(processFile), &proc) != nil || proc.Boot != bootID() {
		return proc, false
	}
	start, ok := startedAt(proc.PID)
	return proc, ok && start == proc.Start
}

// launch starts the machine's kernel and notes its process.
func (p *Provider) launch(ctx context.Context, b *box) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.writeBundle(b); err != nil {
		return fmt.Errorf("start the machine: %w", err)
	}
	log, err := os.OpenFile(b.path(logFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start the machine: %w", err)
	}
	defer log.Close()
	cmd := p.disk.command(ctx, p, b, "run", "--detach", "--bundle="+b.path(bundleDir), "--pid-file="+b.path(pidFile), p.container(b.ID))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("start the machine: %w", context.Cause(ctx))
		}
		said, _ := os.ReadFile(b.path(logFile))
		return fmt.Errorf("start the machine: %w: %s", err, tail(said))
	}
	text, err := os.ReadFile(b.path(pidFile))
	if err != nil {
		return fmt.Errorf("start the machine: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("start the machine: %w", err)
	}
	start, ok := startedAt(pid)
	if !ok {
		said, _ := os.ReadFile(b.path(logFile))
		return fmt.Errorf("start the machine: it ended at once: %s", tail(said))
	}
	return writeJSON(b.path(processFile), process{PID: pid, Start: start, Boot: bootID()})
}

// quench ends all processes of a sandbox and removes what runsc and the kernel
// hold of it. The disk stays.
func (p *Provider) quench(ctx context.Context, b *box) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	// Whoever is starting it comes first, or it would appear after this.
	if err := killAll(ctx, b.dir); err != nil {
		return err
	}
	name := p.container(b.ID)
	if _, err := os.Stat(runscPath(b.Root)); err == nil && p.knownToRunsc(name) {
		// What it cannot do, the following does.
		if out, err := p.runsc(ctx, b.Root, "delete", "--force", name).CombinedOutput(); err != nil {
			p.cfg.Log.Debug("runsc does not delete a machine", "machine", b.ID, "err", err, "said", tail(out))
		}
	}
	if err := killAll(ctx, b.dir); err != nil {
		return err
	}
	for _, pattern := range []string{filepath.Join(p.runDir(), name+"_*"), filepath.Join(p.runDir(), "runsc-"+name+".sock"),
		// Where runsc goes when the path is too long for a socket.
		"/run/runsc-" + name + ".sock", "/tmp/runsc-" + name + ".sock"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove what runsc has of the machine %s: %w", b.ID, err)
			}
		}
	}
	if p.cgroups {
		removeCgroups(ctx, name)
	}
	if err := p.disk.settle(ctx, b.dir); err != nil {
		return err
	}
	for _, name := range []string{processFile, frozenFile, pidFile} {
		if err := os.Remove(b.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p *Provider) knownToRunsc(name string) bool {
	found, err := filepath.Glob(filepath.Join(p.runDir(), name+"_*"))
	return err == nil && len(found) > 0
}

// killAll ends all processes that name the sandbox's directory in their
// command line, and waits until they have gone.
func killAll(ctx context.Context, dir string) error {
	killed := map[int]uint64{} // when each started
	for {
		left, err := processesOf(dir)
		if err != nil {
			return fmt.Errorf("look for the machine's processes: %w", err)
		}
		for _, pid := range left {
			if start, ok := startedAt(pid); ok {
				killed[pid] = start
				_ = unix.Kill(pid, unix.SIGKILL) // it may have gone meanwhile
			}
		}
		// A process that is ending has no command line any more, but still its files.
		maps.DeleteFunc(killed, func(pid int, start uint64) bool {
			now, ok := startedAt(pid)
			return !ok || now != start
		})
		if len(killed) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end the machine's processes %v: %w", slices.Sorted(maps.Keys(killed)), context.Cause(ctx))
		case <-time.After(lookEvery):
		}
	}
}

// processesOf returns the processes of runsc's with a sandbox's directory in
// their command line: the kernel, its file server, commands, and what starts them.
func processesOf(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !bytes.Contains(line, []byte("runsc")) || !names(line, dir) {
			continue
		}
		if _, ok := startedAt(pid); ok {
			found = append(found, pid)
		}
	}
	return found, nil
}

// names says whether one of a command line's words is about a path in dir, and
// about no other's whose name only begins like it.
func names(line []byte, dir string) bool {
	for word := range bytes.SplitSeq(line, []byte{0}) {
		_, rest, found := bytes.Cut(word, []byte(dir))
		if found && (len(rest) == 0 || !isWordByte(rest[0])) {
			return true
		}
	}
	return false
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// ready waits until the machine takes learners in, gives it an identity if it
// is new, and starts what the lab wants started.
func (p *Provider) ready(ctx context.Context, b *box, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout+boot.RCTimeout)
	defer cancel()
	var id [16]byte
	rand.Read(id[:]) // never fails
	argv := []string{"/bin/sh", "-euc", readyScript, "sh", boot.Hostname, strconv.Itoa(int(boot.RCTimeout.Seconds()))}
	if fresh {
		argv = append(argv, hex.EncodeToString(id[:]))
	}
	res, err := p.execIn(ctx, b, asRoot, sandbox.Command{Argv: argv})
	if err != nil {
		return fmt.Errorf("set up the machine: %w", err)
	}
	if res.ExitCode != 0 {
		said, _ := os.ReadFile(b.path(logFile))
		return fmt.Errorf("set up the machine: exit code %d: %s", res.ExitCode, tail(slices.Concat(res.Stdout, res.Stderr, said)))
	}
	return nil
}
