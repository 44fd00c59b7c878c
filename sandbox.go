package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/firewall"
	"drydock/sandbox/fleet"
	"drydock/sandbox/image"
)

// measureTimeout bounds the measuring of the sandboxes for a list: it takes a
// moment, unless a container of theirs does not answer.
const measureTimeout = 10 * time.Second

func newSandboxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "List, remove and prune this instance's sandboxes and templates",
		Long: `List, remove and prune the sandboxes and templates of one data directory, found
on the engine by label. Those of other instances on the same engine are never
touched. A server that runs shows the same, live, at /admin/sandboxes.`,
	}
	var data string
	cmd.PersistentFlags().StringVar(&data, "data", "./data", "directory of everything that is kept")
	cmd.AddCommand(newSandboxListCommand(&data), newSandboxRemoveCommand(&data), newSandboxPruneCommand(&data))
	return cmd
}

// sandboxLine is a sandbox as `sandbox list --json` prints it.
type sandboxLine struct {
	sandbox.Info
	TemplateName string // what the template is called: lab, version and variant
	Usage        sandbox.Usage
}

func newSandboxListCommand(data *string) *cobra.Command {
	var asJSON, templates bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sandboxes with what they take, or the templates",
		Example: `  drydock sandbox list
  drydock sandbox list --templates
  drydock sandbox list --json | jq -r 'select(.Use == "spare") | .ID'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			provider, err := openProvider(*data, "", slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if templates {
				return listTemplates(cmd.Context(), provider, cmd.OutOrStdout(), cmd.ErrOrStderr(), asJSON)
			}
			return listSandboxes(cmd.Context(), provider, cmd.OutOrStdout(), cmd.ErrOrStderr(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&templates, "templates", false, "list the templates instead")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// listTemplates prints the templates; those of a kind that does not answer are missing, and the error says so.
func listTemplates(ctx context.Context, provider sandbox.Provider, out, hints io.Writer, asJSON bool) error {
	kept, err := provider.Templates(ctx)
	if err != nil && len(kept) == 0 {
		return err
	}
	return errors.Join(printTemplates(out, hints, kept, asJSON), err)
}

// listSandboxes prints the sandboxes in the same way.
func listSandboxes(ctx context.Context, provider sandbox.Provider, out, hints io.Writer, asJSON bool) error {
	kept, err := provider.Templates(ctx)
	if _, some := fleet.Partly(err); err != nil && !some {
		return err
	}
	lines, err := measureSandboxes(ctx, provider, kept)
	if err != nil && len(lines) == 0 {
		return err
	}
	if slices.ContainsFunc(lines, func(l sandboxLine) bool { return !l.Usage.Known() }) {
		fmt.Fprintln(hints, "What some of them take could not be measured.")
	}
	return errors.Join(printSandboxes(out, hints, lines, asJSON), err)
}

// measureSandboxes lists the sandboxes, the oldest first, with what they take.
// That is left out where it can't be measured: one container that hangs must not
// hide all others from who looks for it. The error is the list's.
func measureSandboxes(ctx context.Context, provider sandbox.Provider, templates []sandbox.Template) ([]sandboxLine, error) {
	infos, err := provider.List(ctx)
	if len(infos) == 0 {
		return nil, err
	}
	ids := make([]string, 0, len(infos))
	for _, info := range infos {
		ids = append(ids, info.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	usage, _ := provider.Usage(ctx, ids...)
	names := map[string]string{}
	for _, t := range templates {
		names[t.ID] = t.Name
	}
	lines := make([]sandboxLine, 0, len(infos))
	for _, info := range infos {
		lines = append(lines, sandboxLine{info, names[info.Template], usage[info.ID]})
	}
	slices.SortFunc(lines, func(a, b sandboxLine) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return lines, err
}

func printSandboxes(out, hints io.Writer, lines []sandboxLine, asJSON bool) error {
	if asJSON {
		return encodeLines(out, lines)
	}
	if len(lines) == 0 {
		fmt.Fprintln(hints, "No sandboxes: nobody has a lab open.")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSESSION\tUSE\tKIND\tSTATE\tTEMPLATE\tMEMORY\tPIDS\tDISK\tAGE")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, cmp.Or(l.Session, "-"), l.Use, l.Kind, l.State,
			cmp.Or(l.TemplateName, l.Template, "-"), bytesSize(l.Usage.Memory), l.Usage.PIDs, bytesSize(l.Usage.Disk), age(l.Created))
	}
	return w.Flush()
}

func printTemplates(out, hints io.Writer, templates []sandbox.Template, asJSON bool) error {
	if asJSON {
		return encodeLines(out, templates)
	}
	if len(templates) == 0 {
		fmt.Fprintln(hints, "No templates: the first start of a lab makes one.")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tKIND\tSIZE\tCOPIES\tAGE")
	for _, t := range templates {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", t.ID, t.Name, t.Kind, bytesSize(t.Size), t.Used, age(t.Created))
	}
	return w.Flush()
}

func encodeLines[T any](out io.Writer, lines []T) error {
	encoder := json.NewEncoder(out)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// bytesSize writes what was measured; "-" what was not.
func bytesSize(n int64) string {
	if n == 0 {
		return "-"
	}
	return units.BytesSize(float64(n))
}

func age(since time.Time) string { return time.Since(since).Round(time.Second).String() }

func newSandboxRemoveCommand(data *string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "remove [SESSION…|ID…]",
		Short: "Remove sandboxes; what the learner did in them is lost, what was graded is kept",
		Example: `  drydock sandbox remove k3v9x2ab7qpm
  drydock sandbox remove --all`,
		RunE: func(cmd *cobra.Command, named []string) error {
			if all == (len(named) > 0) {
				return errors.New("name the sessions whose sandboxes to remove, or the sandboxes' own ids, or say --all")
			}
			provider, err := openProvider(*data, "", slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if !all {
				return removeSandboxes(cmd.Context(), provider, named, cmd.ErrOrStderr())
			}
			if err := removeAll(cmd.Context(), provider, cmd.ErrOrStderr()); err != nil {
				return err
			}
			return removeFirewall(cmd.Context(), *data, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove all sandboxes of this data directory, spares and templates included")
	return cmd
}

// removeSandboxes removes those that are named, as far as their kinds answer.
func removeSandboxes(ctx context.Context, provider sandbox.Provider, named []string, out io.Writer) error {
	infos, err := provider.List(ctx)
	if _, some := fleet.Partly(err); err != nil && !some {
		return err
	}
	var problems []error
	for _, name := range named {
		if err := removeSandbox(ctx, provider, infos, name); err != nil {
			problems = append(problems, fmt.Errorf("remove the sandbox %s: %w", name, err))
			continue
		}
		fmt.Fprintf(out, "removed the sandbox %s\n", name)
	}
	return errors.Join(problems...)
}

// removeAll removes all sandboxes and templates of this data directory, so that
// nothing of it stays on the engine, as far as their kinds answer.
func removeAll(ctx context.Context, provider sandbox.Provider, out io.Writer) error {
	infos, err := provider.List(ctx)
	problems := []error{err}
	for _, info := range infos {
		if err := provider.Discard(ctx, info.ID); err != nil {
			problems = append(problems, fmt.Errorf("remove the sandbox %s: %w", info.ID, err))
			continue
		}
		fmt.Fprintf(out, "removed the sandbox %s\n", info.ID)
	}
	templates, err := provider.Templates(ctx)
	if problems[0] == nil {
		problems[0] = err // the same, most of the time
	}
	for _, t := range templates {
		if err := provider.RemoveTemplate(ctx, t.ID); err != nil {
			problems = append(problems, fmt.Errorf("remove the template %s: %w", t.Name, err))
			continue
		}
		fmt.Fprintf(out, "removed the template %s (%s)\n", t.Name, t.ID)
	}
	return errors.Join(problems...)
}

// removeFirewall takes the rules of this data directory's sandboxes away, where
// they are and there is an engine to do it.
func removeFirewall(ctx context.Context, data string, out io.Writer) error {
	instance, err := instanceID(data)
	if err != nil {
		return err
	}
	cli, err := engine.Open()
	if errors.Is(err, engine.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	defer cli.Close()
	wall := firewall.New(firewall.Config{Instance: instance, Image: image.NodeRef, Engine: cli})
	switch err := wall.Check(ctx); {
	case errors.Is(err, firewall.ErrOpen):
		return nil
	case err != nil: // without a node image there is nothing to take them away with; they bind nobody
		fmt.Fprintln(out, "the rules of the sandboxes' firewall stay:", err)
		return nil
	}
	return wall.Remove(ctx)
}

// removeSandbox removes by a sandbox's own id, or else the one of a session:
// also when that is in no list, for a part of it may be left.
func removeSandbox(ctx context.Context, provider sandbox.Provider, infos []sandbox.Info, name string) error {
	if slices.ContainsFunc(infos, func(i sandbox.Info) bool { return i.ID == name }) {
		return provider.Discard(ctx, name)
	}
	return provider.Destroy(ctx, name)
}

func newSandboxPruneCommand(data *string) *cobra.Command {
	var labsDir string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what nobody needs: spares, templates that no lab asks for, leftovers",
		Long: `Remove what nobody needs: all spares, the templates that no lab asks for and no
sandbox uses, and what is left of sandboxes that died half-made. Sessions are
not touched. The next start of a lab may take longer.

A server that runs makes new spares after a while, unless it drains.`,
		Example: `  drydock sandbox prune
  drydock sandbox prune --labs ./my-labs     for a server that serves those labs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, left, err := pruneSandboxes(cmd.Context(), *data, labsDir)
			for _, info := range report.Spares {
				fmt.Fprintf(cmd.ErrOrStderr(), "removed the spare %s\n", info.ID)
			}
			for _, t := range report.Templates {
				fmt.Fprintf(cmd.ErrOrStderr(), "removed the template %s (%s)\n", t.Name, t.ID)
			}
			if _, some := fleet.Partly(err); err != nil && !some {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed: %d spares, %d templates (%s of disk), %d leftovers\n",
				len(report.Spares), len(report.Templates), units.BytesSize(float64(report.Freed)), left)
			return err
		},
	}
	cmd.Flags().StringVar(&labsDir, "labs", "", "directory of the labs that are served instead of the built-in ones")
	return cmd
}

