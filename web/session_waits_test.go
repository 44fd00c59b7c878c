package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/web/assets"
)

// shown renders a part of the session's page, as it is sent to the browser.
func shown(t *testing.T, part templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := part.Render(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSessionPageSaysHowAStartWaits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	view := sessionView{ID: "k3v9x2ab7qpm", Lab: &labs.Lab{Slug: "files"}, Controls: true, Now: now, Progress: labs.Progress{Phase: labs.PhaseStarting}}
	for _, c := range []struct {
		place         int
		estimate, ago time.Duration
		want          string
	}{
		{1, 0, 0, "You are next."},
		{1, 0, time.Hour, "can’t be told yet"},
		{1, 20 * time.Second, 0, "about a minute at most"},
		{3, 150 * time.Second, 0, "You are number 3 in the queue."},
		{3, 150 * time.Second, 0, "about 3 minutes"},
		{3, 150 * time.Second, 45 * time.Second, "about 2 minutes"},
		{3, 150 * time.Second, 2 * time.Minute, "about a minute at most"},
		{3, 150 * time.Second, 10 * time.Minute, "at any moment"},
	} {
		view.Progress.Queued = labs.QueuePlace{Place: c.place, Estimate: c.estimate, At: now.Add(-c.ago)}
		if got := shown(t, sessionStart(view)); !strings.Contains(got, c.want) || !strings.Contains(got, "Cancel") {
			t.Errorf("place %d in %v: the page lacks %q:\n%s", c.place, c.estimate, c.want, got)
		}
	}
}

// The wait counts down without an event; the clock counts in the browser, and is not sent again.
func TestSessionStreamSendsWhatTimeAloneChanges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	view := sessionView{ID: "k3v9x2ab7qpm", Lab: &labs.Lab{Slug: "files"}, Controls: true, Now: now, Progress: labs.Progress{
		Phase: labs.PhaseStarting, Queued: labs.QueuePlace{Place: 2, Estimate: 3 * time.Minute, At: now},
		Ready: now, Expires: now.Add(time.Hour), Deadline: now.Add(2 * time.Hour),
	}}
	stream := newFragmentStream(httptest.NewRecorder())
	sent := func() string {
		t.Helper()
		html, err := stream.changes(t.Context(), view.fragments())
		if err != nil {
			t.Fatal(err)
		}
		return html
	}
	if html := sent(); !strings.Contains(html, "about 3 minutes") || !strings.Contains(html, "1:00:00") {
		t.Errorf("at first it sends\n%s", html)
	}
	view.Now = now.Add(15 * time.Second)
	if html := sent(); html != "" {
		t.Errorf("when nothing has changed it sends\n%s", html)
	}
	view.Now = now.Add(time.Minute)
	if html := sent(); !strings.Contains(html, "about 2 minutes") || strings.Contains(html, "session-time") {
		t.Errorf("a minute later it sends\n%s", html)
	}
	view.Progress.Expires = now.Add(90 * time.Minute)
	if html := sent(); !strings.Contains(html, "1:29:00") {
		t.Errorf("with more time it sends\n%s", html)
	}
}

