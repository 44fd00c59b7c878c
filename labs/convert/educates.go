package convert

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"drydock/sandbox"
)

// educates reads the workshops of Educates.
type educates struct{ src *source }

func (e *educates) find() ([]string, []Note, error) {
	files, err := e.src.walk(func(name string) bool {
		return path.Base(name) == "workshop.yaml" && path.Base(path.Dir(name)) == "resources"
	})
	var dirs []string
	for _, name := range files {
		dirs = append(dirs, path.Dir(path.Dir(name)))
	}
	return dirs, nil, err
}

func (e *educates) read(dir string, r *Report) (*scenario, []Note) {
	file := path.Join(dir, "resources", "workshop.yaml")
	content, err := e.src.read(file, maxIndex)
	if err != nil {
		return nil, []Note{{File: file, Text: err.Error()}}
	}
	root, note := parseYAML(file, content)
	if note != nil {
		return nil, []Note{*note}
	}
	var wrong []Note
	o := newObject(file, "", root, &wrong)
	if kind := o.text("kind"); kind != "Workshop" {
		o.wrong(o.line("kind"), "is of the kind %q, not Workshop", kind)
	}
	spec := o.object("spec")
	sc := &scenario{format: "educates", dir: dir, file: file, report: r, src: e.src, home: "/home/eduk8s", host: host{kind: sandbox.Cluster}}
	sc.title, sc.summary, sc.level = spec.text("title"), spec.text("description"), levelOf(spec.text("difficulty"))
	if sc.title == "" {
		sc.title = path.Base(dir)
	}
	if d, err := time.ParseDuration(spec.text("duration")); err == nil {
		sc.minutes = min(maxMinutes, int(d/time.Minute))
	}
	e.session(sc, spec.object("session"))
	spec.rest(r, "publish", "workshop", "content", "vendor", "authors", "tags", "labels", "logo", "url", "version", "duration", "difficulty")
	if err := e.pages(sc); err != nil {
		return nil, []Note{{File: dir, Text: err.Error()}}
	}
	return sc, wrong
}

// session: objects are made by the setup; applications are what Educates
// shows beside the text.
func (e *educates) session(sc *scenario, o *object) {
	if objects := o.get("objects"); objects != nil {
		var b strings.Builder
		for _, item := range objects.Content {
			text, err := yaml.Marshal(item)
			if err != nil {
				sc.report.limit(KindScript, sc.file, item.Line, "an object can't be written: %v", err)
				continue
			}
			b.WriteString("---\n" + variables(string(text)))
		}
		sc.setup = append(sc.setup, newScript(sc.file, 0, "objects of the session", "kubectl apply -n default -f - <<'OBJECTS'\n"+b.String()+"OBJECTS\n"))
	}
	apps := o.object("applications")
	for _, name := range apps.keys() {
		if !slices.Contains([]string{"terminal", "console", "editor", "slides", "examiner", "files", "workshop"}, name) {
			sc.report.limit(KindTool, sc.file, apps.line(name), "it uses Educates' %s", name)
		}
	}
	o.rest(sc.report, "namespaces", "applications", "objects", "resources", "dashboards")
}

// pages are in the order of their names, or in that which workshop.yaml lists.
func (e *educates) pages(sc *scenario) error {
	root := path.Join(sc.dir, "workshop", "content")
	files, err := e.src.walk(func(name string) bool {
		return strings.HasPrefix(name, root+"/") && path.Ext(name) == ".md"
	})
	if err != nil {
		return err
	}
	setup, err := e.src.walk(func(name string) bool {
		return path.Dir(name) == path.Join(sc.dir, "workshop", "setup.d") && path.Ext(name) == ".sh"
	})
	if err != nil {
		return err
	}
	for _, name := range setup {
		s, err := sc.readScript(name, "setup script "+path.Base(name))
		if err != nil {
			sc.report.limit(KindFile, name, 0, "%v", err)
			continue
		}
		sc.setup = append(sc.setup, s)
	}
	for _, name := range files {
		content, err := e.src.read(name, maxPage)
		if err != nil {
			sc.report.limit(KindFile, name, 0, "%v", err)
			continue
		}
		e.page(sc, name, string(content))
	}
	return nil
}

func (e *educates) page(sc *scenario, file, content string) {
	front, text, _, note := splitFront(file, content)
	if note != nil {
		sc.report.limit(KindFile, file, note.Line, "%s", note.Text)
		return
	}
	s := &step{document: document{file: file}, listed: file}
	s.title = newObject(file, "", front, new([]Note)).text("title")
	s.text = e.clickable(sc, s, variables(text))
	sc.steps = append(sc.steps, s)
}

