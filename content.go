package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"drydock/content"
	"drydock/labs/catalogue"
)

func newContentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "content",
		Short: "Write, check and prove articles and tracks",
		Long: `Write, check and prove articles and tracks. "go doc drydock/content" describes how they are
written.`,
		Example: `  drydock content new how-a-pipe-fills --track linux
  drydock content lint ./content/tracks
  drydock content test --article from-keyboard-to-kernel`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newContentNewCommand(), newContentPreviewCommand(), newContentLintCommand(), newContentTestCommand())
	return cmd
}

func newContentLintCommand() *cobra.Command {
	var labsDir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Print every problem of the articles, with file and line",
		Long: `Print every problem of the articles below DIR, the folder that has one folder per
track, with file and line; without DIR, of the articles that come with Drydock.
Links to labs are checked against the labs that come with Drydock, or those of
--labs. It also names what pages are whole with and an author should mend: lines
of code over 100 columns, names of products, long summaries, files that nothing
uses. Ends with status 1 when there is a problem.`,
		Example: `  drydock content lint
  drydock content lint ./content/tracks
  drydock content lint --json ./my-tracks | jq -r .file | sort | uniq -c`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tracks, base := content.Embedded(), "content/tracks"
			if len(args) == 1 {
				tracks, base = os.DirFS(args[0]), args[0]
			}
			library, err := content.Load(tracks)
			if err == nil {
				err = errors.Join(content.Lint(tracks), checkLabLinks(library, labsDir))
			}
			return reportContent(cmd, library, err, base, asJSON)
		},
	}
	cmd.Flags().StringVar(&labsDir, "labs", "", "directory of labs that articles may link to, instead of the built-in ones")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line for each problem")
	return cmd
}

// checkLabLinks checks the library's links to labs by the names of the labs' folders.
func checkLabLinks(library *content.Library, labsDir string) error {
	labs := catalogue.FS()
	if labsDir != "" {
		labs = os.DirFS(labsDir)
	}
	files, err := fs.Glob(labs, "*/lab.yaml")
	if err != nil {
		return fmt.Errorf("list the labs: %w", err)
	}
	known := make([]string, len(files))
	for i, file := range files {
		known[i] = path.Dir(file)
	}
	return library.CheckLabs(known)
}

// reportContent prints the problems on standard output, with paths that can be
// opened from here, or what is there when there is none.
func reportContent(cmd *cobra.Command, library *content.Library, err error, base string, asJSON bool) error {
	found := content.Problems(err)
	if err != nil && len(found) == 0 {
		return err
	}
	if err == nil {
		if !asJSON {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d articles in %d tracks: no problems\n", len(library.Articles), len(library.Tracks))
		}
		return err
	}
	for _, p := range found {
		p.File = filepath.Join(base, p.File)
		if err := printProblem(cmd.OutOrStdout(), p, asJSON); err != nil {
			return err
		}
	}
	if !asJSON {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d problems\n", len(found))
	}
	return errReported
}

func printProblem(out io.Writer, p content.Problem, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(p)
	}
	_, err := fmt.Fprintln(out, p)
	return err
}
