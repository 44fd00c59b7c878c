package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"drydock/store"

	"github.com/go-chi/chi/v5"
)

const (
	// Told to browsers; the store is what checks them.
	minPassword, maxPassword = 10, 1024
	passwordHint             = "At least 10 characters. Three or four unrelated words are easy to remember."
)

// form is what somebody typed and what was wrong with it.
type form struct {
	Values map[string]string
	Errors map[string]string // by field; "" for the form as a whole
}

// readForm takes the named fields of a posted form.
func readForm(r *http.Request, names ...string) (form, error) {
	if err := r.ParseForm(); err != nil {
		return form{}, badForm(err)
	}
	f := form{Values: map[string]string{}, Errors: map[string]string{}}
	for _, name := range names {
		f.Values[name] = r.PostForm.Get(name)
	}
	return f, nil
}

// blame puts what the store found wrong beside the fields it found it in. It
// returns err when that is not about what was typed.
func (f form) blame(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		found := false
		for _, e := range joined.Unwrap() {
			if f.blame(e) == nil {
				found = true
			}
		}
		if found {
			return nil
		}
		return err
	}
	if invalid, ok := err.(*store.InvalidError); ok {
		f.Errors[invalid.Field] = invalid.Msg
		return nil
	}
	if inner := errors.Unwrap(err); inner != nil {
		if f.blame(inner) == nil {
			return nil
		}
	}
	return err
}

func (s *server) signInForm(w http.ResponseWriter, r *http.Request) error {
	next := localPath(r.URL.Query().Get("next"))
	if _, ok := signedIn(r.Context()); ok {
		return redirect(w, r, next)
	}
	return s.showSignIn(w, r, http.StatusOK, form{}, next)
}

func (s *server) showSignIn(w http.ResponseWriter, r *http.Request, status int, f form, next string) error {
	return s.render(w, r, status, signInPage(s.page(r, "Sign in"), f, next))
}

func (s *server) signIn(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r, "login", "password", "next")
	if err != nil {
		return err
	}
	login := strings.TrimSpace(f.Values["login"])
	if s.limits.tooManyFor(w, r, login) {
		return nil // answered
	}
	user, err := s.Store.CheckPassword(r.Context(), login, f.Values["password"])
	if errors.Is(err, store.ErrWrongPassword) {
		f.Errors[""] = "The login or the password is wrong."
		return s.showSignIn(w, r, http.StatusUnauthorized, f, localPath(f.Values["next"]))
	}
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	if err := s.startSignIn(w, r, user); err != nil {
		return err
	}
	return redirect(w, r, localPath(f.Values["next"]))
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(SignInCookie); err == nil {
		if err := s.Store.SignOut(r.Context(), cookie.Value); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("sign out: %w", err)
		}
	}
	s.clearCookie(w, r, SignInCookie)
	return redirect(w, r, "/")
}

// checkSetup is nil while the one-time link of the first instructor works.
func (s *server) checkSetup(r *http.Request) error {
	return setupProblem(s.Store.CheckSetup(r.Context(), chi.URLParam(r, "token")))
}

func setupProblem(err error) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return problem(http.StatusGone, "This link was used", "The first instructor has an account already. Sign in, or ask that instructor for an invite.")
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusGone, "This link no longer works",
			"Each start of Drydock prints a new one-time link and older ones end. Take the newest one from the server’s output.")
	}
	return err
}

func (s *server) setupForm(w http.ResponseWriter, r *http.Request) error {
	if err := s.checkSetup(r); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, setupPage(s.page(r, "Make the first account"), form{}))
}

func (s *server) setup(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r, "name", "login", "password")
	if err != nil {
		return err
	}
	user, err := s.Store.RedeemSetup(r.Context(), chi.URLParam(r, "token"), f.newUser())
	if err == nil {
		if err := s.startSignIn(w, r, user); err != nil {
			return err
		}
		s.notify(w, r, "Your account is ready. Next: make a cohort and invite its learners.")
		return redirect(w, r, "/teach/cohorts")
	}
	if blamed := f.blame(err); blamed != nil {
		return setupProblem(blamed)
	}
	return s.render(w, r, http.StatusUnprocessableEntity, setupPage(s.page(r, "Make the first account"), f))
}

func (f form) newUser() store.NewUser {
	return store.NewUser{Name: f.Values["name"], Login: f.Values["login"], Password: f.Values["password"]}
}

