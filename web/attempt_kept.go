package web

import (
	"errors"
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"drydock/labs"
	"drydock/store"
)

func keptURL(attempt string) string { return "/attempts/" + attempt + "/sandbox" }

// keptView is what is kept of an attempt's sandbox; nil when nothing is.
func (s *server) keptView(r *http.Request, attempt labs.Attempt, user store.User) (*keptView, error) {
	kept, ok := s.Sessions.Kept(attempt.ID)
	if !ok {
		return nil, nil
	}
	lab, _, err := s.labOf(r.Context(), attempt)
	if err != nil {
		return nil, err
	}
	learner, err := s.Store.User(r.Context(), attempt.User)
	if err != nil {
		return nil, err
	}
	return &keptView{Kept: kept, Attempt: attempt, Title: lab.Title, Learner: learner.Name, Teaches: user.Role == store.RoleInstructor}, nil
}

// keptFor finds the kept sandbox that a request is about.
func (s *server) keptFor(r *http.Request, user store.User) (keptView, error) {
	attempt, err := s.attemptFor(r, user)
	if err != nil {
		return keptView{}, err
	}
	view, err := s.keptView(r, attempt, user)
	if err != nil {
		return keptView{}, err
	}
	if view == nil {
		p := notFound("sandbox")
		p.Text = "The sandbox of this attempt is not kept any more: its time was over, or its memory was needed."
		p.Suggestions = []link{{"/attempts/" + attempt.ID, "The report"}}
		return keptView{}, p
	}
	return *view, nil
}

// keptSandbox shows an instructor the sandbox of an attempt as it was left.
func (s *server) keptSandbox(w http.ResponseWriter, r *http.Request, user store.User) error {
	view, err := s.keptFor(r, user)
	if err != nil {
		return err
	}
	page := s.page(r, "The sandbox of "+view.Learner+": "+view.Title)
	page.Active, page.Shape = "labs", "app"
	page.Styles = []string{"session.css"}
	page.Scripts = []string{"session.js"}
	return s.render(w, r, http.StatusOK, keptPage(page, view))
}

// keptTerminal connects a browser's tab to a terminal of a kept sandbox, which
// wakes it.
func (s *server) keptTerminal(w http.ResponseWriter, r *http.Request, user store.User) error {
	attempt, err := s.attemptFor(r, user)
	if err != nil {
		return err
	}
	conn := s.acceptTerminal(w, r, attempt.ID)
	if conn == nil {
		return nil
	}
	defer conn.CloseNow()
	hub, leave, err := s.Sessions.OpenKept(r.Context(), attempt.ID)
	switch {
	case errors.Is(err, labs.ErrNotThere):
		conn.Close(closeOver, "The sandbox is not kept any more.")
		return nil
	case err != nil:
		s.Log.Error("a kept sandbox can't be opened", "session", attempt.ID, "err", err)
		conn.Close(closeNotNow, "The sandbox does not answer.")
		return nil
	}
	defer leave()
	s.Log.Info("an instructor opens a kept sandbox", "session", attempt.ID, "by", user.Login)
	q := r.URL.Query()
	viewer, err := hub.Attach(r.Context(), q.Get("tab"), sizeOf(q), 0, true)
	if err != nil {
		conn.Close(closeCode(err))
		return nil
	}
	defer viewer.Detach()
	t := &terminalConn{conn: conn, viewer: viewer}
	if err := t.run(r.Context()); errors.Is(err, io.EOF) {
		conn.Close(closeOver, "The sandbox stands still again, because nobody typed for a while, or the terminal was closed. Reload the page to go on.")
	} else if err != nil {
		s.Log.Debug("a terminal's connection ended", "session", attempt.ID, "tab", q.Get("tab"), "err", err)
	}
	return nil
}

// closeKeptTab ends a shell of a kept sandbox.
func (s *server) closeKeptTab(w http.ResponseWriter, r *http.Request, user store.User) error {
	view, err := s.keptFor(r, user)
	if err != nil {
		return err
	}
	hub, leave, err := s.Sessions.OpenKept(r.Context(), view.Attempt.ID)
	if err != nil {
		return err
	}
	defer leave()
	if err := hub.Close(chi.URLParam(r, "tab")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) removeKeptForm(w http.ResponseWriter, r *http.Request, user store.User) error {
	view, err := s.keptFor(r, user)
	if err != nil {
		return err
	}
	page := s.page(r, "Remove the sandbox of "+view.Learner)
	page.Active = "labs"
	return s.render(w, r, http.StatusOK, removeKeptPage(page, view))
}

func (s *server) removeKept(w http.ResponseWriter, r *http.Request, user store.User) error {
	attempt, err := s.attemptFor(r, user)
	if err != nil {
		return err
	}
	s.Log.Info("an instructor removes a kept sandbox", "session", attempt.ID, "by", user.Login)
	s.Sessions.DropKept(attempt.ID)
	return redirect(w, r, "/attempts/"+attempt.ID)
}
