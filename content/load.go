package content

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	wordsPerMinute = 220 // of technical prose, silently; Brysbaert 2019 finds 238 for general non-fiction
	// codeLinesPerMinute is slower than prose: a line of code is some eight
	// words that are looked at twice.
	codeLinesPerMinute = 20
	// excerptLength in characters: two or three lines of a list.
	excerptLength = 280
)

// Load loads the library from the folder that has one folder per track. The
// error joins every [Problem] found.
func Load(fsys fs.FS) (*Library, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the folder of tracks: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	terms, err := loadGlossary(fsys, names)
	library := &Library{Glossary: terms.terms}
	errs := []error{err}
	for _, name := range names {
		track, err := loadTrack(fsys, name, terms)
		errs = append(errs, err)
		library.Tracks = append(library.Tracks, track)
		library.Articles = append(library.Articles, track.Articles...)
	}
	slices.SortStableFunc(library.Tracks, func(a, b Track) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Title, b.Title))
	})
	slices.SortStableFunc(library.Articles, func(a, b *Article) int {
		return cmp.Or(b.Published.Compare(a.Published), cmp.Compare(a.Track, b.Track), cmp.Compare(a.Order, b.Order))
	})
	errs = append(errs, library.checkSlugs(), library.checkLinks(), library.checkAfter(), terms.checkArticles(library))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return library, nil
}

func loadTrack(fsys fs.FS, slug string, terms *glossary) (Track, error) {
	track := Track{Slug: slug}
	p := &problems{file: path.Join(slug, "track.yaml")}
	if !validSlug(slug) {
		p.add(1, "the folder's name %q is not a slug: use lower-case letters, digits and single dashes", slug)
	}
	src, err := fs.ReadFile(fsys, p.file)
	if errors.Is(err, fs.ErrNotExist) {
		p.add(1, "this file is missing: it has the track's title, summary and order")
	} else if err != nil {
		return track, fmt.Errorf("read track %s: %w", slug, err)
	} else {
		readFields(p, 1, src, map[string]field{
			"title": textField(&track.Title), "summary": textField(&track.Summary), "order": numberField(&track.Order, true),
			"after": slugsField(&track.After, &track.afterLine),
		})
	}
	track.Articles, err = loadArticles(fsys, slug, terms)
	return track, errors.Join(p.err(), err)
}

func loadArticles(fsys fs.FS, track string, terms *glossary) ([]*Article, error) {
	entries, err := fs.ReadDir(fsys, track)
	if err != nil {
		return nil, fmt.Errorf("read the folder of track %s: %w", track, err)
	}
	var articles []*Article
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		a, err := loadArticle(fsys, track, e.Name(), terms)
		articles = append(articles, a)
		errs = append(errs, err)
	}
	slices.SortStableFunc(articles, func(a, b *Article) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Title, b.Title))
	})
	return articles, errors.Join(errs...)
}

func loadArticle(fsys fs.FS, track, slug string, terms *glossary) (*Article, error) {
	a := &Article{Slug: slug, Track: track, Dir: path.Join(track, slug)}
	p := &problems{file: path.Join(a.Dir, "index.md")}
	if !validSlug(slug) {
		p.add(1, "the folder's name %q is not a slug: use lower-case letters, digits and single dashes", slug)
	}
	src, err := fs.ReadFile(fsys, p.file)
	if errors.Is(err, fs.ErrNotExist) {
		p.add(1, "this file is missing: it has the article's text")
		return a, p.err()
	}
	if err != nil {
		return a, fmt.Errorf("read article %s: %w", slug, err)
	}
	if a.Figures, err = fs.Sub(fsys, a.Dir); err != nil {
		return a, fmt.Errorf("open the folder of article %s: %w", slug, err)
	}
	front, text, ok := splitFrontMatter(src)
	if !ok {
		p.add(1, "an article begins with its front matter between two lines of three dashes")
		return a, p.err()
	}
	readFields(p, 2, front, map[string]field{
		"title": textField(&a.Title), "summary": textField(&a.Summary), "published": dateField(&a.Published),
		"order": numberField(&a.Order, false), "minutes": numberField(&a.Minutes, false), "lab": slugField(&a.Lab),
		"after": slugsField(&a.After, &a.afterLine),
	})
	return a, errors.Join(a.fill(p, text, terms), p.err())
}

