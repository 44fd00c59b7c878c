package web

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

// Fleet is what the operator's page looks at and acts on; a [fleet.Fleet] is one.
type Fleet interface {
	Status(ctx context.Context) fleet.Status
	// Known is the same as it was some seconds ago; it costs nothing.
	Known() fleet.Status
	// Drain lets nobody in from now on, or does again. The error is that of
	// keeping that for the next run of the server.
	Drain(on bool) error
	Prune(ctx context.Context) (fleet.PruneReport, error)
	// DestroySandbox removes a sandbox by its own id, whatever it is used for.
	DestroySandbox(ctx context.Context, id string) error
	// Differences says what learners find otherwise in the sandboxes of a kind than they are promised.
	Differences(kind sandbox.Kind) []string
}

const (
	// fleetEvery is how often the engine is asked for all that the page shows,
	// however many look: it measures every container.
	fleetEvery = 2 * time.Second
	// fleetTimeout bounds one look; the page then says that the engine does not answer.
	fleetTimeout = 10 * time.Second
	// actTimeout bounds what a button does: removing an image takes seconds, a
	// dozen of them on a busy disk a minute.
	actTimeout = 2 * time.Minute
	// cpuSampleAge is how long a measurement tells of the processor's use now.
	cpuSampleAge = time.Minute
)

// adminPath is the operator's page, below which its buttons lead.
const adminPath = "/admin/sandboxes"

func (s *server) routesAdmin(r chi.Router) {
	if s.Fleet == nil {
		return
	}
	r.Get(adminPath, s.handle(s.needInstructor(s.sandboxes)))
	r.Get(adminPath+"/events", s.handle(s.needInstructor(s.sandboxEvents)))
	r.Post(adminPath+"/drain", s.handle(s.needOperator(s.drain)))
	r.Post(adminPath+"/prune", s.handle(s.needOperator(s.prune)))
	r.Post(adminPath+"/discard-spares", s.handle(s.needOperator(s.discardSpares)))
	r.Get(adminPath+"/{id}/destroy", s.handle(s.needOperator(s.destroySandboxForm)))
	r.Post(adminPath+"/{id}/destroy", s.handle(s.needOperator(s.destroySandbox)))
}

// needOperator lets operators through. Other instructors see the pages that
// lead here and are told what they lack; for everybody else there is nothing.
func (s *server) needOperator(h userHandler) handler {
	return s.needInstructor(func(w http.ResponseWriter, r *http.Request, user store.User) error {
		if !user.Operator {
			return problem(http.StatusForbidden, "Only operators do that",
				"You may look, but not change this. Whoever runs this server can make you an operator: drydock user role "+user.Login+" operator")
		}
		return h(w, r, user)
	})
}

// sandboxes shows all sandboxes of the server.
func (s *server) sandboxes(w http.ResponseWriter, r *http.Request, user store.User) error {
	view, err := s.sandboxesView(r.Context(), user)
	if err != nil {
		return err
	}
	page := s.page(r, "Sandboxes")
	page.Active, page.Shape = "sandboxes", "wide"
	page.Styles, page.Scripts = []string{"teach.css", "admin.css"}, []string{"admin.js"}
	return s.render(w, r, http.StatusOK, sandboxesPage(page, view))
}

// sandboxEvents streams the parts of the page that change.
func (s *server) sandboxEvents(w http.ResponseWriter, r *http.Request, user store.User) error {
	stream := newFragmentStream(w)
	tick := time.NewTicker(fleetEvery)
	defer tick.Stop()
	for {
		view, err := s.sandboxesView(r.Context(), user)
		if err == nil {
			err = stream.send(r.Context(), "", view.fragments())
		}
		if err != nil {
			if r.Context().Err() == nil {
				s.Log.Warn("the stream of the operator's page ended", "err", err)
			}
			return nil // the browser comes back by itself
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return nil
		}
	}
}

// fragments are the parts of the page that change while it is open.
func (v sandboxesView) fragments() []fragment {
	return []fragment{
		{id: "fleet-state", view: fleetState(v)},
		{id: "fleet-drain", view: fleetDrain(v)},
		{id: "fleet-memory", view: fleetMemory(v)},
		{id: "fleet-queue", view: fleetQueue(v)},
		{id: "fleet-sessions", view: fleetSessions(v)},
		{id: "fleet-templates", view: fleetTemplates(v)},
		{id: "fleet-others", view: fleetOthers(v)},
		{id: "fleet-starts", view: fleetStarts(v)},
		{id: "fleet-failures", view: fleetFailures(v)},
	}
}

