package content

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	east "github.com/yuin/goldmark/extension/ast"
)

// Section is what a text says below one of its headings, as plain text: it is
// what a search looks through, and its heading is where a find leads to.
type Section struct {
	Heading // empty for what stands before the first heading

	Text string // a line for each paragraph, item, cell of a table or figure
	Code string // the blocks of code and what they printed
}

// sections collects what a text says while a reader goes through it.
type sections struct {
	done       []Section
	heading    Heading
	text, code strings.Builder
}

// begin ends the section that is being read, and begins another.
func (s *sections) begin(h Heading) {
	s.end()
	s.heading = h
}

// end keeps the section that is being read, unless there is nothing to it.
func (s *sections) end() {
	if s.heading.ID != "" || s.text.Len() > 0 || s.code.Len() > 0 {
		s.done = append(s.done, Section{Heading: s.heading, Text: strings.TrimSpace(s.text.String()), Code: strings.TrimSpace(s.code.String())})
	}
	s.text.Reset()
	s.code.Reset()
}

// say adds a line of text.
func (s *sections) say(line string) {
	first := true
	for word := range strings.FieldsSeq(line) {
		if !first {
			s.text.WriteByte(' ')
		}
		first = false
		s.text.WriteString(word)
	}
	s.text.WriteByte('\n')
}

// show adds a block of code.
func (s *sections) show(code string) {
	s.code.WriteString(code)
	s.code.WriteByte('\n')
}

// footnotes begins the section of the notes, which the page has below its end,
// far from the heading that they belong to.
func (r *reader) footnotes(list *east.FootnoteList) {
	if first, ok := list.FirstChild().(*east.Footnote); ok && first.Index > 0 {
		r.said.begin(Heading{Level: 2, ID: r.opt.IDPrefix + "fn:1", Title: "Footnotes"})
	}
}

// sayBlock adds the text of a block that has words of its own. A heading's are
// those of its section; a quiz's are left out, as its wrong answers would be
// found and its right ones told.
func (r *reader) sayBlock(n ast.Node, text string) {
	if n.Kind() != ast.KindHeading && r.inside != "QUIZ" {
		r.said.say(text)
	}
}
