// Command drydock-probe looks at what a sandbox serves, from inside of it. It
// reads requests from its input and writes answers to its output; see package
// drydock/sandbox/probe.
package main

import (
	"fmt"
	"os"

	"drydock/sandbox/probe"
)

const usage = `usage: drydock-probe

Reads requests from the standard input, a line of JSON each, and writes answers
to the standard output until the input ends.

Example: { echo '{"id":"1","http":{"url":"http://localhost/"}}'; sleep 1; } | drydock-probe`

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := probe.Run(os.Stdin, os.Stdout, probe.Config{}); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-probe:", err)
		os.Exit(1)
	}
}
