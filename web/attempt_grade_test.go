package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"drydock/labs"
	"drydock/store"
)

// graded is an attempt of ada's that ended with 20 points: one question was answered.
func graded(t *testing.T, site *testSite) (ada *browser, path string) {
	t.Helper()
	ada, user := site.learner("ada", 0)
	site.attempt("adasattempt", user.ID,
		labs.Event{Type: labs.EventRequested}, labs.Event{Type: labs.EventReady}, labs.Event{Type: labs.EventTaskDone, Task: "diagnose"},
		labs.Event{Type: labs.EventEnded, Data: []byte(`{"why":"learner"}`)})
	return ada, "/attempts/adasattempt"
}

func TestInstructorsChangeGrades(t *testing.T) {
	site := newSite(t)
	ada, path := graded(t, site)
	grace := site.instructor()
	report := func(b *browser) string {
		t.Helper()
		a := b.must(http.StatusOK, b.get(path))
		if err := checkPage(a.body, sound...); err != nil {
			t.Error(err)
		}
		return textOfPage(t, a.body)
	}
	if text := report(grace); !strings.Contains(text, "20 of 100 points") || !strings.Contains(text, "Change the grade") {
		t.Errorf("before it, the report is:\n%s", text)
	}
	if text := report(ada); strings.Contains(text, "Change the grade") {
		t.Error("a learner is offered to change the grade")
	}

	// What is missing is said, beside what was typed.
	form := grace.must(http.StatusOK, grace.get(path+"/grade"))
	if err := checkPage(form.body, sound...); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][]string{{"points", "101", "why", "because"}, {"points", "-1", "why", "because"}, {"points", "many", "why", "because"}, {"points", "80", "why", " "}} {
		grace.must(http.StatusUnprocessableEntity, grace.post(path+"/grade", append(wrong, "confirmed", "yes")...))
	}
	if body := grace.must(http.StatusUnprocessableEntity, grace.post(path+"/grade", "points", "80", "why", "")).body; !strings.Contains(body, `value="80"`) {
		t.Error("the points must be typed again")
	}

	// It is asked once more, and nothing has happened until then.
	a := grace.must(http.StatusOK, grace.post(path+"/grade", "points", "80", "why", "She <b>told</b> me how", "from", "20"))
	if err := checkPage(a.body, sound...); err != nil {
		t.Error(err)
	}
	if text := textOfPage(t, a.body); !strings.Contains(text, "Change the grade to 80?") || !strings.Contains(text, "“She <b>told</b> me how”") {
		t.Errorf("it is asked:\n%s", text)
	}
	if text := report(ada); !strings.Contains(text, "20 of 100 points") {
		t.Error("it was changed before that was confirmed")
	}
	a = grace.must(http.StatusSeeOther, grace.post(path+"/grade", "points", "80", "why", "She <b>told</b> me how", "from", "20", "confirmed", "yes"))
	if got := a.header.Get("Location"); got != path+"#grade" {
		t.Errorf("it leads to %s", got)
	}
	for _, b := range []*browser{ada, grace} {
		text := report(b)
		for _, want := range []string{"80 of 100 points", "An instructor gave this grade; judging came to 20 points", "Grade changed from 20 to 80 on ", "by Grace Hopper, because: “She <b>told</b> me how”"} {
			if !strings.Contains(text, want) {
				t.Errorf("the report lacks %q", want)
			}
		}
	}

	// Who still sees the old grade does not overwrite the new one.
	stale := grace.must(http.StatusUnprocessableEntity, grace.post(path+"/grade", "points", "30", "why", "because", "from", "20", "confirmed", "yes"))
	if !strings.Contains(stale.body, "it is 80 now") {
		t.Error("a page that is out of date overwrites a grade")
	}

	// Every list has the grade that counts.
	for _, list := range []struct {
		b    *browser
		path string
	}{{grace, "/teach"}, {ada, "/labs/" + labSlug}} {
		if text := textOfPage(t, list.b.must(http.StatusOK, list.b.get(list.path)).body); !strings.Contains(text, "80") || strings.Contains(text, "20/100") {
			t.Errorf("%s shows another grade:\n%s", list.path, text)
		}
	}

	a = grace.must(http.StatusOK, grace.post(path+"/grade", "withdraw", "yes", "why", "I was mistaken", "from", "80"))
	if text := textOfPage(t, a.body); !strings.Contains(text, "Withdraw the instructor’s grade?") || !strings.Contains(text, "20 of 100") {
		t.Errorf("it is asked:\n%s", text)
	}
	grace.must(http.StatusSeeOther, grace.post(path+"/grade", "withdraw", "yes", "why", "I was mistaken", "from", "80", "confirmed", "yes"))
	if text := report(ada); !strings.Contains(text, "20 of 100 points") || !strings.Contains(text, "Grade changed from 80 to 20 on ") || !strings.Contains(text, "who withdrew the instructor’s grade, because: “I was mistaken”") {
		t.Errorf("after the withdrawal the report is:\n%s", text)
	}
	grace.must(http.StatusConflict, grace.post(path+"/grade", "withdraw", "yes", "why", "again", "confirmed", "yes"))
}

