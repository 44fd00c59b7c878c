package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"

	"drydock/labs/grade"
)

// LintOption widens what [Lint] looks at.
type LintOption func(*linter)

// WithArticles lets the linter check that a lab's article exists.
func WithArticles(exists func(slug string) bool) LintOption {
	return func(l *linter) { l.articles = exists }
}

// linter looks at a loaded lab and the files beside its lab.yaml.
type linter struct {
	lab      *Lab
	articles func(slug string) bool
	problems []Problem
	used     map[string]Problem // vars, and where each is used first
}

// Lint returns everything that is wrong with a loaded lab and can be found
// without a cluster, in the order of files and lines.
func Lint(lab *Lab, options ...LintOption) []Problem {
	l := &linter{lab: lab, used: map[string]Problem{}}
	for _, option := range options {
		option(l)
	}
	l.folder()
	l.article()
	l.points()
	l.conditions()
	l.setup()
	l.readme()
	l.scripts()
	l.vars()
	return sorted(l.problems)
}

func (l *linter) problem(file string, line int, format string, args ...any) {
	l.problems = append(l.problems, Problem{File: l.lab.path(file), Line: line, Msg: fmt.Sprintf(format, args...)})
}

// at reports a problem of the value at a path of lab.yaml.
func (l *linter) at(where, format string, args ...any) {
	l.problem(labFile, l.lab.lines.of(where), format, args...)
}

// folderEntries is all that a lab's folder may hold.
var folderEntries = []string{labFile, readmeFile, "manifests", "setup", "files", benchDir, solutionsDir, wrongDir}

func (l *linter) folder() {
	entries, err := fs.ReadDir(l.lab.FS, ".")
	if err != nil {
		l.problem(".", 0, "the lab's folder can't be read: %v", err)
		return
	}
	for _, entry := range entries {
		if !hidden(entry.Name()) && !slices.Contains(folderEntries, entry.Name()) {
			l.problem(entry.Name(), 0, "no part of a lab%s", didYouMean(entry.Name(), folderEntries))
		}
	}
}

func (l *linter) article() {
	if l.articles != nil && l.lab.Article != "" && !l.articles(l.lab.Article) {
		l.at("article", "there is no article %q", l.lab.Article)
	}
}

func (l *linter) points() {
	sum := 0
	for _, task := range l.lab.Tasks {
		sum += task.Points
	}
	if sum != TotalPoints {
		l.at("tasks", "the points of the tasks add up to %d; they must make %d, so that scores of labs compare", sum, TotalPoints)
	}
}

// conditions looks at the checks and questions as the grader will.
func (l *linter) conditions() {
	l.problems = append(l.problems, l.lab.ungradable()...)
	for _, checks := range [][]grade.Check{l.lab.Ready, l.lab.Checks()} {
		if set, _ := grade.Compile(checks); set != nil {
			l.use(set.Vars(), labFile, l.lab.lines.of(""))
		}
	}
	l.measured(l.lab.Ready)
	l.measured(l.lab.Checks())
	if s := l.lab.Service; s != nil && s.HTTP != nil {
		for _, text := range []string{s.HTTP.URL, s.HTTP.Body, s.HTTP.From} {
			l.useIn(labFile, l.lab.lines.of("service"), text)
		}
	}
	for i, task := range l.lab.Tasks {
		if task.Ask == nil {
			continue
		}
		where := fmt.Sprintf("tasks[%d].ask", i)
		l.use(task.Ask.Vars(), labFile, l.lab.lines.of(where))
		if len(task.Ask.Problems()) == 0 {
			l.choices(where, task.Ask)
		}
	}
}

// benchDir holds the programs that a learner's is measured against.
const benchDir = "bench"

