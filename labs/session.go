package labs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/sandbox/resident"
)

// Session is one learner's use of one sandbox, from start to end. Its methods
// are safe for concurrent use.
type Session struct {
	attempt  Attempt
	lab      *Lab
	variant  Variant
	sessions *Sessions

	mu       sync.Mutex // orders events: store, progress and subscribers see one sequence
	progress Progress
	baseline grade.Baseline
	seen     seen // by the checks, and not yet stored
	hub      *TerminalHub
	checks   *grade.Set
	stretch  *stretch // the latest; nil before the first
	missed   bool     // what grading said could not be stored: it must say it again
	answered time.Time
	early    int                  // answers refused since then, for they came too fast
	typed    map[string]time.Time // last recorded activity by tab
	touched  time.Time            // when the learner did something last
	touches  int                  // counts that, to see whether it happened since
	present  int                  // pages and terminals of the learner's that are open
	leftAt   time.Time            // when the last of them was closed
	limits   shortage
	commands allowance     // of what shells tell
	ending   chan struct{} // while it is being ended; closed when that is over
	trail    sessionTrail
}

// stretch is what runs for a session from one start, reset or recovery to the
// next: first the making of its sandbox, then its grading.
type stretch struct {
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup
	busy bool // the sandbox is being made or brought back; guarded by the session's mu
	// runner runs commands on the node while it is graded; nil before. Guarded by the session's mu.
	runner *resident.Runner
}

// ID is the session's id, and its attempt's.
func (s *Session) ID() string { return s.attempt.ID }

// User is the learner's id in the store.
func (s *Session) User() int64 { return s.attempt.User }

// Lab is the lab as it was when the session started.
func (s *Session) Lab() *Lab { return s.lab }

// Variant is the version of the fault that this attempt drew.
func (s *Session) Variant() Variant { return s.variant }

// Snapshot is the session's progress at this moment; the caller may keep it.
func (s *Session) Snapshot() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

func (s *Session) snapshot() Progress {
	p := s.progress
	p.Stages = append([]StageProgress(nil), p.Stages...)
	p.Guards = append([]CheckProgress(nil), p.Guards...)
	p.Tasks = append([]TaskProgress(nil), p.Tasks...)
	for i := range p.Tasks {
		p.Tasks[i].Checks = append([]CheckProgress(nil), p.Tasks[i].Checks...)
	}
	return p
}

// Terminal is the session's terminals; nil while there is no sandbox to type into.
func (s *Session) Terminal() *TerminalHub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hub
}

// emit stores an event, applies it and tells the subscribers. What can't be
// stored is not applied: the log is the truth.
func (s *Session) emit(e Event, data any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.emitLocked(e, data)
}

func (s *Session) emitLocked(e Event, data any) error {
	e, err := s.event(e, data)
	if err != nil {
		return err
	}
	return s.appendLocked(e)
}

// event completes an event that happens now.
func (s *Session) event(e Event, data any) (Event, error) {
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			return e, fmt.Errorf("encode a %s event: %w", e.Type, err)
		}
		e.Data = raw
	}
	e.Attempt, e.At = s.attempt.ID, s.sessions.cfg.Now().Truncate(time.Millisecond)
	return e, nil
}

// appendLocked appends events to the log, all or none. Nothing follows the end
// of a session, whatever was still under way: the error is then ErrOver.
func (s *Session) appendLocked(events ...Event) error {
	if s.progress.Phase.Over() {
		return ErrOver
	}
	// Not the caller's context: what happened is stored even if the one who caused it has gone.
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	stored, err := s.sessions.cfg.Log.AppendEvents(ctx, s.attempt.ID, events...)
	if err != nil {
		s.sessions.log.Error("an event could not be stored", "session", s.attempt.ID, "type", events[0].Type, "err", err)
		return fmt.Errorf("store a %s event: %w", events[0].Type, err)
	}
	for _, e := range stored {
		s.progress.Apply(s.lab, e)
		s.sessions.publish(e)
	}
	return nil
}

// stage reports a step of a start to the event stream.
func (s *Session) stage(st sandbox.Stage) {
	_ = s.emit(Event{Type: EventStage}, map[string]any{"name": st.Name, "done": st.Done, "tookMs": st.Took.Milliseconds()})
}

// begin starts a stretch with do, a start or a recovery.
func (s *Session) begin(do func(*stretch)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.freeLocked(); err != nil {
		return err
	}
	s.beginLocked(do)
	return nil
}

