package gvisor

// Differences says in whole sentences what a learner finds in these machines
// that a machine on a real kernel does not have, or lacks. Each is measured by
// this package's tests.
func (p *Provider) Differences() []string {
	list := differences()
	if !p.Durable() {
		list = append(list, notDurable)
	}
	if !p.Bounded() {
		list = append(list, notBounded)
	}
	return list
}

const (
	notDurable = "Files are saved when the machine is put to sleep. If it ends before that, what was written since is lost."
	notBounded = "The host sets no limits of its own: memory and processor time are shared with the other machines."
)

func differences() []string {
	return []string{
		"The kernel is gVisor, not Linux: uname says 4.19.0-gvisor, dmesg is made up, and there are no kernel modules.",
		"perf does not work: there are no performance counters and no tracepoints.",
		"/proc has only a part of its files: vmstat, interrupts, diskstats, pressure, slabinfo and others are missing, and with them vmstat and iostat tell nothing. The load average is always 0.",
		"strace and gdb work, and so do breakpoints; /proc/PID/stack, wchan and sched are missing.",
		"Control groups (version 2) are there to be read. Only the number of processes is limited by them: memory.max stands at max.",
		"When the machine needs more memory than it has, all of it ends and has to be started again, instead of one process.",
		"Programs start slowly, some ten times slower than on Linux, and system calls take longer. Computing is as fast.",
		"There is a network of its own with nothing but loopback; no nftables and no traffic control.",
		"Every user may listen on ports below 1024.",
		"There are no block devices, so no file systems to make and mount, and no core dumps.",
		"nproc says at least 2; the share of the processors is limited all the same.",
	}
}
