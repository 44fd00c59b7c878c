package content

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/alecthomas/chroma/v2"
	chromahtml "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/alecthomas/chroma/v2/styles"
	"github.com/yuin/goldmark/ast"
)

// codeNode is a block of code in the place of goldmark's.
type codeNode struct {
	ast.BaseBlock
	html string
}

// Kinds of node are numbered by goldmark when the program starts.
var kindCode = ast.NewNodeKind("DrydockCode")

func (*codeNode) Kind() ast.NodeKind           { return kindCode }
func (n *codeNode) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }
func (*codeNode) IsRaw() bool                  { return true }

// fence is what the line that opens a block of code says.
type fence struct {
	lang  string
	run   bool
	where string // cluster, machine, none or empty
	file  string
}

// fenceWords may follow the language.
func fenceWords() []string { return []string{"run", "cluster", "machine", "none", "file=NAME"} }

// Languages without highlighting: what a command printed, and plain text.
const (
	langOutput = "output"
	langText   = "text"
)

// fenced checks a block of code and replaces it by a highlighted one.
func (r *reader) fenced(n *ast.FencedCodeBlock) {
	line := max(1, r.line(n))
	if n.Info != nil {
		line = strings.Count(string(r.src[:n.Info.Segment.Start]), "\n") + 1
	}
	f, ok := r.fence(n, line)
	if !ok {
		return
	}
	var code strings.Builder
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		code.Write(segment.Value(r.src))
	}
	if strings.TrimSpace(code.String()) == "" {
		r.add(line, "this block of code is empty")
		return
	}
	marked, err := highlight(f.lang, code.String())
	if err != nil {
		r.add(line, "highlight the code: %v", err)
		return
	}
	r.doc.codeLines += n.Lines().Len()
	n.Parent().ReplaceChild(n.Parent(), n, &codeNode{html: f.html(marked)})
}

// fence reads the words after the opening fence.
func (r *reader) fence(n *ast.FencedCodeBlock, line int) (f fence, ok bool) {
	var words []string
	if n.Info != nil {
		words = strings.Fields(string(n.Info.Segment.Value(r.src)))
	}
	if len(words) == 0 {
		r.add(line, "say what this is after the ```: sh, yaml, go, python, …, output for what a command printed, text for anything else")
		return f, false
	}
	f.lang = words[0]
	before := len(r.found)
	if f.lang == "mermaid" {
		r.add(line, "put the diagram into a file name.mmd, run `make diagrams` and show it with ![What it shows](name.svg)")
	} else if f.lang != langOutput && f.lang != langText && lexers.Get(f.lang) == nil {
		r.add(line, "there is no language %q: %s", f.lang, didYouMean(f.lang, commonLanguages()))
	}
	for _, word := range words[1:] {
		f.word(r, line, word)
	}
	if f.lang == langOutput && (f.run || f.where != "" || f.file != "") {
		r.add(line, "output is printed, not run: give the words to the commands above it")
	}
	return f, len(r.found) == before
}

// word reads one word after the language.
func (f *fence) word(r *reader, line int, word string) {
	switch name, value, hasValue := strings.Cut(word, "="); {
	case word == "run":
		f.run = true
	case slices.Contains([]string{"cluster", "machine", "none"}, word):
		if f.where != "" {
			r.add(line, "it was run in one place: %s or %s", f.where, word)
		}
		f.where = word
	case name == "file" && hasValue && value != "":
		f.file = value
	default:
		r.add(line, "unknown word %q after the language: %s", word, didYouMean(word, fenceWords()))
	}
	if f.run && f.where == "none" {
		r.add(line, "an illustration (none) cannot be run")
	}
}

// commonLanguages are those to suggest; chroma knows some three hundred.
func commonLanguages() []string {
	return []string{"sh", "bash", "console", "yaml", "json", "go", "python", "c", "cpp", "rust", "java", "javascript", "sql",
		"dockerfile", "ini", "toml", "diff", "http", "html", "css", "xml", "makefile", "promql", langOutput, langText}
}

// html is the block around the code. The buttons are added by the page's
// script, so that none is there which does nothing.
func (f fence) html(marked string) string {
	var b strings.Builder
	class := "code"
	if f.lang == langOutput {
		class = "code output"
	}
	fmt.Fprintf(&b, `<div class="%s" data-lang="%s"`, class, html.EscapeString(f.lang))
	if f.run {
		b.WriteString(" data-run")
	}
	if f.where != "" {
		fmt.Fprintf(&b, ` data-where="%s"`, f.where)
	}
	b.WriteString(">")
	if f.file != "" {
		fmt.Fprintf(&b, `<div class="code-file">%s</div>`, html.EscapeString(f.file))
	}
	// tabindex: wide code scrolls, and without it only a mouse could.
	fmt.Fprintf(&b, `<pre class="chroma" tabindex="0"><code>%s</code></pre></div>`+"\n", marked)
	return b.String()
}

// highlight marks up code with chroma's classes.
func highlight(lang, code string) (string, error) {
	if lang == langOutput || lang == langText {
		return html.EscapeString(code), nil
	}
	tokens, err := chroma.Coalesce(lexers.Get(lang)).Tokenise(nil, code)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := formatter().Format(&b, styles.Fallback, tokens); err != nil {
		return "", err
	}
	return b.String(), nil
}

func formatter() *chromahtml.Formatter {
	return chromahtml.New(chromahtml.WithClasses(true), chromahtml.PreventSurroundingPre(true))
}
