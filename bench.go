package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// measurement is one figure, as it is printed. Times are in seconds, rates per
// second. A yardstick is measured in the same run, alternating with ours; all
// values are medians of N.
type measurement struct {
	Name           string  `json:"name"`
	Value          float64 `json:"value"`
	Unit           string  `json:"unit"`
	Yardstick      string  `json:"yardstick,omitempty"`
	YardstickValue float64 `json:"yardstick_value,omitempty"`
	Ratio          float64 `json:"ratio,omitempty"`
	N              int     `json:"n"`
	Note           string  `json:"note,omitempty"`
}

// against sets the yardstick of m.
func (m measurement) against(name string, value float64) measurement {
	m.Yardstick, m.YardstickValue = name, value
	if value != 0 {
		m.Ratio = m.Value / value
	}
	return m
}

// benchmark measures one or more figures that belong to one run.
type benchmark struct {
	names []string
	about string
	run   func(ctx context.Context, progress io.Writer) ([]measurement, error)
}

func benchmarks() []benchmark {
	return []benchmark{
		{[]string{"start.kind", "start.cold", "start.warm", "reset", "thaw", "memory.idle", "start.template"},
			"what a learner of a cluster lab waits for, and what a cluster takes, against plain kind with the same image and lab", benchCluster},
		{[]string{"start.machine"}, "Start of a machine lab to prompt", benchMachine},
		{densityNames(), "the machine filled with sessions: memory, CPU, starts, and how quick a key comes back", benchDensity},
		{gradeNames(), "the processor time of grading fifty sessions at once", benchGrade},
		{[]string{"tick", "tick.probe"}, "a change by kubectl, or a service that answers again, to the tick in the page", benchTick},
		{[]string{"articles.start", "articles.reload", "articles.library", "articles.memory", "articles.rps", "articles.p99"},
			"2,000 articles: their start, their memory, and their pages under load against net/http's file server on the same bytes", benchArticles},
		{[]string{"search", "search.p99", "search.build"}, "a query at two thousand pages, and what its index costs", benchSearch},
	}
}

func newBenchCommand() *cobra.Command {
	var asJSON bool
	var long strings.Builder
	long.WriteString("Measure this machine. Machines are noisy: read the ratios, which compare with a\nyardstick measured in the same run, alternating with ours.\n\n")
	for _, b := range benchmarks() {
		fmt.Fprintf(&long, "  %-28s %s\n", strings.Join(b.names, ", "), b.about)
	}
	cmd := &cobra.Command{
		Use:   "bench [NAME…]",
		Short: "Measure starts, ticks and pages, each beside its yardstick",
		Long:  long.String(),
		Example: `  drydock bench
  drydock bench tick articles
  drydock bench --json start > start.jsonl`,
		RunE: func(cmd *cobra.Command, names []string) error {
			chosen, err := chooseBenchmarks(names)
			if err != nil {
				return err
			}
			return runBenchmarks(cmd, chosen, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// chooseBenchmarks selects by full name or by the part before the dot; none selects all.
func chooseBenchmarks(names []string) ([]benchmark, error) {
	if len(names) == 0 {
		return benchmarks(), nil
	}
	var chosen []benchmark
	var known []string
	unknown := slices.Clone(names)
	for _, b := range benchmarks() {
		known = append(known, b.names...)
		hit := false
		for _, have := range b.names {
			for _, want := range names {
				if have == want || strings.HasPrefix(have, want+".") {
					hit = true
					unknown = slices.DeleteFunc(unknown, func(u string) bool { return u == want })
				}
			}
		}
		if hit {
			chosen = append(chosen, b)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("there is no benchmark %q; there are: %s", unknown[0], strings.Join(known, ", "))
	}
	return chosen, nil
}

func runBenchmarks(cmd *cobra.Command, chosen []benchmark, asJSON bool) error {
	lines := json.NewEncoder(cmd.OutOrStdout())
	var all []measurement
	for _, b := range chosen {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", strings.Join(b.names, ", "), b.about)
		got, err := b.run(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return fmt.Errorf("measure %s: %w", strings.Join(b.names, ", "), err)
		}
		for _, m := range got {
			if asJSON {
				if err := lines.Encode(m); err != nil {
					return err
				}
			}
		}
		all = append(all, got...)
	}
	if asJSON {
		return nil
	}
	return printMeasurements(cmd.OutOrStdout(), all)
}

func printMeasurements(out io.Writer, all []measurement) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVALUE\tUNIT\tYARDSTICK\tITS VALUE\tRATIO\tN\tNOTE")
	for _, m := range all {
		yardstick, value, ratio := "–", "–", "–"
		if m.Yardstick != "" {
			yardstick, value, ratio = m.Yardstick, fmt.Sprintf("%.3g", m.YardstickValue), fmt.Sprintf("%.2f", m.Ratio)
		}
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\t%s\t%d\t%s\n", m.Name, m.Value, m.Unit, yardstick, value, ratio, m.N, m.Note)
	}
	return w.Flush()
}

// median of values, which it sorts; 0 of none.
func median[T cmp.Ordered](values []T) (m T) {
	if len(values) == 0 {
		return m
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// seconds since began.
func seconds(began time.Time) float64 { return time.Since(began).Seconds() }
