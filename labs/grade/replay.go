package grade

import (
	"encoding/json"
	"strings"
)

// Replay judges kept evidence again, without looking at anything: the final
// result of each check, in the set's order. Evidence must be in the order in
// which it was kept; that of unknown checks is ignored. A check without
// evidence has Verdict Error. It is a pure function.
func (s *Set) Replay(evidence []Evidence, vars map[string]string, baseline Baseline) []Result {
	t := s.replay(evidence, vars, baseline, nil, func(Result) {})
	results := make([]Result, len(s.checks))
	for i, c := range s.checks {
		results[i] = t.checks[i].last
		if results[i].Check == "" {
			results[i] = Result{Check: c.ID, Verdict: Error, Reason: "the checker has not looked yet"}
		}
	}
	return results
}

// Retrace judges kept evidence again as [Set.Replay] does, and returns every
// result on the way: what a [Sink] was told when the evidence was seen. Like
// a run of the grader, each run that the evidence comes from begins anew.
//
// Of the checks in stood, what a piece shows is taken to have stood until the
// next one. A run sends every change, and so that is how it was; but where a
// hold ended in between, the run looked once more only for the holds that it
// knew of, and a check that has changed since has others.
func (s *Set) Retrace(evidence []Evidence, vars map[string]string, baseline Baseline, stood map[string]bool) []Result {
	var results []Result
	s.replay(evidence, vars, baseline, stood, func(r Result) { results = append(results, r) })
	return results
}

// replay follows each check through its evidence, and tells the results that
// are not as the one before.
func (s *Set) replay(evidence []Evidence, vars map[string]string, baseline Baseline, stood map[string]bool, tell func(Result)) *tracks {
	t := s.track(vars, baseline, nil)
	runs := make([]int64, len(s.checks))
	byPath := make(map[string]int, len(s.conditions))
	for i, c := range s.conditions {
		byPath[c.path] = i
	}
	for _, e := range evidence {
		condition, ok := byPath[e.Check]
		if !ok {
			continue
		}
		owner := s.owner[condition]
		if e.Run != runs[owner] {
			t.restart(owner)
			runs[owner] = e.Run
		}
		if until := t.checks[owner].last.HoldUntil; stood[s.checks[owner].ID] && !until.IsZero() && until.Before(e.At) {
			for _, i := range s.checks[owner].conditions {
				if data := t.conditions[i].data; data != nil {
					t.retell(i, Evidence{Check: s.conditions[i].path, At: until, Data: data}, tell)
				}
			}
		}
		t.retell(condition, e.readable(), tell)
	}
	return t
}

// restart has a run of the grader begin anew. What has passed at some time, has.
func (t *tracks) restart(check int) {
	for _, i := range t.set.checks[check].conditions {
		t.conditions[i] = sighted{}
	}
	t.checks[check] = &track{check: t.set.checks[check], passed: t.checks[check].passed}
}

// retell takes the next piece of evidence, and tells the result when it is
// not as the one before.
func (t *tracks) retell(condition int, e Evidence, tell func(Result)) {
	check := t.checks[t.set.owner[condition]]
	before := check.last
	t.see(condition, e)
	if after := check.last; after.Check != "" && (before.Check == "" || !after.same(before)) {
		tell(after)
	}
}

// readable makes of evidence in a format that a later version wrote one that
// says so.
func (e Evidence) readable() Evidence {
	if e.Format > DataFormat {
		e.Data, e.Error = nil, "a later version of Drydock has written down what was seen"
	}
	return e
}

// SameSight reports whether two checks look at the same: what one saw, the
// other would have seen; and each part of one made of parts what the part in
// its place saw. How often they look does not matter. vars and otherVars are
// those of the variants that they are used with.
func SameSight(check Check, vars map[string]string, other Check, otherVars map[string]string) bool {
	a, known := check.sightKey(vars)
	b, alsoKnown := other.sightKey(otherVars)
	return known && alsoKnown && a == b
}

// sightKey names what the check looks at; ok is false when a var is missing,
// or when it looks at nothing.
func (c Check) sightKey(vars map[string]string) (key string, ok bool) {
	made, parts := composed(&c)
	if len(made) == 0 {
		_, key, err := (&condition{Check: c}).withVars(vars)
		var only Check
		if err != nil || json.Unmarshal([]byte(key), &only) != nil {
			return "", false
		}
		return only.key("every")
	}
	keys := make([]string, len(parts))
	for i, p := range parts {
		if keys[i], ok = p.sightKey(vars); !ok {
			return "", false
		}
	}
	return "[" + strings.Join(keys, ",") + "]", true
}

// key writes the check down without some of its fields.
func (c Check) key(without ...string) (key string, ok bool) {
	raw, err := json.Marshal(c)
	var fields any
	if err != nil || json.Unmarshal(raw, &fields) != nil {
		return "", false
	}
	drop(fields, without)
	raw, err = json.Marshal(fields)
	return string(raw), err == nil
}

// drop removes fields at every depth.
func drop(fields any, names []string) {
	switch fields := fields.(type) {
	case []any:
		for _, value := range fields {
			drop(value, names)
		}
	case map[string]any:
		for _, name := range names {
			delete(fields, name)
		}
		for name, value := range fields {
			if name != "header" { // the names in there are those of a request
				drop(value, names)
			}
		}
	}
}

// NeedsBaseline reports whether the check compares with the state at hand-over.
func (s *Set) NeedsBaseline(id string) bool {
	for i, c := range s.conditions {
		if c.useBaseline && s.checks[s.owner[i]].ID == id {
			return true
		}
	}
	return false
}

// SameJudgement reports whether two checks judge the same thing in the same
// way, so that their verdicts can't differ: what they look at, the condition,
// the hold, and what they come after are equal.
func SameJudgement(check, other Check) bool {
	a, known := check.judgementKey()
	b, alsoKnown := other.judgementKey()
	return known && alsoKnown && a == b
}

func (c Check) judgementKey() (key string, ok bool) { return c.key("every", "else", "id", "points") }
