package convert

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// writer writes parsed Markdown again, with what Drydock's pages know and
// nothing else: no HTML, no code without a language, no heading without those
// above it.
type writer struct {
	page   *page
	file   string
	report *Report
	base   int // level of the heading that the page is below
	src    []byte
	levels []int      // of the headings around this place, as the source has them
	after  []codeText // commands in the paragraph at hand that a click runs
	seen   bool       // something was written already
	table  bool
}

// maxNesting bounds how deeply lists and quotations nest; what is deeper is
// written flat.
const maxNesting = 20

func (w *writer) write(markdown string) string {
	w.src = []byte(markdown)
	md := goldmark.New(goldmark.WithExtensions(extension.NewTable(), extension.Strikethrough, extension.TaskList))
	lines := w.blocks(md.Parser().Parse(text.NewReader(w.src)), 0)
	return strings.Trim(strings.Join(withoutIdleRules(lines), "\n"), "\n") + "\n"
}

// withoutIdleRules drops rules at both ends, and below others.
func withoutIdleRules(lines []string) []string {
	var kept []string
	rule := true // at the beginning there is nothing to part
	for _, line := range lines {
		switch {
		case line == ruleLine && rule, line == "" && len(kept) > 0 && kept[len(kept)-1] == "":
			continue
		case line != "":
			rule = line == ruleLine
		}
		kept = append(kept, line)
	}
	for len(kept) > 0 && (kept[len(kept)-1] == "" || kept[len(kept)-1] == ruleLine) {
		kept = kept[:len(kept)-1]
	}
	return kept
}

const ruleLine = "---"

// blocks writes what is in n, with an empty line between the blocks.
func (w *writer) blocks(n ast.Node, depth int) []string {
	var lines []string
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		block := w.block(c, depth)
		for _, run := range w.takeRuns() {
			block = append(append(block, ""), w.code(run)...)
		}
		if len(block) == 0 {
			continue
		}
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, block...)
		w.seen = true
	}
	return lines
}

func (w *writer) takeRuns() []codeText {
	runs := w.after
	w.after = nil
	return runs
}

func (w *writer) block(n ast.Node, depth int) []string {
	switch n := n.(type) {
	case *ast.Heading:
		return w.heading(n)
	case *ast.Paragraph, *ast.TextBlock:
		return w.paragraph(n)
	case *ast.List:
		return w.list(n, depth)
	case *ast.Blockquote:
		return w.quote(n, depth)
	case *ast.FencedCodeBlock:
		return w.fenced(n)
	case *ast.CodeBlock:
		return w.code(codeText{body: w.linesOf(n)})
	case *ast.ThematicBreak:
		return []string{ruleLine}
	case *east.Table:
		return w.tableRows(n)
	case *ast.HTMLBlock: // what the tags did not make Markdown of is shown as it stands
		return w.guarded(escapeText(strings.TrimSpace(w.linesOf(n))))
	}
	return nil
}

func (w *writer) linesOf(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		b.Write(segment.Value(w.src))
	}
	return strings.TrimRight(b.String(), "\n")
}

var headingID = regexp.MustCompile(`\s*\{#[^{}]*\}\s*$`)

// heading writes a heading below those that it is below in the source. The
// first one of level 1 is the page's title.
func (w *writer) heading(n *ast.Heading) []string {
	title := strings.Join(strings.Fields(w.inline(n)), " ")
	w.after = nil
	title = strings.NewReplacer("{", "&#123;", "}", "&#125;").Replace(headingID.ReplaceAllString(title, ""))
	title = strings.TrimRight(title, "#\\ ")
	if headingText(title) == "" {
		return nil
	}
	if !w.seen && n.Level <= 2 && w.page.title == "" {
		w.page.title = headingText(title)
		return nil
	}
	for len(w.levels) > 0 && w.levels[len(w.levels)-1] >= n.Level {
		w.levels = w.levels[:len(w.levels)-1]
	}
	w.levels = append(w.levels, n.Level)
	const lowest = 6
	return []string{strings.Repeat("#", min(lowest, w.base+len(w.levels))) + " " + title}
}

func (w *writer) paragraph(n ast.Node) []string {
	content := strings.TrimSpace(w.inline(n))
	// A command that is all of the paragraph becomes the block below it.
	if len(w.after) == 1 && content == codeSpanOf(w.after[0].body) {
		return nil
	}
	return w.guarded(content)
}

// looksLikeBlock is a line that would begin another block.
var looksLikeBlock = regexp.MustCompile(`^(?:[-+*](?:\s|$)|#{1,6}(?:\s|$)|>|:|=+\s*$|-+\s*$|\[\^|` + "```" + `|~~~)`)

var looksLikeItem = regexp.MustCompile(`^([0-9]{1,9})([.)](?:\s|$))`)

// guarded splits the text of a paragraph into lines and keeps each from being
// read as the beginning of something else.
func (w *writer) guarded(content string) []string {
	var lines []string
	for line := range strings.SplitSeq(content, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "\\":
			continue
		case looksLikeBlock.MatchString(line):
			line = "\\" + line
		default:
			line = looksLikeItem.ReplaceAllString(line, "$1\\$2")
		}
		lines = append(lines, line)
	}
	if n := len(lines); n > 0 { // a break at the end would be a backslash
		lines[n-1] = strings.TrimSuffix(lines[n-1], "\\")
	}
	return lines
}

