package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"drydock/labs"
)

// Options say how scenarios are converted.
type Options struct {
	// Into is the folder that gets a folder for each lab.
	Into string
	// Track is the track of all labs; without it a course's, or the format's name.
	Track string
	// Images name images of the node for those that a scenario names: by name,
	// such as nginx, or by name and tag.
	Images map[string]string
	// Done is told of each scenario as it is finished. It may be nil.
	Done func(Report)
	// SelfReported gives a step without a check a question: whether it is done.
	// Nobody looks whether that is so.
	SelfReported bool
	// Check says what else is wrong with a lab that was made, in the folder
	// dir of labs. It may be nil.
	Check func(labs fs.FS, dir string) ([]labs.Problem, error)
}

// reader reads one format.
type reader interface {
	// find lists the folders of scenarios, and what is wrong beside them.
	find() ([]string, []Note, error)
	// looksFor says what a scenario is known by.
	looksFor() string
	// read reads a scenario. The notes say what is wrong with its description.
	read(dir string, r *Report) (*scenario, []Note)
}

// Formats are the formats that can be imported.
func Formats() []string { return []string{"killercoda", "iximiuz", "instruqt", "educates"} }

func newReader(format string, src *source) (reader, error) {
	switch format {
	case "killercoda":
		return &killercoda{src: src, courses: map[string]courseItem{}}, nil
	case "iximiuz":
		return &iximiuz{src: src}, nil
	case "instruqt":
		return &instruqt{src: src}, nil
	case "educates":
		return &educates{src: src}, nil
	}
	return nil, fmt.Errorf("there is no format %q%s; there are: %s", format, didYouMean(format, Formats()), strings.Join(Formats(), ", "))
}

// Import converts all scenarios of a folder or an archive. The error is for
// what keeps all of them from being converted; what is wrong with one stands
// in its report. The notes are of what belongs to none.
func Import(format, from string, o Options) (reports []Report, notes []Note, err error) {
	if _, err := newReader(format, nil); err != nil {
		return nil, nil, err
	}
	src, err := openSource(from)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	read, err := newReader(format, src)
	if err != nil {
		return nil, nil, err
	}
	dirs, notes, err := read.find()
	if err != nil {
		return nil, nil, err
	}
	if len(dirs) == 0 {
		return nil, notes, fmt.Errorf("%s holds nothing in the format %s: %s", from, format, read.looksFor())
	}
	i := &importer{src: src, read: read, options: o, format: format, taken: map[string]bool{}}
	for _, dir := range dirs {
		r := i.one(dir)
		reports = append(reports, r)
		if o.Done != nil {
			o.Done(r)
		}
	}
	return reports, append(src.left, notes...), nil
}

// importer converts the scenarios of one source.
type importer struct {
	src     *source
	read    reader
	options Options
	format  string
	taken   map[string]bool // slugs given away
}

// one converts one scenario.
func (i *importer) one(dir string) Report {
	r := &Report{Scenario: dir, Outcome: Converted}
	if dir == "." {
		r.Scenario = filepath.Base(strings.TrimSuffix(i.src.name, "/"))
	}
	sc, wrong := i.read.read(dir, r)
	if len(wrong) > 0 {
		r.refuse(RefusedFile, wrong...)
		return *r
	}
	i.convert(sc)
	if r.Outcome == Converted && len(r.Limits) > 0 {
		r.Outcome = Limited
	}
	return *r
}

func (i *importer) convert(sc *scenario) {
	if files := i.files(sc); files != nil {
		i.write(sc, files)
	}
}

// files makes the files of the lab; none of a scenario that is refused.
func (i *importer) files(sc *scenario) map[string][]byte {
	r := sc.report
	sc.title = strings.Join(strings.Fields(sc.title), " ")
	r.Title, r.Steps = sc.title, len(sc.steps)
	graded := 0
	for n, s := range sc.steps {
		s.page = readPage(s.file, s.text, 2, len(s.checks) > 0 || s.ask != nil, r)
		s.hints = append(s.hints, s.page.hints...)
		if s.title == "" {
			s.title = s.page.title
		} else if s.page.title != "" && !same(s.page.title, s.title) {
			s.page.markdown = "**" + escapeText(s.page.title) + "**\n\n" + s.page.markdown
		}
		if s.title = strings.Join(strings.Fields(s.title), " "); s.title == "" {
			s.title = fmt.Sprintf("Step %d", n+1)
		}
		if i.options.SelfReported && len(s.checks) == 0 && s.ask == nil {
			s.ask = selfReported()
			r.limit(KindUngraded, s.listed, s.line, "step %d, %q, is not checked: the learner says when it is done", n+1, s.title)
		}
		if len(s.checks) > 0 || s.ask != nil {
			graded++
		}
	}
	switch {
	case graded == 0:
		r.refuse(RefusedNothing, Note{File: sc.file, Text: i.nothing(sc)})
		return nil
	case graded > maxTasks:
		r.refuse(RefusedLab, Note{File: sc.file, Text: fmt.Sprintf("%d of its steps are checked; a lab has at most %d tasks", graded, maxTasks)})
		return nil
	}
	files, err := sc.build(i.options)
	if err != nil {
		r.refuse(RefusedLab, Note{File: sc.file, Text: err.Error()})
		return nil
	}
	return files
}