// drain stops new sessions from being let in, or lets them in again.
func (s *server) drain(w http.ResponseWriter, r *http.Request, user store.User) error {
	f, err := readForm(r, "on")
	if err != nil {
		return err
	}
	on := f.Values["on"] == "yes"
	err = s.Fleet.Drain(on)
	s.fleetSeen.forget()
	s.Log.Info("an operator drains the server", "on", on, "by", user.Login, "err", err)
	text := "Labs can be started again."
	if on {
		text = "The server is draining: no lab is started any more, also after a restart. What runs goes on."
	}
	if err != nil {
		text += " But that could not be written down: a restart of the server forgets it."
	}
	s.notify(w, r, text)
	return redirect(w, r, adminPath)
}

// prune removes what nobody needs, and says what that was.
func (s *server) prune(w http.ResponseWriter, r *http.Request, user store.User) error {
	ctx, cancel := acting(r)
	defer cancel()
	report, err := s.Fleet.Prune(ctx)
	s.fleetSeen.forget()
	if _, some := fleet.Partly(err); err != nil && !some {
		return err
	}
	s.Log.Info("an operator pruned", "templates", len(report.Templates), "spares", len(report.Spares), "freed", report.Freed, "by", user.Login, "err", err)
	text := "There was no spare and no unused template. Leftovers, if there were any, are gone."
	if len(report.Templates)+len(report.Spares) > 0 {
		text = "Removed " + plural(len(report.Templates), "template", "templates") + " and " + plural(len(report.Spares), "spare", "spares") + "."
		if report.Freed > 0 {
			text += " " + byteSize(report.Freed) + " of disk are free again."
		}
	}
	s.notify(w, r, text+silentWords(err))
	return redirect(w, r, adminPath)
}

// silentWords says, after other words, which kinds of sandbox did not answer;
// nothing when all did.
func silentWords(err error) string {
	silent, some := fleet.Partly(err)
	if !some {
		return ""
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(silent.Kinds)) {
		kinds = append(kinds, string(kind))
	}
	return " Sandboxes of the kind " + strings.Join(kinds, " and ") + " did not answer: nothing of theirs was removed."
}

// discardSpares removes the spares. Unless the server drains, the pool makes new ones.
func (s *server) discardSpares(w http.ResponseWriter, r *http.Request, user store.User) error {
	ctx, cancel := acting(r)
	defer cancel()
	removed, status := 0, s.Fleet.Status(ctx)
	silent, some := fleet.Partly(status.Engine)
	for _, box := range status.Sandboxes {
		if box.Use != sandbox.Spare || some && silent.Kinds[box.Kind] != nil {
			continue
		}
		if err := s.Fleet.DestroySandbox(ctx, box.ID); err != nil {
			return err
		}
		removed++
	}
	s.fleetSeen.forget()
	s.Log.Info("an operator discarded the spares", "spares", removed, "by", user.Login)
	text := "There were no spares."
	if removed > 0 {
		text = "Removed " + plural(removed, "spare", "spares") + ". New ones are made in the background, unless the server drains."
	}
	s.notify(w, r, text+silentWords(status.Engine))
	return redirect(w, r, adminPath)
}

// acting is the context of what a button does: it goes on when the operator
// closes the page, for half a removal is none.
func acting(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), actTimeout)
}

// destroySandboxForm asks before it is done, and says whose session it is.
func (s *server) destroySandboxForm(w http.ResponseWriter, r *http.Request, user store.User) error {
	row, err := s.sandboxParam(r, user)
	if err != nil {
		return err
	}
	page := s.page(r, "Destroy a sandbox")
	page.Active = "sandboxes"
	return s.render(w, r, http.StatusOK, destroyPage(page, row))
}

// sandboxParam finds the sandbox of the address.
func (s *server) sandboxParam(r *http.Request, user store.User) (boxRow, error) {
	s.fleetSeen.forget() // what is about to be removed must be what is there
	view, err := s.sandboxesView(r.Context(), user)
	if err != nil {
		return boxRow{}, err
	}
	for _, row := range append(view.Sessions, view.Others...) {
		if row.Box.ID != "" && row.Box.ID == chi.URLParam(r, "id") {
			return row, nil
		}
	}
	p := notFound("sandbox")
	p.Text = "There is no sandbox of that name any more: its session has ended, or got a fresh one."
	p.Suggestions = []link{{adminPath, "All sandboxes"}}
	return boxRow{}, p
}

