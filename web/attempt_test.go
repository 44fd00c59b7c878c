package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/terminaltest"
	"drydock/sandbox"
)

// done works through the lab: a hint, a wrong and a right answer, the repair and a violated guard.
func (s *labSite) done(b *browser, session *labs.Session) {
	s.t.Helper()
	path := "/sessions/" + session.ID()
	c := b.dial(path + "/terminal?tab=1&cols=80&rows=24")
	c.untilOutput("$ ")
	c.send(frameInput, []byte("echo the\\ work\\ begins\r"))
	c.untilOutput("the work begins\r\n")
	b.must(http.StatusSeeOther, b.post(path+"/hint", "task", "diagnose"))
	b.must(http.StatusSeeOther, b.post(path+"/hint", "task", "diagnose"))
	b.must(http.StatusSeeOther, b.post(path+"/answer", "task", "diagnose", "answer", "<mast>"))
	terminaltest.Eventually(s.t, "the right answer is taken", func() bool {
		<-time.After(100 * time.Millisecond) // between two tries
		return b.post(path+"/answer", "task", "diagnose", "answer", "flag").status == http.StatusSeeOther
	})
	for _, file := range []string{"flag", "sawn"} {
		if _, err := s.provider.Exec(s.t.Context(), "", sandbox.Command{Argv: []string{"touch", file}}); err != nil {
			s.t.Fatal(err)
		}
	}
	terminaltest.Eventually(s.t, "the flag is up and the mast down", func() bool {
		p := session.Snapshot()
		return p.Tasks[1].Done && p.GuardsViolated == 1
	})
}

func TestReportTellsWhatHappened(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	site.done(b, session)
	path := "/attempts/" + session.ID()
	if body := b.must(http.StatusOK, b.get(path)).body; !strings.Contains(body, "It is not over") || !strings.Contains(body, "Go on with the lab") {
		t.Error("the report of a running attempt is not one")
	}
	b.must(http.StatusSeeOther, b.post("/sessions/"+session.ID()+"/end"))
	a := b.must(http.StatusOK, b.get(path))
	if err := checkPage(a.body, sound...); err != nil {
		t.Error(err)
	}
	text := textOfPage(t, a.body)
	for _, want := range []string{
		"15 of 20 points", "60 of 60 points", "0 of 20 points", "You ended it.", "2 hints taken", "which cost 5 points",
		"<mast>", "Nothing flies without it.", "the mast was sawn off", "−25 1 guard was violated.", "First key in the terminal",
		"Done: Put the flag up", "A guard was violated", "What flag-up saw", "All that flag-up saw", "echo the\\ work\\ begins", "Terminal 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self' 'wasm-unsafe-eval';") || strings.Contains(policy, "'unsafe-") {
		t.Errorf("the policy is %s", policy)
	}
	cast := b.must(http.StatusOK, b.get(path+"/recordings/0/1.cast"))
	for _, want := range []string{`{"version":3`, "the work begins", `"m", "Done: Put the flag up"`, `"m", "A guard was violated`, `"m", "The right answer “flag”`} {
		if !strings.Contains(cast.body, want) {
			t.Errorf("the recording lacks %q", want)
		}
	}
	if strings.Contains(cast.body, "\n#") {
		t.Error("the recording has comments, which not all players know")
	}
}

func TestReportsAreForTheLearnerAndInstructors(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	site.done(b, session)
	if err := session.End(t.Context(), "instructor"); err != nil {
		t.Fatal(err)
	}
	path := "/attempts/" + session.ID()
	foreign, _ := site.learner("eve", 0)
	foreign.must(http.StatusNotFound, foreign.get(path))
	foreign.must(http.StatusNotFound, foreign.get(path+"/recordings/0/1.cast"))
	instructor := site.instructor()
	if body := instructor.must(http.StatusOK, instructor.get(path)).body; !strings.Contains(body, "Learner ada") || !strings.Contains(body, "An instructor ended it") {
		t.Error("the instructor's view does not say whose it is and why it ended")
	}
	instructor.must(http.StatusOK, instructor.get(path+"/recordings/0/1.cast"))
	for _, nonsense := range []string{"/recordings/0/2.cast", "/recordings/1/1.cast", "/recordings/x/1.cast", "/recordings/0/..%2f1.cast", "/recordings/-1/1.cast"} {
		b.must(http.StatusNotFound, b.get(path+nonsense))
	}
	b.must(http.StatusNotFound, b.get("/attempts/nonesuch"))
}

// An attempt of which little is known still has a report: one that never
// started, and one whose lab is gone.
func TestReportsOfLittle(t *testing.T) {
	site := newSite(t)
	b, user := site.learner("ada", 0)
	site.attempt("neverstarted", user.ID,
		labs.Event{Type: labs.EventRequested, At: time.Now().Add(-time.Minute)},
		labs.Event{Type: labs.EventFailed, Data: []byte(`{"reason":"There was no room."}`)})
	a := b.must(http.StatusOK, b.get("/attempts/neverstarted"))
	if text := textOfPage(t, a.body); !strings.Contains(text, "It never started. There was no room.") || !strings.Contains(text, "No recording") {
		t.Errorf("the report is:\n%s", text)
	}
	if err := checkPage(a.body, sound...); err != nil {
		t.Error(err)
	}
	if policy := a.header.Get("Content-Security-Policy"); strings.Contains(policy, "wasm") {
		t.Error("a report without a recording allows WebAssembly")
	}
	err := site.store.CreateAttempt(t.Context(), labs.Attempt{ID: "oldlab", User: user.ID, Lab: "gone", Version: "1", Variant: "default", Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if text := textOfPage(t, b.must(http.StatusOK, b.get("/attempts/oldlab")).body); !strings.Contains(text, "no longer here") || !strings.Contains(text, "Nothing yet") {
		t.Errorf("the report is:\n%s", text)
	}
}

// The time that a service was away is told as it was.
func TestReportCountsTheServiceLost(t *testing.T) {
	site := newSite(t)
	b, user := site.learner("ada", 0)
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(minutes int) time.Time { return began.Add(time.Duration(minutes) * time.Minute) }
	site.attempt("servicelost", user.ID,
		labs.Event{Type: labs.EventRequested, At: at(0)},
		labs.Event{Type: labs.EventReady, At: at(1)},
		labs.Event{Type: labs.EventService, At: at(2), Data: []byte(`{"up":false}`)},
		labs.Event{Type: labs.EventService, At: at(5), Data: []byte(`{"up":true}`)},
		labs.Event{Type: labs.EventService, At: at(9), Data: []byte(`{"up":false}`)},
		labs.Event{Type: labs.EventEnded, At: at(11), Data: []byte(`{"why":"expired"}`)})
	text := textOfPage(t, b.must(http.StatusOK, b.get("/attempts/servicelost")).body)
	for _, want := range []string{"Service lost 5:00", "1:00 The service did not answer its users", "it had been away for 3:00 min", "Its time was up"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestReportInABrowser(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	site.done(b, session)
	b.must(http.StatusSeeOther, b.post("/sessions/"+session.ID()+"/end"))
	w := openWindow(t, site, b)
	w.sized(1360, 2300)
	w.open("/attempts/" + session.ID())
	w.sees(`document.querySelector(".ap-player canvas") !== null`)
	w.sees(`document.querySelectorAll(".ap-marker").length >= 4`)
	w.picture("report-wide-light")
	w.click(".ap-overlay-start")
	w.sees(`document.querySelector(".ap-overlay-start") === null`)
	w.colours("dark")
	w.picture("report-wide-dark")
	w.sized(390, 3000)
	w.picture("report-narrow-dark")
	w.sound()
}
