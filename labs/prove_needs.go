package labs

import (
	"slices"

	"drydock/labs/grade"
)

// Need says what a lab would miss without one of its checks, guards or
// questions.
type Need struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`           // check, guard or question
	Task string `json:"task,omitempty"` // of a check
	// Catches are the wrong fixes that it catches in some variant, alone or with others.
	Catches []string `json:"catches,omitempty"`
	// Alone are those of them that would pass without it: nothing else in its
	// task fails and no guard is violated, so that the task would be done; or
	// no other guard tells of what they break. Without any, nobody needs it.
	Alone []string `json:"alone,omitempty"`
}

// Needed reports whether some wrong fix would pass without it.
func (n Need) Needed() bool { return len(n.Alone) > 0 }

// What a Need is about.
const (
	needCheck    = "check"
	needGuard    = "guard"
	needQuestion = "question"
)

// needs drops each check, guard and question in turn, and finds the wrong
// fixes that would then pass. No sandbox is needed for that: the cases say
// where all of them stood in the end.
func needs(lab *Lab, cases []Case) []Need {
	var all []Need
	for _, task := range lab.Tasks {
		if task.Ask != nil {
			all = append(all, need(Need{ID: task.ID, Kind: needQuestion}, cases, func(c Case) (caught, alone bool) {
				caught = slices.Contains(c.Refused, task.ID)
				return caught, caught // nothing else looks at an answer
			}))
		}
		for _, check := range task.Checks {
			all = append(all, need(Need{ID: check.ID, Kind: needCheck, Task: task.ID}, cases, func(c Case) (caught, alone bool) {
				others := slices.ContainsFunc(task.Checks, func(o grade.Check) bool { return o.ID != check.ID && slices.Contains(c.Failing, o.ID) })
				return slices.Contains(c.Failing, check.ID), !others && len(c.Violated) == 0
			}))
		}
	}
	for _, guard := range lab.Guards {
		all = append(all, need(Need{ID: guard.ID, Kind: needGuard}, cases, func(c Case) (caught, alone bool) {
			return slices.Contains(c.Violated, guard.ID), len(c.Violated) == 1
		}))
	}
	return all
}

// need goes through the cases that try something wrong.
func need(n Need, cases []Case, catches func(Case) (caught, alone bool)) Need {
	add := func(names []string, name string) []string {
		if slices.Contains(names, name) {
			return names
		}
		return append(names, name)
	}
	for _, c := range cases {
		if c.Kind != CaseWrong && c.Kind != CaseEveryLab || c.Name == doNothing {
			continue
		}
		if caught, alone := catches(c); caught {
			n.Catches = add(n.Catches, c.Name)
			if alone {
				n.Alone = add(n.Alone, c.Name)
			}
		}
	}
	return n
}
