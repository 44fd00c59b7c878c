package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"drydock/content/live"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// Preview is a site for the author of articles: what can be read, without
// accounts, sessions or a store. Its pages load themselves again when the articles
// change, and show what is wrong with them.
type Preview struct {
	Config // Labs and Log; the rest is set here
	Folder *live.Folder

	began int64 // so that a page of another run is loaded again, too
}

// previewEvents is where the pages of a preview hear of changes.
const previewEvents = "/preview/events"

// NewPreview returns the handler of a preview.
func NewPreview(p Preview) (http.Handler, error) {
	if p.Folder == nil || p.Labs == nil || p.Log == nil {
		return nil, errors.New("web: a preview needs a folder, labs and a log")
	}
	a, err := loadAssets()
	if err != nil {
		return nil, err
	}
	p.Library, p.Trouble, p.Dev = p.Folder.Library, p.Folder.Trouble, true
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.BaseURL == nil {
		p.BaseURL = requestedBase
	}
	p.began = p.Now().UnixMilli()
	s := &server{Config: p.Config, assets: a, preview: &p}
	return s.routesPreview(), nil
}

func (s *server) routesPreview() http.Handler {
	r := chi.NewRouter()
	r.Use(s.recovered, s.secured, middleware.GetHead, middleware.RedirectSlashes)
	r.Get("/assets/*", s.assets.ServeHTTP)
	r.Get(previewEvents, s.handle(s.previewEvents))
	r.Group(func(r chi.Router) {
		r.Use(middleware.Compress(compressLevel), s.timed)
		r.NotFound(s.handle(func(_ http.ResponseWriter, r *http.Request) error { return s.unknownPage(r) }))
		r.Get("/", s.handle(s.articleList))
		r.Get("/articles", s.handle(s.articleList))
		r.Get("/articles/{slug}", s.handle(s.article))
		r.Get("/articles/{slug}/{figure}", s.handle(s.articleFigure))
		r.Get("/tracks/{track}", s.handle(s.track))
		r.Get("/labs", s.handle(s.labList))
		r.Get("/labs/{slug}", s.handle(s.lab))
		r.Get("/labs/{slug}/figures/{figure}", s.handle(s.labFigure))
	})
	return r
}

// stamp names the version that a page shows.
func (p *Preview) stamp() string {
	return strconv.FormatInt(p.began, 36) + "-" + strconv.Itoa(p.Folder.Version())
}

// previewEvents tells the version of the articles, now and at each change.
func (s *server) previewEvents(w http.ResponseWriter, r *http.Request) error {
	streamHeader(w)
	flusher := http.NewResponseController(w)
	for {
		changed := s.preview.Folder.Changed() // before the version is asked for: none is missed
		if _, err := fmt.Fprintf(w, "data: %s\n\n", s.preview.stamp()); err != nil {
			return nil // the reader went away
		}
		if err := flusher.Flush(); err != nil {
			return nil
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		}
	}
}
