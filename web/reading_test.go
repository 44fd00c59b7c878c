package web

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/net/html"

	"drydock/content"
	"drydock/labs"
)

// readingLibrary has terms, a lab's card, a picture to step through and
// articles that are read after others.
func readingLibrary(t *testing.T) *content.Library {
	t.Helper()
	library, err := content.Load(os.DirFS("../content/testdata/library"))
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func newReadingSite(t *testing.T) *testSite {
	site := newSite(t)
	site.library = readingLibrary(t)
	return site
}

// part returns the first element below n that has the class, or nil.
func part(n *html.Node, class string) *html.Node {
	if value, _ := attr(n, "class"); slices.Contains(strings.Fields(value), class) {
		return n
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if found := part(c, class); found != nil {
			return found
		}
	}
	return nil
}

// words are the text of the first element with the class, its spaces as one.
func words(t *testing.T, page, class string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	n := part(doc, class)
	if n == nil {
		t.Fatalf("nothing on the page has the class %s:\n%s", class, page)
	}
	return strings.Join(strings.Fields(textOf(n)), " ")
}

func TestPagesOfReadingAreSound(t *testing.T) {
	site := newReadingSite(t)
	learner, _ := site.learner("ada", 0)
	for name, b := range map[string]*browser{"visitor": site.browser(), "learner": learner} {
		t.Run(name, func(t *testing.T) {
			seen := b.crawl(t, "/")
			for _, path := range []string{"/posts", "/glossary", "/feed.xml", "/tracks/network", "/articles/pod-to-pod", "/labs/init-containers"} {
				if _, ok := seen[path]; !ok {
					t.Errorf("nothing leads to %s", path)
				}
			}
		})
	}
}

func TestGlossary(t *testing.T) {
	b := newReadingSite(t).browser()
	page := b.must(http.StatusOK, b.get("/glossary")).body
	for _, want := range []string{
		`<div id="term-network-namespace">`, `href="#letter-n"`, `also network namespaces, namespace`,
		`Explained in <a href="/articles/namespaces">Namespaces</a>`, `href="/articles/pod-to-pod">From pod to pod</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the glossary does not have %q:\n%s", want, page)
		}
	}
	if strings.Index(page, "term-cni") > strings.Index(page, "term-veth") {
		t.Error("the terms are not in order")
	}
	article := b.must(http.StatusOK, b.get("/articles/pod-to-pod")).body
	if !strings.Contains(article, `href="/glossary#term-veth"`) {
		t.Error("the article does not lead to the glossary")
	}
}

func TestLetterOfATerm(t *testing.T) {
	for term, want := range map[string]string{"kube-proxy": "K", "étalon": "É", "2FA": "#", "/proc": "#"} {
		if got := firstLetter(term); got != want {
			t.Errorf("%s is under %s, want %s", term, got, want)
		}
	}
}

// manyArticles is a library of n articles, a day apart.
func manyArticles(t *testing.T, n int) *content.Library {
	t.Helper()
	files := fstest.MapFS{"k/track.yaml": {Data: []byte("title: Knots & <ropes>\nsummary: S\norder: 1\n")}}
	for i := range n {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i)
		files[fmt.Sprintf("k/a%03d/index.md", i)] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"---\ntitle: Article & no. %d\nsummary: About <it>.\npublished: %s\n---\nBeginning of %d.\n", i, at.Format(time.DateOnly), i)}
	}
	library, err := content.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func TestPostsArePagedByDate(t *testing.T) {
	site := newSite(t)
	site.library = manyArticles(t, 45)
	b := site.browser()
	first := b.must(http.StatusOK, b.get("/posts")).body
	if !strings.Contains(first, "Beginning of 44.") || !strings.Contains(first, "14 February 2026") || strings.Contains(first, "Beginning of 24.") {
		t.Error("the first page is not the twenty newest")
	}
	if !strings.Contains(first, `rel="next" href="/posts?page=2"`) || strings.Contains(first, `rel="prev"`) {
		t.Error("the first page does not lead to the second alone")
	}
	last := b.must(http.StatusOK, b.get("/posts?page=3")).body
	if !strings.Contains(last, "Beginning of 0.") || !strings.Contains(last, "Page 3 of 3") || strings.Contains(last, `rel="next"`) {
		t.Error("the third page is not the last")
	}
	second := b.must(http.StatusOK, b.get("/posts?page=2")).body
	if !strings.Contains(second, `href="/posts"`) || strings.Contains(second, "page=1\"") {
		t.Error("the first page has two addresses")
	}
	for _, wrong := range []string{"0", "4", "-1", "x", "99999999999999999999"} {
		b.must(http.StatusNotFound, b.get("/posts?page="+wrong))
	}
	site.library = &content.Library{}
	if empty := b.must(http.StatusOK, b.get("/posts")).body; !strings.Contains(empty, "Nothing to read yet") {
		t.Error("an empty library has no word")
	}
}

func TestFeed(t *testing.T) {
	site := newSite(t)
	site.library = manyArticles(t, 60)
	b := site.browser()
	if home := b.get("/").body; !strings.Contains(home, `<link rel="alternate" type="application/atom+xml" title="Drydock" href="/feed.xml">`) {
		t.Error("no page names the feed")
	}
	a := b.must(http.StatusOK, b.get("/feed.xml"))
	if got := a.header.Get("Content-Type"); got != "application/atom+xml; charset=utf-8" {
		t.Errorf("the feed is of type %q", got)
	}
	var feed atomFeed
	if err := xml.Unmarshal([]byte(a.body), &feed); err != nil {
		t.Fatal(err)
	}
	if feed.XMLName.Space != "http://www.w3.org/2005/Atom" || feed.ID != site.url+"/feed.xml" || feed.Title == "" || feed.Author.Name == "" {
		t.Errorf("the feed has the head %+v", feed)
	}
	if feed.Updated != "2026-03-01T00:00:00Z" || len(feed.Entries) != feedEntries {
		t.Errorf("the feed is of %s with %d entries", feed.Updated, len(feed.Entries))
	}
	ids := map[string]bool{}
	for i, e := range feed.Entries {
		ids[e.ID] = true
		if _, err := time.Parse(time.RFC3339, e.Updated); err != nil || e.Published == "" || e.Title == "" || e.Summary != "About <it>." || e.Category.Label != "Knots & <ropes>" {
			t.Errorf("entry %d is %+v (%v)", i, e, err)
		}
		if !strings.HasPrefix(e.Link.Href, site.url+"/articles/") {
			t.Errorf("entry %d leads to %q", i, e.Link.Href)
		}
	}
	if len(ids) != len(feed.Entries) || feed.Entries[0].Title != "Article & no. 59" {
		t.Errorf("%d different ids, the first is %q", len(ids), feed.Entries[0].Title)
	}
	b.must(http.StatusOK, b.get(strings.TrimPrefix(feed.Entries[0].Link.Href, site.url)))
	if again := b.do("GET", "/feed.xml", nil, "If-None-Match", a.header.Get("ETag")); again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("asked again with the ETag %q: %d %q", a.header.Get("ETag"), again.status, again.body)
	}
	site.library = manyArticles(t, 61)
	if again := b.do("GET", "/feed.xml", nil, "If-None-Match", a.header.Get("ETag")); again.status != http.StatusOK {
		t.Errorf("after a new article: %d", again.status)
	}
	site.library = &content.Library{}
	if err := xml.Unmarshal([]byte(b.get("/feed.xml").body), &atomFeed{}); err != nil {
		t.Error("without articles:", err)
	}
}

// TestFeedIsOfTheServersOwnAddress: behind a proxy it is not the one of the request.
func TestFeedIsOfTheServersOwnAddress(t *testing.T) {
	feed := newFeed(readingLibrary(t), "https://drydock.example.org")
	for _, address := range []string{feed.ID, feed.Links[0].Href, feed.Links[1].Href, feed.Entries[0].ID, feed.Entries[0].Link.Href} {
		if !strings.HasPrefix(address, "https://drydock.example.org/") {
			t.Errorf("the address %q is not the server's", address)
		}
	}
}

// TestLabInPlace: the card within a text says how its reader stands in the lab.
func TestLabInPlace(t *testing.T) {
	site := newReadingSite(t)
	ada, adas := site.learner("ada", 0)
	visitor := site.browser()
	const path = "/articles/pod-to-pod"
	card := func(b *browser) string {
		t.Helper()
		page := b.must(http.StatusOK, b.get(path)).body
		if n := strings.Count(page, `action="/labs/init-containers/start"`); n > 1 {
			t.Errorf("the lab can be started in %d places of the page", n)
		}
		return words(t, page, "lab-card")
	}
	for range 2 { // the second comes from what is kept for visitors
		if got := card(visitor); !strings.Contains(got, "Sign in to start") || !strings.Contains(got, "Find out who still waits for one.") || strings.Contains(got, "tried") {
			t.Errorf("a visitor's card says %q", got)
		}
		if got := card(ada); !strings.HasPrefix(got, "Do it now · 20 min · beginner Pods that never finish") || !strings.Contains(got, "Not tried yet") || !strings.Contains(got, "Start lab") {
			t.Errorf("the learner's card says %q", got)
		}
	}
	lab, _ := site.labs.Get(labSlug)
	site.attempt("pastattempt1", adas.ID, requested(), ready(), labs.Event{Type: labs.EventEnded})
	if got := card(ada); !strings.Contains(got, fmt.Sprintf("Best 0 of %d", labCard{Lab: lab}.Points())) || strings.Contains(got, "tried") {
		t.Errorf("after an attempt the card says %q", got)
	}
	if got := card(visitor); strings.Contains(got, "Best") {
		t.Errorf("the visitor sees another's score: %q", got)
	}
}

// TestLabInPlaceThatIsNotHere: content from elsewhere may name a lab that this server does not have.
func TestLabInPlaceThatIsNotHere(t *testing.T) {
	site := newSiteOf(t, labFolder("files", filesLab))
	site.library = readingLibrary(t)
	b := site.browser()
	page := b.must(http.StatusOK, b.get("/articles/pod-to-pod")).body
	if strings.Contains(page, "lab-card") || !strings.Contains(page, `Do it now: <a href="/labs/init-containers">`) {
		t.Error("the text about a lab that is not here is gone")
	}
}

func TestRunningLabInPlace(t *testing.T) {
	site := newLabSiteOf(t, labFolder(labSlug, filesLab))
	site.library = readingLibrary(t)
	ada, user := site.learner("ada", 0)
	session, err := site.sessions.Start(t.Context(), user.ID, labSlug)
	if err != nil {
		t.Fatal(err)
	}
	got := words(t, ada.must(http.StatusOK, ada.get("/articles/pod-to-pod")).body, "lab-card")
	if !strings.Contains(got, "Running") || !strings.Contains(got, "Go on with the lab") || strings.Contains(got, "tried") {
		t.Errorf("the card of a running lab says %q", got)
	}
	if page := ada.get("/articles/pod-to-pod").body; !strings.Contains(page, `href="/sessions/`+session.ID()+`"`) {
		t.Error("the card does not lead to the session")
	}
}

func TestWhatIsReadBefore(t *testing.T) {
	site := newReadingSite(t)
	ada, _ := site.learner("ada", 0)
	read := func(b *browser, path string) string {
		t.Helper()
		return words(t, b.must(http.StatusOK, b.get(path)).body, "before")
	}
	if got := read(ada, "/articles/services"); got != "Read first: From pod to pod Not yet Namespaces Not yet" {
		t.Errorf("before services: %q", got)
	}
	if got := read(ada, "/tracks/network"); got != "Read first: Basics Not yet" {
		t.Errorf("before the track: %q", got)
	}
	ada.must(http.StatusNoContent, ada.post("/articles/namespaces/reading", "fraction", "1"))
	if got := read(ada, "/articles/services"); got != "Read first: From pod to pod Not yet Namespaces Read" {
		t.Errorf("before services, with one of two read: %q", got)
	}
	if got := read(ada, "/tracks/network"); got != "Read first: Basics Read" {
		t.Errorf("before the track, when it was read: %q", got)
	}
	visitor := site.browser()
	page := visitor.get("/articles/services").body
	if !strings.Contains(page, `data-read="namespaces" hidden>`) {
		t.Errorf("a visitor's browser is not asked what was read:\n%s", page)
	}
	if page := visitor.get("/articles/namespaces").body; strings.Contains(page, "Read first") {
		t.Error("what comes first has something before it")
	}
}

func TestTimeOfATrack(t *testing.T) {
	site := newSite(t)
	library, err := content.Load(fstest.MapFS{
		"k/track.yaml": {Data: []byte("title: K\nsummary: S\norder: 1\n")},
		"k/a/index.md": {Data: []byte("---\ntitle: A\nsummary: S\npublished: 2026-01-01\nminutes: 50\norder: 1\n---\nText.\n")},
		"k/b/index.md": {Data: []byte("---\ntitle: B\nsummary: S\npublished: 2026-01-01\nminutes: 20\norder: 2\n---\nText.\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	site.library = library
	ada, _ := site.learner("ada", 0)
	page := func(b *browser) string { t.Helper(); return b.must(http.StatusOK, b.get("/tracks/k")).body }
	if got := words(t, page(ada), "kicker"); got != "Track · 2 articles, 1 h 10 min" {
		t.Errorf("the track is of %q", got)
	}
	if got := words(t, page(ada), "track-progress"); got != "0 of 2 read, 1 h 10 min left" {
		t.Errorf("of the track is left: %q", got)
	}
	ada.must(http.StatusNoContent, ada.post("/articles/a/reading", "fraction", "1"))
	ada.must(http.StatusNoContent, ada.post("/articles/b/reading", "fraction", "0.5"))
	if got := words(t, page(ada), "track-progress"); got != "1 of 2 read, 10 min left" {
		t.Errorf("of the track is left: %q", got)
	}
	ada.must(http.StatusNoContent, ada.post("/articles/b/reading", "fraction", "0.95"))
	if got := words(t, page(ada), "track-progress"); got != "All read" {
		t.Errorf("of the track is left: %q", got)
	}
	if got := page(site.browser()); !strings.Contains(got, `data-track-progress="a=50 b=20"`) {
		t.Error("a visitor's browser is not told the articles' times")
	}
}