var (
	sessionVariable = regexp.MustCompile(`\$\((?:session_namespace|workshop_namespace)\)|\{\{<\s*param\s+session_namespace\s*>\}\}|\{\{\s*session_namespace\s*\}\}`)
	clickableBlock  = regexp.MustCompile("(?ms)^([ \t]*)(```+)((?:execute|terminal|workshop|copy|examiner|dashboard|editor|section|files)[a-z0-9:-]*)[ \t]*\n(.*?)^[ \t]*```+[ \t]*$")
)

// variables fills in what Educates knows of a session.
func variables(text string) string { return sessionVariable.ReplaceAllString(text, "default") }

// clickable turns Educates' blocks into those with braces behind them, and
// takes the checks out.
func (e *educates) clickable(sc *scenario, s *step, text string) string {
	return clickableBlock.ReplaceAllStringFunc(text, func(whole string) string {
		m := clickableBlock.FindStringSubmatch(whole)
		indent, kind, body := m[1], m[3], strings.TrimRight(m[4], "\n")
		fence := func(action, code string) string {
			mark := fenceFor(code)
			return indent + mark + "sh\n" + code + "\n" + indent + mark + action
		}
		switch {
		case kind == "execute" || kind == "execute-1" || kind == "execute-all":
			return e.typed(fence, body, "{{exec}}")
		case strings.HasPrefix(kind, "execute-"):
			return e.typed(fence, body, "{{execute T2}}")
		case kind == "terminal:execute" || kind == "terminal:execute-all":
			return e.typed(fence, e.field(sc, s, body, "command"), "{{exec}}")
		case kind == "copy" || kind == "copy-and-edit":
			return fence("{{copy}}", body)
		case strings.HasPrefix(kind, "workshop:copy"):
			return fence("{{copy}}", e.field(sc, s, body, "text"))
		case kind == "terminal:input":
			return "Type: `" + e.field(sc, s, body, "text") + "`"
		case kind == "terminal:interrupt" || kind == "terminal:interrupt-all":
			return "Press Ctrl-C."
		case kind == "examiner:execute-test":
			return e.test(sc, s, body)
		}
		sc.report.leaveOut(s.file, 0, "a block %s", kind)
		return ""
	})
}

// typed is a command; Educates writes Ctrl-C as <ctrl-c>.
func (e *educates) typed(fence func(action, code string) string, code, action string) string {
	if strings.TrimSpace(code) == "<ctrl-c>" || strings.TrimSpace(code) == "<ctrl+c>" {
		return "Press Ctrl-C."
	}
	return fence(action, code)
}

// field is a field of a block's YAML.
func (e *educates) field(sc *scenario, s *step, body, name string) string {
	root, note := parseYAML(s.file, []byte(body))
	if note != nil {
		sc.report.leaveOut(s.file, 0, "a block that is %s", note.Text)
		return body
	}
	return newObject(s.file, "", root, new([]Note)).text(name)
}

// test makes a check of an examiner's test.
func (e *educates) test(sc *scenario, s *step, body string) string {
	root, note := parseYAML(s.file, []byte(body))
	if note != nil {
		sc.report.limit(KindScript, s.file, 0, "a test that is %s", note.Text)
		return ""
	}
	o := newObject(s.file, "", root, new([]Note))
	name := o.text("name")
	file, err := within(path.Join(sc.dir, "workshop", "examiner", "tests"), name)
	if err != nil {
		sc.report.limit(KindFile, s.file, 0, "the test %q %v", name, err)
		return ""
	}
	if o.has("inputs") {
		sc.report.limit(KindUngraded, s.file, 0, "the test %s asks the learner for values, in a form", name)
		return ""
	}
	check, err := sc.readScript(file, "test "+name)
	if err != nil {
		sc.unreadable = true
		sc.report.limit(KindFile, file, 0, "the test %s %v", name, err)
		return ""
	}
	var args []string
	for _, a := range o.texts("args") {
		args = append(args, quoteShell(a))
	}
	if len(args) > 0 {
		check.prelude = fmt.Sprintf("set -- %s\n", strings.Join(args, " "))
	}
	s.checks = append(s.checks, check)
	return o.text("title")
}

func (e *educates) looksFor() string {
	return "there is no resources/workshop.yaml"
}
