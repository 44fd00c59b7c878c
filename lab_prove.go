package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drydock/labs"
	"drydock/sandbox"
)

type labTestOptions struct {
	variants        []string
	asJSON          bool
	parallel        int
	data, nodeImage string
}

func newLabTestCommand(dir *string) *cobra.Command {
	var o labTestOptions
	cmd := &cobra.Command{
		Use:   "test SLUG|DIR…",
		Short: "Prove labs on real sandboxes",
		Long: `Proves labs on real sandboxes. For every variant it tries
  - hand-over: all checks fail, all guards hold, and questions take the right answers only;
  - each solution, run as the learner: everything passes, and no guard is violated on the way;
  - each wrong fix, run as the learner: the check, guard or question that it names catches it;
  - reset: the hand-over state again, after a reset.

Every case has a sandbox that nobody has touched. A cluster lab is set up once for each
variant and kept as a template for the time of the proof; the cases work on copies of it.

It exits with 1 when a case fails, and says which.`,
		Example: `  drydock lab test init-containers
  drydock lab test ./my-labs/broken-dns --variant typo
  drydock lab test init-containers --parallel 2
  drydock lab test init-containers --json >proof.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runLabTest(cmd, *dir, args, o) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.variants, "variant", nil, "try only this variant (can be repeated)")
	flags.IntVar(&o.parallel, "parallel", 1, "how many sandboxes work at once")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object for each lab; progress goes to standard error")
	addSandboxFlags(cmd, &o.data, &o.nodeImage)
	return cmd
}

// addSandboxFlags adds the flags of commands that make sandboxes of an author's own.
func addSandboxFlags(cmd *cobra.Command, data, nodeImage *string) {
	cmd.Flags().StringVar(data, "data", "", "directory of the sandboxes' state (default below the user's cache directory)")
	cmd.Flags().StringVar(nodeImage, "node-image", "", "node image to use instead of the one that `drydock image build` makes")
}

func runLabTest(cmd *cobra.Command, dir string, args []string, o labTestOptions) error {
	var all []*labs.Lab
	for _, arg := range args { // all of them, before the first cluster is made
		folder, err := findLab(dir, arg)
		if err != nil {
			return err
		}
		lab, err := folder.load()
		if err != nil {
			return fmt.Errorf("the lab has errors:\n%w", err)
		}
		if problems := labs.Lint(lab); len(problems) > 0 {
			return fmt.Errorf("the lab has errors:\n%w", folder.shown(problems))
		}
		all = append(all, lab)
	}
	provider, done, err := authorSandboxes(cmd, o.data, o.nodeImage)
	if err != nil {
		return err
	}
	defer done()
	sound := true
	for _, lab := range all {
		proof, err := proveLab(cmd, provider, lab, o)
		if err != nil {
			return err
		}
		sound = sound && proof.OK
	}
	if !sound {
		return errReported
	}
	return nil
}

func proveLab(cmd *cobra.Command, provider sandbox.Provider, lab *labs.Lab, o labTestOptions) (labs.Proof, error) {
	rows := cmd.OutOrStdout()
	if o.asJSON {
		rows = cmd.ErrOrStderr()
	}
	fmt.Fprintf(rows, "%s, version %s\n", lab.Slug, lab.Version)
	proof, err := labs.Prove(cmd.Context(), lab, labs.ProveOptions{
		Provider: provider, Variants: o.variants, Parallel: o.parallel,
		Done: func(c labs.Case) { printCase(rows, c) },
		Log:  slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	var problems labs.Problems
	switch {
	case errors.As(err, &problems):
		return labs.Proof{}, fmt.Errorf("the lab has errors:\n%w", err)
	case err != nil:
		return labs.Proof{}, err
	}
	printVerdict(rows, proof)
	if !o.asJSON {
		return proof, nil
	}
	return proof, json.NewEncoder(cmd.OutOrStdout()).Encode(proof)
}

func printCase(w io.Writer, c labs.Case) {
	verdict := "ok"
	if !c.OK {
		verdict = "FAILED"
	}
	fmt.Fprintf(w, "  %-16s %-10s %-30s %-6s %7.1f s\n", c.Variant, c.Kind, c.Name, verdict, c.Took.Seconds())
	for _, problem := range c.Problems {
		fmt.Fprintf(w, "      %s\n", problem)
	}
}

func printVerdict(w io.Writer, proof labs.Proof) {
	failed := 0
	for _, c := range proof.Cases {
		if !c.OK {
			failed++
		}
	}
	took := proof.Took.Round(time.Second)
	if failed == 0 {
		fmt.Fprintf(w, "%s is proven: %s in %s\n", proof.Lab, counted(len(proof.Cases), "case"), took)
		return
	}
	fmt.Fprintf(w, "%s is broken: %d of %s failed in %s\n", proof.Lab, failed, counted(len(proof.Cases), "case"), took)
	for _, c := range proof.Cases {
		if !c.OK {
			fmt.Fprintf(w, "  %s, %s: %s\n", c.Variant, strings.TrimSpace(string(c.Kind)+" "+c.Name), c.Problems[0])
		}
	}
}
