package labs

import (
	"encoding/json"
	"time"

	"drydock/labs/grade"
	"drydock/labs/trail"
	"drydock/sandbox"
)

// Phase is where a session stands.
type Phase string

const (
	PhaseStarting Phase = "starting"
	PhaseRunning  Phase = "running"
	// PhaseTrouble: the engine or the sandbox does not answer; the session is kept and waits.
	PhaseTrouble Phase = "trouble"
	PhaseEnded   Phase = "ended"
	// PhaseFailed: it never became ready. Never the learner's fault.
	PhaseFailed Phase = "failed"
)

// Over reports whether nothing more will happen in the session.
func (p Phase) Over() bool { return p == PhaseEnded || p == PhaseFailed }

// GuardCost is what one violated guard takes from the score, in hundredths of
// the highest score, unless the lab's rubric says otherwise. It weighs more
// than any hint, because a guard stands for what would have hurt the users of the system.
const GuardCost = 25

// Progress is everything that is shown of an attempt, derived from its events alone.
type Progress struct {
	Attempt, Lab, Version, Variant string

	Phase    Phase
	Stages   []StageProgress // of the latest start or reset
	Reason   string          // of trouble or failure, in words
	EndedWhy string          // learner, expired, instructor, lost or orphaned

	Asleep    bool       // frozen, while the phase is PhaseRunning
	AsleepWhy string     // idle or away
	Queued    QueuePlace // while it waits for its turn
	Warned    int        // of how many last minutes the learner was warned; 0: of none
	// Short is what the sandbox has little left of, and OutOfMemory when, of
	// late, the kernel ended a process for want of memory. What the lab itself
	// is about is not among them.
	Short       []sandbox.Resource
	OutOfMemory time.Time

	Requested, Ready, Expires, Deadline, Ended time.Time // Expires and Deadline count from Ready

	Tasks          []TaskProgress
	Guards         []CheckProgress // the verdict of a violated guard stays Fail until a reset
	GuardsViolated int
	Score          int // points, after hints and deductions
	MaxScore       int
	Resets         int
	Deductions     []Deduction      // what the rubric takes off the points of the tasks
	Collateral     trail.Difference // of the sandbox that the session ended in; told at its end

	LastActivity time.Time
	ServiceDown  time.Duration // up to the last change of the probe, or the end
	LastSeq      int64

	serviceDownSince time.Time // zero while the service answers, or nobody can look
	stopped          bool      // in trouble because the sandbox was found stopped, and not yet recovered
	troubleSince     time.Time // zero without trouble
	first, handed    time.Time // when the first sandbox, and the present one, was handed over
	idleSince        time.Time // zero while the learner can work
	idle             time.Duration
	commands         int // that shells have told of
	expected         int // of the changes in Collateral, those that a repair may make
}

// outOfMemoryNews is for how long a learner who works on is told that a process was ended.
const outOfMemoryNews = 5 * time.Minute

// QueuePlace is how a start that waits stands.
type QueuePlace struct {
	Place    int           // from 1; 0: it does not wait
	Estimate time.Duration // until it is let in, told at At; 0: not known
	At       time.Time
}

// StageProgress is one measured step of a start.
type StageProgress struct {
	Name  string
	Since time.Time
	Done  bool
	Took  time.Duration
}

// TaskProgress is one task as it stands.
type TaskProgress struct {
	ID, Title  string
	Ask        bool // a question, not checks
	Done       bool
	DoneAt     time.Time
	Points     int // earned
	Max        int
	HintsShown int
	HintCost   int // points
	Answers    int // given, right or wrong
	LastAnswer string
	Checks     []CheckProgress
	worked     time.Duration // from the hand-over until it was done, as far as the learner could work
}

// CheckProgress is one check with its latest result; Result.Verdict is empty before the first.
type CheckProgress struct {
	ID     string
	Result grade.Result
	Points int  // that it earns by itself; 0: the task gives all or nothing
	Passed bool // at some time, in this sandbox

	decided grade.Verdict // the latest that was no error
}

