package labs_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
)

// flagLabWith is the lab of the harbour after an author has replaced texts of
// its lab.yaml.
func flagLabWith(t *testing.T, replace ...string) *labs.Lab {
	t.Helper()
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(flagLab, replace[i]) {
			t.Fatalf("the lab has no %q", replace[i])
		}
	}
	set, err := labs.LoadCatalogue(fstest.MapFS{
		"flag/lab.yaml":      {Data: []byte(strings.NewReplacer(replace...).Replace(flagLab))},
		"flag/README.md":     {Data: []byte("# A flag\n\n## Say what is missing {#say}\n\nLook.\n\n## Put it up {#raise}\n\nRaise it.\n")},
		"flag/setup/down.sh": {Data: []byte("rm -f flag sawn\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	lab, _ := set.Get("flag")
	return lab
}

// kept is what the store has of an attempt that has ended.
func (h *harbour) kept(id string, lab, was *labs.Lab) labs.Regrading {
	h.t.Helper()
	attempt, err := h.store.Attempt(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	evidence, err := h.store.Evidence(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return labs.Regrading{Lab: lab, Was: was, Attempt: attempt, Events: h.log(id), Evidence: evidence}
}

func regrade(t *testing.T, r labs.Regrading) labs.Regraded {
	t.Helper()
	out, err := labs.Regrade(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// told are the results of each check and the ticks of each task, in order.
func told(t *testing.T, events []labs.Event) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, e := range events {
		switch e.Type {
		case labs.EventResult, labs.EventGuard:
			var r grade.Result
			if err := json.Unmarshal(e.Data, &r); err != nil {
				t.Fatal(err)
			}
			out[e.Check] = append(out[e.Check], fmt.Sprint(e.Type, r.Verdict, r.Reason, r.HoldUntil.UnixMilli()))
		case labs.EventTaskDone, labs.EventTaskUndone:
			out[e.Task] = append(out[e.Task], string(e.Type))
		case labs.EventReset, labs.EventReady:
			out["sandbox"] = append(out["sandbox"], string(e.Type))
		}
	}
	return out
}

// A session of random steps, judged again by the lab that it was made with
// from nothing but what is kept, ends as it did, step by step.
func TestRegradingByTheSameLabChangesNothing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := newHarbour(t)
			random := rand.New(rand.NewPCG(seed, 1))
			s := h.serve("")
			session := s.running()
			id, lab := session.ID(), session.Lab()
			for range 12 {
				session = h.randomStep(s, session, random)
				if s.alive() != nil {
					s = h.serve("")
					session = s.adopted()
					h.inPhase(session, labs.PhaseRunning)
				}
				h.pause(time.Duration(random.IntN(900)) * time.Millisecond)
			}
			if err := session.End(t.Context(), "learner"); err != nil {
				t.Fatal(err)
			}
			points := h.over(id)
			kept := h.kept(id, lab, lab)
			for _, all := range []bool{true, false} {
				kept.All = all
				again := regrade(t, kept)
				if again.Refused != "" || len(again.Changes) > 0 || len(again.Open) > 0 || again.Now.Score != points || again.Was.Score != points {
					t.Errorf("all %v: %d points became %d; refused %q, changes %+v, open %+v", all, points, again.Now.Score, again.Refused, again.Changes, again.Open)
				}
				if was, now := told(t, kept.Events), told(t, again.Events); !reflect.DeepEqual(was, now) {
					t.Errorf("all %v: the log told\n%v\nand would now tell\n%v", all, was, now)
				}
			}
		})
	}
}

// randomStep does something that a learner does, or that happens to one. A
// server that was killed is no longer alive afterwards.
func (h *harbour) randomStep(s *server, session *labs.Session, random *rand.Rand) *labs.Session {
	h.t.Helper()
	home := h.dock.home(session.ID())
	switch random.IntN(9) {
	case 0, 1:
		h.write(session.ID(), "flag")
	case 2:
		_ = os.Remove(filepath.Join(home, "flag"))
	case 3:
		if random.IntN(3) == 0 {
			h.write(session.ID(), "sawn")
		}
	case 4:
		h.clock.forward(3 * time.Second)
		_, _, _ = session.Answer(h.t.Context(), "say", []string{"mast", "flag"}[random.IntN(2)])
	case 5:
		_, _ = session.Hint(h.t.Context(), "say")
	case 6:
		if random.IntN(2) == 0 {
			resets := session.Snapshot().Resets
			if err := session.Reset(h.t.Context()); err == nil {
				h.eventually("the reset is done", func() bool {
					p := session.Snapshot()
					return p.Resets == resets+1 && p.Phase == labs.PhaseRunning
				})
			}
		}
	case 7:
		s.kill()
	case 8:
		h.dock.fail(sandbox.ErrEngine)
		h.inPhase(session, labs.PhaseTrouble)
		h.dock.fail(nil)
		h.inPhase(session, labs.PhaseRunning)
	}
	return session
}

// pause lets the grader see what there is for a while. It waits for nothing:
// what is seen is different each time, and must be judged as it was seen.
func (h *harbour) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-h.t.Context().Done():
	}
}

