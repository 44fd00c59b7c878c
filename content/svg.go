package content

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// maxSVG is ten times the largest diagram that can still be read: it stands
// in the page itself.
const maxSVG = 256 << 10

// svgNamespace is what the elements of a drawing belong to.
const svgNamespace = "http://www.w3.org/2000/svg"

// svgElement says whether a drawing may have the element: nothing that runs,
// loads or embeds. What is below title and desc of the whole drawing is replaced.
func svgElement(name string) bool {
	switch name {
	case "svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "defs", "marker", "title", "desc":
		return true
	}
	return false
}

// svgAttribute says whether an element may have the attribute. There is no style
// (a strict content security policy ignores it), no on…, and no address.
func svgAttribute(name string) bool {
	switch name {
	case "class", "id", "viewBox", "width", "height", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "cx", "cy", "r", "rx", "ry", "d", "points", "transform",
		"fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity", "opacity",
		"font-family", "font-size", "font-style", "font-weight", "text-anchor", "dominant-baseline", "alignment-baseline", "textLength", "lengthAdjust",
		"marker-start", "marker-mid", "marker-end", "markerWidth", "markerHeight", "markerUnits", "refX", "refY", "orient", "preserveAspectRatio",
		"role", "aria-labelledby", "aria-describedby":
		return true
	}
	return false
}

// drawing is an SVG as it is put into a page.
type drawing struct {
	html   string
	steps  []int  // those that elements of it belong to
	nested string // a step's class inside an element of another; usually none
}

// inlineSVG returns the drawing as an element for the page: checked against
// what is allowed, its ids with the prefix, named alt. One made by hand has to
// keep more rules.
func inlineSVG(src []byte, alt, prefix string, byHand bool) (*drawing, error) {
	if len(src) > maxSVG {
		return nil, fmt.Errorf("this drawing has %d KB, and at most %d are allowed: make it simpler", len(src)>>10, maxSVG>>10)
	}
	w := svgWriter{prefix: prefix, alt: alt, byHand: byHand, described: bytes.Contains(src, []byte("<desc"))}
	w.out.Grow(len(src) + len(src)/8) // prefixes make it longer
	decoder := xml.NewDecoder(bytes.NewReader(src))
	for {
		token, err := decoder.RawToken() // twice as fast as Token; what that would check, start and end do
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the drawing: %w", err)
		}
		if err := w.token(token); err != nil {
			return nil, err
		}
	}
	switch {
	case !w.rootSeen:
		return nil, errors.New("this drawing has no <svg> element")
	case len(w.open) > 0:
		return nil, fmt.Errorf("the element <%s> of this drawing does not end", w.open[len(w.open)-1])
	}
	if byHand && (!w.titled || !w.desc) {
		return nil, errors.New("it begins with its <title> and its <desc>, for people who cannot see it")
	}
	if err := checkRoot(w.root); byHand && err != nil {
		return nil, err
	}
	slices.Sort(w.steps)
	return &drawing{html: w.out.String(), steps: slices.Compact(w.steps), nested: w.nested}, nil
}

// svgWriter copies a drawing token by token.
type svgWriter struct {
	out         strings.Builder
	prefix, alt string
	byHand      bool
	root        xml.StartElement
	rootSeen    bool
	open        []string
	steps       []int  // of the elements so far
	inStep      int    // depth of the element that belongs to a step; 0 outside
	nested      string // see drawing
	skipping    int    // depth inside the root's own title, which alt replaces
	described   bool   // the source has a description of the whole
	desc        bool   // and it was seen
	titled      bool   // so was a title
}

func (w *svgWriter) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return w.start(t)
	case xml.EndElement:
		return w.end(t)
	case xml.CharData:
		if w.skipping == 0 && len(w.open) > 0 && (len(bytes.TrimSpace(t)) > 0 || w.inText()) {
			w.out.WriteString(html.EscapeString(string(t)))
		}
	case xml.Directive:
		return errors.New("a drawing must not have a <!DOCTYPE> or <!ENTITY>")
	}
	return nil // comments and <?xml …?> are dropped
}

func (w *svgWriter) inText() bool {
	last := w.open[len(w.open)-1]
	return last == "text" || last == "tspan"
}

func (w *svgWriter) start(t xml.StartElement) error {
	name := t.Name.Local
	if t.Name.Space != "" || !svgElement(name) { // the space is a prefix: <svg:rect>
		return fmt.Errorf("a drawing must not have the element <%s>: render it from Mermaid, or export it as a plain drawing", name)
	}
	if root := len(w.open) == 0; root {
		if name != "svg" || w.rootSeen {
			return errors.New("a drawing is one <svg> element")
		}
		w.rootSeen = true
	} else if name == "svg" {
		return errors.New("a drawing must not have a drawing in it")
	}
	w.open = append(w.open, name)
	if w.skipping > 0 || len(w.open) == 2 && name == "title" {
		w.titled = true
		w.skipping++
		return nil
	}
	if len(w.open) == 2 && name == "desc" {
		if w.desc {
			return errors.New("a drawing has one description")
		}
		w.desc = true
		fmt.Fprintf(&w.out, `<desc id="%sdesc">`, w.prefix)
		return nil
	}
	w.write("<", name)
	if err := errors.Join(w.attributes(t.Attr), w.look(t)); err != nil {
		return fmt.Errorf("element <%s>: %w", name, err)
	}
	w.out.WriteString(">")
	if len(w.open) == 1 {
		fmt.Fprintf(&w.out, `<title id="%stitle">%s</title>`, w.prefix, html.EscapeString(w.alt))
	}
	return nil
}

