package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/labs/trail"
)

// moment is something that happened in an attempt.
type moment struct {
	At   time.Time
	Kind string // names the mark in the chart: start, ready, look, answer, wrong, hint, done, undone, guard, down, up, trouble, reset, end, command, failed, request, change, destroy, collateral
	Text string
	More string // what else is to be said of it; may be empty
	Into string // the time since the hand-over; empty where there was none
	Code bool   // Text is a command line
	Sent string // what was sent with a request, as JSON; may be empty
	Tab  string // the terminal that it happened in; empty: none
	Run  int    // how many resets there were before
}

// span is a stretch of time.
type span struct {
	Kind     string // starting, working, asleep, trouble, down
	From, To time.Time
}

// story is an attempt told from its events.
type story struct {
	lab     *labs.Lab
	moments []moment
	spans   []span
	end     time.Time

	// What the figures need.
	requested, ready, look time.Time
	touch, fixed           time.Time // see figures
	progress               labs.Progress
	watched                []labs.WatchedObject
	resets                 []time.Time
	typed                  bool

	open map[string]time.Time // beginnings of spans that have not ended, by kind
}

// repaired reports whether all that is to be repaired is, questions left out.
func (s *story) repaired() bool {
	repairs := 0
	for _, t := range s.progress.Tasks {
		if !t.Ask && !t.Done {
			return false
		}
		if !t.Ask {
			repairs++
		}
	}
	return repairs > 0
}

// tell goes through an attempt's events, and what the learner asked of the
// cluster. end is when the attempt ended, or now.
func tell(lab *labs.Lab, events []labs.Event, requests []trail.Request, end time.Time) *story {
	s := &story{lab: lab, end: end, open: map[string]time.Time{}, progress: labs.Fold(lab, nil)}
	for _, e := range events {
		s.progress.Apply(lab, e)
		s.hear(e)
		if s.fixed.IsZero() && e.Type == labs.EventTaskDone && s.repaired() {
			s.fixed = e.At
		}
	}
	s.hearRequests(requests)
	for kind := range s.open {
		s.close(kind, end)
	}
	for i := range s.moments {
		if m := &s.moments[i]; !s.ready.IsZero() {
			m.Into = clock(m.At.Sub(s.ready))
			if m.At.Before(s.ready) {
				m.Into = "−" + clock(s.ready.Sub(m.At))
			}
		}
	}
	return s
}

func (s *story) begin(kind string, at time.Time) {
	if _, going := s.open[kind]; !going {
		s.open[kind] = at
	}
}

func (s *story) close(kind string, at time.Time) {
	from, going := s.open[kind]
	if !going {
		return
	}
	delete(s.open, kind)
	s.spans = append(s.spans, span{kind, from, at})
}

// add tells of a moment; more may be empty.
func (s *story) add(e labs.Event, kind, text, more string) {
	s.moments = append(s.moments, moment{At: e.At, Kind: kind, Text: text, More: more, Run: s.progress.Resets})
}

// eventData is what of an event's data the story needs.
type eventData struct {
	Reason, Why, Answer, Tab, Text string
	Right, Up, Running             bool
	Index, Cost, Code, Skipped     int
	Early                          int
	TookMs                         int64
	Result                         grade.Result
}

func (s *story) hear(e labs.Event) {
	var d eventData
	if len(e.Data) > 0 {
		// Data of a later version's shape leaves the zero values.
		_ = json.Unmarshal(e.Data, &d)
		_ = json.Unmarshal(e.Data, &d.Result)
	}
	switch e.Type {
	case labs.EventTaskDone, labs.EventTaskUndone, labs.EventHint, labs.EventAnswer:
		s.hearTask(e, d)
	case labs.EventGuard:
		s.add(e, "guard", "A guard was violated", s.guardWords(e, d))
	case labs.EventTerminal:
		if !s.typed {
			s.typed = true
			s.firstLook(e.At)
			s.add(e, "look", "First key in the terminal", "")
		}
	case labs.EventShell:
		s.hearShell(e, d)
	case labs.EventCollateral:
		s.hearCollateral(e)
	case labs.EventService:
		s.hearService(e, d.Up)
	default:
		s.hearSession(e, d)
	}
}

