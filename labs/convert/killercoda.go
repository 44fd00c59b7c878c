package convert

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"drydock/sandbox"
)

// killercoda reads Killercoda's format, and that of Katacoda before it.
type killercoda struct {
	src     *source
	courses map[string]courseItem // by folder of the scenario
}

// courseItem is what a course says of a scenario.
type courseItem struct{ track, title, summary string }

// find lists the folders that hold a scenario, and reads the courses.
func (k *killercoda) find() ([]string, []Note, error) {
	files, err := k.src.walk(func(name string) bool {
		return slices.Contains([]string{"index.json", "index.yaml", "index.yml", "structure.json"}, path.Base(name))
	})
	if err != nil {
		return nil, nil, err
	}
	var scenarios, courses []string
	for _, name := range files {
		if path.Base(name) == "structure.json" {
			courses = append(courses, name)
		} else if k.isScenario(name) && !slices.Contains(scenarios, path.Dir(name)) {
			scenarios = append(scenarios, path.Dir(name))
		}
	}
	var notes []Note
	for _, name := range courses {
		notes = append(notes, k.course(name, scenarios)...)
	}
	return scenarios, notes, nil
}

// isScenario tells the description of a scenario from other files of that
// name. One that can't be read is taken for one, so that the report says so.
func (k *killercoda) isScenario(name string) bool {
	content, err := k.src.read(name, maxIndex)
	if err != nil {
		return true
	}
	root, note := parseDescription(name, content)
	if note != nil {
		return true
	}
	var notes []Note
	o := newObject(name, "", root, &notes)
	return o.has("details") || o.has("backend")
}

// course reads a structure.json. Its paths may lead up, but not out.
func (k *killercoda) course(name string, scenarios []string) []Note {
	var notes []Note
	content, err := k.src.read(name, maxIndex)
	if err != nil {
		return []Note{{File: name, Text: err.Error()}}
	}
	root, note := parseDescription(name, content)
	if note != nil {
		return []Note{*note}
	}
	course := newObject(name, "", root, &notes)
	dir := path.Dir(name)
	track := slugOf(course.text("title"))
	if track == "" && dir != "." {
		track = slugOf(path.Base(dir))
	}
	for _, item := range course.list("items") {
		target, err := within(dir, item.text("path"))
		switch {
		case err != nil:
			item.wrong(item.line("path"), "names a path that %v", err)
		case slices.Contains(scenarios, target):
			k.courses[target] = courseItem{track: track, title: item.text("title"), summary: item.text("description")}
		case !slices.ContainsFunc(scenarios, func(s string) bool { return strings.HasPrefix(s, target+"/") }): // a course may list courses
			item.wrong(item.line("path"), "names %q, which is no scenario%s", target, didYouMean(target, scenarios))
		}
	}
	return notes
}

// read reads the scenario in a folder.
func (k *killercoda) read(dir string, r *Report) (*scenario, []Note) {
	file, content, err := k.index(dir)
	if err != nil {
		return nil, []Note{{File: file, Text: err.Error()}}
	}
	root, note := parseDescription(file, content)
	if note != nil {
		return nil, []Note{*note}
	}
	var wrong []Note
	index := newObject(file, "", root, &wrong)
	sc := &scenario{format: "killercoda", dir: dir, file: file, report: r, src: k.src, home: rootHome}
	item := k.courses[dir]
	sc.title = cmp.Or(index.text("title"), item.title, path.Base(dir))
	sc.summary = cmp.Or(index.text("description"), item.summary)
	sc.track = item.track
	sc.level, sc.minutes = levelOf(index.text("difficulty")), minutesOf(index.text("time"))
	k.backend(sc, index.object("backend"))
	details := index.object("details")
	k.intro(sc, details.object("intro"))
	for i, o := range details.list("steps") {
		k.step(sc, o, i)
	}
	k.finish(sc, details.object("finish"))
	k.assets(sc, details.object("assets"))
	details.rest(r)
	index.rest(r, "noindex", "private", "tags", "type", "id", "environment", "interface", "icon_class", "pathwayTitle", "showdescription")
	if index.has("environment") || index.has("interface") {
		r.leaveOut(file, index.line("interface"), "how the page is laid out")
	}
	return sc, wrong
}

func (k *killercoda) index(dir string) (file string, content []byte, err error) {
	for _, name := range []string{"index.json", "index.yaml", "index.yml"} {
		file = path.Join(dir, name)
		if content, err = k.src.read(file, maxIndex); err == nil || !errors.Is(err, errMissing) {
			return file, content, err
		}
	}
	return file, nil, err
}

// knownImage are the images of Killercoda that are Ubuntu or Kubernetes and
// nothing else.
var knownImage = regexp.MustCompile(`^(ubuntu(:[0-9]{4})?(-[0-9]+GB)?|bash|kubernetes-(kubeadm|k3s)-[12]nodes?(-rapid)?(-[0-9]+GB)?)$`)