// expired reports whether the session's time is up. In trouble the clock
// stands still, but not beyond the deadline.
func (p *Progress) expired(now time.Time) bool {
	end := p.Expires
	if p.Phase == PhaseTrouble {
		end = p.Deadline
	}
	return !end.IsZero() && now.After(end)
}

// endTrouble gives the learner the time back that was lost, up to the deadline.
func (p *Progress) endTrouble(at time.Time) {
	if !p.troubleSince.IsZero() {
		p.Expires = earlier(p.Expires.Add(at.Sub(p.troubleSince)), p.Deadline)
		p.Warned = 0
	}
	p.troubleSince, p.stopped, p.Reason = time.Time{}, false, ""
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// ServiceDownAt is the time the service was lost until now.
func (p *Progress) ServiceDownAt(now time.Time) time.Duration {
	if p.serviceDownSince.IsZero() {
		return p.ServiceDown
	}
	return p.ServiceDown + now.Sub(p.serviceDownSince)
}

// TasksDone counts the tasks that are done.
func (p *Progress) TasksDone() int {
	n := 0
	for _, t := range p.Tasks {
		if t.Done {
			n++
		}
	}
	return n
}

// Fold derives an attempt's progress from its events, oldest first.
func Fold(lab *Lab, events []Event) Progress {
	p := Progress{Phase: PhaseStarting, Lab: lab.Slug}
	p.reset(lab)
	for _, e := range events {
		p.Apply(lab, e)
	}
	return p
}

// reset forgets what belongs to one sandbox; what the learner did (hints,
// answers) stays, because a reset must not buy a clean record.
func (p *Progress) reset(lab *Lab) {
	old := p.Tasks
	p.Tasks = make([]TaskProgress, len(lab.Tasks))
	p.MaxScore = 0
	for i, t := range lab.Tasks {
		next := TaskProgress{ID: t.ID, Title: t.Title, Ask: t.Ask != nil, Max: t.Points}
		if i < len(old) {
			next.HintsShown, next.HintCost = old[i].HintsShown, old[i].HintCost
			next.Answers, next.LastAnswer = old[i].Answers, old[i].LastAnswer
			if next.Ask {
				next.Done, next.DoneAt = old[i].Done, old[i].DoneAt
			}
		}
		for _, c := range t.Checks {
			next.Checks = append(next.Checks, CheckProgress{ID: c.ID, Points: c.Points})
		}
		p.Tasks[i] = next
		p.MaxScore += t.Points
	}
	p.Guards = nil
	for _, g := range lab.Guards {
		p.Guards = append(p.Guards, CheckProgress{ID: g.ID})
	}
	p.GuardsViolated = 0
	p.Stages = nil
	p.Short, p.OutOfMemory = nil, time.Time{}
	p.Collateral, p.expected = trail.Difference{}, 0
	p.score(lab)
}

// Apply adds one event. Events already applied are ignored.
func (p *Progress) Apply(lab *Lab, e Event) {
	if e.Seq != 0 && e.Seq <= p.LastSeq {
		return
	}
	p.LastSeq = max(p.LastSeq, e.Seq)
	p.Attempt = e.Attempt
	switch e.Type {
	case EventResult:
		p.applyResult(e)
	case EventGuard:
		p.applyGuard(e)
	case EventTaskDone, EventTaskUndone, EventHint, EventAnswer:
		p.applyTask(e)
	case EventService:
		p.applyService(e)
	case EventShell:
		p.commands++
	case EventCollateral:
		p.applyCollateral(lab, e)
	default:
		p.applySession(lab, e)
	}
	p.score(lab)
}

// applyCollateral takes in what is otherwise, unless it is told of a sandbox
// that a reset has replaced since.
func (p *Progress) applyCollateral(lab *Lab, e Event) {
	var d trail.Difference
	decode(e.Data, &d)
	if d.Run != p.Resets {
		return
	}
	p.Collateral, p.expected = d, 0
	v, _ := lab.variant(p.Variant)
	for _, c := range d.Changes {
		if lab.expects(c, v) {
			p.expected++
		}
	}
}

// work notes that the learner can work from now on, or no longer can.
func (p *Progress) work(at time.Time, can bool) {
	switch {
	case !can && p.idleSince.IsZero():
		p.idleSince = at
	case can && !p.idleSince.IsZero():
		p.idle += at.Sub(p.idleSince)
		p.idleSince = time.Time{}
	}
}

// worked is for how long the learner could work until then.
func (p *Progress) worked(at time.Time) time.Duration {
	if p.first.IsZero() {
		return 0
	}
	return max(0, at.Sub(p.first)-p.idle)
}

// repairTook is the time of work until the last repair; all is false when one is missing.
func (p *Progress) repairTook() (took time.Duration, all bool) {
	for _, t := range p.Tasks {
		if t.Ask {
			continue
		}
		if !t.Done {
			return 0, false
		}
		took, all = max(took, t.worked), true
	}
	return took, all
}

func (p *Progress) applySession(lab *Lab, e Event) {
	var d struct {
		Lab, Version, Variant, Name, Reason, Why string
		Done, Stopped                            bool
		TookMs, Expires, Deadline, EstimateMs    int64
		Place, Minutes                           int
		Of                                       []sandbox.Resource
	}
	decode(e.Data, &d)
	p.settle(e)
	switch e.Type {
	case EventReset, EventFrozen, EventTrouble:
		p.work(e.At, false)
	case EventReady, EventThawed, EventRecovered:
		p.work(e.At, true)
	}
	switch e.Type {
	case EventRequested:
		p.Requested, p.LastActivity = e.At, e.At
		p.Version, p.Variant = d.Version, d.Variant
	case EventStage:
		p.applyStage(d.Name, d.Done, time.Duration(d.TookMs)*time.Millisecond, e.At)
	case EventReady:
		if p.handed.IsZero() {
			p.first = e.At
		}
		p.Phase, p.Reason, p.Ready, p.handed = PhaseRunning, "", e.At, e.At
		p.Expires, p.Deadline = time.UnixMilli(d.Expires), time.UnixMilli(d.Deadline)
	case EventFailed:
		p.Phase, p.Reason, p.Ended = PhaseFailed, d.Reason, e.At
	case EventReset:
		p.reset(lab)
		p.endTrouble(e.At)
		p.Phase, p.LastActivity = PhaseStarting, e.At
		p.Resets++
		p.closeService(e.At) // what is made anew is not missed by its users
	case EventExtended:
		p.Expires, p.LastActivity, p.Warned = time.UnixMilli(d.Expires), e.At, 0
	case EventQueued:
		p.Queued = QueuePlace{Place: d.Place, Estimate: time.Duration(d.EstimateMs) * time.Millisecond, At: e.At}
	case EventFrozen:
		p.Asleep, p.AsleepWhy = true, d.Why
		p.closeService(e.At) // nobody can look, and no user waits
	case EventExpiring:
		p.Warned = d.Minutes
	case EventShort:
		p.Short = d.Of
	case EventKilled:
		p.OutOfMemory = e.At
	case EventTrouble:
		p.Phase, p.Reason, p.stopped = PhaseTrouble, d.Reason, d.Stopped
		p.closeService(e.At) // the probe begins again after it
		if p.troubleSince.IsZero() {
			p.troubleSince = e.At
		}
	case EventRecovered:
		p.endTrouble(e.At)
		p.Phase = PhaseRunning
	case EventEnded:
		p.Phase, p.EndedWhy, p.Ended = PhaseEnded, d.Why, e.At
		p.closeService(e.At)
	case EventTerminal, EventCommand:
		p.LastActivity = e.At
		if e.At.Sub(p.OutOfMemory) > outOfMemoryNews {
			p.OutOfMemory = time.Time{}
		}
	}
}

// settle ends what no longer holds once e has happened: that it waits, or sleeps.
func (p *Progress) settle(e Event) {
	switch e.Type {
	case EventReady, EventFailed, EventReset, EventTrouble, EventRecovered, EventEnded, EventThawed:
		p.Asleep, p.AsleepWhy = false, ""
		p.Queued = QueuePlace{}
	case EventStage:
		p.Queued = QueuePlace{}
	}
}

func (p *Progress) applyStage(name string, done bool, took time.Duration, at time.Time) {
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			p.Stages[i].Done, p.Stages[i].Took = done, took
			return
		}
	}
	p.Stages = append(p.Stages, StageProgress{Name: name, Since: at, Done: done, Took: took})
}

