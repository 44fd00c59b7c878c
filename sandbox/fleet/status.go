package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"drydock/sandbox"
)

// Status is what an operator sees of all sandboxes of one server.
type Status struct {
	Sandboxes []SandboxStatus
	Templates []TemplateStatus
	Spares    []SpareStatus // by the template's name
	Queue     []Waiting     // in the order of their turns
	Memory    Memory
	Draining  bool
	Starts    []StartTimes
	Failures  []Failure // the latest first; a bounded number
	Engine    error     // why the engine can't be asked; nil when it answers
}

// SandboxStatus is one sandbox with what it takes.
type SandboxStatus struct {
	sandbox.Info
	TemplateName string // what it is a copy of, or is to serve; empty where that is not known
	Usage        sandbox.Usage
}

// SpareStatus is how many spares there are for the labs of one template's name,
// also where the provider keeps no templates.
type SpareStatus struct {
	Template      string
	Ready, Wanted int
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
	Reserved int64 // what is promised to running and starting sessions, spares and what is kept not counted
	Spares   int64 // what the spares take, as measured
	Kept     int64 // what is kept of sessions that have ended takes, as measured
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

// MakingTemplate is what a [Failure] was doing when it made a template.
const MakingTemplate = "make a template"

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

// Status is what there is at this moment. It asks the engine and measures, and
// says in Engine why it can't; the rest is then as it was last known.
func (f *Fleet) Status(ctx context.Context) Status {
	infos, err := f.List(ctx)
	if err == nil || len(infos) > 0 {
		_, _ = f.Templates(ctx)                                 // Known has the error
		if usageErr := f.measure(ctx, infos); usageErr != nil { // the engine answers, though not this
			f.log.Debug("not all sandboxes could be measured", "err", usageErr)
		}
	}
	return f.Known()
}

// Known is the same as it was last seen, and asks nobody: while [Fleet.Run]
// runs, some seconds ago, and what sandboxes take some seconds more.
func (f *Fleet) Known() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Templates: f.templateStatus(), Spares: f.spareStatus(), Queue: f.waitings(),
		Memory:   Memory{Budget: f.cfg.Memory, Reserved: f.account().sessions},
		Draining: f.draining, Starts: f.past.starts(), Failures: slices.Clone(f.failures), Engine: cmp.Or(f.listed, f.kept),
	}
	slices.Reverse(s.Failures)
	for _, b := range f.boxes {
		s.Sandboxes = append(s.Sandboxes, SandboxStatus{Info: b.Info, TemplateName: f.called(b), Usage: b.usage})
		s.Memory.Used += b.usage.Memory
		switch b.Use {
		case sandbox.Spare:
			s.Memory.Spares += b.usage.Memory
		case sandbox.Kept:
			s.Memory.Kept += b.usage.Memory
		}
	}
	slices.SortFunc(s.Sandboxes, func(a, b SandboxStatus) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return s
}

// called is the name of a box's template.
func (f *Fleet) called(b *box) string { return cmp.Or(b.name, f.nameOf(b.Info)) }

// spareStatus counts the spares of all templates that are there, wanted or have one.
func (f *Fleet) spareStatus() []SpareStatus {
	counts := map[string]*SpareStatus{}
	of := func(name string) *SpareStatus {
		if counts[name] == nil {
			counts[name] = &SpareStatus{Template: name}
		}
		return counts[name]
	}
	for _, t := range f.templates {
		of(t.Name)
	}
	for name := range f.shared {
		of(name)
	}
	for name, wanted := range f.wanted {
		of(name).Wanted = wanted
	}
	for _, b := range f.boxes {
		if name := f.called(b); name != "" && b.Use == sandbox.Spare && b.State == sandbox.Frozen {
			of(name).Ready++
		}
	}
	all := make([]SpareStatus, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, *counts[name])
	}
	return all
}

// templateStatus is that of the templates that are there or being made, by name.
func (f *Fleet) templateStatus() []TemplateStatus {
	var all []TemplateStatus
	for id, t := range f.templates {
		ts := TemplateStatus{Template: t}
		ts.Spares, _ = f.spares(id)
		if f.ids[t.Name].id == id {
			ts.Wanted = f.wanted[t.Name]
		}
		all = append(all, ts)
	}
	for name, m := range f.shared {
		if _, there := f.templates[m.id]; there {
			continue
		}
		all = append(all, TemplateStatus{
			Template: sandbox.Template{ID: m.id, Name: name, Kind: m.spec.Kind}, Making: true, Stage: m.stage, Wanted: f.wanted[name],
		})
	}
	slices.SortFunc(all, func(a, b TemplateStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all
}
