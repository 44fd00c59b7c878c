package dock

import (
	"context"
	"encoding/json"
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
		OutOfMemory: found.Container.State.OOMKilled,
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
