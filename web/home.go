package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/store"
)

const (
	// homeArticles is how many recent articles the home page shows with excerpts.
	homeArticles = 6
	// maxAttemptsShown bounds how far back a learner's attempts are looked at for a list of labs.
	maxAttemptsShown = 200
)

// homeView is what the home page shows.
type homeView struct {
	Running  []runningCard
	Given    []givenCard
	Reading  []articleCard
	Articles []articleCard
	Labs     []labCard
	Tracks   []trackCard
	Back     bool // the reader has read or tried something before
}

// unfinished reports whether there is something to go on with.
func (v homeView) unfinished() bool { return len(v.Running) > 0 || len(v.Reading) > 0 }

// first is where somebody begins who has read nothing: the first article of the
// first track that has one; nil where there is none.
func (v homeView) first() *content.Article {
	for _, t := range v.Tracks {
		if len(t.Articles) > 0 {
			return t.Articles[0]
		}
	}
	return nil
}

// runningCard is one of the reader's own sessions that has not ended.
type runningCard struct {
	URL, Title, Stand string
	Kind              string // of its badge
	Done, Tasks       int
	Left              time.Duration // 0 while it is starting
}

// articleCard is an article in a list, with how far the reader got in it.
type articleCard struct {
	*content.Article
	TrackTitle string
	Fraction   float64
	Done       bool
}

// trackCard is a track in a list.
type trackCard struct {
	content.Track
	Labs int
}

func (t trackCard) sizeWords() string {
	words := plural(len(t.Articles), "article", "articles")
	if t.Labs > 0 {
		words += ", " + plural(t.Labs, "lab", "labs")
	}
	return words
}

func (s *server) home(w http.ResponseWriter, r *http.Request) error {
	page := s.page(r, "Learn systems by repairing them")
	page.Description = "Articles on Kubernetes, service meshes, the Linux kernel and performance, each with a real broken system to repair."
	page.Shape = "wide"
	readings, err := s.readings(r.Context())
	if err != nil {
		return err
	}
	labs, err := s.labCards(r.Context())
	if err != nil {
		return err
	}
	view := homeView{Running: s.runningCards(r.Context()), Labs: labs, Tracks: s.trackCards()}
	if view.Given, err = s.givenCards(r.Context(), labs); err != nil {
		return err
	}
	cards := s.articleCards(s.Library().Articles, readings)
	view.Articles = cards[:min(len(cards), homeArticles)]
	if unfinished, ok := lastUnfinished(cards, readings); ok {
		view.Reading = append(view.Reading, unfinished)
	}
	tried := slices.ContainsFunc(labs, func(c labCard) bool { return c.Attempts > 0 })
	view.Back = view.unfinished() || tried || len(readings) > 0
	return s.render(w, r, http.StatusOK, homePage(page, view))
}

// readings are the reader's own, newest first; none for those who are not signed in.
func (s *server) readings(ctx context.Context) ([]store.Reading, error) {
	user, ok := signedIn(ctx)
	if !ok {
		return nil, nil
	}
	readings, err := s.Store.Readings(ctx, user.ID)
	if err != nil {
		return nil, fmt.Errorf("look up what was read: %w", err)
	}
	return readings, nil
}

func (s *server) articleCards(articles []*content.Article, readings []store.Reading) []articleCard {
	titles := map[string]string{}
	for _, t := range s.Library().Tracks {
		titles[t.Slug] = t.Title
	}
	read := map[string]store.Reading{}
	for _, reading := range readings {
		read[reading.Article] = reading
	}
	cards := make([]articleCard, 0, len(articles))
	for _, a := range articles {
		cards = append(cards, articleCard{
			Article: a, TrackTitle: titles[a.Track], Fraction: read[a.Slug].Fraction, Done: read[a.Slug].Done,
		})
	}
	return cards
}

// lastUnfinished is the article that was read last, if there is more of it to read.
func lastUnfinished(cards []articleCard, readings []store.Reading) (articleCard, bool) {
	for _, reading := range readings {
		if reading.Done || reading.Fraction == 0 {
			continue
		}
		for _, card := range cards {
			if card.Slug == reading.Article {
				return card, true
			}
		}
	}
	return articleCard{}, false
}

func (s *server) trackCards() []trackCard {
	inTrack := map[string]int{}
	for _, l := range s.Labs.All() {
		inTrack[l.Track]++
	}
	var cards []trackCard
	for _, t := range s.Library().Tracks {
		cards = append(cards, trackCard{Track: t, Labs: inTrack[t.Slug]})
	}
	return cards
}

// runningCards are the reader's sessions that have not ended.
func (s *server) runningCards(ctx context.Context) []runningCard {
	user, ok := signedIn(ctx)
	if !ok {
		return nil
	}
	var cards []runningCard
	for _, session := range s.Sessions.Running() {
		if session.User() != user.ID {
			continue
		}
		p := session.Snapshot()
		stand, kind := phaseWords(p.Phase)
		card := runningCard{
			URL: "/sessions/" + session.ID(), Title: session.Lab().Title, Stand: stand, Kind: kind,
			Done: p.TasksDone(), Tasks: len(p.Tasks),
		}
		if !p.Expires.IsZero() {
			card.Left = max(0, p.Expires.Sub(s.Now()))
		}
		cards = append(cards, card)
	}
	return cards
}

// phaseWords says where a session stands, and the kind of badge that shows it.
func phaseWords(p labs.Phase) (words, kind string) {
	switch p {
	case labs.PhaseStarting:
		return "Starting", "info"
	case labs.PhaseRunning:
		return "Running", "pass"
	case labs.PhaseTrouble:
		return "In trouble", "warn"
	case labs.PhaseFailed:
		return "Did not start", "warn"
	default:
		return "Ended", "plain"
	}
}