// freeLocked says why a new stretch can't begin now.
func (s *Session) freeLocked() error {
	switch {
	case s.progress.Phase.Over():
		return ErrOver
	case s.sessions.ctx.Err() != nil:
		return ErrStopping
	case s.stretch != nil && s.stretch.busy, s.ending != nil:
		return ErrBusy
	}
	return nil
}

// beginLocked starts a stretch with do, which runs as soon as what ran before
// has ended. The session is free.
func (s *Session) beginLocked(do func(*stretch)) {
	before, now := s.stretch, &stretch{busy: true}
	now.ctx, now.stop = context.WithCancel(s.sessions.ctx)
	s.stretch = now
	if before != nil {
		before.stop()
	}
	now.work.Go(func() {
		defer s.idle(now)
		if before != nil {
			before.work.Wait()
		}
		do(now)
	})
}

func (s *Session) idle(now *stretch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now.busy = false
}

// halt ends what runs for the session and waits until it has ended.
func (s *Session) halt() {
	s.mu.Lock()
	now := s.stretch
	s.mu.Unlock()
	if now != nil {
		now.stop()
		now.work.Wait()
	}
}

// open makes the sandbox (or makes it anew, after a reset or a crash) and hands it over.
func (s *Session) open(now *stretch, fresh bool) {
	s.requested()
	err := s.create(now.ctx, fresh)
	made := err == nil
	if made {
		err = s.letIn(now)
	}
	if err == nil || now.ctx.Err() != nil { // ended meanwhile; or the server stops, and the next boot takes the start up again
		return
	}
	s.sessions.log.Error("a lab did not start", "session", s.ID(), "lab", s.lab.Slug, "err", err)
	if !s.Snapshot().Ready.IsZero() {
		if errors.Is(err, sandbox.ErrEngine) {
			return // the supervisor starts it again when the engine is back, for the learner's record is worth it
		}
		// A new one that could not be handed over has taken the old one's place,
		// and there is nothing that it could be compared with.
		if !made && s.keepsOld(now.ctx) {
			return
		}
	}
	s.fail(now.ctx, startFailure(err))
}

// keepsOld goes on with the sandbox that a reset should have replaced, if it is still there.
func (s *Session) keepsOld(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	info, err := s.sessions.cfg.Provider.Get(ctx, s.ID())
	if err != nil || info.State == sandbox.Creating {
		return false
	}
	return s.emit(Event{Type: EventTrouble}, map[string]any{"reason": troubleReset, "stopped": info.State == sandbox.Stopped}) == nil
}

// requested begins the log. After a kill in the moment of the click it is not there yet.
func (s *Session) requested() {
	if s.Snapshot().Requested.IsZero() {
		_ = s.emit(Event{Type: EventRequested}, map[string]string{
			"lab": s.lab.Slug, "version": s.lab.Version, "variant": s.variant.Name,
		})
	}
}

// fail ends a session whose sandbox could not be made. It insists: what is not
// in the log would be started again for ever.
func (s *Session) fail(ctx context.Context, reason string) {
	for {
		err := s.emit(Event{Type: EventFailed}, map[string]string{"reason": reason})
		if errors.Is(err, ErrOver) {
			return
		}
		if err == nil {
			s.sessions.finish(s)
			return
		}
		select {
		case <-time.After(s.sessions.cfg.Look):
		case <-ctx.Done():
			return
		}
	}
}

// startFailure says in a learner's words why a start failed.
func startFailure(err error) string {
	switch {
	case errors.Is(err, fleet.ErrDraining):
		return "This server starts no new labs at the moment: its operator is about to work on it. Try again later."
	case errors.Is(err, fleet.ErrTooLarge), errors.Is(err, fleet.ErrKind):
		return "This server can't run this lab: " + err.Error() + ". Tell your instructor."
	case errors.Is(err, errOverdue):
		return "The system for this lab was not ready in time, and was given up. This is not your doing, and it costs nothing: try again, or tell your instructor."
	case errors.Is(err, sandbox.ErrEngine):
		return "The container engine of this server does not answer. Your instructor or operator can run `drydock doctor` to see why."
	case errors.Is(err, sandbox.ErrNoImage):
		return "This server has no node image yet. Its operator can make one with `drydock image build`."
	default:
		return "The system for this lab could not be brought up. This is not your doing, and it costs nothing: try again, or tell your instructor."
	}
}

