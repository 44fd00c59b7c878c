package web

import (
	"strings"
	"testing"

	"drydock/content"
)

// Pages for visitors are kept up to a bound, and none of a library that is not
// served any more.
func TestVisitorPagesAreBounded(t *testing.T) {
	var v visitorPages
	old, now := &content.Library{}, &content.Library{}
	v.keep(visitorKey{library: old}, &visitorPage{plain: []byte("old")})
	const size = maxVisitorPages / 3
	text := []byte(strings.Repeat("x", size))
	var last visitorKey
	for range 4 {
		last = visitorKey{library: now, article: &content.Article{}}
		v.keep(last, &visitorPage{plain: text})
	}
	if v.find(last) == nil {
		t.Error("the page that was made last is not kept")
	}
	if v.find(visitorKey{library: old}) != nil {
		t.Error("a page of the library before is kept")
	}
	if len(v.pages) != 3 || v.bytes != 3*size {
		t.Errorf("%d pages of %d bytes are kept", len(v.pages), v.bytes)
	}
	v.keep(last, &visitorPage{plain: text[:1]})
	if v.bytes != 2*size+1 {
		t.Errorf("%d bytes after one was made again", v.bytes)
	}
}
