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
	// A process of the machine's root, to be attacked.
	run(t, h.Provider, b, asRoot, "setsid sleep 4321 >/dev/null 2>&1 </dev/null &")
	const rootPID = `$(pgrep -xf "sleep 4321")`
	attacks := map[string]string{
		"mount a tmpfs":                 "mount -t tmpfs x /mnt",
		"mount proc":                    "mount -t proc x /mnt",
		"bind mount":                    "mount --bind /etc /mnt",
		"mount by the new calls":        `python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); r=l.syscall(430,b"tmpfs",0); os._exit(r<0)'`,
		"user namespace":                "unshare -Ur true",
		"user namespace by clone3":      `python3 -c 'import ctypes,os; b=(ctypes.c_uint64*11)(0x10000000); l=ctypes.CDLL(None); r=l.syscall(435,b,88); os._exit(0 if r>=0 else 1)'`,
		"network namespace":             "unshare -n true",
		"enter namespaces":              "nsenter -t 1 -a true",
		"kernel module":                 "touch /tmp/x.ko; python3 -c 'import ctypes,os; f=os.open(\"/tmp/x.ko\",0); l=ctypes.CDLL(None,use_errno=True); l.syscall(313,f,b\"\",0); os._exit(0 if ctypes.get_errno()!=1 else 1)'",
		"BPF":                           `python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); r=l.syscall(321,0,0,0); os._exit(ctypes.get_errno()==1)'`,
		"io_uring":                      `python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); l.syscall(425,1,0); os._exit(ctypes.get_errno()==1)'`,
		"keyring":                       `python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); l.syscall(250,0,-3,1); os._exit(ctypes.get_errno()==1)'`,
		"userfaultfd":                   `python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); l.syscall(323,0); os._exit(ctypes.get_errno()==1)'`,
		"system calls of 32 bits":       `cd /tmp && printf 'int main(){int r;__asm__ volatile("int $0x80":"=a"(r):"a"(20));return r<0;}' >b.c && gcc -o b b.c && ./b`,
		"raw socket":                    "python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_RAW,1)'",
		"packet socket":                 "python3 -c 'import socket; socket.socket(socket.AF_PACKET,socket.SOCK_RAW)'",
		"socket to the hypervisor":      "python3 -c 'import socket; socket.socket(40,socket.SOCK_STREAM)'",
		"kernel crypto socket":          "python3 -c 'import socket; socket.socket(38,socket.SOCK_SEQPACKET)'",
		"typing into a terminal":        `python3 -c 'import fcntl; fcntl.ioctl(0,0x5412,b"x")' </dev/tty`,
		"kill the first process":        "kill -9 1",
		"trace the first process":       "strace -p 1 -o /dev/null",
		"trace root's process":          "timeout 5 gdb -batch -p " + rootPID + " 2>&1 | grep -q '^#0'",
		"read root's memory":            "cat /proc/" + rootPID + "/maps",
		"read root's environment":       "cat /proc/" + rootPID + "/environ",
		"root's view of the disk":       "ls /proc/" + rootPID + "/root/root",
		"kill root's process":           "kill -9 " + rootPID,
		"shell of the supervisor":       "drydock-shell attach -tab mine </dev/null",
		"change the kernel's settings":  "echo 1 >/proc/sys/vm/drop_caches",
		"change the core pattern":       "echo '|/tmp/x' >/proc/sys/kernel/core_pattern",
		"change the host name":          "hostname other",
		"magic keys":                    "echo b >/proc/sysrq-trigger",
		"kernel memory":                 "head -c1 /proc/kcore",
		"kernel log":                    "dmesg",
		"raise a control group's limit": "find /sys/fs/cgroup/ -name memory.limit_in_bytes -o -name memory.max | head -1 | xargs -I{} sh -c 'echo 99999999999 >{}'",
		"leave the control group":       "find /sys/fs/cgroup/ -name cgroup.procs | head -1 | xargs -I{} sh -c 'echo $$ >{}'",
		"make a control group":          "mkdir $(find /sys/fs/cgroup/ -name cgroup.procs | head -1 | xargs dirname)/mine",
		"the engine's socket":           "test -e /var/run/docker.sock || test -e /run/docker.sock || test -e /run/containerd",
		"the disk's file":               "ls /drydock",
		"loop devices":                  "ls /dev/loop* /dev/sd* /dev/vd* /dev/mem /dev/kmsg 2>/dev/null | grep .",
		"make a device":                 "mknod /tmp/null c 1 3",
		"become root":                   "setpriv --reuid=0 true",
		"gain a capability from a file": "setcap cap_net_raw+ep /tmp/a",
		"write as root":                 "echo x >>/etc/passwd",
		"more processes":                "ulimit -u unlimited",
		"set the clock":                 "date -s 2000-01-01",
		"the metadata address":          "timeout 3 bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'",
		"the engine's bridge":           "timeout 3 bash -c 'exec 3<>/dev/tcp/172.17.0.1/22'",
		"the internet":                  "timeout 3 bash -c 'exec 3<>/dev/tcp/1.1.1.1/53'",
		"a name of the outside":         "timeout 8 getent hosts example.com",
		"an address of its own":         "ip addr add 10.9.9.9/24 dev lo",
		"reboot":                        "python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); os._exit(l.syscall(169,0xfee1dead,672274793,0x89abcdef,0)!=0)'",
		"real-time priority":            "chrt -f 50 true",
		"another's file by its handle":  "python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); l.syscall(304,3,0,0); os._exit(ctypes.get_errno()==1)'",
	}
	for name, script := range attacks {
		res, err := h.Exec(t.Context(), session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"timeout", "20", "bash", "-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		if res.ExitCode == 0 {
			t.Errorf("the learner can: %s (%s)\n%s%s", name, script, res.Stdout, res.Stderr)
		}
	}
	for _, script := range []string{
		"timeout 3 bash -c 'exec 3<>/dev/tcp/172.17.0.1/22'", "ls /dev/loop* /dev/vd* /dev/sd* /dev/kvm 2>/dev/null | grep .", "head -c1 /proc/kcore",
		"echo 1 >/proc/sys/vm/drop_caches", "ls /sys/fs/cgroup/memory /proc/1/root/root/.cache 2>/dev/null | grep .", "mknod /tmp/loop b 7 0 && head -c1 /tmp/loop",
	} {
		if res := run(t, h.Provider, b, asRoot, script); res.ExitCode == 0 {
			t.Errorf("the machine's root can: %s\n%s", script, res.Stdout)
		}
	}
	if res := run(t, h.Provider, b, asRoot, "pkill -xf 'sleep 4321'"); res.ExitCode != 0 {
		t.Error("root's process has not lived through it")
	}
}
