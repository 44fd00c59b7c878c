package content

import (
	"fmt"

	"github.com/yuin/goldmark/ast"
	east "github.com/yuin/goldmark/extension/ast"
)

// quizChoice reads a list of right and wrong choices, and adds to reveal which
// are what and why.
func (r *reader) quizChoice(q *Quiz, reveal *elementNode, list *ast.List) *elementNode {
	items := r.quizItems(q, list)
	if n := len(items); n < 2 || n > maxChoices {
		r.add(q.Line, "a quiz has from 2 to %d choices, not %d", maxChoices, n)
	}
	right := 0
	box := element("", "</ol>\n")
	for i, item := range items {
		checked := r.checkBox(item)
		verdict, sign, is := "wrong", "✗", "is wrong"
		if checked {
			verdict, sign, is = "right", "✓", "is right"
			right++
		}
		item.shown.open = fmt.Sprintf(`<li data-item="%s">`, item.id)
		if item.first != nil {
			item.shown.take(item.first)
			item.node.RemoveChild(item.node, item.first)
		}
		box.AppendChild(box, item.shown)
		if !item.node.HasChildren() {
			r.add(item.line, "say below this choice why it %s: in a paragraph of its own, after an empty line and indented like the choice", is)
		}
		why := fmt.Sprintf(`<div class="quiz-why %s" data-item="%s">`+"\n"+`<p class="quiz-verdict"><span aria-hidden="true">%s</span> %s %s</p>`+"\n",
			verdict, item.id, sign, letter(i), is)
		reveal.AppendChild(reveal, element(why, "</div>\n").take(item.node))
	}
	switch {
	case right == 0:
		r.add(q.Line, "no choice is right: mark those that are with - [x]")
	case right == len(items):
		r.add(q.Line, "all choices are right: there is nothing to choose")
	}
	how := "Choose one."
	if box.open = `<ol class="quiz-items" type="A">` + "\n"; right > 1 {
		how = "Choose all that are right."
		box.open = `<ol class="quiz-items" type="A" data-several>` + "\n"
	}
	box.open = `<p class="quiz-how">` + how + "</p>\n" + box.open
	return box
}

// checkBox takes the box off a choice, and reports whether it is checked.
func (r *reader) checkBox(item quizItem) bool {
	if item.first == nil {
		return false
	}
	box, ok := item.first.FirstChild().(*east.TaskCheckBox)
	if !ok {
		r.add(item.line, "a choice begins with [ ] where it is wrong and with [x] where it is right")
		return false
	}
	item.first.RemoveChild(item.first, box)
	return box.IsChecked
}
