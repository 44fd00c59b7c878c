package web

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/store"
)

// give gives a cohort a lab behind the pages' back, so that it can be one that
// they would not give.
func (s *testSite) give(cohort int64, lab string, begins, due time.Time) store.Assignment {
	s.t.Helper()
	a, err := s.store.AddAssignment(s.t.Context(), cohort, lab, begins, due, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// given is what the cohort has.
func (s *testSite) given(cohort int64) []store.AssignmentStanding {
	s.t.Helper()
	all, err := s.store.Assignments(s.t.Context(), cohort)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// noon is a Monday's, in a zone that is not UTC: times are typed and told in it.
func noon() time.Time {
	return time.Date(2026, 11, 30, 12, 0, 0, 0, time.FixedZone("CET", 3600))
}

// read is the page as text, once it was looked at.
func (b *browser) read(path string) string {
	b.t.Helper()
	a := b.must(http.StatusOK, b.get(path))
	checkHTML(b.t, path, a.body)
	return textOfPage(b.t, a.body)
}

func wantWords(t *testing.T, where, says string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(says, w) {
			t.Errorf("%s does not say %q:\n%s", where, w, says)
		}
	}
}

func TestGivingACohortALab(t *testing.T) {
	site := newSiteAt(t, catalogue.FS(), noon)
	autumn, spring := site.cohort("Autumn"), site.cohort("Spring")
	ada, user := site.learner("ada", autumn.ID)
	alan, _ := site.learner("alan", spring.ID)
	eve, _ := site.learner("eve", 0)
	barbara := site.teacher("barbara")
	lab, _ := site.labs.Get(labSlug)
	for name, b := range map[string]*browser{"a learner": ada, "who is in no cohort": eve, "a visitor": site.browser()} {
		if says := b.read("/"); strings.Contains(says, "Given to you") {
			t.Errorf("%s is told of labs before there are any:\n%s", name, says)
		}
	}

	fields := []string{"lab", labSlug, "begins", "2026-12-01T09:00", "due", "2026-12-08T18:30:00"} // some browsers send seconds
	ada.must(http.StatusNotFound, ada.post(assignURL(autumn.ID), fields...))
	barbara.must(http.StatusSeeOther, barbara.post(assignURL(autumn.ID), fields...))
	all := site.given(autumn.ID)
	if len(all) != 1 || !all[0].Begins.Equal(noon().Add(21*time.Hour)) || !all[0].Due.Equal(noon().Add((8*24+6)*time.Hour+30*time.Minute)) || all[0].CreatedBy == 0 {
		t.Fatalf("the cohort has %+v", all)
	}
	if n := site.assigned.Load(); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	wantWords(t, "the page of cohorts", barbara.read("/teach/cohorts"), "Autumn is given the lab “"+lab.Title+"”",
		lab.Title+" Tue 1 Dec, 09:00 CET Tue 8 Dec, 18:30 CET 0 of 1 Remove", "the server’s time zone . It is Mon 30 November 2026, 12:00 CET now")
	if page := barbara.get("/teach/cohorts").body; strings.Count(page, `<option value="`+labSlug+`"`) != 1 {
		t.Error("it is not exactly the other cohort that can still be given the lab")
	}

	times := []string{"Your class begins it on Tue 1 December 2026, 09:00 CET", "Due on Tue 8 December 2026, 18:30 CET"}
	home := ada.read("/")
	wantWords(t, "the learner's home page", home, "Given to you "+lab.Title+" "+strings.Join(times, " "), "Not begun")
	wantWords(t, "the lab's page", ada.read("/labs/"+labSlug), append(times, "Given to you")...)
	for name, b := range map[string]*browser{"a learner of another cohort": alan, "who is in no cohort": eve, "a visitor": site.browser()} {
		for _, path := range []string{"/", "/labs/" + labSlug} {
			if says := b.read(path); strings.Contains(says, "Given to you") {
				t.Errorf("%s reads on %s:\n%s", name, path, says)
			}
		}
	}
	site.attempt("begun0000001", user.ID, requested(), ready(), labs.Event{Type: labs.EventEnded})
	wantWords(t, "the page of cohorts", barbara.read("/teach/cohorts"), "1 of 1 Remove")

	// Removing asks first, and takes it from the learner; not from another cohort's address.
	path := removeAssignmentURL(all[0].Assignment)
	wantWords(t, "the question", barbara.read(path), "Remove this lab from the cohort?", lab.Title, "Autumn", "1 of 1 have begun it")
	elsewhere := all[0].Assignment
	elsewhere.Cohort = spring.ID
	barbara.must(http.StatusNotFound, barbara.post(removeAssignmentURL(elsewhere)))
	ada.must(http.StatusNotFound, ada.post(path))
	if len(site.given(autumn.ID)) != 1 {
		t.Fatal("it was removed by nobody who may")
	}
	barbara.must(http.StatusSeeOther, barbara.post(path))
	wantWords(t, "the page of cohorts", barbara.read("/teach/cohorts"), "“"+lab.Title+"” is not given to Autumn any more")
	if says := ada.read("/"); strings.Contains(says, "Given to you") {
		t.Errorf("the learner still reads:\n%s", says)
	}
	barbara.must(http.StatusNotFound, barbara.post(path))
	if n := site.assigned.Load(); n != 2 {
		t.Errorf("it was told %d times", n)
	}
}

func TestLabsThatACohortCannotBeGiven(t *testing.T) {
	site := newSiteAt(t, withNodeLab(t, catalogue.FS()), noon)
	operator, autumn := site.instructor(), site.cohort("Autumn <b>")
	site.cohort("Spring") // a second form on the page
	site.give(autumn.ID, labSlug, time.Time{}, time.Time{})
	for name, c := range map[string]struct {
		lab, begins, due string
		says             string
	}{
		"none":                    {"", "", "", "Choose a lab from the list."},
		"unknown":                 {"nothing", "", "", "Choose a lab from the list."},
		"one that it has":         {labSlug, "", "", "This cohort has the lab already"},
		"no time":                 {"full-disk", "soon", "", "Write a date and a time like"},
		"a day":                   {"full-disk", "", "2026-12-01", "Write a date and a time like"},
		"over":                    {"full-disk", "", "2026-11-30T12:00", "This is over already"},
		"due before it begins":    {"full-disk", "2026-12-02T09:00", "2026-12-01T09:00", "It is due before the class begins it"},
		"not for such a cohort":   {nodeSlug, "", "", "Autumn <b> is not trusted with that: ask an operator of this server to trust it first."},
		"two things at once: lab": {nodeSlug, "", "tomorrow", "is not trusted with that"},
		"two things at once: due": {nodeSlug, "", "tomorrow", "Write a date and a time like"},
	} {
		t.Run(name, func(t *testing.T) {
			b := operator.in(t)
			a := b.must(http.StatusUnprocessableEntity, b.post(assignURL(autumn.ID), "lab", c.lab, "begins", c.begins, "due", c.due))
			checkHTML(t, assignURL(autumn.ID), a.body)
			wantWords(t, "the form", textOfPage(t, a.body), c.says)
			if strings.Count(a.body, " autofocus") != 1 || !strings.Contains(a.body, `aria-invalid="true"`) {
				t.Error("the page does not open at the first thing that is wrong")
			}
			if all := b.given(autumn.ID); len(all) != 1 {
				t.Errorf("the cohort has %+v", all)
			}
		})
	}
	operator.must(http.StatusNotFound, operator.post(assignURL(99), "lab", labSlug))
	operator.must(http.StatusOK, operator.get(assignURL(autumn.ID))) // a reload
	if n := site.assigned.Load(); n != 0 {
		t.Errorf("%d changes were told of", n)
	}
}

// What needs trust is given once it is there, and marked once it is withdrawn.
func TestGivingATrustedCohortALabOfWholeNodes(t *testing.T) {
	site := newSiteAt(t, nodeLabs(), noon)
	operator, autumn := site.instructor(), site.cohort("Autumn")
	ada, _ := site.learner("ada", autumn.ID)
	const locked = "Trusted cohorts only At any time No date 0 of 1"
	operator.must(http.StatusSeeOther, operator.post(trustURL(autumn.ID), "on", "yes"))
	operator.must(http.StatusSeeOther, operator.post(assignURL(autumn.ID), "lab", nodeSlug, "begins", "", "due", ""))
	says := operator.read("/teach/cohorts")
	wantWords(t, "the page of cohorts", says, "At any time No date 0 of 1", "There is no lab that it was not given.")
	if strings.Contains(says, locked) {
		t.Error("a trusted cohort is said to be none")
	}
	operator.must(http.StatusSeeOther, operator.post(trustURL(autumn.ID), "on", "no"))
	wantWords(t, "the page of cohorts", operator.read("/teach/cohorts"), locked)
	wantWords(t, "the learner's home page", ada.read("/"), "Given to you", "Trusted cohorts only Not begun")
}

// A lab can leave the catalogue while it is given.
func TestAGivenLabThatIsGone(t *testing.T) {
	site := newSiteAt(t, catalogue.FS(), noon)
	barbara, autumn := site.teacher("barbara"), site.cohort("Autumn")
	ada, _ := site.learner("ada", autumn.ID)
	gone := site.give(autumn.ID, "gone", time.Time{}, time.Time{})
	wantWords(t, "the page of cohorts", barbara.read("/teach/cohorts"), "gone Not in the catalogue")
	if says := ada.read("/"); strings.Contains(says, "Given to you") || strings.Contains(says, "gone") {
		t.Errorf("the learner reads:\n%s", says)
	}
	path := removeAssignmentURL(gone)
	wantWords(t, "the question", barbara.read(path), "gone goes from")
	barbara.must(http.StatusSeeOther, barbara.post(path))
	if all := site.given(autumn.ID); len(all) > 0 {
		t.Errorf("the cohort still has %+v", all)
	}
}

func TestHowLearnersStandInWhatTheyWereGiven(t *testing.T) {
	lab := &labs.Lab{Slug: "dns", Title: "Slow names"}
	now := noon()
	before, later := now.Add(-time.Hour), now.Add(time.Hour)
	for name, c := range map[string]struct {
		givenCard
		says, not string
	}{
		"not begun":              {givenCard{labCard{Lab: lab}, later, later, now}, "begins it on Mon 30 November 2026, 13:00 CET Due on Mon 30 November 2026, 13:00 CET 0 min Due in 1 h 00 min Not begun", "Overdue"},
		"the class has begun":    {givenCard{labCard{Lab: lab}, before, later, now}, "Slow names Due on Mon 30 November 2026, 13:00 CET 0 min Due in 1 h 00 min Not begun", "begins"},
		"time enough":            {givenCard{labCard{Lab: lab}, before, now.Add(25 * time.Hour), now}, "Slow names Due on Tue 1 December 2026, 13:00 CET 0 min Not begun", "Due in"},
		"at any time":            {givenCard{labCard{Lab: lab}, time.Time{}, time.Time{}, now}, "Slow names 0 min Not begun", "Overdue"},
		"overdue":                {givenCard{labCard{Lab: lab}, before, now, now}, "Was due on Mon 30 November 2026, 12:00 CET 0 min Overdue Not begun", "Due on"},
		"overdue, and begun":     {givenCard{labCard{Lab: lab, Session: "s"}, before, before, now}, "Overdue Running", "Not begun"},
		"looked at, and overdue": {givenCard{labCard{Lab: lab, Attempts: 1, Max: 100}, before, before, now}, "Overdue Best 0 of 100", "Not begun"},
		"done in time":           {givenCard{labCard{Lab: lab, Attempts: 2, Best: 80, Max: 100}, before, before, now}, "Best 80 of 100", "Overdue"},
		"solved":                 {givenCard{labCard{Lab: lab, Attempts: 1, Best: 100, Max: 100}, before, later, now}, "Solved", "Due in"},
	} {
		var page strings.Builder
		if err := givenEntries([]givenCard{c.givenCard}).Render(asOf(t.Context(), now), &page); err != nil {
			t.Fatal(err)
		}
		says := textOfPage(t, page.String())
		if !strings.Contains(says, c.says) || strings.Contains(says, c.not) {
			t.Errorf("%s: it says %q, want %q and not %q", name, says, c.says, c.not)
		}
	}
}

// What is solved and over is not shown any more; what is only over is.
func TestWhatIsDoneGoesFromTheHomePage(t *testing.T) {
	var passed atomic.Int64 // the server's goroutines read it
	now := func() time.Time { return noon().Add(time.Duration(passed.Load())) }
	site := newSiteAt(t, catalogue.FS(), now)
	autumn := site.cohort("Autumn")
	ada, user := site.learner("ada", autumn.ID)
	site.give(autumn.ID, labSlug, time.Time{}, now().Add(time.Hour))
	site.attempt("solved000001", user.ID, requested(), ready(), labs.Event{Type: labs.EventEnded})
	score := func(points int) {
		t.Helper()
		if err := site.store.SetScore(t.Context(), "solved000001", points, 100); err != nil {
			t.Fatal(err)
		}
	}
	score(100)
	wantWords(t, "the home page", ada.read("/"), "Given to you", "Solved")
	passed.Store(int64(2 * time.Hour))
	if says := ada.read("/"); strings.Contains(says, "Given to you") {
		t.Errorf("solved and over:\n%s", says)
	}
	score(80)
	wantWords(t, "the home page", ada.read("/"), "Given to you", "Was due on", "Best 80 of 100")
}
