package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

const (
	recipeDir  = "sandbox/nodeimage"        // in the source tree
	recipeFile = recipeDir + "/recipe.yaml" //
	kindModule = "sigs.k8s.io/kind"

	// Programs that are built from the main module: the learner's shells', and the checks'.
	shellMain    = "./sandbox/shell/cmd/drydock-shell"
	probeMain    = "./sandbox/probe/cmd/drydock-probe"
	shellProgram = "/usr/local/bin/drydock-shell"
)

// hashLength is how much of a recipe's hash stands in a tag: 48 bits tell the builds of one project apart.
const hashLength = 12

// recipe is sandbox/nodeimage/recipe.yaml.
type recipe struct {
	Contract   string            `yaml:"contract"`
	Debian     string            `yaml:"debian"`
	Components []component       `yaml:"components"`
	Runsc      component         `yaml:"runsc"` // in no image; see MachineRoot
	Rootfs     map[string]rootfs `yaml:"rootfs"`
}

// component is a group of programs that are built from one Go module.
type component struct {
	Name     string   `yaml:"name"`
	Dir      string   `yaml:"dir"`    // of the go.mod that pins the versions, below recipeDir
	Module   string   `yaml:"module"` // the one whose version is the component's
	Packages []string `yaml:"packages"`
	Output   string   `yaml:"output"` // the program's name where the package's last element isn't it
	CGO      bool     `yaml:"cgo"`
	Tags     string   `yaml:"tags"`
	LDFlags  string   `yaml:"ldflags"` // a template over version
	// Replace changes what no flag sets, in what the component's own packages
	// ("./…") are built from, or all of them where it has none of its own.
	Replace []replacement `yaml:"replace"`
}

// replacement is a text that must be in a file once, and what takes its place.
type replacement struct {
	File     string `yaml:"file"` // the module's path and the file's in it
	Old, New string
}

// rootfs is a file system made of Debian packages by mmdebstrap.
type rootfs struct {
	Variant  string   `yaml:"variant"`
	Packages []string `yaml:"packages"`
}

// version is what a component's flags may mention.
type version struct{ Version, Major, Minor string }

func parseVersion(v string) version {
	major, rest, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return version{Version: v, Major: major, Minor: minor}
}

func (c component) ldflags(v string) (string, error) {
	t, err := template.New(c.Name).Option("missingkey=error").Parse(c.LDFlags)
	if err != nil {
		return "", fmt.Errorf("the ldflags of %s: %w", c.Name, err)
	}
	var out strings.Builder
	if err := t.Execute(&out, parseVersion(v)); err != nil {
		return "", fmt.Errorf("the ldflags of %s: %w", c.Name, err)
	}
	return out.String(), nil
}

// programs returns the file names that building the component leaves.
func (c component) programs() []string {
	if c.Output != "" {
		return []string{c.Output}
	}
	var names []string
	for _, p := range c.Packages {
		names = append(names, path.Base(p))
	}
	return names
}

// ErrNoSource is in the chain of the error for a directory without the recipe.
var ErrNoSource = errors.New("this is not a checkout of Drydock")

// source is a checkout of Drydock with its recipe.
type source struct {
	dir    string
	recipe recipe
}

func openSource(dir string) (*source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the source tree: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, recipeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no %s; go to one or name it with --source", ErrNoSource, dir, recipeFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the recipe: %w", err)
	}
	r, err := parseRecipe(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", recipeFile, err)
	}
	return &source{dir: dir, recipe: r}, nil
}

func parseRecipe(text []byte) (recipe, error) {
	var r recipe
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		return recipe{}, err
	}
	for _, name := range []string{"node", "proxy", "busybox", "terminal", Machine} {
		if len(r.Rootfs[name].Packages) == 0 {
			return recipe{}, fmt.Errorf("rootfs.%s has no packages", name)
		}
	}
	for _, c := range append(slices.Clone(r.Components), r.Runsc) {
		if c.Name == "" || c.Dir == "" || c.Module == "" || len(c.Packages) == 0 {
			return recipe{}, fmt.Errorf("component %q: name, dir, module and packages are needed", c.Name)
		}
		for _, r := range c.Replace {
			if r.File == "" || r.Old == "" || r.New == "" {
				return recipe{}, fmt.Errorf("component %q: replace: file, old and new are needed", c.Name)
			}
		}
		if c.Output != "" && len(c.Packages) != 1 {
			return recipe{}, fmt.Errorf("component %q: output names one program, but there are %d packages", c.Name, len(c.Packages))
		}
	}
	return r, nil
}

// path returns the place of a file of the recipe.
func (s *source) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir, recipeDir}, elem...)...)
}

func (s *source) component(name string) (component, error) {
	i := slices.IndexFunc(s.recipe.Components, func(c component) bool { return c.Name == name })
	if i < 0 {
		return component{}, fmt.Errorf("%s has no component %q", recipeFile, name)
	}
	return s.recipe.Components[i], nil
}

