package convert

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drydock/sandbox"
)

// iximiuz reads the challenges and tutorials of iximiuz Labs.
type iximiuz struct{ src *source }

func (x *iximiuz) find() ([]string, []Note, error) {
	files, err := x.src.walk(func(name string) bool { return path.Base(name) == "index.md" })
	var dirs []string
	for _, name := range files {
		content, err := x.src.read(name, maxPage)
		if err != nil {
			dirs = append(dirs, path.Dir(name)) // reading it again says what is wrong
			continue
		}
		front, _, _, note := splitFront(name, string(content))
		if note != nil || front != nil && slices.Contains(newObject(name, "", front, new([]Note)).keys(), "kind") {
			dirs = append(dirs, path.Dir(name))
		}
	}
	return dirs, nil, err
}

func (x *iximiuz) read(dir string, r *Report) (*scenario, []Note) {
	file := path.Join(dir, "index.md")
	content, err := x.src.read(file, maxPage)
	if err != nil {
		return nil, []Note{{File: file, Text: err.Error()}}
	}
	front, body, line, note := splitFront(file, string(content))
	if note != nil {
		return nil, []Note{*note}
	}
	var wrong []Note
	o := newObject(file, "", front, &wrong)
	sc := &scenario{format: "iximiuz", dir: dir, file: file, report: r, src: x.src, home: "/home/laborant"}
	sc.title, sc.summary, sc.level = o.text("title"), o.text("description"), levelOf(o.text("difficulty"))
	if sc.title == "" {
		sc.title = path.Base(dir)
	}
	machine := x.playground(sc, o.object("playground"))
	tasks := x.tasks(sc, o.object("tasks"), machine)
	x.steps(sc, tasks, body, line)
	x.solutions(sc)
	o.rest(r, "kind", "categories", "tagz", "tags", "createdAt", "updatedAt", "cover", "slug", "name", "challenges", "tutorials", "courses", "channels", "related", "loginRequired", "lastUpdated")
	return sc, wrong
}

// playground is what it runs on; the first machine is the learner's.
func (x *iximiuz) playground(sc *scenario, o *object) string {
	name := o.text("name")
	sc.host = host{kind: sandbox.Machine, image: name, line: o.line("name")}
	if clusterImage.MatchString(name) {
		sc.host.kind = sandbox.Cluster
	}
	if !slices.Contains([]string{"ubuntu", "debian", "k3s", "k3s-bare", "k8s", "mini-lan-ubuntu", "k8s-client-go", "k8s-omni", ""}, name) {
		sc.report.limit(KindBackend, sc.file, o.line("name"), "the playground %q brings programs that are not here", name)
	}
	var machines []string
	for _, m := range o.list("machines") {
		machines = append(machines, m.text("name"))
		if len(m.list("startupFiles")) > 0 {
			sc.report.leaveOut(sc.file, m.line("startupFiles"), "%s.startupFiles: files that were made when the machine started", m.path)
		}
	}
	if len(o.texts("tabs")) > 0 || o.has("tabs") {
		sc.report.leaveOut(sc.file, o.line("tabs"), "playground.tabs: how the page is laid out")
	}
	o.rest(sc.report)
	if len(machines) == 0 {
		return ""
	}
	return machines[0]
}

// ixTask is one of the tasks, which iximiuz runs in a loop until they end with 0.
type ixTask struct {
	name  string
	line  int
	needs []string
	check *script
}

func (x *iximiuz) tasks(sc *scenario, o *object, machine string) map[string]*ixTask {
	tasks := map[string]*ixTask{}
	for _, name := range o.keys() {
		t := o.object(name)
		run := t.text("run")
		line := t.line("run") + 1
		if on := t.text("machine"); on != "" && machine != "" && on != machine {
			sc.report.limit(KindHost, sc.file, t.line("machine"), "tasks.%s runs on a second machine, %s", name, on)
		}
		switch {
		case run == "":
			t.wrong(t.line(""), "has no run")
		case t.text("init") == "true":
			s := newScript(sc.file, line, "init task "+name, x.environment(sc, t)+run+"\n")
			s.line -= strings.Count(x.environment(sc, t), "\n")
			sc.setup = append(sc.setup, s)
		case t.text("helper") == "true":
			sc.report.leaveOut(sc.file, t.line("helper"), "tasks.%s, a helper that runs all the while", name)
		default:
			tasks[name] = &ixTask{name: name, line: o.line(name), needs: t.texts("needs"), check: x.check(sc, t, name, run, line)}
		}
		t.asked["needs"], t.asked["init"], t.asked["helper"] = true, true, true
		t.rest(sc.report, "name", "kind", "conditional")
	}
	return tasks
}