func (s *story) hearSession(e labs.Event, d eventData) {
	switch e.Type {
	case labs.EventRequested:
		s.requested = e.At
		s.watched = s.lab.Watched(s.progress.Variant)
		s.begin("starting", e.At)
		s.add(e, "start", "The lab was asked for", "")
	case labs.EventReady:
		s.close("starting", e.At)
		s.begin("working", e.At)
		if s.ready.IsZero() {
			s.ready = e.At
			s.add(e, "ready", "The sandbox was handed over, broken as intended", "")
		} else {
			s.add(e, "ready", "The fresh sandbox was handed over", "")
		}
	case labs.EventFailed:
		s.stop(e.At)
		s.add(e, "trouble", "The start failed", d.Reason)
	case labs.EventReset:
		s.stop(e.At)
		s.resets = append(s.resets, e.At)
		s.begin("starting", e.At)
		s.add(e, "reset", "Reset: a fresh sandbox was asked for", "")
	case labs.EventTrouble:
		s.close("working", e.At)
		s.close("asleep", e.At)
		s.close("down", e.At)
		s.begin("trouble", e.At)
		s.add(e, "trouble", "The sandbox did not answer", d.Reason)
	case labs.EventRecovered:
		s.close("trouble", e.At)
		s.begin("working", e.At)
		s.add(e, "ready", "The sandbox answered again", "")
	case labs.EventFrozen:
		s.close("working", e.At)
		s.close("down", e.At)
		s.begin("asleep", e.At)
		s.add(e, "asleep", "The sandbox fell asleep", asleepWords(d.Why))
	case labs.EventKilled:
		s.add(e, "trouble", "The sandbox ran out of memory", "The kernel ended a process.")
	case labs.EventThawed:
		s.close("asleep", e.At)
		s.begin("working", e.At)
		s.add(e, "ready", "The sandbox was woken", "")
	case labs.EventEnded:
		s.stop(e.At)
		s.add(e, "end", "The end", endedWords(d.Why))
	}
}

// stop ends all that goes on.
func (s *story) stop(at time.Time) {
	for _, kind := range []string{"starting", "working", "trouble", "down", "asleep"} {
		s.close(kind, at)
	}
}

func (s *story) hearTask(e labs.Event, d eventData) {
	title := e.Task
	for _, t := range s.lab.Tasks {
		if t.ID == e.Task {
			title = t.Title
		}
	}
	switch e.Type {
	case labs.EventTaskDone:
		s.add(e, "done", "Done: "+title, "")
	case labs.EventTaskUndone:
		s.add(e, "undone", "No longer done: "+title, "")
	case labs.EventHint:
		cost := "free"
		if d.Cost > 0 {
			cost = "−" + plural(d.Cost, "point", "points")
		}
		s.add(e, "hint", fmt.Sprintf("Hint %d of “%s”", d.Index+1, title), cost)
	case labs.EventAnswer:
		answer := "“" + d.Answer + "”"
		if d.Early > 0 {
			answer += ", after " + plural(d.Early, "answer", "answers") + " refused for coming too fast"
		}
		if d.Right {
			s.add(e, "answer", "The right answer", answer)
		} else {
			s.add(e, "wrong", "A wrong answer", answer)
		}
	}
}

func (s *story) guardWords(e labs.Event, d eventData) string {
	return guardWords(s.lab, labs.CheckProgress{ID: e.Check, Result: d.Result})
}

func (s *story) hearService(e labs.Event, up bool) {
	if up {
		if from, down := s.open["down"]; down {
			s.add(e, "up", "The service answered its users", "it had been away for "+span{From: from, To: e.At}.took())
		}
		s.close("down", e.At)
		return
	}
	if _, down := s.open["down"]; !down {
		s.add(e, "down", "The service did not answer its users", "")
	}
	s.begin("down", e.At)
}

func (s span) took() string { return clock(s.To.Sub(s.From)) + " min" }

