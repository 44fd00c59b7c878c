package labs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drydock/labs/grade"

	"k8s.io/apimachinery/pkg/util/sets"
)

// Regrading is an attempt, with all that is kept of it, and the lab to judge it by.
type Regrading struct {
	Lab      *Lab // as it is now: corrected, perhaps
	Was      *Lab // as the attempt was made with it; nil: not known
	Attempt  Attempt
	Events   []Event
	Evidence []grade.Evidence // in order of time
	// All has every check judged again, also those that are as they were: what
	// else than the lab can have changed is Drydock itself.
	All bool
}

// Regraded is what an attempt comes to when it is judged again.
type Regraded struct {
	Refused  string      // why it can't be judged by this lab at all, in words; the grade stays then
	Was, Now Progress    // how it ended, and how it would have
	Events   []Event     // what the log would have been, without numbers
	Changes  []Change    // of checks and questions, in the lab's order
	Open     []OpenCheck // what could not be judged again
}

// Change is a check or a question with another result.
type Change struct {
	Task  string `json:"task,omitempty"`
	Check string `json:"check,omitempty"` // empty: it is the task's question
	Guard bool   `json:"guard,omitempty"`
	// Was and Now are pass, fail or error, empty for what was not judged; of
	// questions pass says that a right answer was given.
	Was    grade.Verdict `json:"was"`
	Now    grade.Verdict `json:"now"`
	Reason string        `json:"reason,omitempty"` // why it is as it is now; else why it was not
}

// OpenCheck is a check that what is kept does not suffice for. It is left as it
// was judged then, or out where there was none of the name.
type OpenCheck struct {
	Check string `json:"check"`
	Guard bool   `json:"guard,omitempty"`
	Why   string `json:"why"`
	Kept  bool   `json:"kept"` // as it was judged then
}

// baselineWithin is how soon after the hand-over a check has to have looked for
// that to stand for the baseline that was not taken: before a learner has read
// the first line.
const baselineWithin = 2 * time.Second

// why a check stays open.
const (
	whyOtherSight = "it looks at something that was not collected then"
	whyNothing    = "nothing that was collected for it is kept"
)

// Regrade judges an attempt again by another version of its lab: which results
// the kept evidence and the answers given would have led to, and when. Checks
// that judge the same as they did then keep their results. Nothing is looked
// at, and nothing stored: it is a pure function.
func Regrade(r Regrading) (Regraded, error) {
	if r.Was == nil && r.Lab.Version == r.Attempt.Version {
		r.Was = r.Lab
	}
	if r.Was == nil {
		return Regraded{Refused: "the version of the lab that it was made with is not kept, so that nobody knows what its checks looked at"}, nil
	}
	g := &regrade{Regrading: r, sources: map[string]string{}, stands: map[string]bool{}}
	g.out.Was = Fold(r.Was, r.Events)
	if g.out.Refused = g.plan(); g.out.Refused != "" {
		return g.out, nil
	}
	results, err := g.rejudge()
	if err != nil {
		return Regraded{}, err
	}
	if err := g.retell(results); err != nil {
		return Regraded{}, err
	}
	g.compare()
	return g.out, nil
}

// regrade is a Regrade that is going on.
type regrade struct {
	Regrading
	lab      *Lab              // without what can't be judged
	vars     map[string]string // of the attempt's variant, in the new lab
	sources  map[string]string // of each check that is judged again, whose evidence it is judged by
	stands   map[string]bool   // checks whose results stay
	newHolds map[string]bool   // of those judged again, the ones that have changed
	out      Regraded
}

// plan finds out for each check of the new lab what it is judged by. It
// returns why the attempt can't be judged at all, or nothing.
func (g *regrade) plan() (refused string) {
	variant, ok := g.Lab.variant(g.Attempt.Variant)
	was, wasThere := g.Was.variant(g.Attempt.Variant)
	if !ok || !wasThere {
		return fmt.Sprintf("its variant %q is not in the lab any more", g.Attempt.Variant)
	}
	g.vars, g.newHolds = variant.Vars, map[string]bool{}
	lab := *g.Lab
	lab.Tasks, lab.Guards = slices.Clone(lab.Tasks), nil
	for i := range lab.Tasks {
		t := &lab.Tasks[i]
		if t.Ask != nil {
			if then, ok := g.Was.task(t.ID); !ok || then.Ask == nil {
				return fmt.Sprintf("its learner was never asked the question of task %q", t.ID)
			}
			continue
		}
		var then []grade.Check
		for _, old := range g.Was.Tasks {
			then = append(then, old.Checks...)
		}
		t.Checks = g.judgeable(t.Checks, then, was.Vars, false)
		if len(t.Checks) == 0 {
			return fmt.Sprintf("nothing that is kept decides task %q", t.ID)
		}
	}
	lab.Guards = g.judgeable(g.Lab.Guards, g.Was.Guards, was.Vars, true)
	g.lab = &lab
	return g.inOrder(was.Vars)
}

