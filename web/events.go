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
	// key tells whether the fragment changed, where words of its own change by
	// the second and the page's script keeps them right; nil: the view tells it.
	key templ.Component
}

// fragments are the changing parts of the page. The page is made of the same
// components, so that there is one renderer.
func (v sessionView) fragments() []fragment {
	still := v
	still.Now = v.Progress.Expires // a clock that stands: the script counts
	all := []fragment{
		{id: "session-facts", view: sessionFacts(v)},
		{id: "session-banner", view: sessionBanner(v)},
		{id: "session-standing", view: sessionStanding(v)},
		{id: "time-warning", view: sessionWarning(v)},
		{id: "session-short", view: sessionShort(v)},
		{id: "session-score", view: sessionScore(v)},
		{id: "session-time", view: sessionTime(v), key: sessionTime(still)},
		{id: "session-start", view: sessionStart(v)},
		{id: "guards", view: guardList(v)},
	}
	for _, t := range v.tasks() {
		all = append(all,
			fragment{id: "task-" + t.ID(), view: taskLine(t)},
			fragment{id: "head-" + t.ID(), view: taskHead(t)},
			fragment{id: "checks-" + t.ID(), view: taskChecks(t)},
			fragment{id: "ask-" + t.ID(), view: taskAsk(t)},
			fragment{id: "hints-" + t.ID(), view: taskHints(t)},
		)
	}
	return all
}

// fragmentStream is one browser's stream of a page: it remembers what the
// browser has, and sends only what differs.
type fragmentStream struct {
	w    http.ResponseWriter
	sent map[string]string // fragments by id, as the browser has them
}

func newFragmentStream(w http.ResponseWriter) fragmentStream {
	streamHeader(w)
	return fragmentStream{w: w, sent: map[string]string{}}
}

// streamHeader says that an event stream follows.
func streamHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
}

// sessionStream is one browser's stream of a session's page.
type sessionStream struct {
	fragmentStream
	session *labs.Session
	view    sessionView
	now     func() time.Time
}

// look takes in how the session stands now.
func (t *sessionStream) look() {
	t.view.Progress, t.view.Now = t.session.Snapshot(), t.now()
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
	stream := &sessionStream{fragmentStream: newFragmentStream(w), session: session, now: s.Now}
	stream.view = sessionView{ID: session.ID(), Lab: session.Lab(), Controls: learner}
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
		events, cancel := s.Sessions.Subscribe(func(e labs.Event) bool { return e.Attempt == t.session.ID() && e.Type != labs.EventShell })
		t.look()
		if first && seen == t.view.Progress.LastSeq {
			if _, err := t.changes(ctx, t.view.fragments()); err != nil { // what the page was made of
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
		if err := t.send(ctx, fmt.Sprintf("id: %d\n", t.view.Progress.LastSeq), t.view.fragments()); err != nil {
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
		t.look()
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

// send sends the fragments that changed, in one message, or a comment. The
// message has the given lines before its own.
func (t fragmentStream) send(ctx context.Context, head string, all []fragment) error {
	changed, err := t.changes(ctx, all)
	if err != nil {
		return err
	}
	message := ":\n\n"
	if changed != "" {
		message = head + "event: fragments\ndata: " + strings.ReplaceAll(changed, "\n", "\ndata: ") + "\n\n"
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
func (t fragmentStream) changes(ctx context.Context, all []fragment) (string, error) {
	var changed strings.Builder
	for _, f := range all {
		html, err := f.render(ctx, f.view)
		if err != nil {
			return "", err
		}
		key := html
		if f.key != nil {
			if key, err = f.render(ctx, f.key); err != nil {
				return "", err
			}
		}
		if key == t.sent[f.id] {
			continue
		}
		t.sent[f.id] = key
		changed.WriteString(html)
	}
	return changed.String(), nil
}

func (f fragment) render(ctx context.Context, view templ.Component) (string, error) {
	var b strings.Builder
	if err := view.Render(ctx, &b); err != nil {
		return "", fmt.Errorf("render %s: %w", f.id, err)
	}
	return b.String(), nil
}
