// Workload is the one program that the labs' pods run. It acts, by sub-command,
// as each of the parts that a small system is made of, and misbehaves on demand
// in the ways that real ones do.
//
// It needs nothing but the standard library, says on stdout what it does (one
// line an event, so that "kubectl logs" tells a story) and ends promptly on SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// part is one sub-command.
type part struct {
	name  string
	short string
	run   func(ctx context.Context, args []string, out io.Writer) error
}

func parts() []part {
	return []part{
		{"web", "a web front: serves a page that it makes from an API's answer", runWeb},
		{"api", "an API: answers with JSON, and only while its database answers", runAPI},
		{"db", "a stand-in for a database: a TCP server that answers each line", runDB},
		{"worker", "a worker: does one job after the other, and counts them", runWorker},
		{"slow", "a service that takes its time to start", runSlow},
		{"crash", "a program that fails after a while", runCrash},
		{"hog", "a program that takes more and more memory", runHog},
		{"load", "a load generator: calls a URL and counts what came back", runLoad},
		{"wait", "waits until an address accepts connections (for init containers)", runWait},
	}
}

// exitUsage is the exit code for a command line that makes no sense, as the flag package uses it.
const exitUsage = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitCode is an error that chooses the process's exit code.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		usage(out)
		return 0
	}
	for _, p := range parts() {
		if p.name != args[0] {
			continue
		}
		err := p.run(ctx, args[1:], out)
		var code exitCode
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp), errors.Is(err, context.Canceled):
			return 0
		case errors.As(err, &code):
			return int(code)
		case errors.Is(err, errUsage):
			fmt.Fprintf(errOut, "workload %s: %v\n", p.name, err)
			return exitUsage
		}
		fmt.Fprintf(errOut, "workload %s: %v\n", p.name, err)
		return 1
	}
	fmt.Fprintf(errOut, "workload: there is no %q; \"workload --help\" lists what there is\n", args[0])
	return exitUsage
}

func usage(out io.Writer) {
	fmt.Fprint(out, "usage: workload PART [flags]\n\nParts:\n")
	for _, p := range parts() {
		fmt.Fprintf(out, "  %-8s %s\n", p.name, p.short)
	}
	fmt.Fprint(out, `
Each part has --help. Every flag can also be set by an environment variable:
--listen-after by LISTEN_AFTER, and so on. A flag wins over the environment.

Example: a shop of three parts
  workload db   --listen :5432
  workload api  --listen :8081 --db db:5432
  workload web  --listen :8080 --api http://api:8081/items
`)
}
