package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// job is one run of a program.
type job struct {
	argv    []string
	dir     string
	uid     int
	gid     int
	env     []string
	stdin   *os.File // nil: none
	timeout time.Duration
	memory  int64
}

// outcome is how it went.
type outcome struct {
	output []byte
	cpu    time.Duration
	wall   time.Duration
	failed string        // in words; empty when it ended well
	others time.Duration // processor time of everybody else meanwhile,
	window time.Duration // which is this long: preparations are in it
}

// seconds of what is measured.
func (o outcome) seconds(m Measure) float64 {
	if m == Wall {
		return o.wall.Seconds()
	}
	return o.cpu.Seconds()
}

// runner runs programs, one at a time. It is the reaper of whatever they leave.
type runner struct {
	self string // this program, which becomes the others
}

// newRunner makes this process the parent of all orphans among its descendants.
func newRunner(self string) (*runner, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of the programs: %w", err)
	}
	return &runner{self: self}, nil
}

// run runs a program and everything that it starts to its end. The error is
// ours; what the program does wrong is in the outcome.
func (r *runner) run(ctx context.Context, j job) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	stdout, stderr, ready := &tap{limit: MaxOutput, full: cancel}, &tap{limit: maxComplain}, &tap{limit: maxComplain}
	cmd := exec.Command(r.self, j.arguments()...)
	cmd.Env = append(keptEnv(), j.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if j.stdin != nil {
		cmd.Stdin = j.stdin
	}
	closeAll, err := attach(cmd, stdout, stderr, ready)
	if err != nil {
		return outcome{}, err
	}
	before, opened := othersTime(), monotonic()
	if err := cmd.Start(); err != nil {
		closeAll()
		return outcome{}, fmt.Errorf("run a program: %w", err)
	}
	closeAll()
	// It and its group at once; who has left that, when the program itself has ended.
	stop := context.AfterFunc(ctx, func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Process.Kill()
	})
	waitErr := cmd.Wait()
	end := monotonic()
	late := !stop()
	orphans, err := reapAll()
	if err != nil {
		return outcome{}, err
	}
	after, window := othersTime(), monotonic()-opened
	for _, t := range []*tap{stdout, stderr, ready} {
		<-t.done // nobody is left who could hold it open
	}
	o := outcome{output: stdout.kept.Bytes(), others: max(0, after-before), window: window}
	begin, spent, complaint := readReady(ready.kept.String())
	switch usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage); {
	case complaint != "":
		o.failed = complaint
	case stdout.over:
		o.failed = fmt.Sprintf("it printed more than %d MiB", MaxOutput>>20)
	case late:
		o.failed = "it had not ended after " + strconv.FormatFloat(j.timeout.Seconds(), 'g', 3, 64) + " s"
	case waitErr != nil:
		o.failed = endWords(cmd.ProcessState, stderr.kept.String())
	default:
		o.wall = end - begin
		o.cpu = max(0, cpuOf(usage)+orphans-spent)
	}
	return o, nil
}

// attach connects a command's outputs to taps through pipes. What it returns
// closes this process' copies of the command's ends.
func attach(cmd *exec.Cmd, stdout, stderr, ready *tap) (closeAll func(), err error) {
	var ends []*os.File
	closeAll = func() {
		for _, f := range ends {
			f.Close()
		}
	}
	for _, t := range []*tap{stdout, stderr, ready} {
		read, write, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("run a program: %w", err)
		}
		ends = append(ends, write)
		t.done = make(chan struct{})
		go t.drain(read)
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = ends[0], ends[1], ends[2:]
	return closeAll, nil
}

// tap keeps the first bytes of a stream, and reads all of it.
type tap struct {
	limit int
	full  func() // called when there is more
	kept  bytes.Buffer
	over  bool
	done  chan struct{}
}

func (t *tap) drain(r *os.File) {
	defer close(t.done)
	defer r.Close()
	_, _ = io.CopyN(&t.kept, r, int64(t.limit)) // it ends where the stream does
	if n, _ := io.CopyN(io.Discard, r, 1); n == 0 {
		return
	}
	t.over = true
	if t.full != nil {
		t.full()
	}
	_, _ = io.Copy(io.Discard, r)
}

