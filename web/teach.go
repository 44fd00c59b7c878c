package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"
)

const (
	// teachSince is how long an ended attempt stays in the live table: a day of teaching.
	teachSince = 12 * time.Hour
	// idleAfter: who has not typed, answered or asked for so long is shown as idle.
	idleAfter = 5 * time.Minute
	// stuckAfter is how long one task may take before the table points at it.
	stuckAfter = 10 * time.Minute
)

// teachView is the live table of one cohort, or of everyone.
type teachView struct {
	Cohort  int64 // 0: everyone
	Cohorts []store.Cohort
	Summary teachSummary
	Rows    []learnerRows
	At      time.Time
}

// teachSummary counts learners by what they are doing.
type teachSummary struct{ Learners, Working, Idle, Trouble, Done, Away int }

// learnerRows is one learner with the attempts to show.
type learnerRows struct {
	User     store.User
	Attempts []attemptRow // running ones, else the newest that ended; may be empty
}

// attemptRow is one attempt as it stands.
type attemptRow struct {
	ID, Lab    string
	State      string // starting, working, idle, asleep, trouble, finished, ended, failed
	Since      time.Time
	Tasks      []labs.TaskProgress
	Done       int
	Current    string // title of the first task that is not done
	Began      time.Time
	Stuck      bool
	Score, Max int
	Hints      int
	Guards     []string // what was violated, in words
	Activity   time.Time
	Reason     string // of trouble
	Running    bool
}

// link leads to the running session, to watch it, or to the report.
func (row attemptRow) link() link {
	if row.Running {
		return link{"/sessions/" + row.ID, "Watch"}
	}
	return link{"/attempts/" + row.ID, "Report"}
}

func (s *server) teach(w http.ResponseWriter, r *http.Request, _ store.User) error {
	cohort, err := s.cohortOf(r)
	if err != nil {
		return err
	}
	rows, err := s.learnerRows(r.Context(), cohort, map[string]attemptRow{})
	if err != nil {
		return err
	}
	view := teachView{Cohort: cohort, Rows: rows, Summary: summarize(rows), At: s.Now()}
	if view.Cohorts, err = s.Store.Cohorts(r.Context()); err != nil {
		return err
	}
	page := s.page(r, "Teach")
	page.Active, page.Shape = "teach", "wide"
	page.Styles, page.Scripts = []string{"teach.css"}, []string{"teach.js"}
	return s.render(w, r, http.StatusOK, teachPage(page, view))
}

// cohortOf is the cohort that the address asks for; 0, everyone, without one.
func (s *server) cohortOf(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("cohort")
	if text == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 0 {
		return 0, notFound("cohort")
	}
	if id == 0 {
		return 0, nil
	}
	_, err = s.Store.Cohort(r.Context(), id)
	return id, err
}

// learnerRows are all learners of a cohort (0: of all), by name. Attempts that
// have ended are taken from ended, or put there: of them only the grade can
// still change.
func (s *server) learnerRows(ctx context.Context, cohort int64, ended map[string]attemptRow) ([]learnerRows, error) {
	roster, err := s.Store.Roster(ctx, cohort, s.Now().Add(-teachSince))
	if err != nil {
		return nil, err
	}
	shown := currentAttempts(roster)
	events, err := s.eventsOfOthers(ctx, shown, ended)
	if err != nil {
		return nil, err
	}
	var rows []learnerRows
	for _, line := range shown {
		if len(rows) == 0 || rows[len(rows)-1].User.ID != line.User.ID {
			rows = append(rows, learnerRows{User: line.User})
		}
		if line.Attempt.ID != "" {
			last := &rows[len(rows)-1]
			row, known := ended[line.Attempt.ID]
			if !known {
				if row, err = s.attemptRow(ctx, line, events[line.Attempt.ID]); err != nil {
					return nil, err
				}
			}
			if !line.Attempt.Ended.IsZero() {
				ended[line.Attempt.ID] = row
			}
			if line.Score.Scored && !row.Running {
				row.Score, row.Max = line.Score.Points, line.Score.Max
			}
			last.Attempts = append(last.Attempts, row)
		}
	}
	return rows, nil
}

