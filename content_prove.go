package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drydock/content"
	"drydock/content/prove"
	"drydock/sandbox"
)

func newContentTestCommand() *cobra.Command {
	var o contentTest
	cmd := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run the commands of articles in real sandboxes",
		Long: `Run the articles below DIR, the folder that has one folder per track, from top to
bottom in real sandboxes; without DIR, those that come with Drydock. Commands are
typed into a terminal; what they print, and how they end, must be what the text
says. "go doc drydock/content" describes the words that say where a block is run.
Each block that lies is printed with file and line. Ends with status 1 then.`,
		Example: `  drydock content test
  drydock content test --article from-keyboard-to-kernel
  drydock content test ./my-tracks --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.base = "content/tracks"
			tracks := content.Embedded()
			if len(args) == 1 {
				tracks, o.base = os.DirFS(args[0]), args[0]
			}
			library, err := content.Load(tracks)
			if err != nil {
				return reportContent(cmd, library, err, o.base, o.json)
			}
			articles, err := o.chosen(library)
			if err != nil {
				return err
			}
			return o.run(cmd, articles)
		},
	}
	cmd.Flags().StringVar(&o.article, "article", "", "slug of one article to run instead of all")
	addSandboxFlags(cmd, &o.data, &o.nodeImage)
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object a line for each block")
	return cmd
}

// contentTest is a run of "content test".
type contentTest struct {
	article, base   string
	data, nodeImage string
	json            bool
}

// chosen are the articles to run, in the order of their tracks.
func (o *contentTest) chosen(library *content.Library) ([]*content.Article, error) {
	var all []*content.Article
	for _, t := range library.Tracks {
		all = append(all, t.Articles...)
	}
	if o.article == "" {
		return all, nil
	}
	a, ok := library.Article(o.article)
	if !ok {
		return nil, fmt.Errorf("there is no article %q below %s", o.article, o.base)
	}
	return []*content.Article{a}, nil
}

func (o *contentTest) run(cmd *cobra.Command, articles []*content.Article) error {
	provider, done, err := authorSandboxes(cmd, o.data, o.nodeImage)
	if err != nil {
		return err
	}
	defer done()
	lies := 0
	for _, a := range articles {
		begin := time.Now()
		results, err := prove.Article(cmd.Context(), a, prove.Options{Provider: provider, Done: o.tell(cmd), Stage: o.stage(cmd)})
		if err != nil {
			return fmt.Errorf("article %s: %w", a.Slug, err)
		}
		found := len(prove.Problems(results))
		lies += found
		if !o.json {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d blocks in %s, %d problems\n", a.Slug, len(results), time.Since(begin).Round(time.Second), found)
		}
	}
	if lies > 0 {
		return errReported
	}
	return nil
}

// tell prints the blocks that lie, or as JSON all.
func (o *contentTest) tell(cmd *cobra.Command) func(prove.Result) {
	return func(r prove.Result) {
		r.File = filepath.Join(o.base, r.File)
		switch {
		case o.json:
			_ = json.NewEncoder(cmd.OutOrStdout()).Encode(r)
		case r.Problem != "":
			fmt.Fprintf(cmd.OutOrStdout(), "%s:%d: %s\n", r.File, r.Line, r.Problem)
			for line := range strings.Lines(r.Printed) {
				fmt.Fprintf(cmd.OutOrStdout(), "    | %s\n", strings.TrimRight(line, "\r\n"))
			}
		}
	}
}

// stage tells of what takes more than a second before the first block is run.
func (o *contentTest) stage(cmd *cobra.Command) sandbox.Progress {
	slow := []string{"Start the node", "Make the machine"}
	return func(s sandbox.Stage) {
		if !o.json && !s.Done && slices.Contains(slow, s.Name) {
			fmt.Fprintln(cmd.ErrOrStderr(), s.Name+" …")
		}
	}
}
