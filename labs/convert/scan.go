package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// piece is a part of a page of text, in order: prose, a block of code, or a
// part that is folded away.
type piece struct {
	line  int
	prose []string  // lines of Markdown without HTML
	code  *codeText // a block of code
	fold  *fold     // <details>
}

// codeText is a block of code, or a command in a line.
type codeText struct {
	indent string // what stands before the fence: spaces, a list's marker
	lang   string
	body   string
	action action
	line   int
}

// fold is what stands between <details> and </details>.
type fold struct {
	summary string
	line    int
	pieces  []piece
}

// action is what a click on code does, from the braces behind it.
type action struct {
	run       bool
	interrupt bool   // Ctrl-C first
	terminal  string // T2: in another terminal than the first
	host      string // HOST2: on another machine
	left      string // words that have no counterpart
}

// readAction reads what stands in the braces: exec, execute T2, copy, nothing.
func readAction(braces string) action {
	var a action
	for _, word := range strings.Fields(strings.Trim(braces, "{}")) {
		switch lower := strings.ToLower(word); {
		case lower == "exec" || lower == "execute":
			a.run = true
		case lower == "interrupt":
			a.interrupt = true
		case lower == "copy":
		case lower == "no-newline" || lower == "ctrl-seq":
			a.run = false // typed by hand, with what the text says around it
		case len(word) == 2 && lower[0] == 't' && lower != "t1":
			a.terminal = word
		case strings.HasPrefix(lower, "host") && lower != "host1":
			a.host = word
		case lower == "t1" || lower == "host1":
		default:
			a.left = strings.TrimSpace(a.left + " " + word)
		}
	}
	return a
}

// fenceLine is a line that opens a block of code. A list's marker may stand
// before it.
var fenceLine = regexp.MustCompile("^((?:[ \t]|>)*(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)?)(`{3,}|~{3,})[ \t]*([^`]*)$")

// braces stand behind a block of code, or code in a line.
var braces = regexp.MustCompile(`^\{\{[^{}\n]*\}\}`)

// scanner splits a page into its pieces. It is made for what authors write
// and browsers accept, which is more than Markdown's grammar knows: HTML
// around Markdown without empty lines, braces behind a fence.
type scanner struct {
	file   string
	report *Report
	lines  []string
	at     int // the next line
	open   []*fold
	pieces []piece // of the page, or of what is folded at the moment

	tags *tagReader
}

// scan reads a page.
func scan(file, src string, r *Report) []piece {
	src = strings.ToValidUTF8(strings.TrimPrefix(src, "\ufeff"), "\ufffd")
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\ufffd").Replace(src)
	s := &scanner{file: file, report: r, lines: strings.Split(ports(src, file, r), "\n")}
	s.tags = &tagReader{scanner: s}
	for s.at < len(s.lines) {
		if !s.fence() {
			s.tags.line(s.lines[s.at], s.at+1)
			s.at++
		}
	}
	s.tags.end()
	for len(s.open) > 0 { // never closed: up to the end
		s.endFold()
	}
	return s.pieces
}

// into is the list that pieces go to.
func (s *scanner) into() *[]piece {
	if n := len(s.open); n > 0 {
		return &s.open[n-1].pieces
	}
	return &s.pieces
}

func (s *scanner) add(p piece) {
	list := s.into()
	if n := len(*list); p.code == nil && p.fold == nil && n > 0 && (*list)[n-1].code == nil && (*list)[n-1].fold == nil {
		(*list)[n-1].prose = append((*list)[n-1].prose, p.prose...)
		return
	}
	*list = append(*list, p)
}

// maxFolds bounds how deeply folded parts nest; deeper ones are not folded.
const maxFolds = 10

func (s *scanner) beginFold(line int) {
	if len(s.open) < maxFolds {
		s.open = append(s.open, &fold{line: line})
	}
}

func (s *scanner) endFold() {
	if n := len(s.open); n > 0 {
		last := s.open[n-1]
		s.open = s.open[:n-1]
		s.add(piece{line: last.line, fold: last})
	}
}

