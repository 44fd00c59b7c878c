package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/labs"
	"drydock/store"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

const (
	// An invite is for one course: long enough to reach everyone, short enough
	// that a forwarded link soon dies.
	defaultInviteDays = 7
	maxInviteDays     = 90
	// maxInviteUses is larger than any class.
	maxInviteUses = 1000
)

// cohortsView is the page of cohorts.
type cohortsView struct {
	New    form       // to make one
	Made   *newInvite // by the form that led here
	Give   form       // to give the cohort GiveTo a lab
	GiveTo int64
	// The rest is filled in by showCohorts.
	Cohorts   []cohortView
	Operators []string
	Now       time.Time
}

// cohortView is a cohort with its invites and labs.
type cohortView struct {
	store.Cohort
	Invites   []store.Invite
	ChangedBy string // who trusted it or withdrew that, by name; empty: nobody, or on the command line
	Given     []givenLab
	Choices   []*labs.Lab // what it can be given yet
	Give      form
}

// giveID is the id of a field of the form that gives it a lab.
func (c cohortView) giveID(name string) string { return cohortID(c.ID) + "-" + name }

// giveState says what describes such a field, and marks it when something is
// wrong with it. The page opens at the first of those: it may be far down.
func (c cohortView) giveState(name string) templ.Attributes {
	var described []string
	state := templ.Attributes{}
	if c.Give.Errors[name] != "" {
		described = append(described, c.giveID(name)+"-error")
		state["aria-invalid"], state["autofocus"] = "true", c.firstWrong() == name
	}
	if name != "lab" {
		described = append(described, c.giveID("zone"))
	}
	if len(described) > 0 {
		state["aria-describedby"] = strings.Join(described, " ")
	}
	return state
}

// firstWrong is the first field with something wrong.
func (c cohortView) firstWrong() string {
	fields := []string{"lab", "begins", "due"} // in the form's order
	first := slices.IndexFunc(fields, func(n string) bool { return c.Give.Errors[n] != "" })
	if first < 0 {
		return ""
	}
	return fields[first]
}

// newInvite is an invite that was just made: the only time its link is known.
type newInvite struct {
	store.Invite
	URL string
}

func (s *server) cohorts(w http.ResponseWriter, r *http.Request, _ store.User) error {
	return s.showCohorts(w, r, http.StatusOK, cohortsView{})
}

func (s *server) showCohorts(w http.ResponseWriter, r *http.Request, status int, v cohortsView) error {
	v.Now = s.Now()
	cohorts, err := s.Store.Cohorts(r.Context())
	if err != nil {
		return err
	}
	users, err := s.Store.Users(r.Context())
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for _, u := range users {
		names[u.ID] = u.Name
		if u.Operator {
			v.Operators = append(v.Operators, u.Name)
		}
	}
	for _, c := range cohorts {
		view, err := s.cohortView(r.Context(), c)
		if err != nil {
			return err
		}
		view.ChangedBy = names[c.TrustedBy]
		if c.ID == v.GiveTo {
			view.Give = v.Give
		}
		v.Cohorts = append(v.Cohorts, view)
	}
	page := s.page(r, "Cohorts")
	page.Active, page.Shape = "teach", "wide"
	page.Styles = []string{"teach.css"}
	return s.render(w, r, status, cohortsPage(page, v))
}

// cohortView looks up what belongs to a cohort.
func (s *server) cohortView(ctx context.Context, c store.Cohort) (v cohortView, err error) {
	v.Cohort = c
	if v.Invites, err = s.Store.Invites(ctx, c.ID); err != nil {
		return v, err
	}
	v.Given, v.Choices, err = s.givenLabs(ctx, c.ID)
	return v, err
}

