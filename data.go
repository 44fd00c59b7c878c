package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Files of the data directory that package main owns.
const (
	lockFile     = "lock"        // held while a server runs; inside: its process id
	addressFile  = "address"     // of the server that runs
	instanceFile = "instance"    // what tells this server's sandboxes from others' on the same engine
	logFile      = "drydock.log" // of a server in the background
)

// backgroundStart is how long a server in the background may take to answer.
const backgroundStart = 30 * time.Second

// lockData makes sure that one server at a time uses a data directory. The
// lock ends with the process, however that ends.
func lockData(data string) (unlock func(), err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(data, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		return nil, fmt.Errorf("another Drydock (process %d) uses %s: stop it, or choose another directory with --data", lockHolder(data), data)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock of the data directory: %w", err), f.Close())
	}
	return func() { f.Close() }, nil
}

// lockHolder is the process id in the lock file, or 0.
func lockHolder(data string) (pid int) {
	text, err := os.ReadFile(filepath.Join(data, lockFile))
	if err == nil {
		_, _ = fmt.Sscan(string(text), &pid)
	}
	return pid
}

// serverRuns reports whether a server holds the lock of data.
func serverRuns(data string) bool {
	f, err := os.Open(filepath.Join(data, lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

func writeAddress(data, url string) error {
	if err := os.WriteFile(filepath.Join(data, addressFile), []byte(url+"\n"), 0o600); err != nil {
		return fmt.Errorf("write down the address: %w", err)
	}
	return nil
}

func readAddress(data string) string {
	text, _ := os.ReadFile(filepath.Join(data, addressFile))
	return strings.TrimSpace(string(text))
}

// instanceID names this data directory on the engine. It is made once.
func instanceID(data string) (string, error) {
	path := filepath.Join(data, instanceFile)
	id, err := readInstance(path)
	switch {
	case err == nil && id != "":
		return id, nil
	case err == nil: // a power cut has emptied it
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", fmt.Errorf("create the data directory: %w", err)
	}
	// The name appears complete or not at all: without it no sandbox could be
	// made any more, and with two of them some would belong to nobody.
	id = strings.ToLower(rand.Text()[:6])
	draft := path + "." + id
	if err := os.WriteFile(draft, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the instance's name: %w", err)
	}
	defer os.Remove(draft)
	if err := os.Link(draft, path); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("write the instance's name: %w", err)
	}
	return readInstance(path) // that of another command, if that was faster
}

func readInstance(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the instance's name: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// serveInBackground starts this very command line again without --background,
// waits until it answers and prints what it printed. One that already runs
// from the same executable is left alone; one from an older build is replaced.
func serveInBackground(ctx context.Context, out io.Writer, data string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if serverRuns(data) {
		if runsExecutable(lockHolder(data), self) {
			fmt.Fprintf(out, "Drydock is at %s (it was running already)\n", readAddress(data))
			return nil
		}
		if err := stopBackground(io.Discard, data); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("create the data directory: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(data, logFile), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	start, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	_ = os.Remove(filepath.Join(data, addressFile))
	child := exec.Command(self, withoutBackground(os.Args[1:])...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	if err := waitHealthy(ctx, data, ended); err != nil {
		_ = child.Process.Signal(syscall.SIGTERM) // what has not come up must not linger; it may have ended
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w; its log (%s) ends:\n%s", err, log.Name(), text[min(int(start), len(text)):])
	}
	text, err := os.ReadFile(log.Name())
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	for line := range strings.Lines(string(text[start:])) {
		if !strings.HasPrefix(line, "time=") {
			fmt.Fprint(out, line)
		}
	}
	return nil
}

// runsExecutable reports whether the process runs the file at path as it is now.
func runsExecutable(pid int, path string) bool {
	running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	current, err := os.Stat(path)
	return err == nil && os.SameFile(running, current)
}

// withoutBackground leaves the flag out however it is written: with it the
// child would start a child, and so on.
func withoutBackground(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		return a == "--background" || strings.HasPrefix(a, "--background=")
	})
}

// waitHealthy waits until the server has written its address and answers there.
func waitHealthy(ctx context.Context, data string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, backgroundStart)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if url := readAddress(data); url != "" && healthy(ctx, url) {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-ended:
			return fmt.Errorf("the server ended at once (%v)", err)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer after %s", backgroundStart)
		}
	}
}

// healthy asks the server at url itself, whatever proxy the environment names.
func healthy(ctx context.Context, url string) bool {
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz", nil)
	if err != nil {
		return false
	}
	response, err := direct.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// stopBackground asks the server of data to stop and waits until it has.
func stopBackground(out io.Writer, data string) error {
	if !serverRuns(data) {
		fmt.Fprintf(out, "No Drydock runs with %s.\n", data)
		return nil
	}
	pid := lockHolder(data)
	if pid == 0 {
		return fmt.Errorf("the lock of %s names no process", data)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(backgroundStart); serverRuns(data); {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not stop", pid)
		}
		time.Sleep(20 * time.Millisecond) // flock can't be waited for with a deadline
	}
	fmt.Fprintln(out, "Drydock has stopped. Running sessions are kept for the next start.")
	return nil
}
