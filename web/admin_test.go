package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/terminaltest"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// fakeFleet shows what it is told to. The real one needs an engine and, to be
// in each of these states at once, a very bad day.
type fakeFleet struct {
	mu        sync.Mutex
	status    fleet.Status
	destroyed []string
	pruned    int
	err       error
	asked     int
}

func (f *fakeFleet) Status(context.Context) fleet.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	s := f.status
	s.Sandboxes = slices.Clone(s.Sandboxes)
	return s
}

func (f *fakeFleet) Known() fleet.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeFleet) Differences(kind sandbox.Kind) []string {
	if kind == sandbox.Machine {
		return []string{"perf does not work: there are no performance counters."}
	}
	return nil
}

func (f *fakeFleet) Drain(on bool) error {
	f.set(func(s *fleet.Status) { s.Draining = on })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fakeFleet) Prune(context.Context) (fleet.PruneReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pruned++
	report := fleet.PruneReport{Freed: 300 << 20}
	for _, box := range f.status.Sandboxes {
		if box.Use == sandbox.Spare {
			report.Spares = append(report.Spares, box.Info)
		}
	}
	return report, f.err
}

func (f *fakeFleet) DestroySandbox(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.destroyed = append(f.destroyed, id)
	f.status.Sandboxes = slices.DeleteFunc(slices.Clone(f.status.Sandboxes), func(b fleet.SandboxStatus) bool { return b.ID == id })
	return nil
}

func (f *fakeFleet) set(change func(*fleet.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

func (f *fakeFleet) gone() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.destroyed)
}

const hostile = `</pre><script>alert("kubelet")</script> <img src=x onerror=alert(1)>`

// busy fills the fleet with one of everything: session is served by the sandbox s1.
func (f *fakeFleet) busy(t *testing.T, site *testSite, session string, now time.Time) {
	t.Helper()
	lab := site.labs.All()[0]
	name := templateName(lab, lab.AllVariants()[0])
	box := func(id string, use sandbox.Use, state sandbox.State) sandbox.Info {
		return sandbox.Info{ID: id, Name: "drydock-test-" + id, Kind: sandbox.Cluster, Use: use, State: state, Template: "t1", Created: now.Add(-time.Hour)}
	}
	serving := box("s1", sandbox.Serving, sandbox.Frozen)
	serving.Session = session
	usage := sandbox.Usage{Memory: 345 << 20, CPU: 3 * time.Minute, PIDs: 212, Disk: 150 << 20, DiskMax: 2 << 30}
	f.set(func(s *fleet.Status) {
		*s = fleet.Status{
			Sandboxes: []fleet.SandboxStatus{
				{Info: serving, TemplateName: name, Usage: usage},
				{Info: box("s2", sandbox.Spare, sandbox.Frozen), TemplateName: name, Usage: sandbox.Usage{Memory: 300 << 20, PIDs: 200}},
				{Info: box("s3", sandbox.Preparing, sandbox.Creating)},
				{Info: box("s4", sandbox.Leaving, sandbox.Running)},
			},
			Templates: []fleet.TemplateStatus{
				{Template: sandbox.Template{ID: "t1", Name: name, Kind: sandbox.Cluster, Size: 180 << 20, Created: now.Add(-2 * time.Hour), Used: 2}, Spares: 1, Wanted: 3},
				{Template: sandbox.Template{ID: "t2", Name: "gone-1-typo", Kind: sandbox.Cluster, Size: 90 << 20, Created: now.Add(-48 * time.Hour)}},
				{Template: sandbox.Template{ID: "t3", Name: "new-1-default", Kind: sandbox.Cluster}, Making: true, Stage: "Wait until the fault is there"},
			},
			Queue:  []fleet.Waiting{{Session: "nobody", Owner: "somebody", Place: 1, Since: now.Add(-40 * time.Second), Estimate: 100 * time.Second}},
			Memory: fleet.Memory{Budget: 20 << 30, Used: 645 << 20, Reserved: 1200 << 20, Spares: 300 << 20},
			Starts: []fleet.StartTimes{
				{Kind: sandbox.Cluster, How: fleet.Warm, Count: 12, P50: 840 * time.Millisecond, P95: 1310 * time.Millisecond, Max: 2 * time.Second},
				{Kind: sandbox.Cluster, How: fleet.TemplateMade, Count: 2, P50: 31 * time.Second, P95: 75 * time.Second, Max: 75 * time.Second},
			},
			Failures: []fleet.Failure{{
				At: now.Add(-5 * time.Minute), Template: "new-1-default", Doing: "make a spare", Stage: "Start the node",
				Error: "the kubelet did not start", Log: "E1122 kubelet.go:1: " + hostile,
			}},
		}
	})
}

