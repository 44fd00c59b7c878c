package web

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestDraft: who sees a lab that nobody has proven sees that it is none of the proven ones.
func TestDraft(t *testing.T) {
	const imported = "imported: {from: killercoda, source: flags/one}\nsetup: "
	folder := labFolder("files", filesLab)
	for name, file := range labFolder("draft", strings.Replace(filesLab, "setup: ", imported, 1)) {
		if !strings.HasPrefix(name, "draft/wrong/") && name != "draft/solutions/echo.sh" {
			folder[name] = file
		}
	}
	for name, file := range labFolder("mended", strings.Replace(filesLab, "setup: ", imported, 1)) {
		folder[name] = file
	}
	site := newLabSiteOf(t, fstest.MapFS(folder))
	instructor := site.instructor()
	cohort := site.cohort("Autumn")
	site.give(cohort.ID, "draft", time.Time{}, time.Time{})
	site.cohort("Winter") // has nothing yet, and can be given all
	learner, _ := site.learner("ada", cohort.ID)
	const badge = `<span class="badge badge-warn">Draft</span>`
	for _, path := range []string{"/labs", "/"} {
		if page := learner.must(http.StatusOK, learner.get(path)).body; strings.Count(page, badge) != map[string]int{"/labs": 1, "/": 2}[path] {
			t.Errorf("%s marks %d labs as drafts:\n%s", path, strings.Count(page, badge), page)
		}
	}
	page := func(b *browser, slug string) string { return b.must(http.StatusOK, b.get("/labs/"+slug)).body }
	for name, want := range map[string]struct {
		page     string
		has, not []string
	}{
		"visitor":    {page(site.browser(), "draft"), []string{draftTitle, "a scenario of Killercoda", "tell your instructor"}, []string{"drydock lab test"}},
		"learner":    {page(learner, "draft"), []string{draftTitle, "tell your instructor"}, []string{"drydock lab test"}},
		"instructor": {page(instructor, "draft"), []string{draftTitle, "It lacks 1 of 2 solutions and a wrong fix", "drydock lab test draft"}, []string{"tell your instructor"}},
		"our own":    {page(learner, "files"), nil, []string{draftTitle}},
		"mended":     {page(learner, "mended"), nil, []string{draftTitle}},
	} {
		for _, text := range want.has {
			if !strings.Contains(want.page, text) {
				t.Errorf("%s: the page does not say %q", name, text)
			}
		}
		for _, text := range want.not {
			if strings.Contains(want.page, text) {
				t.Errorf("%s: the page says %q", name, text)
			}
		}
	}
	if cohorts := instructor.must(http.StatusOK, instructor.get("/teach/cohorts")).body; strings.Count(cohorts, "(a draft)") != 1 {
		t.Errorf("the list of labs to give marks %d drafts", strings.Count(cohorts, "(a draft)"))
	}
}

func TestPlatformName(t *testing.T) {
	for format, want := range map[string]string{"killercoda": "Killercoda", "iximiuz": "iximiuz Labs", "instruqt": "Instruqt", "educates": "Educates", "other": "other", "": ""} {
		if got := platformName(format); got != want {
			t.Errorf("%q is called %q, want %q", format, got, want)
		}
	}
}
