package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Sizes of the file systems in memory; what is in them counts as the machine's memory.
const (
	RunSize = "16m" // of /run
	ShmSize = "64m" // of /dev/shm
	devSize = "64k"
)

// Bounds of what the machine's users can hold of the kernel's, one machine at
// a time; otherwise they are counted for the host's root, whom all machines share.
var userLimits = map[string]int{
	"max_inotify_instances": 128,
	"max_inotify_watches":   65536,
	"max_fanotify_groups":   16,
	// Nobody needs a namespace inside the machine but root, who can raise this.
	"max_user_namespaces": 0,
}

// readyFD is where the machine's first process says what went wrong.
const readyFD = 3

// Inner is the machine's first process, already in its own namespaces and with
// all capabilities in them. It sets the machine up and becomes drydock-shell,
// with next to none. The caller has locked the thread.
func Inner(cfg Config) error {
	ready := os.NewFile(readyFD, "ready")
	err := setUp(cfg)
	if err == nil {
		unix.CloseOnExec(readyFD)
		err = RunShell(cfg.PIDs, []string{shell})
	}
	fmt.Fprint(ready, err)
	return err
}

func setUp(cfg Config) error {
	for _, step := range []func() error{
		mountSystem, mountDevices, changeRoot, raiseLoopback, limitUsers,
		func() error { return unix.Sethostname([]byte(cfg.Hostname)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	unix.Umask(0o022)
	return nil
}

// mount mounts something below the machine's root.
func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, filepath.Join(rootDir, target), kind, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountSystem gives the machine its own view of the kernel. Nothing in /proc and
// /sys is hidden, as engines do for a root that is the host's: what tells more
// than any user of the host could read is root's there, and this root is not.
// So the machine's root can mount both again, for namespaces of its own.
func mountSystem() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part from the container's mounts: %w", err)
	}
	// A mount of one's own: those that came along can't be made the root.
	if err := unix.Mount(rootDir, rootDir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount the machine's root: %w", err)
	}
	return errors.Join(
		mount("proc", "proc", "proc", quiet, ""),
		mount("sysfs", "sys", "sysfs", quiet|unix.MS_RDONLY, ""),
		// The engine mounts them so that nothing can be written. They are there to be read.
		mount("/sys/fs/cgroup", "sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, ""),
		mount("tmpfs", "run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size="+RunSize),
		mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size="+devSize),
	)
}

// mountDevices gives the machine the devices that every program expects, and no other.
func mountDevices() error {
	dev := func(name string) string { return filepath.Join(rootDir, "dev", name) }
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := os.WriteFile(dev(name), nil, 0o666); err != nil {
			return err
		}
		if err := mount("/dev/"+name, "dev/"+name, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for _, name := range []string{"pts", "shm", "mqueue"} {
		if err := os.Mkdir(dev(name), 0o755); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, dev(name)); err != nil {
			return err
		}
	}
	return errors.Join(
		mount("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
		mount("tmpfs", "dev/shm", "tmpfs", quiet, "mode=1777,size="+ShmSize),
		mount("mqueue", "dev/mqueue", "mqueue", quiet, ""),
	)
}

// changeRoot leaves the container's file system behind.
func changeRoot() error {
	if err := os.Chdir(rootDir); err != nil {
		return err
	}
	// The old root comes to lie on the new one, from where it is taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}

// raiseLoopback starts the machine's only network, and lets everybody ping on it.
func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start the loopback network: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("start the loopback network: %w", err)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 "+strconv.Itoa(idCount-1)), 0)
}

func limitUsers() error {
	for name, most := range userLimits {
		err := os.WriteFile(filepath.Join("/proc/sys/user", name), []byte(strconv.Itoa(most)), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // not on every kernel
			return fmt.Errorf("limit %s: %w", name, err)
		}
	}
	return nil
}
