package content

import (
	"fmt"
	"html"

	"github.com/yuin/goldmark/ast"
)

const (
	// maxTabs is how many names stand in one line beside each other.
	maxTabs = 6
	// tabNameLength in characters: on a narrow screen a name is one line.
	tabNameLength = 30
)

// tabs are panels of which a page shows one, and without script all, one below
// the other with their names.
func (r *reader) tabs(c callout) *elementNode {
	if !c.title.HasChildren() {
		r.add(c.line, "say after [!TABS] what differs between them: it names the row of tabs for who cannot see it")
	}
	list, ok := c.quote.FirstChild().(*ast.List)
	if !ok || list.IsOrdered() || list.NextSibling() != nil {
		r.add(c.line, "tabs are one bulleted list: the first paragraph of each item is the tab's name, what follows is shown below it")
		return nil
	}
	if n := list.ChildCount(); n < 2 || n > maxTabs {
		r.add(c.line, "there are from 2 to %d tabs beside each other, not %d", maxTabs, n)
	}
	r.tabLists++
	id := fmt.Sprintf("%stabs-%d", r.opt.IDPrefix, r.tabLists)
	c.title.open, c.title.close = fmt.Sprintf(`<p class="tabs-title" id="%s">`, html.EscapeString(id)), "</p>\n"
	tabs := element(fmt.Sprintf(`<div class="tabs" role="group" aria-labelledby="%s">`+"\n", html.EscapeString(id)), "</div>\n", c.title)
	names := map[string]int{}
	for item := list.FirstChild(); item != nil; item = list.FirstChild() {
		line := r.line(item)
		name := r.tabName(item, line)
		if other := names[name]; other > 0 && name != "" {
			r.add(line, "the tab on line %d has the name %q too", other, name)
		}
		names[name] = line
		tabs.AppendChild(tabs, tab(item, fmt.Sprintf("%s-%d", id, len(names))))
		list.RemoveChild(list, item)
	}
	return tabs
}

// tabName is the first paragraph of the item.
func (r *reader) tabName(item ast.Node, line int) string {
	name := ""
	if first := item.FirstChild(); first != nil && isText(first) {
		name = words(r.plain(first))
	}
	switch {
	case name == "":
		r.add(line, "this tab has no name: its item begins with a short paragraph")
	case len([]rune(name)) > tabNameLength:
		r.add(line, "the tab's name %q is longer than %d characters: put an empty line between the name and what is below it", name, tabNameLength)
	case item.ChildCount() < 2:
		r.add(line, "the tab %q has nothing below its name: put an empty line after the name, and indent what follows", name)
	}
	return name
}

// tab makes a panel of the item.
func tab(item ast.Node, id string) *elementNode {
	id = html.EscapeString(id)
	panel := element(fmt.Sprintf(`<div class="tab" role="group" aria-labelledby="%s">`+"\n", id), "</div>\n")
	if first := item.FirstChild(); first != nil {
		panel.AppendChild(panel, element(fmt.Sprintf(`<p class="tab-name" id="%s">`, id), "</p>\n").take(first))
		item.RemoveChild(item, first)
	}
	return panel.take(item)
}

// isText reports whether the block is a paragraph: goldmark has another kind
// for those of a list whose items have no empty lines between them.
func isText(n ast.Node) bool {
	return n.Kind() == ast.KindParagraph || n.Kind() == ast.KindTextBlock
}
