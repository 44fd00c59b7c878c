package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"drydock/content"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

// articleView is one article and what surrounds it.
type articleView struct {
	articleCard
	Text           []textPiece
	Before         []before         // articles to read before
	Previous, Next *content.Article // in the track
	Lab            *labCard         // to do now; nil without one, or where the text has its card
	Answers        string           // to the quizzes; see answers
	Position       int              // in the track, from 1
	Of             int
}

// textPiece is a part of an article's text, or a lab's card between two.
type textPiece struct {
	content.Piece
	Lab *labCard // nil for text
}

func (s *server) article(w http.ResponseWriter, r *http.Request) error {
	slug := chi.URLParam(r, "slug")
	library := s.Library()
	article, ok := library.Article(slug)
	if !ok {
		return notFound("article", nearest(slug, s.articleLinks())...)
	}
	page := s.reading(r, article.Title)
	page.Description, page.Shape = article.Summary, "wide"
	page.Styles = []string{"article.css", highlightSheet}
	view := func() (templ.Component, error) {
		v, err := s.articleView(r.Context(), library, article)
		return articlePage(page, v), err
	}
	if page.forVisitors(r) && !s.Dev {
		return s.visitors.serve(w, r, visitorKey{library, article, page.Theme}, view)
	}
	component, err := view()
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, component)
}

// articleView gathers what surrounds an article for the one who asks.
func (s *server) articleView(ctx context.Context, library *content.Library, article *content.Article) (articleView, error) {
	readings, err := s.readings(ctx)
	if err != nil {
		return articleView{}, err
	}
	view := articleView{articleCard: s.articleCards([]*content.Article{article}, readings)[0]}
	view.place(library)
	if view.Answers, err = s.answers(ctx, article); err != nil {
		return articleView{}, err
	}
	view.Before = articlesBefore(library, article, readings)
	if view.Text, err = s.textPieces(ctx, article); err != nil {
		return articleView{}, err
	}
	if slices.ContainsFunc(view.Text, func(p textPiece) bool { return p.Lab != nil && p.Lab.Slug == article.Lab }) {
		return view, nil
	}
	view.Lab, err = s.knownLabCard(ctx, article.Lab)
	return view, err
}

// textPieces puts the cards of labs into the text, as the reader stands in
// them. A lab that this server does not have leaves what the text says of it.
func (s *server) textPieces(ctx context.Context, article *content.Article) (pieces []textPiece, err error) {
	cut, err := article.Pieces()
	if err != nil {
		return nil, err
	}
	for _, piece := range cut {
		p := textPiece{Piece: piece}
		if piece.Card != nil {
			if p.Lab, err = s.knownLabCard(ctx, piece.Card.Slug); err != nil {
				return nil, err
			}
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

// knownLabCard is nil for a lab that is not there.
func (s *server) knownLabCard(ctx context.Context, slug string) (*labCard, error) {
	lab, ok := s.Labs.Get(slug)
	if !ok {
		return nil, nil
	}
	card, err := s.labCard(ctx, lab)
	return &card, err
}

func (s *server) articleFigure(w http.ResponseWriter, r *http.Request) error {
	article, ok := s.Library().Article(chi.URLParam(r, "slug"))
	if !ok {
		return notFound("article")
	}
	return serveFigure(w, r, article.Figure)
}

// serveFigure sends a picture that stands beside a text, and no other file of
// the folder: a lab's holds its solutions. Drawings (SVG) are in the page itself.
func serveFigure(w http.ResponseWriter, r *http.Request, open func(name string) ([]byte, error)) error {
	name := chi.URLParam(r, "figure")
	switch path.Ext(name) {
	case ".png", ".jpg", ".jpeg":
	default:
		return notFound("figure")
	}
	data, err := open(name)
	if err != nil {
		return notFound("figure")
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	return nil
}

// place finds the article's neighbours in its track.
func (v *articleView) place(library *content.Library) {
	for _, t := range library.Tracks {
		for i, a := range t.Articles {
			if t.Slug != v.Track || a.Slug != v.Slug {
				continue
			}
			v.Position, v.Of = i+1, len(t.Articles)
			if i > 0 {
				v.Previous = t.Articles[i-1]
			}
			if i+1 < len(t.Articles) {
				v.Next = t.Articles[i+1]
			}
		}
	}
}

// saveReading keeps how far the reader got; page.ts posts it now and then.
func (s *server) saveReading(w http.ResponseWriter, r *http.Request) error {
	user, ok := signedIn(r.Context())
	if !ok {
		return problem(http.StatusUnauthorized, "Not signed in", "Reading progress is kept for those who are signed in.")
	}
	slug := chi.URLParam(r, "slug")
	if _, ok := s.Library().Article(slug); !ok {
		return notFound("article")
	}
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	fraction, err := strconv.ParseFloat(r.PostForm.Get("fraction"), 64)
	if err != nil || !(fraction >= 0 && fraction <= 1) {
		return problem(http.StatusBadRequest, "Not a fraction", "fraction must be a number from 0 to 1.")
	}
	if err := s.Store.SetReading(r.Context(), user.ID, slug, fraction); err != nil {
		return fmt.Errorf("keep the reading progress: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
