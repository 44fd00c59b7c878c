package labs

import (
	"slices"

	"drydock/labs/grade"
)

// judged emits what the result of a check means for the attempt. emit stores
// an event and applies it to p; its first error ends it. Grading and regrading
// both go through here, so that equal results always make equal logs.
func (p *Progress) judged(r grade.Result, emit func(e Event, data any) error) error {
	if p.isNews(r) {
		event := EventResult
		if p.isGuard(r.Check) && r.Verdict == grade.Fail && r.HoldUntil.IsZero() {
			event = EventGuard
		}
		if err := emit(Event{Type: event, Check: r.Check}, r); err != nil {
			return err
		}
	}
	return p.tick(r.Check, emit) // without news, too: a kill may have come between the two
}

// isNews reports whether a result differs from what the log says of its check.
// Grading that begins again, as after a restart, tells everything once more.
func (p *Progress) isNews(r grade.Result) bool {
	same := func(c CheckProgress) bool {
		return c.ID == r.Check && c.Result.Verdict == r.Verdict && c.Result.Reason == r.Reason && c.Result.HoldUntil.Equal(r.HoldUntil)
	}
	for _, t := range p.Tasks {
		if slices.ContainsFunc(t.Checks, same) {
			return false
		}
	}
	return !slices.ContainsFunc(p.Guards, same)
}

func (p *Progress) isGuard(check string) bool {
	return slices.ContainsFunc(p.Guards, func(g CheckProgress) bool { return g.ID == check })
}

// tick emits what the new result of a check means for its task: done when all
// checks pass, undone when one fails. An error changes nothing, nor does a
// condition that is true and has to hold: of a task that was done it says only
// that the grading has begun again.
func (p *Progress) tick(check string, emit func(e Event, data any) error) error {
	for _, t := range p.Tasks {
		mine, all, failed := false, true, false
		for _, c := range t.Checks {
			mine = mine || c.ID == check
			all = all && c.Result.Verdict == grade.Pass
			failed = failed || c.Result.Verdict == grade.Fail && c.Result.HoldUntil.IsZero()
		}
		var err error
		switch {
		case !mine:
		case all && !t.Done:
			err = emit(Event{Type: EventTaskDone, Task: t.ID}, nil)
		case failed && t.Done:
			err = emit(Event{Type: EventTaskUndone, Task: t.ID}, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