// environment sets what a task is given. What another task printed can't be.
func (x *iximiuz) environment(sc *scenario, t *object) string {
	var b strings.Builder
	for _, setting := range t.texts("env") {
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			continue
		}
		if strings.Contains(value, "x(.") {
			sc.report.limit(KindScript, sc.file, t.line("env"), "%s: %s takes what another task printed; here it is empty", t.path, setting)
			value = ""
		}
		fmt.Fprintf(&b, "export %s=%s\n", name, quoteShell(value))
	}
	return b.String()
}

// check is the task's script. When it fails, what hintcheck prints is the hint.
func (x *iximiuz) check(sc *scenario, t *object, name, run string, line int) *script {
	text := x.environment(sc, t)
	before := strings.Count(text, "\n")
	if hint := t.text("hintcheck"); hint != "" && parses(hint) && parses(run) {
		text += "(\n" + run + "\n)\ncode=$?\n[ \"$code\" = 0 ] && exit 0\n(\n" + hint + "\n)\nexit \"$code\"\n"
		before++
	} else {
		text += run + "\n"
	}
	if t.text("failcheck") != "" {
		sc.report.leaveOut(sc.file, t.line("failcheck"), "%s.failcheck: here an attempt does not end by itself", t.path)
	}
	s := newScript(sc.file, line-before, "task "+name, text)
	t.asked["user"] = true // a check runs as root, or as the learner
	if n, err := strconv.Atoi(t.text("timeout_seconds")); err == nil {
		s.limit = n
	}
	if s.facts.Broken != "" {
		sc.report.limit(KindScript, sc.file, s.at(s.facts.Line), "bash can't read %s: %s", name, s.facts.Broken)
	}
	return s
}

// component is what iximiuz' pages have beside Markdown: `::name`, settings
// between dashes, content, `::`.
type component struct {
	name     string
	settings map[string]string
	content  []string
	line     int
}

var (
	componentStart = regexp.MustCompile(`^(:{2,6})([a-z][a-z0-9-]*)\s*(?:\{.*\})?\s*$`)
	setting        = regexp.MustCompile(`^:?([A-Za-z_-]+):\s*(.*)$`)
)

// steps parts the page at its headings and at the places where tasks are
// shown: each task is a step, with the section that it stands in.
func (x *iximiuz) steps(sc *scenario, tasks map[string]*ixTask, body string, first int) {
	p := &ixPage{iximiuz: x, scenario: sc, tasks: tasks, shown: map[string]bool{}}
	lines := strings.Split(body, "\n")
	for i := 0; i < len(lines); i++ {
		heading, isHeading := strings.CutPrefix(strings.TrimLeft(lines[i], "#"), " ")
		switch m := componentStart.FindStringSubmatch(lines[i]); {
		case m != nil:
			var c component
			c, i = readComponent(lines, i, m)
			c.line = first + i
			p.component(c)
		case isHeading && strings.HasPrefix(lines[i], "#"):
			p.flush()
			p.title = strings.TrimSpace(heading)
		default:
			p.text = append(p.text, lines[i])
		}
	}
	p.flush()
	for _, name := range sortedTasks(tasks) {
		if !p.shown[name] {
			sc.steps = append(sc.steps, x.step(tasks[name], "", nil, nil))
		}
	}
}

// ixPage is a page while it is read.
type ixPage struct {
	*iximiuz
	scenario *scenario
	tasks    map[string]*ixTask
	shown    map[string]bool
	title    string   // of the section at hand
	text     []string // of the section so far
	hints    []string // for the next task
}

// flush gives a section without a task to the step before it, or to the introduction.
func (p *ixPage) flush() {
	text := strings.TrimSpace(strings.Join(p.text, "\n"))
	if p.title != "" && text != "" {
		text = "## " + p.title + "\n\n" + text
	}
	p.title, p.text = "", nil
	switch n := len(p.scenario.steps); {
	case text == "":
	case n == 0:
		p.scenario.intro = append(p.scenario.intro, document{file: p.scenario.file, text: text})
	default:
		p.scenario.steps[n-1].text += "\n\n" + text
	}
}

