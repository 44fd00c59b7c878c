package kind

// syscalls of the attacks by perl, which every Debian has: its numbers differ
// by machine. A call that the kernel does not know counts as refused only where
// it says so for root on the node, too.
const syscalls = `my %n = $^V && (` + "`uname -m`" + ` =~ /aarch64/)
	? (ptrace => 117, mount => 40, unshare => 97, init_module => 105, bpf => 280, keyctl => 219, setns => 268)
	: (ptrace => 101, mount => 165, unshare => 272, init_module => 175, bpf => 321, keyctl => 250, setns => 308);
sub try { my ($name, @args) = @_; my $r = syscall($n{$name}, @args); print "$name: ", $r < 0 ? $! : "done", "\n"; exit($r < 0 && $!{EPERM} ? 1 : 0) }
`

// call is a perl program that exits with 0 unless the kernel says EPERM.
func call(perl string) string {
	return "perl -MErrno -e '" + syscalls + perl + "'"
}

// terminalAttacks start in the terminal's container, which is all of a machine
// that a learner touches directly. Their controls do the same as root on the
// node, where nothing is in the way.
func terminalAttacks() []attack {
	const eperm = "Operation not permitted"
	return []attack{
		{name: "engine socket", refused: "no socket",
			script: "for s in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock; do " +
				"[ -S $s ] && exit 0; done; found=$(find / -xdev -type s 2>/dev/null | grep -v drydock); [ -z \"$found\" ] || { echo $found; exit 0; }; echo no socket; exit 1",
			control: "[ -S /run/containerd/containerd.sock ]"},
		{name: "engine port", refused: "refused|no answer",
			script: "for p in 2375 2376; do for h in $(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p') 127.0.0.1; do timeout 2 bash -c \"exec 3<>/dev/tcp/$h/$p\" && exit 0; done; done; echo no answer; exit 1"},
		{name: "becoming root", refused: "not permitted|no new privileges|effective uid is not 0|Authentication failure|nothing",
			script: "su -c true </dev/null; sudo -n true 2>/dev/null && exit 0; for f in $(find / -xdev -perm -4000 -type f 2>/dev/null); do echo setuid $f; done; " +
				"grep -q 'NoNewPrivs:.*1' /proc/self/status || exit 0; [ \"$(id -u)\" != 0 ] && echo nothing; exit 1"},
		{name: "capabilities", refused: "none",
			script:  "grep -Eq 'Cap(Eff|Prm|Inh|Amb):.*[1-9a-f]' /proc/self/status && exit 0; echo none; exit 1",
			control: "grep -Eq 'CapEff:.*[1-9a-f]' /proc/self/status"},
		{name: "cgroup write", script: "d=/sys/fs/cgroup; [ -d $d/pids ] && d=$d/pids; mkdir $d/out", refused: "Read-only|denied",
			control: "d=/sys/fs/cgroup; [ -d $d/pids ] && d=$d/pids; mkdir $d/out && rmdir $d/out"},
		{name: "limits lifted", script: "for f in /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; do [ -e $f ] && echo max >$f && exit 0; done; exit 1", refused: "Read-only|denied"},
		{name: "proc/sys write", refused: "Read-only|denied",
			// The value that is there already: harmless where it is let through.
			script: "v=$(cat /proc/sys/kernel/core_pattern); echo \"$v\" >/proc/sys/kernel/core_pattern", control: "v=$(cat /proc/sys/kernel/core_pattern); echo \"$v\" >/proc/sys/kernel/core_pattern"},
		{name: "network settings", script: "echo 1 >/proc/sys/net/ipv4/ip_forward", refused: "Read-only|denied", control: "echo 1 >/proc/sys/net/ipv4/ip_forward"},
		{name: "sysrq", script: "echo h >/proc/sysrq-trigger", refused: "Read-only|denied|No such file"},
		{name: "mount", refused: eperm,
			script: call(`try("mount", my $a = "none", my $b = "/tmp", my $c = "tmpfs", 0, 0)`), control: "mount -t tmpfs none /mnt && umount /mnt"},
		{name: "user namespace", refused: eperm, script: call(`try("unshare", 0x10000000)`), control: call(`try("unshare", 0x10000000)`)},
		{name: "mount namespace", refused: eperm, script: call(`try("unshare", 0x00020000)`), control: call(`try("unshare", 0x00020000)`)},
		{name: "namespace of another process", refused: "not permitted|denied", script: "nsenter -t 1 -m true", control: "nsenter -t 1 -m true"},
		{name: "kernel module", refused: eperm, script: call(`try("init_module", 0, 0, my $a = "")`), control: call(`try("init_module", 0, 0, my $a = "")`)},
		{name: "BPF program", refused: eperm, script: call(`try("bpf", 0, 0, 0)`), control: call(`try("bpf", 0, 0, 0)`)},
		{name: "ptrace of the container's init", refused: eperm, script: call(`try("ptrace", 16, 1, 0, 0)`)},
		{name: "processes of the host", refused: "none of them",
			// What is seen is the container's own; an engine's daemon would show.
			script:  "cat /proc/[0-9]*/comm | grep -E '^(dockerd|containerd|systemd|kubelet|drydock)$' && exit 0; echo none of them; exit 1",
			control: "cat /proc/[0-9]*/comm | grep -qE '^(containerd|systemd|kubelet)$'"},
		{name: "raw socket", refused: eperm, script: `perl -e 'socket(S, 2, 3, 1) and exit 0; print "$!\n"; exit 1'`, control: `perl -e 'socket(S, 2, 3, 1) and exit 0; exit 1'`},
		{name: "packet socket", refused: eperm, script: `perl -e 'socket(S, 17, 3, 0x300) and exit 0; print "$!\n"; exit 1'`, control: `perl -e 'socket(S, 17, 3, 0x300) and exit 0; exit 1'`},
		{name: "other address", refused: eperm, script: "ip address add 192.0.2.77/32 dev eth0", control: "ip address add 192.0.2.77/32 dev eth0 && ip address del 192.0.2.77/32 dev eth0"},
		{name: "device node", script: "mknod /tmp/disk b 8 0", refused: eperm, control: "mknod /tmp/disk b 8 0 && rm /tmp/disk"},
		{name: "memory of the machine", script: "for f in /dev/mem /dev/kmem /proc/kcore; do [ -r $f ] && head -c1 $f | grep -q . && exit 0; done; echo nothing to read; exit 1", refused: "nothing to read"},
		{name: "write to the image", script: "touch /usr/local/bin/kubectl /etc/passwd", refused: "Read-only|denied"},
		{name: "shells' supervisor", refused: "denied|not permitted|No such", script: "kill -9 1; ls /run/drydock/* 2>&1; exit 1"},
		{name: "keys of the platform", refused: "none", // the administrator's kubeconfig never enters the sandbox
			script: "grep -rslE 'kubernetes-admin|client-key-data' / --include=*config* --include=*.conf 2>/dev/null | grep -v ^/proc && exit 0; env | grep -i docker && exit 0; echo none; exit 1"},
	}
}

