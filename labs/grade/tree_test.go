package grade

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// part is a condition that is true when what it watches says so.
func part(name string) Check {
	return Check{Watch: &Watch{Kind: "ConfigMap", Namespace: "shop", Name: name}, That: "object.ok", Else: name + " is not ok"}
}

// replaySeries judges words such as 5c/0t: at second 5, the part c/0 is seen to
// be true (t), false (f), or cannot be looked at (e).
func replaySeries(t *testing.T, set *Set, series string) []Result {
	t.Helper()
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	var evidence []Evidence
	for _, word := range strings.Fields(series) {
		var at int
		var path string
		if _, err := fmt.Sscanf(word, "%d%s", &at, &path); err != nil {
			t.Fatal(err)
		}
		what := path[len(path)-1]
		e := Evidence{Check: path[:len(path)-1], At: start.Add(time.Duration(at) * time.Second)}
		if what == 'e' {
			e.Error = cannotReach
		} else {
			e.Data = json.RawMessage(fmt.Sprintf(`{"object":{"ok":%t}}`, what == 't'))
		}
		evidence = append(evidence, e)
	}
	return set.Replay(evidence, nil, nil)
}

func TestParts(t *testing.T) {
	no := part("c")
	any2 := []Check{part("a"), part("b")}
	checks := map[string]Check{
		"all":    {ID: "c", All: []Check{part("a"), part("b")}},
		"any":    {ID: "c", Any: any2},
		"not":    {ID: "c", Not: &no, Else: "c must not be ok"},
		"nested": {ID: "c", All: []Check{{Any: any2}, {Not: &no, Else: "c must not be ok"}}},
		"else":   {ID: "c", Any: any2, Else: "neither will do"},
		"hold":   {ID: "c", All: []Check{part("a"), part("b")}, Hold: Duration(10 * time.Second)},
	}
	tests := []struct {
		check, series string
		want          Verdict
		reason        string
	}{
		{"all", "0c/0t", Error, "the checker has not looked yet"},
		{"all", "0c/0f", Fail, "a is not ok"}, // b can't change it
		{"all", "0c/0t 0c/1t", Pass, ""},
		{"all", "0c/0f 0c/1f", Fail, "a is not ok; b is not ok"},
		{"all", "0c/0t 0c/1e", Error, cannotReach},
		{"all", "0c/0f 0c/1e", Fail, "a is not ok"},
		{"any", "0c/0f", Error, "the checker has not looked yet"},
		{"any", "0c/0t", Pass, ""},
		{"any", "0c/0f 0c/1f", Fail, "a is not ok; or b is not ok"},
		{"any", "0c/0f 0c/1e", Error, cannotReach},
		{"any", "0c/0e 0c/1t", Pass, ""},
		{"not", "0c/0t", Fail, "c must not be ok"},
		{"not", "0c/0f", Pass, ""},
		{"not", "0c/0e", Error, cannotReach},
		{"nested", "0c/0/0f 0c/0/1t 0c/1/0f", Pass, ""},
		{"nested", "0c/0/0f 0c/0/1t 0c/1/0t", Fail, "c must not be ok"},
		{"else", "0c/0f 0c/1f", Fail, "neither will do"},
		{"hold", "0c/0t 5c/1t", Fail, "it is so now; it must stay so for 10s"},
		{"hold", "0c/0t 5c/1t 15c/1t", Fail, "it is so now; it must stay so for 10s"}, // a was not looked at again
		{"hold", "0c/0t 5c/1t 15c/1t 15c/0t", Pass, ""},
		{"hold", "0c/0t 5c/1t 14c/1t 14c/0t", Fail, "it is so now; it must stay so for 10s"},
		{"hold", "0c/0t 5c/1t 9c/0f 10c/0t 19c/0t 19c/1t", Fail, "it is so now; it must stay so for 10s"},
	}
	for _, test := range tests {
		t.Run(test.check+" "+test.series, func(t *testing.T) {
			got := replaySeries(t, mustCompile(t, checks[test.check]), test.series)[0]
			if got.Verdict != test.want || got.Reason != test.reason {
				t.Errorf("%s: %q, want %s: %q", got.Verdict, got.Reason, test.want, test.reason)
			}
		})
	}
}

