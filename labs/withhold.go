package labs

import (
	"slices"

	"drydock/labs/grade"
)

// Withholds reports whether what a check saw is kept from its learner for as
// long as the attempt is not over: while a question is open, what any check saw,
// for the answer may well stand in it. To blot out the answer alone would point
// at it, since most of the rest can be looked at in the sandbox.
func (l *Lab) Withholds(p Progress, check string) bool { return l.Asks(p) || l.ShowsMore(check) }

// Asks reports whether a question is still open.
func (l *Lab) Asks(p Progress) bool {
	for i, t := range l.Tasks {
		if t.Ask != nil && (i >= len(p.Tasks) || !p.Tasks[i].Done) {
			return true
		}
	}
	return false
}

// ShowsMore reports whether a check's evidence shows more than its learner
// could see: what a command has printed or a file holds that was not looked at
// as the learner, or what their program should have printed.
func (l *Lab) ShowsMore(check string) bool {
	for _, c := range l.Checks() {
		if c.ID == check {
			return slices.ContainsFunc(c.Looks(), func(part grade.Check) bool {
				return part.Exec != nil && part.Exec.On != "terminal" || part.File != nil && part.File.On != "terminal" || part.Bench != nil
			})
		}
	}
	return true
}
