// Command drydock-probe looks at what a sandbox serves, and measures programs
// in it, from inside of it. See packages drydock/sandbox/probe and
// drydock/sandbox/probe/bench.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"drydock/sandbox/probe"
	"drydock/sandbox/probe/bench"
)

const usage = `usage: drydock-probe
       drydock-probe bench

The first reads requests from the standard input, a line of JSON each, and writes
answers to the standard output until the input ends. The second reads what is to
be measured, as JSON, and prints what was measured.

Example: { echo '{"id":"1","http":{"url":"http://localhost/"}}'; sleep 1; } | drydock-probe`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "":
		return probe.Run(os.Stdin, os.Stdout, probe.Config{})
	case verb == "bench" && len(args) == 1:
		return measure()
	case verb == bench.BecomeVerb:
		// What is given up is given up in one thread, and that one goes on.
		runtime.LockOSThread()
		return bench.Become(args[1:])
	}
	fmt.Fprintln(os.Stderr, usage)
	os.Exit(2)
	return nil
}

func measure() error {
	spec, err := bench.ReadSpec(os.Stdin)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	report, err := bench.Run(context.Background(), self, spec)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
