package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/labs/trail"
	"drydock/sandbox"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

const (
	// maxMoments bounds the timeline: a page of more is slow to read and to
	// draw. Looks at the cluster give way first, then commands.
	maxMoments = 1200
	// maxPieces bounds what the page of a check's evidence shows: the latest.
	maxPieces = 30
)

// group is what a reader of the timeline can show or hide together.
type group struct {
	ID, Label string
	Count     int
	Hidden    bool // at first
}

// groups of moments, in the order that they are offered.
func groups(moments []moment) []group {
	all := []group{
		{ID: "tasks", Label: "Tasks, answers, hints"},
		{ID: "harm", Label: "Guards and the service"},
		{ID: "commands", Label: "Commands"},
		{ID: "changes", Label: "Changes of the cluster"},
		{ID: "looks", Label: "Looks at the cluster", Hidden: true},
		{ID: "sandbox", Label: "The sandbox"},
	}
	for _, m := range moments {
		for i := range all {
			if all[i].ID == m.group() {
				all[i].Count++
			}
		}
	}
	return slices.DeleteFunc(all, func(g group) bool { return g.Count == 0 })
}

// group is the one that a moment belongs to.
func (m moment) group() string {
	switch m.Kind {
	case "answer", "wrong", "hint", "done", "undone":
		return "tasks"
	case "guard", "down", "up", "collateral":
		return "harm"
	case "command", "failed":
		return "commands"
	case "change", "destroy":
		return "changes"
	case "request":
		return "looks"
	}
	return "sandbox"
}

// at is the moment for the player: milliseconds since 1970.
func (m moment) at() string { return strconv.FormatInt(m.At.UnixMilli(), 10) }

// hearShell tells of a command.
func (s *story) hearShell(e labs.Event, d eventData) {
	took := time.Duration(d.TookMs) * time.Millisecond
	kind, more := "command", ""
	switch {
	case d.Running:
		more = "still ran when the terminal was left"
	case d.Code != 0:
		kind, more = "failed", "exit code "+strconv.Itoa(d.Code)
	}
	if took >= longCommand && !d.Running {
		more = strings.TrimPrefix(more+", took "+clock(took), ", ")
	}
	text := d.Text
	if text == "" {
		text = "(a command that the shell did not tell)"
	}
	if d.Skipped > 0 {
		more = strings.TrimPrefix(more+", after "+plural(d.Skipped, "more command", "more commands")+" in quick succession", ", ")
	}
	m := moment{At: e.At.Add(-took), Kind: kind, Text: text, Code: true, More: more, Tab: d.Tab}
	m.Run = s.runAt(m.At)
	s.firstLook(m.At)
	if s.watches(func(kind, name string) bool { return names(text, name) }) {
		s.firstTouch(m.At)
	}
	s.moments = append(s.moments, m)
}

// longCommand is what took so long that it is worth telling.
const longCommand = 5 * time.Second

// names reports whether a command names something.
func names(command, name string) bool {
	isPart := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.')
	}
	return name != "" && slices.Contains(strings.FieldsFunc(command, isPart), name)
}

// watches reports whether holds is true of an object that a check or a guard of the lab names.
func (s *story) watches(holds func(kind, name string) bool) bool {
	return slices.ContainsFunc(s.watched, func(w labs.WatchedObject) bool { return holds(w.Kind, w.Name) })
}

func (s *story) firstLook(at time.Time) {
	if !s.ready.IsZero() && (s.look.IsZero() || at.Before(s.look)) {
		s.look = at
	}
}

func (s *story) firstTouch(at time.Time) {
	if !s.ready.IsZero() && (s.touch.IsZero() || at.Before(s.touch)) {
		s.touch = at
	}
}

// hearRequests puts what the learner asked of the cluster among the moments.
func (s *story) hearRequests(all []trail.Request) {
	for _, r := range all {
		m := requestMoment(r)
		m.Run = s.runAt(r.At)
		if r.By == "" && r.Class == trail.Look {
			s.firstLook(r.At)
		}
		if r.By == "" && !r.Refused() && s.watches(func(kind, name string) bool {
			return labs.SameKind(kind, r.Resource) && name == r.Name
		}) {
			s.firstTouch(r.At)
		}
		s.moments = append(s.moments, m)
	}
	slices.SortStableFunc(s.moments, func(a, b moment) int { return a.At.Compare(b.At) })
}