func (w *writer) list(n *ast.List, depth int) []string {
	if depth > maxNesting {
		return w.blocks(n, depth)
	}
	number := n.Start
	var lines []string
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		marker := string(n.Marker) + " "
		if n.IsOrdered() {
			marker = fmt.Sprintf("%d%s", number, marker)
			number++
		}
		content := w.blocks(item, depth+1)
		if len(content) == 0 {
			continue
		}
		if n.IsTight {
			content = tight(content)
		} else if len(lines) > 0 {
			lines = append(lines, "")
		}
		for i, line := range content {
			switch {
			case i == 0:
				line = marker + line
			case line != "":
				line = strings.Repeat(" ", len(marker)) + line
			}
			lines = append(lines, line)
		}
	}
	return lines
}

var itemLine = regexp.MustCompile(`^(?:[-+*]|[0-9]{1,9}[.)]) `)

// tight takes the empty line before a list within an item.
func tight(lines []string) []string {
	var kept []string
	for i, line := range lines {
		if line == "" && i+1 < len(lines) && itemLine.MatchString(lines[i+1]) {
			continue
		}
		kept = append(kept, line)
	}
	return kept
}

// calloutKinds are the callouts of other platforms, as Drydock calls them.
func calloutKinds() map[string]string {
	return map[string]string{"note": "NOTE", "info": "NOTE", "tip": "TIP", "hint": "TIP", "important": "WARNING", "warning": "WARNING", "caution": "WARNING", "danger": "WARNING"}
}

var calloutMark = regexp.MustCompile(`^\\?\[!?([A-Za-z]+)\\?\]\s*(.*)$`)

func (w *writer) quote(n ast.Node, depth int) []string {
	content := w.blocks(n, depth+1)
	if len(content) == 0 || depth > maxNesting {
		return content
	}
	if m := calloutMark.FindStringSubmatch(content[0]); m != nil {
		kind, known := calloutKinds()[strings.ToLower(m[1])]
		switch {
		case known && len(content) > 1:
			content[0] = strings.TrimSpace("[!" + kind + "] " + m[2])
		case known && m[2] != "":
			content = []string{"[!" + kind + "]", m[2]}
		default:
			content[0] = "\\" + strings.TrimPrefix(content[0], "\\")
		}
	}
	for i, line := range content {
		content[i] = strings.TrimRight("> "+line, " ")
	}
	return content
}

// fenced reads the words that codeText.write put behind the language.
func (w *writer) fenced(n *ast.FencedCodeBlock) []string {
	c := codeText{body: w.linesOf(n)}
	if n.Info != nil {
		words := strings.Fields(string(n.Info.Segment.Value(w.src)))
		for i, word := range words {
			switch {
			case i == 0:
				c.lang = word
			case word == wordRun:
				c.action.run = true
			case word == wordInterrupt:
				c.action.interrupt = true
			case strings.HasPrefix(word, wordTerminal):
				c.action.terminal = strings.TrimPrefix(word, wordTerminal)
			case strings.HasPrefix(word, wordHost):
				c.action.host = strings.TrimPrefix(word, wordHost)
			}
		}
	}
	return w.code(c)
}

// code writes a block of code, and before it what its click did beside
// running it.
func (w *writer) code(c codeText) []string {
	if strings.TrimSpace(c.body) == "" {
		return nil
	}
	var lines []string
	if c.action.terminal != "" {
		lines = append(lines, "In another terminal:", "")
	}
	if c.action.host != "" {
		w.report.limit(KindHost, w.file, 0, "commands are for a second machine, %s", c.action.host)
		lines = append(lines, "On the machine "+c.action.host+":", "")
	}
	if c.action.interrupt {
		lines = append(lines, "Press Ctrl-C first, to end what runs.", "")
	}
	info := language(c.lang)
	if c.action.run {
		info = "sh run"
		w.page.runs = append(w.page.runs, c)
	} else {
		w.page.shown = append(w.page.shown, c)
	}
	mark := fenceFor(c.body)
	lines = append(lines, mark+info)
	lines = append(lines, strings.Split(c.body, "\n")...)
	return append(lines, mark)
}

// language is a name that the highlighting knows; text for anything else.
func language(name string) string {
	switch name = strings.ToLower(name); {
	case name == "output":
		return name
	case name == "mermaid" || name == "text" || lexers.Get(name) == nil:
		return "text"
	case name == "bash" || name == "shell" || name == "zsh":
		return "sh"
	}
	return name
}

func (w *writer) tableRows(t *east.Table) []string {
	w.table = true
	defer func() { w.table = false }()
	var lines []string
	columns := 0
	for row := t.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []string
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			cells = append(cells, strings.Join(strings.Fields(w.inline(cell)), " "))
		}
		lines = append(lines, "| "+strings.Join(cells, " | ")+" |")
		if columns == 0 {
			columns = len(cells)
			lines = append(lines, "|"+strings.Repeat("---|", columns))
		}
	}
	return lines
}