// look checks the classes and colours of an element, and notes its steps.
func (w *svgWriter) look(t xml.StartElement) error {
	if root := len(w.open) == 1; root {
		w.root = t
		return nil // its class is ours, and its size is looked at in the end
	}
	if w.byHand {
		if err := checkHandDrawn(t); err != nil {
			return err
		}
	}
	inside := w.inStep
	for _, class := range strings.Fields(attribute(t, "class")) {
		if err := checkClass(class); err != nil {
			return err
		}
		if step, ok := stepOf(class); ok {
			w.steps = append(w.steps, step)
			if inside > 0 {
				w.nested = class
			} else {
				w.inStep = len(w.open)
			}
		}
	}
	return nil
}

func (w *svgWriter) end(t xml.EndElement) error {
	if len(w.open) == 0 || t.Name.Space != "" || w.open[len(w.open)-1] != t.Name.Local {
		return fmt.Errorf("</%s> ends an element of this drawing that did not begin", t.Name.Local)
	}
	if w.inStep == len(w.open) {
		w.inStep = 0
	}
	w.open = w.open[:len(w.open)-1]
	if w.skipping > 0 {
		w.skipping--
		return nil
	}
	w.write("</", t.Name.Local, ">")
	return nil
}

// write joins nothing first: a library has a million such pieces.
func (w *svgWriter) write(pieces ...string) {
	for _, piece := range pieces {
		w.out.WriteString(piece)
	}
}

func (w *svgWriter) attributes(attributes []xml.Attr) error {
	root := len(w.open) == 1
	for _, a := range attributes {
		name := a.Name.Local
		if a.Name.Space == "" && name == "xmlns" && a.Value == svgNamespace || a.Name.Space == "xmlns" {
			continue
		}
		if a.Name.Space != "" || !svgAttribute(name) {
			return fmt.Errorf("the attribute %s is not allowed", name)
		}
		if name == "role" && !root || strings.HasPrefix(name, "aria-") && !root {
			return fmt.Errorf("the attribute %s is only for the whole drawing", name)
		}
		if root && (name == "class" || name == "id" || name == "role" || strings.HasPrefix(name, "aria-")) {
			continue // ours
		}
		value, err := w.value(name, a.Value)
		if err != nil {
			return err
		}
		w.write(" ", name, `="`, html.EscapeString(value), `"`)
	}
	if root { // tabindex: on a narrow screen a wide drawing scrolls, and without it only a finger could
		w.defaults(attributes)
		fmt.Fprintf(&w.out, ` class="diagram" tabindex="0" role="img" aria-labelledby="%stitle"`, w.prefix)
		if w.described {
			fmt.Fprintf(&w.out, ` aria-describedby="%sdesc"`, w.prefix)
		}
	}
	return nil
}

// defaults writes what a drawing made by hand may leave out: its own size, so
// that it does not grow to fill the column, and the colour of the page's text,
// where black would vanish on a dark page.
func (w *svgWriter) defaults(attributes []xml.Attr) {
	if !w.byHand {
		return
	}
	root := xml.StartElement{Attr: attributes}
	box := viewBox(root)
	if len(box) == 4 && attribute(root, "width") == "" && attribute(root, "height") == "" {
		fmt.Fprintf(&w.out, ` width="%s" height="%s"`, html.EscapeString(box[2]), html.EscapeString(box[3]))
	}
	if attribute(root, "fill") == "" {
		w.out.WriteString(` fill="currentColor"`)
	}
}

// value checks an attribute's value and gives ids and references to them the
// prefix, so that two drawings of one page keep apart.
func (w *svgWriter) value(name, value string) (string, error) {
	if name == "id" {
		return w.prefix + value, nil
	}
	if !strings.Contains(value, "url(") {
		if strings.ContainsRune(value, '\\') || strings.ContainsRune(value, ':') && strings.Contains(strings.ToLower(value), "script:") {
			return "", fmt.Errorf("the value %q of %s is not allowed", value, name)
		}
		return value, nil
	}
	id, ok := strings.CutPrefix(value, "url(#")
	id, closed := strings.CutSuffix(id, ")")
	if !ok || !closed || !validID(id) {
		return "", fmt.Errorf("%s=%q may only name something in the drawing", name, value)
	}
	return "url(#" + w.prefix + id + ")", nil
}
