package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

// maxEvidenceShown bounds what the report shows of what one check saw: enough
// for an object of Kubernetes, where a list of all of a kind can be endless.
const maxEvidenceShown = 24 << 10

// reportView is what an attempt was worth, and why.
type reportView struct {
	ID       string
	Lab      *labs.Lab
	Progress labs.Progress
	Grade    gradeView
	Own      bool
	Learner  string
	Running  bool
	Gone     bool // the lab is not in the catalogue any more
	Nameless bool // nor is what it was kept
	Changed  bool // the lab has changed since, and only what it is today is known
	Article  *content.Article
	Tasks    []reportTask
	Guards   []reportCheck
	Times    []figure
	Chart    chart
	Moments  []moment
	Groups   []group
	LeftOut  int // moments that the timeline has no room for
	Trail    labs.Trail
	Else     []otherwise // what is otherwise than at hand-over
	ElseMore int
	Casts    []cast
	Kept     *keptView // nil: nothing is
}

// reportTask is a task with what each of its checks said and saw.
type reportTask struct {
	task
	Answers []givenAnswer
	Checks  []reportCheck
}

// givenAnswer is an answer to a question.
type givenAnswer struct {
	Text  string
	Right bool
}

// reportCheck is a check's last result.
type reportCheck struct {
	ID     string
	Guard  bool
	Words  string // what it looks for, or why it does not hold
	Result grade.Result
	Saw    string // the evidence that decided it, as JSON; may be empty
	Error  string // why it could not look
}

// figure is a measured time of the report.
type figure struct{ Name, Value, Hint string }

// cast is a recording of a terminal.
type cast struct {
	Name, URL string
	Run       int // how many resets came before it
	Tab       string
}

// attempt is the report of an attempt, also of one that is still running.
func (s *server) attempt(w http.ResponseWriter, r *http.Request, user store.User) error {
	attempt, err := s.attemptFor(r, user)
	if err != nil {
		return err
	}
	view, err := s.reportView(r, attempt, user)
	if err != nil {
		return err
	}
	page := s.page(r, "Report: "+view.Lab.Title)
	page.Active, page.Shape = "labs", "wide"
	page.Styles = []string{"report.css"}
	if len(view.Casts) > 0 {
		page.Scripts = []string{"report.js"}
		// The player's terminal is WebAssembly; see docs/decisions.
		w.Header().Set("Content-Security-Policy", strings.Replace(contentPolicy, "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'", 1))
	}
	return s.render(w, r, http.StatusOK, reportPage(page, view))
}

// attemptFor finds an attempt that the user may see: their own, or as an instructor anyone's.
func (s *server) attemptFor(r *http.Request, user store.User) (labs.Attempt, error) {
	attempt, err := s.Store.Attempt(r.Context(), chi.URLParam(r, "id"))
	if errors.Is(err, store.ErrNotFound) || (err == nil && attempt.User != user.ID && user.Role != store.RoleInstructor) {
		return attempt, notFound("attempt")
	}
	return attempt, err
}

func (s *server) reportView(r *http.Request, attempt labs.Attempt, user store.User) (reportView, error) {
	ctx := r.Context()
	events, err := s.Store.Events(ctx, attempt.ID, 0)
	if err != nil {
		return reportView{}, err
	}
	evidence, err := s.Store.LastEvidence(ctx, attempt.ID)
	if err != nil {
		return reportView{}, err
	}
	learner, err := s.Store.User(ctx, attempt.User)
	if err != nil {
		return reportView{}, err
	}
	lab, own, err := s.labOf(ctx, attempt)
	if err != nil {
		return reportView{}, err
	}
	_, listed := s.Labs.Get(attempt.Lab)
	view := reportView{
		ID: attempt.ID, Lab: lab, Progress: labs.Fold(lab, events),
		Own: attempt.User == user.ID, Learner: learner.Name,
		Gone: !listed, Nameless: lab.Version == "", Changed: lab.Version != "" && !own,
	}
	if view.Grade, err = s.gradeView(r, attempt, view.Progress, user); err != nil {
		return reportView{}, err
	}
	_, view.Running = s.Sessions.Get(attempt.ID)
	view.Article, _ = s.Library().Article(lab.Article)
	view.addTasks(events, lastSeenBy(evidence), view.veiled(user))
	view.Trail = labs.ReadTrail(evidence)
	story := tell(lab, events, view.Trail.Requests, view.end(s.Now()))
	view.LeftOut = story.fit()
	view.Times, view.Chart, view.Moments, view.Groups = story.figures(), story.chart(), story.moments, groups(story.moments)
	view.Else, view.ElseMore = collateralOf(lab, view.Progress, view.Trail)
	if view.Kept, err = s.keptView(r, attempt, user); err != nil {
		return view, err
	}
	view.Casts, err = s.casts(attempt.ID, view.Progress.Resets)
	return view, err
}