// markName is the variable by which the processes of an abandoned command are
// found and killed; see package dock.
const markName = "DRYDOCK_EXEC="

// keptEnv is what all programs have.
func keptEnv() []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LANG=C.UTF-8"}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, markName) {
			env = append(env, variable)
		}
	}
	return env
}

func cpuOf(usage *syscall.Rusage) time.Duration {
	if usage == nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // it cannot fail
	}
	return time.Duration(now.Nano())
}

// endWords says how a program has failed.
func endWords(state *os.ProcessState, complaint string) string {
	status, _ := state.Sys().(syscall.WaitStatus)
	words := fmt.Sprintf("it ended with code %d", status.ExitStatus())
	if status.Signaled() {
		words = "it was ended by the signal " + unix.SignalName(status.Signal())
	}
	if complaint = strings.TrimSpace(strings.ToValidUTF8(complaint, "�")); complaint != "" {
		words += ": " + complaint
	}
	return words
}

// errLeft: something cannot be killed, which no program is meant to manage.
var errLeft = errors.New("a process that was started cannot be ended")

// reapTimeout is for the end of processes that were killed.
const reapTimeout = 10 * time.Second

// reapAll kills all descendants of this process and waits for their ends. It
// returns the time that they, and what they had waited for, have taken.
func reapAll() (time.Duration, error) {
	var spent time.Duration
	give := time.Now().Add(reapTimeout)
	for {
		left := descendants()
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have gone
		}
		reaped := false
		for {
			var usage unix.Rusage
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, &usage)
			if err != nil && !errors.Is(err, unix.EINTR) || err == nil && pid == 0 {
				break
			}
			if err == nil {
				reaped = true
				spent += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
			}
		}
		if len(left) == 0 && !reaped {
			return spent, nil
		}
		if time.Now().After(give) {
			return spent, errLeft
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}

// process is what /proc says of one.
type process struct {
	parent int
	spent  time.Duration // by itself, and by the children it has waited for
}

// clockTick is the unit of times in /proc (USER_HZ), which is the same on all processors that Drydock runs on.
const clockTick = 10 * time.Millisecond

func processes() map[int]process {
	all := map[int]process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return all
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has gone
		}
		// The name, in brackets, may contain anything. After it: state, ppid, …, utime, stime, cutime, cstime (proc(5)).
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		const parent, utime, cutime, cstime = 1, 11, 13, 14
		if len(fields) <= cstime {
			continue
		}
		var p process
		p.parent, _ = strconv.Atoi(fields[parent]) // the kernel writes numbers
		own, waited := ticks(fields[utime:cutime]), ticks(fields[cutime:cstime+1])
		if exact, ok := clockOf(pid); ok {
			own = exact
		}
		p.spent = own + waited
		all[pid] = p
	}
	return all
}

func ticks(fields []string) time.Duration {
	var sum time.Duration
	for _, f := range fields {
		n, _ := strconv.ParseInt(f, 10, 64) // the kernel writes numbers
		sum += time.Duration(n) * clockTick
	}
	return sum
}

// clockOf reads the clock of a process' processor time (clock_getcpuclockid(3)),
// which is finer than what /proc says. Not every kernel has it.
func clockOf(pid int) (time.Duration, bool) {
	const scheduler = 2
	var spent unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduler), &spent)
	return time.Duration(spent.Nano()), err == nil
}

// descendants are the processes that this one has started, and theirs.
func descendants() []int { return descendantsIn(processes()) }

func descendantsIn(all map[int]process) []int {
	ours := map[int]bool{os.Getpid(): true}
	var found []int
	for grew := true; grew; {
		grew = false
		for pid, p := range all {
			if !ours[pid] && ours[p.parent] {
				ours[pid], grew = true, true
				found = append(found, pid)
			}
		}
	}
	return found
}

// othersTime is the processor time that all other processes in sight have taken.
func othersTime() time.Duration {
	all := processes()
	for _, pid := range append(descendantsIn(all), os.Getpid()) {
		delete(all, pid)
	}
	var sum time.Duration
	for _, p := range all {
		sum += p.spent
	}
	return sum
}