func TestOrderAndOnce(t *testing.T) {
	backup, drop := part("backup"), part("drop")
	backup.ID, drop.ID, drop.After = "backup", "drop", "backup"
	tests := []struct {
		name   string
		checks []Check
		series string
		want   Verdict // of the last check
		reason string
	}{
		{"too early", []Check{backup, drop}, "0backupf 1dropt", Fail, "something else has to be done first: backup is not ok"},
		{"what was before does not count", []Check{backup, drop}, "0backupf 1dropt 2backupt", Fail, "something else has to be done first: backup is not ok"},
		{"seen again", []Check{backup, drop}, "0backupf 1dropt 2backupt 3dropt", Pass, ""},
		{"seen to be undone", []Check{backup, drop}, "0backupf 1dropt 2backupt 3dropf", Fail, "drop is not ok"},
		{"the first need not hold on", []Check{backup, drop}, "0backupt 1backupf 2dropt", Pass, ""},
		{"a chain", []Check{backup, drop, after(drop, "last")}, "0backupf 1dropt 2lastt", Fail, "something else has to be done first: backup is not ok"},
		{"level", []Check{backup}, "0backupt 1backupf", Fail, "backup is not ok"},
		{"edge", []Check{once(backup)}, "0backupt 1backupf", Pass, ""},
		{"edge, and nobody can look", []Check{once(backup)}, "0backupt 1backupe", Pass, ""},
		{"edge needs its hold", []Check{held(once(backup))}, "0backupt 9backupf", Fail, "backup is not ok"},
		{"edge after its hold", []Check{held(once(backup))}, "0backupt 10backupt 11backupf", Pass, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			results := replaySeries(t, mustCompile(t, test.checks...), test.series)
			got := results[len(results)-1]
			if got.Verdict != test.want || got.Reason != test.reason {
				t.Errorf("%s: %q, want %s: %q", got.Verdict, got.Reason, test.want, test.reason)
			}
		})
	}
}

func once(c Check) Check { c.Once = true; return c }
func after(c Check, id string) Check {
	last := part(id)
	last.ID, last.After = id, c.ID
	return last
}
func held(c Check) Check { c.Hold = Duration(10 * time.Second); return c }

func TestPartsProblems(t *testing.T) {
	a, b := part("a"), part("b")
	inner := part("a")
	inner.ID, inner.Hold = "x", Duration(time.Second)
	first, second := part("a"), part("b")
	first.ID, first.After, second.ID, second.After = "first", "second", "second", "first"
	lost := part("a")
	lost.ID, lost.After = "lost", "frist"
	deep := Check{ID: "c", Any: []Check{{Any: []Check{{Any: []Check{{Any: []Check{a}}}}}}}}
	tests := []struct {
		name   string
		checks []Check
		want   string
	}{
		{"both", []Check{{ID: "c", Watch: a.Watch, That: "true", Any: []Check{b}}}, "a check is either one of watch"},
		{"two ways", []Check{{ID: "c", All: []Check{a}, Any: []Check{b}}}, "a check is either one of watch"},
		{"that", []Check{{ID: "c", That: "true", Any: []Check{b}}}, "that belongs to the parts of any"},
		{"none", []Check{{ID: "c", Any: []Check{}}}, "any has 0 parts"},
		{"not without else", []Check{{ID: "c", Not: &a}}, "not needs an else"},
		{"of the whole", []Check{{ID: "c", All: []Check{inner}}}, "hold and id: only a whole check can have that"},
		{"deep", []Check{deep}, "deeper than 4"},
		{"else sees nothing", []Check{{ID: "c", Any: []Check{a}, Else: "it is ${object.x}"}}, "the parts of the check look"},
		{"unknown", []Check{first, lost}, `after: there is no check "frist"; did you mean "first"?`},
		{"circle", []Check{first, second}, "these checks wait for each other"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, problems := Compile(test.checks)
			var all []string
			for _, p := range problems {
				all = append(all, p.String())
			}
			if !strings.Contains(strings.Join(all, "\n"), test.want) {
				t.Errorf("problems %q, want one with %q", all, test.want)
			}
		})
	}
}
