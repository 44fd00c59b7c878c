package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"drydock/sandbox"
	"drydock/store"
)

// problemError is an error with the words for its page.
type problemError struct {
	Status      int
	Title       string // the page's heading
	Text        string // what happened and what to do, in a sentence or two
	Suggestions []link // pages that may have been meant
	Heading     string // above them, when it is not that they may have been meant
	ID          string // of the log line, for what only the operator can mend
	Detail      string // the cause, shown only with Config.Dev
}

func (p *problemError) Error() string { return fmt.Sprintf("%d %s", p.Status, p.Title) }

// link is a page of this site and its name.
type link struct{ URL, Text string }

// problem is an error whose page says title and text with that status.
func problem(status int, title, text string) *problemError {
	return &problemError{Status: status, Title: title, Text: text}
}

// notFound says that there is no such thing, and names the nearest that exist.
func notFound(what string, suggestions ...link) *problemError {
	return &problemError{
		Status:      http.StatusNotFound,
		Title:       "No such " + what,
		Text:        "There is no " + what + " at this address. It may have been renamed, or the link was cut short.",
		Suggestions: suggestions,
	}
}

// notYours answers for what may exist but is not the reader's to see: the same
// as for what does not exist, so that nobody can find out by guessing.
func notYours(what string) *problemError {
	p := notFound(what)
	p.Text += " If it belongs to someone else, it is not shown to you."
	return p
}

func (s *server) unknownPage(r *http.Request) error {
	return notFound("page", s.suggestionsForPath(r.URL.Path)...)
}

// panicError is a recovered panic.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func stack() []byte { return debug.Stack() }

// problemOf says what an error means to the one who asked. What it does not
// know is ours: a 500 that shows nothing of its cause.
func problemOf(err error) *problemError {
	var known *problemError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		page := *known // the caller adds an id: a shared value must not change
		return &page
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "That is too much at once",
			fmt.Sprintf("Drydock takes up to %d KiB here. Go back and send less.", tooLarge.Limit>>10))
	case errors.Is(err, store.ErrNotFound):
		return notFound("page")
	case errors.Is(err, store.ErrExpired):
		return problem(http.StatusGone, "This link is no longer valid", "It has expired. Ask whoever gave it to you for a new one.")
	case errors.Is(err, store.ErrDiskFull):
		return problem(http.StatusInsufficientStorage, "The server’s disk is full",
			"This could not be saved; what was saved before is safe. Tell whoever runs this server, and try again once there is room.")
	case errors.Is(err, sandbox.ErrEngine), errors.Is(err, sandbox.ErrNoImage):
		return problem(http.StatusServiceUnavailable, "Labs can’t be started right now",
			"The part of Drydock that runs labs does not answer. Nothing of yours is lost: articles stay readable, and running labs go on once it is back. "+
				"Whoever runs this server can find out more with “drydock doctor”.")
	default:
		return problem(http.StatusInternalServerError, "Something broke on our side",
			"This is a fault of Drydock, not yours. Try again; if it stays, tell whoever runs this server the number below.")
	}
}

// fail is the one place that turns an error into an answer: a page, or plain
// text for a script that did not ask for HTML.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // nobody is there to read it
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		p.ID = errorID()
		attrs := []any{"id", p.ID, "method", r.Method, "path", loggedPath(r.URL.Path), "err", err}
		var panicked *panicError
		if errors.As(err, &panicked) {
			attrs = append(attrs, "stack", string(panicked.stack))
		}
		s.Log.Log(r.Context(), slog.LevelError, "request failed", attrs...)
		if s.Dev {
			p.Detail = err.Error()
		}
	}
	if !wantsPage(r) {
		http.Error(w, p.plain(), p.Status)
		return
	}
	page := s.page(r, p.Title)
	page.Styles = nil
	if err := s.render(w, r, p.Status, problemPage(page, p)); err != nil {
		s.Log.Error("render the error page", "err", err)
		http.Error(w, p.plain(), p.Status)
	}
}

// plain is the problem in one line of text.
func (p *problemError) plain() string {
	text := p.Title + ". " + p.Text
	if p.ID != "" {
		text += " (" + p.ID + ")"
	}
	return text
}

// wantsPage reports whether a person is to read the answer. Scripts ask with
// fetch, whose Accept is */* or names another type.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html") || r.Header.Get("Accept") == ""
}

// errorID is short enough to be read out on the telephone.
func errorID() string {
	var b [4]byte
	rand.Read(b[:]) // never fails; see its documentation
	return hex.EncodeToString(b[:])
}

// badForm says that the browser sent something that is no form, or too much of it.
func badForm(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return problem(http.StatusBadRequest, "That form could not be read", "Go back, reload the page and try again.")
}
