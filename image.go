package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drydock/sandbox/engine"
	"drydock/sandbox/image"
)

func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Build, list, export and import the images that labs run in",
		Long: `Labs run in three images: the node of a Kubernetes cluster, the learner's
terminal beside it, and the Linux machine. They are built on this machine, from Debian's packages and from source
through the Go module proxy; no container registry is needed. A machine without
a network gets them with "drydock image import".`,
		Example: `  drydock image build                 from a checkout of Drydock
  drydock image export images.tar.gz  on a machine that has them
  drydock image import images.tar.gz  on one that has no network`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImageBuildCommand(), newImageListCommand(), newImageExportCommand(), newImageImportCommand())
	return cmd
}

func newImageBuildCommand() *cobra.Command {
	var opts image.Options
	var verbose, asJSON, noEngine bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the images whose recipe has changed",
		Long: `Builds the images from a checkout of Drydock. What is
already built is not built again: the images carry the hash of their recipe. The
first build takes about 15 minutes on two cores.

Where no container engine answers, or with --no-engine, it builds what machine
labs need without one: gVisor's kernel and the machine's files. Cluster labs need
an engine.`,
		Example: `  drydock image build
  drydock image build --no-engine
  drydock image build --source ~/src/drydock --verbose`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			errOut := cmd.ErrOrStderr()
			build := func(fn func() error) error {
				printer := image.NewPrinter(errOut, !verbose && isTerminal(errOut))
				defer printer.Close()
				opts.Report = printer.Report
				if verbose {
					opts.Log = errOut
				}
				return fn()
			}
			if !noEngine && !engineAnswers(cmd.Context()) {
				fmt.Fprintln(errOut, "No container engine answers: building what machine labs need without one. Cluster labs need an engine.")
				noEngine = true
			}
			if noEngine {
				return build(func() error { return buildMachineRoot(cmd, opts, asJSON) })
			}
			return build(func() error {
				return withEngine(func(cli *client.Client) error {
					images, err := image.Build(cmd.Context(), cli, opts)
					if err != nil {
						return err
					}
					return printImages(cmd.OutOrStdout(), images, nil, asJSON)
				})
			})
		},
	}
	cmd.Flags().StringVar(&opts.Source, "source", ".", "checkout of Drydock")
	cmd.Flags().StringVar(&opts.Cache, "cache", "", "directory for intermediate results (default below the user's cache directory)")
	cmd.Flags().BoolVar(&opts.Force, "force", false, "assemble the images even if they are up to date")
	cmd.Flags().BoolVar(&noEngine, "no-engine", false, "build what machine labs need without a container engine")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show what the build tools print")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the images as JSON")
	return cmd
}