var clusterImage = regexp.MustCompile(`(?i)kube|k3s|k8s|openshift`)

func (k *killercoda) backend(sc *scenario, o *object) {
	image := o.text("imageid")
	sc.host = host{kind: sandbox.Machine, image: image, line: o.line("imageid")}
	if clusterImage.MatchString(image) {
		sc.host.kind = sandbox.Cluster
	}
	if strings.Contains(image, "2nodes") || strings.Contains(image, "cluster") {
		sc.host.other = "node01"
	}
	switch {
	case image == "":
		sc.report.limit(KindBackend, sc.file, o.line("imageid"), "no image is named: it gets a Linux machine")
	case !knownImage.MatchString(image):
		what := "a Linux machine"
		if sc.host.kind == sandbox.Cluster {
			what = "a cluster of Drydock's own version"
		}
		sc.report.limit(KindBackend, sc.file, o.line("imageid"), "the image %q is not known here: it gets %s", image, what)
	}
	o.rest(sc.report)
}

// scriptNames are what a page's scripts are called, the old names behind the
// new ones.
func scriptNames() (background, foreground []string) {
	return []string{"background", "courseData"}, []string{"foreground", "code"}
}

func (k *killercoda) intro(sc *scenario, o *object) {
	if text := k.document(sc, o, "text"); text != nil {
		sc.intro = append(sc.intro, *text)
	}
	o.asked["title"], o.asked["credits"] = true, true
	k.scripts(sc, o, "the intro", false)
	o.rest(sc.report)
}

// document reads the page that a field names.
func (k *killercoda) document(sc *scenario, o *object, field string) *document {
	name := o.text(field)
	if name == "" {
		return nil
	}
	file, content := k.named(sc, o, field, name, maxPage)
	if content == nil {
		return nil
	}
	return &document{file: file, text: string(content)}
}

// named reads the file that a field names, and reports what is wrong with it.
func (k *killercoda) named(sc *scenario, o *object, field, name string, limit int64) (string, []byte) {
	file, err := within(sc.dir, name)
	if err == nil {
		var content []byte
		if content, err = k.src.read(file, limit); err == nil {
			return file, content
		}
	}
	sc.report.limit(KindFile, sc.file, o.line(field), "%s: %s %v", o.join(field), name, err)
	return file, nil
}

// scripts takes the background and the foreground script of a page.
func (k *killercoda) scripts(sc *scenario, o *object, of string, late bool) {
	background, foreground := scriptNames()
	for _, field := range slices.Concat(background, foreground) {
		name := o.text(field)
		if name == "" {
			continue
		}
		kind := "background"
		if slices.Contains(foreground, field) {
			kind = "foreground"
		}
		s := k.script(sc, o, field, name, kind+" script of "+of)
		if s == nil {
			continue
		}
		if kind == "foreground" && idle(&s.facts) {
			sc.report.did("%s only waits and prints: left out, since all is ready at hand-over", s.what)
			continue
		}
		if kind == "foreground" {
			k.foreground(sc, s)
		}
		if late {
			sc.report.limit(KindMoment, sc.file, o.line(field), "%s ran when the learner came to that step; here it runs before hand-over, with the others", s.what)
		}
		sc.setup = append(sc.setup, s)
	}
}

// script reads the script that a field names. A text that is no file's name is
// taken for the script itself.
func (k *killercoda) script(sc *scenario, o *object, field, name, what string) *script {
	file, err := within(sc.dir, name)
	if err == nil {
		var s *script
		if s, err = sc.readScript(file, what); err == nil {
			if s.facts.Broken != "" && !s.foreign() {
				sc.report.limit(KindScript, file, s.facts.Line, "bash can't read it: %s", s.facts.Broken)
			}
			return s
		}
	}
	sc.report.limit(KindFile, sc.file, o.line(field), "%s: %s %v", o.join(field), name, err)
	return nil
}

// foreground: a script that was typed into the terminal also changed the
// shell there. Those lines are offered to be run.
func (k *killercoda) foreground(sc *scenario, s *script) {
	var lines []string
	for line := range strings.Lines(s.text) {
		line = strings.TrimSpace(line)
		word, _, _ := strings.Cut(line, " ")
		if slices.Contains([]string{"cd", "export", "alias", "source", "."}, word) && parses(line) {
			lines = append(lines, line)
		}
	}
	sc.report.did("%s, typed into the terminal there, runs as the last part of the setup", s.what)
	if len(lines) > 0 {
		sc.intro = append(sc.intro, document{file: s.file, text: "Set up your shell:\n\n```sh\n" + strings.Join(lines, "\n") + "\n```{{exec}}\n"})
	}
}

