package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"drydock/content"
	"drydock/labs/catalogue"
	"drydock/labs/terminaltest"

	"github.com/chromedp/chromedp/kb"
)

// searched is the page of results, once there is an index.
func (b *browser) searched(query string) answer {
	b.t.Helper()
	var a answer
	terminaltest.Eventually(b.t, "the pages can be searched", func() bool {
		a = b.must(http.StatusOK, b.get("/search?"+query))
		return !strings.Contains(a.body, "being prepared")
	})
	return a
}

func TestSearchPage(t *testing.T) {
	site := newSite(t)
	b := site.browser()
	for _, c := range []struct {
		query string
		shows []string // in the page's text, one after the other
		has   []string // in its source
		not   []string
	}{
		{"", []string{"Newest articles", "Pipes", "Tracks", "Kubernetes"}, []string{`href="/tracks/linux"`, "autofocus"}, []string{"found"}},
		{"q=services", []string{"3 pages found", "Article · Kubernetes", "Services", "Lab · Kubernetes"}, []string{`<h2><a href="/articles/services" data-hit><mark>Services</mark></a></h2>`}, nil},
		{"q=one+part", []string{"4 pages found", "›", "One", "part"}, []string{`href="/articles/services#part"`}, nil},
		{"q=kubectl&kind=article&track=linux", []string{"Everything 1", "Articles 1", "All tracks 3", "Kubernetes 2", "Linux 1", "1 page found"},
			[]string{`type="hidden" name="kind" value="article"`, `href="/articles/pipes#part"`, `href="/search?kind=article&amp;q=kubectl&amp;track=kubernetes"`}, []string{`href="/articles/services#part"`}},
		{"q=servcies", []string{"Also searched for", "services"}, []string{`href="/articles/services"`}, nil},
		{"q=pipes+services", []string{"No page has all of these words"}, []string{`href="/articles/pipes"`, `href="/articles/services"`}, nil},
		{"q=srevisces", []string{"Nothing found", "Did you mean", "services"}, []string{`href="/search?q=services"`, `href="/tracks/kubernetes"`}, nil},
		{"q=pipes&kind=lab", []string{"See what there is elsewhere"}, nil, nil},
		{"q=full+disk", []string{"Lab · Linux", "A", "disk", "full", "of nothing"}, []string{`href="/labs/full-disk"`}, nil},
		{"q=services&kind=nonsense&track=none", []string{"3 pages found"}, nil, []string{`name="kind"`, `name="track"`}},
		{"q=%3Cscript%3Ealert(1)%3C/script%3E%22", []string{"Nothing found"}, []string{"&lt;script&gt;"}, []string{"<script>alert"}},
	} {
		a := b.searched(c.query)
		checkHTML(t, c.query, a.body)
		text := textOfPage(t, a.body)
		for _, want := range c.shows {
			_, rest, ok := strings.Cut(text, want)
			if !ok {
				t.Errorf("%s: the page does not go on with %q: %s", c.query, want, text)
			}
			text = rest
		}
		for _, want := range c.has {
			if !strings.Contains(a.body, want) {
				t.Errorf("%s: no %s in %s", c.query, want, a.body)
			}
		}
		for _, no := range c.not {
			if strings.Contains(a.body, no) {
				t.Errorf("%s: the page has %q", c.query, no)
			}
		}
		if a.header.Get("X-Robots-Tag") != "noindex" {
			t.Errorf("%s: a robot may list it", c.query)
		}
	}
}