func (p *Progress) applyResult(e Event) {
	var r grade.Result
	decode(e.Data, &r)
	for i := range p.Tasks {
		for j := range p.Tasks[i].Checks {
			if p.Tasks[i].Checks[j].ID == e.Check {
				p.Tasks[i].Checks[j].take(r)
			}
		}
	}
	for i := range p.Guards {
		if p.Guards[i].ID == e.Check && p.Guards[i].Result.Verdict != grade.Fail {
			p.Guards[i].Result = r
		}
	}
}

func (c *CheckProgress) take(r grade.Result) {
	c.Result = r
	c.Passed = c.Passed || r.Verdict == grade.Pass
	if r.Verdict != grade.Error {
		c.decided = r.Verdict
	}
}

func (p *Progress) applyGuard(e Event) {
	for i := range p.Guards {
		if p.Guards[i].ID == e.Check {
			decode(e.Data, &p.Guards[i].Result)
			p.Guards[i].Result.Verdict = grade.Fail
		}
	}
	p.GuardsViolated = 0
	for _, g := range p.Guards {
		if g.Result.Verdict == grade.Fail {
			p.GuardsViolated++
		}
	}
}

func (p *Progress) applyTask(e Event) {
	var d struct {
		Cost   int
		Answer string
		Right  bool
	}
	decode(e.Data, &d)
	for i := range p.Tasks {
		t := &p.Tasks[i]
		if t.ID != e.Task {
			continue
		}
		switch e.Type {
		case EventTaskDone:
			t.Done, t.DoneAt, t.worked = true, e.At, p.worked(e.At)
		case EventTaskUndone:
			t.Done, t.DoneAt = false, time.Time{}
		case EventHint:
			t.HintsShown++
			t.HintCost += d.Cost
			p.LastActivity = e.At
		case EventAnswer:
			t.Answers++
			t.LastAnswer = d.Answer
			p.LastActivity = e.At
		}
	}
}