// idle says whether a script does nothing but wait and print.
func idle(f *facts) bool {
	harmless := []string{"echo", "sleep", "clear", "printf", "test", "[", "true", ":", "cat", "tput", "ls", "pwd", "wait", "read", "date", "tail", "break", "continue", "exit", "stty", "trap", "reset"}
	if f.Broken != "" || len(f.Writes) > 0 || len(f.Runs) > 0 {
		return false
	}
	return !slices.ContainsFunc(f.Commands, func(u use) bool { return !slices.Contains(harmless, u.What) })
}

func (k *killercoda) step(sc *scenario, o *object, i int) {
	s := &step{title: o.text("title"), listed: sc.file, line: o.line("title")}
	if o.node != nil {
		s.line = o.node.Line
	}
	if text := k.document(sc, o, "text"); text != nil {
		s.document = *text
	}
	if name := o.text("verify"); name != "" {
		if check := k.script(sc, o, "verify", name, fmt.Sprintf("verify script of step %d", i+1)); check != nil {
			s.checks = append(s.checks, check)
		} else {
			sc.unreadable = true
		}
	}
	k.scripts(sc, o, fmt.Sprintf("step %d", i+1), i > 0)
	k.answer(sc, o, s)
	if name := o.text("hint"); name != "" {
		sc.report.leaveOut(sc.file, o.line("hint"), "%s: %s, a script that hints", o.join("hint"), name)
	}
	o.rest(sc.report)
	sc.steps = append(sc.steps, s)
}

// answer: Katacoda showed a page with the solution on demand.
func (k *killercoda) answer(sc *scenario, o *object, s *step) {
	if text := k.document(sc, o, "answer"); text != nil {
		s.text += "\n\n<details><summary>Solution</summary>\n\n" + text.text + "\n\n</details>\n"
	}
}

// finish: what it says is said by the report of the attempt.
func (k *killercoda) finish(sc *scenario, o *object) {
	for _, field := range []string{"text", "background", "foreground"} {
		if name := o.text(field); name != "" {
			sc.report.leaveOut(sc.file, o.line(field), "details.finish.%s: %s: the report ends a lab", field, name)
		}
	}
	o.asked["title"] = true
	o.rest(sc.report)
}

// maxAssets bounds what is copied into a sandbox, in bytes: it travels in scripts.
const maxAssets = 2 << 20

func (k *killercoda) assets(sc *scenario, o *object) {
	total := 0
	for _, host := range o.keys() {
		for _, a := range o.list(host) {
			if host != "host01" && host != "client" {
				sc.report.limit(KindHost, sc.file, o.line(host), "files are for a second machine, %s", host)
				continue
			}
			found, err := k.matching(sc.dir, a.text("file"))
			if err != nil || len(found) == 0 {
				sc.report.limit(KindFile, sc.file, a.line("file"), "%s: no file below assets/ matches %q", a.path, a.text("file"))
				continue
			}
			for _, name := range found {
				data, err := k.src.read(name, maxFile)
				if total += len(data); err != nil || total > maxAssets {
					sc.report.limit(KindFile, name, 0, "the file is not copied: all files of a scenario may have %d KiB", maxAssets>>10)
					total -= len(data)
					continue
				}
				sc.assets = append(sc.assets, asset{file: name, data: data, mode: a.text("chmod"), target: target(sc.dir, a, name)})
			}
		}
	}
}

// target is where a file goes: below the folder that is named, with the
// folders between assets/ and the file.
func target(dir string, a *object, name string) string {
	folder := a.text("target")
	if folder == "" {
		folder = "~"
	}
	below := strings.TrimPrefix(name, path.Join(dir, "assets")+"/")
	if !strings.ContainsAny(a.text("file"), "*") {
		below = path.Base(name)
	}
	if strings.HasPrefix(folder, "~") {
		return path.Join("/root", path.Clean("/"+strings.TrimPrefix(folder, "~")), below)
	}
	return path.Join("/", folder, below)
}

// matching are the files below the scenario's assets that a pattern names: *
// stays within a folder, ** does not.
func (k *killercoda) matching(dir, pattern string) ([]string, error) {
	root := path.Join(dir, "assets")
	match, err := globPattern(pattern)
	if err != nil {
		return nil, err
	}
	var found []string
	err = fs.WalkDir(k.src, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Type().IsRegular() && match.MatchString(strings.TrimPrefix(name, root+"/")) {
			found = append(found, name)
		}
		if len(found) > maxEntries {
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}

func globPattern(pattern string) (*regexp.Regexp, error) {
	pattern = strings.TrimPrefix(strings.TrimPrefix(pattern, "./"), "/")
	const long = 500 // no path in an index is longer
	if pattern == "" || len(pattern) > long {
		return nil, errors.New("is no pattern")
	}
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(quoted, `\*\*/`, `(?:.*/)?`)
	quoted = strings.ReplaceAll(quoted, `\*\*`, `.*`)
	quoted = strings.ReplaceAll(quoted, `\*`, `[^/]*`)
	return regexp.Compile("^" + quoted + "$")
}

func (k *killercoda) looksFor() string {
	return "there is no folder with an index.json that has details or a backend"
}