func TestSandboxesPageShowsAll(t *testing.T) {
	site := newLabSite(t)
	_, session := site.started("ada")
	grace := site.instructor()
	site.fleet.busy(t, site.testSite, session.ID(), time.Now())

	page := grace.must(http.StatusOK, grace.get(adminPath)).body
	checkHTML(t, adminPath, page)
	text := textOfPage(t, page)
	for _, want := range []string{
		"Learner ada ada", "A file that is missing", "Asleep", "345 MiB", "212", "150 MiB of 2.0 GiB", // the session
		"645 MiB in use of 20 GiB that sandboxes may take", "1.2 GiB are promised", "Spares and what is kept take 300 MiB", // memory
		"Waiting for room", "somebody", "about 2 min to go",
		"1 of 3", "180 MiB", "gone-1-typo", "No lab asks for it any more", "Being made", "Wait until the fault is there", // templates
		"s2", "Spare", "s4", "Being removed",
		"Warm: a spare was taken", "0.84 s", "1.31 s", "Making a template", "1 min 15 s",
		"make a spare", "the kubelet did not start", "Start the node", "E1122 kubelet.go:1: </pre><script>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, hostile) || strings.Contains(page, "<img") {
		t.Error("a log's text became part of the page")
	}

	site.fleet.set(func(s *fleet.Status) { s.Engine, s.Draining = errors.New("dial: "+hostile), true })
	grace.fresh()
	page = grace.get(adminPath).body
	checkHTML(t, adminPath, page)
	if text := textOfPage(t, page); !strings.Contains(text, "The container engine does not answer.") || !strings.Contains(text, "Draining: no lab is started. 1 session goes on.") {
		t.Errorf("trouble with the engine is not told: %s", text)
	}
	if strings.Contains(page, hostile) {
		t.Error("the engine's words became part of the page")
	}

	site.fleet.set(func(s *fleet.Status) {
		s.Engine = &fleet.PartialError{Kinds: map[sandbox.Kind]error{sandbox.Machine: sandbox.ErrEngine}, Answered: 1}
	})
	grace.fresh()
	if text := textOfPage(t, grace.get(adminPath).body); !strings.Contains(text, "One kind of sandbox does not answer.") || strings.Contains(text, "The container engine does not answer.") {
		t.Errorf("a kind that is silent is not told: %s", text)
	}
}

// fresh has the next page ask the fleet anew: somebody has done something.
func (b *browser) fresh() {
	b.t.Helper()
	b.must(http.StatusSeeOther, b.post(adminPath+"/discard-spares"))
	b.get("/account") // takes the notice
}

