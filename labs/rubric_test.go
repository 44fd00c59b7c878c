package labs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drydock/labs/grade"
	"drydock/labs/trail"
)

func ruled() *Lab {
	lab := foldLab()
	lab.Service = &Service{}
	lab.Variants = []Variant{{Name: "typo", Vars: map[string]string{"db": "database"}}}
	lab.Tasks[1].Checks = []grade.Check{
		{ID: "up", Watch: &grade.Watch{Kind: "Deployment", Namespace: "shop", Name: "web"}},
		{ID: "answers", HTTP: &grade.HTTP{From: "shop", URL: "http://${vars.db}/x"}},
	}
	lab.Rubric = &Rubric{
		Guards:     &CountRule{Cost: 10},
		Downtime:   &TimeRule{Free: grade.Duration(10 * time.Second), Per: grade.Duration(30 * time.Second), Cost: 2, Most: 5},
		Time:       &TimeRule{Free: grade.Duration(time.Minute), Per: grade.Duration(time.Minute), Cost: 1, Most: 10},
		Resets:     &CountRule{Free: 1, Cost: 3},
		Collateral: &CollateralRule{Cost: 2, Most: 10, Allow: []Allowance{{Kind: "ConfigMap", Namespace: "shop", Name: "settings"}}},
	}
	return lab
}

func lost(p Progress) string {
	var all []string
	for _, d := range p.Deductions {
		all = append(all, fmt.Sprintf("%s %d: %s", d.For, d.Points, d.Reason))
	}
	return strings.Join(all, "\n")
}

func TestRubricPricesHowItWasDone(t *testing.T) {
	h := started(t)
	at := func(seconds int) { h.at = h.at.Add(time.Duration(seconds-1) * time.Second) }
	h.add(t, Event{Type: EventService}, map[string]bool{"up": false})
	at(45)
	h.add(t, Event{Type: EventService}, map[string]bool{"up": true})
	h.add(t, Event{Type: EventGuard, Check: "same"}, grade.Result{Check: "same"})
	// What the learner could not work in does not count.
	h.add(t, Event{Type: EventFrozen}, map[string]string{"why": "idle"})
	at(3600)
	h.add(t, Event{Type: EventThawed}, nil)
	at(90)
	h.add(t, Event{Type: EventTaskDone, Task: "mend"}, nil)
	h.add(t, Event{Type: EventCollateral}, trail.Difference{Changes: []trail.ObjectChange{
		{Op: trail.Changed, Kind: "Deployment", Space: "shop", Name: "web"},     // a check looks at it
		{Op: trail.Changed, Kind: "Service", Space: "shop", Name: "database"},   // a request goes there
		{Op: trail.Changed, Kind: "ConfigMap", Space: "shop", Name: "settings"}, // allowed
		{Op: trail.Deleted, Kind: "ConfigMap", Space: "shop", Name: "other"},
		{Op: trail.Created, Kind: "Service", Space: "other", Name: "database"},
	}})
	h.add(t, Event{Type: EventEnded}, map[string]string{"why": "learner"})
	p := Fold(ruled(), h.events)
	want := "guards 10: 1 guard was violated\n" +
		"downtime 4: the service was away for its users for 45 seconds\n" +
		"time 2: the repair took 2 minutes 18 s\n" +
		"collateral 4: 2 objects that the repair did not need are otherwise than before"
	if got := lost(p); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if p.Score != 60-20 {
		t.Errorf("score %d, want 40", p.Score)
	}
}

func TestCollateralOfASandboxThatWasReplacedCostsNothing(t *testing.T) {
	h := started(t)
	h.add(t, Event{Type: EventReset}, nil)
	changes := []trail.ObjectChange{{Op: trail.Deleted, Kind: "ConfigMap", Space: "shop", Name: "other"}}
	h.add(t, Event{Type: EventCollateral}, trail.Difference{Run: 0, Changes: changes}) // looked at before the reset, told after it
	h.add(t, Event{Type: EventReady}, nil)
	p := Fold(ruled(), h.events)
	if len(p.Collateral.Changes) != 0 || len(p.Deductions) != 0 {
		t.Errorf("collateral %+v, deductions %s", p.Collateral, lost(p))
	}
	h.add(t, Event{Type: EventCollateral}, trail.Difference{Run: 1, Changes: changes})
	h.add(t, Event{Type: EventReset}, nil)
	h.add(t, Event{Type: EventReady}, nil)
	if p = Fold(ruled(), h.events); lost(p) != "resets 3: 2 resets were asked for" {
		t.Errorf("after the second reset: %s", lost(p))
	}
}

