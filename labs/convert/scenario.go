package convert

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"drydock/sandbox"
)

// scenario is what every format is read into.
type scenario struct {
	format  string
	dir     string // its folder, below what is imported
	file    string // that describes it
	title   string
	summary string
	level   string
	track   string
	minutes int
	host    host
	intro   []document
	steps   []*step
	setup   []*script // in the order they run
	assets  []asset
	home    string // of the learner there
	// solvedAtOnce: the first step's solution is that of all steps.
	solvedAtOnce bool
	unreadable   bool // a check is named and can't be read

	report *Report
	src    *source
}

// host is what the platform would run the scenario on.
type host struct {
	kind  sandbox.Kind
	image string
	line  int
	other string // name of a second machine, such as node01
}

// document is a text as its author wrote it.
type document struct {
	file string
	text string
}

// step is one page of a scenario, and what is to be done on it.
type step struct {
	document
	title  string
	listed string // the file that lists the step
	line   int    // there
	checks []*script
	hints  []string
	solves []*script // solutions that the format itself has
	ask    *question
	page   *page // of the document, converted
}

// question is a question of a format that asks some.
type question struct {
	text    string
	choices []string
	accept  []string
	all     bool // of accept are asked for
}

// script is a script of the scenario.
type script struct {
	file  string // below what is imported
	line  int    // where its first line stands in file; 0 for a file of its own
	what  string // such as "background script of the intro"
	text  string
	facts facts
	// prelude is what the platform gives the script, such as functions and
	// arguments; it comes first.
	prelude string
	limit   int // seconds that its author gives it; 0 where nothing is said
}

// at is the line of the file for a line of the script.
func (s *script) at(line int) int {
	if s.line > 0 {
		return s.line + line - 1
	}
	return line
}

var interpreterLine = regexp.MustCompile(`^#!.*\b(?:python[0-9.]*|perl|node|ruby|php|expect)\b`)

// foreign says whether the script is for another interpreter than a shell.
func (s *script) foreign() bool { return interpreterLine.MatchString(s.text) }

// asset is a file that is copied into the sandbox.
type asset struct {
	file   string // below what is imported
	target string // the whole path
	mode   string // as chmod takes it; may be empty
	data   []byte
}

// maxScript bounds a script, in bytes: it goes to bash as one argument, and
// Linux allows 128 KiB for that.
const maxScript = 100 << 10

var errBinary = errors.New("is no text")

// readScript reads a script of the scenario.
func (sc *scenario) readScript(name, what string) (*script, error) {
	content, err := sc.src.read(name, maxScript)
	if err != nil {
		return nil, err
	}
	text, err := scriptText(content)
	if err != nil {
		return nil, err
	}
	return newScript(name, 0, what, text), nil
}

func newScript(file string, line int, what, text string) *script {
	return &script{file: file, line: line, what: what, text: text, facts: study(text)}
}

// scriptText takes what editors leave around a script away.
func scriptText(content []byte) (string, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if bytes.IndexByte(content, 0) >= 0 || !utf8.Valid(content) {
		return "", errBinary
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	return strings.TrimRight(text, "\n") + "\n", nil
}

// pages are the texts that a learner reads.
func (sc *scenario) pages() []document {
	pages := slices.Clone(sc.intro)
	for _, s := range sc.steps {
		pages = append(pages, s.document)
	}
	return pages
}

var number = regexp.MustCompile(`[0-9]+`)

// maxMinutes is the most that a lab may take.
const maxMinutes = 240

// minutesOf reads a duration as authors write it: 10 minutes, 10-15 min, 1 hour.
func minutesOf(text string) int {
	most := 0
	for _, m := range number.FindAllString(text, 3) {
		if n, err := strconv.Atoi(m); err == nil {
			most = max(most, n)
		}
	}
	lower := strings.ToLower(text)
	if strings.Contains(lower, "hour") || strings.HasSuffix(strings.TrimSpace(lower), "h") {
		most *= 60
	}
	return min(most, maxMinutes)
}

// levelOf reads a level of difficulty; empty when it says nothing known.
func levelOf(text string) string {
	switch lower := strings.ToLower(text); {
	case strings.Contains(lower, "begin"), strings.Contains(lower, "easy"), strings.Contains(lower, "basic"), strings.Contains(lower, "intro"):
		return "beginner"
	case strings.Contains(lower, "intermediate"), strings.Contains(lower, "medium"), strings.Contains(lower, "moderate"):
		return "intermediate"
	case strings.Contains(lower, "advanced"), strings.Contains(lower, "hard"), strings.Contains(lower, "expert"), strings.Contains(lower, "difficult"), strings.Contains(lower, "extreme"):
		return "advanced"
	}
	return ""
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// maxSlug is the longest name of a lab's folder.
const maxSlug = 40

// slugOf makes a lab's slug, or a track's, of any name.
func slugOf(name string) string {
	slug := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(slug) > maxSlug {
		slug = strings.Trim(slug[:maxSlug], "-")
	}
	return slug
}
