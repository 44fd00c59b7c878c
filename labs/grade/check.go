// Package grade decides whether a system was fixed: it collects evidence,
// judges it, and gives results. Judging is a pure function of the checks and
// the evidence, so a grade can be replayed from what was kept.
//
// It imports sandbox and no other top-level package.
package grade

import (
	"encoding/json"
	"time"
)

// Check is one condition on the system: a collector (exactly one of Watch,
// HTTP, Exec is set), and what must hold of what it saw.
type Check struct {
	ID    string   `yaml:"id" json:"id"`
	Watch *Watch   `yaml:"watch,omitempty" json:"watch,omitempty"`
	HTTP  *HTTP    `yaml:"http,omitempty" json:"http,omitempty"`
	Exec  *Exec    `yaml:"exec,omitempty" json:"exec,omitempty"`
	That  string   `yaml:"that" json:"that"`                     // CEL, true when the check holds
	Hold  Duration `yaml:"hold,omitempty" json:"hold,omitempty"` // must be true without a break for this long
	Else  string   `yaml:"else,omitempty" json:"else,omitempty"` // what a learner is told when it does not hold; text with ${CEL} parts
	Line  int      `yaml:"-" json:"-"`                           // of lab.yaml, where the check begins
}

// Watch sees one object, or all objects of a kind when Name is empty. CEL
// gets `object` (null when there is none) or `objects`, and `baseline`, the
// same at hand-over.
type Watch struct {
	APIVersion string `yaml:"apiVersion,omitempty" json:"apiVersion,omitempty"` // needed only where the kind is ambiguous
	Kind       string `yaml:"kind" json:"kind"`
	Namespace  string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	Name       string `yaml:"name,omitempty" json:"name,omitempty"`
	Selector   string `yaml:"selector,omitempty" json:"selector,omitempty"` // label selector, only without Name
}

// HTTP sends a request from inside the cluster, from a place that the learner
// does not control. CEL gets `response` {code, body, headers, seconds, error}.
type HTTP struct {
	From   string            `yaml:"from" json:"from"` // the namespace that the request comes from, as far as DNS search goes
	URL    string            `yaml:"url" json:"url"`
	Method string            `yaml:"method,omitempty" json:"method,omitempty"` // default GET
	Header map[string]string `yaml:"header,omitempty" json:"header,omitempty"`
	Body   string            `yaml:"body,omitempty" json:"body,omitempty"`
	Every  Duration          `yaml:"every,omitempty" json:"every,omitempty"` // default 2 s
}

// Exec runs a command on the node, in the terminal container or in a pod. CEL
// gets `result` {code, stdout, stderr}.
type Exec struct {
	On        string   `yaml:"on" json:"on"`                                   // node, terminal or pod
	Namespace string   `yaml:"namespace,omitempty" json:"namespace,omitempty"` // with on: pod
	Selector  string   `yaml:"selector,omitempty" json:"selector,omitempty"`   // with on: pod; the first ready pod is taken
	Container string   `yaml:"container,omitempty" json:"container,omitempty"`
	Command   []string `yaml:"command" json:"command"`
	Every     Duration `yaml:"every,omitempty" json:"every,omitempty"` // default 5 s
}

// Ask is a question whose answer the learner types or chooses.
type Ask struct {
	Text string `yaml:"text" json:"text"`
	// Choices are shown as radio buttons; without them the learner types.
	Choices []string `yaml:"choices,omitempty" json:"choices,omitempty"`
	// Accept lists the right answers, compared without case and outer space;
	// one between slashes is a regular expression for the whole answer.
	// ${vars.x} is replaced by the variant's value.
	Accept []string `yaml:"accept" json:"accept"`
	// Why is told once the answer was right.
	Why  string `yaml:"why,omitempty" json:"why,omitempty"`
	Line int    `yaml:"-" json:"-"`
}

// Duration is a time.Duration written as in Go: 500ms, 10s, 2m.
type Duration time.Duration

// Verdict is a three-way result.
type Verdict string

const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
	// Error: the checker could not look. Never the learner's fault.
	Error Verdict = "error"
)

// Evidence is what a collector saw once, kept with the attempt.
type Evidence struct {
	Check string          `json:"check"`
	At    time.Time       `json:"at"`
	Data  json.RawMessage `json:"data,omitempty"`  // the CEL variables of the collector: {"object":…}, {"response":…}, {"result":…}
	Error string          `json:"error,omitempty"` // set when it could not look; Data is then empty
}

// Result is the judgement of one check at one moment.
type Result struct {
	Check   string    `json:"check"`
	Verdict Verdict   `json:"verdict"`
	Reason  string    `json:"reason,omitempty"` // for fail and error: in words, for the learner
	At      time.Time `json:"at"`               // of the evidence that decided it
	// HoldUntil is set while the condition is true but has not yet been so for Check.Hold (Verdict is then Fail).
	HoldUntil time.Time `json:"holdUntil,omitzero"`
}
