package web

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"drydock/content"
	"drydock/labs/catalogue"
)

// readingSite is a site with the articles and labs that come with Drydock.
func readingSite(t *testing.T) *testSite {
	t.Helper()
	site := newSiteOf(t, catalogue.FS())
	site.library = loadArticles(t, content.Embedded())
	return site
}

// Assets have an address that changes with them, so that they are fetched once
// and for good; pages are asked for anew, and not sent again.
func TestCaching(t *testing.T) {
	site := readingSite(t)
	learner, _ := site.learner("ada", 0)
	visitor := site.browser()
	for name, b := range map[string]*browser{"a visitor": visitor, "a learner": learner} {
		for _, path := range []string{"/", "/articles", "/tracks/linux", "/labs", "/articles/" + site.library.Articles[0].Slug} {
			page := b.must(http.StatusOK, b.get(path))
			tag, control := page.header.Get("ETag"), page.header.Get("Cache-Control")
			if tag == "" || !strings.Contains(control, "no-cache") || !strings.Contains(page.header.Get("Vary"), "Cookie") {
				t.Errorf("%s at %s: ETag %q, Cache-Control %q, Vary %q", name, path, tag, control, page.header.Values("Vary"))
			}
			if again := b.do(http.MethodGet, path, nil, "If-None-Match", tag); again.status != http.StatusNotModified || again.body != "" {
				t.Errorf("%s at %s, again: status %d with %d bytes", name, path, again.status, len(again.body))
			}
			if other := b.do(http.MethodGet, path, nil, "If-None-Match", `W/"other"`); other.status != http.StatusOK {
				t.Errorf("%s at %s with another tag: status %d", name, path, other.status)
			}
			for _, asset := range addresses(page.body) {
				if !strings.HasPrefix(asset, "/assets/") {
					continue
				}
				if got := b.get(asset); got.header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
					t.Errorf("%s: Cache-Control %q", asset, got.header.Get("Cache-Control"))
				}
			}
		}
	}
}

func TestPagesAreCompressed(t *testing.T) {
	site := readingSite(t)
	learner, _ := site.learner("ada", 0)
	for name, b := range map[string]*browser{"a visitor": site.browser(), "a learner": learner} {
		for _, path := range []string{"/", "/articles/" + site.library.Articles[0].Slug} {
			plain := b.do(http.MethodGet, path, nil, "Accept-Encoding", "identity")
			zipped := b.do(http.MethodGet, path, nil, "Accept-Encoding", "gzip")
			if zipped.header.Get("Content-Encoding") != "gzip" || len(zipped.body)*2 > len(plain.body) {
				t.Errorf("%s at %s: %q, %d bytes of %d", name, path, zipped.header.Get("Content-Encoding"), len(zipped.body), len(plain.body))
			}
		}
	}
}

// Drydock speaks plain HTTP and leaves TLS to a proxy; whoever puts TLS under its
// handler gets HTTP/2, pages and event streams alike.
func TestPagesThroughHTTP2(t *testing.T) {
	site := readingSite(t)
	server := httptest.NewUnstartedServer(site.handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := server.Client()
	for _, path := range []string{"/", "/articles/" + site.library.Articles[0].Slug, "/assets/base.css"} {
		res, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.ProtoMajor != 2 || res.StatusCode != http.StatusOK || len(body) == 0 || res.TLS.NegotiatedProtocol != "h2" {
			t.Errorf("%s: %s, status %d, %d bytes, %v", path, res.Proto, res.StatusCode, len(body), err)
		}
		if res.TLS.Version < tls.VersionTLS12 {
			t.Errorf("TLS %x", res.TLS.Version)
		}
	}
}
