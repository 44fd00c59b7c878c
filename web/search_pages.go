package web

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/store/search"
)

// The kinds of page that are found, in the order of the filter.
const (
	kindArticle = "article"
	kindLab     = "lab"
	kindTerm    = "term"
)

// searchKind is a kind of page with what one and what several are called.
type searchKind struct{ Kind, One, Many string }

func searchKinds() []searchKind {
	return []searchKind{{kindArticle, "Article", "Articles"}, {kindLab, "Lab", "Labs"}, {kindTerm, "Term", "Terms"}}
}

// searchPages is all that is found: what everybody may read, and of labs only
// what learners are told. Checks, answers, hints, solutions and all else that a
// lab's folder has never come near the index.
func searchPages(library *content.Library, catalogue *labs.Catalogue) []search.Page {
	var pages []search.Page
	for _, a := range library.Articles {
		pages = append(pages, search.Page{
			Kind: kindArticle, Track: a.Track, URL: "/articles/" + a.Slug, Title: a.Title, Summary: a.Summary, Sections: a.Sections,
		})
	}
	for _, lab := range catalogue.All() {
		pages = append(pages, search.Page{
			Kind: kindLab, Track: lab.Track, URL: "/labs/" + lab.Slug, Title: lab.Title, Summary: lab.Summary, Sections: labSections(lab),
		})
	}
	for _, t := range library.Glossary {
		pages = append(pages, search.Page{
			Kind: kindTerm, Track: t.Track, URL: "/glossary#" + t.ID, Title: t.Term, Names: t.Also, Summary: t.Means, Note: true,
		})
	}
	return pages
}

// labSections are the sections of a lab's README and the titles of its tasks,
// which stand on the lab's page. A README that cannot be rendered is not the
// search's to complain of: whoever opens the lab is told.
func labSections(lab *labs.Lab) []content.Section {
	doc, err := content.Render("README.md", []byte(lab.Readme), content.Options{
		FigureBase: "/labs/" + lab.Slug + "/figures/",
		Open:       func(name string) ([]byte, error) { return fs.ReadFile(lab.FS, name) },
	})
	if err != nil {
		doc.Sections = nil
	}
	sections := slices.Clone(doc.Sections)
	for i := range sections {
		task := slices.IndexFunc(lab.Tasks, func(t labs.Task) bool { return t.ID == sections[i].ID })
		if task < 0 {
			sections[i].Heading = content.Heading{} // its title, or what stands before the tasks
			continue
		}
		sections[i].ID, sections[i].Title = "task-"+lab.Tasks[task].ID, lab.Tasks[task].Title
	}
	for _, t := range lab.Tasks {
		id := "task-" + t.ID
		if !slices.ContainsFunc(sections, func(s content.Section) bool { return s.ID == id }) {
			sections = append(sections, content.Section{Heading: content.Heading{Level: 2, ID: id, Title: t.Title}})
		}
	}
	return sections
}

// searchKeeper keeps the index in step with the articles that are shown.
type searchKeeper struct {
	mu       sync.Mutex
	library  *content.Library // that the index is or will be of
	building bool
}

// keepSearch has the index made in the background if it is of other articles
// than these. One is made at a time; what changes meanwhile is made after it.
func (s *server) keepSearch() {
	library := s.Library()
	k := &s.searching
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.library == library {
		return
	}
	k.library = library
	if !k.building {
		k.building = true
		go s.buildSearch()
	}
}

// buildSearch makes the index until it is of the newest articles. Whoever closes
// the index ends it.
func (s *server) buildSearch() {
	k := &s.searching
	var made *content.Library
	for {
		k.mu.Lock()
		library := k.library
		if library == made {
			k.building = false
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		began := time.Now()
		pages := searchPages(library, s.Labs)
		switch err := s.Search.Build(context.Background(), pages); {
		case err == nil:
			s.Log.Debug("the search index is built", "pages", len(pages), "took", time.Since(began))
		case !errors.Is(err, search.ErrClosed) && !errors.Is(err, context.Canceled):
			s.Log.Error("the search index cannot be built; the one before is used, if there is one", "err", err)
		}
		made = library
	}
}
