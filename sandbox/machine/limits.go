package machine

import (
	"fmt"

	"drydock/sandbox"
)

// Limits of a machine whose spec sets none. An idle one takes 10 MiB and a
// dozen threads (on gVisor 20 MiB more); a compiler or a debugger takes 100 MiB.
const (
	defaultMemory = 768 << 20
	defaultCPUs   = 1
	defaultPIDs   = 512
	defaultDisk   = 1 << 30
)

// The least a machine works with.
const (
	minMemory = 64 << 20
	minPIDs   = 128
	minCPUs   = 0.05
	// MinDisk holds a file system and little else; in bytes.
	MinDisk = 16 << 20
)

// Accept says what is wrong with a spec of a machine, whatever makes it, and
// returns its limits with those filled in that it leaves open.
func Accept(spec sandbox.Spec) (sandbox.Limits, error) {
	l := spec.Limits
	switch {
	case spec.Kind != "" && spec.Kind != sandbox.Machine:
		return l, fmt.Errorf("this provider makes machines, not a %q", spec.Kind)
	case spec.Nodes > 1:
		return l, fmt.Errorf("%d nodes: a machine is one", spec.Nodes)
	}
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
	case l.Memory < minMemory:
		return l, fmt.Errorf("a machine needs at least %d MiB of memory", minMemory>>20)
	case l.PIDs < minPIDs:
		return l, fmt.Errorf("a machine needs at least %d processes", minPIDs)
	case l.Disk < MinDisk:
		return l, fmt.Errorf("a machine needs at least %d MiB of disk", MinDisk>>20)
	case l.CPUs < minCPUs:
		return l, fmt.Errorf("a machine needs at least %v of a processor", minCPUs)
	}
	return l, nil
}
