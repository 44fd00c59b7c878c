package content

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/chroma/v2"
	chromahtml "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/alecthomas/chroma/v2/styles"
	"github.com/yuin/goldmark/ast"
)

// codeNode is a block of code in the place of goldmark's. It is highlighted when
// it is written, and not when the text is checked: that takes ten times as long.
type codeNode struct {
	ast.BaseBlock
	fence fence
}

// Kinds of node are numbered by goldmark when the program starts.
var kindCode = ast.NewNodeKind("DrydockCode")

func (*codeNode) Kind() ast.NodeKind           { return kindCode }
func (n *codeNode) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }
func (*codeNode) IsRaw() bool                  { return true }

// Block is a piece of code of an article with what it printed, as it is tested.
type Block struct {
	Line int // of the opening fence
	Lang string
	Code string
	// Where it is run: [Cluster], [Machine], [Nowhere], or empty where the author
	// does not say.
	Where string
	Why   string // it is not run, with [Nowhere]
	File  string // it is the content of
	Tab   string // the terminal it is typed into; the first is empty
	Root  bool   // it is run as root of the node or machine, and not in a terminal
	Fails bool   // its last command ends with an exit code other than 0
	Until bool   // it is run again until it prints what it should
	// Output is what it printed; nil where that is not told.
	Output *Output
}

// Output is what the commands of a block printed.
type Output struct {
	Line int
	Text string // … stands for any text, on a line of its own for any lines
	// Shape: numbers, and names that are made up by machines, may be others.
	Shape bool
}

// Where a block is run.
const (
	Cluster = "cluster"
	Machine = "machine"
	Nowhere = "none"
)

// fence is what the line that opens a block of code says.
type fence struct {
	Block
	run   bool
	shape bool
	marks []lineRange
}

// fenceWords may follow the language.
func fenceWords() []string {
	return []string{"run", Cluster, Machine, Nowhere, "file=", "tab=", "root", "fails", "until", "shape", "mark="}
}

// Languages without highlighting: what a command printed, and plain text.
const (
	langOutput = "output"
	langText   = "text"
)

// fenced checks a block of code and replaces it by a highlighted one.
func (r *reader) fenced(n *ast.FencedCodeBlock) {
	line := max(1, r.line(n))
	if n.Info != nil {
		line = bytes.Count(r.src[:n.Info.Segment.Start], []byte("\n")) + 1
	}
	f, ok := r.fence(n, line)
	if !ok {
		return
	}
	code := string(n.Lines().Value(r.src))
	if strings.TrimSpace(code) == "" {
		r.add(line, "this block of code is empty")
		return
	}
	if count := n.Lines().Len(); len(f.marks) > 0 && f.marks[len(f.marks)-1].last > count {
		r.add(line, "line %d cannot be marked: the code has %d", f.marks[len(f.marks)-1].last, count)
		return
	}
	r.doc.codeLines += n.Lines().Len()
	f.Line, f.Code = line, code
	r.block(f)
	r.said.show(f.Code)
	n.Parent().ReplaceChild(n.Parent(), n, &codeNode{fence: f})
}

// fence reads the words after the opening fence.
func (r *reader) fence(n *ast.FencedCodeBlock, line int) (f fence, ok bool) {
	var words []string
	if n.Info != nil {
		info, why, has := strings.Cut(string(n.Info.Segment.Value(r.src)), " "+Nowhere+":")
		words = strings.Fields(info)
		if has {
			f.Why = strings.TrimSpace(why)
			words = append(words, Nowhere)
		}
	}
	if len(words) == 0 {
		r.add(line, "say what this is after the ```: sh, yaml, go, python, …, output for what a command printed, text for anything else")
		return f, false
	}
	f.Lang = words[0]
	before := len(r.found)
	if f.Lang == "mermaid" {
		r.add(line, "put the diagram into a file name.mmd, run `make diagrams` and show it with ![What it shows](name.svg)")
	} else if f.Lang != langOutput && f.Lang != langText && lexers.Get(f.Lang) == nil {
		r.add(line, "there is no language %q: %s", f.Lang, didYouMean(f.Lang, commonLanguages()))
	}
	for _, word := range words[1:] {
		f.word(r, line, word)
	}
	ran := f.run || f.Root || f.Fails || f.Until || f.Tab != "" || f.File != "" || f.Where == Cluster || f.Where == Machine
	if f.Lang == langOutput && ran {
		r.add(line, "output is printed, not run: give the words to the commands above it")
	}
	if f.Lang != langOutput && f.shape {
		r.add(line, "shape is a word for output: what is printed has the same shape each time, and other numbers")
	}
	if f.Root && f.Tab != "" {
		r.add(line, "what runs as root is not typed into a terminal: leave out root or tab=%s", f.Tab)
	}
	return f, len(r.found) == before
}

