package kind

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

const (
	// usageParallel bounds how many containers are measured at once.
	usageParallel = 8
	// diskTimeout bounds one look at a node's disk, which takes milliseconds.
	diskTimeout = 10 * time.Second
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
				if err != nil {
					return fmt.Errorf("measure the sandbox %s: %w", id, err)
				}
				mu.Lock()
				defer mu.Unlock()
				u := all[id]
				u.Add(used)
				all[id] = u
				return nil
			})
		}
	}
	return all, g.Wait()
}

func (p *Provider) containerUsage(ctx context.Context, c container.Summary) (sandbox.Usage, error) {
	used, err := p.dock.Usage(ctx, c.ID)
	if err != nil || c.Labels[dock.LabelRole] != roleNode || c.Labels[dock.LabelTemplate] == "" || c.State != container.StateRunning {
		return used, err
	}
	ctx, cancel := context.WithTimeout(ctx, diskTimeout)
	defer cancel()
	used.Disk, used.DiskMax, err = p.diskUsage(ctx, c.ID)
	used.Note(sandbox.Disk, used.Disk, used.DiskMax)
	if dock.Gone(err) {
		err = nil // it has just been frozen
	}
	return used, err
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