func (s *Session) create(ctx context.Context, fresh bool) error {
	spec := s.lab.SandboxSpec(s.sessions.cfg.Provider, s.ID(), s.variant)
	release, err := s.admit(ctx, spec)
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeoutCause(ctx, overdue, errOverdue)
	defer cancel()
	bring := s.sessions.cfg.Provider.Create
	if !fresh {
		bring = s.sessions.cfg.Provider.Reset
	}
	_, err = bring(ctx, spec, s.stage)
	if err != nil && errors.Is(context.Cause(ctx), errOverdue) {
		return fmt.Errorf("%w: %w", errOverdue, err)
	}
	return err
}

// env is what the grader needs to see this session's sandbox.
func (s *Session) env(ctx context.Context) (grade.Env, error) {
	if s.lab.Sandbox.Kind == sandbox.Machine {
		return s.sessions.gradeEnv(s.ID(), nil, s.lab, s.variant), nil
	}
	config, err := AdminConfig(ctx, s.sessions.cfg.Provider, s.ID())
	if err != nil {
		return grade.Env{}, err
	}
	return s.sessions.gradeEnv(s.ID(), config, s.lab, s.variant), nil
}

func (s *Sessions) gradeEnv(session string, config *rest.Config, lab *Lab, v Variant) grade.Env {
	return grade.Env{
		REST:  config,
		Vars:  v.Vars,
		Files: lab.FS,
		Exec: func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
			return s.cfg.Provider.Exec(ctx, session, cmd)
		},
		Now: s.cfg.Now,
		Log: s.log.With("session", session),
	}
}

// baselinePrefix marks evidence that is a check's baseline at hand-over.
const baselinePrefix = "baseline/"

// handOverTries is how often a sandbox that was made is handed over before it is
// given up: a disk that is full for a moment, or one question that the sandbox
// did not answer, must not cost a session, after a reset least of all.
const handOverTries = 5

// letIn hands the sandbox over, and tries again while nobody has seen it. With
// a dead engine it does not: the supervisor notices when that is back.
func (s *Session) letIn(now *stretch) error {
	ctx, cancel := context.WithTimeout(now.ctx, recoverTimeout)
	defer cancel()
	for try := 1; ; try++ {
		err := s.handOver(ctx, now)
		if err == nil || try == handOverTries || errors.Is(err, ErrOver) || errors.Is(err, sandbox.ErrEngine) {
			return err
		}
		select {
		case <-time.After(s.sessions.cfg.Look):
			s.sessions.log.Warn("a sandbox could not be handed over; trying again", "session", s.ID(), "err", err)
		case <-ctx.Done():
			return err
		}
	}
}

// handOver takes the baseline, lets the learner in and starts the clock and the grading.
func (s *Session) handOver(ctx context.Context, now *stretch) error {
	env, err := s.env(ctx)
	if err != nil {
		return err
	}
	baseline, err := s.checks.Baseline(ctx, env)
	if err != nil {
		return fmt.Errorf("take the baseline: %w", err)
	}
	var kept []grade.Evidence
	for id, data := range baseline {
		kept = append(kept, grade.Evidence{Check: baselinePrefix + id, At: s.sessions.cfg.Now(), Format: grade.DataFormat, Data: data})
	}
	if err := s.sessions.cfg.Log.AddEvidence(ctx, s.ID(), kept...); err != nil {
		return fmt.Errorf("keep the baseline: %w", err)
	}
	s.mu.Lock()
	s.baseline = baseline
	s.mu.Unlock()
	s.openTerminals()
	if err := s.ready(now); err != nil {
		s.closeTerminals()
		return err
	}
	if s.hasTrail() {
		now.work.Go(func() { s.remember(now.ctx, env) })
	}
	s.grade(now, env)
	return nil
}

// ready starts the clock; after a reset it goes on. From that moment the
// learner can ask for the next reset.
func (s *Session) ready(now *stretch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.sessions.cfg.Now()
	expires, deadline := s.progress.Expires, s.progress.Deadline
	if s.progress.Ready.IsZero() {
		expires, deadline = at.Add(s.lab.sessionTime()), at.Add(s.lab.sessionDeadline())
	}
	err := s.emitLocked(Event{Type: EventReady}, map[string]int64{"expires": expires.UnixMilli(), "deadline": deadline.UnixMilli()})
	now.busy = err != nil
	s.touched = at
	return err
}

