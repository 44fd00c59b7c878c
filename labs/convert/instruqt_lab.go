package convert

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/sandbox"
)

// hclLab is one of Instruqt's labs in HCL, while it is read.
type hclLab struct {
	*scenario
	root    *hclFolder
	lab     *hclBlock
	learner *hclBlock // the container or machine that most checks run on; nil where nothing says
	wrong   []Note
}

var labResource = regexp.MustCompile(`(?m)^[ \t]*resource[ \t]+"?lab"?[ \t]`)

// isLab says whether a file of HCL describes a lab, and not a part of one or
// something else.
func (q *instruqt) isLab(name string) bool {
	content, err := q.src.read(name, maxHCL)
	return err == nil && labResource.Match(content)
}

// readLab reads a lab in HCL.
func (q *instruqt) readLab(dir string, r *Report) (*scenario, []Note) {
	root, wrong := readHCL(q.src, dir, 1)
	if len(wrong) > 0 {
		return nil, wrong
	}
	var all []*hclBlock
	for _, b := range root.resources {
		if b.kind == "lab" {
			all = append(all, b)
		}
	}
	if len(all) != 1 {
		return nil, []Note{{File: dir, Text: fmt.Sprintf("it has %d resources of the kind lab, not one", len(all))}}
	}
	l := &hclLab{root: root, lab: all[0]}
	l.scenario = &scenario{format: "instruqt", dir: dir, file: l.lab.file, report: r, src: q.src, home: rootHome, host: host{kind: sandbox.Machine}}
	l.title, l.summary = l.said(l.lab, "title"), l.said(l.lab, "description")
	if l.title == "" {
		l.title = path.Base(dir)
	}
	limit := l.lab.first("settings").first("timelimit")
	l.minutes = min(maxMinutes, minutesIn(l.said(limit, "duration")))
	l.learner = l.learnersHost()
	l.sandbox()
	for _, chapter := range l.lab.first("content").blocks("chapter") {
		for _, p := range chapter.blocks("page") {
			l.page(p)
		}
	}
	return l.scenario, l.wrong
}

// said is an attribute as text; what can't be known is noted, and empty.
func (l *hclLab) said(b *hclBlock, name string) string {
	text, err := b.text(name)
	if err != nil {
		l.report.limit(KindFile, b.file, b.at(name), "%s of %s %v", name, called(b), err)
	}
	return text
}

func (l *hclLab) saidAll(b *hclBlock, name string) []string {
	texts, err := b.texts(name)
	if err != nil {
		l.report.limit(KindFile, b.file, b.at(name), "%s of %s %v", name, called(b), err)
	}
	return texts
}

// called names a block for its author.
func called(b *hclBlock) string { return strings.TrimSpace(b.kind + " " + b.name) }

// minutesIn reads 90m and 1h30m, and minutes as a number, which it was once.
func minutesIn(text string) int {
	if d, err := time.ParseDuration(text); err == nil {
		return int(d / time.Minute)
	}
	n, _ := strconv.Atoi(text) // anything else says nothing
	return n
}

// page makes a step of a page, and further ones of what else is to be done on it.
func (l *hclLab) page(listed *hclBlock) {
	p, err := listed.refers("reference")
	if err != nil {
		l.wrong = append(l.wrong, Note{File: listed.file, Line: listed.at("reference"), Text: fmt.Sprintf("the page %s: its reference %v", listed.name, err)})
		return
	}
	name := l.said(p, "file")
	file, err := within(p.folder.dir, name)
	var content []byte
	if err == nil {
		content, err = l.src.read(file, maxPage)
	}
	if err != nil {
		l.report.limit(KindFile, p.file, p.at("file"), "the page %q %v", name, err)
		return
	}
	s := &step{document: document{file: file}, title: l.said(listed, "title"), listed: listed.file, line: listed.line}
	if s.title == "" {
		s.title = l.said(p, "title")
	}
	text := l.fillIn(p, strings.ReplaceAll(string(content), "\r\n", "\n"))
	text, ids := takeActivities(text)
	s.text = instruqtCode(text)
	l.steps = append(l.steps, s)
	l.activities(p, s, ids)
}

var handlebars = regexp.MustCompile(`\{\{\{?\s*(?:quote\s+|trim\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*\}?\}\}`)

