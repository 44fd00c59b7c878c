package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"
)

// gradeView is an attempt's grade, and how it came to be.
type gradeView struct {
	store.Grade
	MayChange bool // the reader teaches, and the attempt is over
}

// gradeView looks up the grade. Until it is stored, that is what the events give.
func (s *server) gradeView(r *http.Request, attempt labs.Attempt, p labs.Progress, user store.User) (gradeView, error) {
	stored, err := s.Store.Grade(r.Context(), attempt.ID)
	if err != nil {
		return gradeView{}, err
	}
	v := gradeView{Grade: stored, MayChange: stored.Scored && !attempt.Ended.IsZero() && user.Role == store.RoleInstructor}
	if !stored.Scored {
		v.Points, v.Max = p.Score, p.MaxScore
	}
	return v, nil
}

// gradeWords tells a change in a sentence without its end, which says when.
func gradeWords(c store.GradeChange) string {
	switch {
	case c.Kind == store.GradeRegraded && c.OldPoints == c.NewPoints && c.OldMax == c.NewMax:
		return fmt.Sprintf("Judged again: it would be %d, and the instructor’s grade goes on to count", c.JudgedPoints)
	case c.OldMax != c.NewMax:
		return fmt.Sprintf("Grade changed from %d of %d to %d of %d", c.OldPoints, c.OldMax, c.NewPoints, c.NewMax)
	default:
		return fmt.Sprintf("Grade changed from %d to %d", c.OldPoints, c.NewPoints)
	}
}

// gradeBy says who changed a grade, and how.
func gradeBy(c store.GradeChange) string {
	who := c.ByName
	if who == "" {
		who = "the operator of this server"
	}
	switch c.Kind {
	case store.GradeRegraded:
		return "by " + who + ", who had the lab’s attempts judged again"
	case store.GradeWithdrawn:
		return "by " + who + ", who withdrew the instructor’s grade"
	default:
		return "by " + who
	}
}

// gradeDetails are what a regrade found different, in words.
func gradeDetails(c store.GradeChange) []string {
	var details struct{ Changes []labs.Change }
	if len(c.Details) == 0 || json.Unmarshal(c.Details, &details) != nil {
		return nil // written by a later version, perhaps
	}
	var lines []string
	for _, change := range details.Changes {
		lines = append(lines, changedResult(change))
	}
	return lines
}

func changedResult(c labs.Change) string {
	verb := map[grade.Verdict]string{grade.Pass: "holds", grade.Fail: "does not hold", grade.Error: "can’t be judged", "": "is not judged"}
	name := "the check " + c.Check
	switch {
	case c.Guard:
		name = "the guard " + c.Check
		verb[grade.Fail] = "counts as violated"
	case c.Check == "":
		name = "an answer to " + c.Task
		verb[grade.Pass], verb[grade.Fail] = "is right", "is wrong"
	}
	text := name + " " + verb[c.Now] + " now"
	if c.Now == grade.Fail && c.Reason != "" {
		text += ": " + c.Reason
	}
	return text
}

// gradeForm is the form for another grade.
type gradeForm struct {
	form
	Attempt labs.Attempt
	Title   string // of the lab
	Learner string
	Grade   store.Grade
	Confirm bool // everything was filled in: ask once more
}

func gradeURL(attempt string) string { return "/attempts/" + attempt + "/grade" }

// gradeOf finds what the form is about: an attempt that is over and has a grade.
func (s *server) gradeOf(r *http.Request, user store.User) (f gradeForm, err error) {
	if f.Attempt, err = s.attemptFor(r, user); err != nil {
		return f, err
	}
	if f.Grade, err = s.Store.Grade(r.Context(), f.Attempt.ID); err != nil {
		return f, err
	}
	if f.Attempt.Ended.IsZero() || !f.Grade.Scored {
		return f, problem(http.StatusConflict, "It is not over", "An attempt has a grade once it is over. End it first.")
	}
	lab, _, err := s.labOf(r.Context(), f.Attempt)
	if err != nil {
		return f, err
	}
	learner, err := s.Store.User(r.Context(), f.Attempt.User)
	f.Title, f.Learner = lab.Title, learner.Name
	return f, err
}