// An empty server has words for it, not empty tables.
func TestSandboxesPageOfAQuietServer(t *testing.T) {
	site := newSite(t)
	grace := site.instructor()
	page := grace.must(http.StatusOK, grace.get(adminPath)).body
	checkHTML(t, adminPath, page)
	text := textOfPage(t, page)
	for _, want := range []string{"Nobody has a lab open.", "None yet. The first start of a lab makes one.", "Nothing was measured yet.", "Nothing has gone wrong", "no budget is set"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestWhoMaySeeAndActOnSandboxes(t *testing.T) {
	site := newLabSite(t)
	ada, session := site.started("ada")
	grace := site.instructor() // by the one-time link: an operator
	if _, err := site.store.AddUser(t.Context(), store.NewUser{Name: "Barbara", Login: "barbara", Password: testPassword, Role: store.RoleInstructor}); err != nil {
		t.Fatal(err)
	}
	barbara := site.browser()
	barbara.must(http.StatusSeeOther, barbara.post("/sign-in", "login", "barbara", "password", testPassword))
	site.fleet.busy(t, site.testSite, session.ID(), time.Now())

	looks := []string{adminPath, adminPath + "/events"}
	acts := []string{"/drain", "/prune", "/discard-spares", "/s1/destroy", "/s2/destroy"}
	for _, path := range looks {
		ada.must(http.StatusNotFound, ada.get(path))
		site.browser().must(http.StatusSeeOther, site.browser().get(path))
	}
	page := barbara.must(http.StatusOK, barbara.get(adminPath)).body
	if strings.Contains(page, `method="post" action="`+adminPath) || strings.Contains(page, "/destroy") || !strings.Contains(page, "drydock user role barbara operator") {
		t.Error("an instructor who is no operator is offered buttons, or is not told how to get them")
	}
	for _, path := range acts {
		ada.must(http.StatusNotFound, ada.post(adminPath+path, "on", "yes"))
		a := barbara.must(http.StatusForbidden, barbara.post(adminPath+path, "on", "yes"))
		if !strings.Contains(a.body, "drydock user role barbara operator") {
			t.Errorf("%s does not say how to become an operator", path)
		}
		// Another site's page asks in the operator's name.
		grace.must(http.StatusForbidden, grace.do(http.MethodPost, adminPath+path, map[string][]string{"on": {"yes"}}, "Sec-Fetch-Site", "cross-site"))
	}
	ada.must(http.StatusNotFound, ada.get(adminPath+"/s1/destroy"))
	barbara.must(http.StatusForbidden, barbara.get(adminPath+"/s1/destroy"))
	if site.fleet.gone() != nil || site.fleet.pruned != 0 || site.fleet.status.Draining || session.Snapshot().Phase.Over() {
		t.Errorf("something was done: removed %v, pruned %d, draining %v", site.fleet.gone(), site.fleet.pruned, site.fleet.status.Draining)
	}

	// Taken away, the right is gone with the next request.
	user, err := site.store.UserByLogin(t.Context(), "grace")
	if err != nil {
		t.Fatal(err)
	}
	if err := site.store.SetRole(t.Context(), user.ID, store.RoleInstructor); err != nil {
		t.Fatal(err)
	}
	grace.must(http.StatusForbidden, grace.post(adminPath+"/prune"))
}

func TestOperatorActs(t *testing.T) {
	site := newLabSite(t)
	ada, session := site.started("ada")
	grace := site.instructor()
	site.fleet.busy(t, site.testSite, session.ID(), time.Now())
	says := func(want string) {
		t.Helper()
		page := grace.must(http.StatusOK, grace.get(adminPath)).body
		if text := textOfPage(t, page); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q: %.600s", want, text)
		}
	}

	grace.must(http.StatusSeeOther, grace.post(adminPath+"/drain", "on", "yes"))
	says("The server is draining: no lab is started any more, also after a restart.")
	says("Let labs start again")
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/drain", "on", "no"))
	says("Labs can be started again.")

	grace.must(http.StatusSeeOther, grace.post(adminPath+"/prune"))
	says("Removed 0 templates and 1 spare. 300 MiB of disk are free again.")
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/discard-spares"))
	says("Removed 1 spare.")
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/discard-spares"))
	says("There were no spares.")

	// A sandbox without a session goes by its own id.
	ask := grace.must(http.StatusOK, grace.get(adminPath+"/s3/destroy")).body
	checkHTML(t, "confirmation", ask)
	if text := textOfPage(t, ask); !strings.Contains(text, "serves nobody") {
		t.Errorf("the confirmation says %s", text)
	}
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/s3/destroy"))
	says("The sandbox s3 is removed.")
	if got := fmt.Sprint(site.fleet.gone()); got != "[s2 s3]" {
		t.Errorf("removed %s", got)
	}

	// One that serves goes with its session, whose results are kept.
	ask = grace.must(http.StatusOK, grace.get(adminPath+"/s1/destroy")).body
	checkHTML(t, "confirmation", ask)
	text := textOfPage(t, ask)
	for _, want := range []string{"Learner ada ’s", "A file that is missing", "What was graded until now is kept"} {
		if !strings.Contains(text, want) {
			t.Errorf("the confirmation does not say %q: %s", want, text)
		}
	}
	if session.Snapshot().Phase.Over() {
		t.Fatal("asking ended the session")
	}
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/s1/destroy"))
	says("The session of Learner ada is over and its results are kept.")
	if p := session.Snapshot(); p.Phase != labs.PhaseEnded {
		t.Errorf("the session is %s", p.Phase)
	}
	ada.must(http.StatusOK, ada.get("/attempts/"+session.ID()))
	attempt, err := site.store.Attempt(t.Context(), session.ID())
	if err != nil || attempt.Ended.IsZero() {
		t.Errorf("the attempt was not stored: %+v, %v", attempt, err)
	}
	terminaltest.Eventually(t, "the sandbox is removed", func() bool {
		_, err := site.provider.Get(t.Context(), session.ID())
		return errors.Is(err, sandbox.ErrNotFound)
	})

	grace.must(http.StatusNotFound, grace.get(adminPath+"/s9/destroy"))
	site.fleet.err = &fleet.PartialError{Kinds: map[sandbox.Kind]error{sandbox.Machine: sandbox.ErrEngine}, Answered: 1}
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/prune"))
	says("Sandboxes of the kind machine did not answer: nothing of theirs was removed.")
	site.fleet.err = sandbox.ErrEngine
	grace.must(http.StatusServiceUnavailable, grace.post(adminPath+"/prune"))
	grace.must(http.StatusServiceUnavailable, grace.post(adminPath+"/s4/destroy"))
	grace.must(http.StatusSeeOther, grace.post(adminPath+"/drain", "on", "yes"))
	says("a restart of the server forgets it")
}

func TestSandboxesPageIsLive(t *testing.T) {
	site := newSite(t)
	grace := site.instructor()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site.url+adminPath+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := grace.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type %q", got)
	}
	stream := bufio.NewScanner(res.Body)
	part := func(says string) (message string) {
		t.Helper()
		for stream.Scan() {
			line := stream.Text()
			if message += line; line != "" {
				continue
			}
			if strings.Contains(message, says) {
				return message
			}
			message = ""
		}
		t.Fatalf("the stream ended before it said %q: %v", says, stream.Err())
		return ""
	}
	part(`id="fleet-failures"`)
	site.fleet.set(func(s *fleet.Status) { s.Draining = true })
	if message := part("Draining:"); strings.Contains(message, "fleet-failures") || strings.Contains(message, "fleet-starts") {
		t.Errorf("what has not changed was sent again: %s", message)
	}
}

