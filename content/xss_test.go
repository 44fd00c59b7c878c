package content_test

import (
	"fmt"
	"html"
	"os"
	"strings"
	"testing"

	"drydock/content"
	"drydock/content/xsstest"
)

// hostile returns the options of a text and the files beside it.
func hostile(t testing.TB, drawing string) content.Options {
	t.Helper()
	dot, err := os.ReadFile("testdata/dot.png")
	if err != nil {
		t.Fatal(err)
	}
	beside := files{
		"ok.svg": `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><desc>d</desc><rect width="1" height="1"/></svg>`,
		"ok.png": string(dot), "hostile.svg": drawing,
	}
	return content.Options{FigureBase: "/x/", IDPrefix: "readme-", Open: beside.open}
}

// asText is the Markdown that a payload of the class stands in, and the drawing
// beside it.
func asText(class, payload string) (text, drawing string) {
	if class == "drawings" {
		return "![A drawing](hostile.svg)", payload
	}
	return payload, ""
}

// Whatever of the corpus is not refused is harmless: only known elements,
// attributes and schemes come out of it.
func TestHostileTextsAreHarmless(t *testing.T) {
	classes, err := xsstest.Classes()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, class := range classes {
		t.Run(class.Name, func(t *testing.T) {
			refused := 0
			for _, payload := range class.Payloads {
				text, drawing := asText(class.Name, payload)
				doc, err := content.Render("x.md", []byte(text), hostile(t, drawing))
				switch {
				case err != nil && len(content.Problems(err)) == 0:
					t.Errorf("%q: %v", payload, err)
				case err != nil && doc.HTML != "":
					t.Errorf("%q is refused and rendered", payload)
				case err != nil:
					refused++
				default:
					if err := xsstest.Check(doc.HTML); err != nil {
						t.Errorf("%q: %v\n%s", payload, err, doc.HTML)
					}
				}
			}
			t.Logf("%d of %d are refused", refused, len(class.Payloads))
			total += len(class.Payloads)
		})
	}
	if total < 500 {
		t.Errorf("the corpus has only %d payloads", total)
	}
}

// The check notices what would be harmful: payloads as they are, and texts in
// the places where a renderer forgets to escape.
func TestTheCheckOfHostileTexts(t *testing.T) {
	for _, class := range []string{"scripts", "handlers"} {
		missed := 0
		for _, payload := range xsstest.Payloads(class) {
			if strings.Contains(payload, "<") && xsstest.Check(payload) == nil {
				missed++
				t.Logf("as text only: %q", payload)
			}
		}
		if missed > 2 { // such as <\x00script>, which no browser takes for an element
			t.Errorf("%s: %d pass as they are", class, missed)
		}
	}
	for _, page := range []string{
		`<a href="javascript:alert(1)">x</a>`, `<a href="java` + "\t" + `script:alert(1)">x</a>`, `<a href=" javascript:alert(1)">x</a>`, `<a href="//example.org">x</a>`, `<a href="/\example.org">x</a>`,
		`<p style="color:red">x</p>`, `<p onclick="x">x</p>`, `<img src="https://example.org/x.png" alt="">`, `<svg><use href="#x"/></svg>`,
		`<svg><rect fill="url(https://example.org)"/></svg>`, `<math></math>`, `<!-- x -->`, `<input>`, `<form></form>`,
	} {
		if xsstest.Check(page) == nil {
			t.Errorf("%s passes", page)
		}
	}
	for _, page := range []string{`<a href="/articles/pod">x</a>`, `<a href="#x">x</a>`, `<a href="https://example.org">x</a>`, `<p>` + html.EscapeString(`<script>alert(1)</script>`) + `</p>`} {
		if err := xsstest.Check(page); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
}

// All that is rendered of the articles that come with Drydock passes the same check.
func TestEmbeddedArticlesAreHarmless(t *testing.T) {
	for _, a := range loaded(t, content.Embedded()).Articles {
		pieces, err := a.Pieces() // without the marks around the cards of labs, which are comments
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range pieces {
			if err := xsstest.Check(piece.HTML); err != nil {
				t.Errorf("%s: %v", a.Slug, err)
			}
		}
	}
}

// A payload in the front matter is text like any other, and is kept as it is:
// the pages escape it.
func TestHostileFrontMatterIsText(t *testing.T) {
	for i, payload := range xsstest.Payloads("front") {
		quoted := "'" + strings.ReplaceAll(payload, "'", "''") + "'"
		src := fmt.Sprintf("---\ntitle: %s\nsummary: %s\npublished: 2026-11-22\n---\nText.\n", quoted, quoted)
		l, err := content.Load(library(map[string]string{"kube/pod/index.md": src}))
		if err != nil {
			if len(content.Problems(err)) == 0 {
				t.Errorf("%d: %v", i, err)
			}
			continue // a control character, which YAML refuses
		}
		if a := article(t, l, "pod"); a.Title != payload || a.Summary != payload {
			t.Errorf("%q became %q and %q", payload, a.Title, a.Summary)
		}
	}
}
