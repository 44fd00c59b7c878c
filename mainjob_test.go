package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox"
	"drydock/store"
)

const (
	// startWithin is ample for a cluster on two busy cores.
	startWithin = 5 * time.Minute
	// fixWithin is ample for pods to start and for what must hold a while.
	fixWithin = 2 * time.Minute
	// soon is ample for what has nothing to wait for but the server.
	soon = 15 * time.Second
)

// mendTheCause is what a learner types to fix the lab, whatever its variant.
var mendTheCause = []string{
	`kubectl patch service database --type merge -p '{"spec":{"selector":{"app":"database","tier":"data"},"ports":[{"name":"db","port":5432,"targetPort":5432}]}}'`,
	`kubectl get configmap shop -o json | jq '.data["shop.env"] |= (sub("DB_HOST=.*"; "DB_HOST=database") | sub("TITLE=.*"; "TITLE=\"The shop is open\""))' | kubectl replace -f -`,
	`kubectl rollout restart deployment web`,
}

// recreate is what a learner in a hurry types. It brings the pods up, and a guard notices.
var recreate = []string{
	`kubectl get deployment web -o json | jq 'del(.metadata.uid, .metadata.resourceVersion, .status)' > web.json`,
	`kubectl delete deployment web && kubectl create -f web.json`,
}

// TestMainJob goes the whole way, on real parts: an instructor invites a
// learner, who reads, starts the lab, says what is wrong, fixes it in the
// terminal and sees every task tick; the server is killed and the engine taken
// away on the way; the instructor sees it all. Then again with a wrong fix.
func TestMainJob(t *testing.T) {
	needsEngine(t)
	proxy, env := newEngineProxy(t)
	server := newServer(t, env)
	server.start()
	b := newBrowser(t)

	instructor := b.person("Ines")
	invite := becomeInstructor(instructor, server.setup)
	if !again(instructor, server.setup) {
		t.Error("the one-time link works a second time")
	}
	learner := b.person("Lena")
	join(learner, invite)
	readArticle(learner, server.url)

	id := beginLab(learner, server.url)
	instructor.open(server.url + "/teach")
	instructor.sees("Lena at work", `document.querySelector('tbody[data-name="lena"] .teach-lab') !== null`, soon)

	typeInto(learner, "export MARK=survived-$((40+2))")
	typeInto(learner, "kubectl get pods")
	seesInTerminal(learner, "Init:1/3", soon)
	giveDiagnosis(learner, server, id)
	instructor.sees("one task done, live", pipsDone("lena", 1), soon)

	learner.sees("the note about the screen reader go", `document.querySelector('#toast').hidden`, soon)
	learner.picture("lab")
	instructor.picture("teach")
	seesSandbox(instructor, server.url)
	killServer(t, server, learner)
	takeEngineAway(proxy, learner)

	for _, line := range mendTheCause {
		typeInto(learner, line)
	}
	for _, task := range []string{"serve", "open"} {
		learner.sees("the task "+task+" tick", done(task), fixWithin)
	}
	instructor.sees("all tasks done, live", pipsDone("lena", 3), soon)
	endAndReport(t, learner, id)

	second := beginLab(learner, server.url)
	if second == id {
		t.Fatal("the second start gave the first session")
	}
	for _, line := range recreate {
		typeInto(learner, line)
	}
	learner.sees("the guard", `document.querySelector('#guard-same-deployment[data-violated="true"]') !== null`, fixWithin)
	learner.seesText("the Deployment web was deleted", soon)
	instructor.sees("the violated guard, live", `document.querySelector('tbody[data-name="lena"]').innerText.includes('was deleted')`, soon)
	stranger(t, b, server.url, second)
	typeInto(learner, "LEFT=by-$((40+2))")
	typeInto(learner, "echo $LEFT")
	seesInTerminal(learner, "by-42", soon)
	endLab(learner)
	learner.seesText("the Deployment web was deleted", soon)
	openWhatWasLeft(instructor, server, second)
	nothingLeft(t, server)
}

