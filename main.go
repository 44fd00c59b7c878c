// Drydock is a self-hosted learning platform: read an article, start a lab on
// a real and broken system, fix it in a browser terminal, and be graded on how.
//
// Package main wires the parts together, one small file per subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"drydock/sandbox/kind"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl+C ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:]))
}

// errReported ends a command whose failure has already been explained on its output.
var errReported = errors.New("already reported")

// run executes one command line and returns the process's exit code.
func run(ctx context.Context, args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
	default:
		fmt.Fprintln(os.Stderr, "drydock:", err)
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "drydock",
		Short: "Read, start a real broken system, fix it, be graded on how",
		Long: `Drydock is a self-hosted learning platform for people who run software.

Learners read an article, start a lab that gives them a real and broken
Kubernetes cluster, fix it in a browser terminal, and are graded on how they
fixed it. Instructors watch the class live.`,
		Example: `  drydock doctor            what this machine lacks, and the command that mends it
  drydock image build       make the node image (once; about 15 minutes)
  drydock serve             start the platform and print its address`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newServeCommand(),
		newDoctorCommand(),
		newHealthcheckCommand(),
		newImageCommand(),
		newLabCommand(),
		newContentCommand(),
		newUserCommand(),
		newSandboxCommand(),
		newBackupCommand(),
		newBenchCommand(),
		newVersionCommand(),
		kind.ChildCommand(),
	)
	return root
}