// inline writes what is in a line.
func (w *writer) inline(n ast.Node) string {
	var b strings.Builder
	skip := 0 // bytes of the next text: the braces behind code
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			w.plain(&b, c, skip)
		case *ast.String:
			b.Write(c.Value)
		case *ast.CodeSpan:
			skip = w.span(&b, c)
			continue
		case *ast.Emphasis:
			mark := strings.Repeat("*", c.Level)
			b.WriteString(mark + w.inline(c) + mark)
		case *east.Strikethrough:
			b.WriteString("~~" + w.inline(c) + "~~")
		case *ast.Link:
			b.WriteString(w.link(w.inline(c), string(c.Destination)))
		case *ast.AutoLink:
			b.WriteString(w.autoLink(c))
		case *ast.Image:
			b.WriteString(w.image(c))
		case *ast.RawHTML:
			for i := range c.Segments.Len() {
				segment := c.Segments.At(i)
				b.WriteString(escapeText(string(segment.Value(w.src))))
			}
		case *east.TaskCheckBox:
			b.WriteString(map[bool]string{true: "[x] ", false: "[ ] "}[c.IsChecked])
		}
		skip = 0
	}
	return b.String()
}

// plain writes text as the source has it: what is no mark there is none here.
func (w *writer) plain(b *strings.Builder, n *ast.Text, skip int) {
	raw := n.Segment.Value(w.src)
	value := strings.ReplaceAll(string(raw[min(skip, len(raw)):]), "<", "&lt;")
	b.WriteString(dropBraces(value)) // those behind what is no code
	switch {
	case n.HardLineBreak() && !w.table:
		b.WriteString("\\\n")
	case n.SoftLineBreak() || n.HardLineBreak():
		b.WriteString("\n")
	}
}

// span writes code in a line, and returns how many bytes of the text behind it
// say what a click on it does.
func (w *writer) span(b *strings.Builder, n *ast.CodeSpan) (skip int) {
	var code strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			code.WriteString(strings.ReplaceAll(string(c.Segment.Value(w.src)), "\n", " "))
		case *ast.String:
			code.Write(c.Value)
		}
	}
	body := strings.TrimSpace(code.String())
	if body == "" {
		return 0
	}
	shown := codeSpanOf(body)
	if w.table {
		shown = strings.ReplaceAll(strings.ReplaceAll(shown, `\|`, "|"), "|", `\|`)
	}
	b.WriteString(shown)
	next, ok := n.NextSibling().(*ast.Text)
	if !ok {
		w.page.words = append(w.page.words, body)
		return 0
	}
	m := braces.Find(next.Segment.Value(w.src))
	c := codeText{lang: "sh", body: body, action: readAction(string(m))}
	if c.action.left != "" {
		w.report.leaveOut(w.file, 0, "{{%s}} behind `%s` is not known", c.action.left, body)
	}
	if c.action.run && !w.table {
		w.after = append(w.after, c)
	} else {
		w.page.words = append(w.page.words, body)
	}
	return len(m)
}

// codeSpanOf marks code in a line.
func codeSpanOf(body string) string {
	longest := 0
	for _, run := range backticks.FindAllString(body, -1) {
		longest = max(longest, len(run))
	}
	mark := strings.Repeat("`", longest+1)
	if strings.HasPrefix(body, "`") || strings.HasSuffix(body, "`") {
		body = " " + body + " "
	}
	return mark + body + mark
}

// link writes a link that leads somewhere from a lab's page; of another one,
// its text.
func (w *writer) link(label, destination string) string {
	label = strings.TrimSpace(label)
	u, err := url.Parse(html.UnescapeString(destination))
	if err != nil || label == "" || !slices.Contains([]string{"http", "https", "mailto"}, strings.ToLower(u.Scheme)) ||
		strings.ContainsAny(destination, "<> \n"+sandboxHost) || u.Scheme != "mailto" && u.Host == "" {
		if destination != "" && !strings.HasPrefix(destination, "#") {
			w.report.leaveOut(w.file, 0, "the link to %s", destination)
		}
		return label
	}
	return "[" + label + "](<" + destination + ">)"
}

func (w *writer) autoLink(n *ast.AutoLink) string {
	address := string(n.URL(w.src))
	if u, err := url.Parse(address); err != nil || n.AutoLinkType != ast.AutoLinkEmail && u.Host == "" || strings.Contains(address, sandboxHost) {
		return "`" + address + "`"
	}
	if n.AutoLinkType != ast.AutoLinkEmail && !strings.HasPrefix(strings.ToLower(address), "http") {
		return escapeText(address)
	}
	return "<" + address + ">"
}

// image leaves a picture out: what it shows is said instead.
func (w *writer) image(n *ast.Image) string {
	w.report.leaveOut(w.file, 0, "the picture %s", n.Destination)
	alt := strings.TrimSpace(w.inline(n))
	if alt == "" {
		return ""
	}
	return "*(" + strings.Trim(alt, "*") + ")*"
}
