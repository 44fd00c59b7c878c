package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"drydock/labs"
	"drydock/labs/scaffold"
	"drydock/sandbox"
)

func newLabNewCommand(dir *string) *cobra.Command {
	var into, kind string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new SLUG",
		Short: "Make a new lab that works, to be changed",
		Long: `Makes the folder of a new lab: a small one that works, with two variants, two solutions,
three wrong fixes, and comments that explain the format. It passes "drydock lab test" as it
is; change it bit by bit, and it goes on doing so.`,
		Example: `  drydock lab new broken-dns
  drydock lab new out-of-files --kind machine --into ./my-labs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if into == "" {
				into = *dir // "" is here
			}
			folder, files, err := makeLab(into, args[0], kind)
			if err != nil {
				return err
			}
			return printMade(cmd, folder, files, asJSON)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", string(sandbox.Cluster), "what it runs in: cluster or machine")
	cmd.Flags().StringVar(&into, "into", "", "folder to make it in (default that of --labs, or the current one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// makeLab copies the lab that a new one begins with. Nothing that is there is touched.
func makeLab(into, slug, kind string) (folder string, names []string, err error) {
	if !labs.ValidSlug(slug) {
		return "", nil, fmt.Errorf("%q can't be the slug of a lab: up to 40 of a-z, 0-9 and - between them", slug)
	}
	if !slices.Contains([]sandbox.Kind{sandbox.Cluster, sandbox.Machine}, sandbox.Kind(kind)) {
		return "", nil, fmt.Errorf("--kind %q: it is cluster or machine", kind)
	}
	folder = filepath.Join(into, slug)
	source, err := fs.Sub(scaffold.FS(), kind)
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", nil, fmt.Errorf("make the lab: %w", err)
	}
	if err := os.Mkdir(folder, 0o755); errors.Is(err, fs.ErrExist) {
		return "", nil, fmt.Errorf("%s is there already; choose another slug, or remove it", folder)
	} else if err != nil {
		return "", nil, fmt.Errorf("make the lab: %w", err)
	}
	if err := os.CopyFS(folder, source); err != nil {
		return "", nil, fmt.Errorf("make the lab: %w", err)
	}
	err = fs.WalkDir(source, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return folder, names, err
}

func printMade(cmd *cobra.Command, folder string, names []string, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"folder": folder, "files": names})
	}
	for _, name := range names {
		fmt.Fprintln(out, filepath.Join(folder, filepath.FromSlash(name)))
	}
	shown := folder
	if !strings.ContainsRune(shown, filepath.Separator) {
		shown = "." + string(filepath.Separator) + shown
	}
	fmt.Fprintf(cmd.ErrOrStderr(), `
It works as it is. What to do next:
  drydock lab start %[1]s    look at it; what you save in lab.yaml is judged at once
  drydock lab lint %[1]s     what is wrong, without a sandbox
  drydock lab test %[1]s     prove it
"go doc drydock/labs" describes the format.
`, shown)
	return nil
}