// changeGradeForm asks for another grade, and a reason.
func (s *server) changeGradeForm(w http.ResponseWriter, r *http.Request, user store.User) error {
	f, err := s.gradeOf(r, user)
	if err != nil {
		return err
	}
	f.form = form{Values: map[string]string{"points": strconv.Itoa(f.Grade.Points)}, Errors: map[string]string{}}
	return s.showGradeForm(w, r, http.StatusOK, f)
}

func (s *server) showGradeForm(w http.ResponseWriter, r *http.Request, status int, f gradeForm) error {
	page := s.page(r, "Change a grade")
	page.Active = "teach"
	return s.render(w, r, status, changeGradePage(page, f))
}

// changeGrade asks once more, and then gives another grade, or withdraws the one
// that was given. The form says which grade it was made for: a page that is
// out of date must not overwrite what somebody else has decided.
func (s *server) changeGrade(w http.ResponseWriter, r *http.Request, user store.User) error {
	f, err := s.gradeOf(r, user)
	if err != nil {
		return err
	}
	if f.form, err = readForm(r, "points", "why", "withdraw", "from", "confirmed"); err != nil {
		return err
	}
	withdraw := f.Values["withdraw"] == "yes"
	points, err := strconv.Atoi(strings.TrimSpace(f.Values["points"]))
	switch {
	case withdraw && !f.Grade.Overridden:
		return problem(http.StatusConflict, "There is nothing to withdraw", "No instructor’s grade counts for this attempt any more. Look at its report.")
	case !withdraw && (err != nil || points < 0 || points > f.Grade.JudgedMax):
		f.Errors["points"] = fmt.Sprintf("Write a number from 0 to %d.", f.Grade.JudgedMax)
	case !withdraw && f.Grade.Overridden && points == f.Grade.Points:
		f.Errors["points"] = "That is the grade already."
	}
	if strings.TrimSpace(f.Values["why"]) == "" {
		f.Errors["why"] = "Say why: the learner reads it, too."
	}
	if from := f.Values["from"]; from != "" && from != strconv.Itoa(f.Grade.Points) {
		f.Errors["points"] = fmt.Sprintf("Somebody else has changed the grade meanwhile: it is %d now.", f.Grade.Points)
	}
	if len(f.Errors) > 0 {
		return s.showGradeForm(w, r, http.StatusUnprocessableEntity, f)
	}
	if f.Values["confirmed"] != "yes" {
		f.Confirm = true
		return s.showGradeForm(w, r, http.StatusOK, f)
	}
	return s.storeGrade(w, r, user, f, points, withdraw)
}

func (s *server) storeGrade(w http.ResponseWriter, r *http.Request, user store.User, f gradeForm, points int, withdraw bool) error {
	var changed store.GradeChange
	var err error
	if withdraw {
		changed, err = s.Store.WithdrawOverride(r.Context(), f.Attempt.ID, user.ID, f.Values["why"])
	} else {
		changed, err = s.Store.OverrideGrade(r.Context(), f.Attempt.ID, points, user.ID, f.Values["why"])
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusConflict, "There is nothing to withdraw", "No instructor’s grade counts for this attempt any more. Look at its report.")
	case err != nil:
		if blamed := f.blame(err); blamed != nil {
			return blamed
		}
		return s.showGradeForm(w, r, http.StatusUnprocessableEntity, f)
	}
	s.Log.Info("an instructor changes a grade", "attempt", f.Attempt.ID, "by", user.Login, "kind", changed.Kind, "from", changed.OldPoints, "to", changed.NewPoints)
	s.notify(w, r, fmt.Sprintf("The grade of %s is %d of %d now.", f.Learner, changed.NewPoints, changed.NewMax))
	return redirect(w, r, "/attempts/"+f.Attempt.ID+"#grade")
}
