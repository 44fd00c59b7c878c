package content

import (
	"container/list"
	"sync"
)

// maxPages is how many bytes of rendered pages a library keeps: a thousand
// articles of 4,000 words. Rendering one anew takes some milliseconds.
const maxPages = 64 << 20

// pages are the rendered pages of a library that were asked for last.
type pages struct {
	mu    sync.Mutex
	of    map[*Article]*list.Element
	order *list.List // of *page; what was asked for last is first
	bytes int
}

// page is one that is kept, or is being made.
type page struct {
	article *Article
	once    func() (string, error)
	size    int // 0 while it is made
}

func newPages() *pages { return &pages{of: map[*Article]*list.Element{}, order: list.New()} }

// html returns the article's page. However many ask at once, it is rendered
// once.
func (p *pages) html(a *Article, render func() (string, error)) (string, error) {
	one := p.find(a, render)
	html, err := one.once()
	p.weigh(one, len(html))
	return html, err
}

func (p *pages) find(a *Article, render func() (string, error)) *page {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.of[a]; ok {
		p.order.MoveToFront(kept)
		return kept.Value.(*page)
	}
	one := &page{article: a, once: sync.OnceValues(render)}
	p.of[a] = p.order.PushFront(one)
	return one
}

// weigh notes the size of a page that was made, and lets go of those that
// nobody asked for the longest.
func (p *pages) weigh(one *page, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.of[one.article]; !ok || kept.Value != one || one.size != 0 {
		return
	}
	one.size = max(size, 1)
	p.bytes += one.size
	for p.bytes > maxPages {
		last := p.order.Back()
		old := p.order.Remove(last).(*page)
		delete(p.of, old.article)
		p.bytes -= old.size
	}
}