// repaired is an attempt that answered wrongly, put the flag up and sawed the mast.
func repaired(t *testing.T) (*harbour, string, *labs.Lab) {
	t.Helper()
	h := newHarbour(t)
	session := h.serve("").running()
	h.eventually("the guard has looked", func() bool { return session.Snapshot().Guards[0].Result.Verdict == grade.Pass })
	if _, _, err := session.Answer(t.Context(), "say", "the banner"); err != nil {
		t.Fatal(err)
	}
	h.write(session.ID(), "flag")
	h.eventually("the task ticks", func() bool { return taskDone(session, "raise") })
	h.write(session.ID(), "sawn")
	h.eventually("the guard is violated", func() bool { return session.Snapshot().GuardsViolated == 1 })
	if err := session.End(t.Context(), "learner"); err != nil {
		t.Fatal(err)
	}
	if got := h.over(session.ID()); got != 35 {
		t.Fatalf("score %d, want 35", got)
	}
	return h, session.ID(), session.Lab()
}

func TestRegradingChangesWhatWasCorrected(t *testing.T) {
	const (
		condition = `that: "result.code == 0", hold: 1s}`
		guard     = `that: "result.code != 0 || baseline.code == 0"`
		checks    = "checks:\n"
	)
	upFails := labs.Change{Task: "raise", Check: "up", Was: grade.Pass, Now: grade.Fail}
	tests := map[string]struct {
		replace []string
		points  int
		changes []labs.Change
		open    []labs.OpenCheck
		refused string
	}{
		"nothing but words": {replace: []string{"the mast was sawn off", "somebody sawed", "Look around.", "Look up."}, points: 35},
		"a stricter condition": {replace: []string{condition, `that: "result.code == 0 && result.stdout.contains('red')"}`},
			points: 0, changes: []labs.Change{upFails}},
		"a longer hold":  {replace: []string{"hold: 1s", "hold: 10m"}, points: 0, changes: []labs.Change{upFails}},
		"a shorter hold": {replace: []string{", hold: 1s", ""}, points: 35},
		"a guard that was too strict": {replace: []string{guard, `that: "result.code != 0 || result.code == 0"`},
			points: 60, changes: []labs.Change{{Check: "mast", Guard: true, Was: grade.Fail, Now: grade.Pass}}},
		"another answer": {replace: []string{"accept: [flag]", "accept: [flag, the banner]"},
			points: 75, changes: []labs.Change{{Task: "say", Was: grade.Fail, Now: grade.Pass}}},
		"other points": {replace: []string{"points: 40", "points: 20", "points: 60", "points: 80"}, points: 55},
		"another thing to look at": {replace: []string{"[ls, flag], every", "[ls, banner], every"},
			points: 35, open: []labs.OpenCheck{{Check: "up", Why: "it looks at something that was not collected then", Kept: true}}},
		"a new check that was not collected": {
			replace: []string{checks, checks + "      - {id: white, exec: {on: terminal, command: [ls, white]}, that: \"result.code == 0\"}\n"},
			points:  35, open: []labs.OpenCheck{{Check: "white", Why: "it looks at something that was not collected then"}}},
		"a new check of what another looked at": {
			replace: []string{checks, checks + "      - {id: whole, exec: {on: terminal, command: [ls, sawn], every: 3s}, that: \"result.code != 0\"}\n"},
			points:  0, changes: []labs.Change{{Task: "raise", Check: "whole", Was: "", Now: grade.Fail}}},
		"a new guard that compares": {
			replace: []string{"guards:\n", "guards:\n  - {id: same, exec: {on: terminal, command: [ls, flag]}, that: \"result.code == baseline.code\"}\n"},
			points:  10, changes: []labs.Change{{Check: "same", Guard: true, Was: "", Now: grade.Fail}}},
		"no guard": {replace: []string{guard, `that: "true || baseline.code == 0"`}, points: 60,
			changes: []labs.Change{{Check: "mast", Guard: true, Was: grade.Fail, Now: grade.Pass}}},
		"a question that nobody was asked": {
			replace: []string{"tasks:\n", "tasks:\n  - id: why\n    title: Say why\n    points: 10\n    ask: {text: \"Why?\", accept: [wind]}\n"},
			refused: `its learner was never asked the question of task "why"`},
	}
	h, id, was := repaired(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := regrade(t, h.kept(id, flagLabWith(t, test.replace...), was))
			if got.Refused != test.refused || (test.refused == "" && (got.Was.Score != 35 || got.Now.Score != test.points)) {
				t.Errorf("%d points became %d, want %d; refused: %q", got.Was.Score, got.Now.Score, test.points, got.Refused)
			}
			for i := range got.Changes {
				if got.Changes[i].Now == grade.Fail && got.Changes[i].Check != "" && got.Changes[i].Reason == "" {
					t.Errorf("nobody says why %s fails now", got.Changes[i].Check)
				}
				got.Changes[i].Reason = ""
			}
			if !slices.Equal(got.Changes, test.changes) || !slices.Equal(got.Open, test.open) {
				t.Errorf("changed %+v, open %+v; want %+v and %+v", got.Changes, got.Open, test.changes, test.open)
			}
		})
	}
	lab := flagLabWith(t, "accept: [flag]", "accept: [flag, the banner]")
	if got := regrade(t, h.kept(id, lab, nil)); !strings.Contains(got.Refused, "is not kept") {
		t.Errorf("without the version of the attempt: %+v", got)
	}
}