// fillIn puts in the page's variables. Braces that name none of them stay.
func (l *hclLab) fillIn(p *hclBlock, text string) string {
	values := map[string]string{}
	for _, item := range p.items("variables") {
		value, err := p.folder.text(item.value)
		if err != nil {
			l.report.limit(KindFile, p.file, p.at("variables"), "the variable %s of %s %v", item.key, called(p), err)
			continue
		}
		values[item.key] = value
	}
	return handlebars.ReplaceAllStringFunc(text, func(m string) string {
		if value, ok := values[handlebars.FindStringSubmatch(m)[1]]; ok {
			return value
		}
		return m
	})
}

var (
	activityTag = regexp.MustCompile(`</?instruqt-(?:task|quiz)\b([^>]*)>`)
	codeTag     = regexp.MustCompile(`(?s)<instruqt-code\b([^>]*)>\n?(.*?)\n?[ \t]*</instruqt-code>`)
	otherTag    = regexp.MustCompile(`</?instruqt-[a-z-]+\b[^>]*>`)
)

// attributesOf are the attributes of a tag.
func attributesOf(tag string) map[string]string {
	all := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		all[m[1]] = m[2] + m[3] + m[4]
	}
	return all
}

// takeActivities takes the marks of tasks and quizzes out of a page, but not
// what stands between them, and returns their ids in their order.
func takeActivities(text string) (without string, ids []string) {
	without = activityTag.ReplaceAllStringFunc(text, func(tag string) string {
		if id := attributesOf(tag)["id"]; id != "" {
			ids = append(ids, id)
		}
		return "\n"
	})
	return without, ids
}

// instruqtCode turns blocks of Instruqt's own into fences, and drops its other marks.
func instruqtCode(text string) string {
	text = codeTag.ReplaceAllStringFunc(text, func(whole string) string {
		m := codeTag.FindStringSubmatch(whole)
		has, body := attributesOf(m[1]), m[2]
		mark, action := fenceFor(body), ""
		if has["run"] == "true" {
			action = "{{exec}}"
		}
		return "\n" + mark + has["language"] + "\n" + body + "\n" + mark + action + "\n"
	})
	return otherTag.ReplaceAllString(text, "")
}

// activities are what is to be done on a page: its first task belongs to its
// own step, and each further task or question gets one.
func (l *hclLab) activities(p *hclBlock, s *step, ids []string) {
	known := map[string]hclItem{}
	for _, item := range p.items("activities") {
		known[item.key] = item
		if !slices.Contains(ids, item.key) {
			l.report.leaveOut(p.file, p.at("activities"), "%s is on no page: the text does not name it", item.key)
		}
	}
	for _, id := range ids {
		item, ok := known[id]
		if !ok {
			l.report.limit(KindUngraded, s.file, 0, "the text names %s, which is none of the page's activities", id)
			continue
		}
		what, err := p.folder.refers(item.value)
		switch {
		case err != nil:
			l.report.limit(KindUngraded, p.file, p.at("activities"), "%s %v", id, err)
		case what.kind == "task":
			l.task(what, s)
		case what.kind == "quiz":
			l.quiz(what, s)
		default:
			l.report.limit(KindUngraded, p.file, p.at("activities"), "%s is a %s, neither task nor quiz", id, what.kind)
		}
	}
}

// further is a step below that of a page.
func (l *hclLab) further(b *hclBlock, title string) *step {
	s := &step{document: document{file: b.file}, title: headingText(title), listed: b.file, line: b.line}
	l.steps = append(l.steps, s)
	return s
}

// task makes checks of a task's conditions.
func (l *hclLab) task(b *hclBlock, s *step) {
	if len(s.checks) > 0 || s.ask != nil {
		s = l.further(b, l.said(b, "description"))
	}
	for _, condition := range b.blocks("condition") {
		in := []*hclBlock{b, condition}
		for _, check := range condition.blocks("check") {
			l.check(check, append(in, check), s)
		}
		for _, solve := range condition.blocks("solve") {
			if script := l.script(solve, append(in, solve), "solution of "+called(b)); script != nil {
				s.solves = append(s.solves, script)
			}
		}
		for _, setup := range condition.blocks("setup") {
			if script := l.script(setup, append(in, setup), "setup script of "+called(b)); script != nil {
				l.report.limit(KindMoment, script.file, 0, "it ran when %s began; here it runs before hand-over, with the others", called(b))
				l.setup = append(l.setup, script)
			}
		}
		for _, cleanup := range condition.blocks("cleanup") {
			l.report.leaveOut(cleanup.file, cleanup.line, "nothing needs to be cleaned up: a sandbox is thrown away")
		}
	}
}

