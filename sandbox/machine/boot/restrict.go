package boot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The learner's account in the machine.
const (
	LearnerID   = 1000
	LearnerName = "learner"
	LearnerHome = "/home/learner"
)

const (
	// serverPIDs of a machine's processes are kept for the server's own
	// commands, so that it can look even while a fork bomb goes off.
	serverPIDs = 64
	// minPIDs is what a shell and a few tools need.
	minPIDs = 32
	// learnerFiles bounds the open files of one process.
	learnerFiles = 65536
)

// shellCapabilities stay with the first process of the machine, drydock-shell:
// it starts the shells as the learner and ends them. Package sandbox/shell says
// why it is not the learner itself.
var shellCapabilities = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL}

// RunShell executes the keeper of the learner's shells, which runs as root with
// three capabilities, and otherwise under the learner's bounds.
func RunShell(pids uint64, argv []string) error {
	if err := errors.Join(limit(pids), bound(shellCapabilities), permit(shellCapabilities), lockDown()); err != nil {
		return err
	}
	return execute("/", "root", argv)
}

// RunAsLearner executes a command in the machine as the learner, with no more
// rights than one typed in the terminal. pids is what the whole machine may have.
func RunAsLearner(pids uint64, argv []string) error {
	if err := Confine(LearnerID, LearnerID, pids); err != nil {
		return err
	}
	return execute(LearnerHome, LearnerName, argv)
}

// Confine makes this thread, and what it executes, an unprivileged user's with
// no more rights than the learner has. The caller has locked the thread.
func Confine(uid, gid int, pids uint64) error {
	// What is needed to change the user goes with the user.
	change := []uintptr{unix.CAP_SETUID, unix.CAP_SETGID}
	return errors.Join(limit(pids), bound(nil), permit(change), become(uid, gid), lockDown())
}

// RunAsRoot executes a command in the machine as its root.
func RunAsRoot(argv []string) error { return execute("/root", "root", argv) }

// limit sets the resource limits of this process.
func limit(pids uint64) error {
	for resource, most := range map[int]uint64{
		unix.RLIMIT_NPROC:  max(pids-min(pids, serverPIDs), minPIDs),
		unix.RLIMIT_NOFILE: learnerFiles,
		unix.RLIMIT_CORE:   0, // the host decides what becomes of a core, and as whom
	} {
		var now unix.Rlimit
		if err := unix.Prlimit(0, resource, nil, &now); err != nil {
			return fmt.Errorf("look at resource limit %d: %w", resource, err)
		}
		most = min(most, now.Max) // it cannot be raised
		if err := unix.Prlimit(0, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			return fmt.Errorf("set resource limit %d: %w", resource, err)
		}
	}
	return nil
}

// bound drops all capabilities but those in keep from this thread's bounding
// set: no program that it starts has them, whoever it belongs to.
func bound(keep []uintptr) error {
	for c := uintptr(0); ; c++ {
		if slices.Contains(keep, c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // beyond this kernel's last
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
}

// permit drops all capabilities of this thread but those in keep.
func permit(keep []uintptr) error {
	var data [2]unix.CapUserData
	for _, c := range keep {
		data[c/32].Effective |= 1 << (c % 32)
		data[c/32].Permitted |= 1 << (c % 32)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop the ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// lockDown is the last step: no program gives back what was taken, and the
// kernel does only what the filter allows.
func lockDown() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	return setFilter()
}

// become changes this thread's user. The capabilities go with it.
func become(uid, gid int) error {
	u, g := uintptr(uid), uintptr(gid)
	for _, step := range []struct {
		name string
		call uintptr
		args [3]uintptr
	}{
		{"groups", unix.SYS_SETGROUPS, [3]uintptr{}},
		{"group", unix.SYS_SETRESGID, [3]uintptr{g, g, g}},
		{"user", unix.SYS_SETRESUID, [3]uintptr{u, u, u}},
	} {
		if _, _, errno := unix.RawSyscall(step.call, step.args[0], step.args[1], step.args[2]); errno != 0 {
			return fmt.Errorf("become user %d (%s): %w", uid, step.name, syscall.Errno(errno))
		}
	}
	return nil
}

// execute replaces this program. It returns only when it can't.
func execute(home, user string, argv []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := os.Chdir(home); err != nil {
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	env := append(os.Environ(), "HOME="+home, "USER="+user, "LOGNAME="+user)
	return fmt.Errorf("%s: %w", argv[0], syscall.Exec(program, argv, env))
}
