package web

import (
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/labs/grade"
	"drydock/labs/terminaltest"
)

// markedLab has a marker in everything that a learner is not to read, and none elsewhere.
const markedLab = `
apiVersion: drydock/v1
kind: Lab
title: A file that is missing
summary: Somebody took the flag down. Put it up again.
track: linux
level: beginner
minutes: 20
sandbox: {kind: cluster, access: cluster}
variants:
  - {name: marked-variant-one, vars: {answer: marked-answer-one, fault: marked-fault-one}}
  - {name: marked-variant-two, vars: {answer: marked-answer-two, fault: marked-fault-two}}
setup: [{run: setup/take-down.sh}]
ready:
  - {id: down, exec: {on: terminal, command: [sh, -c, "ls flag # marked-ready"]}, that: "result.code != 0 && 'marked-ready-that' != ''"}
tasks:
  - id: diagnose
    title: Say what is missing
    points: 10
    hints: [{text: marked-hint, cost: 1}]
    ask: {text: "Which file is missing?", accept: ["${vars.answer}", "/marked-pattern-[0-9]+/"], why: marked-why}
  - {id: several, title: Name both, points: 10, ask: {text: "Which two?", all: [marked-both, marked-of-them]}}
  - {id: count, title: Count, points: 10, ask: {text: "How many?", number: {is: "48151623.42", within: "0.108"}}}
  - {id: choose, title: Choose, points: 10, ask: {text: "Which?", choices: [red, green, blue], accept: [green], why: marked-choice}}
  - id: raise
    title: Put the flag up
    points: 60
    checks:
      - {id: flag-up, exec: {on: terminal, command: [sh, -c, "ls flag # marked-command ${vars.fault}"], every: 200ms},
         that: "result.code == 0 || result.stdout == 'marked-that'",
         else: "there is no flag (${[{'marked-else': result.code}].map(m, string(m['marked-else'])).join('}')}), and $${that} is all"}
      - id: parts
        any:
          - {exec: {on: terminal, command: [sh, -c, "ls flag # marked-part"], every: 200ms}, that: "result.code == 0 || result.stdout == 'marked-part-that'", else: it is not up}
          - {exec: {on: terminal, command: [sh, -c, "ls flags # marked-part"], every: 200ms}, that: "result.code == 0 || result.stdout == 'marked-part-that'", else: they are not up}
guards:
  - {id: keep-the-mast, exec: {on: terminal, command: [sh, -c, "ls sawn # marked-guard"], every: 200ms}, that: "result.code != 0 || result.stdout == 'marked-guard-that'",
     else: "the mast was sawn off ${result.stdout + {'a': result.stderr}['a'] + 'marked-guard-else'}"}
`

// marks are what must not be found. The number is one that no page has by chance.
var marks = regexp.MustCompile(`marked-[a-z]+|48151623|Nothing flies`)

func markedFolder() fstest.MapFS {
	script := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("#!/bin/sh\n" + text)} }
	return fstest.MapFS{
		"files/lab.yaml":           {Data: []byte(markedLab)},
		"files/README.md":          {Data: []byte(filesReadme + "\n## Name both {#several}\n\nBoth.\n\n## Count {#count}\n\nAll.\n\n## Choose {#choose}\n\nOne.\n")},
		"files/setup/take-down.sh": script("rm -f flag # marked-setup $VAR_fault\n"),
		"files/files/notes.txt":    script("marked-file\n"),
		"files/bench/baseline.sh":  script("echo marked-bench\n"),
		"files/solutions/touch.sh": script("touch flag # marked-solution\n"),
		"files/solutions/echo.sh":  script("echo red > flag # marked-solution\n"),
		"files/wrong/saw.sh":       {Data: []byte("# caught-by: keep-the-mast\ntouch sawn flag # marked-wrong\n")},
	}
}

