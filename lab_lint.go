package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"drydock/content"
	"drydock/labs"
)

func newLabLintCommand(dir *string) *cobra.Command {
	var asJSON bool
	var contentDir string
	cmd := &cobra.Command{
		Use:   "lint [SLUG|DIR…]",
		Short: "Find what is wrong with labs, without running them",
		Long: `Finds what is wrong with labs without running them: every problem at once, with
file and line. Without arguments all labs are checked. It exits with 1 when there
is a problem.`,
		Example: `  drydock lab lint
  drydock lab lint init-containers
  drydock lab lint ./my-labs/broken-dns --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			folders, err := labFolders(*dir, args)
			if err != nil {
				return err
			}
			hasArticle, err := articleLookup(contentDir)
			if err != nil {
				return err
			}
			var found labs.Problems
			drafts := ""
			for _, folder := range folders {
				problems, draft, err := folder.lint(hasArticle)
				if err != nil {
					return err
				}
				found = append(found, problems...)
				drafts += draft
			}
			return printProblems(cmd, found, len(folders), drafts, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.Flags().StringVar(&contentDir, "content", "", "directory of tracks with the labs' articles, instead of the built-in ones")
	return cmd
}

func labFolders(dir string, args []string) ([]labFolder, error) {
	if len(args) == 0 {
		return allLabs(dir)
	}
	var folders []labFolder
	for _, arg := range args {
		folder, err := findLab(dir, arg)
		if err != nil {
			return nil, err
		}
		folders = append(folders, folder)
	}
	return folders, nil
}

func articleLookup(dir string) (func(slug string) bool, error) {
	files := content.Embedded()
	if dir != "" {
		files = os.DirFS(dir)
	}
	library, err := content.Load(files)
	if err != nil {
		return nil, fmt.Errorf("the articles have errors:\n%w", err)
	}
	return func(slug string) bool {
		_, ok := library.Article(slug)
		return ok
	}, nil
}

// lint returns the problems of one lab, and what makes it a draft; the error is
// for what kept us from looking.
func (f labFolder) lint(hasArticle func(slug string) bool) (problems labs.Problems, draft string, err error) {
	lab, err := f.load()
	switch {
	case errors.As(err, &problems):
		return problems, "", nil
	case err != nil:
		return nil, "", err
	}
	if lacking, err := lab.Lacking(); err == nil && len(lacking) > 0 { // an error is among the problems
		draft = fmt.Sprintf("; a draft: %s lacks %s", lab.Slug, strings.Join(lacking, " and "))
	}
	problems = labs.Lint(lab, labs.WithArticles(hasArticle))
	_, err = content.Render(path.Join(lab.Slug, "README.md"), []byte(lab.Readme), content.Options{})
	for _, p := range content.Problems(err) {
		problems = append(problems, labs.Problem(p))
	}
	return f.shown(problems), draft, nil
}

func printProblems(cmd *cobra.Command, found labs.Problems, count int, drafts string, asJSON bool) error {
	out := json.NewEncoder(cmd.OutOrStdout())
	for _, p := range found {
		if !asJSON {
			fmt.Fprintln(cmd.OutOrStdout(), p.Error())
			continue
		}
		if err := out.Encode(p); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s in %s\n", counted(len(found), "problem"), counted(count, "lab"))
		return errReported
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s checked, no problems%s\n", counted(count, "lab"), drafts)
	return nil
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
