package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	// diskFile holds the limited file system, in the volume that the engine mounts on /var.
	diskFile = "disk"
	// storeDir is beside it, and has what etcd writes: a learner who fills the
	// disk must be able to ask the cluster why, and etcd ends when it can't
	// write. What etcd takes is bounded by its own settings.
	storeDir = "store"
	// store is where that directory is while /var changes.
	store = "/kind/store.new"
	// building is where it is filled before it becomes /var.
	building = "/kind/var.new"
	// original is what the image has in /var, where no volume hides it.
	original = "/kind/var"
)

// limitVar puts a file system of the given size on /var. It lives in one file
// in the engine's volume, which takes only the room that is used.
//
// There is no journal: a killed container leaves a whole file system all the
// same, and after a crash of the machine it is checked.
func limitVar(size string) error {
	bytes, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return fmt.Errorf("%s=%q is no number of bytes", diskSetting, size)
	}
	if err := bind(filepath.Join("/var", storeDir), store); err != nil {
		return err
	}
	file := filepath.Join("/var", diskFile)
	if exists(file) {
		if err := check(file); err != nil {
			return err
		}
		err = mountLoop(file, "/var")
	} else {
		err = makeVar(file, bytes)
	}
	if err != nil {
		return err
	}
	return move(store, etcdDir)
}

// etcdDir is where kubeadm has etcd keep its store.
const etcdDir = "/var/lib/etcd"

// bind shows a directory at another path too. Both are made.
func bind(dir, at string) error {
	for _, path := range []string{dir, at} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
	}
	if err := syscall.Mount(dir, at, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", dir, at, err)
	}
	return nil
}

// move moves a mount to a directory, which is made.
func move(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount(from, to, "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the mount on %s to %s: %w", from, to, err)
	}
	return nil
}

// makeVar fills a new file system with what the image has in /var.
func makeVar(file string, size int64) error {
	unfinished := file + ".unfinished"
	if err := allocate(unfinished, size); err != nil {
		return err
	}
	err := command("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode",
		"-E", "lazy_itable_init=1,nodiscard,assume_storage_prezeroed=1,root_owner=0:0", unfinished)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(building, 0o755); err != nil {
		return err
	}
	if err := mountLoop(unfinished, building); err != nil {
		return err
	}
	if err := command("cp", "-a", original+"/.", building); err != nil {
		return err
	}
	// The name says that it is whole.
	if err := os.Rename(unfinished, file); err != nil {
		return err
	}
	return move(building, "/var")
}

// allocate makes an empty file of that size that takes no room.
func allocate(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// check repairs what a crash of the machine left; it is quick where there was none.
func check(file string) error {
	err := command("e2fsck", "-p", file)
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // errors were corrected
		return nil
	}
	return err
}

// From linux/loop.h.
const (
	loopConfigure  = 0x4c0a
	loopGetFree    = 0x4c82
	loopAutoclear  = 4
	loopMajor      = 7
	loopNameLength = 64
)

// loopConfig is struct loop_config.
type loopConfig struct {
	fd        uint32
	blockSize uint32
	info      loopInfo
	_         [8]uint64
}

// loopInfo is struct loop_info64.
type loopInfo struct {
	_        [5]uint64 // device, inode, rdevice, offset, sizelimit
	_        [3]uint32 // number, encrypt_type, encrypt_key_size
	flags    uint32
	fileName [loopNameLength]byte
	_        [loopNameLength]byte // crypt_name
	_        [32]byte             // encrypt_key
	_        [2]uint64
}

// loopTries is for other nodes that take the same free device at the same time.
const loopTries = 32

// mountLoop mounts the file system in a file. The device is given back when it
// is unmounted, which the end of the container does.
func mountLoop(file, dir string) error {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	for range loopTries {
		number, _, errno := syscall.Syscall(syscall.SYS_IOCTL, control.Fd(), loopGetFree, 0)
		if errno != 0 {
			return fmt.Errorf("find a free loop device: %w", errno)
		}
		device, err := attach(int(number), backing)
		if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENXIO) {
			continue
		}
		if err != nil {
			return err
		}
		err = syscall.Mount(device.Name(), dir, "ext4", syscall.MS_NOATIME, "")
		device.Close() // after the mount, or the device would be free again
		if err != nil {
			return fmt.Errorf("mount %s: %w", device.Name(), err)
		}
		return nil
	}
	return errors.New("all loop devices are taken by others again and again")
}

// loopNumber is the device number of a loop device, as makedev(3) puts it together.
func loopNumber(minor int) int { return minor&0xff | loopMajor<<8 | (minor&^0xff)<<12 }

func attach(number int, backing *os.File) (*os.File, error) {
	name := "/dev/loop" + strconv.Itoa(number)
	// The container's /dev shows the devices there were when it was made.
	if err := syscall.Mknod(name, syscall.S_IFBLK|0o660, loopNumber(number)); err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	device, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := loopConfig{fd: uint32(backing.Fd())}
	config.info.flags = loopAutoclear
	copy(config.info.fileName[:loopNameLength-1], backing.Name())
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), loopConfigure, uintptr(unsafe.Pointer(&config))); errno != 0 {
		device.Close()
		return nil, fmt.Errorf("attach %s: %w", name, errno)
	}
	return device, nil
}
