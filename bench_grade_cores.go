package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cores is processor time by who took it: in seconds, or in cores once it is
// that of a window.
type cores struct {
	server   float64 // this process
	engine   float64 // the engine, and what it has started and waited for
	clusters float64 // the sandboxes' control groups
}

func (c cores) all() float64 { return c.server + c.engine + c.clusters }

// add adds them to the figures, with a name before who it was.
func (c cores) add(f *figures, name string) {
	f.add(name+".server", c.server)
	f.add(name+".engine", c.engine)
	f.add(name+".clusters", c.clusters)
	f.add(name+".all", c.all())
}

// spent is processor time in seconds, with what is needed to compare it.
type spent struct {
	cores
	processes map[int]float64 // the engine's
}

// since is what was taken since an earlier look, in cores.
func (s spent) since(before spent, took time.Duration) cores {
	c := cores{server: s.server - before.server, clusters: s.clusters - before.clusters}
	for pid, now := range s.processes { // what has ended or come in between is not this run's
		if then, ok := before.processes[pid]; ok {
			c.engine += now - then
		}
	}
	return cores{c.server / took.Seconds(), c.engine / took.Seconds(), c.clusters / took.Seconds()}
}

// spent is what everybody has taken up to now.
func (c *class) spent(ctx context.Context) (spent, error) {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return spent{}, fmt.Errorf("read the processor time of this process: %w", err)
	}
	clusters, err := c.cpu(ctx, c.ids)
	if err != nil {
		return spent{}, err
	}
	engine, err := engineTimes()
	if err != nil {
		return spent{}, err
	}
	server := time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()
	return spent{cores: cores{server: server, clusters: clusters}, processes: engine}, nil
}

// engineNames are the processes of Docker and Podman, as /proc cuts them off.
var engineNames = []string{"dockerd", "containerd", "containerd-shim", "docker-proxy", "podman", "conmon"}

// userHertz is the unit of processor time in /proc, on every Linux that Go runs on.
const userHertz = 100

// engineTimes is the processor time of the engine's processes in seconds, with
// that of the processes that they have waited for, such as runc.
func engineTimes() (map[int]float64, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("read the processor times: %w", err)
	}
	times := map[int]float64{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		name, took, ok := processTime(text)
		if ok && slices.Contains(engineNames, name) {
			times[pid] = took
		}
	}
	if len(times) == 0 {
		return nil, errors.New("the engine runs on another machine: what it takes can't be measured here")
	}
	return times, nil
}

// processTime reads a process's name and processor time from its stat; see proc(5).
func processTime(stat []byte) (name string, seconds float64, ok bool) {
	// The name, in brackets, may contain anything.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", 0, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	const utime, cstime = 11, 14 // between them stime and cutime
	if len(fields) <= cstime {
		return "", 0, false
	}
	ticks := 0
	for _, f := range fields[utime : cstime+1] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return "", 0, false
		}
		ticks += n
	}
	return string(stat[open+1 : end]), float64(ticks) / userHertz, true
}
