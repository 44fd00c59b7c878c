package boot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// IDBase is the host's user and group that is root in a machine; the
	// image's files belong to it. The range is one that systemd's list of
	// user ids leaves free, like the one that follows it, and all machines share
	// it, as the containers of an engine with userns-remap do: what keeps them
	// apart is that none has a file or a process of another in sight.
	IDBase = 0x70000000
	// idCount is how many users a machine has.
	idCount = 65536
)

const (
	// Hostname is what the learner sees in the prompt.
	Hostname = "lab"
	// Program is where the image has this program.
	Program = "/usr/local/lib/drydock/drydock-machine"
	// pidFile holds the process id of the machine's first process, once the machine is ready.
	pidFile     = "/drydock/run/machine.pid"
	shellSocket = "/run/drydock/shell.sock"
	shell       = "/usr/local/bin/drydock-shell"
	rcLocal     = "/etc/rc.local"
	// UsedFile has as many bytes as are written in the machine's disk. The engine
	// tells the size of a file also while the container is frozen.
	UsedFile = "/drydock/used"

	// startTimeout bounds the start of drydock-shell; it takes some 20 ms.
	startTimeout = 30 * time.Second
	// RCTimeout bounds /etc/rc.local.
	RCTimeout = 60 * time.Second
	// stopGrace is for the shells to end when the container is stopped.
	stopGrace = 3 * time.Second
	// usedEvery is how often the disk is looked at.
	usedEvery = 5 * time.Second
)

// Config is what a machine is made with.
type Config struct {
	Hostname string
	Disk     int64  // bytes
	PIDs     uint64 // processes and threads of the whole container
}

// Serve is the first process of the container: it makes the machine, starts it
// and goes when it ends. It returns the error that kept it from that.
func Serve(cfg Config) error {
	// A pid file of an earlier run lies on the container's disk.
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := mountDisk(cfg.Disk); err != nil {
		return err
	}
	if err := mountRoot(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(rootDir, "etc", "machine-id")); errors.Is(err, os.ErrNotExist) {
		if err := ownFiles(cfg.Hostname); err != nil {
			return fmt.Errorf("write the machine's own files: %w", err)
		}
	}
	machine, err := startInner(cfg)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan error, 1)
	go func() { ended <- machine.Wait() }()
	if err := announce(machine.Process.Pid); err != nil {
		return errors.Join(err, machine.Process.Kill())
	}
	return attend(machine, stop, ended)
}

// attend waits for the end of the machine, or of the wish for it.
func attend(machine *exec.Cmd, stop <-chan os.Signal, ended <-chan error) error {
	look := time.NewTicker(usedEvery)
	defer look.Stop()
	noteUsed()
	for {
		select {
		case <-look.C:
			noteUsed()
		case err := <-ended:
			return err
		case <-stop:
			// drydock-shell hangs up its shells and ends; with it the kernel ends all others.
			_ = machine.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(stopGrace):
				_ = machine.Process.Kill()
				<-ended
			}
			return errors.Join(unmount(rootDir), unmount(diskDir))
		}
	}
}

func unmount(dir string) error {
	if err := unix.Unmount(dir, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// noteUsed tells the engine's clients how much of the disk is used. A failure
// shows as a number that stands still.
func noteUsed() {
	var st unix.Statfs_t
	if unix.Statfs(diskDir, &st) != nil {
		return
	}
	f, err := os.OpenFile(UsedFile, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_ = f.Truncate(int64(st.Blocks-st.Bfree) * st.Bsize)
}

// startInner starts the machine's first process in namespaces of its own, and
// returns when the machine has been set up.
func startInner(cfg Config) (*exec.Cmd, error) {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	cmd := exec.Command(Program, "inner", "-hostname", cfg.Hostname, "-pids", strconv.FormatUint(cfg.PIDs, 10))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: IDBase, Size: idCount}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, // root of the machine
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the machine: %w", err)
	}
	theirs.Close()
	// It says what went wrong; nothing when it goes on to become drydock-shell.
	said, err := io.ReadAll(ready)
	if err == nil && len(said) > 0 {
		err = errors.New(string(said))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up the machine: %w", err), cmd.Wait())
	}
	return cmd, nil
}

// announce waits until the machine takes learners in, and says so.
func announce(pid int) error {
	socket := filepath.Join("/proc", strconv.Itoa(pid), "root", shellSocket)
	begin := time.Now()
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		} else if time.Since(begin) > startTimeout {
			return fmt.Errorf("wait for the shells' keeper: %w", err)
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	startServices(pid)
	if err := os.MkdirAll(filepath.Dir(pidFile), 0o700); err != nil {
		return err
	}
	fresh := pidFile + ".new"
	if err := os.WriteFile(fresh, []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, pidFile)
}

// startServices runs /etc/rc.local, if a lab has left one. What it says goes to
// the container's log: a machine with a broken one is still a machine.
func startServices(pid int) {
	info, err := os.Lstat(filepath.Join("/proc", strconv.Itoa(pid), "root", rcLocal))
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o100 == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), RCTimeout)
	defer cancel()
	argv := enterArgv(pid, "root", 0, []string{rcLocal})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// What it leaves running keeps these open: they are no pipes that would have to be read to their end.
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, rcLocal+":", err)
	}
}

// enterArgv is the command line that enters the machine as a user and runs argv there.
func enterArgv(pid int, user string, pids uint64, argv []string) []string {
	return append([]string{"/usr/bin/nsenter", "--target", strconv.Itoa(pid), "--all", "--", Program,
		"as-" + user, "-pids", strconv.FormatUint(pids, 10), "--"}, argv...)
}

// Enter executes a command in the machine, as its root or as the learner. It
// waits until the machine is ready.
func Enter(user string, pids uint64, argv []string) error {
	begin := time.Now()
	for {
		text, err := os.ReadFile(pidFile)
		if err == nil {
			pid, err := strconv.Atoi(string(text))
			if err != nil {
				return fmt.Errorf("read %s: %w", pidFile, err)
			}
			line := enterArgv(pid, user, pids, argv)
			return fmt.Errorf("enter the machine: %w", syscall.Exec(line[0], line, os.Environ()))
		}
		if !errors.Is(err, os.ErrNotExist) || time.Since(begin) > startTimeout+RCTimeout {
			return fmt.Errorf("wait for the machine: %w", err)
		}
		time.Sleep(2 * time.Millisecond) // between two looks
	}
}

func machineID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
