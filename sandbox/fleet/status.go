package fleet

import (
	"time"

	"drydock/sandbox"
)

// Status is what an operator sees of all sandboxes of one server.
type Status struct {
	Sandboxes []SandboxStatus
	Templates []TemplateStatus
	Queue     []Waiting // in the order of their turns
	Memory    Memory
	Draining  bool
	Starts    []StartTimes
	Failures  []Failure // the latest first; a bounded number
	Engine    error     // why the engine can't be asked; nil when it answers
}

// SandboxStatus is one sandbox with what it takes.
type SandboxStatus struct {
	sandbox.Info
	Usage sandbox.Usage
}

// TemplateStatus is one template, or one that is being made.
type TemplateStatus struct {
	sandbox.Template
	Making bool
	Stage  string // what its making is at; empty when it is there
	Spares int    // ready ones
	Wanted int    // spares that the pool means to have
}

// Waiting is a start that has no room or no turn yet.
type Waiting struct {
	Session  string
	Owner    string // whose turn it takes
	Place    int    // from 1
	Since    time.Time
	Estimate time.Duration // until it is let in; 0: not known
}

// Memory is what the machine has for sandboxes, in bytes.
type Memory struct {
	Budget   int64 // what sandboxes may take together
	Used     int64 // what they take, as measured
	Reserved int64 // what is promised to running and starting sessions, spares not counted
	Spares   int64 // what the spares take, as measured
}

// How a sandbox came to be handed over.
const (
	Warm         = "warm"     // a spare was taken
	Cold         = "cold"     // a copy of a template was made
	FromScratch  = "scratch"  // there was no template
	TemplateMade = "template" // the making of a template
)

// StartTimes sums up the measured starts of one kind.
type StartTimes struct {
	Kind          sandbox.Kind
	How           string // Warm, Cold, FromScratch or TemplateMade
	Count         int
	P50, P95, Max time.Duration
}

// Failure is an operation that went wrong.
type Failure struct {
	At       time.Time
	Session  string // empty for spares and templates
	Sandbox  string // its own id, where it had one
	Template string
	Doing    string // such as "create", "reset", "make a spare"
	Stage    string // the last one begun
	Error    string
	Log      string // the end of what the tools printed
}
