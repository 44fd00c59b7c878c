package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a way to keep what is written in a machine.
type disk interface {
	// fresh makes a new disk in a sandbox's directory.
	fresh(ctx context.Context, b *box) error
	// command prepares a command of runsc's that starts the machine with its disk.
	command(ctx context.Context, p *Provider, b *box, args ...string) *exec.Cmd
	// keep writes down what a machine that stands still has written so far.
	keep(ctx context.Context, p *Provider, b *box) error
	// settle waits until nobody uses the disk in a sandbox's directory.
	settle(ctx context.Context, dir string) error
	// check mends the disk of a machine that has ended in any way.
	check(ctx context.Context, b *box) error
	// used is how much of the host's disk a disk takes, in bytes.
	used(dir string) int64
	// durable says whether what is written is on the host's disk at once.
	durable() bool
}

// imageDisk is a file with a file system in it.
type imageDisk struct{}

const (
	imageFile = "disk.img"
	// mountDir is where it is mounted, in the sandbox's own mount namespace.
	mountDir = "disk"
	rootDir  = bundleDir + "/rootfs"
	// journalMiB is the least that ext4 takes: the default would be a good part of a small disk.
	journalMiB = 4
)

func (imageDisk) durable() bool { return true }

func (imageDisk) fresh(ctx context.Context, b *box) error {
	path := b.path(imageFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the machine's disk: %w", err)
	}
	if err := errors.Join(f.Truncate(b.Limits.Disk), f.Close()); err != nil {
		return fmt.Errorf("make the machine's disk: %w", err)
	}
	return tool(ctx, "make the machine's disk", "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-J", "size="+strconv.Itoa(journalMiB),
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", path)
}

// mountScript runs in a mount namespace of its own and becomes runsc, whose
// processes keep the namespace and with it the mounts. It is given the
// sandbox's directory and the root file system. Discarding gives back to the
// host what is deleted; without direct I/O everything would be in memory twice.
const mountScript = `
mount -t ext4 -o loop,nodev,nosuid,noatime,discard "$1/` + imageFile + `" "$1/` + mountDir + `"
losetup --direct-io=on "$(findmnt -no SOURCE "$1/` + mountDir + `")" || true
mkdir -p "$1/` + mountDir + `/upper" "$1/` + mountDir + `/work"
chmod 755 "$1/` + mountDir + `/upper"
mount -t overlay -o "nodev,nosuid,lowerdir=$2,upperdir=$1/` + mountDir + `/upper,workdir=$1/` + mountDir + `/work" drydock "$1/` + rootDir + `"
shift 2
exec "$@"`

func (imageDisk) command(ctx context.Context, p *Provider, b *box, args ...string) *exec.Cmd {
	argv := slices.Concat([]string{"-euc", mountScript, "sh", b.dir, filepath.Join(b.Root, "rootfs"), runscPath(b.Root)},
		p.runscArgs(), []string{"--overlay2=none"}, args)
	cmd := exec.CommandContext(ctx, "/bin/sh", argv...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS}
	return cmd
}

func (imageDisk) keep(context.Context, *Provider, *box) error { return nil }

// settle waits until the kernel has written the last and let go of the file,
// which it does a moment after the last process has ended.
func (imageDisk) settle(ctx context.Context, dir string) error {
	path := filepath.Join(dir, imageFile)
	for first := true; ; first = false {
		device, err := loopDeviceOf(path)
		if err != nil || device == "" {
			return err
		}
		if !first {
			// One that was attached and never mounted does not go by itself.
			_ = exec.CommandContext(ctx, "losetup", "--detach", device).Run()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is free: %w", path, context.Cause(ctx))
		case <-time.After(lookEvery):
		}
	}
}

// loopDeviceOf finds the loop device that a file is attached to; empty for none.
func loopDeviceOf(path string) (string, error) {
	found, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return "", err
	}
	for _, f := range found {
		text, err := os.ReadFile(f)
		if err == nil && strings.TrimSuffix(strings.TrimSpace(string(text)), " (deleted)") == path {
			return "/dev/" + strings.Split(f, "/")[3], nil
		}
	}
	return "", nil
}

func (imageDisk) check(ctx context.Context, b *box) error {
	err := tool(ctx, "check the machine's disk", "e2fsck", "-p", b.path(imageFile))
	// 1: something was mended, as after a loss of power.
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return nil
	}
	return err
}

func (imageDisk) used(dir string) int64 { return allocated(filepath.Join(dir, imageFile)) }

// allocated is what a file takes on the host's disk.
func allocated(path string) int64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	const block = 512 // as stat(2) counts them
	return st.Blocks * block
}

// overlayDisk is gVisor's own: what is written is in its memory and in a
// nameless file, and is saved as a tar.
type overlayDisk struct{}

const (
	upperFile = "upper.tar"
	filesDir  = "files"
	// ownersFile beside a root file system holds what does not belong to root,
	// where one who is not root has unpacked it.
	ownersFile = "owners.tar"
)

func (overlayDisk) durable() bool { return false }

func (overlayDisk) fresh(_ context.Context, b *box) error {
	err := os.Link(filepath.Join(b.Root, ownersFile), b.path(upperFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil { // another file system
		err = copyFile(filepath.Join(b.Root, ownersFile), b.path(upperFile))
	}
	if err != nil {
		return fmt.Errorf("make the machine's disk: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

func (overlayDisk) command(ctx context.Context, p *Provider, b *box, args ...string) *exec.Cmd {
	return p.runsc(ctx, b.Root, append([]string{
		"--allow-rootfs-tar-annotation",
		fmt.Sprintf("--overlay2=root:dir=%s,size=%d", b.path(filesDir), b.Limits.Disk),
	}, args...)...)
}

func (overlayDisk) keep(ctx context.Context, p *Provider, b *box) error {
	fresh := b.path(upperFile) + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.call(ctx, b, "save the machine's files", "tar", "rootfs-upper", "--file="+fresh, p.container(b.ID)); err != nil {
		return err
	}
	return os.Rename(fresh, b.path(upperFile))
}

func (overlayDisk) check(context.Context, *box) error { return nil }

func (overlayDisk) settle(context.Context, string) error { return nil }

func (overlayDisk) used(dir string) int64 {
	// The nameless file is the kernel process'; what it has in memory counts there.
	return allocated(filepath.Join(dir, upperFile))
}

// tool runs one of the host's programs.
func tool(ctx context.Context, what, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%s: %s: %w: %s", what, name, err, tail(out))
}