// validTab is what names a terminal.
var validTab = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// block notes a block for who tests the article. Output belongs to the commands
// right above it.
func (r *reader) block(f fence) {
	all := r.doc.Blocks
	if f.Lang != langOutput || f.Where == Nowhere {
		r.doc.Blocks = append(all, f.Block)
		return
	}
	if len(all) == 0 || !all[len(all)-1].IsCommands() || all[len(all)-1].Output != nil {
		r.doc.Blocks = append(all, f.Block) // of nothing: who tests says so
		return
	}
	all[len(all)-1].Output = &Output{Line: f.Line, Text: f.Code, Shape: f.shape}
}

// IsCommands reports whether the block is typed into a shell.
func (b Block) IsCommands() bool {
	return slices.Contains([]string{"sh", "bash", "console"}, b.Lang) && b.File == ""
}

// IsOutput reports whether the block is the output of no block of commands.
func (b Block) IsOutput() bool { return b.Lang == langOutput }

// word reads one word after the language.
func (f *fence) word(r *reader, line int, word string) {
	switch name, value, hasValue := strings.Cut(word, "="); {
	case word == "run":
		f.run = true
	case slices.Contains([]string{Cluster, Machine, Nowhere}, word):
		if f.Where != "" {
			r.add(line, "it was run in one place: %s or %s", f.Where, word)
		}
		f.Where = word
	case name == "file" && hasValue && value != "":
		f.File = value
	case name == "tab" && hasValue && validTab.MatchString(value):
		f.Tab = value
	case word == "root":
		f.Root = true
	case word == "fails":
		f.Fails = true
	case word == "until":
		f.Until = true
	case word == "shape":
		f.shape = true
	case name == "mark" && hasValue:
		var err error
		if f.marks, err = readMarks(value); err != nil {
			r.add(line, "%v", err)
		}
	default:
		if hasValue {
			word = name + "="
		}
		r.add(line, "unknown word %q after the language: %s", word, didYouMean(word, fenceWords()))
	}
	if f.run && f.Where == Nowhere {
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
	if f.Lang == langOutput {
		class = "code output"
	}
	fmt.Fprintf(&b, `<div class="%s" data-lang="%s"`, class, html.EscapeString(f.Lang))
	if f.run {
		b.WriteString(" data-run")
	}
	if f.Where != "" {
		fmt.Fprintf(&b, ` data-where="%s"`, f.Where)
	}
	b.WriteString(">")
	if f.File != "" {
		fmt.Fprintf(&b, `<div class="code-file">%s</div>`, html.EscapeString(f.File))
	}
	// tabindex: wide code scrolls, and without it only a mouse could.
	fmt.Fprintf(&b, `<pre class="chroma" tabindex="0"><code>%s</code></pre></div>`+"\n", marked)
	return b.String()
}

// highlight marks up code with chroma's classes, line by line.
func highlight(lang, code string) ([]string, error) {
	if lang == langOutput || lang == langText {
		return strings.SplitAfter(html.EscapeString(code), "\n"), nil
	}
	tokens, err := chroma.Coalesce(lexers.Get(lang)).Tokenise(nil, code)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, line := range chroma.SplitTokensIntoLines(tokens.Tokens()) {
		var b strings.Builder
		if err := formatter().Format(&b, styles.Fallback, chroma.Literator(line...)); err != nil {
			return nil, err
		}
		lines = append(lines, b.String())
	}
	return lines, nil
}

func formatter() *chromahtml.Formatter {
	return chromahtml.New(chromahtml.WithClasses(true), chromahtml.PreventSurroundingPre(true))
}