func TestLabWithoutRubricPricesGuardsOnly(t *testing.T) {
	h := started(t)
	h.add(t, Event{Type: EventReset}, nil)
	h.add(t, Event{Type: EventReady}, nil)
	h.add(t, Event{Type: EventTaskDone, Task: "mend"}, nil)
	h.add(t, Event{Type: EventGuard, Check: "same"}, grade.Result{Check: "same"})
	h.add(t, Event{Type: EventCollateral}, trail.Difference{Run: 1, Changes: []trail.ObjectChange{{Op: trail.Deleted, Kind: "Pod"}}, More: 100})
	p := Fold(foldLab(), h.events)
	if lost(p) != "guards 25: 1 guard was violated" || p.Score != 35 {
		t.Errorf("score %d after:\n%s", p.Score, lost(p))
	}
}

func TestRulesHaveBounds(t *testing.T) {
	for _, c := range []struct{ got, want int }{
		{CountRule{Free: 2, Cost: 5}.points(2), 0},
		{CountRule{Free: 2, Cost: 5}.points(4), 10},
		{CountRule{Cost: 5, Most: 12}.points(4), 12},
		{CountRule{Cost: 50}.points(1 << 40), 100},
		{TimeRule{Per: grade.Duration(time.Minute), Cost: 3}.points(0), 0},
		{TimeRule{Per: grade.Duration(time.Minute), Cost: 3}.points(time.Second), 3},
		{TimeRule{Per: grade.Duration(time.Minute), Cost: 3}.points(time.Minute), 3},
		{TimeRule{Per: grade.Duration(time.Minute), Cost: 3}.points(61 * time.Second), 6},
		{TimeRule{Per: grade.Duration(time.Second), Cost: 3}.points(1000 * time.Hour), 100},
	} {
		if c.got != c.want {
			t.Errorf("got %d points, want %d", c.got, c.want)
		}
	}
}

func TestTermsSayWhatCostsHowMuch(t *testing.T) {
	var got []string
	for _, term := range ruled().Terms() {
		got = append(got, term.For+": "+term.Words)
	}
	want := []string{
		"guards: Each violated guard costs 10 points",
		"downtime: Time that the service is away for its users: 2 points for each 30 seconds after the first 10 seconds, 5 at most",
		"time: Time until everything is repaired, sleep and our own trouble left out: 1 point for each 1 minute after the first 1 minute, 10 at most",
		"resets: 1 reset is free, each one after that costs 3 points",
		"collateral: Each object changed that the repair does not need costs 2 points, 10 at most",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRubricIsReadStrictly(t *testing.T) {
	const lab = `apiVersion: drydock/v1
kind: Lab
title: T
summary: S.
track: t
level: beginner
minutes: 5
sandbox: {kind: cluster, access: cluster}
setup: [{apply: m}]
ready: [{id: r, watch: {kind: Pod}, that: "true"}]
tasks:
  - {id: a, title: A, points: 100, checks: [{id: c, watch: {kind: Pod}, that: "true"}]}
rubric:
`
	for text, want := range map[string]string{
		"  downtme: {per: 1s, cost: 1}":                         `unknown field "downtme", did you mean "downtime"?`,
		"  downtime: {per: 1s, cost: 1}":                        "the lab has no service",
		"  guards: {cost: 1}":                                   "no guards",
		"  resets: {free: 1}":                                   `missing "cost" in rubric.resets`,
		"  resets: {cost: 101}":                                 "between 0 and 100",
		"  resets: {cost: 10, most: 5}":                         "less than the cost of one",
		"  time: {cost: 1}":                                     `missing "per" in rubric.time`,
		"  time: {per: 10ms, cost: 1}":                          "at least 1s",
		"  collateral: {cost: 1, allow: [{name: x}]}":           `missing "kind" in rubric.collateral.allow[0]`,
		"  collateral: {cost: 1, alow: [{kind: ConfigMap}]}":    `did you mean "allow"?`,
		"  collateral: {cost: 1, allow: [{kind: ConfigMap}]}\n": "",
	} {
		_, problems := parseLab("lab.yaml", []byte(lab+text+"\n"))
		if want == "" {
			if len(problems) != 0 {
				t.Errorf("%s: %v", text, problems)
			}
			continue
		}
		if len(problems) != 1 || !strings.Contains(problems[0].Msg, want) || problems[0].Line != 14 {
			t.Errorf("%s: %v, want one of line 14 with %q", text, problems, want)
		}
	}
}

func TestEvidenceIsWithheldWhileAQuestionIsOpen(t *testing.T) {
	lab := &Lab{Tasks: []Task{
		{ID: "a", Ask: &grade.Ask{Accept: []string{"known"}}},
		{ID: "b", Checks: []grade.Check{{ID: "seen", Watch: &grade.Watch{Kind: "Pod"}}, {ID: "more", Exec: &grade.Exec{On: "node"}}}},
	}}
	for _, test := range []struct {
		answered, seen, more bool
	}{{false, true, true}, {true, false, true}} {
		p := Progress{Tasks: []TaskProgress{{Done: test.answered}, {}}}
		if seen, more := lab.Withholds(p, "seen"), lab.Withholds(p, "more"); seen != test.seen || more != test.more {
			t.Errorf("answered %v: withheld are %v and %v, want %v and %v", test.answered, seen, more, test.seen, test.more)
		}
	}
}
