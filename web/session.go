package web

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

// routesSession adds the running lab's page, its streams and the report.
func (s *server) routesSession(r chi.Router) {
	r.Get("/sessions/{id}", s.handle(s.needUser(s.session)))
	r.Get("/sessions/{id}/events", s.handle(s.needUser(s.sessionEvents)))
	r.Get("/sessions/{id}/terminal", s.handle(s.needUser(s.terminal)))
	r.Post("/sessions/{id}/tabs/{tab}/close", s.handle(s.needUser(s.closeTab)))
	r.Post("/sessions/{id}/answer", s.handle(s.needUser(s.ownSession(s.answer))))
	r.Post("/sessions/{id}/hint", s.handle(s.needUser(s.ownSession(s.hint))))
	r.Post("/sessions/{id}/check", s.handle(s.needUser(s.ownSession(s.checkNow))))
	r.Post("/sessions/{id}/wake", s.handle(s.needUser(s.ownSession(s.wakeUp))))
	r.Post("/sessions/{id}/extend", s.handle(s.needUser(s.ownSession(s.extend))))
	r.Post("/sessions/{id}/reset", s.handle(s.needUser(s.ownSession(s.reset))))
	r.Post("/sessions/{id}/end", s.handle(s.needUser(s.ownSession(s.end))))
	r.Get("/attempts/{id}", s.handle(s.needUser(s.attempt)))
	r.Get("/attempts/{id}/grade", s.handle(s.needInstructor(s.changeGradeForm)))
	r.Post("/attempts/{id}/grade", s.handle(s.needInstructor(s.changeGrade)))
	r.Get("/attempts/{id}/sandbox", s.handle(s.needInstructor(s.keptSandbox)))
	r.Get("/attempts/{id}/sandbox/terminal", s.handle(s.needInstructor(s.keptTerminal)))
	r.Post("/attempts/{id}/sandbox/tabs/{tab}/close", s.handle(s.needInstructor(s.closeKeptTab)))
	r.Get("/attempts/{id}/sandbox/remove", s.handle(s.needInstructor(s.removeKeptForm)))
	r.Post("/attempts/{id}/sandbox/remove", s.handle(s.needInstructor(s.removeKept)))
	r.Get("/attempts/{id}/evidence/{check}", s.handle(s.needUser(s.evidence)))
	r.Get("/attempts/{id}/recordings/{run}/{tab}.cast", s.handle(s.needUser(s.recording)))
}

// sessionView is the page of a running lab.
type sessionView struct {
	ID       string
	Lab      *labs.Lab
	Progress labs.Progress
	// Controls: it is the reader's own session. Instructors only watch.
	Controls bool
	Learner  string // whose it is, when watched
	Parts    []instruction
	Article  *content.Article
	Typical  map[string]time.Duration // how long a stage usually takes
	Tabs     []string
	Now      time.Time
}

// instruction is a piece of the README: what stands before the first task, or
// a task with what belongs to it.
type instruction struct {
	Task string // empty: belongs to none
	HTML string
}

// session shows a lab from the click on its start to the end.
func (s *server) session(w http.ResponseWriter, r *http.Request, user store.User) error {
	id := chi.URLParam(r, "id")
	attempt, err := s.Store.Attempt(r.Context(), id)
	if err != nil || (attempt.User != user.ID && user.Role != store.RoleInstructor) {
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return notFound("session")
		}
		return err
	}
	if running, ok := s.Sessions.Get(id); ok && attempt.User == user.ID {
		running.Touch() // who opens the page is about to work
	}
	view, err := s.sessionView(r.Context(), attempt, user)
	if err != nil {
		return err
	}
	if view.Progress.Phase == labs.PhaseEnded {
		return redirect(w, r, "/attempts/"+id)
	}
	page := s.page(r, view.Lab.Title)
	page.Active, page.Shape = "labs", "app"
	page.Styles = []string{"article.css", highlightSheet, "session.css"}
	page.Scripts = []string{"session.js"}
	return s.render(w, r, http.StatusOK, sessionPage(page, view))
}