// destroySandbox ends the session that the sandbox serves, so that its results
// are stored, or else removes the sandbox by its own id.
func (s *server) destroySandbox(w http.ResponseWriter, r *http.Request, user store.User) error {
	row, err := s.sandboxParam(r, user)
	if err != nil {
		return err
	}
	s.Log.Info("an operator destroys a sandbox", "sandbox", row.Box.ID, "session", row.Box.Session, "by", user.Login)
	if session, running := s.Sessions.Get(row.Box.Session); running {
		// It removes the sandbox behind it, and tries until that is done.
		if err := session.End(r.Context(), "instructor"); err != nil {
			return err
		}
		s.notify(w, r, "The session of "+row.who()+" is over and its results are kept. Its sandbox is being removed.")
	} else {
		ctx, cancel := acting(r)
		defer cancel()
		if err := s.Fleet.DestroySandbox(ctx, row.Box.ID); err != nil {
			return err
		}
		s.notify(w, r, "The sandbox "+row.Box.ID+" is removed.")
	}
	s.fleetSeen.forget()
	return redirect(w, r, adminPath)
}

// fleetWatch keeps what the fleet said last, so that many who look cost as much as one.
type fleetWatch struct {
	fleet Fleet
	now   func() time.Time

	mu     sync.Mutex // held while the engine is asked: the others wait for the same answer
	at     time.Time
	status fleet.Status
	cpu    map[string]cpuSample
}

// cpuSample is what a sandbox had used of the processor when it was measured.
type cpuSample struct {
	at    time.Time
	used  time.Duration
	cores float64 // between the last two measurements; negative: not known
}

// look returns the status as it was at most [fleetEvery] ago.
func (w *fleetWatch) look(ctx context.Context) (fleet.Status, map[string]float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at.IsZero() || w.now().Sub(w.at) >= fleetEvery/2 {
		// Not the context of the one who asks: others wait for this answer, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fleetTimeout)
		defer cancel()
		w.status, w.at = w.fleet.Status(ctx), w.now()
		w.sample()
	}
	cores := map[string]float64{}
	for id, c := range w.cpu {
		if c.cores >= 0 {
			cores[id] = c.cores
		}
	}
	return w.status, cores
}

// sample compares what the sandboxes have used with the time before.
func (w *fleetWatch) sample() {
	fresh := map[string]cpuSample{}
	for _, box := range w.status.Sandboxes {
		now := cpuSample{at: w.at, used: box.Usage.CPU, cores: -1}
		before, known := w.cpu[box.ID]
		if passed := now.at.Sub(before.at); known && passed > 0 && passed < cpuSampleAge && now.used >= before.used {
			now.cores = float64(now.used-before.used) / float64(passed)
		}
		fresh[box.ID] = now
	}
	w.cpu = fresh
}

// forget has the next look ask anew, after something was changed.
func (w *fleetWatch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = time.Time{}
}

// sandboxesView is the operator's page.
type sandboxesView struct {
	fleet.Status
	MayAct    bool // the reader is an operator
	At        time.Time
	Sessions  []boxRow // sessions that run or start, with their sandboxes
	Others    []boxRow // sandboxes that serve no session
	Templates []templateRow
	Waits     []waitRow
	Counts    fleetCounts
}

// fleetCounts is the line above the page.
type fleetCounts struct{ Running, Asleep, Starting, Trouble, Spares, Kept, Waiting int }

// boxRow is a session, a sandbox, or both.
type boxRow struct {
	Box     fleet.SandboxStatus // ID is empty while the session has none
	Cores   float64             // of the processor in use; negative: not known
	User    store.User
	Session *labs.Session // nil when none runs with this sandbox
	Phase   labs.Phase
	Asleep  bool
	Doing   string // the step of a start that is under way
	Reason  string // of trouble
	Started time.Time
	Expires time.Time
	Lab     templateLab
}

// templateLab is the lab and the variant that a template is for.
type templateLab struct{ Slug, Title, Variant string }

func (l templateLab) words() string {
	if l.Variant == "" || l.Variant == defaultVariant {
		return l.Title
	}
	return l.Title + ", " + l.Variant
}

