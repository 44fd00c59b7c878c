package content

import (
	"fmt"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// calloutNode is an aside in the place of a quotation that begins with [!KIND].
type calloutNode struct {
	ast.BaseBlock
	kind string // lower-case: the class
	id   string // of the title
}

// calloutTitle is the callout's first line: its word, then what the author
// wrote after the kind.
type calloutTitle struct {
	ast.BaseBlock
	word string
	id   string
}

// Kinds of node are numbered by goldmark when the program starts.
var (
	kindCallout      = ast.NewNodeKind("DrydockCallout")
	kindCalloutTitle = ast.NewNodeKind("DrydockCalloutTitle")
)

func (*calloutNode) Kind() ast.NodeKind            { return kindCallout }
func (n *calloutNode) Dump(src []byte, level int)  { ast.DumpHelper(n, src, level, nil, nil) }
func (*calloutTitle) Kind() ast.NodeKind           { return kindCalloutTitle }
func (n *calloutTitle) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }

// calloutWords are the kinds of callout and what they are called on a page.
func calloutWords() map[string]string {
	return map[string]string{"NOTE": "Note", "TIP": "Tip", "WARNING": "Warning", "DEPTH": "In depth"}
}

// callout replaces the quotation by a callout if it is one.
func (r *reader) callout(quote *ast.Blockquote) *calloutNode {
	first, ok := quote.FirstChild().(*ast.Paragraph)
	if !ok || first.Lines().Len() == 0 {
		return nil
	}
	line := first.Lines().At(0)
	opening := string(line.Value(r.src))
	rest, ok := strings.CutPrefix(opening, "[!")
	if !ok {
		return nil
	}
	kind, title, ok := strings.Cut(rest, "]")
	if !ok {
		return nil
	}
	word, known := calloutWords()[kind]
	if !known {
		r.add(r.line(first), "there is no callout [!%s]: use [!NOTE], [!TIP], [!WARNING] or [!DEPTH]", kind)
		return nil
	}
	r.callouts++
	c := &calloutNode{kind: strings.ToLower(kind), id: fmt.Sprintf("%scallout-%d", r.opt.IDPrefix, r.callouts)}
	heading := &calloutTitle{word: word, id: c.id}
	moveLine(first, heading, line.Stop)
	dropPrefix(heading, line.Start+len(opening)-len(strings.TrimLeft(title, " \t")))
	if first.FirstChild() == nil {
		quote.RemoveChild(quote, first)
	}
	if quote.FirstChild() == nil {
		r.add(r.line(quote), "this callout says nothing")
	}
	c.AppendChild(c, heading)
	for child := quote.FirstChild(); child != nil; child = quote.FirstChild() {
		c.AppendChild(c, child)
	}
	quote.Parent().ReplaceChild(quote.Parent(), quote, c)
	return c
}

// moveLine moves what the paragraph has before the position to the title.
func moveLine(p *ast.Paragraph, title *calloutTitle, stop int) {
	for c := p.FirstChild(); c != nil && start(c) < stop; c = p.FirstChild() {
		title.AppendChild(title, c)
	}
	if last, ok := title.LastChild().(*ast.Text); ok {
		last.SetSoftLineBreak(false)
		last.SetHardLineBreak(false)
	}
}

// dropPrefix removes the text before the position: the callout's kind.
func dropPrefix(title *calloutTitle, end int) {
	for c := title.FirstChild(); c != nil; c = title.FirstChild() {
		text, ok := c.(*ast.Text)
		switch {
		case !ok || text.Segment.Start >= end:
			return
		case text.Segment.Stop > end:
			text.Segment = text.Segment.WithStart(end)
			return
		}
		title.RemoveChild(title, c)
	}
}

// start is where the inline node or the first text in it begins.
func start(n ast.Node) int {
	if at := position(n); at >= 0 {
		return at
	}
	if c := n.FirstChild(); c != nil {
		return start(c)
	}
	return -1
}
