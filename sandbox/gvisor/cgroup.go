package gvisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupRoot is where control groups are mounted everywhere.
const cgroupRoot = "/sys/fs/cgroup"

// unified says whether the host has version 2 of control groups.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// canMakeCgroups tries.
func canMakeCgroups() bool {
	dirs := []string{cgroupRoot}
	if !unified() {
		dirs = []string{filepath.Join(cgroupRoot, "memory"), filepath.Join(cgroupRoot, "pids"), filepath.Join(cgroupRoot, "cpu")}
	}
	for _, dir := range dirs {
		trial, err := os.MkdirTemp(dir, "drydock-trial-")
		if err != nil || os.Remove(trial) != nil {
			return false
		}
	}
	return true
}

// cgroupDirs are a sandbox's control groups.
func cgroupDirs(name string) []string {
	if unified() {
		return []string{filepath.Join(cgroupRoot, name)}
	}
	dirs, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", name)) // the pattern is good
	return dirs
}

// removeCgroups removes what runsc has left, as it does when it is killed. A
// group can be removed a moment after its last process has gone; one that
// stays is harmless and is tried again by the next Sweep that sees its sandbox.
func removeCgroups(ctx context.Context, name string) {
	for _, dir := range cgroupDirs(name) {
		for {
			err := os.Remove(dir)
			if !errors.Is(err, syscall.EBUSY) {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookEvery):
			}
		}
	}
}

// cgroupUsage reads a sandbox's memory (the working set) and processor time
// from its control group.
func cgroupUsage(name string) (memory int64, cpu time.Duration, ok bool) {
	if unified() {
		dir := filepath.Join(cgroupRoot, name)
		current, ok1 := number(filepath.Join(dir, "memory.current"), "")
		inactive, _ := number(filepath.Join(dir, "memory.stat"), "inactive_file")
		micros, ok2 := number(filepath.Join(dir, "cpu.stat"), "usage_usec")
		return max(current-inactive, 0), time.Duration(micros) * time.Microsecond, ok1 && ok2
	}
	dir := filepath.Join(cgroupRoot, "memory", name)
	current, ok1 := number(filepath.Join(dir, "memory.usage_in_bytes"), "")
	inactive, _ := number(filepath.Join(dir, "memory.stat"), "total_inactive_file")
	nanos, ok2 := number(filepath.Join(cgroupRoot, "cpuacct", name, "cpuacct.usage"), "")
	return max(current-inactive, 0), time.Duration(nanos), ok1 && ok2
}

// number reads the number in a file, or that after a word at the beginning of a line.
func number(path, word string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		value := line
		if word != "" {
			var found bool
			if value, found = strings.CutPrefix(line, word+" "); !found {
				continue
			}
		}
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// processUsage is the same where there is no control group: of the kernel's
// process, its file server and all that the kernel runs the learner's in.
func processUsage(dir string) (memory int64, cpu time.Duration, ok bool) {
	pids, err := processesOf(dir)
	if err != nil {
		return 0, 0, false
	}
	const kib, tick = 1 << 10, 10 * time.Millisecond // as /proc counts on Linux
	for _, pid := range pids {
		base := filepath.Join("/proc", strconv.Itoa(pid))
		if n, found := fieldOf(filepath.Join(base, "smaps_rollup"), "Pss:"); found {
			memory += n * kib
			ok = true
		}
		text, err := os.ReadFile(filepath.Join(base, "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		const user, childrens = 11, 14
		for i := user; i <= childrens && i < len(fields); i++ {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			cpu += time.Duration(n) * tick
		}
	}
	return memory, cpu, ok
}

func fieldOf(path, word string) (int64, bool) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == word {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