func (s *server) addCohort(w http.ResponseWriter, r *http.Request, user store.User) error {
	f, err := readForm(r, "name")
	if err != nil {
		return err
	}
	cohort, err := s.Store.AddCohort(r.Context(), f.Values["name"], user.ID)
	if err != nil {
		if blamed := f.blame(err); blamed != nil {
			return blamed
		}
		return s.showCohorts(w, r, http.StatusUnprocessableEntity, cohortsView{New: f})
	}
	s.notify(w, r, "The cohort "+cohort.Name+" is there. Make an invite link for its learners, and give it labs.")
	return redirect(w, r, cohortAnchor(cohort.ID))
}

func cohortAnchor(id int64) string {
	return "/teach/cohorts#cohort-" + strconv.FormatInt(id, 10)
}

// addInvite shows the new link at once: only its hash is stored.
func (s *server) addInvite(w http.ResponseWriter, r *http.Request, user store.User) error {
	cohort, err := idParam(r, "cohort")
	if err != nil {
		return err
	}
	f, err := readForm(r, "days", "uses")
	if err != nil {
		return err
	}
	days, err := number(f.Values["days"], 1, maxInviteDays)
	if err != nil {
		return err
	}
	uses, err := number(f.Values["uses"], 0, maxInviteUses)
	if err != nil {
		return err
	}
	token, invite, err := s.Store.AddInvite(r.Context(), cohort, user.ID, time.Duration(days)*24*time.Hour, uses)
	if err != nil {
		return err
	}
	made := &newInvite{invite, s.BaseURL(r) + "/join/" + token}
	w.Header().Set("Cache-Control", "no-store")
	return s.showCohorts(w, r, http.StatusCreated, cohortsView{Made: made})
}

// number reads a form's number; browsers hold to the bounds by themselves.
func number(text string, lowest, highest int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < lowest || n > highest {
		return 0, problem(http.StatusUnprocessableEntity, "That number does not work",
			fmt.Sprintf("Go back and give a number from %d to %d.", lowest, highest))
	}
	return n, nil
}

// idParam reads a numeric part of the address.
func idParam(r *http.Request, name string) (int64, error) {
	id, err := strconv.ParseInt(chi.URLParam(r, name), 10, 64)
	if err != nil || id <= 0 {
		return 0, notFound(name)
	}
	return id, nil
}

// inviteParam finds the invite of the address in its cohort.
func (s *server) inviteParam(r *http.Request) (store.Invite, error) {
	cohort, err := idParam(r, "cohort")
	if err != nil {
		return store.Invite{}, err
	}
	id, err := idParam(r, "invite")
	if err != nil {
		return store.Invite{}, err
	}
	invites, err := s.Store.Invites(r.Context(), cohort)
	if err != nil {
		return store.Invite{}, err
	}
	for _, invite := range invites {
		if invite.ID == id {
			return invite, nil
		}
	}
	return store.Invite{}, notFound("invite")
}

// revokeInviteForm asks before it is done: the link may be on its way to a class.
func (s *server) revokeInviteForm(w http.ResponseWriter, r *http.Request, _ store.User) error {
	invite, err := s.inviteParam(r)
	if err != nil {
		return err
	}
	page := s.page(r, "Withdraw an invite")
	page.Active = "teach"
	return s.render(w, r, http.StatusOK, revokePage(page, invite))
}

func (s *server) revokeInvite(w http.ResponseWriter, r *http.Request, _ store.User) error {
	invite, err := s.inviteParam(r)
	if err != nil {
		return err
	}
	if err := s.Store.RevokeInvite(r.Context(), invite.ID); err != nil && !errors.Is(err, store.ErrExpired) {
		return err
	}
	s.notify(w, r, "The invite is withdrawn. Nobody can join with its link any more.")
	return redirect(w, r, cohortAnchor(invite.Cohort))
}

// inviteState is whether people can still join, in words, and its badge.
func inviteState(i store.Invite, now time.Time) (text, kind string) {
	switch {
	case i.Revoked:
		return "Withdrawn", "plain"
	case !now.Before(i.Expires):
		return "Expired", "plain"
	case i.MaxUses > 0 && i.Uses >= i.MaxUses:
		return "Used up", "plain"
	default:
		return "Open", "pass"
	}
}
