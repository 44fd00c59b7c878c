package convert

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// page is a page of text, converted.
type page struct {
	title    string // of a heading of level 1 at the beginning
	markdown string
	hints    []string
	ways     [][]codeText // ways to a solution that were folded away, each a list of blocks
	runs     []codeText   // commands that a click runs
	shown    []codeText   // other blocks of code
	words    []string     // code in lines
}

var (
	saysSolution = regexp.MustCompile(`(?i)solution|answer|reveal|spoiler|lösung|show me|command|yaml|manifest|imperative|declarative|method|approach|option\b|step.by.step|walkthrough`)
	saysHint     = regexp.MustCompile(`(?i)\bhints?\b|\btips?\b|stuck|need help|\bclue`)
	saysOther    = regexp.MustCompile(`(?i)alternativ|\bmethod\b|optional|bundle|declarative|imperative|\boption\b|approach|another|other way|yaml|manifest`)
	// solutionHeading is one above a solution that is folded away.
	solutionHeading = regexp.MustCompile(`(?i)^\s*#{1,6}\s.*\b(solutions?|answers?)\b`)
)

// readPage converts a page whose headings go below one of level base. Of one
// with a task, what is folded away as a solution or as a hint is taken out of
// what the learner reads.
func readPage(file, src string, base int, task bool, r *Report) *page {
	t := &page{}
	pieces := scan(file, src, r)
	if task {
		pieces = t.takeOut(pieces)
	}
	w := &writer{page: t, file: file, report: r, base: base}
	t.markdown = w.write(join(pieces))
	return t
}

// takeOut removes folded solutions and hints, and the heading of a section
// that was nothing but a solution.
func (t *page) takeOut(pieces []piece) []piece {
	var kept []piece
	for _, p := range pieces {
		switch {
		case p.fold == nil:
			kept = append(kept, p)
		case saysHint.MatchString(p.fold.summary) && !saysSolution.MatchString(p.fold.summary):
			if hint := plainText(p.fold.pieces); hint != "" {
				t.hints = append(t.hints, hint)
			}
		case saysSolution.MatchString(p.fold.summary) || len(t.ways) == 0 && p.fold.summary == "":
			t.solution(p.fold)
			dropSection(kept)
		default:
			p.fold.pieces = t.takeOut(p.fold.pieces)
			kept = append(kept, p)
		}
	}
	return kept
}

// solution takes the blocks of code of what was folded away. A further one is
// the next part of the same way, unless it says that it is another way.
func (t *page) solution(f *fold) {
	var blocks []codeText
	var parts []*fold
	for _, p := range f.pieces {
		switch {
		case p.code != nil:
			blocks = append(blocks, *p.code)
		case p.fold != nil:
			parts = append(parts, p.fold)
		default:
			blocks = append(blocks, commandsIn(p.prose, p.line)...)
		}
	}
	switch n := len(t.ways); {
	case len(blocks) == 0:
	case n == 0 || saysOther.MatchString(f.summary):
		t.ways = append(t.ways, blocks)
	default:
		t.ways[n-1] = append(t.ways[n-1], blocks...)
	}
	for _, part := range parts {
		t.solution(part)
	}
}

var clickable = regexp.MustCompile("`([^`\n]+)`(\\{\\{[^{}\n]*\\}\\})")

// commandsIn are the commands in lines that a click runs.
func commandsIn(lines []string, at int) []codeText {
	var all []codeText
	for i, line := range lines {
		for _, m := range clickable.FindAllStringSubmatch(line, -1) {
			if a := readAction(m[2]); a.run {
				all = append(all, codeText{lang: "sh", body: m[1], action: a, line: at + i})
			}
		}
	}
	return all
}

// dropSection takes away the heading that announces a solution, with what
// stands between it and the solution: "try it yourself first".
func dropSection(kept []piece) {
	if len(kept) == 0 || kept[len(kept)-1].prose == nil {
		return
	}
	last := &kept[len(kept)-1]
	for i := len(last.prose) - 1; i >= 0; i-- {
		line := last.prose[i]
		if solutionHeading.MatchString(line) {
			last.prose = last.prose[:i]
			if i == 0 {
				last.prose = []string{""}
			}
			return
		}
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			return
		}
	}
}