// sessionView gathers what the page shows, of a session that runs or of one
// that failed to start.
func (s *server) sessionView(ctx context.Context, attempt labs.Attempt, user store.User) (sessionView, error) {
	view := sessionView{ID: attempt.ID, Controls: attempt.User == user.ID, Now: s.Now(), Tabs: []string{"1"}}
	if session, ok := s.Sessions.Get(attempt.ID); ok {
		view.Lab, view.Progress = session.Lab(), session.Snapshot()
		if hub := session.Terminal(); hub != nil && len(hub.Tabs()) > 0 {
			view.Tabs = hub.Tabs()
		}
	} else {
		events, err := s.Store.Events(ctx, attempt.ID, 0)
		if err != nil {
			return view, err
		}
		if view.Lab, _, err = s.labOf(ctx, attempt); err != nil {
			return view, err
		}
		view.Progress = labs.Fold(view.Lab, events)
		if !view.Progress.Phase.Over() { // it is being ended, or the server is stopping
			view.Progress.Phase = labs.PhaseTrouble
			view.Progress.Reason = "The session is not there at this moment. Reload the page in a few seconds."
		}
	}
	view.Article, _ = s.Library().Article(view.Lab.Article)
	var err error
	if view.Parts, err = instructions(view.Lab); err != nil {
		return view, err
	}
	if !view.Controls {
		learner, err := s.Store.User(ctx, attempt.User)
		if err != nil {
			return view, err
		}
		view.Learner = learner.Name
	}
	view.Typical, err = s.typicalStages(ctx, view.Lab.Slug)
	return view, err
}

// labOf is the lab as the attempt was made with it; own is false where only
// the lab of today is known. Of one that is gone for good the name is left.
func (s *server) labOf(ctx context.Context, attempt labs.Attempt) (lab *labs.Lab, own bool, err error) {
	lab, own, err = s.Sessions.LabOf(ctx, attempt)
	if errors.Is(err, labs.ErrNotKept) {
		return &labs.Lab{Slug: attempt.Lab, Title: attempt.Lab}, false, nil
	}
	return lab, own, err
}

// taskHeading begins the part of the rendered README that belongs to a heading of the second level.
var taskHeading = regexp.MustCompile(`<h2 id="([^"]*)">`)

