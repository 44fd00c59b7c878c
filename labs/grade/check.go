// Package grade decides whether a system was fixed: it collects evidence,
// judges it, and gives results. Judging is a pure function of the checks and
// the evidence, so a grade can be replayed from what was kept.
//
// # Conditions
//
// A [Check] has a collector, which looks at the sandbox, and a condition in
// CEL, which must be true of what it saw. CEL here is that of Kubernetes 1.37,
// with all its libraries (lists, regular expressions, quantities, URLs, IP
// addresses, CIDRs, formats, versions, optional fields). The variables are
//
//	object    watch with a name: the object, null when there is none
//	objects   watch without a name: all that are there, in the order of their names
//	response  http: {code, body, headers, seconds, error, json}
//	connection  tcp: {open, received, seconds, error}
//	lookup    dns: {code, name, records, seconds, error}
//	result    exec: {code, stdout, stderr}
//	file      file: {exists, kind, size, mode, owner, group, modified, text, sha256, target, error}
//	events    events: those that there are, the oldest first: {type, reason, message, kind, name, from, count, first, last}
//	audit     audit: what the learner asked of the cluster, the oldest first: {at, does, verb, group, resource, sub, namespace, name, by, code, body}
//	bench     bench: {correct, wrong, ratio, low, high, rounds}
//	logs      logs: one for each pod, in the order of their names: {pod, text}
//	baseline  what the same collector saw at hand-over, in the same form
//	vars      the variant's vars, a map of strings
//
// A field that is not there makes a condition false, not broken: a Deployment
// without a ready pod has no status.readyReplicas. Write
// object.?status.readyReplicas.orValue(0) to count on. What is not there does
// not equal anything either, so object.spec.x != "a" is false without x.
//
// Of Kubernetes' own kinds the fields are known when a lab is linted: one that
// is misspelt, or compared with a value of another type, is a problem.
//
// response.headers has names in lower case; response.json is there when the
// body is JSON; response.code is 0 and response.error says why when nothing
// answered. Redirects are not followed. A body is cut off after 64 KiB, as are
// what a connection received, stdout and stderr.
//
// http, tcp and dns are sent by a program of Drydock's in the sandbox, which the
// learner can't touch: from the node, with the DNS server and the search list that
// a pod in the namespace From has, and the way of any request in the cluster. With
// Pod they are sent from inside the network of the first ready pod that the
// selector picks, by name: with its address, and by the rules that hold for it. On
// a machine they come from the machine itself. Each look is a new connection, and
// takes at most 5 seconds.
//
// lookup.code is NOERROR, NXDOMAIN, SERVFAIL or another of DNS; lookup.records are
// those of the type, sorted, as in a zone file but without the final dots.
//
// A command that runs for 10 seconds is ended: result.code is then 124, as of
// timeout(1). In a pod it cannot be ended; the check fails, and the command
// is left there.
//
// Of logs, a container that has not started has said nothing: its text is empty.
// Of one that was started again it is what it has said since. The first 50 pods
// are read, in the order of their names, and 64 KiB of each.
//
// file.kind is file, directory, link or other; mode is four octal digits; text is
// the first 64 KiB; sha256 is empty when it takes more than 5 seconds; a link is not followed, and target says where it leads. error
// is there when the file may not be read, and the rest is then empty.
//
// bench.ratio is the median of the time that the learner's program takes to that
// of the baseline's, 0.5 when it is twice as fast, and lies between low and high with a probability of
// 95 %: bench.high < 0.5 is what a noisy machine can't make true. The three are there
// only when the results were correct.
//
// Of events, the latest 100 are kept. Kubernetes forgets them after an hour, and
// leaves out many that come closely together: conclude from what is there, not
// from what is missing. from is the component that reports it. What
// kubelet, the scheduler and Kubernetes' controllers report, a learner can't make up.
//
// Of audit, the latest 200 requests are kept that the check is about, what destroys
// before what changes and that before what looks. does is look, change or destroy; a
// look that is repeated within a minute is one; by is empty for the learner's own
// account; body is what was sent with a change, cut off after 2 KiB and without
// secrets. Where the log was written over before it was read, nothing can be told
// any more until a reset: an [Error]. Who has the node can write the log.
//
// Of objects, managedFields are left out. A field that is too big to keep is
// replaced by a note of its size, and a condition that is then not true is an
// [Error].
//
// Evidence is kept and shown, and so secrets are masked before it is judged: the
// values of a Secret, and in bodies, headers, output and logs what looks like a
// bearer token, a JSON web token, a private key, the password of a URL, a cookie
// or the value of anything called password, secret, token or key. A mask is a
// hash: that a secret was changed can be told, what it is cannot. The fields of
// other objects are as they are.
//
// # Reasons
//
// When a condition does not hold, the learner is told why: with Else, text
// with ${CEL} parts, or from the values compared ("object.status.readyReplicas
// is 1, wanted 2"). $${ stands for ${ itself.
//
// The collectors' fields may mention ${vars.name}.
//
// # Hold
//
// With Hold, the condition must be true without a break for that long. Between
// two looks the system is taken to be as the first showed it; at the end of
// the hold it is looked at once more. Time in which the checker could not look
// neither breaks a hold nor counts for it.
//
// # Parts
//
// A check is made of one condition, or by All, Any and Not of several. They are
// judged in three-valued logic: what could not be looked at is an [Error] only
// where the other parts leave it open. Evidence and baselines of a part are
// kept under the way to it, such as reachable/0/1. A hold counts for the check
// as a whole, and is over when all that it looks at was looked at once more.
//
// With After, evidence from before the other check passed for the first time
// is not taken; with Once, a check that has passed goes on passing.
//
// # Imports
//
// It imports sandbox and no other top-level package.
package grade

