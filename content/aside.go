package content

import (
	"strings"

	"github.com/yuin/goldmark/ast"
)

// sideNoteWords is what fits into a margin without running into the note of
// the paragraph after it.
const sideNoteWords = 60

// aside is a side note: one short paragraph that stands in the margin where
// there is room.
func (r *reader) aside(c callout) *elementNode {
	if c.title.HasChildren() {
		r.add(c.line, "a side note has no title: begin its text on the next line")
		return nil
	}
	p, ok := c.quote.FirstChild().(*ast.Paragraph)
	if !ok || p.NextSibling() != nil || onlyImage(p) != nil {
		r.add(c.line, "a side note is one paragraph of text")
		return nil
	}
	if n := len(strings.Fields(r.plain(p))); n > sideNoteWords {
		r.add(c.line, "this side note has %d words, and a margin has room for %d: say it in the text, or in a [!NOTE]", n, sideNoteWords)
		return nil
	}
	return element(`<aside class="side-note" role="note" aria-label="Side note">`+"\n", "</aside>\n", p)
}
