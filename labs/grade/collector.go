package grade

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// collector is one way to look at a sandbox, with all that is particular to
// it. Every field of [Check] that names one is such.
type collector interface {
	// sees is the CEL variable that what it sees is bound to.
	sees() subject
	// needs says what it looks through.
	needs() means
	// fill replaces each of its texts that may mention ${vars.name}.
	fill(replace func(string) string)
	// problems reports what an author has to mend.
	problems(add report)
	// period is how often it looks; 0 means at every change.
	period() time.Duration
	// name says what is looked at, as a learner would; empty when that needs no words.
	name() string
	// source is what looks, in a place that has what it needs.
	source(p *place) source
}

// report takes one problem, in words for authors.
type report func(format string, args ...any)

// means are what collectors look through.
type means uint8

const (
	throughCluster means = 1 << iota // the API server
	throughExec                      // commands in the sandbox
	throughFiles                     // files of the lab
)

// collectorNames are the fields of Check that hold a collector, as in lab.yaml.
var collectorNames = [...]string{"watch", "http", "tcp", "dns", "exec", "file", "logs", "events", "audit", "bench"}

// CollectorNames returns the names of the collectors, as in lab.yaml.
func CollectorNames() []string { return slices.Clone(collectorNames[:]) }

// collectors returns those that the check has; it should be one.
func (c *Check) collectors() []collector {
	return slices.Concat(given(c.Watch), given(c.HTTP), given(c.TCP), given(c.DNS), given(c.Exec), given(c.File), given(c.Logs), given(c.Events), given(c.Audit), given(c.Bench))
}

func given[T any, P interface {
	*T
	collector
}](p P) []collector {
	if p == nil {
		return nil
	}
	return []collector{p}
}

// filled returns a copy of the check's collector whose texts were replaced,
// and a key: equal ones look at the same.
func (c *Check) filled(replace func(string) string) (collector, string, error) {
	only := *c
	only.ID, only.That, only.Else, only.After, only.Hold, only.Points, only.Once = "", "", "", "", 0, 0, false
	raw, err := json.Marshal(only)
	if err != nil {
		return nil, "", fmt.Errorf("check %s: %w", c.ID, err)
	}
	var fresh Check
	if err := json.Unmarshal(raw, &fresh); err != nil {
		return nil, "", fmt.Errorf("check %s: %w", c.ID, err)
	}
	all := fresh.collectors()
	if len(all) != 1 {
		return nil, "", fmt.Errorf("check %s has %d collectors", c.ID, len(all))
	}
	all[0].fill(replace)
	if raw, err = json.Marshal(fresh); err != nil {
		return nil, "", fmt.Errorf("check %s: %w", c.ID, err)
	}
	return all[0], string(raw), nil
}

// varsOf returns the names of the vars that the collector's texts mention.
func varsOf(c *Check) []string {
	var names []string
	_, _, err := c.filled(func(text string) string {
		names = append(names, varsIn(text)...)
		return text
	})
	if err != nil {
		return nil // found when it was compiled
	}
	return names
}
