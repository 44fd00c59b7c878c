package boot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Places in the container around the machine.
const (
	// StoreDir holds the file that is the machine's disk: a volume of the engine's.
	StoreDir  = "/drydock/store"
	diskFile  = StoreDir + "/disk.img"
	diskDir   = "/drydock/disk" // where it is mounted
	upperDir  = diskDir + "/upper"
	workDir   = diskDir + "/work"
	rootDir   = "/drydock/root" // the machine's root file system
	loopMajor = 7
	// journalMiB is the least that ext4 takes: the default would be a good part of a small disk.
	journalMiB = 4
)

// mountDisk mounts the machine's disk, which it makes first if there is none.
func mountDisk(size int64) error {
	if err := makeDisk(size); err != nil {
		return err
	}
	device, err := attach(diskFile)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := os.MkdirAll(diskDir, 0o755); err != nil {
		return err
	}
	// What is deleted in the machine is given back to the host.
	err = unix.Mount(device.Name(), diskDir, "ext4", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOATIME, "discard")
	if err != nil {
		return fmt.Errorf("mount the machine's disk: %w", err)
	}
	return nil
}

// makeDisk makes the file system, under another name until it is whole. One
// that is there was cut off from its machine at any moment: its journal is replayed.
func makeDisk(size int64) error {
	if _, err := os.Stat(diskFile); err == nil {
		// 1: something was mended, as after a loss of power.
		if out, err := exec.Command("e2fsck", "-p", diskFile).CombinedOutput(); err != nil && exitCode(err) != 1 {
			return fmt.Errorf("check the machine's disk: %w: %s", err, out)
		}
		return nil
	}
	fresh := diskFile + ".new"
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the machine's disk: %w", err)
	}
	err = errors.Join(f.Truncate(size), f.Close())
	if err != nil {
		return fmt.Errorf("make the machine's disk: %w", err)
	}
	out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-J", fmt.Sprintf("size=%d", journalMiB),
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", fresh).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the machine's disk: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return os.Rename(fresh, diskFile)
}

func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// attachTries is how often another may take a free loop device first.
const attachTries = 50

// attach makes a loop device of a file. It is detached by itself once nothing
// uses it: when the mounts of this container have gone, however it ends.
func attach(path string) (*os.File, error) {
	backing, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the machine's disk: %w", err)
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("this host has no loop devices (is the kernel module loop loaded?): %w", err)
	}
	defer control.Close()
	config := unix.LoopConfig{
		Fd: uint32(backing.Fd()),
		// Without direct I/O everything would be in memory twice.
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO},
	}
	copy(config.Info.File_name[:], path)
	for try := 0; ; try++ {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := openLoop(number)
		if err == nil {
			if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
				return device, nil
			}
			device.Close()
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENXIO) || try == attachTries {
			return nil, fmt.Errorf("attach the machine's disk as a loop device: %w", err)
		}
		time.Sleep(time.Millisecond) // another took it
	}
}

// openLoop opens a loop device, for which this container's /dev has no node.
func openLoop(number int) (*os.File, error) {
	name := fmt.Sprintf("/dev/loop%d", number)
	err := unix.Mknod(name, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(number))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return os.OpenFile(name, os.O_RDWR|unix.O_CLOEXEC, 0)
}

// mountRoot lays the disk over the image's files.
func mountRoot() error {
	for _, dir := range []string{upperDir, workDir, rootDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// A new upper directory is the machine's root directory.
	if err := os.Chown(upperDir, IDBase, IDBase); err != nil {
		return err
	}
	err := unix.Mount("machine", rootDir, "overlay", unix.MS_NODEV|unix.MS_NOSUID,
		"lowerdir=/,upperdir="+upperDir+",workdir="+workDir)
	if err != nil {
		return fmt.Errorf("lay the machine's disk over the image: %w", err)
	}
	return nil
}

// ownFiles are those that the engine has made in its container, for itself.
func ownFiles(hostname string) error {
	for _, name := range []string{".dockerenv", "drydock", "run/.containerenv"} {
		if err := os.RemoveAll(filepath.Join(rootDir, name)); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/hostname":    hostname + "\n",
		"etc/hosts":       "127.0.0.1\tlocalhost\n127.0.1.1\t" + hostname + "\n::1\tlocalhost ip6-localhost ip6-loopback\n",
		"etc/resolv.conf": "# This machine has no network.\n",
		"etc/machine-id":  machineID() + "\n",
		"etc/mtab":        "",
	} {
		path := filepath.Join(rootDir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if name == "etc/mtab" {
			if err := os.Symlink("/proc/self/mounts", path); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Chown(path, IDBase, IDBase); err != nil {
			return err
		}
	}
	return nil
}
