package content

import (
	"net/url"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// schemes that a link may have: what a reader expects behind one, and
// nothing that runs.
func schemes() []string { return []string{"http", "https", "mailto"} }

// link checks where a link goes, and protects the page from the one it opens.
func (r *reader) link(n ast.Node, destination string) {
	line := r.line(n)
	if form, ok := strings.CutPrefix(destination, termScheme); ok {
		if l, ok := n.(*ast.Link); ok {
			r.term(l, form)
			return
		}
	}
	u, err := url.Parse(destination)
	switch {
	case err != nil:
		r.add(line, "the link to %q is not an address", destination)
		return
	case destination == "":
		r.add(line, "this link goes nowhere")
		return
	case u.Scheme != "" && !slices.Contains(schemes(), strings.ToLower(u.Scheme)):
		r.add(line, "the link to %q is of the kind %s: links go to http, https and mailto addresses, to pages of this site and to headings", destination, u.Scheme)
		return
	case u.Scheme == "" && (strings.HasPrefix(destination, "//") || strings.Contains(destination, `\`)):
		r.add(line, "the link to %q needs https: in front", destination)
		return
	}
	switch {
	case u.Host == "" && strings.HasPrefix(strings.ToLower(u.Scheme), "http"):
		r.add(line, "the link to %q names no host", destination)
		return
	case u.Host != "":
		n.SetAttributeString("rel", []byte("noopener noreferrer"))
	case u.Scheme == "" && u.Path == "":
		r.fragments = append(r.fragments, Link{URL: u.Fragment, Line: line})
	case strings.HasPrefix(u.Path, "/"):
		r.doc.Links = append(r.doc.Links, Link{URL: destination, Line: line})
	case u.Scheme == "":
		r.fileLink(n, u.Path)
	}
	for _, a := range n.Attributes() {
		if string(a.Name) != "rel" {
			r.add(line, "a link cannot have the attribute %s", a.Name)
		}
	}
	if title := titleOf(n); title != "" {
		r.add(line, "the link's title %q is seen by nobody on a touch screen: say it in the text", title)
	}
	if strings.TrimSpace(r.plain(n)) == "" && n.Kind() == ast.KindLink {
		r.add(line, "this link has no text")
	}
}

// fileLink makes a link to a picture beside the text one that works from any
// address the text is shown at. No other file is served.
func (r *reader) fileLink(n ast.Node, name string) {
	l, ok := n.(*ast.Link)
	if !isPicture(name) {
		r.add(r.line(n), "the link to %q goes nowhere: only pictures beside this text are served; a link to a page begins with /, such as /articles/init-containers", name)
		return
	}
	if _, err := r.open(name); err != nil || !ok || r.opt.FigureBase == "" {
		r.add(r.line(n), "there is no file %q to link to beside this text; a link to a page begins with /, such as /articles/init-containers", name)
		return
	}
	l.Destination = []byte(r.opt.FigureBase + name)
}

func titleOf(n ast.Node) string {
	if l, ok := n.(*ast.Link); ok {
		return string(l.Title)
	}
	return ""
}

// autoLink checks an address that became a link by itself.
func (r *reader) autoLink(n *ast.AutoLink) {
	if n.AutoLinkType != ast.AutoLinkEmail {
		r.link(n, string(n.URL(r.src)))
	}
}
