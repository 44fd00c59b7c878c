package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
)

func newLabCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "List, make, check, prove, try and import labs, and regrade their attempts",
		Long: `List, make, check, prove, try and import labs, and regrade their attempts.

A lab is a folder with a lab.yaml; "go doc drydock/labs" describes the format.
Labs are named by slug, which finds those that come with Drydock (or those of
--labs), or by a path to a lab's folder.`,
		Example: `  drydock lab list
  drydock lab new broken-dns                a small lab that works, to be changed
  drydock lab lint ./my-labs/broken-dns     what is wrong, without a cluster
  drydock lab test init-containers          every solution and wrong fix, on real clusters
  drydock lab start init-containers         bring it up and work on it in this terminal
  drydock lab regrade init-containers       what a corrected check changes in the grades so far
  drydock lab import killercoda ./scenarios labs from another platform's format`,
		Args: cobra.NoArgs,
	}
	var dir string
	cmd.PersistentFlags().StringVar(&dir, "labs", "", "directory of labs to use instead of the built-in ones")
	cmd.AddCommand(newLabListCommand(&dir), newLabNewCommand(&dir), newLabLintCommand(&dir), newLabTestCommand(&dir), newLabStartCommand(&dir),
		newLabRegradeCommand(&dir), newLabImportCommand())
	return cmd
}

// labFolder is a lab, named but not loaded.
type labFolder struct {
	files fs.FS  // the folder that holds the lab's
	slug  string // the lab's folder
	dir   string // of files on disk; empty for the labs that are built in
}

// findLab turns a slug, or a path to a lab's folder, into the lab's place.
func findLab(labsDir, arg string) (labFolder, error) {
	if isLabPath(arg) {
		folder, err := filepath.Abs(arg)
		if err != nil {
			return labFolder{}, fmt.Errorf("find %s: %w", arg, err)
		}
		parent, slug := filepath.Split(folder)
		return labFolder{files: os.DirFS(parent), slug: slug, dir: parent}, nil
	}
	all, err := allLabs(labsDir)
	if err != nil {
		return labFolder{}, err
	}
	var slugs []string
	for _, lab := range all {
		if lab.slug == arg {
			return lab, nil
		}
		slugs = append(slugs, lab.slug)
	}
	return labFolder{}, fmt.Errorf("there is no lab %q; there are: %s", arg, strings.Join(slugs, ", "))
}

// isLabPath tells a path from a slug.
func isLabPath(arg string) bool {
	if arg == "." || arg == ".." || strings.ContainsRune(arg, filepath.Separator) {
		return true
	}
	_, err := os.Stat(filepath.Join(arg, "lab.yaml"))
	return err == nil
}

// allLabs lists the folders of the labs that are built in, or of dir.
func allLabs(dir string) ([]labFolder, error) {
	files := catalogue.FS()
	if dir != "" {
		files = os.DirFS(dir)
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("read the labs: %w", err)
	}
	var all []labFolder
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") && !strings.HasPrefix(entry.Name(), "_") {
			all = append(all, labFolder{files: files, slug: entry.Name(), dir: dir})
		}
	}
	return all, nil
}

// load reads the lab; its problems name files as the user would.
func (f labFolder) load() (*labs.Lab, error) { return f.named(labs.LoadLab(f.files, f.slug)) }

// loadCopy reads the lab from a copy below dir, so that it may be edited meanwhile.
func (f labFolder) loadCopy(dir string) (*labs.Lab, error) {
	return f.named(labs.LoadCopy(f.files, f.slug, dir))
}

func (f labFolder) named(lab *labs.Lab, err error) (*labs.Lab, error) {
	var problems labs.Problems
	if errors.As(err, &problems) {
		return nil, f.shown(problems)
	}
	return lab, err
}

// shown names the files of problems as seen from the current directory.
func (f labFolder) shown(problems []labs.Problem) labs.Problems {
	here, err := os.Getwd()
	if f.dir == "" || err != nil {
		return problems
	}
	base, err := filepath.Abs(f.dir)
	if err != nil {
		return problems
	}
	var shown labs.Problems
	for _, p := range problems {
		full := filepath.Join(base, filepath.FromSlash(p.File))
		p.File = full
		if near, err := filepath.Rel(here, full); err == nil && !strings.HasPrefix(near, "..") {
			p.File = near
		}
		shown = append(shown, p)
	}
	return shown
}

