package main

import (
	"fmt"
	"io"
	"os"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drydock/sandbox/image"
)

func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Build, list, export and import the images that labs run in",
		Long: `Labs run in two images: the node of a Kubernetes cluster and the learner's
terminal. They are built on this machine, from Debian's packages and from source
through the Go module proxy; no container registry is needed. A machine without
a network gets them with "drydock image import".`,
		Example: `  drydock image build                 from a checkout of Drydock
  drydock image export images.tar.gz  on a machine that has them
  drydock image import images.tar.gz  on one that has no network`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newImageBuildCommand())
	return cmd
}

func newImageBuildCommand() *cobra.Command {
	var opts image.Options
	var verbose bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the images whose recipe has changed",
		Long: `Builds the node and the terminal image from a checkout of Drydock. What is
already built is not built again: the images carry the hash of their recipe. The
first build takes about 15 minutes on two cores.`,
		Example: `  drydock image build
  drydock image build --source ~/src/drydock --verbose`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli, err := client.New(client.FromEnv)
			if err != nil {
				return err
			}
			defer cli.Close()
			errOut := cmd.ErrOrStderr()
			printer := image.NewPrinter(errOut, !verbose && isTerminal(errOut))
			defer printer.Close()
			opts.Report = printer.Report
			if verbose {
				opts.Log = errOut
			}
			images, err := image.Build(cmd.Context(), cli, opts)
			if err != nil {
				return err
			}
			for _, im := range images {
				fmt.Println(im.Ref, im.Kubernetes, im.Size, im.Usable)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&opts.Source, "source", ".", "checkout of Drydock")
	cmd.Flags().StringVar(&opts.Cache, "cache", "", "directory for intermediate results (default below the user's cache directory)")
	cmd.Flags().BoolVar(&opts.Force, "force", false, "build even what is up to date")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show what the build tools print")
	return cmd
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
