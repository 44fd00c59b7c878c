package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/labs/terminaltest"
	"drydock/labs/trail"
	"drydock/sandbox"
)

// told is an attempt of an hour ago, in which a learner looked, ran, changed and destroyed.
func (s *testSite) told(id string, user int64) (began time.Time) {
	s.t.Helper()
	began = time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	data := func(v any) json.RawMessage {
		raw, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		return raw
	}
	s.attempt(id, user,
		labs.Event{Type: labs.EventRequested, At: at(0), Data: data(map[string]string{"variant": "no-such-name"})},
		labs.Event{Type: labs.EventReady, At: at(10)},
		labs.Event{Type: labs.EventShell, At: at(32), Data: data(map[string]any{"tab": "1", "text": "kubectl get pods <all>", "tookMs": 2000})},
		labs.Event{Type: labs.EventShell, At: at(60), Data: data(map[string]any{"tab": "1", "text": "kubectl edit deployment web", "code": 1, "tookMs": 12000})},
		labs.Event{Type: labs.EventCollateral, At: at(100), Data: data(trail.Difference{Changes: []trail.ObjectChange{
			{Op: trail.Changed, Kind: "Deployment", Space: "shop", Name: "web", Fields: []trail.FieldChange{{Path: "spec.replicas", From: "2", To: "3"}}},
			{Op: trail.Deleted, Kind: "Secret", Space: "shop", Name: "notes"},
		}})},
		labs.Event{Type: labs.EventEnded, At: at(101), Data: data(map[string]string{"why": "learner"})})
	part := trail.Part{Next: "1:2", Requests: []trail.Request{
		{At: at(25), Class: trail.Look, Verb: "list", Resource: "pods", Space: "shop", Code: 200, Times: 4},
		{At: at(50), Class: trail.Change, Verb: "patch", Group: "apps", Resource: "deployments", Space: "shop", Name: "web", Code: 200, Body: `{"spec":{"replicas":3}}`},
		{At: at(70), Class: trail.Destroy, Verb: "delete", Resource: "secrets", Space: "shop", Name: "notes", Code: 200},
		{At: at(80), Class: trail.Destroy, Verb: "delete", Resource: "secrets", Space: "kube-system", Name: "x", Code: 403, Refusal: "secrets is forbidden"},
	}}
	if err := s.store.AddEvidence(s.t.Context(), id, grade.Evidence{Check: "trail/audit", At: at(90), Data: data(part)}); err != nil {
		s.t.Fatal(err)
	}
	return began
}

