package content

import (
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/util"
)

// elementNode is an HTML element of ours around what Markdown has in it. Its
// tags are written as they are: who makes one escapes what is not their own.
type elementNode struct {
	ast.BaseBlock
	open, close string
	title       bool   // it is the title of a callout
	done        func() // called once what is in it was read; nil: nothing is left to do
}

// Kinds of node are numbered by goldmark when the program starts.
var kindElement = ast.NewNodeKind("DrydockElement")

func (*elementNode) Kind() ast.NodeKind           { return kindElement }
func (n *elementNode) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }

// element makes an element of the tags, with the nodes in it.
func element(opening, closing string, children ...ast.Node) *elementNode {
	n := &elementNode{open: opening, close: closing}
	for _, c := range children {
		n.AppendChild(n, c)
	}
	return n
}

// take moves all that is in the other node to the end of this one.
func (n *elementNode) take(from ast.Node) *elementNode {
	for c := from.FirstChild(); c != nil; c = from.FirstChild() {
		n.AppendChild(n, c)
	}
	return n
}

func renderElement(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	n := node.(*elementNode)
	tag := n.close
	if entering {
		tag = n.open
	}
	_, err := w.WriteString(tag)
	return ast.WalkContinue, err
}