// openWhatWasLeft goes from the report into the sandbox as the learner left it.
func openWhatWasLeft(instructor *person, server *testServer, id string) {
	instructor.t.Helper()
	server.until("the sandbox is kept", soon, func() bool {
		return slices.ContainsFunc(sandboxesOf(instructor.t, server), func(info sandbox.Info) bool {
			return info.Session == id && info.Use == sandbox.Kept && info.State == sandbox.Frozen
		})
	})
	instructor.open(server.url + "/attempts/" + id)
	instructor.sees("that the sandbox is kept", `document.querySelector('#kept a[href$="/sandbox"]') !== null`, soon)
	instructor.click(`#kept a[href$="/sandbox"]`)
	instructor.click("[data-reader]")
	seesInTerminal(instructor, "by-42", soon) // what was on the learner's screen
	typeInto(instructor, "echo found-$LEFT; kubectl get deployment web -o name")
	seesInTerminal(instructor, "found-by-42", soon)
	seesInTerminal(instructor, "deployment.apps/web", soon)
	instructor.picture("kept")
}

// seesSandbox looks at the page of all sandboxes, and goes back to the class.
func seesSandbox(instructor *person, url string) {
	instructor.t.Helper()
	instructor.open(url + "/admin/sandboxes")
	instructor.sees("what Lena's sandbox takes", `/Lena[\s\S]*\d+ MiB/.test(document.querySelector('#fleet-sessions tbody').innerText)`, soon)
	instructor.sees("the lab's template", `document.querySelector('#fleet-templates tbody').innerText.includes('Ready')`, soon)
	instructor.picture("sandboxes")
	instructor.open(url + "/teach")
	instructor.sees("Lena at work", `document.querySelector('tbody[data-name="lena"] .teach-lab') !== null`, soon)
}

func done(task string) string {
	return fmt.Sprintf(`document.querySelector('#task-%s[data-state="done"]') !== null`, task)
}

func pipsDone(name string, n int) string {
	return fmt.Sprintf(`document.querySelectorAll('tbody[data-name="%s"] tr:first-child .pip-done').length === %d`, name, n)
}

// becomeInstructor uses the one-time link, makes a cohort and returns an invite link.
func becomeInstructor(p *person, setup string) (invite string) {
	p.t.Helper()
	if setup == "" {
		p.t.Fatal("the server printed no link for the first instructor")
	}
	p.open(setup)
	p.fill("#name", "Ines", "#login", "ines", "#password", "a-long-enough-password")
	p.click("main form button[type=submit]")
	p.sees("the site signed in", `document.querySelector('form[action="/sign-out"]') !== null`, soon)
	origin := p.reads("location.origin")
	p.open(origin + "/teach/cohorts")
	p.fill("#name", "Autumn class")
	p.click(`form[action="/teach/cohorts"] button`)
	p.click(`form[action$="/invites"] button[type=submit]`)
	p.sees("the invite link", `document.querySelector('#invite-link') !== null`, soon)
	return p.reads(`document.querySelector('#invite-link').value`)
}

// again reports whether the used link is refused.
func again(p *person, link string) bool {
	p.open(link)
	return !strings.Contains(p.reads("document.body.innerHTML"), `name="password"`)
}

func join(p *person, invite string) {
	p.t.Helper()
	p.open(invite)
	p.seesText("Autumn class", soon)
	p.fill("#name", "Lena", "#login", "lena", "#password", "another-long-password")
	p.click("main form button[type=submit]")
	p.sees("the site signed in", `document.querySelector('form[action="/sign-out"]') !== null`, soon)
}

// readArticle reads the lab's article to its end, which it finds by its track.
func readArticle(p *person, url string) {
	p.t.Helper()
	p.open(url + "/")
	p.picture("home")
	p.click(`main a[href="/tracks/kubernetes"]`)
	p.click(`main a[href^="/articles/init-containers"]`)
	p.sees("the article", `document.querySelector('article h2') !== null`, soon)
	p.picture("article")
	p.do("read on", soon, chromedp.Evaluate[chromedp.Void](`window.scrollTo(0, document.body.scrollHeight)`))
	p.sees("its lab", `document.querySelector('form[action="/labs/init-containers/start"]') !== null`, soon)
}

