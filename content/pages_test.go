package content

import (
	"errors"
	"strings"
	"testing"
)

// Pages are kept up to a bound, those that were asked for last.
func TestPagesAreBounded(t *testing.T) {
	p := newPages()
	a, b, c := &Article{}, &Article{}, &Article{}
	made := map[*Article]int{}
	ask := func(one *Article) {
		t.Helper()
		html, err := p.html(one, func() (string, error) {
			made[one]++
			return strings.Repeat("x", maxPages*2/5), nil
		})
		if err != nil || len(html) != maxPages*2/5 {
			t.Fatalf("%d bytes, %v", len(html), err)
		}
	}
	for _, one := range []*Article{a, b, a, c, a, b} {
		ask(one) // c takes the place of b, and b that of c
	}
	if made[a] != 1 || made[b] != 2 || made[c] != 1 {
		t.Errorf("made %d, %d and %d times, want 1, 2 and 1", made[a], made[b], made[c])
	}
	if p.bytes > maxPages || len(p.of) != 2 || p.order.Len() != 2 {
		t.Errorf("%d bytes of %d pages are kept", p.bytes, len(p.of))
	}
}

func TestAPageThatFailedIsToldAsSuch(t *testing.T) {
	p := newPages()
	a := &Article{}
	broken := errors.New("broken")
	for range 2 {
		if _, err := p.html(a, func() (string, error) { return "", broken }); !errors.Is(err, broken) {
			t.Errorf("the error is %v", err)
		}
	}
}
