package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// row is a page that was found.
type row struct {
	page *indexed
	at   int // its place in the index, which decides between equals
	tier int
	bm25 float64 // less is better
}

// The tiers that pages are ranked by before anything else.
const (
	inNote    = iota // the words are in the text of a note, see [Page]
	inText           // the words are somewhere in the page
	inHeading        // a heading has them, perhaps together with the title
	inTitle          // the title or another name has them
	isTitle          // and nothing else
)

// find searches. Pages that were found by other words than those typed stand
// behind the others.
func (b *built) find(ctx context.Context, q Query) (Results, error) {
	a := b.understand(q.Text)
	if len(a.units) == 0 {
		return Results{}, nil
	}
	var r Results
	rows, err := b.rows(ctx, a, " AND ")
	if err != nil {
		return r, err
	}
	if len(rows) < little {
		if a, rows, err = b.findMore(ctx, a, rows, &r); err != nil {
			return r, err
		}
	}
	if len(rows) == 0 {
		for _, u := range a.units {
			for _, t := range u.phrases[0].terms {
				if b.pagesOf(t) == 0 {
					r.Nearest = append(r.Nearest, b.nearest(t.folded)...)
				}
			}
		}
	}
	b.report(&r, a, rows, q)
	return r, nil
}

// findMore looks for words that may have been meant, and if that finds nothing,
// for pages that have some of the words.
func (b *built) findMore(ctx context.Context, a asked, rows []row, r *Results) (asked, []row, error) {
	wider, also := b.corrected(a)
	if len(also) > 0 {
		more, err := b.rows(ctx, wider, " AND ")
		if err != nil {
			return a, nil, err
		}
		before := len(rows)
		for _, m := range more {
			if !slices.ContainsFunc(rows, func(have row) bool { return have.at == m.at }) {
				rows = append(rows, m)
			}
		}
		if len(rows) > before {
			a, r.Also = wider, also
		}
	}
	if len(rows) > 0 || len(a.units) < 2 {
		return a, rows, nil
	}
	some, err := b.rows(ctx, wider, " OR ")
	if len(some) > 0 {
		r.Some = true
		if len(also) > 0 {
			r.Also = also
		}
	}
	return wider, some, err
}

// rows asks FTS5, and ranks what it finds.
func (b *built) rows(ctx context.Context, a asked, between string) (_ []row, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("search: %w", err)
		}
	}()
	var weights []string
	for _, c := range columns() {
		weights = append(weights, fmt.Sprint(c.weight))
	}
	found, err := b.db.QueryContext(ctx, `SELECT rowid, bm25(pages, `+strings.Join(weights, ", ")+`) FROM pages WHERE pages MATCH ?`, b.expression(a, between))
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var rows []row
	for found.Next() {
		var one row
		if err := found.Scan(&one.at, &one.bm25); err != nil {
			return nil, err
		}
		one.page = &b.pages[one.at]
		if one.tier = a.tier(one.page); one.page.Note {
			one.tier = noteTier(one.tier)
		}
		rows = append(rows, one)
	}
	slices.SortFunc(rows, func(x, y row) int {
		return cmp.Or(cmp.Compare(y.tier, x.tier), cmp.Compare(x.bm25, y.bm25), cmp.Compare(x.at, y.at))
	})
	return rows, found.Err()
}

// report makes the results of the pages found.
func (b *built) report(r *Results, a asked, rows []row, q Query) {
	kinds, tracks := map[string]int{}, map[string]int{}
	limit := q.Limit
	if limit <= 0 || limit > MaxHits {
		limit = MaxHits
	}
	r.All = len(rows)
	for _, one := range rows {
		p := one.page
		ofKind, ofTrack := q.Kind == "" || q.Kind == p.Kind, q.Track == "" || q.Track == p.Track
		if ofTrack {
			kinds[p.Kind]++
		}
		if ofKind && p.Track != "" {
			tracks[p.Track]++
		}
		if !ofKind || !ofTrack {
			continue
		}
		if r.Total++; len(r.Hits) < limit {
			r.Hits = append(r.Hits, a.hit(one))
		}
	}
	r.Kinds, r.Tracks = counts(kinds), counts(tracks)
}

func counts(of map[string]int) (list []Count) {
	for name, pages := range of {
		list = append(list, Count{name, pages})
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// noteTier is the tier of a note where a page would have this one. It is so short
// that what it says of itself outweighs an article on the matter, so it stands
// behind pages that have the words in their titles, and behind all where it only
// mentions them.
func noteTier(tier int) int {
	if tier >= inTitle {
		return inHeading
	}
	return inNote
}

// tier says where the page has the words.
func (a *asked) tier(p *indexed) int {
	best := inText
	for _, title := range p.titles {
		if all, covered := a.in(title); all {
			if covered == len(title) {
				return isTitle
			}
			best = inTitle
		}
	}
	if best == inTitle {
		return best
	}
	for _, heading := range p.headings {
		if a.inHeading(p.titles[0], heading) {
			return inHeading
		}
	}
	return best
}

// in reports whether the words have all units, and how many of them the units take.
func (a *asked) in(words []token) (all bool, covered int) {
	for i := range a.units {
		n := a.units[i].in(words)
		if n == 0 {
			return false, 0
		}
		covered += n
	}
	return true, covered
}

// inHeading reports whether the heading has units, and the title the others.
func (a *asked) inHeading(title, heading []token) bool {
	some := false
	for i := range a.units {
		u := &a.units[i]
		switch {
		case u.in(heading) > 0:
			some = true
		case u.in(title) == 0:
			return false
		}
	}
	return some
}

// in is how many of the words the unit takes, 0 where it is not among them.
func (u *unit) in(words []token) int {
	for n := range u.phrases {
		p := &u.phrases[n]
		for i := range words {
			if p.at(words[i:]) {
				return len(p.terms)
			}
		}
	}
	return 0
}

// at reports whether the words begin with the phrase.
func (p *phrase) at(words []token) bool {
	if len(words) < len(p.stems) {
		return false
	}
	last := len(p.stems) - 1
	for i, stem := range p.stems {
		w := words[i]
		if w.stem != stem && (i != last || w.word < p.from || w.word >= p.to) {
			return false
		}
	}
	return true
}

// is reports whether a word can be the i-th of the phrase.
func (p *phrase) is(i int, w term) bool {
	t := p.terms[i]
	return w.stem == t.stem || p.prefix && i == len(p.terms)-1 && strings.HasPrefix(w.folded, t.folded)
}
