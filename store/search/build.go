package search

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

// built is an index of some pages. It does not change.
type built struct {
	db    *sql.DB
	pages []indexed
	vocabulary
}

// indexed is a page with the words of its titles, which decide about its rank.
type indexed struct {
	*Page
	titles   [][]token // of the title and the other names, without fillers
	headings [][]token // of each section
}

// term is a word as it is compared.
type term struct{ folded, stem string }

// columns of the table are the parts of a page, each with its weight. bm25 adds
// them up for each word before it levels off: a word in the title is worth more
// than any number of them in the text, and one in a heading some twenty.
func columns() []column {
	return []column{{"title", 4}, {"headings", 0.8}, {"summary", 0.6}, {"body", 0.04}, {"code", 0.02}}
}

type column struct {
	name   string
	weight float64
}

// build makes the index. Nothing is read back from the table but the numbers of
// rows, so that it keeps no text of its own (content=”).
func build(ctx context.Context, pages []Page) (_ *built, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build the search index: %w", err)
		}
	}()
	db, err := openMemory()
	if err != nil {
		return nil, err
	}
	b := &built{db: db}
	if err := b.fill(ctx, pages); err != nil {
		return nil, errors.Join(err, b.close())
	}
	readers := runtime.GOMAXPROCS(0)
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return b, nil
}

// openMemory opens a database that lives as long as it has a connection. The
// pool keeps at least one: connections have no age, and the last is not closed
// for being idle.
func openMemory() (*sql.DB, error) {
	name := make([]byte, 8)
	rand.Read(name) // never fails; see its documentation
	settings := url.Values{"vfs": {"memdb"}, "_journal_mode": {"OFF"}, "_synchronous": {"OFF"}, "_cache_size": {"-1024"}}
	db, err := sql.Open("sqlite3", "file:/search-"+hex.EncodeToString(name)+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func (b *built) close() error {
	if b == nil {
		return nil
	}
	return b.db.Close()
}

// fill writes the pages into the table.
func (b *built) fill(ctx context.Context, pages []Page) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	var names, marks []string
	for _, c := range columns() {
		names, marks = append(names, c.name), append(marks, "?")
	}
	list := strings.Join(names, ", ")
	if _, err := tx.ExecContext(ctx, `CREATE VIRTUAL TABLE pages USING fts5(`+list+`, content='', tokenize='ascii', prefix='2 3')`); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO pages (rowid, `+list+`) VALUES (?, `+strings.Join(marks, ", ")+`)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	all := newCollector()
	b.pages = make([]indexed, len(pages))
	for i := range pages {
		row := all.row(&pages[i])
		if _, err := insert.ExecContext(ctx, append([]any{i}, row...)...); err != nil {
			return err
		}
	}
	b.vocabulary = all.vocabulary()
	for i := range pages {
		b.pages[i] = b.index(&pages[i])
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO pages (pages) VALUES ('optimize')`); err != nil {
		return err
	}
	return tx.Commit()
}

func (v *vocabulary) index(p *Page) indexed {
	page := indexed{Page: p}
	for _, name := range append([]string{p.Title}, p.Names...) {
		page.titles = append(page.titles, slices.DeleteFunc(v.tokens(name), func(t token) bool { return isFiller(v.words[t.word].folded) }))
	}
	for _, s := range p.Sections {
		page.headings = append(page.headings, v.tokens(s.Title))
	}
	return page
}

// terms are the words of a short text.
func terms(text string) []term {
	var all []term
	words(text, func(w word) bool {
		folded := fold(text[w.start:w.end])
		all = append(all, term{folded, stem(folded)})
		return true
	})
	return all
}
