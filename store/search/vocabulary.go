package search

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// vocabulary is all words of the pages, which people mistype and begin to type.
type vocabulary struct {
	words []entry // in the order of their letters
	names []*name // in the order of their letters
	stems map[string]*stemmed
}

// token is a word of a title or heading, as two numbers: its place in the
// vocabulary's words, and its stem's.
type token struct{ word, stem int }

// stemmed is a stem with the number of pages that have it.
type stemmed struct {
	id int
	counter
}

// counter counts pages, each once.
type counter struct{ pages, last int }

func (c *counter) count(page int) {
	if c.last != page {
		c.pages, c.last = c.pages+1, page
	}
}

// entry is a word.
type entry struct {
	term
	written string // as it stands where it was met first
	counter
}

// name is made of several words, as CrashLoopBackOff and kube-proxy are.
type name struct {
	joined  string // crashloopbackoff
	written string
	parts   []term
	counter
}

const (
	// maxParts is how many words a name has: more is a path or a table of numbers.
	maxParts = 6
	// minName is the fewest letters of a name, and minPart of the longest of its
	// parts: "e.g." and "1.5" are none.
	minName, minPart = 4, 3
)

// collector gathers the vocabulary while pages are written.
type collector struct {
	words map[string]*entry
	names map[string]*name
	stems map[string]*stemmed
	page  int // the number of the one that is read, from 1
}

func newCollector() *collector {
	return &collector{words: map[string]*entry{}, names: map[string]*name{}, stems: map[string]*stemmed{}}
}

// row is the stems of the page's words, for each of the [columns].
func (c *collector) row(p *Page) []any {
	c.page++
	var title, headings, summary, body, code strings.Builder
	for _, text := range append([]string{p.Title}, p.Names...) {
		c.read(&title, text)
	}
	c.read(&summary, p.Summary)
	for _, s := range p.Sections {
		c.read(&headings, s.Title)
		c.read(&body, s.Text)
		c.read(&code, s.Code)
	}
	return []any{title.String(), headings.String(), summary.String(), body.String(), code.String()}
}

// read adds the stems of a text's words to a column.
func (c *collector) read(column *strings.Builder, text string) {
	var run []term
	start, end := 0, 0 // of the run
	words(text, func(w word) bool {
		e := c.word(text[w.start:w.end])
		if !w.joined {
			c.name(text[start:end], run)
			run, start = run[:0], w.start
		}
		run, end = append(run, e.term), w.end
		column.WriteByte(' ')
		column.WriteString(e.stem)
		return true
	})
	c.name(text[start:end], run)
}

func (c *collector) word(written string) *entry {
	folded := fold(written)
	e := c.words[folded]
	if e == nil {
		e = &entry{term: term{strings.Clone(folded), strings.Clone(stem(folded))}, written: uncapitalised(written)}
		c.words[e.folded] = e
		if c.stems[e.stem] == nil {
			c.stems[e.stem] = &stemmed{id: len(c.stems)}
		}
	}
	if e.last != c.page {
		e.count(c.page)
		c.stems[e.stem].count(c.page)
	}
	return e
}

// uncapitalised is a word as it stands within a sentence, as far as one can tell.
func uncapitalised(w string) string {
	if small := strings.ToLower(w); len(w) > 1 && small[1:] == w[1:] {
		return small
	}
	return strings.Clone(w)
}

// name notes the words of a name.
func (c *collector) name(written string, parts []term) {
	if len(parts) < 2 || len(parts) > maxParts {
		return
	}
	joined, longest := "", 0
	for _, part := range parts {
		joined += part.folded
		longest = max(longest, len(strings.Trim(part.folded, "0123456789")))
	}
	if len(joined) < minName || len(joined) > maxWord || longest < minPart {
		return
	}
	n := c.names[joined]
	if n == nil {
		n = &name{joined: joined, written: strings.Clone(written), parts: slices.Clone(parts)}
		c.names[joined] = n
	}
	n.count(c.page)
}

// vocabulary is what was gathered. The words lie one after the other in memory,
// since all of them are gone through for a typing error.
func (c *collector) vocabulary() vocabulary {
	v := vocabulary{
		names: slices.SortedFunc(maps.Values(c.names), func(a, b *name) int { return cmp.Compare(a.joined, b.joined) }),
		stems: c.stems,
	}
	var letters strings.Builder
	sorted := slices.Sorted(maps.Keys(c.words))
	for _, w := range sorted {
		letters.WriteString(w)
	}
	rest := letters.String()
	for _, w := range sorted {
		e := *c.words[w]
		e.folded, rest = rest[:len(w)], rest[len(w):]
		v.words = append(v.words, e)
	}
	return v
}