// defaultVariant is the name of the variant of a lab that has only one.
const defaultVariant = "default"

// who names the learner whom a sandbox serves.
func (row boxRow) who() string {
	if row.User.Name == "" {
		return "nobody"
	}
	return row.User.Name
}

// state is what a session or sandbox is doing, and the badge for it.
func (row boxRow) state() (text, kind string) {
	switch {
	case row.Phase == labs.PhaseTrouble:
		return "Trouble", "bad"
	case row.Phase == labs.PhaseStarting:
		return "Starting", "info"
	case row.Session == nil && row.Box.Use == sandbox.Serving:
		return "Left over", "warn"
	case row.Box.Use == sandbox.Spare:
		return "Spare", "pass"
	case row.Box.Use == sandbox.Kept:
		return "Kept", "plain"
	case row.Box.Use == sandbox.Preparing:
		return "Being made", "info"
	case row.Box.Use == sandbox.Leaving:
		return "Being removed", "plain"
	case row.asleep():
		return "Asleep", "plain"
	case row.Box.State == sandbox.Stopped:
		return "Stopped", "warn"
	default:
		return "Running", "pass"
	}
}

// asleep reports whether the sandbox stands still until somebody works in it.
func (row boxRow) asleep() bool { return row.Asleep || row.Box.State == sandbox.Frozen }

// templateRow is a template with what it is for.
type templateRow struct {
	fleet.TemplateStatus
	Lab  templateLab    // Slug is empty when no lab asks for it any more
	Fail *fleet.Failure // why the latest making failed, unless it is there since
}

// state is where a template stands, and the badge for it.
func (t templateRow) state() (text, kind string) {
	switch {
	case t.Making:
		return "Being made", "info"
	case t.Fail != nil:
		return "Failed", "bad"
	case !t.made():
		return "Not made yet", "plain"
	case t.Lab.Slug == "":
		return "Unused", "warn"
	default:
		return "Ready", "pass"
	}
}

// made reports whether copies can be made of it.
func (t templateRow) made() bool { return !t.Created.IsZero() }

// waitRow is a start in the queue.
type waitRow struct {
	fleet.Waiting
	User store.User
	Lab  templateLab
}

// sandboxesView joins what the fleet, the sessions and the store know.
func (s *server) sandboxesView(ctx context.Context, user store.User) (sandboxesView, error) {
	status, cores := s.fleetSeen.look(ctx)
	users, err := s.Store.Users(ctx)
	if err != nil {
		return sandboxesView{}, err
	}
	join := fleetJoin{server: s, users: map[int64]store.User{}, labs: s.templateLabs(), cores: cores}
	for _, u := range users {
		join.users[u.ID] = u
	}
	view := sandboxesView{Status: status, MayAct: user.Operator, At: s.Now()}
	view.Sessions, view.Others = join.boxes(status)
	for _, t := range status.Templates {
		view.Templates = append(view.Templates, templateRow{TemplateStatus: t, Lab: join.labs[t.Name], Fail: templateFailure(status, t)})
	}
	for _, w := range status.Queue {
		view.Waits = append(view.Waits, join.wait(w))
	}
	view.count()
	return view, nil
}

func (v *sandboxesView) count() {
	v.Counts.Waiting = len(v.Waits)
	for _, row := range v.Sessions {
		switch {
		case row.Phase == labs.PhaseTrouble:
			v.Counts.Trouble++
		case row.Phase == labs.PhaseStarting:
			v.Counts.Starting++
		case row.asleep():
			v.Counts.Asleep++
		default:
			v.Counts.Running++
		}
	}
	for _, row := range v.Others {
		switch row.Box.Use {
		case sandbox.Spare:
			v.Counts.Spares++
		case sandbox.Kept:
			v.Counts.Kept++
		}
	}
}

// templateName is what the template of a lab's variant is called. No provider
// is asked for that.
func templateName(lab *labs.Lab, v labs.Variant) string {
	return lab.SandboxSpec(nil, "", v).Template
}

// templateLabs are the labs and variants by the names of their templates.
func (s *server) templateLabs() map[string]templateLab {
	all := map[string]templateLab{}
	for _, lab := range s.Labs.All() {
		for _, v := range lab.AllVariants() {
			all[templateName(lab, v)] = templateLab{lab.Slug, lab.Title, v.Name}
		}
	}
	return all
}