// invite finds the invite of the address, or says whom to ask for another.
func (s *server) invite(r *http.Request) (store.Invite, error) {
	invite, err := s.Store.Invite(r.Context(), chi.URLParam(r, "token"))
	return invite, s.inviteProblem(r, invite, err)
}

func (s *server) inviteProblem(r *http.Request, invite store.Invite, err error) error {
	switch {
	case errors.Is(err, store.ErrExpired):
		whom := "your instructor"
		if by, err := s.Store.User(r.Context(), invite.CreatedBy); err == nil {
			whom = by.Name
		}
		return problem(http.StatusGone, "This invite has ended",
			"It has expired, was used up or was withdrawn. Ask "+whom+" for a new link. If you have an account already, just sign in.")
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "No such invite", "The link may have been cut short when it was copied. Ask whoever sent it for the whole link.")
	}
	return err
}

func (s *server) joinForm(w http.ResponseWriter, r *http.Request) error {
	invite, err := s.invite(r)
	if err != nil {
		return err
	}
	return s.showJoin(w, r, http.StatusOK, invite, form{})
}

func (s *server) showJoin(w http.ResponseWriter, r *http.Request, status int, invite store.Invite, f form) error {
	return s.render(w, r, status, joinPage(s.page(r, "Join "+invite.CohortName), invite, f))
}

// join makes an account in the invite's cohort, or moves the account that is
// signed in there.
func (s *server) join(w http.ResponseWriter, r *http.Request) error {
	token := chi.URLParam(r, "token")
	f, err := readForm(r, "name", "login", "password")
	if err != nil {
		return err
	}
	invite, err := s.invite(r)
	if err != nil {
		return err
	}
	if user, ok := signedIn(r.Context()); ok {
		if _, err := s.Store.JoinWithInvite(r.Context(), token, user.ID); err != nil {
			return s.inviteProblem(r, invite, err)
		}
		s.notify(w, r, "You are now in "+invite.CohortName+".")
		return redirect(w, r, "/")
	}
	user, err := s.Store.RedeemInvite(r.Context(), token, f.newUser())
	if err != nil {
		if blamed := f.blame(err); blamed != nil {
			return s.inviteProblem(r, invite, blamed)
		}
		return s.showJoin(w, r, http.StatusUnprocessableEntity, invite, f)
	}
	if err := s.startSignIn(w, r, user); err != nil {
		return err
	}
	s.notify(w, r, "Welcome to "+invite.CohortName+", "+user.Name+".")
	return redirect(w, r, "/")
}

func (s *server) accountForm(w http.ResponseWriter, r *http.Request, user store.User) error {
	return s.showAccount(w, r, http.StatusOK, user, form{})
}

func (s *server) showAccount(w http.ResponseWriter, r *http.Request, status int, user store.User, f form) error {
	cohort := ""
	if user.Cohort != 0 {
		c, err := s.Store.Cohort(r.Context(), user.Cohort)
		if err != nil {
			return fmt.Errorf("look up the cohort: %w", err)
		}
		cohort = c.Name
	}
	page := s.page(r, "Your account")
	page.Active = "account"
	return s.render(w, r, status, accountPage(page, cohort, f))
}

// changePassword also signs the account out everywhere else.
func (s *server) changePassword(w http.ResponseWriter, r *http.Request, user store.User) error {
	f, err := readForm(r, "current", "password")
	if err != nil {
		return err
	}
	if s.limits.tooManyFor(w, r, user.Login) {
		return nil // answered
	}
	_, err = s.Store.CheckPassword(r.Context(), user.Login, f.Values["current"])
	if errors.Is(err, store.ErrWrongPassword) {
		f.Errors["current"] = "This is not your present password."
		return s.showAccount(w, r, http.StatusUnprocessableEntity, user, f)
	}
	if err != nil {
		return fmt.Errorf("check the present password: %w", err)
	}
	if err := s.Store.SetPassword(r.Context(), user.ID, f.Values["password"]); err != nil {
		if blamed := f.blame(err); blamed != nil {
			return fmt.Errorf("change the password: %w", blamed)
		}
		return s.showAccount(w, r, http.StatusUnprocessableEntity, user, f)
	}
	if err := s.startSignIn(w, r, user); err != nil {
		return err
	}
	s.notify(w, r, "Your password is changed. Other browsers are signed out.")
	return redirect(w, r, "/account")
}