// TestNoPageTellsWhatIsToBeFound: neither what a page shows nor its source, nor
// any other thing that the server sends to a learner, has anything of checks,
// solutions, accepted answers, setup or hints that were not taken.
func TestNoPageTellsWhatIsToBeFound(t *testing.T) {
	site := newLabSiteOf(t, markedFolder())
	b, session := site.started("ada")
	at := "/sessions/" + session.ID()
	report := "/attempts/" + session.ID()
	terminaltest.Eventually(t, "everything was judged", func() bool {
		p := session.Snapshot()
		return p.Tasks[4].Checks[0].Result.Verdict == grade.Fail && p.Tasks[4].Checks[1].Result.Verdict == grade.Fail && p.Guards[0].Result.Verdict == grade.Pass
	})
	sent := map[string]string{} // by what it is called here
	look := func(when string, paths ...string) {
		t.Helper()
		for path, a := range b.crawl(t, "/", "/assets/") {
			sent[when+path] = a.body
		}
		for _, path := range append(paths, at, report, report+"/evidence/flag-up", report+"/evidence/parts", report+"/evidence/keep-the-mast", report+"/recordings/0/1.cast",
			"/labs/files", "/labs/files/lab.yaml", "/labs/files/solutions/touch.sh", "/labs/files/figures/lab.yaml", "/labs/files/figures/../lab.yaml",
			"/search?q=marked", "/search?q=marked-answer-one", "/feed.xml") {
			a := b.get(path)
			sent[when+path] = a.body + fmt.Sprint(a.header)
		}
	}
	events := b.events(at+"/events", "")
	sent["first message"] = events.until("task-raise")
	c := b.dial(at + "/terminal?tab=1&cols=100&rows=30&run=0&from=0")
	c.untilOutput("$ ")
	look("running ")
	// The right choice is marked up as the others are.
	choices, numbered := map[string]bool{}, regexp.MustCompile(`choose-[0-9]`)
	for _, choice := range []string{"red", "green", "blue"} {
		for _, element := range regexp.MustCompile(`<[^<]*"`+choice+`"[^>]*>`).FindAllString(numbered.ReplaceAllString(sent["running "+at], ""), -1) {
			choices[strings.ReplaceAll(element, `"`+choice+`"`, "")] = true
		}
	}
	if len(choices) != 1 {
		t.Errorf("choices differ in more than their words: %v", choices)
	}
	for _, given := range []string{"wrong", "marked"} { // the second comes too fast
		sent["answer "+given] = b.post(at+"/answer", "task", "diagnose", "answer", given).body
	}
	sent["message after an answer"] = events.until("is not it")
	c.send(frameInput, []byte("touch flag; env; history\r"))
	sent["message after a tick"] = events.until(`data-state="done"`)
	look("repaired ")
	sent["terminal"] = c.out.String()
	b.must(http.StatusSeeOther, b.post(at+"/end"))
	look("over ")
	for name, text := range sent {
		if name == "answer marked" || strings.Contains(name, "/search") {
			text = strings.NewReplacer("marked-answer-one", "", "marked", "").Replace(text) // what was asked
		}
		if found := marks.FindAllString(html.UnescapeString(text), -1); len(found) > 0 {
			slices.Sort(found)
			t.Errorf("%s: a learner is sent %q", name, slices.Compact(found))
		}
	}
	if len(sent) < 60 {
		t.Errorf("only %d answers of the server were looked at", len(sent))
	}
	// The markers would be seen: somebody who has found the answer is told why.
	again, second := site.started("otto")
	again.must(http.StatusSeeOther, again.post("/sessions/"+second.ID()+"/answer", "task", "diagnose", "answer", "marked-pattern-1"))
	if page := again.get("/sessions/" + second.ID()).body; !strings.Contains(page, "marked-why") {
		t.Error("this test finds no marker where there is one")
	}
}

// TestOwnLabsTellNothing: of the labs that come with Drydock, the pages of all
// variants are the same, whatever is right in them, and none has anything of
// checks or scripts.
func TestOwnLabsTellNothing(t *testing.T) {
	now := time.Now().Truncate(time.Minute)
	site := newSiteAt(t, catalogue.FS(), func() time.Time { return now })
	for _, lab := range site.labs.All() {
		t.Run(lab.Slug, func(t *testing.T) {
			hidden := hiddenTexts(t, lab)
			if len(hidden) < 8 {
				t.Errorf("there are only %d texts to look for", len(hidden))
			}
			first := map[string]string{}
			for i, v := range lab.AllVariants() {
				id := fmt.Sprintf("%s%d", strings.ReplaceAll(lab.Slug, "-", "")[:8], i)
				b := site.attemptOf(t, id, lab, v, now)
				for _, page := range []string{"/labs/" + lab.Slug, "/sessions/", "/attempts/"} {
					address := page
					if strings.HasSuffix(page, "/") {
						address += id
					}
					body := b.must(http.StatusOK, b.get(address)).body
					text := strings.Join(strings.Fields(html.UnescapeString(body)), " ")
					for what, secret := range hidden {
						if strings.Contains(text, secret) {
							t.Errorf("%s has %s: %q", address, what, secret)
						}
					}
					same := strings.ReplaceAll(body, id, "ID")
					if before, ok := first[page]; !ok {
						first[page] = same
					} else if before != same {
						t.Errorf("%s tells the variant %s from another: %s", address, v.Name, differ(before, same))
					}
				}
			}
		})
	}
}

