package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"drydock/content"

	"github.com/a-h/templ"
)

// visitorPages keeps articles as everyone sees them who is not signed in,
// rendered and compressed: a link that is passed around costs one rendering.
// There are at most as many as articles times themes.
type visitorPages struct {
	pages sync.Map // visitorKey → *visitorPage
}

// visitorKey names all that such a page depends on. The library makes new
// articles when it is read anew, so that no old page is found.
type visitorKey struct {
	article *content.Article
	theme   string
}

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
	kept, ok := v.pages.Load(key)
	if !ok {
		component, err := view()
		if err != nil {
			return err
		}
		page, err := makeVisitorPage(r.Context(), component)
		if err != nil {
			return fmt.Errorf("render %s: %w", r.URL.Path, err)
		}
		kept, _ = v.pages.LoadOrStore(key, page)
	}
	kept.(*visitorPage).send(w, r)
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
	sum := sha256.Sum256(plain.Bytes())
	return &visitorPage{plain.Bytes(), zipped.Bytes(), fmt.Sprintf(`W/"%x"`, sum[:9])}, nil
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