// place is where in the list of words the one stands that was met.
func (v *vocabulary) place(folded string) int {
	i, _ := slices.BinarySearchFunc(v.words, folded, func(e entry, folded string) int { return cmp.Compare(e.folded, folded) })
	return i
}

// tokens are the words of a title or heading of the pages.
func (v *vocabulary) tokens(text string) (all []token) {
	for _, t := range terms(text) {
		all = append(all, token{v.place(t.folded), v.stems[t.stem].id})
	}
	return all
}

// pagesOf is how many pages have the word in any of its forms.
func (v *vocabulary) pagesOf(t term) int {
	if s := v.stems[t.stem]; s != nil {
		return s.pages
	}
	return 0
}

// beginning are the words that begin with the letters.
func (v *vocabulary) beginning(letters string) []entry {
	from, to := between(v.words, letters, func(e entry) string { return e.folded })
	return v.words[from:to]
}

// namesBeginning are the names that begin with the letters.
func (v *vocabulary) namesBeginning(letters string) []*name {
	from, to := between(v.names, letters, func(n *name) string { return n.joined })
	return v.names[from:to]
}

// between is where in a sorted list those stand whose letters begin with others.
func between[T any](sorted []T, letters string, of func(T) string) (from, to int) {
	from, _ = slices.BinarySearchFunc(sorted, letters, func(one T, letters string) int { return cmp.Compare(of(one), letters) })
	to = from
	for to < len(sorted) && strings.HasPrefix(of(sorted[to]), letters) {
		to++
	}
	return from, to
}

// minTypo is the shortest word that may be mistyped, in letters: shorter ones are
// one letter away from too many others.
const minTypo = 3

const (
	// maxMeant is how many words somebody may have meant.
	maxMeant = 3
	// farMore is how many times as many pages have a word than the one typed, which
	// some have, for that to be a slip: of an author, too. Short words are no slips.
	farMore, minSlip = 10, 5
)

// meant are the words that are one letter away from the one that was typed, those
// of most pages first. With prefix it may be the beginning of a word, if it is long
// enough for that and no whole word is as near. have is how many pages have the word
// as it was typed.
func (v *vocabulary) meant(typed string, prefix bool, have int) []entry {
	if len(typed) < minTypo || strings.ContainsAny(typed, "0123456789") || have > 0 && len(typed) < minSlip {
		return nil
	}
	near := func(prefix bool) (found []entry) {
		for i := range v.words {
			e := &v.words[i]
			if e.pages >= farMore*have && e.folded != typed && oneOff(typed, e.folded, prefix) && !isFiller(e.folded) {
				found = append(found, *e)
			}
		}
		return found
	}
	found := near(false)
	if len(found) == 0 && prefix && len(typed) > minTypo {
		found = near(true)
	}
	slices.SortStableFunc(found, func(a, b entry) int { return cmp.Compare(b.pages, a.pages) })
	found = slices.CompactFunc(found, func(a, b entry) bool { return a.stem == b.stem })
	return found[:min(len(found), maxMeant)]
}

// namesMeant are the names that are one letter away from what was typed.
func (v *vocabulary) namesMeant(typed string, prefix bool, have int) []*name {
	if len(typed) <= minName || have > 0 {
		return nil
	}
	var found []*name
	for _, n := range v.names {
		if n.joined != typed && oneOff(typed, n.joined, prefix) {
			found = append(found, n)
		}
	}
	slices.SortStableFunc(found, func(a, b *name) int { return cmp.Compare(b.pages, a.pages) })
	return found[:min(len(found), maxMeant)]
}

// maxFar is how many changes a word may be away: with three, some word is near to any.
const maxFar = 2

// nearest are the words that take the fewest changes to get to from the one that
// was typed, which is in no page. They begin with the same letter.
func (v *vocabulary) nearest(typed string) []string {
	var found []entry
	far := map[string]int{}
	for _, e := range v.beginning(typed[:1]) {
		if n := len(e.folded) - len(typed); n > maxFar || -n > maxFar || len(e.folded) < minTypo {
			continue
		}
		if d := distance(typed, e.folded); d <= min(maxFar, len(typed)/2) {
			far[e.folded] = d
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, func(a, b entry) int {
		return cmp.Or(cmp.Compare(far[a.folded], far[b.folded]), cmp.Compare(b.pages, a.pages))
	})
	var list []string
	for _, e := range found[:min(len(found), maxMeant)] {
		list = append(list, e.written)
	}
	return list
}