// beginLab starts the lab from its page and waits for the prompt.
func beginLab(p *person, url string) (id string) {
	p.t.Helper()
	p.open(url + "/labs/init-containers")
	p.click(`form[action="/labs/init-containers/start"] button`)
	p.sees("the session's page", `location.pathname.startsWith('/sessions/')`, soon)
	p.sees("stages with their times", `document.querySelector('.stage-done .stage-took') !== null`, startWithin)
	p.sees("the lab handed over", `document.querySelector('#session-facts[data-phase="running"]') !== null`, startWithin)
	p.sees("a terminal", `document.querySelector('.xterm-helper-textarea') !== null`, soon)
	// The terminal draws on a canvas; what it says is in the page for screen readers only.
	p.sees("the screen reader's switch", `document.querySelector('[data-reader]') !== null`, soon)
	if p.reads(`document.querySelector('[data-reader]').getAttribute('aria-pressed')`) != "true" {
		p.click("[data-reader]")
	}
	seesInTerminal(p, "$", soon)
	return strings.TrimPrefix(p.reads("location.pathname"), "/sessions/")
}

// seesInTerminal waits for text on the terminal's screen.
func seesInTerminal(p *person, text string, limit time.Duration) {
	p.t.Helper()
	// Rows are joined without line breaks, because a long line is wrapped over several.
	p.sees(fmt.Sprintf("%q in the terminal", text),
		fmt.Sprintf(`[...document.querySelectorAll('.xterm-accessibility-tree > div')].map(d => d.textContent).join('').replaceAll('\u00a0', ' ').includes(%q)`, text), limit)
}

// typeInto types a line into the terminal, as a person with a keyboard does.
func typeInto(p *person, line string) {
	p.t.Helper()
	p.do("type into the terminal", soon, chromedp.SendKeys(chromedp.CSS(".xterm-helper-textarea"), line+kb.Enter))
}

// giveDiagnosis answers the question as the drawn variant wants it, after a wrong answer.
func giveDiagnosis(p *person, server *testServer, id string) {
	p.t.Helper()
	cause := causeOf(p.t, server, id)
	answer := func(text string) {
		p.do("answer", soon, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
			`[...document.querySelectorAll('#ask-diagnose input[type=radio]')].find(r => r.value === %q).click()`, text)))
		p.click("#ask-diagnose button[type=submit]")
	}
	answer("The database has not started yet.")
	p.seesText("is not it", soon)
	time.Sleep(2100 * time.Millisecond) // answers closer together than two seconds are refused
	answer(cause)
	p.sees("the diagnosis tick", done("diagnose"), soon)
}