// attemptOf stores an attempt that is going on, in which every check has failed
// once, and signs its learner in.
func (s *testSite) attemptOf(t *testing.T, id string, lab *labs.Lab, v labs.Variant, at time.Time) *browser {
	t.Helper()
	b, user := s.learner(id, 0)
	err := s.store.CreateAttempt(t.Context(), labs.Attempt{ID: id, User: user.ID, Lab: lab.Slug, Version: lab.Version, Variant: v.Name, Created: at})
	if err != nil {
		t.Fatal(err)
	}
	event := func(kind labs.EventType, check string, data any) labs.Event {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		return labs.Event{Type: kind, At: at, Check: check, Data: raw}
	}
	events := []labs.Event{
		event(labs.EventRequested, "", map[string]string{"lab": lab.Slug, "version": lab.Version, "variant": v.Name}),
		event(labs.EventReady, "", map[string]int64{"expires": at.Add(time.Hour).UnixMilli(), "deadline": at.Add(2 * time.Hour).UnixMilli()}),
	}
	for _, task := range lab.Tasks {
		for _, c := range task.Checks {
			events = append(events, event(labs.EventResult, c.ID, grade.Result{Check: c.ID, Verdict: grade.Fail, Reason: "not yet"}))
		}
	}
	if _, err := s.store.AppendEvents(t.Context(), id, events...); err != nil {
		t.Fatal(err)
	}
	return b
}

// hiddenTexts are texts of a lab that are long enough not to be on a page by
// chance, by what they are, with single spaces.
func hiddenTexts(t *testing.T, lab *labs.Lab) map[string]string {
	t.Helper()
	hidden := map[string]string{}
	add := func(what, text string, least int) {
		if text = strings.Join(strings.Fields(text), " "); len(text) >= least {
			hidden[what] = text
		}
	}
	for _, c := range append(lab.Checks(), lab.Ready...) {
		for i, part := range c.Looks() {
			what := fmt.Sprintf("%s/%d", c.ID, i)
			add("the condition of "+what, part.That, 12)
			if part.Exec != nil {
				add("the command of "+what, strings.Join(part.Exec.Command, " "), 12)
			}
		}
	}
	for _, pattern := range []string{"setup/*", "solutions/*", "wrong/*", "manifests/*"} {
		files, err := fs.Glob(lab.FS, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := fs.ReadFile(lab.FS, name)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				add(fmt.Sprintf("line %d of %s", i+1, path.Clean(name)), line, 40)
			}
		}
	}
	return hidden
}

// differ shows where two pages begin to.
func differ(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return fmt.Sprintf("%.120q and %.120q", a[max(0, i-40):], b[max(0, i-40):])
}

// TestAnswersByTheHundred: of answers that a program sends all at once, one is
// taken, and the report tells of the others.
func TestAnswersByTheHundred(t *testing.T) {
	const tries = 100
	site := newLabSite(t)
	b, session := site.started("ada")
	at := "/sessions/" + session.ID()
	statuses := make([]int, tries)
	var all sync.WaitGroup
	for i := range tries {
		all.Go(func() {
			statuses[i] = b.post(at+"/answer", "task", "diagnose", "answer", fmt.Sprintf("guess-%d", i)).status
		})
	}
	all.Wait()
	taken := 0
	for _, status := range statuses {
		switch status {
		case http.StatusSeeOther:
			taken++
		case http.StatusTooManyRequests:
		default:
			t.Errorf("an answer gets %d", status)
		}
	}
	if given := session.Snapshot().Tasks[0].Answers; taken != 1 || given != 1 {
		t.Errorf("of %d answers at once %d were taken, %d counted", tries, taken, given)
	}
	refused := tries - 1
	terminaltest.Eventually(t, "another answer is taken", func() bool {
		if b.post(at+"/answer", "task", "diagnose", "answer", "flag").status == http.StatusSeeOther {
			return true
		}
		refused++
		return false
	})
	want := fmt.Sprintf("The right answer “flag”, after %d answers refused for coming too fast", refused)
	for _, reader := range []*browser{b, site.instructor()} {
		if text := textOfPage(t, reader.must(http.StatusOK, reader.get("/attempts/"+session.ID())).body); !strings.Contains(text, want) || !strings.Contains(text, "A wrong answer “guess-") {
			t.Errorf("the report does not tell %q:\n%s", want, text)
		}
	}
}
