package web

import (
	"strings"
	"testing"

	"drydock/content"
	"drydock/content/live"
)

// Those who teach see on every page what is wrong with the articles; learners
// and visitors do not, and all of them read the last good version.
func TestAuthorsSeeProblemsOfTheArticles(t *testing.T) {
	site := newSite(t)
	site.trouble = live.Trouble{Problems: []content.Problem{{File: "linux/pipes/index.md", Line: 7, Msg: "HTML is <b>not</b> allowed"}}, More: 3}
	teacher := site.instructor()
	learner, _ := site.learner("ada", 0)
	visitor := site.browser()
	for _, path := range []string{"/", "/articles", "/articles/pipes", "/tracks/linux", "/labs", "/teach", "/account", "/no-such-page"} {
		page := teacher.get(path)
		checkHTML(t, path, page.body)
		text := textOfPage(t, page.body)
		for _, want := range []string{"linux/pipes/index.md:7", "HTML is <b>not</b> allowed", "And 3 more", "last good version"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q on the page:\n%s", path, want, text)
			}
		}
	}
	for _, path := range []string{"/", "/articles/pipes"} {
		for name, b := range map[string]*browser{"a learner": learner, "a visitor": visitor} {
			if body := b.must(200, b.get(path)).body; strings.Contains(body, "pipes/index.md") || strings.Contains(body, authorsSheet) {
				t.Errorf("%s is told at %s", name, path)
			}
		}
	}
	site.trouble = live.Trouble{Other: "there is no track here", Served: true}
	if text := textOfPage(t, teacher.get("/").body); !strings.Contains(text, "there is no track here") || !strings.Contains(text, "Readers see this version") {
		t.Errorf("trouble without a file: %s", text)
	}
	site.trouble = live.Trouble{}
	if body := teacher.get("/").body; strings.Contains(body, "have problems") {
		t.Error("it is told after it was mended")
	}
}

// With --dev everybody is told.
func TestEverybodySeesProblemsInDevelopment(t *testing.T) {
	found := live.Trouble{Other: "there is no track here"}
	s := &server{Config: Config{Dev: true, Trouble: func() live.Trouble { return found }}}
	if got := s.troubleFor(Page{}); !got.Any() {
		t.Error("a visitor is not told")
	}
	s.Dev = false
	if got := s.troubleFor(Page{}); got.Any() {
		t.Error("a visitor is told")
	}
}