// fill renders the text into the article, and adds its problems to those of
// the file. The error is about anything else.
func (a *Article) fill(p *problems, text []byte, terms *glossary) error {
	doc, err := Render(p.file, text, Options{
		FigureBase: "/articles/" + a.Slug + "/",
		Open:       func(name string) ([]byte, error) { return fs.ReadFile(a.Figures, name) },
		page:       true, terms: terms,
	})
	p.found = append(p.found, Problems(err)...)
	a.HTML, a.Contents, a.Words, a.Excerpt = doc.HTML, doc.Contents, doc.Words, doc.Excerpt
	a.Links, a.Blocks, a.Quizzes = doc.Links, doc.Blocks, doc.Quizzes
	a.Terms, a.Cards = doc.Terms, doc.Cards
	if a.Minutes == 0 {
		a.Minutes = readingTime(doc.Words, doc.codeLines)
	}
	if err != nil && len(Problems(err)) == 0 {
		return err
	}
	return nil
}

// readingTime is in whole minutes, rounded up.
func readingTime(words, codeLines int) int {
	seconds := words*60/wordsPerMinute + codeLines*60/codeLinesPerMinute
	return max(1, int((time.Duration(seconds)*time.Second+time.Minute-1)/time.Minute))
}

// checkSlugs: articles have one address each, whatever their track.
func (l *Library) checkSlugs() error {
	var errs []error
	first := map[string]*Article{}
	for _, a := range l.Articles {
		if other := first[a.Slug]; other != nil {
			errs = append(errs, Problem{File: path.Join(a.Dir, "index.md"), Line: 1,
				Msg: fmt.Sprintf("track %s has an article of this name too: rename one of the folders", other.Track)})
			continue
		}
		first[a.Slug] = a
	}
	return errors.Join(errs...)
}

// checkLinks checks links to articles and tracks, with the heading they name.
func (l *Library) checkLinks() error {
	var errs []error
	for _, a := range l.Articles {
		p := &problems{file: path.Join(a.Dir, "index.md")}
		for _, link := range a.Links {
			if msg := l.checkLink(link.URL); msg != "" {
				p.add(link.Line, "%s", msg)
			}
		}
		errs = append(errs, p.err())
	}
	return errors.Join(errs...)
}

func (l *Library) checkLink(address string) (msg string) {
	u, err := url.Parse(address)
	if err != nil {
		return err.Error()
	}
	kind, slug, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	switch kind {
	case "articles":
		target, ok := l.Article(slug)
		if !ok {
			return fmt.Sprintf("there is no article %q: %s", slug, didYouMean(slug, l.articleSlugs()))
		}
		ids := slugs(target.Contents, func(h Heading) string { return h.ID })
		if u.Fragment != "" && !slices.Contains(ids, u.Fragment) {
			return fmt.Sprintf("article %s has no heading #%s: %s", slug, u.Fragment, didYouMean(u.Fragment, ids))
		}
	case "tracks":
		all := slugs(l.Tracks, func(t Track) string { return t.Slug })
		if !slices.Contains(all, slug) {
			return fmt.Sprintf("there is no track %q: %s", slug, didYouMean(slug, all))
		}
	}
	return ""
}

func (l *Library) articleSlugs() []string {
	return slugs(l.Articles, func(a *Article) string { return a.Slug })
}

func slugs[T any](all []T, slug func(T) string) []string {
	list := make([]string, len(all))
	for i, one := range all {
		list[i] = slug(one)
	}
	return list
}

// CheckLabs checks that every lab which an article goes with or links to is
// one of those known.
func (l *Library) CheckLabs(known []string) error {
	var errs []error
	for _, a := range l.Articles {
		p := &problems{file: path.Join(a.Dir, "index.md")}
		if a.Lab != "" && !slices.Contains(known, a.Lab) {
			p.add(2, "there is no lab %q: %s", a.Lab, didYouMean(a.Lab, known))
		}
		for _, card := range a.Cards {
			if !slices.Contains(known, card.Slug) {
				p.add(card.Line, "there is no lab %q: %s", card.Slug, didYouMean(card.Slug, known))
			}
		}
		for _, link := range a.Links {
			if slug, ok := strings.CutPrefix(link.URL, "/labs/"); ok && !slices.Contains(known, slug) {
				p.add(link.Line, "there is no lab %q: %s", slug, didYouMean(slug, known))
			}
		}
		errs = append(errs, p.err())
	}
	return errors.Join(errs...)
}