// runAt is how many resets there were before a moment.
func (s *story) runAt(at time.Time) int {
	run := 0
	for _, reset := range s.resets {
		if !at.Before(reset) {
			run++
		}
	}
	return run
}

func requestMoment(r trail.Request) moment {
	m := moment{At: r.At, Kind: "request", Text: requestWords(r), Sent: r.Body}
	switch r.Class {
	case trail.Change:
		m.Kind = "change"
	case trail.Destroy:
		m.Kind = "destroy"
	}
	var more []string
	if r.Space != "" {
		more = append(more, "in "+r.Space)
	}
	if r.Times > 1 {
		more = append(more, strconv.Itoa(r.Times)+" times")
	}
	if r.By != "" {
		more = append(more, "as the service account "+r.By)
	}
	if r.Refused() {
		more = append(more, cmp.Or(r.Refusal, "code "+strconv.Itoa(r.Code)))
	}
	m.More = strings.Join(more, ", ")
	return m
}

// requestWords says what a request was for.
func requestWords(r trail.Request) string {
	what := r.Target()
	verb := map[string]string{
		"create": "Created", "update": "Changed", "patch": "Changed", "delete": "Deleted", "deletecollection": "Deleted all",
		"get": "Looked at", "list": "Looked at", "watch": "Looked at",
	}[r.Verb]
	switch {
	case r.Sub == "log":
		verb, what = "Read the logs of", r.Name
	case r.Class == trail.Look && r.Sub == "exec":
		verb, what = "Ran something in", r.Name
	case r.Class == trail.Look && r.Sub == "portforward":
		verb, what = "Opened a way to", r.Name
	case r.Class == trail.Look && (r.Verb == "patch" || r.Verb == "create" || r.Verb == "update" || r.Verb == "delete"):
		verb = "Tried out (dry run): " + r.Verb
	case r.Class == trail.Destroy && r.Sub == "eviction":
		verb, what = "Evicted", "pod "+r.Name
	case r.Class == trail.Destroy && r.Verb != "delete" && r.Verb != "deletecollection":
		verb, what = "Scaled to nothing:", r.Resource+" "+r.Name
	case r.Sub == "scale":
		verb, what = "Scaled", r.Resource+" "+r.Name
	case verb == "":
		verb = r.Verb
	}
	text := verb + " " + what
	if r.Refused() && r.Class != trail.Look {
		text = "Was refused: " + r.Verb + " " + r.Target()
	} else if r.Refused() {
		text += " in vain"
	}
	return text
}

// fit leaves out what the timeline has no room for, and says how much.
func (s *story) fit() (leftOut int) {
	for _, kind := range []string{"looks", "commands", "changes"} {
		over := len(s.moments) - maxMoments
		if over <= 0 {
			break
		}
		s.moments = slices.DeleteFunc(s.moments, func(m moment) bool {
			if over <= 0 || m.group() != kind {
				return false
			}
			over--
			leftOut++
			return true
		})
	}
	return leftOut
}

// hearCollateral tells how much was otherwise when a sandbox was left.
func (s *story) hearCollateral(e labs.Event) {
	var d trail.Difference
	if len(e.Data) == 0 || json.Unmarshal(e.Data, &d) != nil {
		return
	}
	if n := len(d.Changes) + d.More; n > 0 {
		s.moments = append(s.moments, moment{At: e.At, Kind: "collateral", Text: "When the sandbox was left, " + plural(n, "object was", "objects were") + " otherwise than at hand-over", Run: d.Run})
	}
}

// otherwise is an object that is otherwise than at hand-over.
type otherwise struct {
	trail.ObjectChange
	Expected bool
}

// words say what became of the object.
func (o otherwise) words() string {
	switch o.Op {
	case trail.Created:
		return "is new"
	case trail.Deleted:
		return "is gone"
	case trail.Replaced:
		return "was deleted and made again"
	}
	return "was changed"
}