func TestReportTellsHowItWasFixed(t *testing.T) {
	site := newSite(t)
	b, user := site.learner("ada", 0)
	site.told("howfixed", user.ID)
	a := b.must(http.StatusOK, b.get("/attempts/howfixed"))
	if err := checkPage(a.body, sound...); err != nil {
		t.Error(err)
	}
	text := textOfPage(t, a.body)
	for _, want := range []string{
		"To the first look 0:15", "To the diagnosis 0:38", // the Deployment web is what a check watches
		"0:20 kubectl get pods <all>", "0:38 kubectl edit deployment web exit code 1, took 0:12",
		"0:15 Looked at pods in shop, 4 times", "0:40 Changed deployments web in shop What was sent {\"spec\":{\"replicas\":3}}",
		"1:00 Deleted secrets notes in shop", "Was refused: delete secrets x in kube-system, secrets is forbidden",
		"What is otherwise than before", "Besides Secret shop/notes is gone", "Part of the repair Deployment shop/web was changed", "spec.replicas 2 3",
		"Commands 2", "Changes of the cluster 3", "Looks at the cluster 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	// In the order in which it happened, whatever told of it.
	if strings.Index(text, "0:15 Looked at pods") > strings.Index(text, "0:20 kubectl get pods") {
		t.Error("the timeline is out of order")
	}
}

func TestEvidenceOfACheck(t *testing.T) {
	site := newSite(t)
	b, user := site.learner("ada", 0)
	site.told("witnessed", user.ID)
	check := "web-ready"
	lab, _ := site.labs.Get(labSlug)
	for _, task := range lab.Tasks {
		for _, c := range task.Checks {
			check = c.ID
		}
	}
	now := time.Now()
	for _, e := range []grade.Evidence{
		{Check: labs.BaselineOf(check), At: now.Add(-time.Minute), Data: json.RawMessage(`{"object":{"spec":{"replicas":1}}}`)},
		{Check: check, At: now, Data: json.RawMessage(`{"object":{"spec":{"env":[{"name":"DB_PASSWORD","value":"hunter2"}]},"note":"Bearer abcdef123456"}}`)},
		{Check: check, At: now.Add(time.Second), Error: "the cluster does not answer"},
	} {
		if err := site.store.AddEvidence(t.Context(), "witnessed", e); err != nil {
			t.Fatal(err)
		}
	}
	path := "/attempts/witnessed/evidence/" + check
	a := b.must(http.StatusOK, b.get(path))
	if err := checkPage(a.body, sound...); err != nil {
		t.Error(err)
	}
	text := textOfPage(t, a.body)
	for _, want := range []string{"What " + check + " saw", "the cluster does not answer", "DB_PASSWORD", "At the hand-over, ", `"replicas": 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	for _, secret := range []string{"hunter2", "abcdef123456"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("the page shows %s", secret)
		}
	}
	foreign, _ := site.learner("eve", 0)
	foreign.must(http.StatusNotFound, foreign.get(path))
	b.must(http.StatusNotFound, b.get("/attempts/witnessed/evidence/nonesuch"))
	b.must(http.StatusNotFound, b.get("/attempts/witnessed/evidence/trail%2Faudit"))
}

// While the session runs, its learner finds no answer in what the checks saw; an instructor may look.
func TestEvidenceOfARunningAttemptGivesNoAnswerAway(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	path := "/attempts/" + session.ID()
	if _, err := site.provider.Exec(t.Context(), "", sandbox.Command{Argv: []string{"touch", "flag"}}); err != nil {
		t.Fatal(err)
	}
	terminaltest.Eventually(t, "the flag is up", func() bool { return session.Snapshot().Tasks[1].Done })
	for _, page := range []string{path, path + "/evidence/flag-up"} {
		body := b.must(http.StatusOK, b.get(page)).body
		if strings.Contains(body, `&#34;stdout&#34;: &#34;flag`) {
			t.Errorf("%s shows the answer to the first question", page)
		}
	}
	// Nor where in it the answer is: it shows nothing, and says so.
	if text := textOfPage(t, b.must(http.StatusOK, b.get(path+"/evidence/flag-up")).body); strings.Contains(text, "stdout") || !strings.Contains(text, "As long as a question is open") {
		t.Errorf("of what is not shown is shown: %s", text)
	}
	instructor := site.instructor()
	if text := textOfPage(t, instructor.must(http.StatusOK, instructor.get(path+"/evidence/flag-up")).body); !strings.Contains(text, `"stdout": "flag`) {
		t.Errorf("the instructor sees %s", text)
	}
	b.must(http.StatusSeeOther, b.post("/sessions/"+session.ID()+"/end"))
	if text := textOfPage(t, b.must(http.StatusOK, b.get(path+"/evidence/flag-up")).body); !strings.Contains(text, `"stdout": "flag`) {
		t.Errorf("after the end it shows %s", text)
	}
}

func TestReportPlaysFromItsTimeline(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	site.done(b, session)
	b.must(http.StatusSeeOther, b.post("/sessions/"+session.ID()+"/end"))
	w := openWindow(t, site, b)
	w.sized(1360, 1500)
	w.open("/attempts/" + session.ID())
	w.sees(`document.querySelector(".ap-player canvas") !== null`)
	const entry = `#timeline > .moment-command`
	w.sees(`document.querySelector("` + entry + ` button time") !== null`)
	w.click(entry + " button")
	w.sees(`document.querySelector("` + entry + `").getAttribute("aria-current") === "step"`)
	// The player has gone to the moment at which the command was run.
	w.sees(`document.querySelector(".ap-overlay-start") === null`)
	w.click("#timeline > .moment-done button")
	w.sees(`document.querySelectorAll("#timeline > [aria-current]").length === 1 && document.querySelector("#timeline > .moment-done[aria-current]") !== null`)
	w.picture("report-replay")
	// As it plays on, the list follows to the end.
	// A click that comes while the player is still going to its place may be undone by that: it is given again.
	w.sees(`(() => {
		if (document.querySelector("#timeline > .moment-guard[aria-current], #timeline > .moment-end[aria-current]") !== null) return true;
		if (Date.now() - (window.pressed ?? 0) > 4000) { window.pressed = Date.now(); document.querySelector(".ap-playback-button").click(); }
		return false;
	})()`)
	// A kind that is not wanted is not there.
	w.sees(`getComputedStyle(document.querySelector("` + entry + `")).display !== "none"`)
	w.click("#show-commands")
	w.sees(`getComputedStyle(document.querySelector("` + entry + `")).display === "none"`)
	w.sized(390, 1500)
	w.picture("report-replay-narrow")
	w.sound()
}

// A lab's rubric can be read before it is started, and on the way.
func TestRubricIsReadBeforeTheStart(t *testing.T) {
	ruled := filesLab + "rubric:\n  resets: {free: 1, cost: 5}\n  guards: {cost: 40}\n"
	site := newLabSiteOf(t, labFolder("files", ruled))
	b, session := site.started("ada")
	for _, page := range []string{"/labs/files", "/sessions/" + session.ID()} {
		text := textOfPage(t, b.must(http.StatusOK, b.get(page)).body)
		for _, want := range []string{"Each violated guard costs 40 points.", "1 reset is free, each one after that costs 5 points."} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", page, want)
			}
		}
	}
}
