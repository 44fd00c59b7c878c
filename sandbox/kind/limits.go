package kind

import (
	"errors"
	"fmt"

	"drydock/sandbox"
)

// Limits of a sandbox whose spec sets none. An idle node takes 330 MiB and
// some 200 threads; the labs' own programs are small.
const (
	defaultMemory = 3 << 30
	defaultCPUs   = 2
	defaultPIDs   = 3072
	defaultDisk   = 4 << 30
)

// The terminal's share of a sandbox's limits: kubectl takes 60 MiB, and what
// is in /home and /tmp counts as memory too.
const (
	terminalMemory = 512 << 20
	terminalPIDs   = 256
	terminalCPUs   = 1
	homeSize       = 128 << 20
	tmpSize        = 64 << 20
)

// The least a node works with.
const (
	minMemory = terminalMemory + 1<<30
	minPIDs   = terminalPIDs + 1024
	minDisk   = 1 << 30
	// maxPodPIDs keeps one pod's fork bomb from starving kubelet.
	maxPodPIDs = 512
)

// nodeLimits are what is left for the node.
type nodeLimits struct {
	memory, pids, disk int64
	cpus               float64
}

func limitNode(l sandbox.Limits) (nodeLimits, error) {
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	if l.CPUs == 0 {
		l.CPUs = defaultCPUs
	}
	if l.PIDs == 0 {
		l.PIDs = defaultPIDs
	}
	if l.Disk == 0 {
		l.Disk = defaultDisk
	}
	switch {
	case l.Disk < minDisk:
		return nodeLimits{}, fmt.Errorf("a cluster needs at least %d MiB of disk", minDisk>>20)
	case l.Memory < minMemory:
		return nodeLimits{}, fmt.Errorf("a cluster needs at least %d MiB of memory", minMemory>>20)
	case l.PIDs < minPIDs:
		return nodeLimits{}, fmt.Errorf("a cluster needs at least %d processes", minPIDs)
	case l.CPUs < 0:
		return nodeLimits{}, errors.New("a negative number of CPUs")
	}
	return nodeLimits{memory: l.Memory - terminalMemory, pids: l.PIDs - terminalPIDs, disk: l.Disk, cpus: l.CPUs}, nil
}