func newLabListCommand(dir *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the labs",
		Example: `  drydock lab list
  drydock lab list --labs ./my-labs --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := loadLabs(*dir)
			if err != nil {
				return err
			}
			return printLabs(cmd, all.All(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func printLabs(cmd *cobra.Command, all []*labs.Lab, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(cmd.OutOrStdout())
		for _, lab := range all {
			line, err := describeLab(lab)
			if err == nil {
				err = out.Encode(line)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SLUG\tTITLE\tTRACK\tLEVEL\tMINUTES\tTASKS\tVARIANTS\tLAST PROVEN")
	for _, lab := range all {
		draft, err := draftWords(lab)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s%s\n",
			lab.Slug, lab.Title, lab.Track, lab.Level, lab.Minutes, len(lab.Tasks), len(lab.AllVariants()), provenWords(lab), draft)
	}
	return w.Flush()
}

// provenWords says when a lab was last proven.
func provenWords(lab *labs.Lab) string {
	switch {
	case lab.Proven == nil:
		return "never"
	case !lab.ProvenNow():
		return "an older version, " + lab.Proven.At.Format(time.DateOnly)
	}
	return lab.Proven.At.Format(time.DateOnly) + " on " + lab.Proven.On()
}

// draftWords says of a lab from another platform what it still lacks.
func draftWords(lab *labs.Lab) (string, error) {
	lacking, err := lab.Lacking()
	if err != nil || len(lacking) == 0 {
		return "", err
	}
	return fmt.Sprintf("; draft from %s: lacks %s", lab.Imported.From, strings.Join(lacking, " and ")), nil
}

// labLine is a lab in the output of `lab list --json`.
type labLine struct {
	Slug     string   `json:"slug"`
	Version  string   `json:"version"`
	Title    string   `json:"title"`
	Summary  string   `json:"summary"`
	Track    string   `json:"track"`
	Article  string   `json:"article,omitempty"`
	Level    string   `json:"level"`
	Minutes  int      `json:"minutes"`
	Tasks    []string `json:"tasks"`
	Variants []string `json:"variants"`
	// Proven is the last proof that was recorded; of this version only if ProvenNow.
	Proven    *labs.Proven `json:"proven,omitempty"`
	ProvenNow bool         `json:"provenNow"`
	// Of a lab from another platform: its format, and what keeps it a draft.
	Imported string   `json:"imported,omitempty"`
	Lacking  []string `json:"lacking,omitempty"`
}

func describeLab(lab *labs.Lab) (line labLine, err error) {
	line = labLine{
		Slug: lab.Slug, Version: lab.Version, Title: lab.Title, Summary: lab.Summary,
		Track: lab.Track, Article: lab.Article, Level: lab.Level, Minutes: lab.Minutes,
		Proven: lab.Proven, ProvenNow: lab.ProvenNow(),
	}
	for _, task := range lab.Tasks {
		line.Tasks = append(line.Tasks, task.ID)
	}
	for _, variant := range lab.AllVariants() {
		line.Variants = append(line.Variants, variant.Name)
	}
	if lab.Imported != nil {
		line.Imported = lab.Imported.From
	}
	line.Lacking, err = lab.Lacking()
	return line, err
}

// authorSandboxes opens the provider for an author's own sandboxes. They are
// kept apart from a server's, which removes what no session of it owns. What
// an earlier run that was killed has left is removed. A kind that does not
// answer is told, and leaves the labs of the others.
func authorSandboxes(cmd *cobra.Command, data, nodeImage string) (provider sandbox.Provider, done func(), err error) {
	if data == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, nil, fmt.Errorf("find a directory for the sandboxes' state; choose one with --data: %w", err)
		}
		data = filepath.Join(cache, "drydock", "lab")
	}
	unlock, err := lockData(data)
	if err != nil {
		return nil, nil, err
	}
	provider, err = openProvider(data, nodeImage, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		unlock()
		return nil, nil, err
	}
	if err := clearOld(cmd.Context(), provider, cmd.ErrOrStderr()); err != nil {
		unlock()
		return nil, nil, fmt.Errorf("remove what an earlier run left: %w", err)
	}
	return provider, unlock, nil
}

// clearOld removes the sandboxes that an earlier run left, and old templates.
// Which kinds did not answer it says on warnings, if others did.
func clearOld(ctx context.Context, provider sandbox.Provider, warnings io.Writer) error {
	left, err := provider.List(ctx)
	if silent, some := fleet.Partly(err); some {
		fmt.Fprintln(warnings, "Only labs of other kinds can be started:", silent)
		err = nil
	}
	for _, info := range left {
		err = errors.Join(err, provider.Discard(ctx, info.ID))
	}
	templatesErr := removeOldTemplates(ctx, provider)
	if _, some := fleet.Partly(templatesErr); some {
		templatesErr = nil // said already
	}
	return errors.Join(err, templatesErr)
}

// templatesKept is how long an author's templates are kept: each edit of a lab
// makes another one, and today's help to start it quickly again.
const templatesKept = 12 * time.Hour

func removeOldTemplates(ctx context.Context, provider sandbox.Provider) error {
	templates, err := provider.Templates(ctx)
	for _, t := range templates {
		if time.Since(t.Created) > templatesKept {
			err = errors.Join(err, provider.RemoveTemplate(ctx, t.ID))
		}
	}
	return err
}
