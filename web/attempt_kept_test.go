package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"drydock/labs/terminaltest"
)

// keptSite is a site where a learner of a cohort has ended a lab, in whose shell a
// variable is set.
func keptSite(t *testing.T) (site *labSite, learner *browser, id string) {
	t.Helper()
	site = newLabSite(t)
	cohort, err := site.store.AddCohort(t.Context(), "The class", 0)
	if err != nil {
		t.Fatal(err)
	}
	learner, session := site.startedIn("ada", cohort.ID)
	w := openWindow(t, site, learner)
	w.open("/sessions/" + session.ID())
	w.screenHas("$")
	w.typeIn("word=left; touch flag; echo is-$word\r")
	w.screenHas("is-left")
	if err := session.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}
	terminaltest.Eventually(t, "the sandbox is kept", func() bool { _, ok := site.sessions.Kept(session.ID()); return ok })
	return site, learner, session.ID()
}

func TestKeptSandboxInABrowser(t *testing.T) {
	site, learner, id := keptSite(t)
	instructor := site.instructor()
	report, sandbox := "/attempts/"+id, "/attempts/"+id+"/sandbox"

	// The learner is told, and has no way in.
	if a := learner.must(http.StatusOK, learner.get(report)); !strings.Contains(a.body, "Your instructors can open it as you left it") || strings.Contains(a.body, sandbox) {
		t.Errorf("the learner's report says of the sandbox:\n%s", a.body)
	}
	for _, path := range []string{sandbox, sandbox + "/terminal?tab=1", sandbox + "/remove"} {
		learner.must(http.StatusNotFound, learner.get(path))
	}
	learner.must(http.StatusNotFound, learner.post(sandbox+"/remove"))
	learner.must(http.StatusNotFound, learner.post(sandbox+"/tabs/1/close"))

	w := openWindow(t, site, instructor)
	w.open(report + "#kept")
	w.picture("kept-report")
	w.click(`#kept a[href$="/sandbox"]`)
	w.screenHas("is-left") // what was on the screen
	w.picture("kept-wide-light")
	w.typeIn("echo still-$word; ls\r")
	w.screenHas("still-left")
	w.screenHas("flag")
	w.sees(`document.activeElement.closest(".xterm")`)
	if k, _ := site.sessions.Kept(id); !k.Open {
		t.Error("it is open, and not said to be")
	}
	w.do("reload", chromedp.Reload())
	w.screenHas("still-left")
	w.click(`[data-new-tab]`)
	w.sees(`document.querySelectorAll(".terminal-tab").length === 2`)
	w.screenHas("$")
	w.click(`[data-close-tab]`)
	w.sees(`document.querySelectorAll(".terminal-tab").length === 1`)
	w.colours("dark")
	w.picture("kept-wide-dark")
	w.sized(390, 780)
	w.picture("kept-narrow-dark")
	w.sized(1360, 860)
	w.sound()

	// Nothing of it stands in the learner's recording or grade.
	if a := instructor.must(http.StatusOK, instructor.get(report+"/recordings/0/1.cast")); strings.Contains(a.body, "still-left") {
		t.Error("what the instructor typed stands in the learner's recording")
	}

	// Who looks on while the terminals are closed is told, and led back.
	hub, leave, err := site.sessions.OpenKept(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	w.sees(`document.querySelector("#kept-still").hidden`)
	hub.Shutdown()
	w.sees(`!document.querySelector("#kept-still").hidden`)
	w.picture("kept-closed")

	// It is removed after a question.
	w.open(report)
	w.click(`#kept a[href$="/remove"]`)
	w.sees(`document.querySelector("h1").textContent === "Remove the sandbox?"`)
	w.picture("kept-remove")
	w.click(`button.danger`)
	w.sees(`location.pathname === "` + report + `" && !document.querySelector("#kept")`)
	a := instructor.must(http.StatusNotFound, instructor.get(sandbox))
	if !strings.Contains(a.body, "is not kept any more") || !strings.Contains(a.body, report) {
		t.Errorf("of a sandbox that has gone the page says:\n%s", a.body)
	}
	if session, ok := site.sessions.Get(id); ok || session != nil {
		t.Error("the session runs again")
	}
}