// Whatever is sent is answered with a page, also a long one and one that is no text.
func TestHostileSearches(t *testing.T) {
	b := newSite(t).browser()
	b.searched("q=pods")
	for _, q := range []string{"\x00", "\xff\xfe", `"`, `"""`, "pod AND", "NEAR(a", "title:x", "*", "🚢", "'; DROP TABLE pages; --", strings.Repeat("a ", 5<<10), strings.Repeat(`"`, 10<<10)} {
		for _, path := range []string{searchPath, suggestPath} {
			if a := b.get(path + "?" + url.Values{"q": {q}, "kind": {q}, "track": {q}}.Encode()); a.status != http.StatusOK || strings.Contains(a.body, "Something broke") {
				t.Errorf("%s %.20q: %d", path, q, a.status)
			}
		}
	}
	for _, query := range []string{"q=%zz", "q=a&q=b;c", "%00", "q"} {
		b.must(http.StatusOK, b.get("/search?"+query))
	}
}

// One address cannot keep the server searching.
func TestSearchesAreLimited(t *testing.T) {
	b := newSite(t).browser()
	last := 0
	for range searchesPerIP + 1 {
		last = b.get(suggestPath).status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("search %d is answered with %d", searchesPerIP+1, last)
	}
}

// Articles that change are found as they are now, without a restart.
func TestSearchFollowsTheArticles(t *testing.T) {
	site := newSite(t)
	b := site.browser()
	if a := b.searched("q=barnacles"); !strings.Contains(a.body, "Nothing found") {
		t.Fatalf("barnacles are found: %s", a.body)
	}
	changed, err := content.Load(fstest.MapFS{
		"linux/track.yaml":     {Data: []byte("title: Linux\nsummary: Kernels.\norder: 2\n")},
		"linux/hulls/index.md": {Data: []byte("---\ntitle: Hulls\nsummary: S.\npublished: 2026-11-01\norder: 1\n---\nThey have barnacles.\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	site.library = changed
	terminaltest.Eventually(t, "the new article is found", func() bool {
		return strings.Contains(b.searched("q=barnacles").body, `href="/articles/hulls"`)
	})
	if a := b.searched("q=services"); strings.Contains(a.body, `href="/articles/services"`) {
		t.Error("an article is found that is gone")
	}
}

// What is typed leads to the right place in the articles and labs that come with Drydock.
func TestOwnPagesAreFound(t *testing.T) {
	site := newSite(t)
	library, err := content.Load(content.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	site.library = library
	b := site.browser()
	b.searched("q=x")
	terminaltest.Eventually(t, "the articles are indexed", func() bool { return strings.Contains(b.searched("q=strace").body, "data-hit") })
	for _, c := range []struct{ typed, first string }{
		{"service mesh", "/articles/what-is-a-service-mesh"},
		{"what is a service mesh?", "/articles/what-is-a-service-mesh"},
		{"kube-proxy", "/articles/services-and-endpoints"},
		{"init containers", "/articles/init-containers-cni-and-more"},
		{"initcontainer", "/articles/init-containers-cni-and-more"},
		{"resolv.conf", "/articles/cluster-dns"},
		{"/proc/self", "/articles/memory-from-malloc-to-oom"},
		{"redirection", "/articles/files-descriptors-pipes"},
		{"SIGTERM", "/articles/signals"},
		{"keybord", "/articles/from-keyboard-to-kernel"},
		{"mtls", "/glossary#term-mutual-tls"},
		{"disk full", "/labs/full-disk"},
		{"no space left on device", "/labs/full-disk"},
	} {
		a := b.searched("q=" + url.QueryEscape(c.typed))
		_, rest, _ := strings.Cut(a.body, `<h2><a href="`)
		if first, _, _ := strings.Cut(rest, `"`); first != c.first && !strings.HasPrefix(first, c.first+"#") {
			t.Errorf("%q leads to %s, want %s", c.typed, first, c.first)
		}
	}
}

// TestSearchTellsNothing: nothing of a lab's checks, answers, hints and scripts is
// found, whatever of it is looked for.
func TestSearchTellsNothing(t *testing.T) {
	site := newSiteOf(t, markedFolder())
	b := site.browser()
	b.searched("q=x")
	for _, q := range []string{"flag", "mast", "marked", "marked-hint", "marked-answer-one", "marked-why", "48151623", "ls flag", "touch flag", "saw", "missing file", "green"} {
		for _, path := range []string{searchPath, suggestPath} {
			text := strings.ReplaceAll(textOfPage(t, b.must(http.StatusOK, b.get(path+"?"+url.Values{"q": {q}}.Encode())).body), q, "")
			if found := marks.FindString(text); found != "" {
				t.Errorf("%s %q tells %q", path, q, found)
			}
		}
	}
	for _, q := range []string{"marked", "48151623", "green", "sawn"} {
		if a := b.searched("q=" + q); strings.Contains(a.body, "data-hit") {
			t.Errorf("%q finds a page: %s", q, textOfPage(t, a.body))
		}
	}
	if a := b.searched("q=flag"); !strings.Contains(a.body, `href="/labs/files`) {
		t.Error("what the lab's README says is not found either")
	}
	own := newSiteOf(t, catalogue.FS())
	for _, lab := range own.labs.All() {
		for _, page := range searchPages(own.library, own.labs) {
			if page.URL != "/labs/"+lab.Slug {
				continue
			}
			text := page.Title + " " + page.Summary
			for _, s := range page.Sections {
				text += " " + s.Title + " " + s.Text + " " + s.Code
			}
			text = strings.Join(strings.Fields(text), " ")
			for what, secret := range hiddenTexts(t, lab) {
				if strings.Contains(text, secret) {
					t.Errorf("lab %s can be found by %s: %q", lab.Slug, what, secret)
				}
			}
		}
	}
}

// TestSearchByKeyboard searches in a real browser without a mouse.
func TestSearchByKeyboard(t *testing.T) {
	site := newLabSite(t)
	visitor := site.browser()
	w := openWindow(t, site, visitor)
	visitor.searched("q=x")
	w.open("/articles/services")
	w.keys("/")
	w.sees(`document.activeElement.id === "site-search" && document.activeElement.value === ""`)
	w.keys("pip")
	w.sees(`document.querySelectorAll("#search-options [role=option]").length === 2 && document.activeElement.getAttribute("aria-expanded") === "true"`)
	w.sees(`[...document.querySelectorAll("[role=status]")].some((s) => s.textContent === "1 page found.")`)
	w.sees(`document.querySelector("#search-options mark").textContent === "Pipes"`)
	w.keys(kb.Escape)
	w.sees(`document.querySelector("#search-options").hidden && document.activeElement.value === "pip" && document.activeElement.getAttribute("aria-expanded") === "false"`)
	w.keys(kb.ArrowDown)
	w.sees(`!document.querySelector("#search-options").hidden`)
	w.keys(kb.ArrowDown)
	w.sees(`document.querySelector("#" + document.activeElement.getAttribute("aria-activedescendant")).getAttribute("aria-selected") === "true"`)
	w.keys(kb.Enter)
	w.sees(`location.pathname === "/articles/pipes" && document.readyState === "complete"`) // the scripts have run

	w.keys("/")
	w.sees(`document.activeElement.id === "site-search"`)
	w.keys("one part")
	w.keys(kb.Enter)
	w.sees(`location.pathname === "/search" && document.readyState === "complete" && document.querySelectorAll("[data-hit]").length === 3`)
	w.keys("/")
	w.sees(`document.activeElement.id === "search-text"`)
	w.keys("servcies")
	w.sees(`document.querySelectorAll("[data-hit]").length === 1 && location.search === "?q=servcies" && document.title.startsWith("Search: servcies")`)
	w.sees(`document.querySelector(".search-note").innerText.includes("services")`)
	w.keys(kb.ArrowDown)
	w.sees(`document.activeElement.matches("[data-hit]")`)
	w.keys(kb.ArrowUp)
	w.sees(`document.activeElement.id === "search-text"`)
	w.keys(kb.ArrowDown)
	w.keys(kb.Enter)
	w.sees(`location.pathname === "/articles/services"`)
	w.sound()
}
