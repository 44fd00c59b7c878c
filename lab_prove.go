package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/sandbox/image"
)

type labTestOptions struct {
	variants        []string
	asJSON          bool
	record          bool
	parallel        int // 0: by the machine
	idle            time.Duration
	data, nodeImage string
}

func newLabTestCommand(dir *string) *cobra.Command {
	var o labTestOptions
	cmd := &cobra.Command{
		Use:   "test [SLUG|DIR…]",
		Short: "Prove labs on real sandboxes",
		Long: `Proves labs on real sandboxes; without arguments, all labs. For every variant it tries
  - hand-over: all checks fail, all guards hold, and questions take the right answers only;
  - each solution, run as the learner: everything passes, and no guard is violated on the way;
  - each wrong fix, run as the learner: the check, guard or question that it names catches it;
  - what is tried against every lab: doing nothing for a minute, in which no check may ever hold;
    deleting and restarting everything that the learner may, neither of which may do all tasks
    that have checks without violating a guard;
  - reset: the hand-over state again, after a reset.

Then each check, guard and question is dropped in turn, and told which wrong fix would pass
without it. What no wrong fix needs is a warning: a wrong fix for it is missing, or it is
superfluous. This takes no sandboxes: each wrong fix was judged to its end by all of them.

Every case has a sandbox that nobody has touched. A cluster lab is set up once for each
variant and kept as a template for the time of the proof; the cases work on copies of it,
as many at once as this machine has room for (--parallel).

With --record the lab's folder keeps, in _proof.json, when and on what it was proven; "lab
list" and the lab's page show it. The file is no part of the lab's version.

It exits with 1 when a case fails, and says which.`,
		Example: `  drydock lab test init-containers
  drydock lab test ./my-labs/broken-dns --variant typo
  drydock lab test init-containers --parallel 2
  drydock lab test --labs ./my-labs --record
  drydock lab test init-containers --json >proof.json`,
		RunE: func(cmd *cobra.Command, args []string) error { return runLabTest(cmd, *dir, args, o) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.variants, "variant", nil, "try only this variant (can be repeated)")
	flags.IntVar(&o.parallel, "parallel", 0, "how many sandboxes work at once (default by this machine's cores and free memory)")
	flags.DurationVar(&o.idle, "idle", time.Minute, "for how long doing nothing must earn nothing")
	flags.BoolVar(&o.record, "record", false, "write into the lab's folder when and on what it was proven")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object for each lab; progress goes to standard error")
	addSandboxFlags(cmd, &o.data, &o.nodeImage)
	return cmd
}

// addSandboxFlags adds the flags of commands that make sandboxes of an author's own.
func addSandboxFlags(cmd *cobra.Command, data, nodeImage *string) {
	cmd.Flags().StringVar(data, "data", "", "directory of the sandboxes' state (default below the user's cache directory)")
	cmd.Flags().StringVar(nodeImage, "node-image", "", "node image to use instead of the one that `drydock image build` makes")
}

// leastTestIdle is what doing nothing takes at least: less, and most checks have not looked twice.
const leastTestIdle = 10 * time.Second

// check says which of the options make no sense, all at once.
func (o labTestOptions) check(folders []labFolder) error {
	var problems []error
	refuse := func(format string, values ...any) { problems = append(problems, fmt.Errorf(format, values...)) }
	if o.parallel < 0 {
		refuse("--parallel %d: it must be 1 or more, or 0 for what this machine has room for", o.parallel)
	}
	if o.idle < leastTestIdle {
		refuse("--idle %s: it must be %s or more, so that every check has looked", o.idle, leastTestIdle)
	}
	if o.record && len(o.variants) > 0 {
		refuse("--record with --variant: only a proof of all variants is recorded; leave one of them out")
	}
	for _, folder := range folders {
		if o.record && folder.dir == "" {
			refuse("--record: the lab %s is built into this program; name its folder, such as ./labs/catalogue/%s", folder.slug, folder.slug)
		}
	}
	return errors.Join(problems...)
}

func runLabTest(cmd *cobra.Command, dir string, args []string, o labTestOptions) error {
	folders, err := labFolders(dir, args)
	if err != nil {
		return err
	}
	if err := o.check(folders); err != nil {
		return err
	}
	var all []*labs.Lab
	for _, folder := range folders { // all of them, before the first cluster is made
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
	for i, lab := range all {
		proof, err := proveLab(cmd, provider, lab, o)
		if err == nil && proof.OK && o.record {
			err = recordProof(cmd, provider, folders[i], lab, proof, o)
		}
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
	parallel := o.parallel
	if parallel == 0 {
		parallel = roomFor(lab.Sandbox.Kind)
	}
	fmt.Fprintf(rows, "%s, version %s, on %s at once\n", lab.Slug, lab.Version, counted(parallel, string(lab.Sandbox.Kind)))
	proof, err := labs.Prove(cmd.Context(), lab, labs.ProveOptions{
		Provider: provider, Variants: o.variants, Parallel: parallel, Idle: o.idle,
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
	printNeeds(rows, proof)
	printVerdict(rows, proof)
	if !o.asJSON {
		return proof, nil
	}
	return proof, json.NewEncoder(cmd.OutOrStdout()).Encode(proof)
}

// How many sandboxes of a proof work at once unless told otherwise.
const (
	// A case boots for a third of its time and waits for the rest, so that two
	// clusters keep two cores busy. A machine boots in no time, but is looked at
	// with commands, which the engine starts one by one.
	clustersPerCore = 1
	machinesPerCore = 2
	// What one of them takes with its lab, in bytes. It is counted three times:
	// while it is replaced the old one is still there, and another may be watched doing nothing.
	clusterTakes = 600 << 20
	machineTakes = 64 << 20
	proofCopies  = 3
	// maxParallel keeps the engine answering: it does one thing after the other.
	maxParallel = 16
)

// roomFor is how many sandboxes of a kind this machine has room for beside what it does already.
func roomFor(kind sandbox.Kind) int {
	free, err := memoryFigure("MemAvailable")
	if err != nil {
		return 1 // not known: the least
	}
	return roomIn(kind, runtime.NumCPU(), free)
}

func roomIn(kind sandbox.Kind, cores int, free int64) int {
	perCore, takes := clustersPerCore, int64(clusterTakes)
	if kind == sandbox.Machine {
		perCore, takes = machinesPerCore, machineTakes
	}
	byMemory := int(free / (takes * proofCopies))
	return max(1, min(cores*perCore, byMemory, maxParallel))
}

func printCase(w io.Writer, c labs.Case) {
	verdict := "ok"
	if !c.OK {
		verdict = "FAILED"
	}
	fmt.Fprintf(w, "  %-16s %-10s %-30s %-6s %7.1f s\n", c.Variant, c.Kind, c.Name, verdict, c.Took.Seconds())
	for _, line := range append(c.Problems, c.Notes...) {
		fmt.Fprintf(w, "      %s\n", line)
	}
}

// printNeeds says what each check is there for.
func printNeeds(w io.Writer, proof labs.Proof) {
	fmt.Fprintln(w, "  without it would pass:")
	for _, n := range proof.Needs {
		fmt.Fprintf(w, "    %-8s %-24s %s\n", n.Kind, n.ID, needWords(n))
	}
}

func needWords(n labs.Need) string {
	switch {
	case n.Needed():
		return strings.Join(n.Alone, ", ")
	case len(n.Catches) > 0:
		return "nothing: nobody needs it; others catch what it does (" + strings.Join(n.Catches, ", ") + ")"
	}
	return "nothing: nobody needs it; no wrong fix is caught by it"
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
		fmt.Fprintf(w, "%s is proven: %s in %s%s\n", proof.Lab, counted(len(proof.Cases), "case"), took, unneeded(proof))
		return
	}
	fmt.Fprintf(w, "%s is broken: %d of %s failed in %s\n", proof.Lab, failed, counted(len(proof.Cases), "case"), took)
	for _, c := range proof.Cases {
		if !c.OK {
			fmt.Fprintf(w, "  %s, %s: %s\n", c.Variant, strings.TrimSpace(string(c.Kind)+" "+c.Name), c.Problems[0])
		}
	}
}

// unneeded is the warning of a proof: what no wrong fix needs.
func unneeded(proof labs.Proof) string {
	var ids []string
	for _, n := range proof.Needs {
		if !n.Needed() {
			ids = append(ids, n.ID)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return "; no wrong fix needs " + strings.Join(ids, ", ")
}

// recordProof writes down in the lab's folder when and on what it was proven.
func recordProof(cmd *cobra.Command, provider sandbox.Provider, folder labFolder, lab *labs.Lab, proof labs.Proof, o labTestOptions) error {
	made, err := sandboxImage(cmd.Context(), provider, lab.Sandbox.Kind, o.nodeImage)
	if err != nil {
		return fmt.Errorf("find out what the lab was proven on: %w", err)
	}
	err = labs.Proven{
		Version: proof.Version, At: proof.Began.Add(proof.Took), Kubernetes: proof.Kubernetes,
		Image: made, Drydock: version, Cases: len(proof.Cases),
	}.Record(filepath.Join(folder.dir, folder.slug))
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "recorded in %s\n", filepath.Join(folder.slug, "_proof.json"))
	return nil
}

// recipeShown is how much of a recipe's hash is told: as much as in an image's name.
const recipeShown = 12

// sandboxImage names what a lab's sandboxes are made of here, with the hash of its recipe.
func sandboxImage(ctx context.Context, provider sandbox.Provider, kind sandbox.Kind, nodeImage string) (string, error) {
	name, recipe := image.Machine, ""
	if onGVisor(provider, kind) {
		machines, err := image.MachineDir()
		if err != nil {
			return "", err
		}
		root, err := image.ReadMachineRoot(machines)
		if err != nil {
			return "", err
		}
		name, recipe = "gVisor "+image.Machine, root.Recipe
	} else if err := withEngine(func(cli *client.Client) (err error) {
		ref := image.MachineRef
		if kind == sandbox.Cluster {
			name, ref = image.Node, cmp.Or(nodeImage, image.NodeRef)
		}
		images, err := image.List(ctx, cli)
		i := slices.IndexFunc(images, func(im image.Image) bool { return im.Ref == ref })
		if err == nil && i >= 0 {
			recipe = images[i].Recipe
		} else if err == nil {
			name = ref // an image of somebody else's
		}
		return err
	}); err != nil {
		return "", err
	}
	return strings.TrimSpace(name + " " + recipe[:min(len(recipe), recipeShown)]), nil
}

// onGVisor reports whether sandboxes of a kind are made without a container engine.
func onGVisor(provider sandbox.Provider, kind sandbox.Kind) bool {
	all, ok := provider.(*fleet.Fleet)
	return ok && kind == sandbox.Machine && len(all.Differences(kind)) > 0
}