// marks are the moments that a player marks.
func (s *story) marks() []labs.RecordingMark {
	var out []labs.RecordingMark
	for _, m := range s.moments {
		switch m.Kind {
		case "answer", "hint", "done", "undone", "guard":
			out = append(out, labs.RecordingMark{At: m.At, Label: strings.TrimSpace(m.Text + " " + m.More)})
		}
	}
	return out
}

// figures are the times that tell how the repair went. The diagnosis is the
// first right answer; where nothing is asked, or before that, the first time
// that the learner turned to something that a check looks at.
func (s *story) figures() []figure {
	diagnosed, how := s.touch, "to the first command or question about what is broken"
	for _, t := range s.progress.Tasks {
		if t.Ask && t.Done && (how != diagnosedByAnswer || t.DoneAt.Before(diagnosed)) {
			diagnosed, how = t.DoneAt, diagnosedByAnswer
		}
	}
	out := []figure{
		{"To the first look", s.since(s.look), "from the hand-over to the first key, command or question to the cluster"},
		{"To the diagnosis", s.since(diagnosed), how},
		{"To the repair", s.since(s.fixed), "to the first moment that every check held"},
	}
	if s.lab.Service != nil {
		out = append(out, figure{"Service lost", clock(s.progress.ServiceDownAt(s.end)), "while its users were turned away"})
	}
	return out
}

const diagnosedByAnswer = "to the first right answer"

// since writes the time from the hand-over; a dash for what never happened.
func (s *story) since(at time.Time) string {
	if at.IsZero() || s.ready.IsZero() {
		return "–"
	}
	return clock(at.Sub(s.ready))
}

// chart is the attempt drawn to scale, in units of a viewBox of [chartWidth].
type chart struct {
	Bars  []chartBar
	Marks []chartMark
	Ticks []chartTick
}

type chartBar struct {
	Kind, X, Width, Title string
}

type chartMark struct {
	Kind, X, Title string
}

type chartTick struct{ X, Label string }

const (
	chartWidth = 1000
	// chartTicks is how many times the axis names: more run together on a telephone.
	chartTicks = 4
	// minBar keeps a moment's outage visible.
	minBar = 2.0
)

func (s *story) chart() chart {
	var c chart
	from := s.requested
	if from.IsZero() || !s.end.After(from) {
		return c
	}
	at := func(t time.Time) float64 {
		return min(max(0, float64(t.Sub(from))/float64(s.end.Sub(from))), 1) * chartWidth
	}
	unit := func(x float64) string { return fmt.Sprintf("%.1f", x) }
	for _, sp := range s.spans {
		c.Bars = append(c.Bars, chartBar{sp.Kind, unit(at(sp.From)), unit(max(minBar, at(sp.To)-at(sp.From))), barWords(sp.Kind) + ", " + sp.took()})
	}
	for _, m := range s.moments {
		switch m.Kind {
		case "look", "answer", "wrong", "hint", "done", "undone", "guard", "reset", "destroy":
			c.Marks = append(c.Marks, chartMark{m.Kind, unit(at(m.At)), strings.TrimSpace(m.Into + " " + m.Text + " " + m.More)})
		}
	}
	for i := range chartTicks + 1 {
		t := from.Add(s.end.Sub(from) * time.Duration(i) / chartTicks)
		c.Ticks = append(c.Ticks, chartTick{unit(at(t)), clock(t.Sub(from))})
	}
	return c
}

func barWords(kind string) string {
	switch kind {
	case "starting":
		return "The sandbox was being made"
	case "working":
		return "At work"
	case "trouble":
		return "The sandbox did not answer"
	case "asleep":
		return "The sandbox was asleep"
	default:
		return "The service did not answer its users"
	}
}

// y and height place a bar: what the learner was at above, what the service's users met below.
func (b chartBar) y() string {
	if b.Kind == "down" {
		return "62"
	}
	return "28"
}

func (b chartBar) height() string {
	if b.Kind == "down" {
		return "12"
	}
	return "22"
}