// Each sandbox is compared with its own state at hand-over.
func TestRegradingKeepsSandboxesApart(t *testing.T) {
	ready := func(second int) labs.Event {
		return labs.Event{At: time.Unix(int64(second), 0), Type: labs.EventReady, Data: json.RawMessage(`{"expires":1000000,"deadline":1000000}`)}
	}
	seen := func(check string, second int, code int) grade.Evidence {
		return grade.Evidence{Check: check, At: time.Unix(int64(second), 0), Data: json.RawMessage(fmt.Sprintf(`{"result":{"code":%d,"stdout":"","stderr":""}}`, code))}
	}
	was := flagLabWith(t)
	lab := flagLabWith(t, `that: "result.code != 0 || baseline.code == 0"`, `that: "result.code == baseline.code"`)
	r := labs.Regrading{
		Lab: lab, Was: was, Attempt: labs.Attempt{ID: "a1", Variant: "default", Version: was.Version},
		Events: []labs.Event{ready(1), {At: time.Unix(10, 0), Type: labs.EventReset}, ready(20), {At: time.Unix(30, 0), Type: labs.EventEnded, Data: json.RawMessage(`{"why":"learner"}`)}},
		Evidence: []grade.Evidence{
			seen("baseline/mast", 0, 2), seen("mast", 2, 2), seen("mast", 10, 1), // of the old sandbox, in the moment of the reset
			seen("baseline/mast", 19, 0), seen("mast", 21, 0),
		},
	}
	got := regrade(t, r)
	if got.Now.GuardsViolated != 0 || got.Now.Guards[0].Result.Verdict != grade.Pass {
		t.Errorf("the second sandbox is as it was handed over; judged: %+v", got.Now.Guards)
	}
	r.Evidence[4] = seen("mast", 21, 1)
	if got := regrade(t, r); got.Now.GuardsViolated != 1 {
		t.Errorf("the second sandbox is not as it was handed over; judged: %+v", got.Now.Guards)
	}
}

func FuzzRegrade(f *testing.F) {
	f.Add([]byte(`{"result":{"code":0}}`), []byte(`{"answer":"flag","right":true}`), int64(5), int64(0), 1, "session.reset")
	f.Add([]byte(`{"objects":[null]}`), []byte(`{"verdict":"pass"}`), int64(-5), int64(7), 99, "check.result")
	f.Fuzz(func(t *testing.T, data, event []byte, second, run int64, format int, kind string) {
		was := flagLabWith(t)
		lab := flagLabWith(t, "hold: 1s", "hold: 2s")
		at := time.Unix(second%1e6, 0)
		r := labs.Regrading{
			Lab: lab, Was: was, Attempt: labs.Attempt{ID: "a1", Variant: "default"}, All: true,
			Events: []labs.Event{
				{At: time.Unix(0, 0), Type: labs.EventReady, Data: event}, {At: at, Type: labs.EventType(kind), Check: "up", Task: "say", Data: event},
				{At: time.Unix(100, 0), Type: labs.EventEnded},
			},
			Evidence: []grade.Evidence{
				{Check: "baseline/mast", At: time.Unix(0, 0), Data: data}, {Check: "mast", At: at, Data: data, Run: run, Format: format},
				{Check: "up", At: at, Data: data, Run: run, Format: format}, {Check: "up", At: at.Add(time.Minute), Data: data, Run: run + 1, Error: kind},
			},
		}
		first, err := labs.Regrade(r)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := labs.Regrade(r)
		if first.Now.Score != again.Now.Score || first.Now.Score < 0 || first.Now.Score > first.Now.MaxScore {
			t.Errorf("%d points, and again %d", first.Now.Score, again.Now.Score)
		}
	})
}
