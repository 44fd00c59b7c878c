package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"drydock/content"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

// before is something to be read before something else, and whether the reader
// has: an article, or a track with all its articles.
type before struct {
	URL, Title string
	Articles   []string // slugs: all of them are to be read
	Done       bool
}

// trackSection is a track with its articles, in order.
type trackSection struct {
	trackCard
	Articles []articleCard
}

func (s *server) trackSection(card trackCard, readings []store.Reading) trackSection {
	return trackSection{card, s.articleCards(card.Track.Articles, readings)}
}

// minutes it takes to read all articles of the track.
func (t trackSection) minutes() int {
	sum := 0
	for _, a := range t.Articles {
		sum += a.Minutes
	}
	return sum
}

// left is how many minutes of reading are left to this reader.
func (t trackSection) left() int {
	sum := 0.0
	for _, a := range t.Articles {
		if !a.Done {
			sum += float64(a.Minutes) * (1 - a.Fraction)
		}
	}
	return int(sum + 0.5)
}

// read is how many articles this reader has read.
func (t trackSection) read() int {
	n := 0
	for _, a := range t.Articles {
		if a.Done {
			n++
		}
	}
	return n
}

// articleMinutes lists articles with their minutes, for track.ts: "pods=12 dns=9".
func articleMinutes(articles []articleCard) string {
	words := make([]string, len(articles))
	for i, a := range articles {
		words[i] = a.Slug + "=" + strconv.Itoa(a.Minutes)
	}
	return strings.Join(words, " ")
}

// readingTime says how long the reading takes.
func readingTime(minutes int) string {
	return minutesLeft(time.Duration(minutes) * time.Minute)
}

// trackView is the page of a track.
type trackView struct {
	trackSection
	Before []before // tracks to read before
	Labs   []labCard
}

// labMinutes is how long the labs of the track take.
func (v trackView) labMinutes() int {
	sum := 0
	for _, l := range v.Labs {
		sum += l.Minutes
	}
	return sum
}

// sizeWords says what is in the track, and how long it takes.
func (v trackView) sizeWords() string {
	words := plural(len(v.Articles), "article", "articles")
	if len(v.Articles) > 0 {
		words += ", " + readingTime(v.minutes())
	}
	if len(v.Labs) > 0 {
		words += fmt.Sprintf(" · %s, %s", plural(len(v.Labs), "lab", "labs"), readingTime(v.labMinutes()))
	}
	return words
}

func (s *server) articleList(w http.ResponseWriter, r *http.Request) error {
	readings, err := s.readings(r.Context())
	if err != nil {
		return err
	}
	var sections []trackSection
	for _, card := range s.trackCards() {
		sections = append(sections, s.trackSection(card, readings))
	}
	page := s.reading(r, "Articles")
	page.Description = "All articles, by track."
	return s.render(w, r, http.StatusOK, articleListPage(page, sections))
}

func (s *server) track(w http.ResponseWriter, r *http.Request) error {
	slug := chi.URLParam(r, "track")
	for _, card := range s.trackCards() {
		if card.Slug != slug {
			continue
		}
		readings, err := s.readings(r.Context())
		if err != nil {
			return err
		}
		cards, err := s.labCards(r.Context())
		if err != nil {
			return err
		}
		view := trackView{trackSection: s.trackSection(card, readings), Before: tracksBefore(s.Library(), card.Track, readings)}
		for _, c := range cards {
			if c.Track == slug {
				view.Labs = append(view.Labs, c)
			}
		}
		page := s.reading(r, card.Title)
		page.Description = card.Summary
		return s.render(w, r, http.StatusOK, trackPage(page, view))
	}
	return notFound("track", nearest(slug, s.trackLinks())...)
}

// articlesBefore are the articles to read before one.
func articlesBefore(library *content.Library, article *content.Article, readings []store.Reading) []before {
	var all []before
	for _, slug := range article.After {
		if a, ok := library.Article(slug); ok {
			b := before{URL: "/articles/" + slug, Title: a.Title, Articles: []string{slug}}
			b.Done = allRead(b.Articles, readings)
			all = append(all, b)
		}
	}
	return all
}

// tracksBefore are the tracks to read before one.
func tracksBefore(library *content.Library, track content.Track, readings []store.Reading) []before {
	var all []before
	for _, slug := range track.After {
		for _, t := range library.Tracks {
			if t.Slug != slug {
				continue
			}
			b := before{URL: "/tracks/" + slug, Title: t.Title}
			for _, a := range t.Articles {
				b.Articles = append(b.Articles, a.Slug)
			}
			b.Done = allRead(b.Articles, readings)
			all = append(all, b)
		}
	}
	return all
}

// allRead reports whether the reader has read all of the articles.
func allRead(articles []string, readings []store.Reading) bool {
	done := map[string]bool{}
	for _, r := range readings {
		done[r.Article] = r.Done
	}
	for _, slug := range articles {
		if !done[slug] {
			return false
		}
	}
	return len(articles) > 0
}
