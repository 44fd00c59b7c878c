package dock

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drydock/sandbox"
)

// usageTimeout bounds one measurement, which takes milliseconds.
const usageTimeout = 10 * time.Second

// Usage measures a container, but for its disk. What has gone, or does not run,
// takes nothing.
func (r Runner) Usage(ctx context.Context, id string) (sandbox.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	found, err := r.Engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if Gone(err) || err == nil && !found.Container.State.Running {
		return sandbox.Usage{}, nil
	}
	if err != nil {
		return sandbox.Usage{}, Error("look at a container", err)
	}
	answer, err := r.Engine.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if Gone(err) {
		return sandbox.Usage{}, nil
	}
	if err != nil {
		return sandbox.Usage{}, Error("ask the engine what a container takes", err)
	}
	defer answer.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return sandbox.Usage{}, Error("read what a container takes", err)
	}
	used := sandbox.Usage{
		Memory:      workingSet(s.MemoryStats),
		CPU:         time.Duration(s.CPUStats.CPUUsage.TotalUsage),
		PIDs:        int64(s.PidsStats.Current),
		OutOfMemory: found.Container.State.OOMKilled || killedForMemory(found.Container.State.Pid, id),
	}
	if limits := found.Container.HostConfig; limits != nil {
		used.Note(sandbox.Memory, used.Memory, limits.Memory)
		if limits.PidsLimit != nil {
			used.Note(sandbox.Processes, used.PIDs, *limits.PidsLimit)
		}
	}
	return used, nil
}

// workingSet is what `docker stats` and Kubernetes show: the pages of files
// that nothing has used for a while are left out.
func workingSet(m container.MemoryStats) int64 {
	inactive := m.Stats["inactive_file"] // control groups v2
	if v1, ok := m.Stats["total_inactive_file"]; ok {
		inactive = v1
	}
	return int64(m.Usage - min(m.Usage, inactive))
}

// killedForMemory asks the kernel whether it has ended one of a container's
// processes for want of memory. Not every engine says so before the container
// has ended (Docker 20.10). It is not known, and false, where the engine is on
// another machine, and of processes in control groups that the container has
// made itself, such as pods: their limits are theirs.
func killedForMemory(pid int, id string) bool {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || !strings.Contains(parts[2], id) { // else it is a process of this machine, and no container's
			continue
		}
		file := filepath.Join(cgroupRoot, parts[2], "memory.events.local") // version 2
		if slices.Contains(strings.Split(parts[1], ","), "memory") {
			file = filepath.Join(cgroupRoot, "memory", parts[2], "memory.oom_control")
		}
		if text, err := os.ReadFile(file); err == nil && hasKilled(string(text)) {
			return true
		}
	}
	return false
}

const cgroupRoot = "/sys/fs/cgroup"

// hasKilled reads the kernel's lines "name count".
func hasKilled(text string) bool {
	for line := range strings.Lines(text) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return count != "0"
		}
	}
	return false
}