// However many look, the engine is asked once.
func TestManyWhoLookCostAsMuchAsOne(t *testing.T) {
	source := &fakeFleet{}
	now := time.Unix(1_800_000_000, 0)
	watch := &fleetWatch{fleet: source, now: func() time.Time { return now }}
	source.status.Sandboxes = []fleet.SandboxStatus{{Info: sandbox.Info{ID: "s1"}, Usage: sandbox.Usage{CPU: time.Second}}}
	for range 10 {
		if _, cores := watch.look(t.Context()); len(cores) != 0 {
			t.Errorf("one measurement tells of a rate: %v", cores)
		}
	}
	if source.asked != 1 {
		t.Errorf("the engine was asked %d times", source.asked)
	}
	now = now.Add(4 * time.Second)
	source.status.Sandboxes[0].Usage.CPU = 3 * time.Second
	if _, cores := watch.look(t.Context()); cores["s1"] != 0.5 {
		t.Errorf("2 s of the processor in 4 s are %v cores", cores["s1"])
	}
	watch.forget()
	watch.look(t.Context())
	if source.asked != 3 {
		t.Errorf("asked %d times", source.asked)
	}
}

func TestLabPageTellsInstructorsOfTemplates(t *testing.T) {
	site := newSite(t)
	ada, _ := site.learner("ada", 0)
	grace := site.instructor()
	lab, _ := site.labs.Get(labSlug)
	var all []fleet.TemplateStatus
	for _, v := range lab.AllVariants() {
		all = append(all, fleet.TemplateStatus{Template: sandbox.Template{ID: v.Name, Name: templateName(lab, v), Created: time.Now()}})
	}
	if len(all) < 2 {
		t.Fatal("the lab has one variant; this needs two")
	}
	for _, test := range []struct {
		change func(*fleet.Status)
		want   string
	}{
		{func(*fleet.Status) {}, "Template: not made yet"},
		{func(s *fleet.Status) { s.Templates = all }, "Template: ready"},
		{func(s *fleet.Status) {
			s.Templates = slices.Clone(all)
			s.Templates[1].Created, s.Templates[1].Making, s.Templates[1].Stage = time.Time{}, true, "Apply the lab"
		}, "Template: " + lab.AllVariants()[1].Name + ": being made (Apply the lab)"},
		{func(s *fleet.Status) {
			s.Templates = all[:1]
			s.Failures = []fleet.Failure{{At: time.Now(), Template: all[1].Name, Doing: "make a template", Error: "no room " + hostile}}
		}, "Template: " + lab.AllVariants()[1].Name + ": failed: no room </pre>"},
		{func(s *fleet.Status) { s.Engine = sandbox.ErrEngine }, "Template: not known"},
	} {
		site.fleet.set(test.change)
		grace.fresh()
		page := grace.get("/labs/" + labSlug).body
		if text := textOfPage(t, page); !strings.Contains(text, test.want) {
			t.Errorf("an instructor does not read %q", test.want)
		}
		if strings.Contains(page, hostile) {
			t.Error("an error's text became part of the page")
		}
		checkHTML(t, "the lab's page", page)
	}
	if strings.Contains(ada.get("/labs/"+labSlug).body, "Template:") {
		t.Error("a learner reads of templates")
	}
}