// causeOf is the right answer, which only the server knows.
func causeOf(t *testing.T, server *testServer, id string) string {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(server.data, "drydock.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	attempt, err := db.Attempt(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	lab, _ := set.Get(attempt.Lab)
	for _, v := range lab.AllVariants() {
		if v.Name == attempt.Variant {
			return v.Vars["cause"]
		}
	}
	t.Fatalf("the attempt has the unknown variant %q", attempt.Variant)
	return ""
}

// killServer kills the server in the middle of the lab. The page comes back by
// itself, to the same shell, with what was ticked still ticked.
func killServer(t *testing.T, server *testServer, p *person) {
	t.Helper()
	server.stop(syscall.SIGKILL)
	p.sees("that the connection is lost", `!document.querySelector('#connection').hidden`, soon)
	server.start()
	p.sees("the connection back", `document.querySelector('#connection').hidden`, 30*time.Second)
	p.sees("the diagnosis still ticked", done("diagnose"), soon)
	p.sees("the lab running", `document.querySelector('#session-facts[data-phase="running"]') !== null`, 30*time.Second)
	typeInto(p, "echo after-kill-$MARK")
	seesInTerminal(p, "after-kill-survived-42", 30*time.Second)
	if out := server.run("sandbox", "list"); strings.Count(out, " serving ") != 1 { // beside a spare, perhaps
		t.Errorf("after the kill one sandbox should serve:\n%s", out)
	}
}

// takeEngineAway makes the engine not answer for a while.
func takeEngineAway(proxy *engineProxy, p *person) {
	p.t.Helper()
	proxy.down()
	p.sees("the trouble", `document.querySelector('#session-facts[data-phase="trouble"]') !== null`, 30*time.Second)
	p.seesText("container engine of this server does not answer", soon)
	proxy.up()
	p.sees("the lab running again", `document.querySelector('#session-facts[data-phase="running"]') !== null`, 60*time.Second)
	typeInto(p, "echo engine-back-$MARK")
	seesInTerminal(p, "engine-back-survived-42", 30*time.Second)
}

func endLab(p *person) {
	p.t.Helper()
	p.click(`[commandfor="end-dialog"]`)
	p.click("#end-dialog button[type=submit]")
	p.sees("the report", `location.pathname.startsWith('/attempts/')`, soon)
}

// endAndReport ends the lab and looks at the report: the score, the timeline
// and a recording with what was typed before and after the kill.
func endAndReport(t *testing.T, p *person, id string) {
	t.Helper()
	endLab(p)
	p.seesText("100", soon)
	p.sees("the timeline", `document.querySelector('[id^="timeline"], .timeline') !== null`, soon)
	p.sees("the player", `document.querySelector('.ap-player, .asciinema-player, [data-recording]') !== null`, soon)
	p.picture("report")
	cast, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](
		fmt.Sprintf(`fetch('/attempts/%s/recordings/0/1.cast').then(r => r.text())`, id), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	said := replay(t, cast)
	for _, want := range []string{"survived-$((40+2))", "after-kill-survived-42", "engine-back-survived-42"} {
		if n := strings.Count(said, want); n != 1 {
			t.Errorf("the recording has %q %d times, want once", want, n)
		}
	}
}

// replay is everything that an asciicast v3 shows, put together.
func replay(t *testing.T, cast string) string {
	t.Helper()
	header, events, _ := strings.Cut(cast, "\n")
	var about struct{ Version int }
	if err := json.Unmarshal([]byte(header), &about); err != nil || about.Version != 3 {
		t.Fatalf("not an asciicast v3: %v: %.200s", err, header)
	}
	var said strings.Builder
	for line := range strings.Lines(events) {
		var event []any
		if err := json.Unmarshal([]byte(line), &event); err != nil || len(event) != 3 {
			t.Fatalf("not an event: %v: %.200s", err, line)
		}
		if event[1] == "o" {
			said.WriteString(event[2].(string))
		}
	}
	return shellMark.ReplaceAllString(said.String(), "")
}

// shellMark is what the learner's shell says of its commands, which no terminal shows.
var shellMark = regexp.MustCompile(`\x1b\](?:133|633);[^\x07]*\x07`)

// stranger checks that a session is nobody else's business.
func stranger(t *testing.T, b *browser, url, id string) {
	p := b.person("Sam")
	for _, path := range []string{"/sessions/" + id, "/attempts/" + id, "/teach"} {
		p.open(url + path)
		if text := p.reads("document.body.innerText"); strings.Contains(text, "Lena") || strings.Contains(text, "database") {
			t.Errorf("%s shows a stranger: %s", path, text)
		}
	}
}

// nothingLeft waits until the ended sessions' sandboxes are gone.
func nothingLeft(t *testing.T, server *testServer) {
	t.Helper()
	server.until("nothing is left but spares and what is kept", time.Minute, func() bool {
		// The pool makes spares for the next learner; one may be on its way.
		return !slices.ContainsFunc(sandboxesOf(t, server), func(info sandbox.Info) bool {
			return info.Use == sandbox.Serving || info.Use == sandbox.Leaving
		})
	})
}

// sandboxesOf are the server's sandboxes.
func sandboxesOf(t *testing.T, server *testServer) []sandbox.Info {
	t.Helper()
	var all []sandbox.Info
	for line := range strings.Lines(server.run("sandbox", "list", "--json")) {
		var info sandbox.Info
		if err := json.Unmarshal([]byte(line), &info); err != nil {
			t.Fatalf("sandbox list --json says %q: %v", line, err)
		}
		all = append(all, info)
	}
	return all
}