// measured checks that the programs are there which checks measure with.
func (l *linter) measured(checks []grade.Check) {
	for i := range checks {
		c := &checks[i]
		l.measured(c.All)
		l.measured(c.Any)
		if c.Not != nil {
			l.measured([]grade.Check{*c.Not})
		}
		if c.Bench == nil {
			continue
		}
		for _, files := range []string{c.Bench.Baseline.Files, c.Bench.Generate.Files} {
			name := path.Clean(files)
			if !fs.ValidPath(name) || !strings.HasPrefix(name, benchDir+"/") {
				l.problem(labFile, c.Line, "bench: %q is not below %s/, where the learner sees nothing of it", files, benchDir)
			} else if _, err := fs.Stat(l.lab.FS, name); err != nil {
				l.problem(labFile, c.Line, "bench: there is no %s in the lab's folder", name)
			}
		}
	}
}

// ungradable returns what keeps the grader from judging the lab.
func (l *Lab) ungradable() []Problem {
	var all []Problem
	for _, checks := range [][]grade.Check{l.Ready, l.Checks()} {
		all = append(all, l.gradeProblems(grade.Vet(checks))...)
	}
	for _, task := range l.Tasks {
		if task.Ask != nil {
			all = append(all, l.gradeProblems(task.Ask.Problems())...)
		}
	}
	return all
}

// choices checks that in every variant some choice is right and some is wrong,
// and that all that has to be named together can be chosen.
func (l *linter) choices(where string, ask *grade.Ask) {
	if len(ask.Choices) == 0 {
		return
	}
	for _, v := range l.lab.AllVariants() {
		choices := ask.ChoicesIn(v.Vars)
		if ask.Several() {
			for _, sample := range ask.Samples(v.Vars) {
				l.chosen(where, v, choices, strings.Split(sample, "\n"))
			}
			continue
		}
		right := 0
		for _, choice := range choices {
			if ask.Right(choice, v.Vars) {
				right++
			}
		}
		switch right {
		case 0:
			l.at(where+".choices", "no choice is right in the variant %s: accept names none of them", v.Name)
		case len(choices):
			l.at(where+".choices", "every choice is right in the variant %s", v.Name)
		}
	}
}

// chosen checks what is right of several choices.
func (l *linter) chosen(where string, v Variant, choices, right []string) {
	for _, one := range right {
		if !slices.ContainsFunc(choices, func(c string) bool { return strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(one)) }) {
			l.at(where+".all", "%q is none of the choices in the variant %s%s", one, v.Name, didYouMean(one, choices))
		}
	}
	if len(choices) <= len(right) {
		l.at(where+".choices", "every choice is right in the variant %s", v.Name)
	}
}

// use notes that vars are used in a file.
func (l *linter) use(vars []string, file string, line int) {
	for _, name := range vars {
		if _, before := l.used[name]; !before {
			l.used[name] = Problem{File: l.lab.path(file), Line: line}
		}
	}
}

// useIn notes the ${vars.x} of a text that begins at a line.
func (l *linter) useIn(file string, line int, text string) {
	for offset, row := range strings.Split(text, "\n") {
		for _, m := range varReference.FindAllStringSubmatch(row, -1) {
			if !varPattern.MatchString(m[1]) {
				l.problem(file, line+offset, "%s is no reference to a var: write ${vars.name}", m[0])
				continue
			}
			l.use([]string{m[1]}, file, line+offset)
		}
	}
}

// vars checks that what is used is there in every variant, and the other way round.
func (l *linter) vars() {
	for _, name := range slices.Sorted(maps.Keys(l.used)) {
		where := l.used[name]
		for _, v := range l.lab.AllVariants() {
			if _, ok := v.Vars[name]; !ok {
				where.Msg = fmt.Sprintf("the var %q is used here, and the variant %s has none of that name%s", name, v.Name, didYouMean(name, slices.Sorted(maps.Keys(v.Vars))))
				l.problems = append(l.problems, where)
			}
		}
	}
	for i, v := range l.lab.Variants {
		for _, name := range slices.Sorted(maps.Keys(v.Vars)) {
			if _, ok := l.used[name]; !ok {
				l.at(fmt.Sprintf("variants[%d].vars.%s", i, name), "the var %q is used nowhere", name)
			}
		}
	}
}