func TestWordsOfMeasurements(t *testing.T) {
	for got, want := range map[string]string{
		byteSize(0): "0 KiB", byteSize(345 << 20): "345 MiB", byteSize(3<<29 + 1): "1.5 GiB", byteSize(20 << 30): "20 GiB",
		tookWords(840 * time.Millisecond): "0.84 s", tookWords(31400 * time.Millisecond): "31.4 s", tookWords(125 * time.Second): "2 min 05 s", tookWords(2 * time.Hour): "2 h 00 min",
		roughly(0): "not known", roughly(3 * time.Second): "about 5 s", roughly(41 * time.Second): "about 45 s", roughly(100 * time.Second): "about 2 min",
		coresWords(-1): "–", coresWords(0.123): "0.12",
		diskWords(sandbox.Usage{}): "–", diskWords(sandbox.Usage{Disk: 1 << 20}): "1 MiB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSandboxesInABrowser(t *testing.T) {
	site := newLabSite(t)
	_, session := site.started("ada")
	site.fleet.busy(t, site.testSite, session.ID(), time.Now())
	w := openWindow(t, site, site.instructor())
	w.open(adminPath)
	w.sees(`document.querySelector("[data-live]").hasAttribute("data-on")`)
	w.sees(`document.querySelector("#fleet-sessions").innerText.includes("345 MiB")`)
	w.sees(`/ago|just now/.test(document.querySelector("#fleet-templates time").textContent)`)
	w.picture("sandboxes-wide-light")

	// A log that is read stays open while the rest changes, and the focus stays.
	w.click(".fleet-failures summary")
	w.sees(`document.querySelector(".fleet-failures details").open && document.activeElement.tagName === "SUMMARY"`)
	site.fleet.set(func(s *fleet.Status) {
		s.Failures = append([]fleet.Failure{{At: time.Now(), Session: session.ID(), Doing: "freeze", Error: "another thing went wrong"}}, s.Failures...)
		s.Sandboxes = slices.Clone(s.Sandboxes)
		s.Sandboxes[0].State, s.Sandboxes[0].Usage.Memory = sandbox.Running, 512<<20
	})
	w.sees(`document.querySelector("#fleet-sessions").innerText.includes("512 MiB")`)
	w.sees(`document.querySelector(".fleet-failures").innerText.includes("another thing went wrong")`)
	w.sees(`document.querySelectorAll(".fleet-failures details").length === 2 && document.querySelectorAll(".fleet-failures details[open]").length === 1`)
	w.sees(`document.activeElement.closest("details[open]") !== null`)
	w.picture("sandboxes-log-open")

	w.colours("dark")
	w.picture("sandboxes-wide-dark")
	w.sized(390, 860)
	w.sees(`document.documentElement.scrollWidth <= innerWidth`)
	w.picture("sandboxes-narrow-dark")
	w.colours("light")
	w.picture("sandboxes-narrow-light")
	w.sized(1360, 860)

	// By keyboard to a sandbox's end.
	w.do("focus", chromedp.Focus(chromedp.CSS("#destroy-s1")))
	w.keys(kb.Enter)
	w.sees(`document.querySelector("h1")?.innerText === "Destroy this sandbox?"`)
	w.picture("sandboxes-destroy")
	w.click(".button.danger")
	w.sees(`document.querySelector(".notice")?.innerText.includes("its results are kept")`)
	w.sees(`document.querySelector("#fleet-sessions").innerText.includes("Nobody has a lab open.")`)
	w.sound()
}

// A lab's page tells an instructor where its templates stand, and has no
// container measured for it.
func TestLabPageAsksNoEngineForItsTemplates(t *testing.T) {
	site := newLabSite(t)
	grace := site.instructor()
	site.fleet.busy(t, site.testSite, "", time.Now())
	lab := site.labs.All()[0]
	says := func(want string) {
		t.Helper()
		if text := textOfPage(t, grace.must(http.StatusOK, grace.get("/labs/"+lab.Slug)).body); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q: %.900s", want, text)
		}
	}
	if got := site.fleet.Known().Templates[0].Name; got != templateName(lab, lab.AllVariants()[0]) {
		t.Fatalf("the template is %q", got)
	}
	says("ready")
	silent := func(kind sandbox.Kind) {
		site.fleet.set(func(s *fleet.Status) {
			s.Engine = &fleet.PartialError{Kinds: map[sandbox.Kind]error{kind: sandbox.ErrEngine}, Answered: 1}
		})
	}
	silent("balloon") // which is not this lab's business
	says("ready")
	silent(lab.Sandbox.Kind)
	says("not known")
	if site.fleet.asked != 0 {
		t.Errorf("it asked %d times", site.fleet.asked)
	}
}
