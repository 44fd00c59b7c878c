package content

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// quizOrder reads a list in its right order, shows it in another, and adds the
// right one to reveal.
func (r *reader) quizOrder(q *Quiz, reveal *elementNode, list *ast.List) *elementNode {
	items := r.quizItems(q, list)
	if n := len(items); n < minOrdered || n > maxOrdered {
		r.add(q.Line, "from %d to %d things can be put in order, not %d", minOrdered, maxOrdered, n)
	}
	for _, item := range items {
		if item.node.ChildCount() > 1 {
			r.add(item.line, "what is put in order is one short paragraph each: explain it after the list, with an empty line before that")
		}
		item.shown.open = fmt.Sprintf(`<li data-item="%s">`, item.id)
		if item.first != nil {
			item.shown.take(item.first)
		}
	}
	shown := shuffled(q.ID, items)
	box := element("", "</ol>\n")
	for _, item := range shown {
		box.AppendChild(box, item.shown)
	}
	letters := make([]string, len(items))
	for i, item := range items {
		letters[i] = letter(slices.IndexFunc(shown, func(s quizItem) bool { return s.id == item.id }))
	}
	box.open = fmt.Sprintf(`<p class="quiz-how">Put them in order.</p>`+"\n"+`<ol class="quiz-items" type="A" data-order="%s">`+"\n", strings.Join(q.Items, " "))
	reveal.open += fmt.Sprintf(`<p class="quiz-verdict">The order is %s.</p>`+"\n", strings.Join(letters, ", "))
	return box
}

// shuffled is another order of the items, and not the reverse. It is always
// the same one: pages are compared and kept.
func shuffled(seed string, items []quizItem) []quizItem {
	same := func(a, b quizItem) bool { return a.id == b.id }
	backward := slices.Clone(items)
	slices.Reverse(backward)
	shown := slices.SortedFunc(slices.Values(items), func(a, b quizItem) int {
		return cmp.Compare(quizID(seed, a.id), quizID(seed, b.id))
	})
	if len(items) >= minOrdered && (slices.EqualFunc(shown, items, same) || slices.EqualFunc(shown, backward, same)) {
		shown = append(shown[1:], shown[0])
	}
	return shown
}