// where is the object's name and namespace.
func (o otherwise) where() string {
	if o.Space == "" {
		return o.Name
	}
	return o.Space + "/" + o.Name
}

// collateralOf are the changes of the last sandbox, those that the repair did not need first.
func collateralOf(lab *labs.Lab, p labs.Progress, t labs.Trail) (all []otherwise, more int) {
	d, kept := t.Differences[p.Resets]
	if !kept {
		d = p.Collateral
	}
	for _, c := range d.Changes {
		all = append(all, otherwise{c, lab.Expects(c, p.Variant)})
	}
	slices.SortStableFunc(all, func(a, b otherwise) int {
		switch {
		case a.Expected == b.Expected:
			return 0
		case b.Expected:
			return -1
		}
		return 1
	})
	return all, d.More
}

// evidenceView is what one check saw, and when.
type evidenceView struct {
	Report reportView
	Check  reportCheck
	Task   string // title; empty for a guard
	Pieces []piece
	Older  int // pieces that are not shown
	Before *piece
	Kept   bool // back from its learner, as long as the attempt is not over
	Asks   bool // for a question is open, in which case everything is
}

// piece is what was seen at one moment.
type piece struct {
	At    time.Time
	Saw   string // JSON, masked
	Error string
}

// evidence shows what a check has seen in an attempt.
func (s *server) evidence(w http.ResponseWriter, r *http.Request, user store.User) error {
	attempt, err := s.attemptFor(r, user)
	if err != nil {
		return err
	}
	report, err := s.reportView(r, attempt, user)
	if err != nil {
		return err
	}
	id := chi.URLParam(r, "check")
	view := evidenceView{Report: report}
	if !view.find(id) {
		return notFound("check of this attempt")
	}
	evidence, err := s.Store.Evidence(r.Context(), attempt.ID)
	if err != nil {
		return err
	}
	view.Kept = report.veiled(user) && report.Lab.Withholds(report.Progress, id)
	view.Asks = report.Lab.Asks(report.Progress)
	if !view.Kept {
		view.add(evidence, id)
	}
	page := s.page(r, "Evidence: "+report.Lab.Title)
	page.Active, page.Shape = "labs", "wide"
	page.Styles = []string{"report.css"}
	return s.render(w, r, http.StatusOK, evidencePage(page, view))
}

// find looks up the check in the report.
func (v *evidenceView) find(id string) bool {
	for _, t := range v.Report.Tasks {
		for _, c := range t.Checks {
			if c.ID == id {
				v.Check, v.Task = c, t.Task.Title
				return true
			}
		}
	}
	for _, g := range v.Report.Guards {
		if g.ID == id {
			v.Check = g
			return true
		}
	}
	return false
}

// add takes the check's evidence, newest first.
func (v *evidenceView) add(evidence []grade.Evidence, id string) {
	for _, e := range slices.Backward(evidence) {
		switch {
		case grade.OfCheck(e.Check, labs.BaselineOf(id)) && v.Before == nil:
			v.Before = &piece{At: e.At, Saw: readable(e.Data), Error: e.Error}
		case !grade.OfCheck(e.Check, id):
		case len(v.Pieces) == maxPieces:
			v.Older++
		default:
			v.Pieces = append(v.Pieces, piece{At: e.At, Saw: readable(e.Data), Error: e.Error})
		}
	}
}

// readable is what evidence shows: masked, and as much as can be read.
func readable(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	text := trail.MaskJSON(data)
	if len(text) > maxEvidenceShown {
		text = strings.ToValidUTF8(text[:maxEvidenceShown], "") + "\n… and more"
	}
	return text
}

// veiled reports whether the reader is the learner, who has still to find out.
func (v reportView) veiled(reader store.User) bool {
	return !v.Progress.Phase.Over() && reader.Role != store.RoleInstructor
}

// deductionWords says what was taken off.
func deductionWords(d labs.Deduction) string { return fmt.Sprintf("−%d", d.Points) }

// sentence begins with a capital letter and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// changesTold is what the report tells of a sandbox's changes.
func changesTold(lab *labs.Lab) string {
	if lab.Sandbox.Kind == sandbox.Cluster {
		return "what you asked of the cluster and what else is different at the end,"
	}
	return "the guards"
}
