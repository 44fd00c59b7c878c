package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drydock/sandbox"
)

// instruqt reads Instruqt's tracks, and its labs in HCL.
type instruqt struct{ src *source }

func (q *instruqt) find() ([]string, []Note, error) {
	files, err := q.src.walk(func(name string) bool {
		return path.Base(name) == "track.yml" || path.Ext(name) == ".hcl"
	})
	var dirs []string
	for _, name := range files {
		dir := path.Dir(name)
		if !slices.Contains(dirs, dir) && (path.Base(name) == "track.yml" || q.isLab(name)) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil, err
}

func (q *instruqt) read(dir string, r *Report) (*scenario, []Note) {
	file := path.Join(dir, "track.yml")
	content, err := q.src.read(file, maxIndex)
	if errors.Is(err, errMissing) {
		return q.readLab(dir, r)
	} else if err != nil {
		return nil, []Note{{File: file, Text: err.Error()}}
	}
	root, note := parseYAML(file, content)
	if note != nil {
		return nil, []Note{*note}
	}
	var wrong []Note
	o := newObject(file, "", root, &wrong)
	sc := &scenario{format: "instruqt", dir: dir, file: file, report: r, src: q.src, home: rootHome, title: o.text("title"), level: levelOf(o.text("level"))}
	sc.summary = o.text("teaser")
	if sc.summary == "" {
		sc.summary = o.text("description")
	}
	if sc.title == "" {
		sc.title = path.Base(dir)
	}
	o.rest(r, "description", "slug", "id", "type", "icon", "tags", "owner", "developers", "private", "published", "checksum", "show_timer", "skipping_enabled", "maintenance",
		"version", "lab_config", "enhanced_loading", "idle_timeout", "timelimit", "extend_ttl")
	hosts := q.hosts(sc, &wrong)
	names, err := q.challenges(dir)
	if err != nil {
		return nil, []Note{{File: dir, Text: err.Error()}}
	}
	first := q.learnersHost(dir, names, hosts)
	q.scripts(sc, path.Join(dir, "track_scripts"), "the track", first, nil, false)
	for i, name := range names {
		q.challenge(sc, path.Join(dir, name), i, first, &wrong)
	}
	return sc, wrong
}

// hosts reads config.yml: what the track runs on.
func (q *instruqt) hosts(sc *scenario, wrong *[]Note) []string {
	file := path.Join(sc.dir, "config.yml")
	sc.host = host{kind: sandbox.Machine}
	content, err := q.src.read(file, maxIndex)
	if err != nil {
		sc.report.limit(KindBackend, file, 0, "%v: it gets a Linux machine", err)
		return nil
	}
	root, note := parseYAML(file, content)
	if note != nil {
		*wrong = append(*wrong, *note)
		return nil
	}
	o := newObject(file, "", root, wrong)
	var names []string
	for _, kind := range []string{"virtualmachines", "containers"} {
		for _, m := range o.list(kind) {
			names = append(names, m.text("name"))
			if clusterImage.MatchString(m.text("image")) {
				sc.host.kind = sandbox.Cluster
			} else {
				sc.report.limit(KindBackend, file, m.line("image"), "the image %q of %s is not known here", m.text("image"), m.text("name"))
			}
		}
	}
	for _, kind := range []string{"gcp_projects", "aws_accounts", "azure_subscriptions", "virtualbrowsers", "windows"} {
		if o.has(kind) {
			sc.report.limit(KindInternet, file, o.line(kind), "it uses %s", strings.ReplaceAll(kind, "_", " "))
		}
	}
	return names
}

var challengeFolder = regexp.MustCompile(`^[0-9]+-`)

// challenges are the folders of the track's challenges, in their order.
func (q *instruqt) challenges(dir string) ([]string, error) {
	entries, err := fs.ReadDir(q.src, dir)
	if err != nil {
		return nil, inWords(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && challengeFolder.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// learnersHost is the one that most checks are of.
func (q *instruqt) learnersHost(dir string, challenges, hosts []string) string {
	checks := map[string]int{}
	for _, name := range challenges {
		entries, err := fs.ReadDir(q.src, path.Join(dir, name))
		if err != nil {
			continue // reading its text says so
		}
		for _, entry := range entries {
			if host, ok := strings.CutPrefix(entry.Name(), "check-"); ok {
				checks[host]++
			}
		}
	}
	best := ""
	if len(hosts) > 0 {
		best = hosts[0]
	}
	for _, host := range slices.Sorted(maps.Keys(checks)) {
		if checks[host] > checks[best] {
			best = host
		}
	}
	return best
}

func (q *instruqt) challenge(sc *scenario, dir string, i int, host string, wrong *[]Note) {
	file := path.Join(dir, "assignment.md")
	content, err := q.src.read(file, maxPage)
	if err != nil {
		sc.report.limit(KindFile, file, 0, "%v", err)
		return
	}
	front, text, _, note := splitFront(file, string(content))
	if note != nil {
		*wrong = append(*wrong, *note)
		return
	}
	o := newObject(file, "", front, wrong)
	s := &step{document: document{file: file, text: text}, title: o.text("title"), listed: file}
	for _, n := range o.list("notes") {
		if n.text("type") == "text" {
			s.text = n.text("contents") + "\n\n" + s.text
		} else {
			sc.report.leaveOut(file, n.line("type"), "a note of the kind %s", n.text("type"))
		}
	}
	if n, err := strconv.Atoi(o.text("timelimit")); err == nil {
		const minute = 60
		sc.minutes = min(maxMinutes, sc.minutes+n/minute)
	}
	if o.text("type") == "quiz" {
		q.quiz(sc, o, s)
	}
	o.rest(sc.report, "slug", "id", "type", "teaser", "tabs", "difficulty", "notes", "lab_config", "enhanced_loading", "answers", "solution")
	q.scripts(sc, dir, fmt.Sprintf("challenge %d", i+1), host, s, i > 0)
	sc.steps = append(sc.steps, s)
}

// quiz makes a question of a quiz; with several right answers all are asked for.
func (q *instruqt) quiz(sc *scenario, o *object, s *step) {
	answers := o.texts("answers")
	var right []string
	for _, index := range o.texts("solution") {
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < len(answers) {
			right = append(right, answers[n])
		}
	}
	const least = 2 // choices
	if len(right) == 0 || len(answers) < least || len(right) == len(answers) {
		sc.report.limit(KindUngraded, s.file, o.line("solution"), "the quiz has no answer that is right beside one that is wrong")
		return
	}
	s.ask = &question{text: s.title, choices: answers, accept: right, all: len(right) > 1}
}

// failMessage is what Instruqt gives checks to say why they fail.
const failMessage = `fail-message() { echo "FAIL: $*"; exit 1; }; set-status() { echo "$*"; }
`

var failProgram = regexp.MustCompile(`(?:/usr/bin/|/opt/instruqt/bootstrap/)fail-message\b`)

// scripts takes the scripts of a folder: setup-HOST, check-HOST, solve-HOST.
func (q *instruqt) scripts(sc *scenario, dir, of, host string, s *step, late bool) {
	entries, err := fs.ReadDir(q.src, dir)
	if err != nil {
		return // a track needs no scripts of its own
	}
	for _, entry := range entries {
		kind, on, ok := strings.Cut(entry.Name(), "-")
		file := path.Join(dir, entry.Name())
		switch {
		case !ok || !slices.Contains([]string{"setup", "check", "solve", "cleanup"}, kind) || entry.IsDir():
			continue
		case kind == "cleanup":
			sc.report.leaveOut(file, 0, "nothing needs to be cleaned up: a sandbox is thrown away")
			continue
		case on != host:
			sc.report.limit(KindHost, file, 0, "it is for a second machine, %s: left out", on)
			continue
		}
		script, err := sc.readScript(file, kind+" script of "+of)
		if err != nil {
			sc.unreadable = sc.unreadable || kind == "check"
			sc.report.limit(KindFile, file, 0, "%v", err)
			continue
		}
		q.script(sc, script, kind, s, late)
	}
}

func (q *instruqt) script(sc *scenario, script *script, kind string, s *step, late bool) {
	if script.facts.Broken != "" && !script.foreign() {
		sc.report.limit(KindScript, script.file, script.facts.Line, "bash can't read it: %s", script.facts.Broken)
	}
	switch {
	case kind == "setup":
		if late {
			sc.report.limit(KindMoment, script.file, 0, "it ran when the challenge began; here it runs before hand-over, with the others")
		}
		sc.setup = append(sc.setup, script)
	case s == nil:
	case kind == "check":
		script.prelude, script.text = failMessage, failProgram.ReplaceAllString(script.text, "fail-message")
		s.checks = append(s.checks, script)
	case kind == "solve":
		s.solves = append(s.solves, script)
	}
}

func (q *instruqt) looksFor() string {
	return `there is no folder with a track.yml, and none with a resource "lab" in a file of HCL`
}