import (
	"encoding/json"
	"time"
)

// Check is one condition on the system: a collector (exactly one of Watch,
// HTTP, Exec, Logs is set), and what must hold of what it saw. Or it is made of
// parts (exactly one of All, Any, Not is set), which have a collector or parts
// of their own, and of the other fields none but Else.
type Check struct {
	ID     string   `yaml:"id,omitempty" json:"id,omitempty"`
	Watch  *Watch   `yaml:"watch,omitempty" json:"watch,omitempty"`
	HTTP   *HTTP    `yaml:"http,omitempty" json:"http,omitempty"`
	TCP    *TCP     `yaml:"tcp,omitempty" json:"tcp,omitempty"`
	DNS    *DNS     `yaml:"dns,omitempty" json:"dns,omitempty"`
	Exec   *Exec    `yaml:"exec,omitempty" json:"exec,omitempty"`
	File   *File    `yaml:"file,omitempty" json:"file,omitempty"`
	Events *Events  `yaml:"events,omitempty" json:"events,omitempty"`
	Audit  *Audit   `yaml:"audit,omitempty" json:"audit,omitempty"`
	Bench  *Bench   `yaml:"bench,omitempty" json:"bench,omitempty"`
	Logs   *Logs    `yaml:"logs,omitempty" json:"logs,omitempty"`
	All    []Check  `yaml:"all,omitempty" json:"all,omitempty"`   // holds when all of them hold at once
	Any    []Check  `yaml:"any,omitempty" json:"any,omitempty"`   // holds when at least one of them holds
	Not    *Check   `yaml:"not,omitempty" json:"not,omitempty"`   // holds when that one does not
	That   string   `yaml:"that,omitempty" json:"that,omitempty"` // CEL, true when the check holds
	Hold   Duration `yaml:"hold,omitempty" json:"hold,omitempty"` // must be true without a break for this long
	Else   string   `yaml:"else,omitempty" json:"else,omitempty"` // what a learner is told when it does not hold; text with ${CEL} parts
	// After is the id of another check. What is seen before that one has passed
	// for the first time does not count.
	After string `yaml:"after,omitempty" json:"after,omitempty"`
	// Once: the check has passed for good once it has passed; otherwise it must hold now.
	Once bool `yaml:"once,omitempty" json:"once,omitempty"`
	// Points are those of the task's that this check earns by itself, 0 when the task gives all or nothing.
	Points int `yaml:"points,omitempty" json:"points,omitempty"`
	Line   int `yaml:"-" json:"-"` // of lab.yaml, where the check begins
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

// HTTP sends a request from inside the cluster or the machine, from a place that
// the learner does not control. CEL gets `response` {code, body, headers, seconds, error, json}.
type HTTP struct {
	From   string            `yaml:"from,omitempty" json:"from,omitempty"` // of a cluster, the namespace that the request comes from, as far as DNS search goes
	Pod    string            `yaml:"pod,omitempty" json:"pod,omitempty"`   // label selector: it is sent from inside the network of the first ready pod in From
	URL    string            `yaml:"url" json:"url"`
	Method string            `yaml:"method,omitempty" json:"method,omitempty"` // default GET
	Header map[string]string `yaml:"header,omitempty" json:"header,omitempty"`
	Body   string            `yaml:"body,omitempty" json:"body,omitempty"`
	Every  Duration          `yaml:"every,omitempty" json:"every,omitempty"` // default 2 s
}

// TCP opens a connection, from a place like that of HTTP. CEL gets `connection`
// {open, received, seconds, error}.
type TCP struct {
	From    string   `yaml:"from,omitempty" json:"from,omitempty"` // as of HTTP
	Pod     string   `yaml:"pod,omitempty" json:"pod,omitempty"`   // as of HTTP
	Address string   `yaml:"address" json:"address"`               // host:port
	Send    string   `yaml:"send,omitempty" json:"send,omitempty"`
	Expect  string   `yaml:"expect,omitempty" json:"expect,omitempty"` // text to wait for; it is part of received when it came
	Every   Duration `yaml:"every,omitempty" json:"every,omitempty"`   // default 2 s
}

// DNS asks for a name, from a place like that of HTTP. CEL gets `lookup` {code,
// name, records, seconds, error}.
type DNS struct {
	From  string   `yaml:"from,omitempty" json:"from,omitempty"`   // as of HTTP
	Pod   string   `yaml:"pod,omitempty" json:"pod,omitempty"`     // as of HTTP
	Name  string   `yaml:"name" json:"name"`                       // the search list of From applies
	Type  string   `yaml:"type,omitempty" json:"type,omitempty"`   // A (the default), AAAA, CNAME, MX, PTR, SRV or TXT
	Every Duration `yaml:"every,omitempty" json:"every,omitempty"` // default 2 s
}

// Exec runs a command on the node (as root, with an administrator's kubectl) or
// the machine (as its root), in the terminal (as the learner) or in a pod. CEL gets `result`
// {code, stdout, stderr}.
type Exec struct {
	On        string   `yaml:"on" json:"on"`                                   // node, terminal or pod
	Namespace string   `yaml:"namespace,omitempty" json:"namespace,omitempty"` // with on: pod
	Selector  string   `yaml:"selector,omitempty" json:"selector,omitempty"`   // with on: pod; the first ready pod is taken
	Container string   `yaml:"container,omitempty" json:"container,omitempty"`
	Command   []string `yaml:"command" json:"command"`
	Every     Duration `yaml:"every,omitempty" json:"every,omitempty"` // default 5 s
}

// Logs reads what a container of some pods has written last. CEL gets `logs`,
// a list of {pod, text}.
type Logs struct {
	Namespace string   `yaml:"namespace" json:"namespace"`
	Selector  string   `yaml:"selector" json:"selector"`                       // label selector
	Container string   `yaml:"container,omitempty" json:"container,omitempty"` // default: as kubectl logs takes it
	Tail      int      `yaml:"tail,omitempty" json:"tail,omitempty"`           // lines of each pod, default 10
	Every     Duration `yaml:"every,omitempty" json:"every,omitempty"`         // default 1 s
}

// File looks at one file, on the node or the machine as root, or where the
// learner works as the learner. A link at the end of the path is not followed.
// CEL gets `file` {exists, kind, size, mode, owner, group, modified, text, sha256,
// target, error}.
type File struct {
	On    string   `yaml:"on" json:"on"` // node or terminal
	Path  string   `yaml:"path" json:"path"`
	Every Duration `yaml:"every,omitempty" json:"every,omitempty"` // default 5 s
}

// Events sees the events of Kubernetes that its fields pick. CEL gets `events`, a
// list of {type, reason, message, kind, name, from, count, first, last}, the oldest first.
type Events struct {
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"` // of the events; all unless set
	Kind      string `yaml:"kind,omitempty" json:"kind,omitempty"`           // of the object that they are about
	Name      string `yaml:"name,omitempty" json:"name,omitempty"`           // of that object
	Reason    string `yaml:"reason,omitempty" json:"reason,omitempty"`
	Type      string `yaml:"type,omitempty" json:"type,omitempty"` // Normal or Warning
}

// Audit sees what the learner has asked of the cluster since the hand-over, by
// its audit log. CEL gets `audit`, a list of {at, does, verb, group, resource, sub,
// namespace, name, by, code, body}, the oldest first.
type Audit struct {
	Verbs     []string `yaml:"verbs,omitempty" json:"verbs,omitempty"`         // such as delete; all unless set
	Resource  string   `yaml:"resource,omitempty" json:"resource,omitempty"`   // plural, such as pods
	Namespace string   `yaml:"namespace,omitempty" json:"namespace,omitempty"` // of the object
	Name      string   `yaml:"name,omitempty" json:"name,omitempty"`           // of the object
	Every     Duration `yaml:"every,omitempty" json:"every,omitempty"`         // default 3 s
}

// Bench measures the learner's program on a machine against one of the lab's that
// does the same, side by side, and compares their results on inputs that the
// learner never saw. Package drydock/sandbox/probe/bench has the method and its
// source. CEL gets `bench` {correct, wrong, ratio, low, high, rounds}.
type Bench struct {
	Command  []string     `yaml:"command" json:"command"`                     // the learner's: reads the input, prints the result
	Dir      string       `yaml:"dir,omitempty" json:"dir,omitempty"`         // where it is started; default the learner's home
	Baseline BenchProgram `yaml:"baseline" json:"baseline"`                   // does the same, rightly
	Generate BenchProgram `yaml:"generate" json:"generate"`                   // prints an input, another one for each SEED in its environment
	Measure  string       `yaml:"measure,omitempty" json:"measure,omitempty"` // cpu (the default) or wall
	Rounds   int          `yaml:"rounds,omitempty" json:"rounds,omitempty"`   // at most; default 25
	Timeout  Duration     `yaml:"timeout,omitempty" json:"timeout,omitempty"` // of one run; default 10 s
	Every    Duration     `yaml:"every,omitempty" json:"every,omitempty"`     // how often is looked whether the program has changed; default 5 s
}

// BenchProgram is one of the lab's own programs. It is written into a folder that
// nobody else can open, and started there.
type BenchProgram struct {
	Files   string   `yaml:"files" json:"files"`                     // a file or folder of the lab, below bench/
	Build   []string `yaml:"build,omitempty" json:"build,omitempty"` // run once, before anything is measured
	Command []string `yaml:"command" json:"command"`
}

// Ask is a question whose answer the learner types or chooses. Exactly one of
// Accept, All and Number says what is right. In all texts but Text and Why,
// ${vars.x} is replaced by the variant's value.
type Ask struct {
	Text string `yaml:"text" json:"text"`
	// Choices are shown as a list to choose from: one, or with All several.
	// Without them the learner types.
	Choices []string `yaml:"choices,omitempty" json:"choices,omitempty"`
	// Accept lists the right answers, compared without case and outer space;
	// one between slashes is a regular expression for the whole answer.
	Accept []string `yaml:"accept,omitempty" json:"accept,omitempty"`
	// All lists what has to be named together, in any order, and nothing else.
	// Each is compared as one of Accept is.
	All []string `yaml:"all,omitempty" json:"all,omitempty"`
	// Number is a right answer that is a number.
	Number *Number `yaml:"number,omitempty" json:"number,omitempty"`
	// Why is told once the answer was right.
	Why  string `yaml:"why,omitempty" json:"why,omitempty"`
	Line int    `yaml:"-" json:"-"`
}

// Number is a right answer with its tolerance.
type Number struct {
	Is Figure `yaml:"is" json:"is"`
	// Within is how far off an answer may be: 0.5, or 5% of the right one; 0 unless set.
	Within Figure `yaml:"within,omitempty" json:"within,omitempty"`
	// Unit is shown beside the field, and may stand behind the number.
	Unit string `yaml:"unit,omitempty" json:"unit,omitempty"`
}

// Figure is a number as its author wrote it, or with ${vars.name} in it.
type Figure string

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

// DataFormat is the format of [Evidence.Data] that this version writes. It
// reads that and all before it.
const DataFormat = 1

// Evidence is what a collector saw once, kept with the attempt. Equal evidence
// in a row may be kept as its first and its last piece.
type Evidence struct {
	Check string    `json:"check"`
	At    time.Time `json:"at"` // in whole milliseconds, as it is kept
	// Run is when the run of the grader that saw it began, in Unix milliseconds:
	// each run judges by what it saw itself. 0: of no run, such as a baseline.
	Run int64 `json:"run,omitempty"`
	// Format is the one that Data has; 0 is 1, the first.
	Format int `json:"format,omitempty"`
	// Data has the CEL variables of the collector: {"object":…}, {"objects":…},
	// {"response":…}, {"result":…} or {"logs":…}; none of them when there is nothing to
	// see. At most 256 KiB, of a list 1 MiB.
	Data  json.RawMessage `json:"data,omitempty"`
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