var scriptVar = regexp.MustCompile(`\b` + varEnv + `([a-zA-Z0-9_]+)`)

func (l *linter) setup() {
	made := sets.New(l.lab.Sandbox.Namespaces...).Insert("default", "kube-system", "kube-public", "kube-node-lease")
	var objects []manifest
	for _, step := range l.lab.Setup {
		name := path.Clean(step.Apply + step.Run)
		switch {
		case !fs.ValidPath(name):
			l.problem(labFile, step.Line, "setup: %q must be a path below the lab's folder", step.Apply+step.Run)
		case step.Run != "":
			l.setupScript(step, name)
		default:
			objects = append(objects, l.apply(step, name)...)
		}
	}
	for _, m := range objects {
		if m.object.GetKind() == "Namespace" {
			made.Insert(m.object.GetName())
		}
	}
	for _, m := range objects {
		if ns := m.object.GetNamespace(); ns != "" && !made.Has(ns) {
			l.problem(m.file, m.line, "%s: nothing makes the namespace %q%s", m, ns, didYouMean(ns, made.UnsortedList()))
		}
	}
}

func (l *linter) setupScript(step Step, name string) {
	if !strings.HasPrefix(name, "setup/") {
		l.problem(labFile, step.Line, "run: %s must be a script below setup/", step.Run)
		return
	}
	script, err := readBounded(l.lab.FS, name, maxScript)
	if err != nil {
		l.problems = append(l.problems, l.lab.stepProblem(step, "run", err))
		return
	}
	l.shellSyntax(name, string(script))
	for i, row := range strings.Split(string(script), "\n") {
		for _, m := range scriptVar.FindAllStringSubmatch(row, -1) {
			l.use([]string{m[1]}, name, i+1)
		}
	}
}

// apply parses the manifests of a step once for each variant, whose values may break the YAML.
func (l *linter) apply(step Step, name string) []manifest {
	files, err := readTree(l.lab.FS, name)
	if err != nil {
		l.problems = append(l.problems, l.lab.stepProblem(step, "apply", err))
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		l.useIn(file, 1, string(files[file]))
	}
	var all []manifest
	for _, v := range l.lab.AllVariants() {
		objects, problems := l.lab.manifests(step, v.Vars)
		all = append(all, objects...)
		l.problems = append(l.problems, problems...)
	}
	return all
}

// taskHeading is a README's heading of a task: `## Title {#task-id}`.
var (
	heading     = regexp.MustCompile(`^##\s+\S`)
	taskHeading = regexp.MustCompile(`^##\s+(.*\S)\s+\{#([^}]*)\}\s*$`)
	codeFence   = regexp.MustCompile("^ {0,3}(```+|~~~+)")
)

// readme checks that each task has its heading, once, and in the tasks' order.
func (l *linter) readme() {
	if strings.TrimSpace(l.lab.Readme) == "" {
		l.problem(readmeFile, 0, "missing or empty: it is what the learner reads")
		return
	}
	var ids []string
	for _, task := range l.lab.Tasks {
		ids = append(ids, task.ID)
	}
	var found []string
	fence := ""
	for i, row := range strings.Split(l.lab.Readme, "\n") {
		if m := codeFence.FindStringSubmatch(row); m != nil {
			switch {
			case fence == "":
				fence = m[1]
			case strings.HasPrefix(m[1], fence):
				fence = ""
			}
			continue
		}
		m := taskHeading.FindStringSubmatch(row)
		switch {
		case fence != "" || !heading.MatchString(row) || m == nil:
		case !slices.Contains(ids, m[2]):
			l.problem(readmeFile, i+1, "the heading's {#%s} is no task%s", m[2], didYouMean(m[2], ids))
		case slices.Contains(found, m[2]):
			l.problem(readmeFile, i+1, "the task %s has a heading already", m[2])
		default:
			found = append(found, m[2])
		}
	}
	if fence != "" {
		l.problem(readmeFile, strings.Count(l.lab.Readme, "\n"), "a code block (%s) is never closed", fence)
	}
	l.headings(ids, found)
}