func newImageListCommand() *cobra.Command {
	var source string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the images on the engine",
		Long: `Lists the images on the engine. "current" is what labs are started from; in a
checkout of Drydock, an image whose recipe there has changed is called "changed".`,
		Example: `  drydock image list
  drydock image list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withEngine(func(cli *client.Client) error {
				images, err := image.List(cmd.Context(), cli)
				if err != nil {
					return err
				}
				recipes, err := image.Recipes(cmd.Context(), source)
				if err != nil && (cmd.Flags().Changed("source") || !errors.Is(err, image.ErrNoSource)) {
					return err
				}
				return printImages(cmd.OutOrStdout(), images, recipes, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&source, "source", ".", "checkout of Drydock to compare with")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newImageExportCommand() *cobra.Command {
	var noEngine bool
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write the images to a file for a machine without a network",
		Example: `  drydock image export drydock-images.tar.gz
  drydock image export --no-engine drydock-machine.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if noEngine {
				return transferMachineRoot(cmd, "Write "+args[0], args[0], image.ExportMachineRoot)
			}
			return transfer(cmd, "Write "+args[0], func(cli *client.Client) ([]image.Image, error) {
				return image.Export(cmd.Context(), cli, args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&noEngine, "no-engine", false, "write what machine labs need without a container engine")
	return cmd
}

func newImageImportCommand() *cobra.Command {
	var noEngine bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Load the images from a file that \"image export\" wrote",
		Example: `  drydock image import drydock-images.tar.gz
  drydock image import --no-engine drydock-machine.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if noEngine {
				return transferMachineRoot(cmd, "Read "+args[0], args[0], image.ImportMachineRoot)
			}
			return transfer(cmd, "Read "+args[0], func(cli *client.Client) ([]image.Image, error) {
				return image.Import(cmd.Context(), cli, args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&noEngine, "no-engine", false, "load what machine labs need without a container engine")
	return cmd
}

// transfer runs an export or import as a one-stage operation and prints the images it was about.
func transfer(cmd *cobra.Command, name string, fn func(*client.Client) ([]image.Image, error)) error {
	return withEngine(func(cli *client.Client) error {
		images, err := oneStage(cmd, name, func() ([]image.Image, error) { return fn(cli) })
		if err != nil {
			return err
		}
		return printImages(cmd.OutOrStdout(), images, nil, false)
	})
}

// transferMachineRoot does the same with what is needed without an engine.
func transferMachineRoot(cmd *cobra.Command, name, file string,
	fn func(ctx context.Context, machines, file string) (image.MachineRoot, error)) error {
	machines, err := image.MachineDir()
	if err != nil {
		return err
	}
	root, err := oneStage(cmd, name, func() (image.MachineRoot, error) { return fn(cmd.Context(), machines, file) })
	if err != nil {
		return err
	}
	return printMachineRoot(cmd.OutOrStdout(), root)
}

// oneStage shows an operation as one stage.
func oneStage[T any](cmd *cobra.Command, name string, fn func() (T, error)) (T, error) {
	errOut := cmd.ErrOrStderr()
	printer := image.NewPrinter(errOut, isTerminal(errOut))
	defer printer.Close()
	stage := image.Stage{Name: name, Index: 1, Total: 1}
	printer.Report(stage)
	start := time.Now()
	result, err := fn()
	stage.Done, stage.Err, stage.Took = true, err, time.Since(start)
	printer.Report(stage)
	return result, err
}

// engineAnswers says whether there is a container engine.
func engineAnswers(ctx context.Context) bool {
	return withEngine(func(cli *client.Client) error {
		_, err := engine.Ping(ctx, cli)
		return err
	}) == nil
}

// buildMachineRoot builds what machine labs need without an engine, and prints it.
func buildMachineRoot(cmd *cobra.Command, opts image.Options, asJSON bool) error {
	machines, err := image.MachineDir()
	if err != nil {
		return err
	}
	root, err := image.BuildMachineRoot(cmd.Context(), machines, opts)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(root)
	}
	return printMachineRoot(cmd.OutOrStdout(), root)
}

func printMachineRoot(out io.Writer, root image.MachineRoot) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tGVISOR\tAGE\tRECIPE")
	fmt.Fprintf(w, "%s\t%s\t%s\t%.12s\n", root.Dir, root.GVisor, units.HumanDuration(time.Since(root.Made)), root.Recipe)
	return w.Flush()
}

// withEngine runs fn with a connection to the engine.
func withEngine(fn func(*client.Client) error) error {
	cli, err := engine.Open()
	if err != nil {
		return err
	}
	defer cli.Close()
	return fn(cli)
}

// imageState says in one word what an image is good for. recipes may be nil: then there is nothing to compare with.
func imageState(im image.Image, recipes map[string]string) string {
	recipe, known := recipes[im.Kind]
	switch {
	case !im.Usable:
		return "old"
	case known && recipe != im.Recipe:
		return "changed"
	}
	return "current"
}

func printImages(out io.Writer, images []image.Image, recipes map[string]string, asJSON bool) error {
	if asJSON {
		type row struct {
			image.Image
			State string `json:"state"`
		}
		rows := make([]row, 0, len(images))
		for _, im := range images {
			rows = append(rows, row{im, imageState(im, recipes)})
		}
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tKUBERNETES\tSIZE\tAGE\tRECIPE\tSTATE")
	for _, im := range images {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.12s\t%s\n", im.Ref, im.Kubernetes, units.HumanSize(float64(im.Size)),
			units.HumanDuration(time.Since(im.Created)), im.Recipe, imageState(im, recipes))
	}
	return w.Flush()
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
