package web

import (
	"net/http"
	"strings"
	"testing"
)

// Who has read nothing begins with the first track, whatever was written last.
func TestNewReadersBeginWithTheFirstTrack(t *testing.T) {
	site := newSite(t)
	files := testArticles()
	files["kubernetes/track.yaml"].Data = []byte("title: Kubernetes\nsummary: Clusters.\norder: 3\n")
	site.library = loadArticles(t, files)
	b := site.browser()
	a := b.must(http.StatusOK, b.get("/"))
	if want := `<a class="button" href="/articles/pipes">Start reading</a>`; !strings.Contains(a.body, want) {
		t.Errorf("the home page has no %s", want)
	}
	if newest := site.library.Articles[0].Slug; newest == "pipes" {
		t.Error("the first article is the newest as well: this test tells nothing")
	}
}