// maxHint bounds a hint, in characters: it is shown in one piece.
const maxHint = 2000

// plainText is what a hint says: prose and code without marks.
func plainText(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		switch {
		case p.code != nil:
			b.WriteString("\n" + p.code.body + "\n")
		case p.fold != nil:
			b.WriteString("\n" + p.fold.summary + "\n" + plainText(p.fold.pieces))
		default:
			b.WriteString(strings.Join(p.prose, "\n"))
		}
	}
	text := strings.NewReplacer("**", "", "`", "", "&lt;", "<", sandboxHost, "localhost").Replace(b.String())
	text = dropBraces(text)
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRightFunc(strings.TrimLeft(line, "# "), unicode.IsSpace)
		if line != "" {
			lines = append(lines, line)
		}
	}
	text = strings.Join(lines, "\n")
	if runes := []rune(text); len(runes) > maxHint {
		text = string(runes[:maxHint-1]) + "…"
	}
	return text
}

var braceAnywhere = regexp.MustCompile(`\{\{[^{}\n]*\}\}`)

// dropBraces takes out braces that say what a click does. Helm's stay.
func dropBraces(text string) string {
	return braceAnywhere.ReplaceAllStringFunc(text, func(m string) string {
		if a := readAction(m); a.left == "" {
			return ""
		}
		return m
	})
}

// join makes one Markdown text of the pieces, with fences of a form that every
// parser reads. What code does when clicked stands behind the language.
func join(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		switch {
		case p.code != nil:
			p.code.write(&b)
		case p.fold != nil:
			if p.fold.summary != "" {
				b.WriteString("\n**" + escapeText(p.fold.summary) + "**\n")
			}
			b.WriteString("\n" + join(p.fold.pieces) + "\n")
		default:
			b.WriteString(strings.Join(p.prose, "\n") + "\n")
		}
	}
	return b.String()
}

// The words behind a block's language, between scanning and writing.
const (
	wordRun       = "run"
	wordInterrupt = "interrupt"
	wordTerminal  = "terminal="
	wordHost      = "host="
)

func (c *codeText) write(b *strings.Builder) {
	mark := fenceFor(c.body)
	words := []string{cmp.Or(strings.Join(strings.Fields(c.lang), "-"), "none")}
	if c.action.run {
		words = append(words, wordRun)
	}
	if c.action.interrupt {
		words = append(words, wordInterrupt)
	}
	if c.action.terminal != "" {
		words = append(words, wordTerminal+c.action.terminal)
	}
	if c.action.host != "" {
		words = append(words, wordHost+c.action.host)
	}
	spaces := blank(c.indent)
	b.WriteString(c.indent + mark + strings.Join(words, " ") + "\n")
	for line := range strings.SplitSeq(c.body, "\n") {
		b.WriteString(spaces + line + "\n")
	}
	b.WriteString(spaces + mark + "\n")
}

// blank is the indent without a list's marker.
func blank(indent string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '>' {
			return r
		}
		return ' '
	}, indent)
}

var backticks = regexp.MustCompile("`+")

// fenceFor is a fence longer than any run of backticks in the code.
func fenceFor(body string) string {
	longest := 2
	for _, run := range backticks.FindAllString(body, -1) {
		longest = max(longest, len(run))
	}
	return strings.Repeat("`", longest+1)
}

// escapeText makes plain text that Markdown leaves as it is.
func escapeText(plain string) string {
	return strings.NewReplacer("\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", "~", "\\~").Replace(plain)
}

// headingText is a heading without marks, as titles in lists have it.
func headingText(markdown string) string {
	text := strings.NewReplacer("**", "", "`", "", "&lt;", "<", "\\", "", "&#123;", "{", "&#125;", "}").Replace(markdown)
	return strings.Join(strings.Fields(text), " ")
}

// same says whether two titles say the same, whatever signs are around them.
func same(a, b string) bool {
	letters := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, s)
	}
	x, y := letters(a), letters(b)
	return x == y || x != "" && y != "" && (strings.HasSuffix(x, y) || strings.HasSuffix(y, x))
}

// shell says whether a block of code is for a shell.
func (c *codeText) shell() bool {
	return slices.Contains([]string{"sh", "bash", "shell", "zsh", "console", "terminal", "ksh"}, strings.ToLower(c.lang)) || c.action.run
}