func (p *ixPage) component(c component) {
	name := c.settings["name"]
	switch task := p.tasks[name]; {
	case (c.name == "simple-task" || c.name == "user-input-task") && task != nil && !p.shown[name]:
		p.shown[name] = true
		if file := c.settings["destination"]; c.name == "user-input-task" {
			p.text = append(p.text, "", "Write your answer into the file `"+file+"`:", "", "```sh", "echo 'YOUR ANSWER' >"+file, "```", "")
		}
		p.scenario.steps = append(p.scenario.steps, p.step(task, p.title, p.text, p.hints))
		p.title, p.text, p.hints = "", nil, nil
	case c.name == "hint-box":
		hint := plainText(scan(p.scenario.file, strings.Join(c.content, "\n"), p.scenario.report))
		if n := len(p.scenario.steps); n > 0 {
			p.scenario.steps[n-1].hints = append(p.scenario.steps[n-1].hints, hint)
		} else {
			p.hints = append(p.hints, hint)
		}
	default:
		p.text = append(p.text, p.insteadOf(c)...)
	}
}

// sortedTasks are the names of tasks, those that others need first.
func sortedTasks(tasks map[string]*ixTask) []string {
	names := make([]string, 0, len(tasks))
	for name := range tasks {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case slices.Contains(tasks[a].needs, b):
			return 1
		case slices.Contains(tasks[b].needs, a):
			return -1
		}
		return tasks[a].line - tasks[b].line
	})
	return names
}

func (x *iximiuz) step(task *ixTask, title string, text, hints []string) *step {
	if title == "" {
		title = strings.ReplaceAll(task.name, "_", " ")
	}
	return &step{document: document{file: task.check.file, text: strings.Join(text, "\n")}, title: title, listed: task.check.file, line: task.line, checks: []*script{task.check}, hints: hints}
}

// readComponent reads a component that begins on line i, and returns its last line.
func readComponent(lines []string, i int, m []string) (component, int) {
	c := component{name: m[2], settings: map[string]string{}}
	i++
	if i < len(lines) && strings.TrimSpace(lines[i]) == "---" {
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "---"; i++ {
			if s := setting.FindStringSubmatch(strings.TrimSpace(lines[i])); s != nil {
				c.settings[s[1]] = strings.Trim(s[2], `"'`)
			}
		}
		i++
	}
	for ; i < len(lines) && strings.TrimSpace(lines[i]) != m[1]; i++ {
		c.content = append(c.content, lines[i])
	}
	return c, i
}

// insteadOf is what stands for a component on a page without such.
func (p *ixPage) insteadOf(c component) []string {
	sc, content := p.scenario, c.content
	switch c.name {
	case "remark-box":
		lines := []string{"", "> [!NOTE]"}
		for _, line := range content {
			lines = append(lines, "> "+line)
		}
		return append(lines, "")
	case "details-box":
		return slices.Concat([]string{"", "<details><summary>" + c.settings["summary"] + "</summary>", ""}, content, []string{"", "</details>", ""})
	case "simple-task", "user-input-task":
		return nil // shown a second time, or of a task that is not there
	case "image-box", "slide-show", "card", "video-box", "embed", "youtube":
		sc.report.leaveOut(sc.file, c.line, "::%s %s", c.name, strings.TrimSpace(c.settings["src"]+" "+c.settings["url"]))
		return nil
	}
	sc.report.leaveOut(sc.file, c.line, "::%s: its content is shown as it stands", c.name)
	return content
}

// solutions are pages beside the challenge, one for each way. They are of all
// tasks together.
func (x *iximiuz) solutions(sc *scenario) {
	files, err := x.src.walk(func(name string) bool {
		return path.Dir(name) == sc.dir && strings.HasPrefix(path.Base(name), "solution") && path.Ext(name) == ".md"
	})
	if err != nil || len(files) == 0 || len(sc.steps) == 0 {
		return
	}
	for _, name := range files {
		content, err := x.src.read(name, maxPage)
		if err != nil {
			sc.report.limit(KindFile, name, 0, "%v", err)
			continue
		}
		_, text, _, _ := splitFront(name, string(content))
		sc.steps[0].text += "\n\n<details><summary>Solution: another method</summary>\n\n" + text + "\n\n</details>\n"
	}
	sc.solvedAtOnce = true
}

func (x *iximiuz) looksFor() string {
	return "there is no folder with an index.md whose front matter has a kind"
}