// resume takes up a session whose sandbox is there and running, as after a
// restart of the server or of the engine.
func (s *Session) resume(now *stretch, shellLost bool) error {
	ctx, cancel := context.WithTimeout(now.ctx, recoverTimeout)
	defer cancel()
	if err := s.loadBaseline(ctx); err != nil {
		return err
	}
	env, err := s.env(ctx)
	if err != nil {
		return err
	}
	if s.Terminal() == nil {
		s.openTerminals()
	}
	s.refresh()
	if s.Snapshot().Phase == PhaseTrouble {
		if err := s.emit(Event{Type: EventRecovered}, map[string]bool{"shellLost": shellLost}); err != nil {
			return err
		}
	}
	s.grade(now, env)
	return nil
}

// refresh begins to count anew how long nobody did or looked at anything:
// while there was trouble nobody could.
func (s *Session) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = s.sessions.cfg.Now()
	if s.present == 0 {
		s.leftAt = s.touched
	}
}

// loadBaseline reads the baseline that was kept at hand-over, unless it is known.
func (s *Session) loadBaseline(ctx context.Context) error {
	s.mu.Lock()
	known := s.baseline != nil
	s.mu.Unlock()
	if known {
		return nil
	}
	evidence, err := s.sessions.cfg.Log.LastEvidence(ctx, s.ID())
	if err != nil {
		return fmt.Errorf("read the kept evidence: %w", err)
	}
	baseline := grade.Baseline{}
	for _, e := range evidence { // the last of each is that of the latest reset
		if id, ok := strings.CutPrefix(e.Check, baselinePrefix); ok {
			baseline[id] = e.Data
		}
	}
	s.mu.Lock()
	s.baseline = baseline
	run := s.progress.Resets
	s.mu.Unlock()
	s.trail.load(evidence, run)
	return nil
}

// openTerminals makes the hub for the sandbox of this moment. Each reset has
// new shells, and so recordings of its own.
func (s *Session) openTerminals() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub = NewTerminalHub(HubConfig{
		Provider: s.sessions.cfg.Provider,
		Session:  s.ID(),
		Dir:      RecordingDir(s.sessions.cfg.Recordings, s.ID(), s.progress.Resets),
		Activity: s.typedIn,
		Command:  s.ran,
		Now:      s.sessions.cfg.Now,
		Log:      s.sessions.log,
	})
}

// RecordingDir is the folder, below root, of a session's recordings since its
// reset number resets (0: from the start).
func RecordingDir(root, session string, resets int) string {
	if resets == 0 {
		return filepath.Join(root, session)
	}
	return filepath.Join(root, session, "reset-"+strconv.Itoa(resets))
}

func (s *Session) closeTerminals() {
	s.mu.Lock()
	hub := s.hub
	s.hub = nil
	s.mu.Unlock()
	if hub != nil {
		hub.Shutdown()
	}
}

// forget drops what belongs to the sandbox that a reset replaces.
func (s *Session) forget() {
	s.mu.Lock()
	s.seen.forget()
	s.typed = map[string]time.Time{}
	run := s.progress.Resets
	s.mu.Unlock()
	s.trail.renew(run)
}

// typedIn notes that the learner typed: the first time in a tab, and then at
// most once a minute, which is enough for "last activity".
func (s *Session) typedIn(tab string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touchLocked()
	now := s.touched
	last, seen := s.typed[tab]
	if seen && now.Sub(last) < activityEvery {
		return
	}
	s.typed[tab] = now
	event := EventCommand
	if !seen {
		event = EventTerminal
	}
	_ = s.emitLocked(Event{Type: event}, map[string]string{"tab": tab})
}

