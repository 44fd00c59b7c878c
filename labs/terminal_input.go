package labs

import (
	"context"
	"sync"

	"drydock/sandbox"
)

// inputQueue holds what was typed until the shell takes it. Without it a
// shell that does not read would block the viewer's acknowledgements, and with
// them its own output.
type inputQueue struct {
	news  chan struct{}
	mu    sync.Mutex
	items []inputItem
	size  int // bytes waiting
	limit int
}

// inputItem is typed bytes or, when data is nil, a new size.
type inputItem struct {
	data []byte
	size sandbox.Size
}

func newInputQueue(limit int) *inputQueue {
	return &inputQueue{news: make(chan struct{}, 1), limit: limit}
}

// typed appends a copy of p, or returns false when there is no room for all of it.
func (q *inputQueue) typed(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size+len(p) > q.limit {
		return false
	}
	q.size += len(p)
	q.items = append(q.items, inputItem{data: append([]byte(nil), p...)})
	q.signal()
	return true
}

// resize appends a change of size. While nobody takes items out, earlier
// changes that nothing was typed after are of no more interest, except the
// one just before: a change and its undoing make programs draw again.
func (q *inputQueue) resize(size sandbox.Size) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.items); n >= 2 && q.items[n-1].data == nil && q.items[n-2].data == nil {
		q.items = append(q.items[:n-2], q.items[n-1])
	}
	q.items = append(q.items, inputItem{size: size})
	q.signal()
}

func (q *inputQueue) signal() {
	select {
	case q.news <- struct{}{}:
	default:
	}
}

func (q *inputQueue) next() (inputItem, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return inputItem{}, false
	}
	item := q.items[0]
	q.items = q.items[1:]
	q.size -= len(item.data)
	return item, true
}

// dropTyped forgets what was typed for a connection that is gone: nobody expects it to run later.
func (q *inputQueue) dropTyped() {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.items[:0]
	for _, item := range q.items {
		if item.data == nil {
			kept = append(kept, item)
		}
	}
	q.items, q.size = kept, 0
}

// feed passes items on to the shell until ctx ends or the shell takes no more.
func (q *inputQueue) feed(ctx context.Context, term sandbox.Terminal) {
	for {
		item, ok := q.next()
		if !ok {
			select {
			case <-q.news:
				continue
			case <-ctx.Done():
				return
			}
		}
		var err error
		if item.data == nil {
			err = term.Resize(item.size)
		} else {
			_, err = term.Write(item.data)
		}
		if err != nil {
			return // the reader of the same connection finds out why
		}
	}
}