// containerAttacks start as root in a pod that the learner may make.
func containerAttacks() []attack {
	return []attack{
		{name: "mount", from: fromPod, script: "mount -t tmpfs none /mnt", refused: "denied|not permitted", control: "mount -t tmpfs none /mnt && umount /mnt"},
		{name: "remount of a read-only path", from: fromPod, script: "mount -o remount,rw /proc/sys", refused: "denied|not permitted|can't find"},
		{name: "proc/sys write", from: fromPod, script: "v=$(cat /proc/sys/kernel/core_pattern); echo \"$v\" >/proc/sys/kernel/core_pattern", refused: "Read-only|denied"},
		{name: "cgroup write", from: fromPod, script: "d=/sys/fs/cgroup; [ -d $d/memory ] && d=$d/memory; mkdir $d/out", refused: "Read-only|denied"},
		{name: "cgroup release agent", from: fromPod, script: "mkdir /tmp/c; mount -t cgroup -o memory cgroup /tmp/c || mount -t cgroup2 none /tmp/c", refused: "denied|not permitted"},
		{name: "namespaces", from: fromPod, script: "unshare -m true", refused: "not permitted", control: "unshare -m true"},
		{name: "kernel module", from: fromPod, script: "echo x >/tmp/x.ko; insmod /tmp/x.ko", refused: "not permitted"},
		{name: "the machine's disk", from: fromPod, refused: "not permitted",
			// Making the node is allowed, as everywhere in Kubernetes; opening it is not.
			script: "for d in $(sed 's/:.*//' /sys/block/*/dev >/dev/null; cat /sys/block/*/dev | tr : ,); do rm -f /tmp/d; mknod /tmp/d b ${d%,*} ${d#*,} && head -c1 /tmp/d && exit 0; done; exit 1"},
		{name: "clock", from: fromPod, refused: "not permitted", // its exit code is 0 all the same
			script: "date -s \"$(date '+%Y-%m-%d %H:%M:%S')\" 2>&1 | grep 'not permitted' && exit 1"},
		{name: "host name", from: fromPod, script: "hostname out", refused: "not permitted"},
		{name: "reboot", from: fromPod, script: "reboot -f 2>&1 | grep 'not permitted' && exit 1", refused: "not permitted"},
		{name: "processes of the node", from: fromPod, refused: "none of them",
			script: "cat /proc/[0-9]*/comm | grep -E '^(containerd|systemd|kubelet|kube-apiserver|etcd)$' && exit 0; echo none of them; exit 1"},
		{name: "API server's local port", from: fromPod, script: "nc -w 3 127.0.0.1 1055 </dev/null", refused: "refused"},
		{name: "seccomp", from: fromPod, script: "grep -q 'Seccomp:.*0' /proc/self/status && exit 0; echo filtered; exit 1", refused: "filtered",
			control: "grep -q 'Seccomp:.*0' /proc/self/status"},
	}
}
