package gvisor

import (
	"fmt"

	"drydock/sandbox"
)

// What a machine gets when the lab does not say, as in package machine, and the
// least of it that is of use. gVisor itself takes some 20 MiB of the memory.
const (
	defaultMemory = 768 << 20
	minMemory     = 64 << 20
	defaultCPUs   = 1
	defaultPIDs   = 512
	minPIDs       = 128
	defaultDisk   = 1 << 30
	minDisk       = 16 << 20

	// hostProcesses is how many processes and threads gVisor has on the host
	// for each of the sandbox's, and hostReserve how many it has of its own. At
	// the host's limit gVisor dies, so that it has to be out of reach: the
	// sandbox's own limit is kept by gVisor.
	hostProcesses = 3
	hostReserve   = 512

	// serverPIDs of a machine's processes are kept for the server's own
	// commands, so that it can look even while a fork bomb goes off.
	serverPIDs = 32
)

func limitMachine(l sandbox.Limits) (sandbox.Limits, error) {
	for _, field := range []struct {
		name           string
		value          *int64
		otherwise, min int64
	}{
		{"memory", &l.Memory, defaultMemory, minMemory},
		{"PIDs", &l.PIDs, defaultPIDs, minPIDs},
		{"disk", &l.Disk, defaultDisk, minDisk},
	} {
		if *field.value == 0 {
			*field.value = field.otherwise
		}
		if *field.value < field.min {
			return l, fmt.Errorf("%s limit %d: a machine needs at least %d", field.name, *field.value, field.min)
		}
	}
	if l.CPUs == 0 {
		l.CPUs = defaultCPUs
	}
	if l.CPUs < 0.05 {
		return l, fmt.Errorf("processor limit %v: a machine needs at least 0.05", l.CPUs)
	}
	return l, nil
}
