package bench

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"drydock/sandbox/machine/boot"
)

// BecomeVerb is the first argument with which a program calls [Become] of the
// others, which has to be the first thing that it does.
const BecomeVerb = "bench-become"

// execTries is how often a program is executed that the kernel says to try again.
const execTries = 100

// readyFD is where a process says that it is about to become the program.
const readyFD = 3

// arguments with which this program becomes another one.
func (j job) arguments() []string {
	return append([]string{BecomeVerb, "-uid", strconv.Itoa(j.uid), "-gid", strconv.Itoa(j.gid), "-dir", j.dir,
		"-seconds", strconv.Itoa(int(j.timeout/time.Second) + 1), "-memory", strconv.FormatInt(j.memory, 10), "--"}, j.argv...)
}

// Become gives up all rights, sets the limits, and executes a program. The
// caller has locked the thread. It returns only when it can't, and has said so.
func Become(args []string) error {
	ready := os.NewFile(readyFD, "ready")
	unix.CloseOnExec(readyFD)
	err := become(args, ready)
	fmt.Fprintf(ready, "failed %v", err)
	return err
}

func become(args []string, ready *os.File) error {
	flags := flag.NewFlagSet(BecomeVerb, flag.ContinueOnError)
	uid, gid := flags.Int("uid", 0, "user"), flags.Int("gid", 0, "group")
	dir := flags.String("dir", "/", "directory to start in")
	seconds, memory := flags.Uint64("seconds", 0, "processor time"), flags.Uint64("memory", 0, "bytes of data")
	if err := flags.Parse(args); err != nil {
		return err
	}
	argv := flags.Args()
	if len(argv) == 0 || *uid == 0 || *gid == 0 {
		return errors.New("there is no program, or no user to run it as")
	}
	if err := boot.Confine(*uid, *gid, maxProcs); err != nil {
		return err
	}
	if err := os.Chdir(*dir); err != nil {
		return fmt.Errorf("it cannot be started in %s: %w", *dir, errors.Unwrap(err))
	}
	program, err := exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return fmt.Errorf("%s cannot be run: %w", argv[0], innermost(err))
	}
	for resource, most := range map[int]uint64{
		// What hangs is killed from outside; this is for what nobody watches any more.
		unix.RLIMIT_CPU: *seconds, unix.RLIMIT_FSIZE: maxFileSize,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("set resource limit %d: %w", resource, err)
		}
	}
	if err := execute(program, argv, *memory, ready); err != nil {
		return fmt.Errorf("%s cannot be run: %w", argv[0], err)
	}
	return nil
}

// execute says that the program begins, limits its memory, and becomes it. The
// limit may be less than a program in Go takes: nothing is allocated after it.
func execute(program string, argv []string, memory uint64, ready *os.File) error {
	path, err := unix.BytePtrFromString(program)
	if err != nil {
		return err
	}
	arguments, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	fmt.Fprintf(ready, "%d %d\n", monotonic(), usage.Utime.Nano()+usage.Stime.Nano())
	limit := unix.Rlimit{Cur: memory, Max: memory}
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_DATA, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	for range execTries {
		_, _, errno = unix.RawSyscall(unix.SYS_EXECVE,
			uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&arguments[0])), uintptr(unsafe.Pointer(&env[0])))
		if errno != unix.EAGAIN { // a thread of the runtime's is just coming
			break
		}
	}
	return errno
}

func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// readReady reads what Become has said: when the program began, what was spent
// until then, and why there is none.
func readReady(said string) (begin, spent time.Duration, complaint string) {
	if _, why, failed := strings.Cut(said, "failed "); failed {
		return 0, 0, why
	}
	var b, s int64
	if n, err := fmt.Sscan(said, &b, &s); n != 2 || err != nil {
		return 0, 0, "it could not be started"
	}
	return time.Duration(b), time.Duration(s), ""
}
