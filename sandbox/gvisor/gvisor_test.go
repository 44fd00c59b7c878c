package gvisor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/sandbox/sandboxtest"
)

const testInstance = "gvisortest"

// newTestProvider needs what "drydock image build --no-engine" makes, and says so.
func newTestProvider(t *testing.T, state string, unprivileged bool) *Provider {
	t.Helper()
	if testing.Short() {
		t.Skip("needs gVisor's runsc and the machine's files: make test runs it")
	}
	machines, err := image.MachineDir()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Instance: testInstance, Machines: machines, StateDir: state, Unprivileged: unprivileged})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.CurrentMachineRoot(machines); err != nil {
		t.Fatal(err)
	}
	return p
}

// stateDir is short enough for the sockets in it.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestProvider(t *testing.T) {
	for _, unprivileged := range []bool{false, true} {
		name := map[bool]string{false: "Root", true: "Unprivileged"}[unprivileged]
		t.Run(name, func(t *testing.T) {
			dir := stateDir(t)
			p := newTestProvider(t, dir, unprivileged)
			if p.Durable() == unprivileged {
				t.Fatalf("durable: %v", p.Durable())
			}
			sandboxtest.Test(t, func(t *testing.T) sandbox.Provider { return newTestProvider(t, dir, unprivileged) }, host{p})
		})
	}
}

// host does to the machine beneath a provider what the suite asks for.
type host struct{ *Provider }

// Interrupt kills the kernel's process.
func (h host) Interrupt(ctx context.Context, session string) error {
	b, err := h.serving(session)
	if err != nil {
		return err
	}
	if !h.Durable() {
		// What is not on the disk yet is lost with the process: that is said of it.
		if err := h.freeze(ctx, b); err != nil {
			return err
		}
	}
	return killAll(ctx, b.dir)
}

// Remains looks for everything of the test's instance.
func (h host) Remains(context.Context, string) ([]string, error) {
	var left []string
	for _, pattern := range []string{
		filepath.Join(h.sandboxes(), "*"), filepath.Join(h.locks(), "*"), filepath.Join(h.runDir(), "*"),
		"/run/runsc-drydock-" + testInstance + "*", "/tmp/runsc-drydock-" + testInstance + "*",
		"/sys/fs/cgroup/drydock-" + testInstance + "*", "/sys/fs/cgroup/*/drydock-" + testInstance + "*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	pids, err := processesOf(h.dir)
	for _, pid := range pids {
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
	}
	mounts, err2 := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, h.dir) {
			left = append(left, line)
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range backing {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), h.dir) {
			left = append(left, f+" "+string(text))
		}
	}
	if err == nil {
		err = err2
	}
	return left, err
}

// Reachable says whether the machine has a way to anywhere.
func (h host) Reachable(ctx context.Context, p sandbox.Provider, session string) (bool, error) {
	res, err := p.Exec(ctx, session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"sh", "-c", "ls /sys/class/net; ip -o link"}})
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(res.Stdout)) {
		if line = strings.TrimSpace(line); line != "lo" && !strings.HasPrefix(line, "1: lo:") {
			return true, nil
		}
	}
	return false, nil
}

// Inspect attacks what only these machines have: every script must fail.
func (h host) Inspect(t *testing.T, _ sandbox.Provider, session string) {
	b, err := h.serving(session)
	if err != nil {
		t.Fatal(err)
	}
	sandboxtest.Attack(t, h.Provider, session)
	for _, script := range []string{
		"ls /dev/loop* /dev/vd* /dev/sd* /dev/kvm 2>/dev/null | grep .", "head -c1 /proc/kcore",
		"echo 1 >/proc/sys/vm/drop_caches", "ls /sys/fs/cgroup/memory /proc/1/root/root/.cache 2>/dev/null | grep .", "mknod /tmp/loop b 7 0 && head -c1 /tmp/loop",
	} {
		if res := run(t, h.Provider, b, asRoot, script); res.ExitCode == 0 {
			t.Errorf("the machine's root can: %s\n%s", script, res.Stdout)
		}
	}
}
