package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"drydock/labs"
	"drydock/store"
)

// formTime is how browsers send a date and a time of day, without a zone: the
// server's is meant. Where times.ts runs, it is the reader's own, and a moment
// with its offset is sent.
const formTime = "2006-01-02T15:04"

// givenLab is a line of what a cohort was given.
type givenLab struct {
	store.AssignmentStanding
	Lab *labs.Lab // nil: it is not in the catalogue any more
}

// Title is what the lab is called, or was.
func (g givenLab) Title() string {
	if g.Lab == nil {
		return g.AssignmentStanding.Lab
	}
	return g.Lab.Title
}

// Locked reports whether the cohort's learners may not start it: trust can be
// withdrawn after a lab was given, and a lab can come to need it.
func (g givenLab) Locked() bool {
	return g.Lab != nil && g.Lab.Sandbox.WholeNode() && !g.Trusted
}

// givenLabs are what the cohort was given, and the labs that it was not.
func (s *server) givenLabs(ctx context.Context, cohort int64) (given []givenLab, choices []*labs.Lab, err error) {
	assignments, err := s.Store.Assignments(ctx, cohort)
	if err != nil {
		return nil, nil, err
	}
	choices = s.Labs.All()
	for _, a := range assignments {
		lab, _ := s.Labs.Get(a.Lab)
		given = append(given, givenLab{a, lab})
		choices = slices.DeleteFunc(choices, func(l *labs.Lab) bool { return l.Slug == a.Lab })
	}
	return given, choices, nil
}

// giveLab gives a lab to a cohort.
func (s *server) giveLab(w http.ResponseWriter, r *http.Request, user store.User) error {
	cohort, err := s.cohortParam(r)
	if err != nil {
		return err
	}
	f, err := readForm(r, "lab", "begins", "due")
	if err != nil {
		return err
	}
	begins, due := s.readTime(f, "begins"), s.readTime(f, "due")
	if !due.IsZero() && !due.After(s.Now()) {
		f.Errors["due"] = "This is over already: choose a later time."
	}
	lab, known := s.Labs.Get(f.Values["lab"])
	if !known {
		f.Errors["lab"] = "Choose a lab from the list."
	} else if refused := giveRefusal(cohort, lab); refused != "" {
		f.Errors["lab"] = refused
	}
	if len(f.Errors) == 0 {
		_, err := s.Store.AddAssignment(r.Context(), cohort.ID, lab.Slug, begins, due, user.ID)
		if err == nil {
			s.assigned()
			s.notify(w, r, cohort.Name+" is given the lab “"+lab.Title+"”. Its learners see it on their home page.")
			return redirect(w, r, cohortAnchor(cohort.ID))
		}
		if blamed := f.blame(err); blamed != nil {
			return blamed
		}
	}
	return s.showCohorts(w, r, http.StatusUnprocessableEntity, cohortsView{Give: f, GiveTo: cohort.ID})
}

// readTime reads a date and time of day of a form; zero when it was left empty.
// What can't be read is said beside the field.
func (s *server) readTime(f form, name string) time.Time {
	text := f.Values[name]
	if text == "" {
		return time.Time{}
	}
	if t, ok := parseDate(text, s.Now().Location()); ok {
		return t
	}
	f.Errors[name] = "Write a date and a time like 2026-11-30T09:00, or leave it empty."
	return time.Time{}
}

