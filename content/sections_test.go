package content_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"drydock/content"
)

// What a search looks through is all that a page says, under the heading that
// stands above it there.
func TestSections(t *testing.T) {
	src, err := os.ReadFile("testdata/sections/text.md")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := content.Render("sections.md", src, content.Options{
		FigureBase: "/articles/everything/",
		Open:       func(name string) ([]byte, error) { return os.ReadFile("testdata/" + name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		id, title, text, code string
	}{
		{"", "", "Plain text with slant, weight, code, gone & an entity: © — it costs < 5. It goes on.", ""},
		{"here", "A heading", "A link, one here, one inside, www.example.org, https://example.org/x, and me@example.org. A file.\ndone\nnot done\nname\nvalue\na\n1\nTerm\nWhat it means.", ""},
		{"code-with-a-name", "Code with a name", "This deletes the volume\nThere is no way back.\nReally.\nA note.\nA quotation.\nTwo boxes\nBoxes & arrows\nA dot",
			"kubectl get pods -n shop\n\nNAME   READY\nweb    0/1\n\nkind: Pod # a comment"},
		{"fn:1", "Footnotes", "For a reason.", ""},
	}
	if len(doc.Sections) != len(want) {
		t.Fatalf("%d sections, want %d: %+v", len(doc.Sections), len(want), doc.Sections)
	}
	for i, w := range want {
		got := doc.Sections[i]
		if got.ID != w.id || got.Title != w.title || got.Text != w.text || got.Code != w.code {
			t.Errorf("section %d is\n%q %q\n%q\n%q\nwant\n%q %q\n%q\n%q", i, got.ID, got.Title, got.Text, got.Code, w.id, w.title, w.text, w.code)
		}
	}
}

// Of the articles that come with Drydock, each section leads to a place that is on the page.
func TestSectionsOfEmbeddedArticles(t *testing.T) {
	library, err := content.Load(content.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range library.Articles {
		headings := 0
		html, err := a.HTML()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range a.Sections {
			if s.ID != "" && !strings.Contains(html, ` id="`+s.ID+`"`) {
				t.Errorf("%s has no place #%s", a.Slug, s.ID)
			}
			if slices.Contains(a.Contents, s.Heading) {
				headings++
			}
		}
		if headings != len(a.Contents) {
			t.Errorf("%s: %d of %d headings begin a section", a.Slug, headings, len(a.Contents))
		}
	}
}