// Recipes returns the hash of each kind's recipe in a checkout of Drydock.
func Recipes(ctx context.Context, dir string) (map[string]string, error) {
	src, err := openSource(dir)
	if err != nil {
		return nil, err
	}
	node, terminal, err := src.hashes(ctx)
	if err != nil {
		return nil, err
	}
	machine, err := src.machineHash(ctx)
	return map[string]string{Node: node, Terminal: terminal, Machine: machine}, err
}

// hashes returns the recipe hashes of the node and the terminal image.
func (s *source) hashes(ctx context.Context) (node, terminal string, err error) {
	kind, err := goOutput(ctx, s.dir, "list", "-m", "-f", "{{.Version}}", kindModule)
	if err != nil {
		return "", "", err
	}
	h := newKey(runtime.GOARCH, kind)
	if err := errors.Join(h.tree(s.path(), "terminal", "machine", "runsc"), s.assembly(h)); err != nil {
		return "", "", err
	}
	if err := h.programs(ctx, s.dir, shellMain, probeMain); err != nil {
		return "", "", err
	}
	node = h.sum()

	h = newKey(runtime.GOARCH)
	if err := s.assembly(h); err != nil {
		return "", "", err
	}
	for _, f := range []string{"recipe.yaml", "go.mod", "go.sum"} {
		if err := h.file(s.path(f), f); err != nil {
			return "", "", err
		}
	}
	if err := h.tree(s.path("terminal")); err != nil {
		return "", "", err
	}
	if err := h.programs(ctx, s.dir, shellMain); err != nil {
		return "", "", err
	}
	return node, h.sum(), nil
}

// assembly adds the part of this package that decides what the images look like.
func (s *source) assembly(k *key) error {
	for _, name := range []string{"compile.go", "container.go", "node.go", "nodeimages.go", "oci.go", "terminal.go", "tree.go"} {
		if err := k.file(filepath.Join(s.dir, "sandbox", "image", name), name); err != nil {
			return err
		}
	}
	return nil
}

// key accumulates what something is made of into a hash.
type key struct{ h io.Writer }

func newKey(words ...string) *key {
	k := &key{h: sha256.New()}
	for _, w := range words {
		k.word(w)
	}
	return k
}

func (k *key) word(w string) { fmt.Fprintf(k.h, "%d:%s\n", len(w), w) }

func (k *key) sum() string {
	return hex.EncodeToString(k.h.(interface{ Sum([]byte) []byte }).Sum(nil))
}

// file adds the content of the file at p under the given name.
func (k *key) file(p, name string) error {
	f, err := os.Open(p)
	if err != nil {
		return fmt.Errorf("hashing the recipe: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("hashing the recipe: %w", err)
	}
	content := sha256.New()
	if _, err := io.Copy(content, f); err != nil {
		return fmt.Errorf("hashing the recipe: %w", err)
	}
	k.word(fmt.Sprintf("%s %t %x", name, info.Mode()&0o100 != 0, content.Sum(nil)))
	return nil
}

// tree adds every file below dir, except tests, prose and the directories named.
func (k *key) tree(dir string, except ...string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("hashing the recipe: %w", err)
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && slices.Contains(except, name):
			return filepath.SkipDir
		case !d.Type().IsRegular(), strings.HasSuffix(name, "_test.go"), strings.HasSuffix(name, ".md"):
			return nil
		}
		return k.file(p, filepath.ToSlash(name))
	})
}

// programs adds several.
func (k *key) programs(ctx context.Context, dir string, pkgs ...string) error {
	for _, pkg := range pkgs {
		if err := k.program(ctx, dir, pkg); err != nil {
			return err
		}
	}
	return nil
}

// program adds everything that a Go program of the module in dir is built from:
// its own module's files, and the versions of the others.
func (k *key) program(ctx context.Context, dir, pkg string) error {
	out, err := goOutput(ctx, dir, "list", "-deps", "-f",
		`{{with .Module}}{{if .Main}}{{range $.GoFiles}}file {{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range $.EmbedFiles}}file {{$.Dir}}/{{.}}{{"\n"}}{{end}}{{else}}module {{.Path}} {{.Version}}{{end}}{{end}}`, pkg)
	if err != nil {
		return err
	}
	lines := strings.Fields(strings.ReplaceAll(out, " ", "\x00"))
	slices.Sort(lines)
	for _, line := range slices.Compact(lines) {
		what, rest, _ := strings.Cut(line, "\x00")
		if what != "file" {
			k.word(line)
			continue
		}
		p := strings.ReplaceAll(rest, "\x00", " ")
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return fmt.Errorf("hashing %s: %w", pkg, err)
		}
		if err := k.file(p, filepath.ToSlash(name)); err != nil {
			return err
		}
	}
	return nil
}
