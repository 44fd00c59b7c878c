package content

import (
	"fmt"
	"html"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// calloutNode is an aside in the place of a quotation that begins with [!KIND].
type calloutNode struct {
	ast.BaseBlock
	kind  string // lower-case: the class
	title string // as shown
	id    string // of the title
}

// Kinds of node are numbered by goldmark when the program starts.
var kindCallout = ast.NewNodeKind("DrydockCallout")

func (*calloutNode) Kind() ast.NodeKind           { return kindCallout }
func (n *calloutNode) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }

// calloutTitles are the kinds of callout and what they are called on a page.
func calloutTitles() map[string]string {
	return map[string]string{"NOTE": "Note", "TIP": "Tip", "WARNING": "Warning", "DEPTH": "In depth"}
}

// callout replaces the quotation by a callout if it is one.
func (r *reader) callout(quote *ast.Blockquote) *calloutNode {
	first, ok := quote.FirstChild().(*ast.Paragraph)
	if !ok || first.Lines().Len() == 0 {
		return nil
	}
	segment := first.Lines().At(0)
	opening := strings.TrimSpace(string(segment.Value(r.src)))
	rest, ok := strings.CutPrefix(opening, "[!")
	if !ok {
		return nil
	}
	kind, title, ok := strings.Cut(rest, "]")
	if !ok {
		return nil
	}
	name, known := calloutTitles()[kind]
	if !known {
		r.add(r.line(first), "there is no callout [!%s]: use [!NOTE], [!TIP], [!WARNING] or [!DEPTH]", kind)
		return nil
	}
	if title = strings.TrimSpace(title); title != "" {
		name += ": " + title
	}
	r.callouts++
	c := &calloutNode{kind: strings.ToLower(kind), title: name, id: fmt.Sprintf("%scallout-%d", r.opt.IDPrefix, r.callouts)}
	dropUntil(first, segment.Stop)
	if first.FirstChild() == nil {
		quote.RemoveChild(quote, first)
	}
	if quote.FirstChild() == nil {
		r.add(r.line(first), "this callout says nothing")
	}
	for child := quote.FirstChild(); child != nil; child = quote.FirstChild() {
		c.AppendChild(c, child)
	}
	quote.Parent().ReplaceChild(quote.Parent(), quote, c)
	return c
}

// dropUntil removes what the paragraph has before the position: the line that
// names the callout. What is on that line is text and is cut off whole.
func dropUntil(p *ast.Paragraph, stop int) {
	for c := p.FirstChild(); c != nil; {
		next := c.NextSibling()
		if start(c) >= stop {
			return
		}
		p.RemoveChild(p, c)
		c = next
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

// open is the beginning of the callout. The role keeps screen readers from
// listing each as a landmark of the page, as they do with an aside.
func (n *calloutNode) open() string {
	return fmt.Sprintf("<aside class=\"callout %s\" role=\"note\" aria-labelledby=\"%s\"><p class=\"callout-title\" id=\"%s\">%s</p>\n",
		n.kind, n.id, n.id, html.EscapeString(n.title))
}
