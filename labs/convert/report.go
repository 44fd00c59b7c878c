package convert

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"drydock/labs/grade"
)

// Kind says what a note is about. The summary counts scenarios by it.
type Kind string

// The kinds of limit: what a converted lab does less well than the scenario did.
const (
	KindNode     Kind = "node"      // the learner needs the whole node: only for trusted cohorts
	KindHost     Kind = "host"      // it needs a second machine, which a sandbox has not
	KindInternet Kind = "internet"  // it fetches something
	KindImage    Kind = "image"     // its pods need an image that the cluster does not have
	KindStandIn  Kind = "stand-in"  // another image stands for one that its pods need
	KindTool     Kind = "tool"      // it needs a program, or a part of a cluster, that is not there
	KindBackend  Kind = "backend"   // it asks for an image of the platform that is not known here
	KindForge    Kind = "forgeable" // a check runs where the learner can change what it sees
	KindSlow     Kind = "slow"      // a check takes longer than it is given
	KindChanges  Kind = "changes"   // a check changes the system each time it looks
	KindMoment   Kind = "moment"    // a script ran at a moment that Drydock does not have
	KindUngraded Kind = "ungraded"  // a step is not checked
	KindPort     Kind = "port"      // it opens a port of the sandbox in the browser
	KindFile     Kind = "file"      // a file is missing or was not taken
	KindScript   Kind = "script"    // a script could not be read
)

// Note is one thing to know about a converted scenario.
type Note struct {
	Kind Kind   `json:"kind"`
	File string `json:"file,omitempty"` // below what was imported
	Line int    `json:"line,omitempty"` // 0 when it concerns the whole file
	Text string `json:"text"`
}

func (n Note) String() string {
	switch {
	case n.File == "":
		return n.Text
	case n.Line == 0:
		return n.File + ": " + n.Text
	}
	return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text)
}

// Outcome is what became of a scenario.
type Outcome string

// The outcomes.
const (
	Converted Outcome = "converted"
	Limited   Outcome = "limited" // converted, with limits
	Refused   Outcome = "refused"
)

// Refusal is why a scenario was not converted, for counting.
type Refusal string

// The reasons of refusals.
const (
	RefusedFile    Refusal = "its description can't be read"
	RefusedNothing Refusal = "nothing in it is checked"
	RefusedTaken   Refusal = "its folder is taken"
	RefusedLab     Refusal = "it makes no sound lab"
)

// Report says what became of one scenario.
type Report struct {
	Scenario string   `json:"scenario"` // its folder, below what was imported
	Title    string   `json:"title,omitempty"`
	Outcome  Outcome  `json:"outcome"`
	Lab      string   `json:"lab,omitempty"`     // the folder of the lab
	Refusal  Refusal  `json:"refusal,omitempty"` // why it was refused
	Reasons  []Note   `json:"reasons,omitempty"` // the same, with file and line
	Sandbox  string   `json:"sandbox,omitempty"` // what it runs in, such as cluster, access: cluster
	Steps    int      `json:"steps"`             // of the scenario
	Tasks    int      `json:"tasks"`             // of the lab
	Draft    []string `json:"solutions,omitempty"`
	Done     []string `json:"converted,omitempty"` // what was converted how, in words
	Limits   []Note   `json:"limits,omitempty"`
	LeftOut  []Note   `json:"leftOut,omitempty"`
}

// limit notes something that the lab does less well; once for each place.
func (r *Report) limit(kind Kind, file string, line int, format string, args ...any) {
	r.Limits = addNote(r.Limits, Note{Kind: kind, File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// leaveOut notes something that has no place in a lab.
func (r *Report) leaveOut(file string, line int, format string, args ...any) {
	r.LeftOut = addNote(r.LeftOut, Note{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// did notes how something was converted.
func (r *Report) did(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Done, text) {
		r.Done = append(r.Done, text)
	}
}

func addNote(notes []Note, note Note) []Note {
	if slices.Contains(notes, note) {
		return notes
	}
	return append(notes, note)
}

// refuse ends the conversion of the scenario.
func (r *Report) refuse(why Refusal, reasons ...Note) {
	r.Outcome, r.Refusal, r.Reasons, r.Lab = Refused, why, reasons, ""
	r.Limits = slices.DeleteFunc(r.Limits, func(n Note) bool { return n.Kind != KindFile })
	r.Draft, r.Done, r.LeftOut = nil, nil, nil // of a lab that is not there; a file that could not be read may be why
}

// kinds are the kinds of the report's limits, each once.
func (r *Report) kinds() []Kind {
	seen := map[Kind]bool{}
	for _, n := range r.Limits {
		seen[n.Kind] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Summary counts outcomes.
type Summary struct {
	Scenarios int             `json:"scenarios"`
	Converted int             `json:"converted"` // without limits
	Limited   int             `json:"limited"`
	Refused   int             `json:"refused"`
	Drafts    int             `json:"withSolution"` // labs with at least one draft of a solution
	Limits    map[Kind]int    `json:"limits,omitempty"`
	Refusals  map[Refusal]int `json:"refusals,omitempty"`
}

// Summarize counts the outcomes of reports.
func Summarize(reports []Report) Summary {
	s := Summary{Scenarios: len(reports), Limits: map[Kind]int{}, Refusals: map[Refusal]int{}}
	for _, r := range reports {
		switch r.Outcome {
		case Converted:
			s.Converted++
		case Limited:
			s.Limited++
		case Refused:
			s.Refused++
			s.Refusals[r.Refusal]++
			continue
		}
		if len(r.Draft) > 0 {
			s.Drafts++
		}
		for _, kind := range r.kinds() {
			s.Limits[kind]++
		}
	}
	return s
}

func (s Summary) String() string {
	return fmt.Sprintf("%s: %d converted, %d converted with limits%s, %d refused%s; %d with the draft of a solution",
		count(s.Scenarios, "scenario"), s.Converted, s.Limited, counts(s.Limits), s.Refused, counts(s.Refusals), s.Drafts)
}

// counts lists the numbers, the largest first: (image 12, internet 3).
func counts[K ~string](m map[K]int) string {
	if len(m) == 0 {
		return ""
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%s %d", k, m[k])
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	switch r.Outcome {
	case Refused:
		fmt.Fprintf(w, "%s: refused: %s\n", r.Scenario, r.Refusal)
		printNotes(w, "", r.Reasons)
	default:
		fmt.Fprintf(w, "%s → %s (%s)\n", r.Scenario, r.Lab, r.Sandbox)
		fmt.Fprintf(w, "    %s of %s checked", count(r.Tasks, "task"), count(r.Steps, "step"))
		if len(r.Draft) > 0 {
			fmt.Fprintf(w, "; drafts of solutions: %s", strings.Join(r.Draft, ", "))
		}
		fmt.Fprintln(w)
		for _, done := range r.Done {
			fmt.Fprintf(w, "    %s\n", done)
		}
	}
	printNotes(w, "limit", r.Limits)
	printNotes(w, "left out", r.LeftOut)
}

func printNotes(w io.Writer, what string, notes []Note) {
	for _, n := range notes {
		label := what
		if n.Kind != "" && what != "" {
			label += ", " + string(n.Kind)
		}
		if label != "" {
			label += ": "
		}
		fmt.Fprintf(w, "    %s%s\n", label, n)
	}
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// didYouMean names the nearest of the known words, if one is near.
func didYouMean(word string, known []string) string {
	const longest = 64 // no word is near anything longer
	if len(word) > longest {
		return ""
	}
	best, distance := "", len(word)/2+1
	for _, k := range known {
		if d := grade.EditDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}
