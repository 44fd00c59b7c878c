package content

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Options say where a text stands.
type Options struct {
	// FigureBase is what the addresses of PNG and JPEG figures begin with,
	// such as /articles/service-mesh/.
	FigureBase string
	// Open returns a file beside the text. Without it a figure is a problem.
	Open func(name string) ([]byte, error)
	// IDPrefix begins the ids of footnotes, figures and callouts, where several
	// texts stand in one page.
	IDPrefix string

	page  bool      // the text is a whole page below a title of level 1
	terms *glossary // that it may link to
}

// Document is a rendered text.
type Document struct {
	HTML     string
	Contents []Heading
	Words    int    // without code
	Excerpt  string // the beginning as plain text
	Links    []Link // to pages of this site
	Blocks   []Block
	Quizzes  []Quiz
	Terms    []string // ids of those of the glossary that it explains
	Cards    []LabCard
	Sections []Section

	codeLines int
}

// Render turns Markdown into HTML that is safe to put into a page, as the
// package comment describes. When anything is wrong with the source the error
// joins the [Problem]s and the document is empty. The file is named in them.
func Render(file string, src []byte, opt Options) (Document, error) {
	doc, write, err := check(file, src, opt)
	if err != nil {
		return Document{}, err
	}
	doc.HTML, err = write()
	return doc, err
}

// check reads a text and returns what a document has beside its HTML, and a
// function that writes that: most of the time goes into it.
func check(file string, src []byte, opt Options) (_ Document, write func() (string, error), _ error) {
	p := &problems{file: file}
	if !utf8.Valid(src) {
		p.add(1, "this is not UTF-8 text")
		return Document{}, nil, p.err()
	}
	md := newMarkdown(opt)
	root := md.Parser().Parse(text.NewReader(src))
	r := &reader{problems: p, opt: opt, src: src, ids: map[string]int{}, terms: map[string]int{}}
	r.read(root)
	if err := p.err(); err != nil {
		return Document{}, nil, err
	}
	return r.doc, func() (string, error) {
		var out strings.Builder
		if err := md.Renderer().Render(&out, src, root); err != nil {
			return "", fmt.Errorf("render %s: %w", file, err)
		}
		return out.String(), nil
	}, nil
}

func newMarkdown(opt Options) goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)), // style="…" would need 'unsafe-inline'
			extension.Strikethrough, extension.TaskList, extension.DefinitionList,
			extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"})),
			extension.NewFootnote(extension.WithFootnoteIDPrefix(opt.IDPrefix), extension.WithFootnoteBacklinkTitle("Back to the text")),
		),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithHeadingAttribute()),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(blocks{}, 100))), // before goldmark's own at 500 and 1000
	)
}

// reader goes through a parsed text once: it finds problems, collects what a
// document has beside its HTML, and puts our own blocks in the place of
// goldmark's.
type reader struct {
	*problems
	opt       Options
	src       []byte
	doc       Document
	ids       map[string]int // of headings: the line
	terms     map[string]int // of the glossary, by id: the line
	fragments []Link         // #links of the text
	level     int            // of the last heading
	figures   int
	callouts  int
	tabLists  int
	inside    string // the kind of callout that is gone through, of those where not everything may stand
	said      sections
}

func (r *reader) read(root ast.Node) {
	if r.opt.page {
		r.level = 1
	}
	r.walk(root)
	r.said.end()
	r.doc.Sections = r.said.done
	for _, f := range r.fragments {
		if _, ok := r.ids[f.URL]; !ok {
			known := make([]string, 0, len(r.ids))
			for id := range r.ids {
				known = append(known, id)
			}
			r.add(f.Line, "there is no heading #%s here: %s", f.URL, didYouMean(f.URL, known))
		}
	}
}

// walk visits n and what is below it. It does not use ast.Walk, which does
// not allow a node to be replaced.
func (r *reader) walk(n ast.Node) {
	switch n := n.(type) {
	case *ast.HTMLBlock, *ast.RawHTML:
		r.add(r.line(n), "HTML is not allowed here: use Markdown, or a callout (> [!NOTE]); write &lt; for a plain <, or put it into `code`")
		return
	case *ast.Heading:
		r.heading(n)
	case *east.FootnoteList:
		r.footnotes(n)
	case *ast.FencedCodeBlock:
		r.fenced(n)
		return
	case *ast.CodeBlock:
		r.add(r.line(n), "a block indented by four spaces is code without a language: use a ``` fence, or indent less")
		return
	case *ast.Link:
		r.link(n, destination(n.Destination))
	case *ast.AutoLink:
		r.autoLink(n)
	case *ast.Image:
		r.add(r.line(n), "an image stands on a line of its own, with an empty line before and after it")
		return
	case *ast.Paragraph:
		if image := onlyImage(n); image != nil {
			r.figure(n, image)
			return
		}
		if r.doc.Excerpt == "" && n.Parent().Kind() == ast.KindDocument {
			r.doc.Excerpt = excerpt(r.plain(n))
		}
	case *ast.Blockquote:
		if r.callout(n) {
			return
		}
	}
	if n.Type() == ast.TypeBlock && n.FirstChild() != nil && n.FirstChild().Type() == ast.TypeInline {
		text := r.plain(n)
		if strings.Contains(text, "](term:") {
			r.add(r.line(n), "an address has no spaces: write [these words](term:two-words) with dashes")
		}
		r.doc.Words += countWords(text)
		r.sayBlock(n, text)
	}
	r.children(n)
}

