package grade

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// at is a moment of a replayed run, in seconds.
func at(seconds float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(seconds * float64(time.Second)))
}

const (
	up   = `{"result":{"code":0,"stdout":"","stderr":""}}`
	down = `{"result":{"code":1,"stdout":"","stderr":""}}`
)

func seenAt(seconds float64, run int64, data string) Evidence {
	return Evidence{Check: "c", At: at(seconds), Run: run, Format: DataFormat, Data: json.RawMessage(data)}
}

func heldCommand(t *testing.T) *Set {
	t.Helper()
	return mustCompile(t, Check{ID: "c", Exec: aCommand, That: "result.code == 0", Hold: Duration(10 * time.Second)})
}

func verdicts(results []Result) (out []Verdict) {
	for _, r := range results {
		out = append(out, r.Verdict)
	}
	return out
}

// A hold does not reach from one run of the grader into the next: nobody
// looked in between.
func TestReplayKeepsRunsApart(t *testing.T) {
	set := heldCommand(t)
	evidence := []Evidence{seenAt(0, 1, up), seenAt(60, 2, up)}
	if r := set.Replay(evidence, nil, nil)[0]; r.Verdict != Fail || !r.HoldUntil.Equal(at(70)) {
		t.Errorf("after a second run's first look it is %+v", r)
	}
	evidence = append(evidence, seenAt(70, 2, up))
	if r := set.Replay(evidence, nil, nil)[0]; r.Verdict != Pass {
		t.Errorf("after the hold it is %+v", r)
	}
	evidence[1].Run, evidence[2].Run = 1, 1
	if r := set.Replay(evidence[:2], nil, nil)[0]; r.Verdict != Pass {
		t.Errorf("in one run it is %+v", r)
	}
}

func TestRetraceTellsEveryResult(t *testing.T) {
	set := heldCommand(t)
	results := set.Retrace([]Evidence{seenAt(0, 1, down), seenAt(5, 1, up), seenAt(15, 1, up), seenAt(16, 1, up), seenAt(20, 1, down)}, nil, nil, nil)
	if got := verdicts(results); !slices.Equal(got, []Verdict{Fail, Fail, Pass, Fail}) {
		t.Errorf("the results are %v", got)
	}
	if last := results[len(results)-1]; !last.At.Equal(at(20)) {
		t.Errorf("the last is of %v", last.At)
	}
}

// Nobody looked at the end of a hold that the run did not know of; what was
// seen stood until the next change.
func TestRetraceOfChecksThatHaveChanged(t *testing.T) {
	set := heldCommand(t)
	evidence := []Evidence{seenAt(0, 1, up), seenAt(30, 1, down)}
	if got := verdicts(set.Retrace(evidence, nil, nil, nil)); !slices.Equal(got, []Verdict{Fail, Fail}) {
		t.Errorf("as it was, the results are %v", got)
	}
	results := set.Retrace(evidence, nil, nil, map[string]bool{"c": true})
	if got := verdicts(results); !slices.Equal(got, []Verdict{Fail, Pass, Fail}) || !results[1].At.Equal(at(10)) {
		t.Errorf("with a new hold, the results are %+v", results)
	}
}

func TestEvidenceOfALaterVersionIsAnError(t *testing.T) {
	e := seenAt(0, 1, up)
	e.Format = DataFormat + 1
	if r := heldCommand(t).Replay([]Evidence{e}, nil, nil)[0]; r.Verdict != Error {
		t.Errorf("it is %+v", r)
	}
}

func TestSameSightAndJudgement(t *testing.T) {
	vars, other := map[string]string{"port": "80"}, map[string]string{"port": "81"}
	a := Check{ID: "a", HTTP: &HTTP{From: "shop", URL: "http://web:${vars.port}/", Every: Duration(time.Second)}, That: "response.code == 200", Else: "no"}
	b := a
	b.ID, b.Else, b.Line = "b", "not at all", 7
	b.HTTP = &HTTP{From: "shop", URL: "http://web:80/"}
	if !SameSight(a, vars, b, nil) || SameSight(a, other, b, nil) || SameSight(a, nil, b, nil) {
		t.Error("what two requests look at is what they are with the vars put in, however often they look")
	}
	if SameJudgement(a, b) {
		t.Error("another address is judged the same")
	}
	b.HTTP = a.HTTP
	if !SameJudgement(a, b) {
		t.Error("other words make another judgement")
	}
	b.That = "response.code < 300"
	if SameJudgement(a, b) || !SameSight(a, vars, b, vars) {
		t.Error("another condition is another judgement of the same sight")
	}
	if SameSight(Check{}, nil, Check{}, nil) {
		t.Error("checks that look at nothing look at the same")
	}
}