// inOrder sees to it that whatever a check comes after that is judged again is
// judged again with it. It returns why that can't be, or nothing.
func (g *regrade) inOrder(oldVars map[string]string) (refused string) {
	checks := g.lab.Checks()
	for changed := true; changed; {
		changed = false
		for _, c := range checks {
			if _, again := g.sources[c.ID]; !again || c.After == "" {
				continue
			}
			if _, known := g.sources[c.After]; known {
				continue
			}
			i := slices.IndexFunc(checks, func(before grade.Check) bool { return before.ID == c.After })
			if i < 0 {
				return fmt.Sprintf("nothing that is kept decides %q, which %q comes after", c.After, c.ID)
			}
			source, why := g.source(checks[i], oldVars)
			if why != "" {
				return fmt.Sprintf("%q comes after %q, and of that %s", c.ID, c.After, why)
			}
			delete(g.stands, c.After)
			g.sources[c.After], changed = source, true
		}
	}
	return ""
}

// judgeable returns those of checks that there are results for; then are those
// that stood in their place when the attempt was made.
func (g *regrade) judgeable(checks, then []grade.Check, oldVars map[string]string, guards bool) []grade.Check {
	var out []grade.Check
	for _, c := range checks {
		i := slices.IndexFunc(then, func(old grade.Check) bool { return old.ID == c.ID })
		same := i >= 0 && grade.SameJudgement(c, then[i]) && maps.Equal(g.vars, oldVars)
		if same && !g.All {
			g.stands[c.ID] = true
			out = append(out, c)
			continue
		}
		source, why := g.source(c, oldVars)
		switch {
		case why == "":
			g.sources[c.ID] = source
			g.newHolds[c.ID] = !same
		case i >= 0:
			g.stands[c.ID] = true
			fallthrough
		default:
			g.out.Open = append(g.out.Open, OpenCheck{Check: c.ID, Guard: guards, Why: why, Kept: i >= 0})
		}
		if why == "" || i >= 0 {
			out = append(out, c)
		}
	}
	return out
}

// source finds the check of then whose evidence the check of now can be judged
// by: that of its name, if it looked at the same, else any that did.
func (g *regrade) source(c grade.Check, oldVars map[string]string) (id, why string) {
	why = whyOtherSight
	candidates := g.Was.Checks()
	slices.SortStableFunc(candidates, func(a, b grade.Check) int {
		return cmp.Compare(boolAsInt(b.ID == c.ID), boolAsInt(a.ID == c.ID))
	})
	for _, old := range candidates {
		if !grade.SameSight(c, g.vars, old, oldVars) {
			continue
		}
		if slices.ContainsFunc(g.Evidence, func(e grade.Evidence) bool { return grade.OfCheck(e.Check, old.ID) }) {
			return old.ID, ""
		}
		why = whyNothing
	}
	return "", why
}

func boolAsInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rejudge returns the results of the checks that are judged again, in order of time.
func (g *regrade) rejudge() ([]grade.Result, error) {
	var checks []grade.Check
	for _, c := range g.lab.Checks() {
		if _, ok := g.sources[c.ID]; ok {
			checks = append(checks, c)
		}
	}
	set, problems := grade.Compile(checks)
	if len(problems) > 0 {
		return nil, fmt.Errorf("lab %s can't be graded: line %d: %s", g.Lab.Slug, problems[0].Line, problems[0].Msg)
	}
	var results []grade.Result
	baseline := grade.Baseline{}
	for _, box := range g.sandboxes() {
		maps.Copy(baseline, box.baseline)
		own := grade.Baseline{}
		var evidence []grade.Evidence
		for _, c := range checks {
			source := g.sources[c.ID]
			for _, path := range box.paths(source) {
				as := c.ID + strings.TrimPrefix(path, source)
				seen := box.of(path)
				if before, ok := baseline[path]; ok {
					own[as] = before
				} else if set.NeedsBaseline(c.ID) {
					own = box.firstSight(own, as, seen)
				}
				if g.newHolds[c.ID] {
					seen = box.prolonged(seen)
				}
				for _, e := range seen {
					e.Check = as
					evidence = append(evidence, e)
				}
			}
		}
		slices.SortStableFunc(evidence, func(a, b grade.Evidence) int { return a.At.Compare(b.At) })
		results = append(results, set.Retrace(evidence, g.vars, own, g.newHolds)...)
	}
	return results, nil
}