// currentAttempts keeps of each learner the running attempts, or the newest
// when none runs.
func currentAttempts(roster []store.Row) []store.Row {
	running := map[int64]bool{}
	for _, line := range roster {
		if line.Attempt.ID != "" && line.Attempt.Ended.IsZero() {
			running[line.User.ID] = true
		}
	}
	seen := map[int64]bool{}
	return slices.DeleteFunc(roster, func(line store.Row) bool {
		if running[line.User.ID] {
			return !line.Attempt.Ended.IsZero()
		}
		first := !seen[line.User.ID]
		seen[line.User.ID] = true
		return !first
	})
}

// eventsOfOthers reads the logs of those attempts that no session holds and
// that are not known yet.
func (s *server) eventsOfOthers(ctx context.Context, roster []store.Row, known map[string]attemptRow) (map[string][]labs.Event, error) {
	var ids []string
	for _, line := range roster {
		_, running := s.Sessions.Get(line.Attempt.ID)
		if _, seen := known[line.Attempt.ID]; line.Attempt.ID != "" && !running && !seen {
			ids = append(ids, line.Attempt.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return s.Store.EventsOf(ctx, ids)
}

// attemptRow says where an attempt stands.
func (s *server) attemptRow(ctx context.Context, line store.Row, events []labs.Event) (attemptRow, error) {
	row := attemptRow{ID: line.Attempt.ID, Lab: line.Attempt.Lab, State: "ended", Since: line.Attempt.Ended, Score: line.Score.Points, Max: line.Score.Max, Running: line.Attempt.Ended.IsZero()}
	if session, running := s.Sessions.Get(line.Attempt.ID); running {
		row.fill(session.Lab(), session.Snapshot(), s.Now())
		return row, nil
	}
	lab, _, err := s.labOf(ctx, line.Attempt)
	if err == nil && lab.Version != "" {
		row.fill(lab, labs.Fold(lab, events), s.Now())
	}
	return row, err
}

func (row *attemptRow) fill(lab *labs.Lab, p labs.Progress, now time.Time) {
	row.Lab, row.Tasks, row.Done = lab.Title, p.Tasks, p.TasksDone()
	row.Score, row.Max, row.Activity, row.Reason = p.Score, p.MaxScore, p.LastActivity, p.Reason
	row.Began = p.Ready
	for _, t := range p.Tasks {
		row.Hints += t.HintsShown
		if !t.Done && row.Current == "" {
			row.Current = t.Title
		}
		if t.Done && t.DoneAt.After(row.Began) {
			row.Began = t.DoneAt
		}
	}
	for _, g := range p.Guards {
		if g.Result.Verdict == grade.Fail {
			row.Guards = append(row.Guards, guardWords(lab, g))
		}
	}
	row.State = stateOf(p, row.Current == "", now)
	row.Stuck = row.State == "working" && now.Sub(row.Began) >= stuckAfter
	if p.Phase.Over() {
		row.Current, row.Since = "", p.Ended
	}
}

func guardWords(lab *labs.Lab, g labs.CheckProgress) string {
	if g.Result.Reason != "" {
		return g.Result.Reason
	}
	for _, check := range lab.Guards {
		if check.ID == g.ID {
			return inWords(check.Else, check.ID)
		}
	}
	return g.ID
}

// stateOf is what a learner is doing in an attempt, in one word.
func stateOf(p labs.Progress, allDone bool, now time.Time) string {
	switch p.Phase {
	case labs.PhaseStarting:
		return "starting"
	case labs.PhaseTrouble:
		return "trouble"
	case labs.PhaseFailed:
		return "failed"
	case labs.PhaseEnded:
		return "ended"
	}
	switch {
	case allDone:
		return "finished"
	case p.Asleep:
		return "asleep"
	case now.Sub(p.LastActivity) >= idleAfter && now.Sub(p.Ready) >= idleAfter:
		return "idle"
	default:
		return "working"
	}
}

// stateWords is the text and the kind of badge of a row's state.
func stateWords(state string) (text, kind string) {
	switch state {
	case "starting":
		return "Starting", "info"
	case "working":
		return "Working", "info"
	case "idle":
		return "Idle", "warn"
	case "asleep":
		return "Asleep", "plain"
	case "trouble":
		return "Trouble", "bad"
	case "finished":
		return "All done", "pass"
	case "failed":
		return "Did not start", "bad"
	default:
		return "Ended", "plain"
	}
}

func summarize(rows []learnerRows) teachSummary {
	sum := teachSummary{Learners: len(rows)}
	for _, row := range rows {
		switch row.state() {
		case "starting", "working":
			sum.Working++
		case "idle", "asleep":
			sum.Idle++
		case "trouble", "failed":
			sum.Trouble++
		case "finished", "ended":
			sum.Done++
		default:
			sum.Away++
		}
	}
	return sum
}

// state is that of the attempt which needs an instructor most.
func (row learnerRows) state() string {
	for _, urgent := range []string{"trouble", "failed", "idle", "working", "asleep", "starting", "finished", "ended"} {
		for _, a := range row.Attempts {
			if a.State == urgent {
				return urgent
			}
		}
	}
	return ""
}

// teachStream is one browser's stream of the live table: it remembers what
// the browser has, and sends only what differs.
type teachStream struct {
	server *server
	cohort int64
	w      http.ResponseWriter
	sent   map[string]string // by the id of the element: its HTML as sent
	ended  map[string]attemptRow
}

const (
	// teachGather is how long changes are gathered before they are sent: far
	// below what anyone notices, and a burst of results is one message.
	teachGather = 100 * time.Millisecond
	// teachRefresh is how often everything is looked at anew, for what no
	// event tells: idle learners, new accounts. It also keeps proxies from
	// closing the stream.
	teachRefresh = 10 * time.Second
)

// teachEvents streams changes of the live table: one EventSource per tab, whose
// messages carry rows rendered by the same components as the page.
func (s *server) teachEvents(w http.ResponseWriter, r *http.Request, _ store.User) error {
	cohort, err := s.cohortOf(r)
	if err != nil {
		return err
	}
	events, cancel := s.Sessions.Subscribe(func(e labs.Event) bool { return e.Type != labs.EventShell }) // of which the table shows nothing
	defer cancel()
	streamHeader(w)
	stream := &teachStream{server: s, cohort: cohort, w: w, sent: map[string]string{}, ended: map[string]attemptRow{}}
	if err := stream.refresh(r.Context()); err != nil {
		return err
	}
	stream.follow(r.Context(), events)
	return nil
}

// follow sends what changes until the reader goes away or lags too far behind;
// its browser then connects again and begins anew.
func (t *teachStream) follow(ctx context.Context, events <-chan labs.Event) {
	tick := time.NewTicker(teachRefresh)
	defer tick.Stop()
	gather := time.NewTimer(0)
	<-gather.C
	waiting := false
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				return
			}
			if !waiting {
				waiting = true
				gather.Reset(teachGather)
			}
			continue
		case <-gather.C:
			waiting = false
		case <-tick.C:
		}
		if err := t.refresh(ctx); err != nil {
			if ctx.Err() == nil {
				t.server.Log.Warn("the live table's stream ended", "err", err)
			}
			return
		}
	}
}

