package gvisor

const (
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