// grade judges the session live until the stretch ends. What it runs on the
// node, again and again, it runs through one program.
func (s *Session) grade(now *stretch, env grade.Env) {
	runner := resident.New(resident.Exec(env.Exec))
	env.Exec = runner.Exec
	now.work.Go(func() {
		<-now.ctx.Done()
		runner.Close()
	})
	s.mu.Lock()
	now.runner = runner
	env.Baseline, env.Passed, env.Since, s.missed = s.baseline, s.progress.passed(), s.progress.handed, false
	s.mu.Unlock()
	now.work.Go(func() {
		if err := s.checks.Run(now.ctx, env, s); err != nil && now.ctx.Err() == nil {
			s.sessions.log.Error("grading stopped", "session", s.ID(), "err", err)
		}
	})
	if s.hasTrail() {
		now.work.Go(func() { s.followTrail(now.ctx) })
	}
	if s.lab.Service == nil || s.lab.Service.HTTP == nil {
		return
	}
	probe := *s.lab.Service.HTTP
	now.work.Go(func() {
		err := grade.ProbeService(now.ctx, env, probe, time.Duration(probe.Every), func(up bool, _ time.Time, _ string) { s.service(up) })
		if err != nil && now.ctx.Err() == nil {
			s.sessions.log.Error("the service probe stopped", "session", s.ID(), "err", err)
		}
	})
}

// service notes that the probed service went up or down.
func (s *Session) service(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase != PhaseRunning { // of the sandbox that a reset is replacing
		return
	}
	if s.emitLocked(Event{Type: EventService}, map[string]bool{"up": up}) != nil {
		s.missed = true
	}
}

// Evidence implements [grade.Sink].
func (s *Session) Evidence(e grade.Evidence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.add(e, s.progress.Phase)
}

// Result implements [grade.Sink]: it keeps the evidence that decided, and ticks or unticks the task.
func (s *Session) Result(r grade.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase != PhaseRunning && s.progress.Phase != PhaseTrouble {
		return
	}
	s.keep(s.seen.decisive(r.Check)...)
	if s.progress.judged(r, s.emitLocked) != nil {
		s.missed = true
	}
}

func (s *Session) keep(evidence ...grade.Evidence) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := s.sessions.cfg.Log.AddEvidence(ctx, s.ID(), evidence...); err != nil {
		s.sessions.log.Error("evidence could not be kept", "session", s.ID(), "err", err)
		s.seen.untake(evidence) // what there is room for is stored with the rest
	}
}

// Check judges a task's checks again now. In a session that sleeps it wakes
// it: then all are judged again.
func (s *Session) Check(task string) {
	s.Touch()
	for _, t := range s.lab.Tasks {
		if t.ID != task {
			continue
		}
		for _, c := range t.Checks {
			s.checks.Recheck(c.ID)
		}
	}
}

