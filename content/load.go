package content

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
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
// error joins every [Problem] found. Pages are rendered when they are asked for
// first; nothing that is found then could have been found here.
func Load(fsys fs.FS) (*Library, error) { return (&Library{pages: newPages()}).Reload(fsys) }

// Reload loads a library as [Load] does, and takes from this one what has not
// changed since: itself when nothing has. When there is a problem it returns
// none, and this one is as good as it was.
func (l *Library) Reload(fsys fs.FS) (*Library, error) {
	folders, err := folders(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the folder of tracks: %w", err)
	}
	if len(folders) == 0 {
		return nil, errors.New("there is no track here: a track is a folder with a file track.yaml")
	}
	terms, err := loadGlossary(fsys, folders)
	library := &Library{Glossary: terms.terms, pages: l.pages}
	errs := []error{err}
	if library.shared, err = sharedFiles(fsys, folders); err != nil {
		return nil, err
	}
	loader := loader{fsys: fsys, terms: terms, pages: l.pages}
	if library.shared == l.shared {
		loader.before = l.bySlug
	}
	for _, slug := range folders {
		track, err := loader.track(slug)
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
	errs = append(errs, library.index(), library.checkLinks(), library.checkAfter(), terms.checkArticles(library))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if library.shared == l.shared && slices.Equal(library.Articles, l.Articles) {
		return l, nil
	}
	return library, nil
}

// folders are the names of the folders in one, without hidden ones such as .git.
func folders(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && isFolder(fsys, path.Join(dir, e.Name()), e) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// isFolder says whether the entry is a folder, or a link to one.
func isFolder(fsys fs.FS, name string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	target, err := fs.Stat(fsys, name)
	return err == nil && target.IsDir()
}

// sharedFiles is a hash of the files that stand in the tracks' folders
// themselves, each of which may be about all articles.
func sharedFiles(fsys fs.FS, tracks []string) (sum [sha256.Size]byte, err error) {
	all := sha256.New()
	for _, track := range tracks {
		entries, err := fs.ReadDir(fsys, track)
		if err != nil {
			return sum, fmt.Errorf("read the folder of track %s: %w", track, err)
		}
		for _, e := range entries {
			if path.Ext(e.Name()) != ".yaml" {
				continue
			}
			data, err := fs.ReadFile(fsys, path.Join(track, e.Name()))
			if err != nil {
				return sum, fmt.Errorf("read a file of track %s: %w", track, err)
			}
			fmt.Fprintf(all, "%q %q %x\n", track, e.Name(), sha256.Sum256(data))
		}
	}
	return [sha256.Size]byte(all.Sum(nil)), nil
}

// loader loads one library.
type loader struct {
	fsys   fs.FS
	terms  *glossary
	before map[string]*Article // of the library before, by slug; what has not changed is taken from there
	pages  *pages
}

func (l *loader) track(slug string) (Track, error) {
	fsys := l.fsys
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
	track.Articles, err = l.articles(slug)
	return track, errors.Join(p.err(), err)
}

// articles loads a track's articles, as many at the same time as there are cores.
func (l *loader) articles(track string) ([]*Article, error) {
	names, err := folders(l.fsys, track)
	if err != nil {
		return nil, fmt.Errorf("read the folder of track %s: %w", track, err)
	}
	articles, errs := make([]*Article, len(names)), make([]error, len(names))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		work.Go(func() error {
			articles[i], errs[i] = l.article(track, name)
			return nil // all that is wrong is told, not what is found first
		})
	}
	_ = work.Wait()
	slices.SortStableFunc(articles, func(a, b *Article) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Title, b.Title))
	})
	return articles, errors.Join(errs...)
}

func (l *loader) article(track, slug string) (*Article, error) {
	a := &Article{Slug: slug, Track: track, Dir: path.Join(track, slug), glossary: l.terms, pages: l.pages}
	p := &problems{file: path.Join(a.Dir, "index.md")}
	if !validSlug(slug) {
		p.add(1, "the folder's name %q is not a slug: use lower-case letters, digits and single dashes", slug)
	}
	src, err := fs.ReadFile(l.fsys, p.file)
	if errors.Is(err, fs.ErrNotExist) {
		p.add(1, "this file is missing: it has the article's text")
		return a, p.err()
	}
	if err != nil {
		return a, fmt.Errorf("read article %s: %w", slug, err)
	}
	folder, err := fs.Sub(l.fsys, a.Dir)
	if err != nil {
		return a, fmt.Errorf("open the folder of article %s: %w", slug, err)
	}
	if old := l.before[slug]; old != nil && old.Dir == a.Dir && old.same(src, folder) {
		return old, nil
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
	a.source = source{index: src, folder: folder}
	return a, errors.Join(a.fill(p, text), p.err())
}

// fill checks the text, notes what the article has beside its HTML, and adds
// its problems to those of the file. The error is about anything else.
func (a *Article) fill(p *problems, text []byte) error {
	doc, _, err := check(p.file, text, a.options(a.take))
	p.found = append(p.found, Problems(err)...)
	a.folder = nil
	a.Contents, a.Words, a.Excerpt = doc.Contents, doc.Words, doc.Excerpt
	a.Links, a.Blocks, a.Quizzes = doc.Links, doc.Blocks, doc.Quizzes
	a.Terms, a.Cards, a.Sections = doc.Terms, doc.Cards, doc.Sections
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

// index makes articles found by their slug: they have one address each,
// whatever their track.
func (l *Library) index() error {
	var errs []error
	l.bySlug = make(map[string]*Article, len(l.Articles))
	for _, a := range l.Articles {
		if other := l.bySlug[a.Slug]; other != nil {
			errs = append(errs, Problem{File: path.Join(a.Dir, "index.md"), Line: 1,
				Msg: fmt.Sprintf("track %s has an article of this name too: rename one of the folders", other.Track)})
			continue
		}
		l.bySlug[a.Slug] = a
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
