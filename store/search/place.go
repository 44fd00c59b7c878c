package search

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// snippetLength in bytes: two lines of a result.
	snippetLength = 180
	// lead is what stands before the first mark of a snippet.
	lead = 40
	// maxMarks bounds the work on one text: where words stand closest together
	// shows long before.
	maxMarks = 200
)

// mark is where a unit was found in a text.
type mark struct{ start, end, unit int }

// marks finds the units in a text.
func (a *asked) marks(text string) (found []mark) {
	type progress struct {
		unit  int
		of    phrase
		done  int // how many words of the phrase stand before this one
		start int
	}
	var all []progress
	for i, u := range a.units {
		for _, p := range u.phrases {
			all = append(all, progress{unit: i, of: p})
		}
	}
	words(text, func(w word) bool {
		candidate := a.first[lower(text[w.start])] || text[w.start] >= utf8.RuneSelf || isOperator(text[w.start])
		var t term
		if candidate {
			t.folded = fold(text[w.start:w.end])
			t.stem = stem(t.folded)
		}
		for i := range all {
			p := &all[i]
			if !candidate {
				p.done = 0
				continue
			}
			if p.done > 0 && !p.of.is(p.done, t) {
				p.done = 0
			}
			if !p.of.is(p.done, t) {
				continue
			}
			if p.done == 0 {
				p.start = w.start
			}
			if p.done++; p.done == len(p.of.terms) {
				found = append(found, mark{p.start, w.end, p.unit})
				p.done = 0
			}
		}
		return len(found) < maxMarks
	})
	return found
}

func lower(c byte) byte {
	if isUpper(c) {
		return c + 'a' - 'A'
	}
	return c
}

// marked cuts a text into what is marked and what is not.
func marked(text string, marks []mark) (parts []Part) {
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	at := 0
	for _, m := range marks {
		if m.start < at {
			continue
		}
		if m.start > at {
			parts = append(parts, Part{text[at:m.start], false})
		}
		parts = append(parts, Part{text[m.start:m.end], true})
		at = m.end
	}
	if at < len(text) {
		parts = append(parts, Part{text[at:], false})
	}
	return parts
}

// found is a section with what was found in it.
type found struct {
	id, title, text, code string

	inTitle, inText, inCode []mark
	worth                   int
}

// hit makes a hit of a page.
func (a *asked) hit(one row) Hit {
	p := one.page.Page
	h := Hit{Page: p, Title: marked(p.Title, a.marks(p.Title))}
	var all []found
	top := found{text: p.Summary, inText: a.marks(p.Summary)}
	for i, s := range p.Sections {
		f := found{id: s.ID, title: s.Title, text: s.Text, code: s.Code}
		f.inTitle, f.inText, f.inCode = a.marks(s.Title), a.marks(s.Text), a.marks(s.Code)
		if s.ID == "" && i == 0 && units(top.inText) <= units(f.inText) {
			top = f
			continue
		}
		all = append(all, f)
	}
	if one.tier >= inTitle {
		top.worth = worthOfTitle
	}
	all = append([]found{top}, all...)
	for i := range all {
		all[i].weigh()
	}
	slices.SortStableFunc(all, func(x, y found) int { return cmp.Compare(y.worth, x.worth) })
	for i, f := range all[:min(len(all), maxPlaces)] {
		if i == 0 || f.id != "" && f.worth*2 > all[0].worth && one.tier < inTitle || f.id != "" && len(f.inTitle) > 0 {
			h.Places = append(h.Places, f.place())
		}
	}
	return h
}

// What a section is worth as the place to lead to: above all it has all units, then
// its heading has them, then it has them often.
const (
	worthOfUnit    = 40
	worthOfHeading = 60
	maxWorthOften  = 20
	worthOfTitle   = 1000 // for the beginning of a page whose title has them all
)

func (f *found) weigh() {
	f.worth += worthOfUnit*units(f.inTitle, f.inText, f.inCode) + worthOfHeading*units(f.inTitle) +
		min(maxWorthOften, 2*len(f.inText)+len(f.inCode))
}

// units counts different ones.
func units(lists ...[]mark) int {
	var seen [maxUnits]bool
	n := 0
	for _, list := range lists {
		for _, m := range list {
			if !seen[m.unit] {
				seen[m.unit] = true
				n++
			}
		}
	}
	return n
}

// place is where the section is, with some of its words: of its code only where
// the text has fewer of the units.
func (f *found) place() Place {
	p := Place{ID: f.id, Heading: marked(f.title, f.inTitle)}
	if p.Code = units(f.inCode) > units(f.inText) || f.text == ""; p.Code {
		p.Snippet = snippet(lines(f.code, f.inCode))
	} else {
		p.Snippet = snippet(f.text, f.inText)
	}
	return p
}

// maxLines of code make a snippet: the one that was looked for, and what follows.
const maxLines = 2

// lines are those of a code that begin with the first mark's.
func lines(code string, marks []mark) (string, []mark) {
	if len(marks) == 0 {
		return "", nil
	}
	from := strings.LastIndexByte(code[:marks[0].start], '\n') + 1
	to := from
	for range maxLines {
		if end := strings.IndexByte(code[to:], '\n'); end >= 0 {
			to += end + 1
		} else {
			to = len(code)
		}
	}
	var inside []mark
	for _, m := range marks {
		if m.end <= to {
			inside = append(inside, mark{m.start - from, m.end - from, m.unit})
		}
	}
	return strings.TrimRight(code[from:to], "\n "), inside
}

// snippet is the part of a text in which most different units stand, cut between
// words.
func snippet(text string, marks []mark) []Part {
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(a.start, b.start) })
	from, best := 0, 0
	for i, m := range marks {
		end := i
		for end < len(marks) && marks[end].end <= m.start-lead+snippetLength {
			end++
		}
		if n := units(marks[i:max(end, i+1)]); n > best {
			from, best = max(0, m.start-lead), n
		}
	}
	if from <= lead { // no need to cut for so little
		from = 0
	}
	from = begin(text, from)
	to := end(text, from+snippetLength)
	var inside []mark
	for _, m := range marks {
		if m.start >= from && m.end <= to {
			inside = append(inside, mark{m.start - from, m.end - from, m.unit})
		}
	}
	parts := marked(text[from:to], inside)
	if from > 0 {
		parts = append([]Part{{"… ", false}}, parts...)
	}
	if to < len(text) {
		parts = append(parts, Part{" …", false})
	}
	return parts
}

// begin is where the word begins that stands at i, or the line if that is near.
func begin(text string, i int) int {
	if i == 0 {
		return 0
	}
	space := strings.IndexAny(text[i:min(len(text), i+lead)], " \n")
	if space < 0 {
		for i > 0 && !utf8.RuneStart(text[i]) {
			i--
		}
		return i
	}
	return i + space + 1
}

// end is where the last word ends that ends before i.
func end(text string, i int) int {
	if i >= len(text) {
		return len(text)
	}
	space := strings.LastIndexAny(text[max(0, i-lead):i], " \n")
	if space < 0 {
		for !utf8.RuneStart(text[i]) {
			i--
		}
		return i
	}
	return max(0, i-lead) + space
}
