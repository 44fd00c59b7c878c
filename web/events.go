package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"drydock/labs"
	"drydock/store"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

// eventsPing is how often a quiet stream sends a comment, so that proxies do
// not close it and a page notices a connection that died.
const eventsPing = 15 * time.Second

// fragment is a part of the session's page that changes while it is open: an
// element with that id.
type fragment struct {
	id   string
	view templ.Component
}

// fragments are the changing parts of the page. The page is made of the same
// components, so that there is one renderer.
func (v sessionView) fragments() []fragment {
	all := []fragment{
		{"session-facts", sessionFacts(v)},
		{"session-banner", sessionBanner(v)},
		{"time-warning", sessionWarning(v)},
		{"session-short", sessionShort(v)},
		{"session-score", sessionScore(v)},
		{"session-time", sessionTime(v)},
		{"session-start", sessionStart(v)},
		{"guards", guardList(v)},
	}
	for _, t := range v.tasks() {
		all = append(all,
			fragment{"task-" + t.ID(), taskLine(t)},
			fragment{"head-" + t.ID(), taskHead(t)},
			fragment{"checks-" + t.ID(), taskChecks(t)},
			fragment{"ask-" + t.ID(), taskAsk(t)},
			fragment{"hints-" + t.ID(), taskHints(t)},
		)
	}
	return all
}

// sessionStream is one browser's stream of a session's page: it remembers
// what the browser has, and sends only what differs.
type sessionStream struct {
	w       http.ResponseWriter
	session *labs.Session
	view    sessionView
	sent    map[string]string // fragments by id, as the browser has them
}

// sessionEvents streams the changes of a session's page. The browser says by
// Last-Event-ID, or seq when it opens the page, which state it has.
func (s *server) sessionEvents(w http.ResponseWriter, r *http.Request, user store.User) error {
	session, learner, err := s.sessionFor(r, user)
	if err != nil {
		if attempt, known := s.Store.Attempt(r.Context(), chi.URLParam(r, "id")); known == nil && (attempt.User == user.ID || user.Role == store.RoleInstructor) {
			w.WriteHeader(http.StatusNoContent) // it is over: the browser need not come back
			return nil
		}
		return err
	}
	if learner {
		defer session.Join()()
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	stream := &sessionStream{w: w, session: session, sent: map[string]string{}}
	stream.view = sessionView{ID: session.ID(), Lab: session.Lab(), Controls: learner, Now: s.Now()}
	if stream.view.Typical, err = s.typicalStages(r.Context(), session.Lab().Slug); err != nil {
		return err
	}
	stream.view.Article, _ = s.Library().Article(session.Lab().Article)
	if err := stream.follow(r.Context(), s, lastSeen(r)); err != nil && r.Context().Err() == nil {
		s.Log.Warn("the stream of a session ended", "session", session.ID(), "err", err)
	}
	return nil
}

// lastSeen is the number of the last event that the browser's page shows; -1 when it is not told.
func lastSeen(r *http.Request) int64 {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("seq")
	}
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return seq
}

// follow sends what changes until the browser leaves or the session is over.
// A stream that could not keep up with the events begins anew with how things stand.
func (t *sessionStream) follow(ctx context.Context, s *server, seen int64) error {
	for first := true; ; first = false {
		events, cancel := s.Sessions.Subscribe(func(e labs.Event) bool { return e.Attempt == t.session.ID() })
		t.view.Progress = t.session.Snapshot()
		if first && seen == t.view.Progress.LastSeq {
			if _, err := t.changes(ctx); err != nil { // what the page was made of
				cancel()
				return err
			}
		}
		err := t.each(ctx, events)
		cancel()
		if err != nil || t.view.Progress.Phase.Over() || ctx.Err() != nil {
			return err
		}
	}
}

// each sends changes until the events end.
func (t *sessionStream) each(ctx context.Context, events <-chan labs.Event) error {
	ping := time.NewTicker(eventsPing)
	defer ping.Stop()
	for {
		if err := t.send(ctx); err != nil {
			return err
		}
		if t.view.Progress.Phase.Over() {
			return nil
		}
		select {
		case _, ok := <-events:
			if !ok || !drain(events) {
				return nil
			}
		case <-ping.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.view.Progress = t.session.Snapshot()
	}
}

// drain takes what is there; false when the channel was closed.
func drain(events <-chan labs.Event) bool {
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return false
			}
		default:
			return true
		}
	}
}

// send sends the fragments that changed, in one message, or a comment.
func (t *sessionStream) send(ctx context.Context) error {
	changed, err := t.changes(ctx)
	if err != nil {
		return err
	}
	message := ":\n\n"
	if changed != "" {
		message = fmt.Sprintf("id: %d\nevent: fragments\ndata: %s\n\n", t.view.Progress.LastSeq, strings.ReplaceAll(changed, "\n", "\ndata: "))
	}
	if _, err := t.w.Write([]byte(message)); err != nil {
		return fmt.Errorf("send to the browser: %w", err)
	}
	if err := http.NewResponseController(t.w).Flush(); err != nil {
		return fmt.Errorf("send to the browser: %w", err)
	}
	return nil
}

// changes renders the fragments that differ from what the browser has.
func (t *sessionStream) changes(ctx context.Context) (string, error) {
	var changed strings.Builder
	for _, f := range t.view.fragments() {
		var b strings.Builder
		if err := f.view.Render(ctx, &b); err != nil {
			return "", fmt.Errorf("render %s: %w", f.id, err)
		}
		if b.String() == t.sent[f.id] {
			continue
		}
		t.sent[f.id] = b.String()
		changed.WriteString(b.String())
	}
	return changed.String(), nil
}
