package labs

import (
	"encoding/json"
	"testing"
	"time"

	"drydock/labs/grade"
)

// foldLab has a question worth 40, checks worth 60, and one guard.
func foldLab() *Lab {
	return &Lab{
		Slug: "l",
		Tasks: []Task{
			{ID: "say", Title: "Say", Points: 40, Ask: &grade.Ask{Text: "?", Accept: []string{"x"}}},
			{ID: "mend", Title: "Mend", Points: 60, Checks: []grade.Check{{ID: "up"}}},
		},
		Guards: []grade.Check{{ID: "same"}},
	}
}

// history builds a log of events one second apart.
type history struct {
	at     time.Time
	events []Event
}

func (h *history) add(t *testing.T, e Event, data any) {
	t.Helper()
	if h.at.IsZero() {
		h.at = time.UnixMilli(1_800_000_000_000)
	}
	h.at = h.at.Add(time.Second)
	e.Attempt, e.At, e.Seq = "a", h.at, int64(len(h.events)+1)
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		e.Data = raw
	}
	h.events = append(h.events, e)
}

func started(t *testing.T) *history {
	h := &history{}
	h.add(t, Event{Type: EventRequested}, map[string]string{"lab": "l", "version": "v1", "variant": "typo"})
	h.add(t, Event{Type: EventStage}, map[string]any{"name": "Boot", "done": false})
	h.add(t, Event{Type: EventStage}, map[string]any{"name": "Boot", "done": true, "tookMs": 1500})
	h.add(t, Event{Type: EventReady}, map[string]int64{"expires": 1, "deadline": 2})
	return h
}

func TestFoldScoresTasksHintsAndGuards(t *testing.T) {
	h := started(t)
	h.add(t, Event{Type: EventAnswer, Task: "say"}, map[string]any{"answer": "y", "right": false})
	h.add(t, Event{Type: EventAnswer, Task: "say"}, map[string]any{"answer": "x", "right": true})
	h.add(t, Event{Type: EventTaskDone, Task: "say"}, nil)
	h.add(t, Event{Type: EventHint, Task: "mend"}, map[string]int{"index": 0, "cost": 5})
	h.add(t, Event{Type: EventResult, Check: "up"}, grade.Result{Check: "up", Verdict: grade.Pass})
	h.add(t, Event{Type: EventTaskDone, Task: "mend"}, nil)
	p := Fold(foldLab(), h.events)
	if p.Phase != PhaseRunning || p.Variant != "typo" || p.Score != 95 || p.MaxScore != 100 || p.TasksDone() != 2 {
		t.Errorf("phase %s, variant %s, score %d of %d, %d tasks done; want running, typo, 95 of 100, 2",
			p.Phase, p.Variant, p.Score, p.MaxScore, p.TasksDone())
	}
	if p.Tasks[0].Answers != 2 || p.Tasks[0].LastAnswer != "x" {
		t.Errorf("answers %d, last %q; want 2, x", p.Tasks[0].Answers, p.Tasks[0].LastAnswer)
	}
	if got := p.Stages; len(got) != 1 || !got[0].Done || got[0].Took != 1500*time.Millisecond {
		t.Errorf("stages %+v; want one, done in 1.5 s", got)
	}

	h.add(t, Event{Type: EventGuard, Check: "same"}, grade.Result{Check: "same", Verdict: grade.Fail, Reason: "deleted"})
	h.add(t, Event{Type: EventResult, Check: "same"}, grade.Result{Check: "same", Verdict: grade.Pass})
	p = Fold(foldLab(), h.events)
	if p.Score != 70 || p.GuardsViolated != 1 || p.Guards[0].Result.Reason != "deleted" {
		t.Errorf("score %d with %d guards violated (%q); a violated guard costs 25 and stays violated",
			p.Score, p.GuardsViolated, p.Guards[0].Result.Reason)
	}
}

func TestFoldResetForgetsTheSandboxAndKeepsTheRecord(t *testing.T) {
	h := started(t)
	h.add(t, Event{Type: EventHint, Task: "mend"}, map[string]int{"index": 0, "cost": 5})
	h.add(t, Event{Type: EventTaskDone, Task: "say"}, nil)
	h.add(t, Event{Type: EventTaskDone, Task: "mend"}, nil)
	h.add(t, Event{Type: EventGuard, Check: "same"}, grade.Result{Verdict: grade.Fail})
	h.add(t, Event{Type: EventReset}, nil)
	p := Fold(foldLab(), h.events)
	if p.Phase != PhaseStarting || p.Resets != 1 || p.GuardsViolated != 0 || len(p.Stages) != 0 {
		t.Errorf("after a reset: phase %s, %d resets, %d guards violated, %d stages", p.Phase, p.Resets, p.GuardsViolated, len(p.Stages))
	}
	if !p.Tasks[0].Done || p.Tasks[1].Done || p.Tasks[1].HintCost != 5 {
		t.Errorf("after a reset: answered %v, mended %v, hints cost %d; want true, false, 5", p.Tasks[0].Done, p.Tasks[1].Done, p.Tasks[1].HintCost)
	}
}