// hintsTaken says how many hints were shown, and their price.
func (t reportTask) hintsTaken() string {
	text := plural(t.HintsShown, "hint", "hints") + " taken"
	if t.HintCost > 0 {
		text += ", which cost " + plural(t.HintCost, "point", "points")
	}
	return text + "."
}

// end is when the attempt ended, or now.
func (v reportView) end(now time.Time) time.Time {
	if v.Progress.Ended.IsZero() {
		return now
	}
	return v.Progress.Ended
}

// lastSeenBy is the evidence by check; of one made of parts, that of the part that was seen last.
func lastSeenBy(evidence []grade.Evidence) map[string]grade.Evidence {
	last := map[string]grade.Evidence{}
	for _, e := range evidence {
		check, _, _ := strings.Cut(e.Check, "/")
		if !e.At.Before(last[check].At) {
			last[check] = e
		}
	}
	return last
}

// addTasks tells how the tasks and guards stand. Of an attempt that is not over
// its learner does not see what the lab withholds.
func (v *reportView) addTasks(events []labs.Event, seen map[string]grade.Evidence, veiled bool) {
	saw := func(check string) grade.Evidence {
		e := seen[check]
		if veiled && v.Lab.Withholds(v.Progress, check) {
			e.Data = nil
		}
		return e
	}
	shown := sessionView{ID: v.ID, Lab: v.Lab, Progress: v.Progress}
	for _, t := range shown.tasks() {
		report := reportTask{task: t}
		for _, e := range events {
			var given struct {
				Answer string
				Right  bool
			}
			if e.Type == labs.EventAnswer && e.Task == t.ID() && json.Unmarshal(e.Data, &given) == nil {
				report.Answers = append(report.Answers, givenAnswer{given.Answer, given.Right})
			}
		}
		for i, c := range t.TaskProgress.Checks {
			report.Checks = append(report.Checks, reportOf(c, t.Task.Checks[i], saw(c.ID)))
		}
		v.Tasks = append(v.Tasks, report)
	}
	for i, g := range v.Progress.Guards {
		report := reportOf(g, v.Lab.Guards[i], saw(g.ID))
		report.Guard = true
		v.Guards = append(v.Guards, report)
	}
}

func reportOf(c labs.CheckProgress, def grade.Check, saw grade.Evidence) reportCheck {
	out := reportCheck{ID: c.ID, Words: c.Result.Reason, Result: c.Result, Error: saw.Error}
	if out.Words == "" || c.Result.Verdict == grade.Pass {
		out.Words = inWords(def.Else, def.ID)
	}
	out.Saw = readable(saw.Data)
	return out
}

// casts lists the recordings of an attempt, those after each reset on their own.
func (s *server) casts(attempt string, resets int) ([]cast, error) {
	var all []cast
	for run := range resets + 1 {
		tabs, err := labs.Recordings(labs.RecordingDir(s.Recordings, attempt, run))
		if err != nil {
			return nil, err
		}
		slices.SortFunc(tabs, func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
		for _, tab := range tabs {
			name := "Terminal " + tab
			if run > 0 {
				name += fmt.Sprintf(", after reset %d", run)
			}
			all = append(all, cast{Run: run, Tab: tab, Name: name, URL: fmt.Sprintf("/attempts/%s/recordings/%d/%s.cast", attempt, run, tab)})
		}
	}
	return all, nil
}

// recording sends a terminal's recording, with marks where something happened.
func (s *server) recording(w http.ResponseWriter, r *http.Request, user store.User) error {
	attempt, err := s.attemptFor(r, user)
	if err != nil {
		return err
	}
	run, err := strconv.Atoi(chi.URLParam(r, "run"))
	if err != nil || run < 0 {
		return notFound("recording")
	}
	file, err := labs.OpenRecording(labs.RecordingDir(s.Recordings, attempt.ID, run), chi.URLParam(r, "tab"))
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("recording")
	}
	if err != nil {
		return fmt.Errorf("open a recording: %w", err)
	}
	defer file.Close()
	events, err := s.Store.Events(r.Context(), attempt.ID, 0)
	if err != nil {
		return err
	}
	lab, _, err := s.labOf(r.Context(), attempt)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-asciicast")
	w.Header().Set("Cache-Control", "private, no-cache")
	story := tell(lab, ofRun(events, run), nil, s.Now())
	if err := labs.WriteRecording(w, file, story.marks()); err != nil {
		s.Log.Debug("a recording was not sent to its end", "attempt", attempt.ID, "err", err)
	}
	return nil
}

// ofRun are the events between one reset and the next.
func ofRun(events []labs.Event, run int) []labs.Event {
	var out []labs.Event
	resets := 0
	for _, e := range events {
		if e.Type == labs.EventReset {
			resets++
		}
		if resets == run {
			out = append(out, e)
		}
	}
	return out
}