// fence takes a block of code, if one begins here.
func (s *scanner) fence() bool {
	m := fenceLine.FindStringSubmatch(s.lines[s.at])
	if m == nil || s.tags.inside() {
		return false
	}
	indent, mark, info := m[1], m[2], strings.TrimSpace(m[3])
	code := &codeText{indent: indent, line: s.at + 1}
	if before, behind, found := strings.Cut(info, "{{"); found { // the braces belong behind the block, but stand here
		info, code.action = strings.TrimSpace(before), readAction(behind)
	}
	code.lang, _, _ = strings.Cut(strings.TrimLeft(info, "{."), " ")
	code.lang = strings.Trim(code.lang, "{}.,")
	if name, flags, ok := strings.Cut(code.lang, ","); ok || name == "run" { // as Instruqt has it: ```bash,run
		code.action.run = code.action.run || name == "run" || slices.Contains(strings.Split(flags, ","), "run")
		code.lang = name
	}
	var body []string
	s.at++
	for ; s.at < len(s.lines); s.at++ {
		if behind, closes := closesFence(s.lines[s.at], mark); closes {
			s.at++
			s.behind(code, behind)
			break
		}
		body = append(body, unindent(s.lines[s.at], indent))
	}
	code.body = strings.Join(body, "\n")
	s.add(piece{line: code.line, code: code})
	return true
}

// closesFence says whether a line closes a block that the mark opened, and
// what stands behind the fence.
func closesFence(line, mark string) (behind string, ok bool) {
	trimmed := strings.TrimLeft(line, " \t>")
	rest := strings.TrimLeft(trimmed, mark[:1])
	if len(trimmed)-len(rest) < len(mark) {
		return "", false
	}
	rest = strings.TrimSpace(rest)
	return rest, rest == "" || strings.HasPrefix(rest, "{{") || strings.HasPrefix(rest, "</")
}

// behind reads what stands behind a closing fence.
func (s *scanner) behind(code *codeText, behind string) {
	if m := braces.FindString(behind); m != "" {
		code.action = readAction(m)
		behind = strings.TrimSpace(behind[len(m):])
	}
	if code.action.left != "" {
		s.report.leaveOut(s.file, s.at, "{{%s}} behind a block of code is not known", code.action.left)
	}
	if behind != "" && !strings.HasPrefix(behind, "{{") { // a closing tag, say
		s.at--
		s.lines[s.at] = behind
	}
}

// unindent takes as much space from a line as stands before its block's fence.
func unindent(line, indent string) string {
	for range indent {
		if line == "" || line[0] != ' ' && line[0] != '\t' && line[0] != '>' {
			break
		}
		line = line[1:]
	}
	return line
}

// sandboxHost stands for the host whose ports a learner reaches; what it is
// called is known when it is decided what the lab runs in. The character is
// one that no text has: Unicode keeps it for private use.
const sandboxHost = "\ue000"

var (
	// portLink is a link into the sandbox, portAddress its address elsewhere.
	portLink    = regexp.MustCompile(`\[([^\]\n]*)\]\(((?:https?://)?(?:\{\{TRAFFIC_HOST[0-9]+_[0-9]+\}\}|\[\[HOST[0-9]*_SUBDOMAIN\]\]-[0-9]+-\[\[KATACODA_HOST\]\]\.(?:\[\[KATACODA_DOMAIN\]\]|[a-z.]+)|\{\{TRAFFIC_SELECTOR\}\})[^)\s]*)\)`)
	portAddress = regexp.MustCompile(`(?:https?://)?(?:\{\{TRAFFIC_HOST[0-9]+_([0-9]+)\}\}|\[\[HOST[0-9]*_SUBDOMAIN\]\]-([0-9]+)-\[\[KATACODA_HOST\]\]\.(?:\[\[KATACODA_DOMAIN\]\]|[a-z.]+))`)
	hostAddress = regexp.MustCompile(`\[\[HOST[0-9]*_IP\]\]`)
	selector    = regexp.MustCompile(`\{\{TRAFFIC_SELECTOR\}\}`)
)

// ports turns links to the sandbox's ports into what a learner can use in the
// terminal: there is no way from a browser into a sandbox.
func ports(src, file string, r *Report) string {
	if loc := portAddress.FindStringIndex(src); loc != nil {
		r.limit(KindPort, file, lineAt([]byte(src), int64(loc[0])), "a port of the sandbox is opened in the browser: the text names its address for curl in the terminal instead")
	} else if loc := selector.FindStringIndex(src); loc != nil {
		r.limit(KindPort, file, lineAt([]byte(src), int64(loc[0])), "a port of the sandbox is chosen in the browser: use curl in the terminal")
	}
	src = portLink.ReplaceAllStringFunc(src, func(link string) string {
		m := portLink.FindStringSubmatch(link)
		if selector.MatchString(m[2]) {
			return m[1]
		}
		return fmt.Sprintf("%s (in the terminal: `%s`)", m[1], m[2])
	})
	src = portAddress.ReplaceAllString(src, "http://"+sandboxHost+":$1$2")
	src = hostAddress.ReplaceAllString(src, sandboxHost)
	return selector.ReplaceAllString(src, "a port of the sandbox")
}