// check is a script that decides. Its author's message comes behind what it prints.
func (l *hclLab) check(b *hclBlock, in []*hclBlock, s *step) {
	script := l.script(b, in, "check of "+called(in[0]))
	if script == nil {
		return
	}
	if message := strings.Join(strings.Fields(l.said(b, "failure_message")), " "); message != "" && !script.foreign() {
		said := "code=$?; [ $code = 0 ] || echo " + quoteShell("FAIL: "+message) + "; exit $code"
		script.prelude = andThen(script.prelude, "trap "+quoteShell(said)+" EXIT")
	}
	s.checks = append(s.checks, script)
}

// script reads a script of a block, with the settings of the blocks around it:
// the innermost that says something counts. Nil, and it was noted why.
func (l *hclLab) script(b *hclBlock, in []*hclBlock, what string) *script {
	if on := l.target(in); on != nil && l.learner != nil && on != l.learner {
		l.report.limit(KindHost, b.file, b.line, "it is for a second machine, %s: left out", called(on))
		return nil
	}
	name := l.said(b, "script")
	file, err := within(b.folder.dir, name)
	var s *script
	if err == nil {
		s, err = l.readScript(file, what)
	}
	if err != nil {
		l.unreadable = l.unreadable || b.kind == "check"
		l.report.limit(KindFile, b.file, b.at("script"), "the script %q %v", name, err)
		return nil
	}
	if s.facts.Broken != "" && !s.foreign() {
		l.report.limit(KindScript, s.file, s.facts.Line, "bash can't read it: %s", s.facts.Broken)
	}
	if text := strings.ReplaceAll(s.text, imagesKubectl, "kubectl"); text != s.text {
		s.text, s.facts = text, study(text)
	}
	l.settings(s, b, in)
	return s
}

// imagesKubectl is where the image that [plainImage] takes for a terminal beside
// a cluster has kubectl; it is not in the path of the scripts that run there.
const imagesKubectl = "/opt/bitnami/kubectl/bin/kubectl"

// settings are the directory, the environment, the time and the user of a script.
func (l *hclLab) settings(s *script, b *hclBlock, in []*hclBlock) {
	directory, limit, user, codes := "/", "", "root", "0"
	for _, around := range in {
		config := around.first("config")
		set := func(name string, into *string) {
			if config.has(name) {
				*into = strings.Join(l.saidAll(config, name), " ")
			}
		}
		set("working_directory", &directory)
		set("timeout", &limit)
		set("user", &user)
		set("success_exit_codes", &codes)
		for _, item := range config.items("environment") {
			value, err := config.folder.text(item.value)
			if err == nil && !variableName.MatchString(item.key) {
				err = errNoVariable
			}
			if err != nil {
				l.report.limit(KindScript, config.file, config.at("environment"), "the variable %q %v", item.key, err)
				continue
			}
			s.prelude = andThen(s.prelude, "export "+item.key+"="+quoteShell(value))
		}
	}
	if b.kind == "check" && directory != "/" {
		s.prelude = andThen(s.prelude, "cd "+quoteShell(directory))
	}
	if d, err := time.ParseDuration(limit); err == nil {
		s.limit = int(d / time.Second)
	}
	if user != "root" {
		l.report.limit(KindScript, b.file, b.line, "it ran as %s, and here as root", user)
	}
	if codes != "0" {
		l.report.limit(KindScript, b.file, b.line, "it passed with the exit codes %s, and here with 0 only", codes)
	}
}

// andThen puts a command behind others, in one line: what bash complains of
// then has the number that it has in the script.
func andThen(commands, command string) string {
	if commands == "" {
		return command
	}
	return commands + "; " + command
}

var errNoVariable = errors.New("has a name that no shell takes")

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// target is what a script runs on, as the innermost block says; nil where none does.
func (l *hclLab) target(in []*hclBlock) *hclBlock {
	for _, around := range slices.Backward(in) {
		if config := around.first("config"); config.has("target") {
			on, err := config.refers("target")
			if err != nil {
				l.report.limit(KindHost, config.file, config.at("target"), "its target %v", err)
			}
			return on
		}
	}
	return nil
}
