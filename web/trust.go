package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"drydock/labs"
	"drydock/store"
)

const (
	trustedOnlyTitle = "This lab is for trusted cohorts only"
	trustedOnlyWhy   = "It makes its learners root on a privileged container, from where the machine that this server runs on can be taken over. "
)

// startRefusal says why the user may not start the lab; empty when they may.
// It is where this is decided: each way to start a lab asks here.
func (s *server) startRefusal(ctx context.Context, user store.User, lab *labs.Lab) (string, error) {
	if !lab.Sandbox.WholeNode() {
		return "", nil
	}
	trusted, err := s.Store.Trusted(ctx, user.ID)
	switch {
	case err != nil:
		return "", fmt.Errorf("ask whether lab %s may be started: %w", lab.Slug, err)
	case trusted:
		return "", nil
	case user.Cohort == 0:
		return trustedOnlyWhy + "You are in no cohort: ask your instructor for an invite to one that an operator of this server trusts.", nil
	default:
		return trustedOnlyWhy + "Yours is not trusted with that: ask an operator of this server to trust your cohort.", nil
	}
}

// giveRefusal says why the lab can't be given to the cohort; empty when it can:
// a cohort is not given what [server.startRefusal] keeps its learners from.
func giveRefusal(cohort store.Cohort, lab *labs.Lab) string {
	if !lab.Sandbox.WholeNode() || cohort.Trusted {
		return ""
	}
	return trustedOnlyTitle + ". " + trustedOnlyWhy + cohort.Name + " is not trusted with that: ask an operator of this server to trust it first."
}

// cohortParam finds the cohort of the address.
func (s *server) cohortParam(r *http.Request) (store.Cohort, error) {
	id, err := idParam(r, "cohort")
	if err != nil {
		return store.Cohort{}, err
	}
	return s.Store.Cohort(r.Context(), id)
}

// trustForm asks before it is done, and says what it means.
func (s *server) trustForm(w http.ResponseWriter, r *http.Request, _ store.User) error {
	cohort, err := s.cohortParam(r)
	if err != nil {
		return err
	}
	title := "Trust a cohort"
	if cohort.Trusted {
		title = "Withdraw trust"
	}
	page := s.page(r, title)
	page.Active = "teach"
	return s.render(w, r, http.StatusOK, trustPage(page, cohort))
}

// trust trusts the cohort with whole nodes, or withdraws that. What is wanted
// is in the form: a page that is out of date must not do the opposite.
func (s *server) trust(w http.ResponseWriter, r *http.Request, user store.User) error {
	cohort, err := s.cohortParam(r)
	if err != nil {
		return err
	}
	f, err := readForm(r, "on")
	if err != nil {
		return err
	}
	if cohort, err = s.Store.SetTrusted(r.Context(), cohort.ID, f.Values["on"] == "yes", user.ID); err != nil {
		return err
	}
	s.Log.Info("an operator sets the trust in a cohort", "cohort", cohort.ID, "name", cohort.Name, "trusted", cohort.Trusted, "by", user.Login)
	if cohort.Trusted {
		s.notify(w, r, cohort.Name+" is trusted with whole nodes: its learners can start the labs that take it.")
	} else {
		s.notify(w, r, cohort.Name+" is not trusted with whole nodes any more: its learners can’t start such labs. Sessions that have begun go on.")
	}
	return redirect(w, r, cohortAnchor(cohort.ID))
}

func trustURL(cohort int64) string {
	return "/teach/cohorts/" + strconv.FormatInt(cohort, 10) + "/trust"
}

// changedWords says who changed the trust in a cohort last; empty: it was never changed.
func (c cohortView) changedWords() string {
	if c.TrustedAt.IsZero() {
		return ""
	}
	words := "withdrawn"
	if c.Trusted {
		words = "trusted"
	}
	if c.ChangedBy != "" {
		words += " by " + c.ChangedBy
	}
	return words
}

// operatorWords names those who may change it.
func operatorWords(operators []string) string {
	if len(operators) == 0 {
		return "nobody yet"
	}
	return strings.Join(operators, ", ")
}
