package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

const (
	// usageParallel bounds how many containers are measured at once.
	usageParallel = 8
	// usageTimeout bounds one measurement, which takes milliseconds.
	usageTimeout = 10 * time.Second
)

// Usage measures sandboxes by their own ids.
func (p *Provider) Usage(ctx context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	var mu sync.Mutex
	all := map[string]sandbox.Usage{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(usageParallel)
	for _, id := range ids {
		list, err := p.containers(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			g.Go(func() error {
				used, err := p.containerUsage(gctx, c)
				if dock.Gone(err) {
					return nil
				}
				if err != nil {
					return fmt.Errorf("measure the sandbox %s: %w", id, err)
				}
				mu.Lock()
				defer mu.Unlock()
				u := all[id]
				u.Memory += used.Memory
				u.CPU += used.CPU
				u.PIDs += used.PIDs
				u.Disk += used.Disk
				u.DiskMax += used.DiskMax
				all[id] = u
				return nil
			})
		}
	}
	return all, g.Wait()
}

func (p *Provider) containerUsage(ctx context.Context, c container.Summary) (sandbox.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	answer, err := p.cfg.Engine.ContainerStats(ctx, c.ID, client.ContainerStatsOptions{})
	if err != nil {
		return sandbox.Usage{}, dock.Error("ask the engine what a container takes", err)
	}
	defer answer.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return sandbox.Usage{}, dock.Error("read what a container takes", err)
	}
	used := sandbox.Usage{
		Memory: workingSet(s.MemoryStats),
		CPU:    time.Duration(s.CPUStats.CPUUsage.TotalUsage),
		PIDs:   int64(s.PidsStats.Current),
	}
	if c.Labels[dock.LabelRole] == roleNode && c.Labels[dock.LabelTemplate] != "" && c.State == container.StateRunning {
		used.Disk, used.DiskMax, err = p.diskUsage(ctx, c.ID)
	}
	if dock.Gone(err) {
		err = nil // it has just been frozen
	}
	return used, err
}

// workingSet is what `docker stats` and Kubernetes show: the pages of files
// that nothing has used for a while are left out.
func workingSet(m container.MemoryStats) int64 {
	inactive := m.Stats["total_inactive_file"] // cgroup v1
	if v, ok := m.Stats["inactive_file"]; ok && inactive == 0 {
		inactive = v
	}
	return int64(m.Usage - min(m.Usage, inactive))
}

// diskUsage asks the node's own limited file system.
func (p *Provider) diskUsage(ctx context.Context, node string) (used, size int64, err error) {
	res, err := p.dock.Exec(ctx, asRoot(node), sandbox.Command{Argv: []string{"df", "--block-size=1", "--output=used,size", "/var"}})
	if err != nil {
		return 0, 0, err
	}
	lines := strings.Split(strings.TrimSpace(string(res.Stdout)), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	if len(fields) != 2 {
		return 0, 0, nil // the node is going down
	}
	used, _ = strconv.ParseInt(fields[0], 10, 64)
	size, _ = strconv.ParseInt(fields[1], 10, 64)
	return used, size, nil
}