// refresh sends the rows and the summary that differ from what was sent.
func (t *teachStream) refresh(ctx context.Context) error {
	rows, err := t.server.learnerRows(ctx, t.cohort, t.ended)
	if err != nil {
		return err
	}
	have := map[string]string{}
	var changed strings.Builder
	for _, row := range rows {
		if err := t.note(ctx, have, &changed, row); err != nil {
			return err
		}
	}
	var summary strings.Builder
	if err := teachCounts(summarize(rows)).Render(ctx, &summary); err != nil {
		return err
	}
	have["summary"] = summary.String()
	if have["summary"] != t.sent["summary"] {
		t.send("summary", have["summary"])
	}
	if changed.Len() > 0 {
		t.send("rows", changed.String())
	}
	for id := range t.sent {
		if _, still := have[id]; !still {
			t.send("gone", id)
		}
	}
	t.sent = have
	fmt.Fprint(t.w, ":\n\n")
	return http.NewResponseController(t.w).Flush()
}

func (t *teachStream) note(ctx context.Context, have map[string]string, changed *strings.Builder, row learnerRows) error {
	var b strings.Builder
	if err := learnerBody(row).Render(ctx, &b); err != nil {
		return err
	}
	id := "learner-" + strconv.FormatInt(row.User.ID, 10)
	have[id] = b.String()
	if have[id] != t.sent[id] {
		changed.WriteString(have[id])
	}
	return nil
}

// send writes one message; a line break in data begins a new data line.
func (t *teachStream) send(event, data string) {
	fmt.Fprintf(t.w, "event: %s\ndata: %s\n\n", event, strings.ReplaceAll(data, "\n", "\ndata: "))
}
