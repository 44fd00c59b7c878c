package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage there may be, in percent of what is in use: see
// runtime/debug.SetGCPercent. Go's own is 100.
//
// The programs of a small cluster allocate little once they have started, and
// memory is what decides how many clusters fit on a machine. A start allocates
// several times what stays; with as little room as later it would spend half of
// its time on collecting, with much it scatters what stays over more memory than
// can be given back. Measured for an API server by itself, with the processor
// time until it answers and what it holds afterwards: 2.3 s and 115 MiB with 30
// percent from the beginning, 1.9 s and 120 MiB so, 1.5 s and 135 MiB with 100
// percent first, 1.6 s and 190 MiB with 100 percent throughout.
const (
	startGarbage = 50
	idleGarbage  = 30
)

// When a start is over.
const (
	settleTick  = time.Second
	settleQuiet = 2 << 20 // bytes allocated in a tick; an API server under use that nobody waits for is below it
	settleTicks = 2       // so many quiet ones, as a start pauses while it waits for other programs
	settleMin   = 4 * time.Second
	settleMax   = time.Minute
)

// fitHeap sizes the heap of this process for its start and, when that is over,
// for the time after. GOGC in the environment has precedence.
func fitHeap() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(startGarbage)
	go func() {
		waitForQuiet()
		debug.SetGCPercent(idleGarbage)
		debug.FreeOSMemory()
	}()
}

// waitForQuiet returns when the process has come to rest.
func waitForQuiet() {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	last := sample[0].Value.Uint64()
	start, quiet := time.Now(), 0
	ticks := time.NewTicker(settleTick)
	defer ticks.Stop()
	for now := range ticks.C {
		metrics.Read(sample)
		allocated := sample[0].Value.Uint64() - last
		last += allocated
		if quiet++; allocated > settleQuiet {
			quiet = 0
		}
		age := now.Sub(start)
		if quiet >= settleTicks && age >= settleMin || age >= settleMax {
			return
		}
	}
}
