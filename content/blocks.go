package content

import (
	"fmt"
	"html"

	"github.com/yuin/goldmark/ast"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
)

// blocks writes the blocks that differ from goldmark's.
type blocks struct{}

// RegisterFuncs implements renderer.NodeRenderer.
func (blocks) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(kindCode, renderCode)
	reg.Register(kindElement, renderElement)
	reg.Register(kindFigure, renderFigure)
	reg.Register(kindTerm, renderTerm)
	reg.Register(ast.KindHeading, renderHeading)
	reg.Register(east.KindTable, renderTable)
	reg.Register(ast.KindAutoLink, renderAutoLink)
	reg.Register(east.KindTaskCheckBox, renderCheckBox)
}

func renderCode(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		f := n.(*codeNode).fence
		lines, err := highlight(f.Lang, f.Code)
		if err != nil {
			lines, _ = highlight(langText, f.Code) // without colours it can be read as well
		}
		_, err = w.WriteString(f.html(markLines(lines, f.marks)))
		return ast.WalkSkipChildren, err
	}
	return ast.WalkContinue, nil
}

func renderFigure(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		_, err := w.WriteString(n.(*figureNode).html)
		return ast.WalkSkipChildren, err
	}
	return ast.WalkContinue, nil
}

// renderCheckBox writes a sign, not a form's box that has no label and cannot
// be changed.
func renderCheckBox(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	sign := `<span class="checkbox" role="img" aria-label="open">☐</span> `
	if node.(*east.TaskCheckBox).IsChecked {
		sign = `<span class="checkbox" role="img" aria-label="done">☑</span> `
	}
	_, err := w.WriteString(sign)
	return ast.WalkContinue, err
}

// renderHeading writes a heading with a link to itself, to be copied.
func renderHeading(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	n := node.(*ast.Heading)
	id := html.EscapeString(headingID(n))
	var err error
	if entering {
		_, err = fmt.Fprintf(w, `<h%d id="%s">`, n.Level, id)
	} else {
		_, err = fmt.Fprintf(w, ` <a class="anchor" href="#%s" aria-label="Link to this section">#</a></h%d>`+"\n", id, n.Level)
	}
	return ast.WalkContinue, err
}

// renderTable puts a table into a box that scrolls, also by keyboard: on a
// narrow screen the page must not.
func renderTable(w util.BufWriter, _ []byte, _ ast.Node, entering bool) (ast.WalkStatus, error) {
	var err error
	if entering {
		_, err = w.WriteString(`<div class="table" role="group" aria-label="Table" tabindex="0"><table>` + "\n")
	} else {
		_, err = w.WriteString("</table></div>\n")
	}
	return ast.WalkContinue, err
}

func renderAutoLink(w util.BufWriter, src []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	n := node.(*ast.AutoLink)
	address, rel := string(n.URL(src)), ` rel="noopener noreferrer"`
	if n.AutoLinkType == ast.AutoLinkEmail {
		address, rel = "mailto:"+address, ""
	}
	_, err := fmt.Fprintf(w, `<a href="%s"%s>%s</a>`, util.EscapeHTML(util.URLEscape([]byte(address), false)), rel, util.EscapeHTML(n.Label(src)))
	return ast.WalkContinue, err
}
