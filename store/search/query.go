package search

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// asked is a query as it is understood: units that a page must have.
type asked struct {
	units []unit
	first [256]bool // the bytes that words which are looked for begin with, capital or not
}

// unit is a word, a name made of several, or what stands between quotation marks.
type unit struct {
	typed   string
	phrases []phrase // any of them will do
}

// phrase is words one after the other.
type phrase struct {
	terms  []term
	prefix bool // the last may go on

	// The same in the numbers of the vocabulary; [vocabulary.number] sets them.
	stems    []int // -1: no page has it
	from, to int   // the words that the last may be, with prefix
}

const (
	// minPrefix is from how many letters on a word by itself is taken as the
	// beginning of others: with one, nearly all pages would be found.
	minPrefix = 2
	// maxNames is how many names may be meant by their beginning.
	maxNames = 4
)

// understand makes units of what was typed; any text will do. The last word may
// be the beginning of one, unless something stands after it.
func (v *vocabulary) understand(text string) asked {
	var all []unit
	text = Bounded(text)
	pieces := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(`"“”„`, r) })
	quoted := strings.IndexAny(text, `"“”„`) == 0
	for i, piece := range pieces {
		open := i == len(pieces)-1 && strings.HasSuffix(text, piece)
		if quoted {
			all = append(all, v.unit(piece, open))
		} else {
			all = append(all, v.spaced(piece, open)...)
		}
		quoted = !quoted
	}
	return v.ask(all)
}

// spaced are the units of words with spaces between them.
func (v *vocabulary) spaced(text string, open bool) (all []unit) {
	list := strings.FieldsFunc(text, isSpace)
	for i, one := range list {
		last := i == len(list)-1 && open && strings.HasSuffix(text, one)
		all = append(all, v.unit(one, last))
	}
	return all
}

