package content

import (
	"fmt"
	"html"
	"maps"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// callout is a quotation that begins with [!KIND], as it is read.
type callout struct {
	kind  string
	line  int
	title *elementNode    // the words after the kind; the kind of callout sets its tags
	quote *ast.Blockquote // what follows the first line
	rest  *ast.Paragraph  // what follows it without an empty line between; nil if there is one
}

// calloutKinds are the kinds of callout. Each makes the element that takes the
// quotation's place, or none where it finds a problem.
func calloutKinds() map[string]func(*reader, callout) *elementNode {
	return map[string]func(*reader, callout) *elementNode{
		"NOTE":    (*reader).note,
		"TIP":     (*reader).note,
		"WARNING": (*reader).note,
		"DEPTH":   (*reader).depth,
		"ASIDE":   (*reader).aside,
		"TABS":    (*reader).tabs,
		"QUIZ":    (*reader).quiz,
		"LAB":     (*reader).lab,
		"STEPS":   (*reader).steps,
	}
}

// callout replaces the quotation if it is a callout, and goes through what is
// in it.
func (r *reader) callout(quote *ast.Blockquote) bool {
	c, ok := r.openCallout(quote)
	if !ok {
		return false
	}
	n := calloutKinds()[c.kind](r, c)
	if n == nil {
		return false
	}
	quote.Parent().ReplaceChild(quote.Parent(), quote, n)
	around := r.inside
	if c.kind == "TABS" || c.kind == "QUIZ" {
		r.inside = c.kind
	}
	r.children(n)
	r.inside = around
	if n.done != nil {
		n.done()
	}
	return true
}

// openCallout takes the first line off a quotation that begins with [!KIND].
func (r *reader) openCallout(quote *ast.Blockquote) (c callout, ok bool) {
	first, ok := quote.FirstChild().(*ast.Paragraph)
	if !ok || first.Lines().Len() == 0 {
		return c, false
	}
	line := first.Lines().At(0)
	opening := string(line.Value(r.src))
	rest, ok := strings.CutPrefix(opening, "[!")
	if !ok {
		return c, false
	}
	kind, title, ok := strings.Cut(rest, "]")
	if !ok {
		return c, false
	}
	c = callout{kind: kind, line: r.line(first), title: &elementNode{title: true}, quote: quote}
	if !r.mayOpen(c) {
		return c, false
	}
	moveLine(first, c.title, line.Stop)
	dropPrefix(c.title, line.Start+len(opening)-len(strings.TrimLeft(title, " \t")))
	if first.FirstChild() == nil {
		quote.RemoveChild(quote, first)
	} else {
		c.rest = first
	}
	return c, true
}

// mayOpen reports whether there can be a callout of this kind here.
func (r *reader) mayOpen(c callout) bool {
	known := slices.Collect(maps.Keys(calloutKinds()))
	if !slices.Contains(known, c.kind) {
		for i, k := range known {
			known[i] = "[!" + k + "]"
		}
		r.add(c.line, "there is no callout [!%s]: %s", c.kind, didYouMean("[!"+c.kind+"]", known))
		return false
	}
	if plain := []string{"NOTE", "TIP", "WARNING"}; r.inside != "" && !slices.Contains(plain, c.kind) {
		r.add(c.line, "[!%s] cannot stand inside of [!%s]: put it before or after, or use [!NOTE], [!TIP] or [!WARNING]", c.kind, r.inside)
		return false
	}
	return true
}

// note is a NOTE, TIP or WARNING. The role keeps screen readers from listing
// each aside as a landmark of the page.
func (r *reader) note(c callout) *elementNode {
	if !r.saysSomething(c) {
		return nil
	}
	r.callouts++
	id := html.EscapeString(fmt.Sprintf("%scallout-%d", r.opt.IDPrefix, r.callouts))
	kind := strings.ToLower(c.kind)
	c.title.open = fmt.Sprintf(`<p class="callout-title" id="%s">%s`, id, c.named(strings.ToUpper(kind[:1])+kind[1:]))
	c.title.close = "</p>\n"
	aside := element(fmt.Sprintf(`<aside class="callout %s" role="note" aria-labelledby="%s">`+"\n", kind, id), "</aside>\n", c.title)
	return aside.take(c.quote)
}

// depth is what can be skipped at first: folded.
func (r *reader) depth(c callout) *elementNode {
	if !r.saysSomething(c) {
		return nil
	}
	c.title.open, c.title.close = "<summary>"+c.named("In depth"), "</summary>\n"
	return element(`<details class="depth">`, "</details>\n", c.title).take(c.quote)
}

func (r *reader) saysSomething(c callout) bool {
	if c.quote.FirstChild() == nil {
		r.add(c.line, "this callout says nothing")
	}
	return c.quote.FirstChild() != nil
}

// named is the word that a callout's title begins with.
func (c callout) named(word string) string {
	if c.title.HasChildren() {
		return word + ": "
	}
	return word
}

// moveLine moves what the paragraph has before the position to the title.
func moveLine(p *ast.Paragraph, title *elementNode, stop int) {
	for c := p.FirstChild(); c != nil && start(c) < stop; c = p.FirstChild() {
		title.AppendChild(title, c)
	}
	if last, ok := title.LastChild().(*ast.Text); ok {
		last.SetSoftLineBreak(false)
		last.SetHardLineBreak(false)
	}
}

// dropPrefix removes the text before the position: the callout's kind.
func dropPrefix(title *elementNode, end int) {
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
