package content

import (
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// maxSteps of a picture: who is led through more forgets the first, and two
// pictures tell it better.
const maxSteps = 12

// steps is a picture to step through: a drawing and a numbered list. It is
// whole in the page; the page's script makes the buttons.
func (r *reader) steps(c callout) *elementNode {
	if !r.saysSomething(c) {
		return nil
	}
	r.callouts++
	id := html.EscapeString(fmt.Sprintf("%scallout-%d", r.opt.IDPrefix, r.callouts))
	c.title.open, c.title.close = fmt.Sprintf(`<p class="callout-title" id="%s">%s`, id, c.named("Step by step")), "</p>\n"
	n := element(fmt.Sprintf(`<section class="steps" aria-labelledby="%s" data-steps>`+"\n", id), "</section>\n", c.title).take(c.quote)
	n.done = func() { r.pictureAndList(c.line, c.title.NextSibling()) }
	return n
}

// pictureAndList checks what stands in a picture to step through.
func (r *reader) pictureAndList(line int, first ast.Node) {
	if p, ok := first.(*ast.Paragraph); ok && onlyImage(p) != nil {
		return // what is wrong with the figure is told already
	}
	figure, _ := first.(*figureNode)
	if figure == nil {
		r.add(line, "a picture to step through begins with the picture: ![What it shows](name.svg), on a line of its own below the title")
		return
	}
	list, _ := figure.NextSibling().(*ast.List)
	if list == nil || !list.IsOrdered() || list.Start != 1 || list.NextSibling() != nil {
		r.add(line, "below the picture stands one numbered list, from 1, with an item for each step, and nothing else")
		return
	}
	r.checkSteps(line, figure, list.ChildCount())
}

// checkSteps compares the steps that a drawing shows with those of the list.
func (r *reader) checkSteps(line int, figure *figureNode, count int) {
	if count < 2 || count > maxSteps {
		r.add(line, "this picture has %d steps: a picture to step through has 2 to %d", count, maxSteps)
		return
	}
	if figure.drawing == nil {
		r.add(line, "a picture to step through is a drawing (.svg): in a photograph nothing can be lit")
		return
	}
	if class := figure.drawing.nested; class != "" {
		r.add(line, "in the drawing, an element of class %s is inside another one of a step: it could not be lit alone", class)
	}
	shown := figure.drawing.steps
	for step := 1; step <= count; step++ {
		if !slices.Contains(shown, step) {
			r.add(line, "the drawing shows nothing of step %d: give the elements that belong to it the class s%d", step, step)
		}
	}
	for _, step := range shown {
		if step > count {
			r.add(line, "the drawing has the class s%d, but the list ends with step %d", step, count)
		}
	}
}

// stepOf returns the number of the step that a class of a drawing stands for.
func stepOf(class string) (step int, ok bool) {
	digits, ok := strings.CutPrefix(class, "s")
	step, err := strconv.Atoi(digits)
	return step, ok && err == nil && step > 0 && strconv.Itoa(step) == digits
}