// children visits what is below n; each may replace itself.
func (r *reader) children(n ast.Node) {
	for c := n.FirstChild(); c != nil; {
		next := c.NextSibling()
		r.walk(c)
		c = next
	}
}

// heading checks a heading and notes it for the table of contents.
func (r *reader) heading(h *ast.Heading) {
	line := r.line(h)
	for _, a := range h.Attributes() {
		if string(a.Name) != "id" {
			r.add(line, "a heading can have an id, {#like-this}, and no other attribute such as %s", a.Name)
		}
	}
	title := words(r.plain(h))
	switch {
	case title == "":
		r.add(line, "this heading has no text")
	case r.inside != "":
		r.add(line, "a heading cannot stand inside of [!%s], where no link leads to it", r.inside)
	case r.opt.page && h.Level == 1:
		r.add(line, "the title is in the front matter: begin headings in the text with ##")
	case r.level > 0 && h.Level > r.level+1:
		r.add(line, "this heading is of level %d below one of level %d: leave no level out, or screen readers' lists of headings have holes", h.Level, r.level)
	}
	r.level = h.Level
	id := headingID(h)
	if !validID(id) {
		r.add(line, "the id %q is not made of letters, digits, dashes, dots and underscores", id)
	}
	if other, taken := r.ids[id]; taken {
		r.add(line, "the heading on line %d has the id #%s too", other, id)
	}
	r.ids[id] = line
	r.doc.Contents = append(r.doc.Contents, Heading{Level: h.Level, ID: id, Title: title})
	r.said.begin(Heading{Level: h.Level, ID: id, Title: title})
}

func headingID(h *ast.Heading) string {
	value, _ := h.AttributeString("id")
	id, _ := value.([]byte)
	return string(id)
}

func validID(id string) bool {
	return id != "" && !strings.ContainsFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// line is the number of the line that the node begins on.
func (r *reader) line(n ast.Node) int {
	for ; n != nil; n = n.Parent() {
		if at := position(n); at >= 0 {
			return bytes.Count(r.src[:min(at, len(r.src))], []byte("\n")) + 1
		}
	}
	return 1
}

// position is where the node begins in the source, or -1.
func position(n ast.Node) int {
	if at := n.Pos(); at >= 0 {
		return at
	}
	if t, ok := n.(*ast.Text); ok {
		return t.Segment.Start
	}
	if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
		return n.Lines().At(0).Start
	}
	return -1
}

// plain is the text below n as a reader sees it.
func (r *reader) plain(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			value := c.Segment.Value(r.src)
			if !c.IsRaw() && n.Kind() != ast.KindCodeSpan {
				value = util.UnescapePunctuations(util.ResolveEntityNames(util.ResolveNumericReferences(value)))
			}
			b.Write(value)
			if c.SoftLineBreak() || c.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(c.Value)
		case *ast.AutoLink:
			b.Write(c.Label(r.src))
		case *east.FootnoteLink, *east.FootnoteBacklink:
		default:
			b.WriteString(r.plain(c))
		}
	}
	return b.String()
}

// words are those of a text with single spaces between them.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// destination is the address that a browser will see: goldmark keeps it as it
// was typed, and resolves &#106;avascript: only when it writes the page.
func destination(typed []byte) string {
	return string(util.ResolveEntityNames(util.ResolveNumericReferences(util.UnescapePunctuations(typed))))
}

// countWords counts as strings.Fields does, and makes none of the words: every
// text of a library is counted at start.
func countWords(s string) (n int) {
	for range strings.FieldsSeq(s) {
		n++
	}
	return n
}

// excerpt cuts a text at the end of a word.
func excerpt(s string) string {
	s = words(s)
	if utf8.RuneCountInString(s) <= excerptLength {
		return s
	}
	cut := string([]rune(s)[:excerptLength])
	if space := strings.LastIndexByte(cut, ' '); space > 0 {
		cut = cut[:space]
	}
	return strings.TrimRight(cut, " ,;:–-.") + "…"
}