// parseDate reads a date as [server.readTime] does.
func parseDate(text string, zone *time.Location) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, formTime, formTime + ":05"} { // browsers may send seconds
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// dateValue is what a form's date that was sent before shows again.
func dateValue(ctx context.Context, text string) templ.Attributes {
	zone := pageTime(ctx).Location()
	t, ok := parseDate(text, zone)
	if !ok {
		return templ.Attributes{"value": text}
	}
	return templ.Attributes{"value": t.In(zone).Format(formTime), "data-at": stamp(ctx, t)}
}

// assigned tells whoever wants to know that what cohorts were given has changed.
func (s *server) assigned() {
	if s.Assigned != nil {
		s.Assigned()
	}
}

// assignmentParam finds the assignment of the address in its cohort.
func (s *server) assignmentParam(r *http.Request) (givenLab, error) {
	cohort, err := s.cohortParam(r)
	if err != nil {
		return givenLab{}, err
	}
	id, err := idParam(r, "assignment")
	if err != nil {
		return givenLab{}, err
	}
	given, _, err := s.givenLabs(r.Context(), cohort.ID)
	if err != nil {
		return givenLab{}, err
	}
	for _, g := range given {
		if g.ID == id {
			return g, nil
		}
	}
	return givenLab{}, notFound("assignment")
}

// removeAssignmentForm asks before it is done: learners may be about to begin.
func (s *server) removeAssignmentForm(w http.ResponseWriter, r *http.Request, _ store.User) error {
	g, err := s.assignmentParam(r)
	if err != nil {
		return err
	}
	page := s.page(r, "Remove a lab from a cohort")
	page.Active = "teach"
	return s.render(w, r, http.StatusOK, removeAssignmentPage(page, g))
}

func (s *server) removeAssignment(w http.ResponseWriter, r *http.Request, _ store.User) error {
	g, err := s.assignmentParam(r)
	if err != nil {
		return err
	}
	if err := s.Store.RemoveAssignment(r.Context(), g.ID); err != nil {
		return err
	}
	s.assigned()
	s.notify(w, r, "The lab “"+g.Title()+"” is not given to "+g.CohortName+" any more.")
	return redirect(w, r, cohortAnchor(g.Cohort))
}

func assignURL(cohort int64) string {
	return "/teach/cohorts/" + strconv.FormatInt(cohort, 10) + "/labs"
}

func removeAssignmentURL(a store.Assignment) string {
	return assignURL(a.Cohort) + "/" + strconv.FormatInt(a.ID, 10) + "/remove"
}

// givenCard is a lab that the reader's cohort was given, with how they stand in it.
type givenCard struct {
	labCard
	Begins, Due time.Time // zero: at any time, no date
	Now         time.Time
}

// Overdue reports whether the date is over and nothing was earned by any attempt.
func (g givenCard) Overdue() bool { return g.over() && g.Best == 0 }

// dueSoonWithin is how long before the date a learner is told to hurry: a day.
const dueSoonWithin = 24 * time.Hour

// dueSoon reports whether there is little time left, and something to do in it.
func (g givenCard) dueSoon() bool {
	return !g.Due.IsZero() && !g.over() && g.Due.Sub(g.Now) <= dueSoonWithin && !g.Solved()
}

func (g givenCard) over() bool { return !g.Due.IsZero() && !g.Now.Before(g.Due) }

// givenCards are what the reader's cohort was given and the catalogue has, the
// next due first. What is solved and over is left out: there is nothing left to do.
func (s *server) givenCards(ctx context.Context, cards []labCard) ([]givenCard, error) {
	user, ok := signedIn(ctx)
	if !ok {
		return nil, nil
	}
	assignments, err := s.Store.UserAssignments(ctx, user.ID)
	if err != nil {
		return nil, fmt.Errorf("look up what the cohort was given: %w", err)
	}
	now := s.Now()
	var given []givenCard
	for _, a := range assignments {
		i := slices.IndexFunc(cards, func(c labCard) bool { return c.Slug == a.Lab })
		if i < 0 {
			continue
		}
		g := givenCard{labCard: cards[i], Begins: a.Begins, Due: a.Due, Now: now}
		if !(g.Solved() && g.over()) {
			given = append(given, g)
		}
	}
	return given, nil
}

// givenCard is the reader's cohort's assignment of one lab; nil without one.
func (s *server) givenCard(ctx context.Context, card labCard) (*givenCard, error) {
	given, err := s.givenCards(ctx, []labCard{card})
	if err != nil || len(given) == 0 {
		return nil, err
	}
	return &given[0], nil
}