// pruneSandboxes also counts the leftovers that went: sandboxes that nobody is
// preparing any more, or that were on their way out.
func pruneSandboxes(ctx context.Context, data, labsDir string) (report fleet.PruneReport, left int, err error) {
	set, err := loadLabs(labsDir)
	if err != nil {
		return report, 0, err
	}
	log := slog.New(slog.DiscardHandler)
	providers, err := openProviders(data, "", log)
	if err != nil {
		return report, 0, err
	}
	all, err := fleet.New(fleet.Config{
		Providers: providers, Log: log,
		Specs: func() []sandbox.Spec { return set.Specs(nil) }, // none is made here
	})
	if err != nil {
		return report, 0, err
	}
	before, err := all.List(ctx)
	if _, some := fleet.Partly(err); err != nil && !some {
		return report, 0, err
	}
	report, err = all.Prune(ctx)
	after, listErr := all.List(ctx)
	if listErr != nil {
		after = before // what has gone can't be told
	}
	if _, some := fleet.Partly(listErr); some && err != nil {
		listErr = nil // said already
	}
	return report, leftovers(before, after), errors.Join(err, listErr)
}

// leftovers counts the sandboxes of before that are not in after and that
// served neither a session nor as a spare.
func leftovers(before, after []sandbox.Info) int {
	n := 0
	for _, info := range before {
		half := info.Use == sandbox.Preparing || info.Use == sandbox.Leaving
		if half && !slices.ContainsFunc(after, func(i sandbox.Info) bool { return i.ID == info.ID }) {
			n++
		}
	}
	return n
}