func TestOthersDoNotChangeGrades(t *testing.T) {
	site := newSite(t)
	ada, path := graded(t, site)
	grace := site.instructor()
	eve, user := site.learner("eve", 0)
	site.attempt("running", user.ID, labs.Event{Type: labs.EventRequested})
	for name, b := range map[string]*browser{"the learner": ada, "another": eve} {
		for _, a := range []answer{b.get(path + "/grade"), b.post(path+"/grade", "points", "100", "why", "mine", "confirmed", "yes")} {
			if a.status != http.StatusForbidden && a.status != http.StatusNotFound {
				t.Errorf("%s gets %d", name, a.status)
			}
		}
	}
	if a := site.browser().get(path + "/grade"); a.status != http.StatusSeeOther {
		t.Errorf("who is not signed in gets %d", a.status)
	}
	elsewhere := grace.do(http.MethodPost, path+"/grade", map[string][]string{"points": {"1"}, "why": {"x"}, "confirmed": {"yes"}}, "Sec-Fetch-Site", "cross-site")
	if elsewhere.status != http.StatusForbidden {
		t.Errorf("another site's form gets %d", elsewhere.status)
	}
	grace.must(http.StatusConflict, grace.get("/attempts/running/grade"))
	grace.must(http.StatusNotFound, grace.get("/attempts/nonesuch/grade"))
	grade, err := site.store.Grade(t.Context(), "adasattempt")
	if err != nil || grade.Points != 20 || len(grade.Changes) > 0 {
		t.Errorf("the grade is %+v, %v", grade, err)
	}
}

// What a regrade found different stands beside the grade that it changed.
func TestReportTellsOfARegrade(t *testing.T) {
	site := newSite(t)
	ada, path := graded(t, site)
	details, err := json.Marshal(map[string]any{"changes": []labs.Change{
		{Task: "serve", Check: "web-ready", Was: "fail", Now: "pass", Reason: "web has one pod"},
		{Check: "same-deployment", Guard: true, Was: "pass", Now: "fail", Reason: "it was made again"},
		{Task: "diagnose", Was: "fail", Now: "pass"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := site.store.Regrade(t.Context(), store.GradeChange{Attempt: "adasattempt", Why: "one is enough", Version: "0123456789ab", JudgedPoints: 75, JudgedMax: 100, Details: details}); err != nil {
		t.Fatal(err)
	}
	text := textOfPage(t, ada.must(http.StatusOK, ada.get(path)).body)
	for _, want := range []string{
		"75 of 100 points", "Grade changed from 20 to 75 on ", "by the operator of this server, who had the lab’s attempts judged again, because: “one is enough”",
		"the check web-ready holds now", "the guard same-deployment counts as violated now: it was made again", "an answer to diagnose is right now",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}
