package content

import (
	"fmt"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// LabCard is the place in an article where a lab is to be done.
type LabCard struct {
	Slug string // of the lab
	Line int
}

// Piece is a part of an article: text, or the place of a lab's card.
type Piece struct {
	HTML string   // safe to put into a page; of a card: what stands for it where labs are not known
	Card *LabCard // nil for text
	Why  string   // of a card: why now, HTML that is safe to put into a page; may be empty
}

// Pieces returns the article's HTML cut where labs are to be done: what stands
// of such a lab is known to who shows the page.
func (a *Article) Pieces() ([]Piece, error) {
	marked, err := a.HTML()
	if err != nil {
		return nil, err
	}
	var pieces []Piece
	for i := range a.Cards {
		before, rest, _ := strings.Cut(marked, cardMark)
		card, rest, _ := strings.Cut(rest, cardMark)
		why, link, _ := strings.Cut(card, whyMark)
		pieces = append(pieces, Piece{HTML: before}, Piece{HTML: why + link, Card: &a.Cards[i], Why: why})
		marked = rest
	}
	return append(pieces, Piece{HTML: marked}), nil
}

// lab is the place of a lab's card, with a link to the lab for who shows the
// text without cards.
func (r *reader) lab(c callout) *elementNode {
	slug := strings.TrimSpace(r.plain(c.title))
	switch {
	case !r.opt.page:
		r.add(c.line, "the card of a lab stands in an article")
		return nil
	case c.quote.Parent().Kind() != ast.KindDocument:
		r.add(c.line, "the card of a lab stands on its own: not in a list or in another callout, where it may be folded away")
		return nil
	case !validSlug(slug):
		r.add(c.line, "%q is not the slug of a lab: write > [!LAB] init-containers, and why now below it", slug)
		return nil
	}
	for _, other := range r.doc.Cards {
		if other.Slug == slug {
			r.add(c.line, "the card of the lab %s is on line %d already", slug, other.Line)
			return nil
		}
	}
	r.doc.Cards = append(r.doc.Cards, LabCard{Slug: slug, Line: c.line})
	link := fmt.Sprintf(`<p>Do it now: <a href="/labs/%s">%s</a></p>`+"\n", slug, slug)
	return element(cardMark, whyMark+link+cardMark).take(c.quote)
}

// Marks around a card and its text in what goldmark writes. HTML comments are
// in no text: those of authors are refused.
const (
	cardMark = "<!--lab-->"
	whyMark  = "<!--why-->"
)