func TestSessionPageSaysThatItSleeps(t *testing.T) {
	t.Parallel()
	view := sessionView{ID: "k3v9x2ab7qpm", Lab: &labs.Lab{}, Controls: true, Progress: labs.Progress{Phase: labs.PhaseRunning, Asleep: true, AsleepWhy: "away"}}
	got := shown(t, sessionBanner(view))
	for _, want := range []string{"asleep", "Its page was closed for a while.", `action="/sessions/k3v9x2ab7qpm/wake"`, `role="status"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
	view.Controls = false
	if got := shown(t, sessionBanner(view)); !strings.Contains(got, "asleep") || strings.Contains(got, "wake") {
		t.Errorf("who watches is offered to wake it:\n%s", got)
	}
}

func TestSessionPageWarnsBeforeTheEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	view := sessionView{ID: "k3v9x2ab7qpm", Lab: &labs.Lab{}, Controls: true, Progress: labs.Progress{
		Phase: labs.PhaseRunning, Ready: now, Expires: now.Add(4 * time.Minute), Deadline: now.Add(14 * time.Minute), Warned: 5,
	}}
	if got := shown(t, sessionWarning(view)); !strings.Contains(got, "Less than 5 minutes are left.") || !strings.Contains(got, "Extend by 10 minutes") {
		t.Errorf("the warning is:\n%s", got)
	}
	view.Progress.Deadline = view.Progress.Expires
	if got := shown(t, sessionWarning(view)); strings.Contains(got, "<form") || !strings.Contains(got, "longest time") {
		t.Errorf("at the deadline the warning is:\n%s", got)
	}
	view.Progress.Warned = 0
	if got := shown(t, sessionWarning(view)); strings.Contains(got, "left") {
		t.Errorf("without a warning there is:\n%s", got)
	}
}

// On a narrow screen the instructions hide what stands in the terminal's place.
func TestNarrowPageSaysWhatTheInstructionsHide(t *testing.T) {
	t.Parallel()
	queued := labs.Progress{Phase: labs.PhaseStarting, Queued: labs.QueuePlace{Place: 3}}
	for _, c := range []struct {
		progress labs.Progress
		want     string
	}{
		{queued, "You are number 3 in the queue."},
		{labs.Progress{Phase: labs.PhaseStarting}, "being started"},
		{labs.Progress{Phase: labs.PhaseFailed}, "could not be started"},
		{labs.Progress{Phase: labs.PhaseEnded}, "has ended"},
	} {
		got := shown(t, sessionStanding(sessionView{Lab: &labs.Lab{}, Progress: c.progress}))
		if !strings.Contains(got, c.want) || !strings.Contains(got, `data-show-pane="workbench"`) {
			t.Errorf("%s: it says\n%s", c.progress.Phase, got)
		}
	}
	if got := shown(t, sessionStanding(sessionView{Progress: labs.Progress{Phase: labs.PhaseRunning}})); strings.Contains(got, "banner") {
		t.Errorf("while it runs it says\n%s", got)
	}
}

func TestStagesOfAFailedStartStandStill(t *testing.T) {
	t.Parallel()
	got := shown(t, stageList(sessionView{Progress: labs.Progress{Phase: labs.PhaseFailed, Stages: []labs.StageProgress{
		{Name: "Wait for a free place"}, // the server was restarted then
		{Name: "Make the disk", Done: true, Took: time.Second},
		{Name: "Apply the lab"},
	}}}))
	if strings.Count(got, "stage-done") != 2 || strings.Count(got, "failed") != 1 || strings.Contains(got, "data-since") {
		t.Errorf("the stages are\n%s", got)
	}
}

func TestSessionPageExplainsLimits(t *testing.T) {
	t.Parallel()
	view := sessionView{ID: "k3v9x2ab7qpm", Lab: &labs.Lab{}, Progress: labs.Progress{
		Phase: labs.PhaseRunning, Short: []sandbox.Resource{sandbox.Disk, sandbox.Memory, sandbox.Processes}, OutOfMemory: time.Now(),
	}}
	got := shown(t, sessionShort(view))
	for _, want := range []string{"Killed", "Resource temporarily unavailable", "No space left on device"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "little memory left") {
		t.Errorf("that it ran out of memory is not enough:\n%s", got)
	}
	view.Progress.OutOfMemory = time.Time{}
	if got := shown(t, sessionShort(view)); !strings.Contains(got, "little memory left") {
		t.Errorf("with little memory left there is:\n%s", got)
	}
	view.Progress.Short = nil
	if got := shown(t, sessionShort(view)); strings.Contains(got, "banner") {
		t.Errorf("without a shortage there is:\n%s", got)
	}
}

func TestStartsThatAreRefusedLeadSomewhere(t *testing.T) {
	site := newLabSite(t)
	b, session := site.started("ada")
	b.must(http.StatusSeeOther, b.post("/sessions/"+session.ID()+"/wake"))
	refused := problemOf(sessionProblem(fmt.Errorf("start lab x: %w", &labs.TooManyError{Most: 1, Running: []*labs.Session{session}})))
	if refused.Status != http.StatusConflict || !strings.Contains(refused.Text, "A file that is missing") || len(refused.Suggestions) != 1 ||
		refused.Suggestions[0].URL != "/sessions/"+session.ID() {
		t.Errorf("too many labs: %+v", refused)
	}
	set, err := assets.Load()
	if err != nil {
		t.Fatal(err)
	}
	if page := shown(t, problemPage(Page{assets: set}, refused)); !strings.Contains(page, "Your running labs") || strings.Contains(page, "Did you mean") {
		t.Errorf("the page is\n%s", page)
	}
	for err, want := range map[error]string{
		fleet.ErrDraining: "No new labs at the moment",
		fleet.ErrTooLarge: "This server can’t run this lab",
		fleet.ErrKind:     "This server can’t run this lab",
	} {
		if p := problemOf(sessionProblem(fmt.Errorf("start lab x: %w", err))); p.Title != want || p.Status != http.StatusServiceUnavailable {
			t.Errorf("%v: %+v", err, p)
		}
	}
}
