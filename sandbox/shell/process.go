package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

const (
	// drainQuiet is how long a PTY must be silent after its shell has exited
	// before its output counts as complete: the kernel hands the last bytes
	// over from a work queue. Processes the shell has left behind may hold
	// the terminal open for ever, so its end is no sign.
	drainQuiet = 50 * time.Millisecond
	// drainLimit is the most the kernel buffers in a PTY, so the most that a
	// shell can have left in it.
	drainLimit = 64 << 10
)

// process is one shell on its PTY.
type process struct {
	pid    int
	pty    *os.File
	status chan int      // gets the exit status, once
	exited chan struct{} // closed when the shell has exited

	// Guarded by the tab's lock.
	input      []input
	hangingUp  bool
	over       bool // output is complete
	exitStatus int
}

type input struct {
	data []byte
	from *peer
}

// startProcess starts the shell as the leader of a session of its own on a new PTY.
func startProcess(cfg *Config, r *reaper, cols, rows uint16) (*process, error) {
	master, slave, err := openPTY(cfg.Credential)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	p := &process{pty: master, status: make(chan int, 1), exited: make(chan struct{})}
	if err := p.resize(cols, rows); err != nil {
		master.Close()
		return nil, err
	}
	attr := &syscall.ProcAttr{
		Dir:   cfg.Dir,
		Env:   cfg.Env,
		Files: []uintptr{slave.Fd(), slave.Fd(), slave.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0, Credential: cfg.Credential},
	}
	p.pid, err = r.start(func() (int, error) {
		return syscall.ForkExec(cfg.Argv[0], cfg.Argv, attr)
	}, p.onExit)
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("%s: %w", cfg.Argv[0], err)
	}
	return p, nil
}

func (p *process) onExit(ws syscall.WaitStatus) {
	p.exitStatus = ws.ExitStatus()
	if ws.Signaled() {
		p.exitStatus = 128 + int(ws.Signal())
	}
	p.status <- p.exitStatus
	close(p.exited)
	// Interrupts a read that waits for a terminal nobody may ever close.
	_ = p.pty.SetReadDeadline(time.Now().Add(drainQuiet))
}

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *process) read(buf []byte) (int, error) {
	if p.hasExited() {
		if err := p.pty.SetReadDeadline(time.Now().Add(drainQuiet)); err != nil {
			return 0, err
		}
	}
	return p.pty.Read(buf)
}

func (p *process) resize(cols, rows uint16) error {
	if cols == 0 || rows == 0 {
		return nil // the peer does not know: programs keep what they have
	}
	raw, err := p.pty.SyscallConn()
	if err != nil {
		return err
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows})
	})
	if err = errors.Join(err, ioctl); err != nil && !p.hasExited() {
		return fmt.Errorf("resize the terminal: %w", err)
	}
	return nil
}

// signal reaches the shell's own process group; bash passes a hang-up on to its jobs.
func (p *process) signal(sig syscall.Signal) {
	if !p.hasExited() {
		_ = syscall.Kill(-p.pid, sig) // it may exit at this moment, which is what is wanted
	}
}

// openPTY opens a PTY that belongs to the user its shell runs as. The master
// is non-blocking, so that reads can be interrupted.
func openPTY(cred *syscall.Credential) (master, slave *os.File, err error) {
	var blocking *os.File
	err = asUser(cred, func() (err error) {
		blocking, slave, err = pty.Open()
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open a PTY: %w", err)
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		slave.Close()
		return nil, nil, fmt.Errorf("open a PTY: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/ptmx"), slave, nil
}

// asUser runs fn with the file-system rights of a user: files it makes belong
// to that user, and it can open no others than that user can. It asks for no
// capability but SETUID and SETGID.
func asUser(cred *syscall.Credential, fn func() error) error {
	if cred == nil || int(cred.Uid) == os.Getuid() {
		return fn()
	}
	// These ids belong to the thread. If they cannot be put back, the thread
	// stays locked and ends with the goroutine.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		restore, err := borrow(cred)
		if err == nil {
			err = fn()
		}
		if restore() == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// borrow gives this thread the file-system rights of a user until restore is
// called. A kernel that has no file-system ids of their own (gVisor) takes the
// effective ones for them.
func borrow(cred *syscall.Credential) (restore func() error, err error) {
	err = errors.Join(syscall.Setfsgid(int(cred.Gid)), syscall.Setfsuid(int(cred.Uid)))
	if !errors.Is(err, syscall.ENOSYS) {
		return func() error {
			return errors.Join(syscall.Setfsuid(os.Getuid()), syscall.Setfsgid(os.Getgid()))
		}, err
	}
	// The user last on the way there and first on the way back: only root may change the group.
	err = errors.Join(setEffective(unix.SYS_SETRESGID, int(cred.Gid)), setEffective(unix.SYS_SETRESUID, int(cred.Uid)))
	return func() error {
		return errors.Join(setEffective(unix.SYS_SETRESUID, os.Getuid()), setEffective(unix.SYS_SETRESGID, os.Getgid()))
	}, err
}

// setEffective changes an effective id of this thread alone, which Go's own functions do not.
func setEffective(call uintptr, id int) error {
	const same = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(call, same, uintptr(id), same); errno != 0 {
		return errno
	}
	return nil
}

// reaper collects all children of this process, as the first process of a
// container must: those it has started and those that were left to it.
type reaper struct {
	mu       sync.Mutex
	children map[int]func(syscall.WaitStatus)
}

func newReaper() *reaper {
	return &reaper{children: map[int]func(syscall.WaitStatus){}}
}

// start forks under the lock, so that a child cannot be collected before it is known.
func (r *reaper) start(fork func() (int, error), onExit func(syscall.WaitStatus)) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err == nil {
		r.children[pid] = onExit
	}
	return pid, err
}

func (r *reaper) run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)
	for {
		r.collect()
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
	}
}

func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if onExit, ok := r.children[pid]; ok {
			delete(r.children, pid)
			onExit(ws)
		}
	}
}
