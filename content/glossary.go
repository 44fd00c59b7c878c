package content

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/util"
	"go.yaml.in/yaml/v3"
)

// maxMeaning bounds a definition, in characters: it is shown in passing, and
// must not cover a narrow screen.
const maxMeaning = 320

// Term is an entry of the glossary.
type Term struct {
	ID      string   // of its entry in the glossary's page: term-kube-proxy
	Term    string   // as it is written: kube-proxy
	Also    []string // other forms of it
	Means   string   // plain text
	Article string   // the slug of the one that explains it; may be empty
	Track   string   // the slug of the one whose glossary has it
}

// glossary is the terms of all tracks while a library is loaded.
type glossary struct {
	terms []*Term
	where map[*Term]Problem // file and line
	forms map[string]*Term  // by formKey
}

// glossaryFile has the terms of a track.
const glossaryFile = "glossary.yaml"

// loadGlossary reads the glossaries of the tracks. The error joins every
// [Problem] of their files.
func loadGlossary(fsys fs.FS, tracks []string) (*glossary, error) {
	g := &glossary{where: map[*Term]Problem{}, forms: map[string]*Term{}}
	var errs []error
	for _, track := range tracks {
		p := &problems{file: path.Join(track, glossaryFile)}
		src, err := fs.ReadFile(fsys, p.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return g, fmt.Errorf("read the glossary of track %s: %w", track, err)
		}
		g.read(p, track, src)
		errs = append(errs, p.err())
	}
	slices.SortFunc(g.terms, func(a, b *Term) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Term), strings.ToLower(b.Term)), cmp.Compare(a.ID, b.ID))
	})
	return g, errors.Join(errs...)
}

// read adds the terms of one file.
func (g *glossary) read(p *problems, track string, src []byte) {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		line, msg := yamlError(err)
		p.add(line, "%s", msg)
		return
	}
	if len(doc.Content) == 0 {
		return
	}
	if doc.Content[0].Kind != yaml.SequenceNode {
		p.add(doc.Content[0].Line, "expected a list of terms: “- term: …”, and below it “means: …”")
		return
	}
	for _, entry := range doc.Content[0].Content {
		t := &Term{Track: track}
		readNode(p, 1, entry, map[string]field{
			"term": textField(&t.Term), "also": textsField(&t.Also), "means": textField(&t.Means), "article": slugField(&t.Article),
		})
		g.add(p, entry.Line, t)
	}
}

// add checks a term and its forms, and adds it.
func (g *glossary) add(p *problems, line int, t *Term) {
	if n := utf8.RuneCountInString(t.Means); n > maxMeaning {
		p.add(line, "what %q means takes %d characters, and at most %d are allowed: say it in one or two sentences, and the rest in an article", t.Term, n, maxMeaning)
	}
	if t.Term == "" {
		return // told already
	}
	t.ID = "term-" + formKey(t.Term)
	for _, form := range append([]string{t.Term}, t.Also...) {
		key := formKey(form)
		other, taken := g.forms[key]
		switch {
		case key == "":
			p.add(line, "%q has no letter or digit: nothing could link to it", form)
		case taken && other == t:
			p.add(line, "%q is the same form as another of %q: capital letters, dashes and spaces make no difference", form, t.Term)
		case taken:
			at := g.where[other]
			p.add(line, "%q is in the glossary already, as %q: %s:%d", form, other.Term, at.File, at.Line)
			return
		default:
			g.forms[key] = t
		}
	}
	g.where[t] = Problem{File: p.file, Line: line}
	g.terms = append(g.terms, t)
}

// formKey is what the forms of a term that a reader takes for the same have in
// common.
func formKey(form string) string {
	words := strings.FieldsFunc(strings.ToLower(form), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "-")
}

// checkArticles checks that the articles which terms name are there.
func (g *glossary) checkArticles(l *Library) error {
	var errs []error
	for _, t := range g.terms {
		if _, ok := l.Article(t.Article); !ok && t.Article != "" {
			p := g.where[t]
			p.Msg = fmt.Sprintf("%s: there is no article %q: %s", t.Term, t.Article, didYouMean(t.Article, l.articleSlugs()))
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// termScheme begins a link to the glossary.
const termScheme = "term:"

// termNode is a term of the glossary in the place of a link to it.
type termNode struct {
	ast.BaseInline
	term *Term
	id   string // of the definition
}

// Kinds of node are numbered by goldmark when the program starts.
var kindTerm = ast.NewNodeKind("DrydockTerm")

func (*termNode) Kind() ast.NodeKind           { return kindTerm }
func (n *termNode) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }

// term replaces a link to the glossary by the term with its definition. form
// is what the address names; when it is empty, the link's words are the form.
func (r *reader) term(n *ast.Link, form string) {
	line := r.line(n)
	words := strings.Join(strings.Fields(r.plain(n)), " ")
	if form == "" {
		form = words
	}
	switch {
	case r.opt.terms == nil:
		r.add(line, "there is no glossary here: only articles link to terms")
		return
	case words == "":
		r.add(line, "this link has no text")
		return
	case inTitle(n):
		r.add(line, "explain a term in the text: a definition cannot be shown in a heading or a title")
		return
	}
	term, ok := r.opt.terms.forms[formKey(form)]
	if !ok {
		r.add(line, "the glossary has no term %q: %s", form, r.opt.terms.suggest(form))
		return
	}
	if before, again := r.terms[term.ID]; again {
		r.add(line, "the term %s is explained on line %d already: link its first use only", term.Term, before)
		return
	}
	r.terms[term.ID] = line
	r.doc.Terms = append(r.doc.Terms, term.ID)
	node := &termNode{term: term, id: fmt.Sprintf("%sterm-%d", r.opt.IDPrefix, len(r.doc.Terms))}
	for child := n.FirstChild(); child != nil; child = n.FirstChild() {
		node.AppendChild(node, child)
	}
	n.Parent().ReplaceChild(n.Parent(), n, node)
	r.children(node)
}

// suggest says what to do about a form that is no term's.
func (g *glossary) suggest(form string) string {
	known := make([]string, 0, len(g.forms))
	for key := range g.forms {
		known = append(known, key)
	}
	if near := nearestWord(formKey(form), known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "add it to the " + glossaryFile + " of the track"
}

// inTitle reports whether the node is part of a heading or of a callout's title.
func inTitle(n ast.Node) bool {
	for ; n != nil; n = n.Parent() {
		if e, ok := n.(*elementNode); n.Kind() == ast.KindHeading || ok && e.title {
			return true
		}
	}
	return false
}

// renderTerm writes a link to the glossary with the definition behind it, which
// style sheets show to those who point at the link or come to it by keyboard.
func renderTerm(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	n := node.(*termNode)
	id := html.EscapeString(n.id)
	var err error
	if entering {
		_, err = fmt.Fprintf(w, `<span class="term"><a href="/glossary#%s" aria-describedby="%s">`, html.EscapeString(n.term.ID), id)
	} else {
		_, err = fmt.Fprintf(w, `</a><span class="term-means" role="tooltip" id="%s">%s</span></span>`, id, html.EscapeString(n.term.Means))
	}
	return ast.WalkContinue, err
}
