package labs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"

	"go.yaml.in/yaml/v3"
)

const (
	labFile    = "lab.yaml"
	readmeFile = "README.md"

	// maxLabFile bounds lab.yaml, in bytes; real ones have a few thousand.
	maxLabFile = 256 << 10
	// maxFolder bounds a lab's folder, in bytes: labs travel inside the binary.
	maxFolder = 8 << 20
)

// Problem is one thing that is wrong with a lab, found without running it.
type Problem struct {
	File string `json:"file"` // slash-separated, below the folder of labs
	Line int    `json:"line"` // 0 when it concerns the whole file
	Msg  string `json:"message"`
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Msg
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Msg)
}

// Problems are all problems of a lab or a catalogue, as one error.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, problem := range p {
		errs[i] = problem
	}
	return errs
}

// sorted orders problems by file and line and drops repetitions.
func sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return slices.Compact(problems)
}

// Catalogue is a folder of labs, all of them sound.
type Catalogue struct {
	labs   []*Lab
	bySlug map[string]*Lab
}

// All returns the labs in the order of their slugs.
func (c *Catalogue) All() []*Lab { return slices.Clone(c.labs) }

// Get finds a lab by its slug.
func (c *Catalogue) Get(slug string) (*Lab, bool) {
	lab, ok := c.bySlug[slug]
	return lab, ok
}

// LoadCatalogue loads every lab of fsys: each folder at its top is one, and
// can be graded. The error is [Problems] when labs are wrong, with those of
// all labs.
func LoadCatalogue(fsys fs.FS) (*Catalogue, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the folder of labs: %w", err)
	}
	c := &Catalogue{bySlug: map[string]*Lab{}}
	var problems Problems
	for _, entry := range entries {
		if !entry.IsDir() || hidden(entry.Name()) {
			continue
		}
		lab, err := LoadLab(fsys, entry.Name())
		var wrong Problems
		switch {
		case errors.As(err, &wrong):
			problems = append(problems, wrong...)
		case err != nil:
			return nil, err
		default:
			problems = append(problems, lab.ungradable()...)
			c.labs = append(c.labs, lab)
			c.bySlug[lab.Slug] = lab
		}
	}
	if len(problems) > 0 {
		return nil, Problems(sorted(problems))
	}
	return c, nil
}

// hidden files are no part of a lab: editors and embedding leave them out, too.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") }

var slugPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// ValidSlug reports whether a lab can have that slug: up to 40 of a-z, 0-9, and - between them.
func ValidSlug(slug string) bool { return slugPattern.MatchString(slug) }

// LoadLab reads one lab, the folder slug of fsys. The error is [Problems],
// all of them at once, when the lab is wrong. [Lint] finds what is wrong with
// the files beside lab.yaml.
func LoadLab(fsys fs.FS, slug string) (*Lab, error) {
	file := path.Join(slug, labFile)
	if !slugPattern.MatchString(slug) {
		return nil, Problems{{File: file, Msg: fmt.Sprintf("the folder's name %q is the lab's slug: up to 40 of a-z, 0-9 and - between them", slug)}}
	}
	folder, err := fs.Sub(fsys, slug)
	if err != nil {
		return nil, fmt.Errorf("open the lab %s: %w", slug, err)
	}
	source, err := readBounded(folder, labFile, maxLabFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Problems{{File: file, Msg: "the lab has no such file"}}
	} else if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	lab, problems := parseLab(file, source)
	if len(problems) > 0 {
		return nil, Problems(sorted(problems))
	}
	files, err := readTree(folder, ".")
	if err != nil {
		return nil, fmt.Errorf("read the lab %s: %w", slug, err)
	}
	lab.Slug, lab.Version, lab.FS = slug, contentAddress(files), inMemory(files)
	if lab.Proven, err = readProven(folder); err != nil {
		return nil, Problems{{File: path.Join(slug, provenFile), Msg: err.Error()}}
	}
	readme, err := fs.ReadFile(lab.FS, readmeFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", path.Join(slug, readmeFile), err)
	}
	lab.Readme = string(readme)
	return lab, nil
}

// parseLab decodes lab.yaml and returns every problem of the file itself.
func parseLab(file string, source []byte) (*Lab, []Problem) {
	d := &decoder{file: file, lines: positions{"": 1}, reported: map[string]bool{}}
	node, problem := parseYAML(file, source)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	lab := &Lab{lines: d.lines}
	d.decode(node, reflect.ValueOf(lab).Elem(), "")
	v := &validator{file: file, lines: d.lines, reported: d.reported, used: map[string]int{}}
	v.lab(lab)
	return lab, append(d.problems, v.problems...)
}

var yamlErrorLine = regexp.MustCompile(`line (\d+): `)

// parseYAML reads exactly one document that is a mapping.
func parseYAML(file string, source []byte) (*yaml.Node, *Problem) {
	reader := yaml.NewDecoder(bytes.NewReader(source))
	var document, next yaml.Node
	if err := reader.Decode(&document); errors.Is(err, io.EOF) {
		return nil, &Problem{File: file, Line: 1, Msg: "the file is empty"}
	} else if err != nil {
		return nil, yamlProblem(file, err)
	}
	if err := reader.Decode(&next); err == nil {
		return nil, &Problem{File: file, Line: next.Line, Msg: "the file holds a second document; one lab has one"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlProblem(file, err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, &Problem{File: file, Line: 1, Msg: "the file must be a mapping of fields, such as `title: …`"}
	}
	return document.Content[0], nil
}

// yamlProblem takes the line out of the parser's message.
func yamlProblem(file string, err error) *Problem {
	p := &Problem{File: file, Line: 1, Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlErrorLine.FindStringSubmatchIndex(p.Msg); m != nil {
		if line, err := strconv.Atoi(p.Msg[m[2]:m[3]]); err == nil {
			p.Line = max(line, 1)
			p.Msg = p.Msg[:m[0]] + p.Msg[m[1]:]
		}
	}
	p.Msg = "not YAML: " + p.Msg
	return p
}

// contentAddress is the first 12 hex digits of the SHA-256 over the name and
// content of every file of a folder, hidden ones left out.
func contentAddress(files map[string][]byte) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%d %s %d\n", len(name), name, len(files[name]))
		sum.Write(files[name])
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// inMemory is a folder of the files. A lab that was loaded stays what its
// version says, whatever an editor does to the folder meanwhile.
func inMemory(files map[string][]byte) fs.FS {
	folder := fstest.MapFS{}
	for name, content := range files {
		folder[name] = &fstest.MapFile{Data: content, Mode: 0o444}
	}
	return folder
}

// readTree reads all files below root by their slash-separated names.
func readTree(folder fs.FS, root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	left := int64(maxFolder)
	err := fs.WalkDir(folder, root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != root && hidden(entry.Name()):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		}
		content, err := readBounded(folder, name, left)
		left -= int64(len(content))
		files[name] = content
		return err
	})
	return files, err
}

// readBounded reads a file of at most limit bytes.
func readBounded(folder fs.FS, name string, limit int64) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s is too large: more than %d bytes are left for it", name, limit)
	}
	return content, err
}