// Answer judges a learner's answer to a question. why explains the answer and
// is empty while it is wrong. Answers too close together are refused with a
// [TooFastError], and the more wrong ones there were the longer, so that trying
// all of them is slower than looking.
func (s *Session) Answer(_ context.Context, task, answer string) (right bool, why string, err error) {
	t, ok := s.lab.task(task)
	if !ok || t.Ask == nil {
		return false, "", fmt.Errorf("task %q: %w", task, ErrNoSuchTask)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase != PhaseRunning {
		return false, "", ErrNotRunning
	}
	s.touchLocked()
	now := s.touched
	if wait := s.answered.Add(answerPauseAfter(s.progress.wrongAnswers())).Sub(now); wait > 0 {
		s.early++
		return false, "", &TooFastError{Wait: wait}
	}
	if len(answer) > maxAnswer {
		answer = answer[:maxAnswer]
	}
	right = t.Ask.Right(answer, s.variant.Vars)
	data := map[string]any{"answer": answer, "right": right}
	if s.early > 0 {
		data["early"] = s.early
	}
	given, err := s.event(Event{Type: EventAnswer, Task: task}, data)
	if err != nil {
		return false, "", err
	}
	s.answered, s.early = now, 0
	events := []Event{given}
	if right && !s.doneLocked(task) {
		events = append(events, Event{Attempt: given.Attempt, At: given.At, Type: EventTaskDone, Task: task})
	}
	if err := s.appendLocked(events...); err != nil {
		return false, "", err
	}
	if right {
		why = t.Ask.Why
	}
	return right, why, nil
}

func (s *Session) doneLocked(task string) bool {
	return slices.ContainsFunc(s.progress.Tasks, func(t TaskProgress) bool { return t.ID == task && t.Done })
}

// Hint shows the task's next hint and notes its cost.
func (s *Session) Hint(_ context.Context, task string) (Hint, error) {
	t, ok := s.lab.task(task)
	if !ok {
		return Hint{}, fmt.Errorf("task %q: %w", task, ErrNoSuchTask)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Phase != PhaseRunning {
		return Hint{}, ErrNotRunning
	}
	s.touchLocked()
	for _, p := range s.progress.Tasks {
		if p.ID != task {
			continue
		}
		if p.HintsShown >= len(t.Hints) {
			return Hint{}, ErrNoMoreHints
		}
		h := t.Hints[p.HintsShown]
		return h, s.emitLocked(Event{Type: EventHint, Task: task}, map[string]int{"index": p.HintsShown, "cost": h.Cost})
	}
	return Hint{}, ErrNoSuchTask
}

// Reset replaces the sandbox with a fresh one of the same variant. It returns
// at once; stages follow as events. The clock goes on.
func (s *Session) Reset(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.freeLocked(); err != nil {
		return err
	}
	if s.progress.Phase == PhaseStarting {
		return ErrBusy
	}
	worked, asleep := s.progress.Phase == PhaseRunning, s.progress.Asleep
	// What the old sandbox still shows from here on is not taken: the phase is another.
	if err := s.emitLocked(Event{Type: EventReset}, nil); err != nil {
		return err
	}
	hub := s.hub
	s.hub = nil
	s.beginLocked(func(now *stretch) {
		if hub != nil {
			hub.Shutdown()
		}
		if worked {
			s.lookBack(now.ctx, asleep)
		}
		s.forget()
		s.open(now, false)
	})
	return nil
}

// Extend gives the learner more time, up to the deadline.
func (s *Session) Extend(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.progress
	if p.Phase.Over() || p.Ready.IsZero() {
		return ErrNotRunning
	}
	expires := p.Expires.Add(ExtendBy)
	if expires.After(p.Deadline) {
		expires = p.Deadline
	}
	if !expires.After(p.Expires) {
		return ErrDeadline
	}
	s.touchLocked()
	return s.emitLocked(Event{Type: EventExtended}, map[string]int64{"expires": expires.UnixMilli()})
}

// End ends the session for the reason why (learner, expired, instructor, lost
// or orphaned) and keeps the result. It looks at the sandbox once more before,
// which takes a second. The sandbox is removed behind it.
func (s *Session) End(_ context.Context, why string) error {
	return s.endIf(why, func() bool { return true })
}

// endIf ends the session if it is still as the caller saw it, which still
// answers under the lock. Whoever ends one that is being ended waits for that.
func (s *Session) endIf(why string, still func() bool) error {
	over, mine := s.beginEnd(still)
	if !mine {
		if over != nil {
			<-over
		}
		if s.Snapshot().Phase.Over() {
			return ErrOver
		}
		return nil
	}
	if why != whyLost {
		s.lastLook()
	}
	last := s.checks.Waiting() // before the lock, which who tells of evidence takes later
	s.mu.Lock()
	close(over)
	s.ending = nil
	if s.progress.Phase.Over() {
		s.mu.Unlock()
		return ErrOver
	}
	if !still() { // as when more time was given meanwhile: the supervisor opens it again
		s.mu.Unlock()
		return nil
	}
	s.keep(s.seen.final(last)...) // so that the end state can be judged again
	err := s.emitLocked(Event{Type: EventEnded}, map[string]string{"why": why})
	if err == nil && s.stretch != nil {
		s.stretch.stop()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.sessions.finish(s)
	return nil
}

// beginEnd begins to end the session: mine says that the caller does. over is
// closed when it has ended, or when that was given up; nil when there is nothing to wait for.
func (s *Session) beginEnd(still func() bool) (over chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending != nil || s.progress.Phase.Over() || !still() {
		return s.ending, false
	}
	s.ending = make(chan struct{})
	return s.ending, true
}

// lastLook leaves the terminals and looks back, while nothing new can begin.
func (s *Session) lastLook() {
	s.mu.Lock()
	p, hub, busy := s.progress, s.hub, s.stretch != nil && s.stretch.busy
	s.hub = nil
	s.mu.Unlock()
	if hub != nil {
		hub.Shutdown()
	}
	if p.Phase != PhaseRunning || busy {
		return
	}
	var looks sync.WaitGroup
	if !p.Asleep { // then nothing has changed since it was looked at
		looks.Go(func() {
			ctx, cancel := context.WithTimeout(s.sessions.ctx, lastLookTimeout)
			defer cancel()
			s.checks.LookOnceMore(ctx)
		})
	}
	s.lookBack(s.sessions.ctx, p.Asleep)
	looks.Wait()
}