func (p *Progress) applyService(e Event) {
	var d struct{ Up bool }
	decode(e.Data, &d)
	if d.Up {
		p.closeService(e.At)
	} else if p.serviceDownSince.IsZero() {
		p.serviceDownSince = e.At
	}
}

func (p *Progress) closeService(at time.Time) {
	if !p.serviceDownSince.IsZero() {
		p.ServiceDown += at.Sub(p.serviceDownSince)
		p.serviceDownSince = time.Time{}
	}
}

func (p *Progress) score(lab *Lab) {
	p.Score = 0
	for i := range p.Tasks {
		t := &p.Tasks[i]
		t.Points = max(0, t.earned()-t.HintCost)
		p.Score += t.Points
	}
	p.Deductions = lab.deductions(p)
	lost := 0
	for _, d := range p.Deductions {
		lost += d.Points
	}
	p.Score = max(0, p.Score-lost*p.MaxScore/TotalPoints)
}

// wrongAnswers counts the answers to questions that were not answered yet.
func (p *Progress) wrongAnswers() int {
	wrong := 0
	for _, t := range p.Tasks {
		if t.Ask && !t.Done {
			wrong += t.Answers
		}
	}
	return wrong
}

// passed names the checks that have passed in this sandbox at some time.
func (p *Progress) passed() map[string]bool {
	passed := map[string]bool{}
	for _, t := range p.Tasks {
		for _, c := range t.Checks {
			passed[c.ID] = c.Passed
		}
	}
	return passed
}

// earned is what the task gives before hints: all of it once it is done, and
// before that what those of its checks give that pass and have points of their
// own. A check that could not be looked at keeps what it had.
func (t *TaskProgress) earned() int {
	if t.Done {
		return t.Max
	}
	points := 0
	for _, c := range t.Checks {
		if c.decided == grade.Pass {
			points += c.Points
		}
	}
	return points
}

// decode reads an event's data; an event without data, or with data of a later
// version's shape, leaves the zero values.
func decode(data json.RawMessage, into any) {
	if len(data) > 0 {
		_ = json.Unmarshal(data, into)
	}
}