func (l *linter) headings(ids, found []string) {
	for i, id := range ids {
		if !slices.Contains(found, id) {
			l.at(fmt.Sprintf("tasks[%d]", i), "README.md has no heading for this task: add `## %s {#%s}`", l.lab.Tasks[i].Title, id)
		}
	}
	if len(found) == len(ids) && !slices.Equal(found, ids) {
		l.problem(readmeFile, 0, "the headings stand in the order %s; the tasks in lab.yaml in the order %s", strings.Join(found, ", "), strings.Join(ids, ", "))
	}
}

// scripts checks solutions and wrong fixes.
func (l *linter) scripts() {
	solutions := l.scriptsIn(solutionsDir)
	wrong := l.scriptsIn(wrongDir)
	if len(solutions) < minSolutions && l.lab.Imported == nil {
		l.problem(solutionsDir, 0, "there must be at least %d solutions that are really different, or the checks demand one way; found: %d", minSolutions, len(solutions))
	}
	if len(wrong) < minWrong && l.lab.Imported == nil {
		l.problem(wrongDir, 0, "no wrong fix; there must be at least %d: what would a learner try that must not count?", minWrong)
	}
	for _, s := range slices.Concat(solutions, wrong) {
		l.shellSyntax(s.file, s.source)
		for _, answer := range s.answers {
			l.answer(s, answer)
		}
	}
	for _, s := range wrong {
		l.caughtBy(s)
	}
	l.unanswered(solutions)
}

func (l *linter) scriptsIn(dir string) []script {
	all, err := l.lab.scripts(dir)
	var problems Problems
	switch {
	case errors.As(err, &problems):
		l.problems = append(l.problems, problems...)
	case err != nil:
		l.problem(dir, 0, "can't be read: %v", err)
	}
	return all
}

// answer checks a script's `# answer task: text` line.
func (l *linter) answer(s script, a scriptAnswer) {
	task, ok := l.lab.task(a.task)
	if !ok || task.Ask == nil {
		l.problem(s.file, a.line, "answer: there is no question %q%s", a.task, didYouMean(a.task, l.lab.questionIDs()))
		return
	}
	l.useIn(s.file, a.line, a.text)
}

func (l *Lab) questionIDs() []string {
	var ids []string
	for _, task := range l.Tasks {
		if task.Ask != nil {
			ids = append(ids, task.ID)
		}
	}
	return ids
}

func (l *linter) caughtBy(s script) {
	if s.caughtBy == "" {
		l.problem(s.file, 1, "the first line must say what catches it: `# caught-by: ` and the id of a check, a guard or a question")
		return
	}
	ids := l.lab.questionIDs()
	for _, check := range l.lab.Checks() {
		ids = append(ids, check.ID)
	}
	if !slices.Contains(ids, s.caughtBy) {
		l.problem(s.file, 1, "caught-by: there is no check, guard or question %q%s", s.caughtBy, didYouMean(s.caughtBy, ids))
		return
	}
	answers := slices.ContainsFunc(s.answers, func(a scriptAnswer) bool { return a.task == s.caughtBy })
	if slices.Contains(l.lab.questionIDs(), s.caughtBy) && !answers {
		l.problem(s.file, 1, "a wrong fix that a question catches gives the wrong answer: add `# answer %s: …`", s.caughtBy)
	}
}

// unanswered reports questions for which nobody has a literal answer to try.
func (l *linter) unanswered(solutions []script) {
	for i, task := range l.lab.Tasks {
		if task.Ask == nil || len(task.Ask.Samples(l.lab.AllVariants()[0].Vars)) > 0 {
			continue
		}
		if !slices.ContainsFunc(solutions, func(s script) bool {
			return slices.ContainsFunc(s.answers, func(a scriptAnswer) bool { return a.task == task.ID })
		}) {
			l.at(fmt.Sprintf("tasks[%d].ask", i), "what is right is said in regular expressions only, so a solution must give an answer: `# answer %s: …`", task.ID)
		}
	}
}
