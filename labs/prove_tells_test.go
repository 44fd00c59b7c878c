package labs

import (
	"strings"
	"testing"

	"drydock/labs/grade"
)

// TestProofFindsAnswersInReasons: what stands on the page from the beginning must not be asked for.
func TestProofFindsAnswersInReasons(t *testing.T) {
	ask := func(id string, ask grade.Ask, checks ...string) Task {
		task := Task{ID: id}
		if len(checks) == 0 {
			task.Ask = &ask
		}
		for _, check := range checks {
			task.Checks = append(task.Checks, grade.Check{ID: check})
		}
		return task
	}
	v := Variant{Name: "v", Vars: map[string]string{"db": "databse", "n": "3"}}
	p := &prover{lab: &Lab{
		Variants: []Variant{v},
		Tasks: []Task{
			ask("name", grade.Ask{Accept: []string{"${vars.db}"}}),
			ask("count", grade.Ask{Number: &grade.Number{Is: "${vars.n}"}}),
			ask("port", grade.Ask{Accept: []string{`/port ${vars.n}\d+/`}}),
			ask("pick", grade.Ask{Accept: []string{"blue"}, Choices: []string{"red", "blue"}}),
			ask("mend", grade.Ask{}, "host", "replicas", "door", "colour", "silent", "fine"),
		},
	}}
	seen := newTally()
	for check, reason := range map[string]string{
		"host": `it asks for "DataBse"`, "replicas": "there are 3 of 30", "door": "nobody is at Port 3456", "colour": "it is blue", "silent": "there are 30 databsex at port 3a",
	} {
		seen.Result(grade.Result{Check: check, Verdict: grade.Fail, Reason: reason})
	}
	seen.Result(grade.Result{Check: "fine", Verdict: grade.Pass, Reason: "databse"})
	got := p.tells(seen, v)
	for check, question := range map[string]string{"host": "name", "replicas": "count", "door": "port"} {
		if found := strings.Join(got, "\n"); !strings.Contains(found, "the check "+check+" tells the answer to the question "+question) {
			t.Errorf("nothing of %s in %s", check, found)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d are found: %q", len(got), got)
	}
}