// oneSandbox is what was seen of one sandbox of the attempt: a reset makes another.
type oneSandbox struct {
	ready    time.Time // when it was handed over
	ended    time.Time // when nobody looked at it any more; zero: not known
	baseline grade.Baseline
	evidence []grade.Evidence
	rests    []time.Time // when it fell asleep
}

// sandboxes divides the evidence at the resets.
func (g *regrade) sandboxes() []*oneSandbox {
	boxes := []*oneSandbox{{baseline: grade.Baseline{}}}
	for _, e := range g.Events {
		last := boxes[len(boxes)-1]
		switch e.Type {
		case EventReady:
			last.ready = e.At
		case EventFrozen:
			last.rests = append(last.rests, e.At)
		case EventReset:
			last.ended = e.At
			boxes = append(boxes, &oneSandbox{baseline: grade.Baseline{}})
		case EventEnded, EventFailed:
			last.ended = e.At
		}
	}
	i := 0
	for _, e := range g.Evidence {
		// What was seen in the millisecond of the reset was seen of the old one.
		for i < len(boxes)-1 && e.At.After(boxes[i].ended) {
			i++
		}
		id, isBaseline := strings.CutPrefix(e.Check, baselinePrefix)
		switch {
		case !isBaseline:
			boxes[i].evidence = append(boxes[i].evidence, e)
		case e.Format <= grade.DataFormat && e.Error == "":
			boxes[i].baseline[id] = e.Data // that of the last try of the hand-over stays
		}
	}
	return boxes
}

// paths are those that evidence and baselines of a check and its parts are kept under.
func (b *oneSandbox) paths(check string) []string {
	paths := sets.New[string]()
	for path := range b.baseline {
		if grade.OfCheck(path, check) {
			paths.Insert(path)
		}
	}
	for _, e := range b.evidence {
		if grade.OfCheck(e.Check, check) {
			paths.Insert(e.Check)
		}
	}
	return sets.List(paths)
}

func (b *oneSandbox) of(path string) []grade.Evidence {
	var out []grade.Evidence
	for _, e := range b.evidence {
		if e.Check == path {
			out = append(out, e)
		}
	}
	return out
}

// firstSight takes for the baseline what the check saw first, if that was soon
// enough after the hand-over.
func (b *oneSandbox) firstSight(baseline grade.Baseline, check string, seen []grade.Evidence) grade.Baseline {
	if len(seen) > 0 && seen[0].Error == "" && seen[0].Format <= grade.DataFormat && seen[0].At.Sub(b.ready) <= baselineWithin {
		baseline[check] = seen[0].Data
	}
	return baseline
}

// prolonged has what each run saw last stand until the run's end. Else a hold
// that is longer than it was then could never be fulfilled by the last change.
func (b *oneSandbox) prolonged(seen []grade.Evidence) []grade.Evidence {
	var out []grade.Evidence
	for i, e := range seen {
		out = append(out, e)
		if i+1 < len(seen) && seen[i+1].Run == e.Run {
			continue
		}
		if end := b.runEnd(e.Run); e.Error == "" && end.After(e.At) {
			e.At = end
			out = append(out, e)
		}
	}
	return out
}

// runEnd is until when a run of the grader is known to have looked: to its
// last piece of evidence, and the last run to when the sandbox was frozen or
// nobody's any more.
func (b *oneSandbox) runEnd(run int64) time.Time {
	var end time.Time
	last := true
	for _, e := range b.evidence {
		if e.Run == run && e.At.After(end) {
			end = e.At
		}
		last = last && e.Run <= run
	}
	if !last {
		return end
	}
	for _, at := range b.rests {
		if at.After(end) {
			return at
		}
	}
	if b.ended.After(end) {
		return b.ended
	}
	return end
}

