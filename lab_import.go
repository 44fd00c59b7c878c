package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"drydock/content"
	"drydock/labs"
	"drydock/labs/convert"
)

type labImportOptions struct {
	into, track string
	images      []string
	asJSON      bool
	byLearners  bool
}

func newLabImportCommand() *cobra.Command {
	var o labImportOptions
	cmd := &cobra.Command{
		Use:   "import FORMAT DIR|ARCHIVE",
		Short: "Make labs of another platform's scenarios",
		Long: `Makes labs of another platform's scenarios. FORMAT is one of ` + strings.Join(convert.Formats(), ", ") + `.
DIR or ARCHIVE (tar, tar.gz, zip) holds one scenario or a collection of them, in
whatever folders.

For each scenario it says what became of it: what was converted how, what the lab
can do less well than the scenario did, and what was left out; at the end stands
how many there were of each. A scenario that can't become a lab is refused, with
the reason. No script of a scenario is run: that happens in sandboxes only.

An imported lab is a draft until somebody has written what a lab of our own has: a
second solution and a wrong fix. It can be started and is graded all the same.
"go doc drydock/labs/convert" tells how each part is converted.

It exits with 1 when a scenario was refused.`,
		Example: `  drydock lab import killercoda ./scenarios --into ./labs
  drydock lab import killercoda scenarios.tar.gz --into ./labs --json >report.json
  drydock lab import killercoda ./scenarios --into ./labs --image redis=localhost/drydock/workload:1
  drydock lab test ./labs/some-scenario       then see what its solution does`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return runLabImport(cmd, args[0], args[1], o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.into, "into", ".", "folder that gets a folder for each lab")
	flags.StringVar(&o.track, "track", "", "track of the labs (default the course's title, or the format's name)")
	flags.StringArrayVar(&o.images, "image", nil, "NAME=REF: the image of the node that pods get for NAME, which is a name or a name with a tag (can be repeated)")
	flags.BoolVar(&o.byLearners, "self-reported", false, "take steps without a check, too: the learner says when one is done, and nobody looks")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object a line for each scenario, and the counts as the last")
	return cmd
}

func runLabImport(cmd *cobra.Command, format, from string, o labImportOptions) error {
	images, err := imageNames(o.images)
	if err != nil {
		return err
	}
	out := json.NewEncoder(cmd.OutOrStdout())
	var printing error
	reports, notes, err := convert.Import(format, from, convert.Options{
		Into: o.into, Track: o.track, Images: images, SelfReported: o.byLearners, Check: checkReadme,
		Done: func(r convert.Report) {
			switch {
			case printing != nil:
			case o.asJSON:
				printing = out.Encode(r)
			default:
				r.Print(cmd.OutOrStdout())
			}
		},
	})
	for _, note := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), note)
	}
	if err == nil {
		err = printing
	}
	if err != nil {
		return err
	}
	return printImported(cmd.OutOrStdout(), convert.Summarize(reports), o.asJSON)
}

func printImported(w io.Writer, summary convert.Summary, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(w).Encode(map[string]any{"summary": summary}); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(w, summary)
	}
	if summary.Refused > 0 {
		return errReported
	}
	return nil
}

// imageNames reads NAME=REF.
func imageNames(pairs []string) (map[string]string, error) {
	names := map[string]string{}
	for _, pair := range pairs {
		name, ref, ok := strings.Cut(pair, "=")
		if !ok || name == "" || ref == "" {
			return nil, fmt.Errorf("--image %s: it must be NAME=REF, such as redis=localhost/drydock/workload:1", pair)
		}
		names[name] = ref
	}
	return names, nil
}

// checkReadme renders what the learner reads, as a lab's page will.
func checkReadme(files fs.FS, dir string) ([]labs.Problem, error) {
	readme, err := fs.ReadFile(files, path.Join(dir, "README.md"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's text: %w", err)
	}
	_, err = content.Render(path.Join(dir, "README.md"), readme, content.Options{})
	var problems []labs.Problem
	for _, p := range content.Problems(err) {
		problems = append(problems, labs.Problem(p))
	}
	return problems, nil
}
