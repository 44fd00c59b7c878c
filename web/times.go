package web

import (
	"context"
	"net/http"
	"time"
)

// Every moment that a page tells is a <time> element of times.templ. Its
// datetime is the moment with the server's offset; its text says it in the
// server's zone, with the zone's name. times.ts says it again in the reader's
// own zone where that differs, and takes dates of forms in that zone, too.
//
// The day of an article is no moment: see [day].

// timeForm is how much of a moment is said; times.ts knows the same forms.
type timeForm string

const (
	fullForm  timeForm = "full"  // Mon 30 November 2026, 09:00 CET
	shortForm timeForm = "short" // Mon 30 Nov, 09:00 CET; with the year when it is not this one
	exactForm timeForm = "exact" // as short, with the seconds: to find it in a log
	clockForm timeForm = "clock" // 09:00:00 CET
)

// nowKey is the context's key of when the page was asked for. The location of
// that time is the zone of all that the page tells.
type nowKey struct{}

// timed notes when a page was asked for.
func (s *server) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(asOf(r.Context(), s.Now())))
	})
}

func asOf(ctx context.Context, now time.Time) context.Context {
	return context.WithValue(ctx, nowKey{}, now)
}

// pageTime is when the page was asked for.
func pageTime(ctx context.Context) time.Time {
	if now, ok := ctx.Value(nowKey{}).(time.Time); ok {
		return now
	}
	return time.Now()
}

// timeWords says a moment in the server's zone.
func timeWords(ctx context.Context, t time.Time, form timeForm) string {
	now := pageTime(ctx)
	t = t.In(now.Location())
	date, clock := "Mon 2 Jan, ", "15:04 MST"
	if t.Year() != now.Year() {
		date = "Mon 2 Jan 2006, "
	}
	switch form {
	case fullForm:
		date = "Mon 2 January 2006, "
	case exactForm:
		clock = "15:04:05 MST"
	case clockForm:
		date, clock = "", "15:04:05 MST"
	}
	return t.Format(date + clock)
}

// stamp is a moment as machines read it, with the server's offset.
func stamp(ctx context.Context, t time.Time) string {
	return t.In(pageTime(ctx).Location()).Format(time.RFC3339)
}

// day is a date as people write it, the same for everybody.
func day(t time.Time) string { return t.Format("2 January 2006") }