// selfReported is the question of a step that nobody checks.
func selfReported() *question {
	return &question{text: "Nobody checks this step. Type done when you have worked through it.", accept: []string{"done"}}
}

// maxTasks is the most that a lab may have.
const maxTasks = 20

// nothing says why a scenario has no task.
func (i *importer) nothing(sc *scenario) string {
	switch {
	case len(sc.steps) == 0:
		return "it has no steps"
	case sc.unreadable:
		return "none of its checks can be read"
	}
	return fmt.Sprintf("none of its %s has a check, and a lab is graded; --self-reported has learners say themselves what they have done", count(len(sc.steps), "step"))
}

// write puts the lab's folder in its place, all of it or nothing.
func (i *importer) write(sc *scenario, files map[string][]byte) {
	r := sc.report
	slug := i.slug(sc)
	final := filepath.Join(i.options.Into, slug)
	if _, err := os.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		r.refuse(RefusedTaken, Note{Text: fmt.Sprintf("%s is there already: remove it, or name another folder with --into", final)})
		return
	}
	if err := i.place(slug, final, files, r); err != nil {
		r.refuse(RefusedLab, Note{File: sc.file, Text: err.Error()})
	}
}

// slug is a name for the lab that no other one of this import has.
func (i *importer) slug(sc *scenario) string {
	base := slugOf(path.Base(sc.dir))
	if sc.dir == "." {
		base = slugOf(sc.report.Scenario)
	}
	if base == "" {
		base = "lab"
	}
	slug := base
	if i.taken[slug] { // in another folder: that one's name tells them apart
		slug = slugOf(path.Base(path.Dir(sc.dir)) + "-" + base)
	}
	for n := 2; i.taken[slug]; n++ {
		suffix := fmt.Sprintf("-%d", n)
		slug = strings.Trim(base[:min(len(base), maxSlug-len(suffix))], "-") + suffix
	}
	i.taken[slug] = true
	return slug
}

func (i *importer) place(slug, final string, files map[string][]byte, r *Report) error {
	if err := os.MkdirAll(i.options.Into, 0o755); err != nil {
		return fmt.Errorf("make the folder for the labs: %w", err)
	}
	work, err := os.MkdirTemp(i.options.Into, ".import-")
	if err != nil {
		return fmt.Errorf("make a folder for the lab: %w", err)
	}
	defer os.RemoveAll(work)
	if err := writeFiles(filepath.Join(work, slug), files); err != nil {
		return err
	}
	if err := i.sound(work, slug, r); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(work, slug), final); err != nil {
		return fmt.Errorf("put the lab in its place: %w", err)
	}
	r.Lab = final
	return nil
}

func writeFiles(dir string, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("write the lab: %w", err)
		}
		if err := os.WriteFile(file, files[name], 0o644); err != nil {
			return fmt.Errorf("write the lab: %w", err)
		}
	}
	return nil
}

// sound asks the loader and the linter: what they refuse is no lab. A draft of
// a solution that bash refuses is taken out.
func (i *importer) sound(work, slug string, r *Report) error {
	problems, err := i.problems(os.DirFS(work), slug)
	if err != nil {
		return err
	}
	var rest labs.Problems
	for _, p := range problems {
		draft := strings.TrimPrefix(p.File, slug+"/")
		n := slices.Index(r.Draft, draft)
		if n < 0 {
			rest = append(rest, p)
			continue
		}
		if err := os.Remove(filepath.Join(work, slug, filepath.FromSlash(draft))); err != nil {
			return fmt.Errorf("take out a draft: %w", err)
		}
		r.Draft = slices.Delete(r.Draft, n, n+1)
		r.leaveOut("", 0, "a solution that the text shows is no script: %s", p.Msg)
	}
	if len(rest) > 0 {
		return rest
	}
	return nil
}

func (i *importer) problems(files fs.FS, slug string) ([]labs.Problem, error) {
	lab, err := labs.LoadLab(files, slug)
	if err != nil {
		return nil, err
	}
	problems := labs.Lint(lab)
	if i.options.Check != nil {
		more, err := i.options.Check(files, slug)
		if err != nil {
			return nil, err
		}
		problems = append(problems, more...)
	}
	return problems, nil
}
