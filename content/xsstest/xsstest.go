// Package xsstest is a corpus of texts that try to run a script in the page
// that they are shown in, and a check of what a page may be made of. It is for
// tests, and imports nothing of Drydock.
//
// The corpus is in testdata, a file for each class. Payloads stand between lines
// of two percent signs; \xNN is a byte, and \\ a back slash. What runs calls alert.
package xsstest

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

//go:embed testdata
var corpus embed.FS

// Class is a kind of payload.
type Class struct {
	Name     string
	Payloads []string
}

// Classes returns the corpus.
func Classes() ([]Class, error) {
	files, err := corpus.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	classes := make([]Class, len(files))
	for i, f := range files {
		text, err := corpus.ReadFile(path.Join("testdata", f.Name()))
		if err != nil {
			return nil, err
		}
		parts := strings.Split(string(text), "%%\n")[1:] // the first says what the class is
		classes[i].Name = strings.TrimSuffix(f.Name(), ".txt")
		for _, part := range parts {
			classes[i].Payloads = append(classes[i].Payloads, unescape(strings.TrimSuffix(part, "\n")))
		}
	}
	return classes, nil
}

// Payloads returns those of one class; nil when there is no such class.
func Payloads(class string) []string {
	classes, err := Classes()
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(classes, func(c Class) bool { return c.Name == class })
	if i < 0 {
		return nil
	}
	return classes[i].Payloads
}

func unescape(text string) string {
	return regexp.MustCompile(`\\(\\|x[0-9A-Fa-f]{2})`).ReplaceAllStringFunc(text, func(escape string) string {
		if escape == `\\` {
			return `\`
		}
		value, err := strconv.ParseUint(escape[2:], 16, 8)
		if err != nil {
			return escape
		}
		return string([]byte{byte(value)})
	})
}

// elements that a rendered text may have, with the attributes that are special to each.
func elements() map[string][]string {
	allowed := map[string][]string{
		"a": {"href", "rel", "title"}, "img": {"src", "alt", "width", "height", "loading", "decoding"}, "ol": {"start", "type"}, "li": {"value"},
		"th": {"align"}, "td": {"align"},
	}
	for _, name := range strings.Fields(`html head body p h1 h2 h3 h4 h5 h6 ul table thead tbody tr dl dt dd blockquote
		pre code span div em strong del hr br sup aside figure figcaption details summary section mark`) {
		allowed[name] = nil
	}
	return allowed
}

// drawn are the elements and attributes that a drawing may have.
const (
	drawnElements   = " svg g path rect circle ellipse line polyline polygon text tspan defs marker title desc "
	drawnAttributes = ` viewBox width height x y x1 y1 x2 y2 dx dy cx cy r rx ry d points transform fill fill-opacity fill-rule stroke stroke-width
		stroke-dasharray stroke-linecap stroke-linejoin stroke-opacity opacity font-family font-size font-style font-weight text-anchor
		dominant-baseline alignment-baseline textLength lengthAdjust marker-start marker-mid marker-end markerWidth markerHeight markerUnits refX refY
		orient preserveAspectRatio `
)

// everywhere are the attributes that any element may have.
const everywhere = " class id role tabindex aria-hidden aria-label aria-labelledby aria-describedby data-lang data-run data-where" +
	" data-quiz data-kind data-item data-order data-several data-steps "

// Check parses rendered HTML as a browser does, and says what must not be there:
// it knows what may be, and refuses all else.
func Check(page string) error {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return fmt.Errorf("not HTML: %w", err)
	}
	allowed := elements()
	var errs []error
	for n := range root.Descendants() {
		switch {
		case n.Type == html.CommentNode || n.Type == html.DoctypeNode:
			errs = append(errs, fmt.Errorf("there is a comment or a doctype: %q", n.Data))
		case n.Type == html.ElementNode:
			errs = append(errs, checkElement(n, allowed))
		}
	}
	return errors.Join(errs...)
}

func checkElement(n *html.Node, allowed map[string][]string) error {
	special, ok := allowed[n.Data]
	if n.Namespace == "svg" {
		special, ok = strings.Fields(drawnAttributes), strings.Contains(drawnElements, " "+n.Data+" ")
	}
	if !ok || n.Namespace != "" && n.Namespace != "svg" {
		return fmt.Errorf("there is a <%s>", n.Data)
	}
	var errs []error
	for _, a := range n.Attr {
		known := strings.Contains(everywhere, " "+a.Key+" ") || slices.Contains(special, a.Key)
		switch {
		case !known || a.Namespace != "":
			errs = append(errs, fmt.Errorf("<%s> has the attribute %s=%q", n.Data, a.Key, a.Val))
		case a.Key == "href" || a.Key == "src":
			errs = append(errs, checkAddress(n.Data, a.Val))
		case n.Namespace == "svg" && strings.Contains(a.Val, "url(") && !regexp.MustCompile(`^url\(#[\w.-]+\)$`).MatchString(a.Val):
			errs = append(errs, fmt.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val))
		}
	}
	return errors.Join(errs...)
}

// checkAddress wants what leads to this site or begins with one of three
// schemes, after a browser has dropped what it drops.
func checkAddress(element, address string) error {
	dropped := strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, strings.TrimLeftFunc(address, func(r rune) bool { return r <= ' ' }))
	lower := strings.ToLower(dropped)
	for _, scheme := range []string{"http://", "https://", "mailto:"} {
		if element == "a" && strings.HasPrefix(lower, scheme) {
			return nil
		}
	}
	outside := strings.HasPrefix(dropped, "//") || strings.HasPrefix(dropped, `/\`) || strings.HasPrefix(dropped, `\`)
	if !outside && (strings.HasPrefix(dropped, "/") || strings.HasPrefix(dropped, "#")) {
		return nil
	}
	return fmt.Errorf("<%s> leads to %q", element, address)
}