// instructions renders a lab's README and divides it into its parts.
func instructions(lab *labs.Lab) ([]instruction, error) {
	doc, err := content.Render("README.md", []byte(lab.Readme), content.Options{})
	if err != nil {
		return nil, fmt.Errorf("render the instructions of lab %s: %w", lab.Slug, err)
	}
	text := doc.HTML
	if _, rest, ok := strings.Cut(text, "</h1>"); ok { // the page has the title already
		text = rest
	}
	starts := taskHeading.FindAllStringSubmatchIndex(text, -1)
	if len(starts) == 0 {
		return []instruction{{HTML: text}}, nil
	}
	parts := []instruction{{HTML: text[:starts[0][0]]}}
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		part := instruction{HTML: text[at[0]:end]}
		if id := html.UnescapeString(text[at[2]:at[3]]); slices.ContainsFunc(lab.Tasks, func(t labs.Task) bool { return t.ID == id }) {
			part.Task = id
			_, part.HTML, _ = strings.Cut(part.HTML, "</h2>") // the task's heading is made of its state
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// typicalAttempts is of how many earlier starts the usual times are taken.
const typicalAttempts = 9

// typicalStages is how long the stages of a lab's start took of late: the median.
func (s *server) typicalStages(ctx context.Context, lab string) (map[string]time.Duration, error) {
	attempts, err := s.Store.Attempts(ctx, store.AttemptFilter{Lab: lab, Limit: typicalAttempts})
	if err != nil {
		return nil, fmt.Errorf("look up earlier starts: %w", err)
	}
	var ids []string
	for _, a := range attempts {
		ids = append(ids, a.ID)
	}
	logs, err := s.Store.EventsOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up earlier starts: %w", err)
	}
	took := map[string][]time.Duration{}
	for _, events := range logs {
		for _, stage := range labs.Fold(&labs.Lab{}, events).Stages {
			if stage.Done {
				took[stage.Name] = append(took[stage.Name], stage.Took)
			}
		}
	}
	typical := map[string]time.Duration{}
	for name, times := range took {
		slices.Sort(times)
		typical[name] = times[len(times)/2]
	}
	return typical, nil
}

// task is a task's definition and how it stands.
type task struct {
	labs.Task
	labs.TaskProgress
	session  string
	controls bool     // forms are offered
	choices  []string // of a question, as the attempt's variant has them
}

// ID is the task's, which both halves have.
func (t task) ID() string { return t.Task.ID }

// chose reports whether the last answer named a choice.
func (t task) chose(choice string) bool {
	return slices.Contains(strings.Split(t.LastAnswer, "\n"), choice)
}

// lastInOneLine is the last answer, with commas between the things that it named.
func (t task) lastInOneLine() string { return strings.ReplaceAll(t.LastAnswer, "\n", ", ") }

func (v sessionView) tasks() []task {
	var out []task
	for i, def := range v.Lab.Tasks {
		t := task{Task: def, session: v.ID, controls: v.Controls && v.Progress.Phase == labs.PhaseRunning}
		if i < len(v.Progress.Tasks) {
			t.TaskProgress = v.Progress.Tasks[i]
		}
		if def.Ask != nil {
			t.choices = def.Ask.ChoicesIn(v.Lab.Vars(v.Progress.Variant))
		}
		out = append(out, t)
	}
	return out
}

func (v sessionView) task(id string) task {
	for _, t := range v.tasks() {
		if t.ID() == id {
			return t
		}
	}
	return task{}
}

// state is done, failing once a check has looked and found it is not yet so, else open.
func (t task) state() string {
	switch {
	case t.Done:
		return "done"
	case slices.ContainsFunc(t.TaskProgress.Checks, func(c labs.CheckProgress) bool { return c.Result.Verdict == grade.Fail }):
		return "failing"
	default:
		return "open"
	}
}

// pointsShown is the points earned and to be earned, or the latter alone.
func (t task) pointsShown() string {
	if t.Done {
		return fmt.Sprintf("%d of %d", t.TaskProgress.Points, t.Max)
	}
	return strconv.Itoa(t.Max)
}

// passing counts the checks that hold.
func (t task) passing() int {
	n := 0
	for _, c := range t.TaskProgress.Checks {
		if c.Result.Verdict == grade.Pass {
			n++
		}
	}
	return n
}

// checksCount says how many of the checks hold.
func (t task) checksCount() string {
	text := fmt.Sprintf("%d of %s", t.passing(), plural(len(t.TaskProgress.Checks), "condition holds", "conditions hold"))
	if len(t.unmet()) > 0 {
		return text + "; still missing:"
	}
	return text + "."
}

// unmet are the checks that do not hold, or could not be looked at.
func (t task) unmet() []labs.CheckProgress {
	var out []labs.CheckProgress
	for _, c := range t.TaskProgress.Checks {
		if c.Result.Verdict == grade.Fail || c.Result.Verdict == grade.Error {
			out = append(out, c)
		}
	}
	return out
}

// nextHint is the hint that can be asked for now.
func (t task) nextHint() (hint labs.Hint, ok bool) {
	if t.HintsShown >= len(t.Hints) {
		return hint, false
	}
	return t.Hints[t.HintsShown], true
}

// hintLabel is the words of the button that shows the next hint.
func (t task) hintLabel() string {
	hint, _ := t.nextHint()
	label := "Show a hint"
	if len(t.Hints) > 1 {
		label = fmt.Sprintf("Show hint %d of %d", t.HintsShown+1, len(t.Hints))
	}
	if hint.Cost == 0 {
		return label + " (free)"
	}
	return label + " for " + plural(hint.Cost, "point", "points")
}

// guard is a guard's words and whether it was violated.
type guard struct {
	ID, Words string
	Violated  bool
}

func guardsOf(lab *labs.Lab, p labs.Progress) []guard {
	var out []guard
	for _, g := range p.Guards {
		out = append(out, guard{g.ID, guardWords(lab, g), g.Result.Verdict == grade.Fail})
	}
	return out
}

func (v sessionView) guards() []guard { return guardsOf(v.Lab, v.Progress) }

// extendable reports whether more time can be had.
func (v sessionView) extendable() bool {
	return v.Controls && v.Progress.Phase == labs.PhaseRunning && v.Progress.Expires.Before(v.Progress.Deadline)
}

// clock writes the time left as the script does.
func clock(d time.Duration) string {
	d = max(0, d).Truncate(time.Second)
	if d >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// seconds writes a measured time.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// millis is a time as scripts read it; 0 for none.
func millis(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// sessionHandler carries out what a learner asks of a session of their own.
type sessionHandler func(w http.ResponseWriter, r *http.Request, session *labs.Session) error

// ownSession is for the learner alone: to an instructor a form answers as if
// the session were not there, since the page has none for them.
func (s *server) ownSession(h sessionHandler) userHandler {
	return func(w http.ResponseWriter, r *http.Request, user store.User) error {
		session, learner, err := s.sessionFor(r, user)
		if err != nil {
			if attempt, known := s.Store.Attempt(r.Context(), chi.URLParam(r, "id")); known == nil && attempt.User == user.ID {
				return sessionProblem(labs.ErrOver)
			}
			return err
		}
		if !learner {
			return notFound("session")
		}
		if err := h(w, r, session); err != nil {
			return sessionProblem(err)
		}
		return nil
	}
}

// sessionProblem says in words why something can't be done in a session.
func sessionProblem(err error) error {
	var tooMany *labs.TooManyError
	var early *labs.TooFastError
	switch {
	case errors.As(err, &tooMany):
		return tooManySessions(tooMany)
	case errors.Is(err, fleet.ErrDraining):
		return problem(http.StatusServiceUnavailable, "No new labs at the moment",
			"Whoever runs this server is about to work on it, and lets no new labs begin. Labs that run go on, and articles stay readable. Try again later.")
	case errors.Is(err, fleet.ErrTooLarge), errors.Is(err, fleet.ErrKind):
		return problem(http.StatusServiceUnavailable, "This server can’t run this lab", "The reason: "+err.Error()+". Tell your instructor.")
	case errors.Is(err, labs.ErrOver):
		return problem(http.StatusConflict, "This session is over", "Nothing can be changed any more. Its report has the result.")
	case errors.Is(err, labs.ErrNotRunning):
		return problem(http.StatusConflict, "The lab is not running now", "Wait until the sandbox is there again, then try once more.")
	case errors.Is(err, labs.ErrStopping):
		return problem(http.StatusServiceUnavailable, "The server is being restarted", "Your work is kept. Wait a moment, then try once more.")
	case errors.Is(err, labs.ErrBusy):
		return problem(http.StatusConflict, "One thing after the other", "The sandbox is being started or reset. Wait until it is ready.")
	case errors.As(err, &early):
		return problem(http.StatusTooManyRequests, "Not so fast",
			fmt.Sprintf("Look at the system before you answer again. The next answer is taken in %s.", plural(int(early.Wait.Seconds())+1, "second", "seconds")))
	case errors.Is(err, labs.ErrNoMoreHints):
		return problem(http.StatusConflict, "There are no more hints", "All hints of this task are on the page.")
	case errors.Is(err, labs.ErrDeadline):
		return problem(http.StatusConflict, "No more time can be had", "The session has its longest time already.")
	case errors.Is(err, labs.ErrNoSuchTask):
		return notFound("task")
	default:
		return err
	}
}

// tooManySessions refuses a start, and leads to what has to end first.
func tooManySessions(e *labs.TooManyError) error {
	var titles []string
	p := problem(http.StatusConflict, "Too many labs are running", "")
	p.Heading = "Your running labs"
	for _, running := range e.Running {
		titles = append(titles, "“"+running.Lab().Title+"”")
		p.Suggestions = append(p.Suggestions, link{"/sessions/" + running.ID(), running.Lab().Title})
	}
	p.Text = fmt.Sprintf("You can have %s running at once, and you have: %s. End one of them first; its result is kept.",
		plural(e.Most, "lab", "labs"), strings.Join(titles, ", "))
	return p
}

// carriedOut answers a form: a script with nothing, since the event stream
// tells it what changed, a browser without one with the page.
func (s *server) carriedOut(w http.ResponseWriter, r *http.Request, session, anchor string) error {
	if !wantsPage(r) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	to := "/sessions/" + session
	if anchor != "" {
		to += "#" + anchor
	}
	return redirect(w, r, to)
}

// formTask is the task that a form is about.
func formTask(r *http.Request, session *labs.Session) (string, error) {
	id := r.PostFormValue("task")
	for _, t := range session.Lab().Tasks {
		if t.ID == id {
			return id, nil
		}
	}
	return "", labs.ErrNoSuchTask
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	task, err := formTask(r, session)
	if err != nil {
		return err
	}
	// formTask has parsed the form. Of several choices, each is a value of its own.
	answer := strings.TrimSpace(strings.Join(r.PostForm["answer"], "\n"))
	if answer == "" {
		return problem(http.StatusUnprocessableEntity, "There is no answer yet", "Choose or type one first.")
	}
	if _, _, err := session.Answer(r.Context(), task, answer); err != nil {
		return err
	}
	return s.carriedOut(w, r, session.ID(), task)
}

func (s *server) hint(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	task, err := formTask(r, session)
	if err != nil {
		return err
	}
	if _, err := session.Hint(r.Context(), task); err != nil {
		return err
	}
	return s.carriedOut(w, r, session.ID(), task)
}

func (s *server) checkNow(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	task, err := formTask(r, session)
	if err != nil {
		return err
	}
	session.Check(task)
	return s.carriedOut(w, r, session.ID(), task)
}

// wakeUp wakes a session that sleeps.
func (s *server) wakeUp(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	session.Touch()
	return s.carriedOut(w, r, session.ID(), "")
}

func (s *server) extend(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	if err := session.Extend(r.Context()); err != nil {
		return err
	}
	return s.carriedOut(w, r, session.ID(), "")
}

func (s *server) reset(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	if err := session.Reset(r.Context()); err != nil {
		return err
	}
	return s.carriedOut(w, r, session.ID(), "")
}

// end leads to the report: also a script goes there.
func (s *server) end(w http.ResponseWriter, r *http.Request, session *labs.Session) error {
	if err := session.End(r.Context(), "learner"); err != nil {
		return err
	}
	if !wantsPage(r) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return redirect(w, r, "/attempts/"+session.ID())
}

// described reports whether the README has a part for the task.
func (v sessionView) described(task string) bool {
	return slices.ContainsFunc(v.Parts, func(p instruction) bool { return p.Task == task })
}

// endedWords says why a session ended.
func endedWords(why string) string {
	switch why {
	case "learner":
		return "You ended it."
	case "expired":
		return "Its time was up. The score counts as it stood."
	case "instructor":
		return "An instructor ended it. The score counts as it stood."
	case "lost":
		return "Its sandbox was lost, through no fault of yours. The score counts as it stood."
	case "orphaned":
		return "Nobody had looked at it for a long time. The score counts as it stood."
	default:
		return "The score counts as it stood."
	}
}

// asleepWords says why a session was frozen.
func asleepWords(why string) string {
	if why == "away" {
		return "Its page was closed for a while."
	}
	return "Nobody has typed in it for a while."
}

// shortage is one limit of a sandbox that is reached or near.
type shortage struct{ What, Means string }

// shortWords says what a sandbox has little left of, and what follows from it.
func shortWords(p labs.Progress) []shortage {
	if p.Phase != labs.PhaseRunning {
		return nil
	}
	var words []shortage
	if !p.OutOfMemory.IsZero() {
		words = append(words, shortage{"The sandbox ran out of memory.",
			"The kernel ended a process that asked for more; its shell says “Killed”. Only this sandbox is affected."})
	}
	for _, r := range p.Short {
		switch r {
		case sandbox.Memory:
			if !p.OutOfMemory.IsZero() {
				continue // it ran out of it already
			}
			words = append(words, shortage{"The sandbox has little memory left.", "When there is none, the kernel ends the process that asks for more."})
		case sandbox.Processes:
			words = append(words, shortage{"The sandbox has nearly all the processes that it may have.", "New ones fail with “Resource temporarily unavailable”. End some of them, or reset."})
		case sandbox.Disk:
			words = append(words, shortage{"The sandbox’s disk is nearly full.", "Writing fails with “No space left on device” when it is. Delete what is not needed, or reset."})
		}
	}
	return words
}

// queueWords says how many are ahead of a start.
func queueWords(q labs.QueuePlace) string {
	if q.Place == 1 {
		return "You are next."
	}
	return fmt.Sprintf("You are number %d in the queue.", q.Place)
}

// standingWords says where a session stands that has no terminal.
func standingWords(v sessionView) string {
	switch v.Progress.Phase {
	case labs.PhaseStarting:
		if q := v.Progress.Queued; q.Place > 0 {
			return queueWords(q) + " " + queueEstimate(q, v.Now)
		}
		return "Your sandbox is being started."
	case labs.PhaseFailed:
		return "The lab could not be started."
	case labs.PhaseEnded:
		return "This session has ended."
	default:
		return ""
	}
}

// queueEstimate says how long the wait is expected to be from now on.
func queueEstimate(q labs.QueuePlace, now time.Time) string {
	left := q.Estimate - now.Sub(q.At)
	switch minutes := int((left + time.Minute/2) / time.Minute); {
	case q.Estimate == 0:
		return "How long it takes can’t be told yet. This page goes on by itself when it is your turn."
	case left <= 0:
		return "It should be your turn at any moment."
	case minutes <= 1:
		return "It takes about a minute at most until your turn."
	default:
		return fmt.Sprintf("It takes about %d minutes until your turn. This page goes on by itself.", minutes)
	}
}

// extension is how much more time one press gives.
func extension(p labs.Progress) string {
	more := min(labs.ExtendBy, p.Deadline.Sub(p.Expires))
	return plural(int((more+time.Minute-1)/time.Minute), "minute", "minutes")
}

// keyHelp is a line of the help: any of the keys does it.
type keyHelp struct {
	Keys []string
	Does string
}

// sessionKeys are the keys of the page; session.ts listens to them.
func sessionKeys() []keyHelp {
	return []keyHelp{
		{[]string{"F6", "Ctrl+`"}, "Go from the terminal to the instructions, and back"},
		{[]string{"Shift+F6"}, "Send F6 to the program in the terminal"},
		{[]string{"Ctrl+Shift+C"}, "Copy what is selected in the terminal"},
		{[]string{"Ctrl+Shift+V", "Shift+Insert"}, "Paste into the terminal"},
		{[]string{"Ctrl+Shift+F"}, "Search in the terminal"},
		{[]string{"Ctrl+Shift+E"}, "Open another terminal"},
		{[]string{"Alt+PgUp", "Alt+PgDn"}, "Go to the terminal before, or after, this one"},
		{[]string{"Shift+PgUp", "Shift+PgDn"}, "Scroll the terminal"},
		{[]string{"←", "→"}, "On the line between the panes: move it"},
	}
}
