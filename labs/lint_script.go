package labs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const (
	solutionsDir = "solutions"
	wrongDir     = "wrong"

	// minSolutions keeps checks from demanding one way of doing it.
	minSolutions = 2
	minWrong     = 1
	// maxScript bounds a script, in bytes: it runs as one argument of bash, and Linux allows 128 KiB.
	maxScript = 100 << 10
)

// script is one of a lab's solutions or wrong fixes.
type script struct {
	file     string // below the lab's folder
	name     string // without folder and extension
	source   string
	caughtBy string // of a wrong fix: the check, guard or question that must catch it
	answers  []scriptAnswer
	env      []string // KEY=value, of what is tried against every lab
}

// scriptAnswer is what a script's author answers to a question: a line
// `# answer task-id: text`.
type scriptAnswer struct {
	task, text string
	line       int
}

var (
	caughtByLine = regexp.MustCompile(`^#\s*caught-by:\s*(\S+)\s*$`)
	answerLine   = regexp.MustCompile(`^#\s*answer\s+([^\s:]+)\s*:\s*(.*\S)\s*$`)
)

// scripts reads the .sh files of a folder of the lab, in name order.
func (l *Lab) scripts(dir string) ([]script, error) {
	entries, err := fs.ReadDir(l.FS, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []script
	var problems Problems
	for _, entry := range entries {
		file := path.Join(dir, entry.Name())
		name, isScript := strings.CutSuffix(entry.Name(), ".sh")
		switch {
		case hidden(entry.Name()):
			continue
		case !isScript || entry.IsDir() || !idPattern.MatchString(name):
			problems = append(problems, Problem{File: l.path(file), Msg: "only scripts belong here, named like fix-the-service.sh"})
			continue
		}
		source, err := readBounded(l.FS, file, maxScript)
		if err != nil {
			problems = append(problems, Problem{File: l.path(file), Msg: err.Error()})
			continue
		}
		all = append(all, parseScript(file, name, string(source)))
	}
	if len(problems) > 0 {
		return all, problems
	}
	return all, nil
}

func parseScript(file, name, source string) script {
	s := script{file: file, name: name, source: source}
	for i, row := range strings.Split(source, "\n") {
		if m := caughtByLine.FindStringSubmatch(row); m != nil && i == 0 {
			s.caughtBy = m[1]
		}
		if m := answerLine.FindStringSubmatch(row); m != nil {
			s.answers = append(s.answers, scriptAnswer{task: m[1], text: m[2], line: i + 1})
		}
	}
	return s
}

var bashComplaint = regexp.MustCompile(`(?m)^[^:\n]*: line (\d+): (.*)$`)

// shellSyntax asks bash whether it can read the script; without bash nothing is said.
func (l *linter) shellSyntax(file, source string) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		return
	}
	var complaint bytes.Buffer
	check := exec.Command(bash, "-n")
	check.Env = []string{"LC_ALL=C"}
	check.Stdin, check.Stderr = strings.NewReader(source), &complaint
	if check.Run() == nil {
		return
	}
	line, text := 0, fmt.Sprintf("bash can't read it: %s", strings.TrimSpace(complaint.String()))
	if m := bashComplaint.FindStringSubmatch(complaint.String()); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = "bash can't read it: " + m[2]
	}
	l.problem(file, line, "%s", text)
}
