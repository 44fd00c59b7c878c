package sandboxtest

import (
	"context"
	"testing"

	"drydock/sandbox"
)

// Attack tries, as the learner of a machine, what could lead out of it, give a
// look out, or disturb others. Every script must fail.
//
// None would do harm where a defence failed: a way to another host is looked
// for by naming a peer to a datagram socket, which asks the kernel for a route
// and sends nothing; the clock is set to what it shows; the magic key asks for help.
func Attack(t *testing.T, p sandbox.Provider, session string) {
	t.Helper()
	run := func(where sandbox.Where, script string) sandbox.Result {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		res, err := p.Exec(ctx, session, sandbox.Command{Where: where, Argv: []string{"timeout", "60", "bash", "-c", script}})
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return res
	}
	// A process of the machine's root, to be attacked.
	run(sandbox.OnNode, "setsid sleep 4321 >/dev/null 2>&1 </dev/null &")
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
		"magic keys":                    "echo h >/proc/sysrq-trigger",
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
		"set the clock":                 "date -s \"@$(date +%s)\"",
		"the metadata address":          "python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).connect((\"169.254.169.254\",53))'",
		"the engine's bridge":           "python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).connect((\"172.17.0.1\",53))'",
		"the internet":                  "python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).connect((\"192.0.2.1\",53))'",
		"a name of the outside":         "timeout 8 getent hosts example.com",
		"an address of its own":         "ip addr add 10.9.9.9/24 dev lo",
		"reboot":                        "python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); os._exit(l.syscall(169,0xfee1dead,672274793,0x89abcdef,0)!=0)'",
		"real-time priority":            "chrt -f 50 true",
		"another's file by its handle":  "python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); l.syscall(304,3,0,0); os._exit(ctypes.get_errno()==1)'",
	}
	for name, script := range attacks {
		if res := run(sandbox.InTerminal, script); res.ExitCode == 0 {
			t.Errorf("the learner can: %s (%s)\n%s%s", name, script, res.Stdout, res.Stderr)
		}
	}
	// A way to itself is found, so the others are not missing for want of a look.
	if res := run(sandbox.InTerminal, "python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).connect((\"127.0.0.1\",53))'"); res.ExitCode != 0 {
		t.Errorf("the learner's machine has no way to itself: %s", res.Stderr)
	}
	if res := run(sandbox.OnNode, "pkill -xf 'sleep 4321'"); res.ExitCode != 0 {
		t.Error("root's process has not lived through it")
	}
}
