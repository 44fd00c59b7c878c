package labs

import (
	"fmt"
	"io/fs"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// Lab is one lab as it stands on disk: lab.yaml, and the files beside it.
type Lab struct {
	Slug    string `yaml:"-"` // the folder's name
	Version string `yaml:"-"` // content address: the first 12 hex digits of the SHA-256 over every file of the folder
	Readme  string `yaml:"-"` // README.md: what the learner reads, one `## Title {#task-id}` heading per task
	FS      fs.FS  `yaml:"-"` // the lab's folder as it was read, in memory; hidden files are left out
	// Proven says when a proof of the lab was recorded last; nil: never.
	Proven *Proven `yaml:"-"`

	APIVersion string        `yaml:"apiVersion"` // drydock/v1
	Kind       string        `yaml:"kind"`       // Lab
	Title      string        `yaml:"title"`
	Summary    string        `yaml:"summary"` // one sentence for lists; must not give the fault away
	Track      string        `yaml:"track"`
	Article    string        `yaml:"article,omitempty"`
	Level      string        `yaml:"level"`   // beginner, intermediate, advanced
	Minutes    int           `yaml:"minutes"` // what a learner usually needs; the session's time is SessionMinutes
	Sandbox    Sandbox       `yaml:"sandbox"`
	Variants   []Variant     `yaml:"variants,omitempty"` // none: one variant named "default" without vars
	Setup      []Step        `yaml:"setup"`
	Ready      []grade.Check `yaml:"ready"`
	Tasks      []Task        `yaml:"tasks"`
	Guards     []grade.Check `yaml:"guards,omitempty"`
	Service    *Service      `yaml:"service,omitempty"`
	Rubric     *Rubric       `yaml:"rubric,omitempty"`
	Imported   *Imported     `yaml:"imported,omitempty"` // set for a lab made from another platform's

	lines positions // where each value stands in lab.yaml
}

// AllVariants returns the lab's variants; one named "default" when it lists none.
func (l *Lab) AllVariants() []Variant {
	if len(l.Variants) == 0 {
		return []Variant{{Name: "default"}}
	}
	return l.Variants
}

// FindVariant returns the variant with that name; the error names the nearest.
func (l *Lab) FindVariant(name string) (Variant, error) {
	v, ok := l.variant(name)
	if !ok {
		return v, fmt.Errorf("the lab %s has no variant %q%s", l.Slug, name, didYouMean(name, l.variantNames()))
	}
	return v, nil
}

func (l *Lab) variantNames() []string {
	var names []string
	for _, v := range l.AllVariants() {
		names = append(names, v.Name)
	}
	return names
}

// Checks returns all that is judged during a session: the checks of every
// task in order, then the guards.
func (l *Lab) Checks() []grade.Check {
	var all []grade.Check
	for _, t := range l.Tasks {
		all = append(all, t.Checks...)
	}
	return append(all, l.Guards...)
}

// Imported says which platform's format a lab was made from. Such a lab may be
// a draft: nobody has written what a lab of our own must have.
type Imported struct {
	From   string `yaml:"from"`   // the format, as `drydock lab import` calls it
	Source string `yaml:"source"` // the scenario, below what was imported
}

// Sandbox is what the lab runs in.
type Sandbox struct {
	Kind       sandbox.Kind   `yaml:"kind"`
	Nodes      int            `yaml:"nodes,omitempty"`
	Access     sandbox.Access `yaml:"access"`
	Namespaces []string       `yaml:"namespaces,omitempty"` // those the learner works in; needed with access: namespace
	Egress     string         `yaml:"egress,omitempty"`     // none (the default) or internet
}

// WholeNode reports whether the learner is root on a node, from where the host
// can be taken over: such labs are for trusted cohorts only.
func (s Sandbox) WholeNode() bool { return s.Access == sandbox.AccessNode }

// Variant is one version of the fault. Its vars are ${vars.name} in manifests
// (and $VAR_NAME in setup scripts), in accepted answers, and `vars` in CEL.
type Variant struct {
	Name string            `yaml:"name"`
	Vars map[string]string `yaml:"vars,omitempty"`
}

// Step is one step of setup: exactly one field is set.
type Step struct {
	Apply string `yaml:"apply,omitempty"` // a manifest, or a folder of them in name order, applied by the server
	Run   string `yaml:"run,omitempty"`   // a script below setup/, run on the node with KUBECONFIG set
	Line  int    `yaml:"-"`
}

// Task is one thing the learner is asked to do. Either Ask or Checks is set.
type Task struct {
	ID     string        `yaml:"id"`
	Title  string        `yaml:"title"`
	Points int           `yaml:"points"`
	Hints  []Hint        `yaml:"hints,omitempty"`
	Ask    *grade.Ask    `yaml:"ask,omitempty"`
	Checks []grade.Check `yaml:"checks,omitempty"`
	Line   int           `yaml:"-"`
}

// Hint is a nudge; in lab.yaml a plain string or {text, cost}.
type Hint struct {
	Text string `yaml:"text"`
	Cost int    `yaml:"cost,omitempty"` // points taken from the task when shown
}

// Service is probed all the while: what did the repair cost its users?
type Service struct {
	HTTP *grade.HTTP `yaml:"http"`
}
