package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"drydock/content"
	"drydock/store/search"

	"github.com/a-h/templ"
)

const (
	searchPath = "/search"
	// suggestPath answers what is typed into the masthead with a list.
	suggestPath = "/search/suggest"
	// suggestHits are as many as are seen without scrolling.
	suggestHits = 7
	// searchesPerIP bounds, by the minute, what one address can have searched: a
	// lecture hall that types all at once, and a fifth of a core at most.
	searchesPerIP = 1200
	// searchExamples is how many articles are offered while nothing is looked for.
	searchExamples = 5
)

// searchView is what was looked for, and what was found.
type searchView struct {
	search.Query
	search.Results
	Building bool // there is no index yet
	Kinds    []searchFilter
	Tracks   []searchFilter
	Articles []link // some to read, where nothing was looked for or found

	tracks []content.Track
}

// searchFilter is one choice of a filter.
type searchFilter struct {
	Name, URL string
	Pages     int
	Chosen    bool
}

func (v searchView) asked() bool { return v.Text != "" }

// foundWords says how much was found.
func (v searchView) foundWords() string {
	switch {
	case v.Building:
		return "The search is being prepared; try again in a moment."
	case !v.asked():
		return ""
	case v.Total == 0:
		return "Nothing found."
	case v.Total > len(v.Hits):
		return fmt.Sprintf("%d pages found; these are the best %d.", v.Total, len(v.Hits))
	}
	return plural(v.Total, "page", "pages") + " found."
}

// search is the page of results.
func (s *server) search(w http.ResponseWriter, r *http.Request) error {
	v, err := s.find(r, search.MaxHits)
	if err != nil {
		return err
	}
	page := s.page(r, "Search")
	if v.asked() {
		page.Title = "Search: " + v.Text
	}
	page.Active, page.Styles = "search", []string{searchSheet}
	w.Header().Set("X-Robots-Tag", "noindex")
	return s.render(w, r, http.StatusOK, searchPage(page, v))
}

// searchSheet is the style sheet of results. Other pages load it when somebody
// begins to search.
const searchSheet = "search.css"

// suggest is the list below the masthead's field.
func (s *server) suggest(w http.ResponseWriter, r *http.Request) error {
	v, err := s.find(r, suggestHits)
	if err != nil {
		return err
	}
	w.Header().Set("X-Robots-Tag", "noindex")
	return s.render(w, r, http.StatusOK, searchOptions(v))
}

// find looks for what the address asks.
func (s *server) find(r *http.Request, limit int) (v searchView, err error) {
	s.keepSearch()
	fields := r.URL.Query()
	v.Query = search.Query{Text: strings.TrimLeft(search.Bounded(fields.Get("q")), " "), Kind: fields.Get("kind"), Track: fields.Get("track"), Limit: limit}
	v.tracks = s.Library().Tracks
	if !slices.ContainsFunc(searchKinds(), func(k searchKind) bool { return k.Kind == v.Kind }) {
		v.Kind = ""
	}
	if v.trackTitle(v.Track) == "" {
		v.Track = ""
	}
	v.Results, err = s.Search.Find(r.Context(), v.Query)
	if errors.Is(err, search.ErrNotBuilt) {
		v.Building = true
		return v, nil
	}
	if err != nil {
		return v, err
	}
	v.Kinds, v.Tracks = v.kindFilter(), v.trackFilter()
	if len(v.Hits) == 0 {
		articles := s.articleLinks()
		v.Articles = articles[:min(len(articles), searchExamples)]
	}
	return v, nil
}

// kindFilter is the choices of a kind, with what each would find; those that would
// find nothing are left out.
func (v searchView) kindFilter() []searchFilter {
	all := searchFilter{Name: "Everything", URL: v.url("", v.Track), Chosen: v.Kind == ""}
	list := []searchFilter{all}
	for _, k := range searchKinds() {
		n := pagesOf(v.Results.Kinds, k.Kind)
		list[0].Pages += n
		if n > 0 || v.Kind == k.Kind {
			list = append(list, searchFilter{k.Many, v.url(k.Kind, v.Track), n, v.Kind == k.Kind})
		}
	}
	return list
}

func (v searchView) trackFilter() []searchFilter {
	list := []searchFilter{{Name: "All tracks", URL: v.url(v.Kind, ""), Chosen: v.Track == ""}}
	for _, t := range v.tracks {
		n := pagesOf(v.Results.Tracks, t.Slug)
		list[0].Pages += n
		if n > 0 || v.Track == t.Slug {
			list = append(list, searchFilter{t.Title, v.url(v.Kind, t.Slug), n, v.Track == t.Slug})
		}
	}
	return list
}

func pagesOf(counts []search.Count, name string) int {
	for _, c := range counts {
		if c.Name == name {
			return c.Pages
		}
	}
	return 0
}

// url is the address of the same search with these filters.
func (v searchView) url(kind, track string) string {
	return searchURL(search.Query{Text: v.Text, Kind: kind, Track: track})
}

// searchURL is the address of a search.
func searchURL(q search.Query) string {
	fields := url.Values{"q": {q.Text}}
	if q.Kind != "" {
		fields.Set("kind", q.Kind)
	}
	if q.Track != "" {
		fields.Set("track", q.Track)
	}
	return searchPath + "?" + fields.Encode()
}

// trackTitle is empty where there is no such track.
func (v searchView) trackTitle(slug string) string {
	for _, t := range v.tracks {
		if t.Slug == slug {
			return t.Title
		}
	}
	return ""
}

// where says what a hit is: its kind and its track.
func (v searchView) where(h search.Hit) string {
	var words []string
	for _, k := range searchKinds() {
		if k.Kind == h.Kind {
			words = append(words, k.One)
		}
	}
	if title := v.trackTitle(h.Track); title != "" {
		words = append(words, title)
	}
	return strings.Join(words, " · ")
}

// placeURL is the address of a place in a page that was found.
func placeURL(h search.Hit, p search.Place) templ.SafeURL {
	if p.ID == "" {
		return templ.SafeURL(h.URL)
	}
	return templ.SafeURL(h.URL + "#" + url.PathEscape(p.ID))
}

func optionID(i int) string { return "search-option-" + strconv.Itoa(i) }
