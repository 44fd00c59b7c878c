package gvisor

import (
	"fmt"
	"os"
	"path/filepath"

	"drydock/sandbox/image"
	"drydock/sandbox/machine/boot"
)

// machinePath has root's programs last: a learner looks for ip and ss, too.
const machinePath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

// readyScript waits for the keeper of the shells, and lets debuggers attach to
// processes of the same user, as they can in the other machines. It is given the host's name,
// the most that /etc/rc.local may take in seconds and, where the machine is a
// new one, its id.
const readyScript = `echo 0 >/proc/sys/kernel/yama/ptrace_scope || true
while ! [ -S /run/drydock/shell.sock ]; do sleep 0.005; done
if [ "${3-}" ]; then
	rm -f /etc/hostname /etc/hosts /etc/resolv.conf /etc/machine-id /etc/mtab
	echo "$1" >/etc/hostname
	printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n' "$1" >/etc/hosts
	echo '# This machine has no network.' >/etc/resolv.conf
	echo "$3" >/etc/machine-id
	ln -s /proc/self/mounts /etc/mtab
fi
if [ -f /etc/rc.local ] && ! [ -L /etc/rc.local ] && [ -x /etc/rc.local ]; then
	timeout "$2" /etc/rc.local </dev/null >/run/rc.local.log 2>&1 || true
fi`

// capabilities are given to all sets of a process.
func capabilities(names ...string) map[string][]string {
	caps := map[string][]string{}
	for _, set := range []string{"bounding", "effective", "permitted"} {
		caps[set] = append([]string{}, names...)
	}
	return caps
}

// changeCapabilities are what it takes to become the learner, or the keeper of
// the learner's shells, and to give up the rest; see package machine/boot.
var changeCapabilities = []string{"CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"}

// rootCapabilities are those of the machine's root in its own kernel; none
// reaches the host's.
var rootCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
}

// writeBundle writes the machine's specification as runsc reads it (the OCI
// runtime specification, version 1.2).
func (p *Provider) writeBundle(b *box) error {
	type object = map[string]any
	name := p.container(b.ID)
	const quiet, cgroups = "noexec", "cgroup"
	mount := func(where, kind, source string, options ...string) object {
		return object{"destination": where, "type": kind, "source": source, "options": append([]string{"nosuid"}, options...)}
	}
	const period = 100_000 // microseconds, the kernel's default
	spec := object{
		"ociVersion": "1.2.0",
		"hostname":   boot.Hostname,
		"root":       object{"path": filepath.Join(b.dir, rootDir)},
		"process": object{
			"user":            object{"uid": 0, "gid": 0},
			"args":            []string{"/bin/sh", image.MachineInit, name, fmt.Sprint(b.Limits.PIDs - serverPIDs), fmt.Sprint(b.Limits.PIDs)},
			"env":             []string{"PATH=" + machinePath, "LANG=C.UTF-8"},
			"cwd":             "/",
			"capabilities":    capabilities(changeCapabilities...),
			"noNewPrivileges": true,
		},
		"mounts": []object{
			mount("/proc", "proc", "proc", quiet, "nodev"),
			mount("/sys", "sysfs", "sysfs", quiet, "nodev", "ro"),
			mount("/sys/fs/cgroup", cgroups, "cgroup2", quiet, "nodev"),
			mount("/run", "tmpfs", "tmpfs", "nodev", "mode=755", "size="+boot.RunSize),
			mount("/dev/shm", "tmpfs", "tmpfs", quiet, "nodev", "mode=1777", "size="+boot.ShmSize),
		},
		"linux": object{
			"namespaces": []object{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}},
			"resources": object{
				"memory": object{"limit": b.Limits.Memory, "swap": b.Limits.Memory},
				"cpu":    object{"quota": int64(b.Limits.CPUs * period), "period": period},
				"pids":   object{"limit": b.Limits.PIDs*hostProcesses + hostReserve},
			},
		},
	}
	if p.cgroups {
		spec["linux"].(object)["cgroupsPath"] = "/" + name
	}
	if _, err := os.Stat(b.path(upperFile)); err == nil {
		spec["annotations"] = map[string]string{"dev.gvisor.tar.rootfs.upper": b.path(upperFile)}
	}
	if !p.disk.durable() {
		spec["root"] = object{"path": filepath.Join(b.Root, "rootfs")}
	}
	for _, dir := range []string{rootDir, mountDir, filesDir} {
		if err := os.MkdirAll(b.path(dir), 0o700); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(b.path(bundleDir), "config.json"), spec)
}