func TestFoldCountsTheServicesLostTime(t *testing.T) {
	h := started(t)
	h.add(t, Event{Type: EventService}, map[string]bool{"up": false})
	h.add(t, Event{Type: EventService}, map[string]bool{"up": false})
	h.add(t, Event{Type: EventService}, map[string]bool{"up": true})
	h.add(t, Event{Type: EventService}, map[string]bool{"up": false})
	h.add(t, Event{Type: EventEnded}, map[string]string{"why": "learner"})
	p := Fold(foldLab(), h.events)
	if p.ServiceDown != 3*time.Second || p.Phase != PhaseEnded || p.EndedWhy != "learner" {
		t.Errorf("down %s, phase %s (%s); want 3s, ended (learner)", p.ServiceDown, p.Phase, p.EndedWhy)
	}
}

func TestFoldGivesBackTheTimeOfTrouble(t *testing.T) {
	h := &history{}
	h.add(t, Event{Type: EventRequested}, nil)
	ready := h.at.Add(time.Second)
	h.add(t, Event{Type: EventReady}, map[string]int64{"expires": ready.Add(time.Minute).UnixMilli(), "deadline": ready.Add(2 * time.Minute).UnixMilli()})
	h.add(t, Event{Type: EventService}, map[string]bool{"up": false})
	h.add(t, Event{Type: EventTrouble}, map[string]any{"reason": "engine"})
	h.at = h.at.Add(28 * time.Second)
	h.add(t, Event{Type: EventTrouble}, map[string]any{"reason": "stopped", "stopped": true})
	p := Fold(foldLab(), h.events)
	if p.expired(ready.Add(90*time.Second)) || !p.expired(ready.Add(121*time.Second)) || !p.stopped {
		t.Error("in trouble the deadline counts, and a stopped sandbox is known")
	}
	h.add(t, Event{Type: EventRecovered}, nil)
	p = Fold(foldLab(), h.events)
	if got := p.Expires.Sub(ready); got != 90*time.Second || p.stopped || p.Reason != "" {
		t.Errorf("after 30 s of trouble it expires %s after hand-over, want 1m30s; reason %q", got, p.Reason)
	}
	if p.ServiceDown != time.Second {
		t.Errorf("the service was lost for %s, want 1s: nobody could look during the trouble", p.ServiceDown)
	}
	h.add(t, Event{Type: EventTrouble}, map[string]any{"reason": "engine"})
	h.at = h.at.Add(time.Hour)
	h.add(t, Event{Type: EventReset}, nil)
	if p = Fold(foldLab(), h.events); !p.Expires.Equal(p.Deadline) || p.Phase != PhaseStarting {
		t.Errorf("it expires at %s, phase %s; never after the deadline %s", p.Expires, p.Phase, p.Deadline)
	}
}

func TestFoldIsTheSameAsApplyingOneByOne(t *testing.T) {
	h := started(t)
	h.add(t, Event{Type: EventTaskDone, Task: "say"}, nil)
	p := Fold(foldLab(), h.events[:2])
	for range 2 { // events that come twice, as after a reconnect, change nothing
		for _, e := range h.events {
			p.Apply(foldLab(), e)
		}
	}
	want := Fold(foldLab(), h.events)
	got, _ := json.Marshal(p)
	if expected, _ := json.Marshal(want); string(got) != string(expected) {
		t.Errorf("applied one by one:\n%s\nfolded:\n%s", got, expected)
	}
}

// TestPartialCredit: checks with points of their own earn them while they
// pass, and keep them while nobody can look.
func TestPartialCredit(t *testing.T) {
	lab := foldLab()
	lab.Tasks[1].Checks = []grade.Check{{ID: "up", Points: 20}, {ID: "fast", Points: 40}}
	h := started(t)
	step := func(check string, verdict grade.Verdict, want int) {
		t.Helper()
		h.add(t, Event{Type: EventResult, Check: check}, grade.Result{Check: check, Verdict: verdict})
		if got := Fold(lab, h.events).Score; got != want {
			t.Errorf("after %s of %s the score is %d, want %d", verdict, check, got, want)
		}
	}
	step("up", grade.Fail, 0)
	step("up", grade.Pass, 20)
	step("up", grade.Error, 20)
	step("up", grade.Fail, 0)
	step("up", grade.Error, 0)
	step("up", grade.Pass, 20)
	h.add(t, Event{Type: EventHint, Task: "mend"}, map[string]int{"index": 0, "cost": 5})
	step("fast", grade.Pass, 55)
	h.add(t, Event{Type: EventTaskDone, Task: "mend"}, nil)
	if got := Fold(lab, h.events).Score; got != 55 {
		t.Errorf("the score of the whole task is %d, want 55", got)
	}
}