// templateFailure is why a template that is not there could not be made.
func templateFailure(status fleet.Status, t fleet.TemplateStatus) *fleet.Failure {
	if t.Making {
		return nil
	}
	for i, f := range status.Failures { // the latest first
		if f.Template == t.Name && f.Doing == fleet.MakingTemplate && f.At.After(t.Created) {
			return &status.Failures[i]
		}
	}
	return nil
}

// fleetJoin finds what belongs together.
type fleetJoin struct {
	server *server
	users  map[int64]store.User
	labs   map[string]templateLab // by template name
	cores  map[string]float64
}

// boxes are the sessions, in the order in which they began, and the sandboxes
// that serve none of them.
func (j *fleetJoin) boxes(status fleet.Status) (sessions, others []boxRow) {
	serving := map[string]fleet.SandboxStatus{}
	for _, box := range status.Sandboxes {
		if _, running := j.server.Sessions.Get(box.Session); running && box.Use == sandbox.Serving {
			serving[box.Session] = box
			continue
		}
		others = append(others, boxRow{Box: box, Cores: j.coresOf(box.ID), Started: box.Created, Lab: j.labs[box.TemplateName]})
	}
	waiting := map[string]bool{}
	for _, w := range status.Queue {
		waiting[w.Session] = true
	}
	for _, session := range j.server.Sessions.Running() {
		if !waiting[session.ID()] {
			sessions = append(sessions, j.session(session, serving[session.ID()]))
		}
	}
	return sessions, others
}

func (j *fleetJoin) session(session *labs.Session, box fleet.SandboxStatus) boxRow {
	p := session.Snapshot()
	row := boxRow{
		Box: box, Cores: j.coresOf(box.ID), User: j.users[session.User()], Session: session,
		Phase: p.Phase, Asleep: p.Asleep, Reason: p.Reason, Started: p.Requested, Expires: p.Expires,
		Lab: templateLab{session.Lab().Slug, session.Lab().Title, session.Variant().Name},
	}
	for _, stage := range p.Stages {
		if p.Phase == labs.PhaseStarting && !stage.Done {
			row.Doing = stage.Name
		}
	}
	return row
}

func (j *fleetJoin) coresOf(id string) float64 {
	if cores, known := j.cores[id]; known {
		return cores
	}
	return -1
}

func (j *fleetJoin) wait(w fleet.Waiting) waitRow {
	row := waitRow{Waiting: w}
	if session, running := j.server.Sessions.Get(w.Session); running {
		row.User = j.users[session.User()]
		row.Lab = templateLab{session.Lab().Slug, session.Lab().Title, session.Variant().Name}
	} else if id, err := strconv.ParseInt(w.Owner, 10, 64); err == nil {
		row.User = j.users[id]
	}
	return row
}

// templateLines says for an instructor where the templates of a lab stand: one
// line when all stand the same.
func (s *server) templateLines(lab *labs.Lab) []string {
	if s.Fleet == nil || lab.Sandbox.Kind == sandbox.Machine { // machines are made anew each time
		return nil
	}
	status := s.Fleet.Known()
	silent, some := fleet.Partly(status.Engine)
	if status.Engine != nil && (!some || silent.Kinds[lab.Sandbox.Kind] != nil) {
		return []string{"not known, because the container engine does not answer"}
	}
	byName := map[string]fleet.TemplateStatus{}
	for _, t := range status.Templates {
		if old, there := byName[t.Name]; !there || t.Created.After(old.Created) {
			byName[t.Name] = t
		}
	}
	var lines []string
	same := true
	variants := lab.AllVariants()
	for _, v := range variants {
		name := templateName(lab, v)
		t, known := byName[name]
		if !known {
			t.Name = name
		}
		row := templateRow{TemplateStatus: t, Lab: templateLab{lab.Slug, lab.Title, v.Name}, Fail: templateFailure(status, t)}
		lines = append(lines, row.line())
		same = same && lines[0] == row.line()
	}
	if same {
		return lines[:1]
	}
	for i, v := range variants {
		lines[i] = v.Name + ": " + lines[i]
	}
	return lines
}

// line is where a template stands, in a few words.
func (t templateRow) line() string {
	switch {
	case t.Making && t.Stage != "":
		return "being made (" + t.Stage + ")"
	case t.Making:
		return "being made"
	case t.Fail != nil:
		return "failed: " + t.Fail.Error
	case !t.made():
		return "not made yet; the first start makes it"
	default:
		return "ready"
	}
}
