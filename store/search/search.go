// Package search finds pages by their words: articles, labs, and whatever else
// is given to it. It owns an index in memory, which is derived from the pages
// and built anew when they change; nothing of it is kept on disk.
//
// The index is a table of SQLite's FTS5, one row for each page, with a column
// for each part that weighs differently. Words are told apart, folded and cut
// down to their stems here, not by a tokenizer of SQLite, so that the same rules
// hold for what is indexed, for what is typed, and for what is marked in a
// result; docs/decisions/0020 says why. What FTS5 is asked is made of letters,
// digits and operators that this package writes itself, whatever was typed.
//
// A page is found when it has all words that were typed: anywhere, the last of
// them also as the beginning of a word. Where that finds little, words are also
// looked for with one letter changed, and where it finds nothing, pages are
// found that have some of the words. Those with the words in their title come
// first, then those with a heading that has them, each by bm25.
//
// The package may import content, for its types only.
package search

import (
	"context"
	"errors"
	"sync"
	"time"

	"drydock/content"
)

// Page is something that is found. It must not be changed after it was given to
// [Index.Build]: the index keeps its texts and makes the results from them.
type Page struct {
	Kind     string // such as article: what results can be filtered by
	Track    string // the slug; may be empty
	URL      string
	Title    string
	Names    []string // others that it goes by, such as the forms of a term
	Note     bool     // it is one or two sentences, such as a term of a glossary, and not what somebody reads
	Summary  string
	Sections []content.Section // in order; their ids are fragments of the URL
}

// Query is what is looked for. Any text is valid.
type Query struct {
	Text        string
	Kind, Track string // only those; empty: all
	Limit       int    // of hits in the results; at most [MaxHits], which 0 is, too
}

const (
	// MaxQuery is how much of a text is looked at, in characters: what people
	// type into one line, and a long error message.
	MaxQuery = 200
	// maxUnits is how many words of it: each is looked up by itself, and a dozen
	// leaves few pages to tell apart.
	maxUnits = 12
	// MaxHits is how many pages are listed: nobody reads further, they type
	// another word.
	MaxHits = 20
	// maxPlaces is how many places of one page a hit leads to.
	maxPlaces = 3
	// little is the number of pages from which on words are taken to be typed as
	// they were meant.
	little = 2
	// patience ends a search that takes far longer than any should.
	patience = 2 * time.Second
)

// Results are the pages that were found, best first.
type Results struct {
	Hits  []Hit
	Total int // of pages found; Hits may be fewer
	All   int // of pages that would be found without filters
	// Kinds and Tracks count what would be found with another filter of that
	// sort, in the order of their names.
	Kinds, Tracks []Count
	// Also are words with one letter changed that some hits were found by.
	Also []string
	// Some is set when no page has all of the words, and the hits only some.
	Some bool
	// Nearest are words that there are pages for and that are nearest to those
	// typed, where nothing was found.
	Nearest []string
}

// Count is how many pages found are of a kind or a track.
type Count struct {
	Name  string
	Pages int
}

// Hit is a page that was found, with the places in it that fit best: at least
// one, the best first.
type Hit struct {
	*Page
	Title  []Part // marked
	Places []Place
}

// Place is where in a page the words are.
type Place struct {
	ID      string // the fragment of its address; empty: the page's beginning
	Heading []Part // empty at the page's beginning
	Snippet []Part // some words around those that were looked for
	Code    bool   // the snippet is of code
}

// Part is a piece of a text. Mark is set for words that were looked for.
type Part struct {
	Text string
	Mark bool
}

var (
	// ErrNotBuilt: there is no index yet, or not any more.
	ErrNotBuilt = errors.New("the search index is not built")
	// ErrClosed: the index was closed, as at the end of the program.
	ErrClosed = errors.New("the search index is closed")
)

// Index is what is searched. Its methods may be called from any goroutine.
type Index struct {
	closing context.Context
	close   context.CancelFunc
	build   sync.Mutex // one at a time

	mu  sync.RWMutex // held for reading while a search uses now
	now *built       // nil: not yet, or closed
}

// New returns an index that has nothing yet.
func New() *Index {
	x := &Index{}
	x.closing, x.close = context.WithCancel(context.Background())
	return x
}

// Close gives the memory back. A build that is under way ends with an error.
func (x *Index) Close() error {
	x.close()
	x.build.Lock()
	defer x.build.Unlock()
	return x.swap(nil)
}

// Build makes the index of these pages and puts it in the place of the one
// before, which is searched meanwhile.
func (x *Index) Build(ctx context.Context, pages []Page) error {
	x.build.Lock()
	defer x.build.Unlock()
	if x.closing.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.closing, cancel)()
	fresh, err := build(ctx, pages)
	if err != nil {
		return err
	}
	return x.swap(fresh)
}

// swap waits for the searches that use the old index, and no longer.
func (x *Index) swap(fresh *built) error {
	x.mu.Lock()
	old := x.now
	x.now = fresh
	x.mu.Unlock()
	return old.close()
}

// Find returns what fits the query; [ErrNotBuilt] while there is no index.
func (x *Index) Find(ctx context.Context, q Query) (Results, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.now == nil {
		return Results{}, ErrNotBuilt
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return x.now.find(ctx, q)
}