// retell goes through the log again with the new results in it.
func (g *regrade) retell(results []grade.Result) error {
	now := Fold(g.lab, nil)
	for _, e := range g.Events {
		for len(results) > 0 && !results[0].At.After(e.At) {
			if err := g.hear(&now, results[0], results[0].At); err != nil {
				return err
			}
			results = results[1:]
		}
		if err := g.tell(&now, e); err != nil {
			return err
		}
	}
	g.out.Now = now
	return nil
}

// hear has a result be news at a time, as a session does.
func (g *regrade) hear(now *Progress, r grade.Result, at time.Time) error {
	if now.Phase != PhaseRunning && now.Phase != PhaseTrouble {
		return nil
	}
	return now.judged(r, func(e Event, data any) error { return g.emit(now, e, data, at) })
}

// tell tells an event of the log again. What followed from a result or an
// answer then is left out: what follows now is told instead.
func (g *regrade) tell(now *Progress, e Event) error {
	switch e.Type {
	case EventTaskDone, EventTaskUndone:
		return nil
	case EventResult, EventGuard:
		var r grade.Result
		if !g.stands[e.Check] || json.Unmarshal(e.Data, &r) != nil {
			return nil
		}
		r.Check = e.Check
		return g.hear(now, r, e.At)
	case EventAnswer:
		return g.tellAnswer(now, e)
	}
	e.Seq = 0
	now.Apply(g.lab, e)
	g.out.Events = append(g.out.Events, e)
	return nil
}

func (g *regrade) tellAnswer(now *Progress, e Event) error {
	var given struct {
		Answer string `json:"answer"`
		Right  bool   `json:"right"`
	}
	decode(e.Data, &given)
	t, ok := g.lab.task(e.Task)
	if ok && t.Ask != nil {
		given.Right = t.Ask.Right(given.Answer, g.vars)
	}
	if err := g.emit(now, Event{Type: EventAnswer, Task: e.Task}, given, e.At); err != nil {
		return err
	}
	done := slices.ContainsFunc(now.Tasks, func(p TaskProgress) bool { return p.ID == e.Task && p.Done })
	if !ok || t.Ask == nil || !given.Right || done {
		return nil
	}
	return g.emit(now, Event{Type: EventTaskDone, Task: e.Task}, nil, e.At)
}

func (g *regrade) emit(now *Progress, e Event, data any, at time.Time) error {
	e.Attempt, e.At = g.Attempt.ID, at
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("encode a %s event: %w", e.Type, err)
		}
		e.Data = raw
	}
	now.Apply(g.lab, e)
	g.out.Events = append(g.out.Events, e)
	return nil
}

// compare lists what has another result.
func (g *regrade) compare() {
	was, now := &g.out.Was, &g.out.Now
	for _, t := range now.Tasks {
		if t.Ask {
			g.change(Change{Task: t.ID, Was: answered(was.task(t.ID)), Now: answered(&t)})
		}
		for _, c := range t.Checks {
			g.changeOf(Change{Task: t.ID, Check: c.ID}, was.check(c.ID), c.Result)
		}
	}
	for _, c := range now.Guards {
		g.changeOf(Change{Check: c.ID, Guard: true}, was.check(c.ID), c.Result)
	}
}

func (g *regrade) changeOf(c Change, was, now grade.Result) {
	c.Was, c.Now, c.Reason = was.Verdict, now.Verdict, cmp.Or(now.Reason, was.Reason)
	g.change(c)
}

func (g *regrade) change(c Change) {
	if c.Was != c.Now {
		g.out.Changes = append(g.out.Changes, c)
	}
}

// answered tells whether a question was answered rightly in the words of checks.
func answered(t *TaskProgress) grade.Verdict {
	switch {
	case t == nil || t.Answers == 0:
		return ""
	case t.Done:
		return grade.Pass
	}
	return grade.Fail
}

func (p *Progress) task(id string) *TaskProgress {
	for i := range p.Tasks {
		if p.Tasks[i].ID == id {
			return &p.Tasks[i]
		}
	}
	return nil
}

// check is the latest result of a check or a guard; without one its verdict is empty.
func (p *Progress) check(id string) grade.Result {
	for _, t := range p.Tasks {
		for _, c := range t.Checks {
			if c.ID == id {
				return c.Result
			}
		}
	}
	for _, c := range p.Guards {
		if c.ID == id {
			return c.Result
		}
	}
	return grade.Result{}
}
