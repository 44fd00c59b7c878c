package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/html"
)

// htmlCheck says what is wrong with a page; see [sound].
type htmlCheck func(doc *html.Node) error

// sound is what holds for every page of the site.
var sound = []htmlCheck{
	one("h1"), one("title"), one("main"), hasText("title"), hasText("h1"),
	noInlineCode, uniqueIDs, controlsLabelled, linksNamed, fragmentsExist, languageSet, skipLinkFirst, noHeadingLeftOut, imagesDescribed,
}

// checkPage runs all checks over a page.
func checkPage(page string, checks ...htmlCheck) error {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return err
	}
	var errs []error
	for _, check := range checks {
		errs = append(errs, check(doc))
	}
	return errors.Join(errs...)
}

// checkHTML fails the test when the page at path is not sound.
func checkHTML(t *testing.T, path, page string) {
	t.Helper()
	if err := checkPage(page, sound...); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func elements(doc *html.Node, names ...string) []*html.Node {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && (len(names) == 0 || slices.Contains(names, n.Data)) {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func one(name string) htmlCheck {
	return func(doc *html.Node) error {
		n := 0
		for _, e := range elements(doc, name) {
			if e.Namespace == "" { // an svg has a title of its own
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d elements <%s>, want one", n, name)
		}
		return nil
	}
}

func hasText(name string) htmlCheck {
	return func(doc *html.Node) error {
		for _, n := range elements(doc, name) {
			if n.Namespace == "" && textOf(n) == "" {
				return fmt.Errorf("<%s> is empty", name)
			}
		}
		return nil
	}
}

// noInlineCode: the content policy would block it.
func noInlineCode(doc *html.Node) error {
	var errs []error
	for _, n := range elements(doc) {
		if n.Data == "style" || n.Data == "script" && n.FirstChild != nil {
			errs = append(errs, fmt.Errorf("inline <%s>", n.Data))
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(strings.TrimSpace(a.Val), "javascript:") {
				errs = append(errs, fmt.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val))
			}
		}
	}
	return errors.Join(errs...)
}

func uniqueIDs(doc *html.Node) error {
	var errs []error
	seen := map[string]bool{}
	for _, n := range elements(doc) {
		if id, ok := attr(n, "id"); ok {
			if seen[id] || id == "" {
				errs = append(errs, fmt.Errorf("id %q is there twice or empty", id))
			}
			seen[id] = true
		}
	}
	return errors.Join(errs...)
}

func controlsLabelled(doc *html.Node) error {
	labelled := map[string]bool{}
	for _, n := range elements(doc, "label") {
		if id, ok := attr(n, "for"); ok && textOf(n) != "" {
			labelled[id] = true
		}
	}
	var errs []error
	for _, n := range elements(doc, "input", "select", "textarea") {
		id, _ := attr(n, "id")
		kind, _ := attr(n, "type")
		name, _ := attr(n, "aria-label")
		if kind != "hidden" && name == "" && !labelled[id] && !inside(n, "label") {
			errs = append(errs, fmt.Errorf("<%s id=%q> has no label", n.Data, id))
		}
	}
	return errors.Join(errs...)
}

func inside(n *html.Node, name string) bool {
	for a := range n.Ancestors() {
		if a.Data == name {
			return true
		}
	}
	return false
}

// linksNamed: links and buttons say what they do.
func linksNamed(doc *html.Node) error {
	var errs []error
	for _, n := range elements(doc, "a", "button") {
		label, _ := attr(n, "aria-label")
		if textOf(n) == "" && label == "" {
			errs = append(errs, fmt.Errorf("a <%s> without a name: %v", n.Data, n.Attr))
		}
	}
	return errors.Join(errs...)
}

// fragmentsExist: what #links, labels and ARIA point at is on the page.
func fragmentsExist(doc *html.Node) error {
	ids := map[string]bool{}
	for _, n := range elements(doc) {
		if id, ok := attr(n, "id"); ok {
			ids[id] = true
		}
	}
	var errs []error
	for _, n := range elements(doc) {
		var wanted []string
		for _, name := range []string{"for", "aria-labelledby", "aria-describedby", "aria-controls"} {
			list, _ := attr(n, name)
			wanted = append(wanted, strings.Fields(list)...)
		}
		if href, _ := attr(n, "href"); strings.HasPrefix(href, "#") && href != "#" {
			wanted = append(wanted, href[1:])
		}
		for _, id := range wanted {
			if !ids[id] {
				errs = append(errs, fmt.Errorf("<%s> points at %q, which is not there", n.Data, id))
			}
		}
	}
	return errors.Join(errs...)
}

func languageSet(doc *html.Node) error {
	if lang, _ := attr(elements(doc, "html")[0], "lang"); lang != "en" {
		return fmt.Errorf("lang is %q", lang)
	}
	return nil
}

func skipLinkFirst(doc *html.Node) error {
	links := elements(elements(doc, "body")[0], "a", "button", "input")
	if href, _ := attr(links[0], "href"); href != "#main" {
		return fmt.Errorf("the first link leads to %q, not to the content", href)
	}
	return nil
}

func noHeadingLeftOut(doc *html.Node) error {
	level := 0
	for _, n := range elements(doc, "h1", "h2", "h3", "h4", "h5", "h6") {
		next := int(n.Data[1] - '0')
		if next > level+1 {
			return fmt.Errorf("<%s> %q follows a heading of level %d", n.Data, textOf(n), level)
		}
		level = next
	}
	return nil
}

func imagesDescribed(doc *html.Node) error {
	var errs []error
	for _, n := range elements(doc, "img", "svg") {
		_, alt := attr(n, "alt")
		_, named := attr(n, "aria-labelledby")
		_, labelled := attr(n, "aria-label")
		hidden, _ := attr(n, "aria-hidden")
		if !alt && !named && !labelled && hidden != "true" {
			errs = append(errs, fmt.Errorf("a picture without a description: %v", n.Attr))
		}
	}
	return errors.Join(errs...)
}

// addresses are what a page links to, loads or sends forms to by GET, on this site.
func addresses(page string) []string {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil
	}
	var found []string
	for _, n := range elements(doc, "a", "link", "script", "img") {
		for _, name := range []string{"href", "src"} {
			to, ok := attr(n, name)
			if u, err := url.Parse(to); ok && err == nil && u.Host == "" && u.Path != "" && !strings.HasPrefix(to, "data:") {
				u.Fragment = ""
				found = append(found, u.String())
			}
		}
	}
	return found
}

// crawl follows every link of the site from start, and checks every page.
func (b *browser) crawl(t *testing.T, start string, leaveOut ...string) map[string]answer {
	t.Helper()
	seen := map[string]answer{}
	queue := []string{start}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if _, done := seen[path]; done || slices.ContainsFunc(leaveOut, func(p string) bool { return strings.HasPrefix(path, p) }) {
			continue
		}
		a := b.get(path)
		seen[path] = a
		switch {
		case a.status == http.StatusSeeOther:
			queue = append(queue, a.header.Get("Location"))
		case a.status != http.StatusOK:
			t.Errorf("%s: status %d", path, a.status)
		case strings.HasPrefix(a.header.Get("Content-Type"), "text/html"):
			checkHTML(t, path, a.body)
			queue = append(queue, addresses(a.body)...)
		}
	}
	return seen
}

// lockedWriter lets the server's goroutines and a test share a log.
type lockedWriter struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}

func textOfPage(t *testing.T, page string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return textOf(doc)
}