func isSpace(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// ask leaves out what is no word, what was typed twice, and fillers; of nothing
// but fillers it takes the last.
func (v *vocabulary) ask(all []unit) (a asked) {
	all = slices.DeleteFunc(all, func(u unit) bool { return len(u.phrases) == 0 })
	telling := slices.DeleteFunc(slices.Clone(all), unit.filler)
	if len(telling) == 0 && len(all) > 0 {
		telling = all[len(all)-1:]
	}
	for _, u := range telling {
		again := slices.ContainsFunc(a.units, func(other unit) bool { return other.typed == u.typed })
		if again || len(a.units) == maxUnits {
			continue
		}
		for i := range u.phrases {
			v.number(&u.phrases[i])
		}
		a.units = append(a.units, u)
	}
	a.listFirst()
	return a
}

// number looks the phrase's words up.
func (v *vocabulary) number(p *phrase) {
	p.stems = nil
	for _, t := range p.terms {
		id := -1
		if s := v.stems[t.stem]; s != nil {
			id = s.id
		}
		p.stems = append(p.stems, id)
	}
	if p.prefix {
		p.from, p.to = between(v.words, p.terms[len(p.terms)-1].folded, func(e entry) string { return e.folded })
	}
}

// filler reports whether the unit is a word that says nothing.
func (u unit) filler() bool {
	p := u.phrases[0]
	return len(p.terms) == 1 && isFiller(p.terms[0].folded)
}

// listFirst notes what a reader of texts has to stop at.
func (a *asked) listFirst() {
	for _, u := range a.units {
		for _, p := range u.phrases {
			for _, t := range p.terms {
				a.first[t.folded[0]], a.first[t.stem[0]] = true, true
			}
		}
	}
}

// Bounded cuts a text to what of it is looked at: [MaxQuery] characters.
func Bounded(text string) string {
	n := 0
	for i := range text {
		if n++; n > MaxQuery {
			text = text[:i]
			break
		}
	}
	return strings.ToValidUTF8(text, " ")
}

// unit makes a unit of a piece of text. It may be written together or apart:
// kubeproxy finds kube-proxy, and GitHub finds github. Without a word in it the
// unit has no phrases.
func (v *vocabulary) unit(text string, open bool) unit {
	written := terms(text)
	if len(written) == 0 {
		return unit{}
	}
	if len(written) > maxUnits {
		written, open = written[:maxUnits], false
	}
	last := written[len(written)-1].folded
	u := unit{typed: strings.Join(strings.FieldsFunc(text, isSpace), " ")}
	u.phrases = []phrase{{terms: written, prefix: open && (len(last) >= minPrefix || len(written) > 1)}}
	if len(written) == 1 {
		u.phrases = append(u.phrases, v.namesOf(last, u.phrases[0].prefix)...)
		return u
	}
	joined := ""
	for _, t := range written {
		joined += t.folded
	}
	if together := (term{joined, stem(joined)}); len(joined) <= maxWord && v.pagesOf(together) > 0 {
		u.phrases = append(u.phrases, phrase{terms: []term{together}})
	}
	return u
}

// namesOf are the names that are written so when they are written together.
func (v *vocabulary) namesOf(letters string, prefix bool) (all []phrase) {
	if len(letters) < minName {
		return nil
	}
	found := slices.Clone(v.namesBeginning(letters))
	if !prefix {
		found = slices.DeleteFunc(found, func(n *name) bool { return n.joined != letters })
	}
	// A name that begins with this very word is found by it already.
	found = slices.DeleteFunc(found, func(n *name) bool { return strings.HasPrefix(n.parts[0].folded, letters) })
	slices.SortStableFunc(found, func(a, b *name) int { return cmp.Compare(b.pages, a.pages) })
	for _, n := range found[:min(len(found), maxNames)] {
		all = append(all, phrase{terms: n.parts})
	}
	return all
}

// pagesOfUnit is a bound for how many pages have the unit.
func (v *vocabulary) pagesOfUnit(u unit) (most int) {
	for _, p := range u.phrases {
		least := -1
		for i, t := range p.terms {
			n := v.pagesOf(t)
			if p.prefix && i == len(p.terms)-1 {
				for _, e := range v.beginning(t.folded) {
					n = max(n, e.pages)
				}
			}
			if least < 0 || n < least {
				least = n
			}
		}
		most = max(most, least)
	}
	return most
}

// corrected adds to each unit that finds little the words that may have been
// meant, and returns those.
func (v *vocabulary) corrected(a asked) (asked, []string) {
	var also []string
	var all []unit
	for _, u := range a.units {
		if have := v.pagesOfUnit(u); have < little {
			more, words := v.meantBy(u, have)
			u.phrases = append(slices.Clone(u.phrases), more...)
			also = append(also, words...)
		}
		all = append(all, u)
	}
	return v.ask(all), also
}

// meantBy are the phrases that the unit is one letter away from.
func (v *vocabulary) meantBy(u unit, have int) (phrases []phrase, words []string) {
	written := u.phrases[0]
	for i, t := range written.terms {
		prefix := written.prefix && i == len(written.terms)-1
		if len(written.terms) > 1 && v.pagesOf(t) > 0 {
			continue
		}
		for _, e := range v.meant(t.folded, prefix, have) {
			other := slices.Clone(written.terms)
			other[i] = e.term
			phrases = append(phrases, phrase{terms: other})
			words = append(words, e.written)
		}
	}
	if len(written.terms) == 1 {
		for _, n := range v.namesMeant(written.terms[0].folded, written.prefix, have) {
			phrases = append(phrases, phrase{terms: n.parts})
			words = append(words, n.written)
		}
	}
	return phrases, words
}

// expression is the query in the language of FTS5. It is made of stems, which are
// letters and digits, and of what stands here.
func (v *vocabulary) expression(a asked, between string) string {
	var list []string
	for _, u := range a.units {
		var any []string
		for _, p := range u.phrases {
			any = append(any, v.phraseExpression(p)...)
		}
		slices.Sort(any)
		list = append(list, "("+strings.Join(slices.Compact(any), " OR ")+")")
	}
	whole := strings.Join(list, between)
	if len(a.units) > 1 { // pages that have the words side by side count for more
		whole = "(" + whole + ") OR " + strings.Join(v.phraseExpression(a.together()), " OR ")
	}
	return whole
}

// together are the units as they were typed, in one phrase.
func (a asked) together() phrase {
	var whole phrase
	for _, u := range a.units {
		whole.terms = append(whole.terms, u.phrases[0].terms...)
		whole.prefix = u.phrases[0].prefix
	}
	return whole
}

// phraseExpression is a phrase in the language of FTS5. Where the last word may go
// on, it is the beginning of stems, or the stem of words that begin so: schedulin
// is no beginning of schedul.
func (v *vocabulary) phraseExpression(p phrase) []string {
	before := `"`
	for _, t := range p.terms[:len(p.terms)-1] {
		before += t.stem + " "
	}
	last := p.terms[len(p.terms)-1]
	all := []string{before + last.stem + `"`}
	if !p.prefix {
		return all
	}
	all = append(all, before+last.folded+`" *`)
	for _, e := range v.beginning(last.folded) {
		if !strings.HasPrefix(e.stem, last.folded) {
			all = append(all, before+e.stem+`"`)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
