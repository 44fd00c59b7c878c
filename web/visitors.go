package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"drydock/content"

	"github.com/a-h/templ"
)

// maxVisitorPages is how many bytes of pages are kept for visitors: those of
// 2,000 articles of 4,000 words, plain and compressed.
const maxVisitorPages = 256 << 20

// visitorPages keeps articles as everyone sees them who is not signed in,
// rendered and compressed: a link that is passed around costs one rendering.
type visitorPages struct {
	mu    sync.RWMutex
	pages map[visitorKey]*visitorPage
	bytes int
}

// visitorKey names all that such a page depends on. When an article changes
// the library is another, so that no old page is found.
type visitorKey struct {
	library *content.Library
	article *content.Article
	theme   string
}

func (v *visitorPages) find(key visitorKey) *visitorPage {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.pages[key]
}

// keep keeps a page, and lets go of those of another library; when there are too
// many it lets go of others, whichever: each can be made anew.
func (v *visitorPages) keep(key visitorKey, page *visitorPage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pages == nil {
		v.pages = map[visitorKey]*visitorPage{}
	}
	v.drop(func(k visitorKey) bool { return k == key || k.library != key.library })
	v.pages[key] = page
	v.bytes += page.size()
	v.drop(func(k visitorKey) bool { return v.bytes > maxVisitorPages && k != key })
}

func (v *visitorPages) drop(wanted func(visitorKey) bool) {
	for key, page := range v.pages {
		if wanted(key) {
			delete(v.pages, key)
			v.bytes -= page.size()
		}
	}
}

func (p *visitorPage) size() int { return len(p.plain) + len(p.zipped) }

type visitorPage struct {
	plain, zipped []byte
	etag          string
}

// forVisitors reports whether everyone who is not signed in gets this very page.
func (p Page) forVisitors(r *http.Request) bool {
	return !p.SignedIn && p.Notice == "" && r.URL.RawQuery == ""
}

// serve sends the page of key, which view makes when there is none yet.
func (v *visitorPages) serve(w http.ResponseWriter, r *http.Request, key visitorKey, view func() (templ.Component, error)) error {
	page := v.find(key)
	if page == nil {
		component, err := view()
		if err != nil {
			return err
		}
		if page, err = makeVisitorPage(r.Context(), component); err != nil {
			return fmt.Errorf("render %s: %w", r.URL.Path, err)
		}
		v.keep(key, page)
	}
	page.send(w, r)
	return nil
}

func makeVisitorPage(ctx context.Context, view templ.Component) (*visitorPage, error) {
	var plain, zipped bytes.Buffer
	if err := view.Render(ctx, &plain); err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(plain.Bytes()); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return &visitorPage{plain.Bytes(), zipped.Bytes(), pageTag(plain.Bytes())}, nil
}

func (p *visitorPage) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	pageHeaders(h)
	h.Add("Vary", "Accept-Encoding")
	h.Set("ETag", p.etag)
	if r.Header.Get("If-None-Match") == p.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := p.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = p.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the reader went away: nobody to tell
}
