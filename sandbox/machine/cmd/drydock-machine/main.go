// Command drydock-machine makes the machine that a learner works in, and runs
// commands in it. It is the entry process of a machine's container; see
// package drydock/sandbox/machine/boot.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"

	"drydock/sandbox/machine/boot"
)

const usage = `usage: drydock-machine serve -disk BYTES -pids N [-hostname NAME]
       drydock-machine enter root|learner -pids N -- COMMAND…

The first is the entry process of a machine's container. The second runs a
command in the machine, from the container around it.

Example: drydock-machine enter learner -pids 512 -- id`

func main() {
	// What this program gives up it gives up in one thread, and that one goes on.
	runtime.LockOSThread()
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-machine:", err)
		os.Exit(125)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb, args := args[0], args[1:]
	var user string
	if verb == "enter" && len(args) > 0 {
		user, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	var cfg boot.Config
	flags.Int64Var(&cfg.Disk, "disk", 0, "bytes that can be written in the machine")
	flags.Uint64Var(&cfg.PIDs, "pids", 0, "processes that the machine may have")
	flags.StringVar(&cfg.Hostname, "hostname", boot.Hostname, "the machine's host name")
	if err := flags.Parse(args); err != nil {
		return err
	}
	argv := flags.Args()
	switch {
	case verb == "serve" && cfg.Disk > 0:
		return boot.Serve(cfg)
	case verb == "inner":
		return boot.Inner(cfg)
	case len(argv) == 0:
		return errors.New(usage)
	case verb == "enter" && (user == "root" || user == boot.LearnerName):
		return boot.Enter(user, cfg.PIDs, argv)
	case verb == "as-root":
		return boot.RunAsRoot(argv)
	case verb == "as-"+boot.LearnerName:
		return boot.RunAsLearner(cfg.PIDs, argv)
	case verb == "as-keeper": // for package gvisor, whose machine has no container around it
		return boot.RunShell(cfg.PIDs, argv)
	}
	return errors.New(usage)
}
