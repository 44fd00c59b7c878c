package labs

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// Kinds of refusal that a page explains.
var (
	ErrNoSuchLab   = errors.New("there is no such lab")
	ErrNoSuchTask  = errors.New("there is no such task")
	ErrOver        = errors.New("the session is over")
	ErrNotRunning  = errors.New("the session is not running")
	ErrBusy        = errors.New("the session is being started or reset")
	ErrTooFast     = errors.New("answers come too fast")
	ErrNoMoreHints = errors.New("there are no more hints")
	ErrDeadline    = errors.New("the session has reached its longest time")
	ErrStopping    = errors.New("the server is being stopped")
	errOverdue     = errors.New("the sandbox was not ready in time")
)

const (
	// storeTimeout bounds one write to the log; a write takes milliseconds unless the disk is in trouble.
	storeTimeout = 10 * time.Second
	// activityEvery is how often typing is noted; it is shown in minutes.
	activityEvery = time.Minute
	// answerPause is shorter than reading a question and longer than a script's loop would like.
	answerPause = 2 * time.Second
	// answersFree is how many wrong answers a learner may give to a question before the pause
	// begins to double with each, up to maxAnswerPause: to look is then quicker than to guess.
	answersFree    = 3
	maxAnswerPause = time.Minute
	// maxAnswer bounds what is stored of an answer, in bytes.
	maxAnswer   = 1000
	defaultLook = 2 * time.Second
	// subscriberBuffer is how many events a reader of the stream may lag before it must reload from the log.
	subscriberBuffer = 512
	// minSessionTime is given however short the lab: reading takes time, too.
	minSessionTime = 45 * time.Minute
	// ExtendBy is added by one press of Extend.
	ExtendBy = 30 * time.Minute
	// overdue is how long a sandbox may take to be made, the wait for its turn
	// not counted. It takes seconds, and a minute or two with its template; an
	// engine that hangs takes for ever, and all starts behind it.
	overdue = 15 * time.Minute
	// engineTimeout bounds a question to the engine: it answers at once, or within seconds on a busy machine.
	engineTimeout = 20 * time.Second
	// lastLookTimeout bounds the last look of all checks at the end of a session: probes and commands take a fraction of it.
	lastLookTimeout = 3 * time.Second
	// stopTimeout bounds the wait for what runs when the server stops. What a
	// sandbox in the making leaves then is found by its label at the next boot.
	stopTimeout = 20 * time.Second
	// recoverTimeout is how long a stopped sandbox may take to come back.
	recoverTimeout = 3 * time.Minute
	// defaultIdle is longer than most think or read without a key; waking takes half a second.
	defaultIdle = 10 * time.Minute
	// defaultOrphaned is longer than the reload of a page or the way between two rooms.
	defaultOrphaned = 5 * time.Minute
	// defaultOrphanEnd is longer than lunch.
	defaultOrphanEnd = 90 * time.Minute
	// defaultPerLearner lets one compare labs, and no one take the machine.
	defaultPerLearner = 3
	// idLength in base-32 characters makes 60 random bits.
	idLength = 12
)

// sessionTime is how long a learner has: three times what the lab usually needs.
func (l *Lab) sessionTime() time.Duration {
	return max(minSessionTime, 3*time.Duration(l.Minutes)*time.Minute)
}

// sessionDeadline is the longest that a session can be extended to.
func (l *Lab) sessionDeadline() time.Duration { return 3 * l.sessionTime() }

func (l *Lab) task(id string) (Task, bool) {
	for _, t := range l.Tasks {
		if t.ID == id {
			return t, true
		}
	}
	return Task{}, false
}

// TooFastError refuses an answer that comes too soon after the one before. It is an [ErrTooFast].
type TooFastError struct {
	Wait time.Duration // until the next is taken
}

func (e *TooFastError) Error() string {
	return fmt.Sprintf("%v: the next is taken in %s", ErrTooFast, e.Wait.Round(time.Second))
}

// Is makes it an [ErrTooFast].
func (e *TooFastError) Is(target error) bool { return target == ErrTooFast }

// answerPauseAfter is how long nothing is answered after so many answers to a
// question, none of which was right.
func answerPauseAfter(wrong int) time.Duration {
	pause := answerPause
	for range max(0, wrong-answersFree) {
		pause = min(2*pause, maxAnswerPause)
	}
	return pause
}

// Vars returns the vars of a variant; none when the lab does not have it.
func (l *Lab) Vars(variant string) map[string]string {
	v, _ := l.variant(variant)
	return v.Vars
}

// variant finds a variant by name; a lab without variants has one named "default".
func (l *Lab) variant(name string) (Variant, bool) {
	for _, v := range l.AllVariants() {
		if v.Name == name {
			return v, true
		}
	}
	return Variant{}, false
}

// Log is where attempts, their events and their evidence are kept.
type Log interface {
	CreateAttempt(ctx context.Context, a Attempt) error
	EndAttempt(ctx context.Context, id string, at time.Time) error
	// RunningAttempts are those that have not ended.
	RunningAttempts(ctx context.Context) ([]Attempt, error)
	// TaughtAttempts are those that ended after since, of learners whom somebody teaches.
	TaughtAttempts(ctx context.Context, since time.Time) ([]Attempt, error)
	// AppendEvents stores events in order and returns them with Seq set.
	AppendEvents(ctx context.Context, attempt string, events ...Event) ([]Event, error)
	Events(ctx context.Context, attempt string, after int64) ([]Event, error)
	// AddEvidence stores evidence that decided something, or is the last there is.
	AddEvidence(ctx context.Context, attempt string, evidence ...grade.Evidence) error
	// AddSeen stores all other evidence, of many attempts at once. What finds
	// no room is left out and counted; full are the attempts that have no more.
	AddSeen(ctx context.Context, seen map[string]Seen) (full []string, err error)
	// LastEvidence returns the last piece of each check.
	LastEvidence(ctx context.Context, attempt string) ([]grade.Evidence, error)
	SetScore(ctx context.Context, attempt string, points, max int) error
	LabKeeper
}

// Config is what [Sessions] needs.
type Config struct {
	Provider   sandbox.Provider
	Log        Log
	Labs       *Catalogue
	Recordings string // folder of the terminal recordings
	// Gate lets starts in; nil: all at once.
	Gate Gate
	// PerLearner bounds the running sessions of one learner; 0 means 3, less than 0 any number.
	PerLearner int
	// Idle is after how long without a key a session is frozen, Orphaned after
	// how long without a page of it, and OrphanEnd when it is then ended; 0 means
	// 10 minutes, 5 minutes and an hour and a half.
	Idle, Orphaned, OrphanEnd time.Duration
	// KeepFor is how long the sandbox of an attempt that has ended is kept, where
	// an instructor may want to see it; 0: not at all.
	KeepFor time.Duration
	// Look is how often the sessions are compared with the sandboxes; 0 means 2
	// seconds. So soon a dead engine, a lost sandbox or an expired session is noticed.
	Look time.Duration
	// Measure is how often it is looked whether a sandbox comes to its limits; 0
	// means 10 seconds.
	Measure time.Duration
	// Trail is how often the audit log of a learner who works is read; 0 means 30 seconds.
	Trail  time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

// Sessions runs all sessions of one server: it starts them, grades them live,
// ends them when their time is up, and after a crash takes up what is left.
type Sessions struct {
	cfg      Config
	log      *slog.Logger
	versions *Versions
	ctx      context.Context // ends with Close
	close    context.CancelFunc
	work     sync.WaitGroup // see background

	starting    sync.Mutex // one Start at a time, so that a learner gets one session of a lab
	mu          sync.Mutex // taken while a session's own is held, never the other way around
	byID        map[string]*Session
	subscribers map[*subscriber]bool
	removing    map[string]bool // sandboxes on their way out, so that none is removed twice at once
	kept        map[string]*leftover
	engineDown  bool      // known to the supervisor alone, as the next
	listed      time.Time // when the supervisor asked for the sandboxes
	measured    time.Time // when it had them measured
	measuring   atomic.Bool
}

type subscriber struct {
	filter func(Event) bool
	events chan Event
}

// NewSessions makes a Sessions; call [Sessions.Boot] before use and [Sessions.Close] at the end.
func NewSessions(cfg Config) *Sessions {
	ctx, cancel := context.WithCancel(context.Background())
	cfg.PerLearner = cmp.Or(cfg.PerLearner, defaultPerLearner)
	cfg.Look, cfg.Measure, cfg.Trail = cmp.Or(cfg.Look, defaultLook), cmp.Or(cfg.Measure, defaultMeasure), cmp.Or(cfg.Trail, defaultTrail)
	cfg.Idle, cfg.Orphaned, cfg.OrphanEnd = cmp.Or(cfg.Idle, defaultIdle), cmp.Or(cfg.Orphaned, defaultOrphaned), cmp.Or(cfg.OrphanEnd, defaultOrphanEnd)
	return &Sessions{
		cfg: cfg, log: cfg.Logger, versions: NewVersions(cfg.Labs, cfg.Log), ctx: ctx, close: cancel,
		byID:        map[string]*Session{},
		subscribers: map[*subscriber]bool{},
		removing:    map[string]bool{},
		kept:        map[string]*leftover{},
	}
}

// Close stops grading and closes the terminals. Sandboxes go on; the next Boot takes them up.
func (s *Sessions) Close() {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for _, session := range s.Running() {
			session.halt()
			session.closeTerminals()
		}
		s.storeSeen() // what the runs told at their end
		s.work.Wait()
	}()
	select {
	case <-stopped:
	case <-time.After(stopTimeout):
		s.log.Warn("not everything has ended in time; the next start of the server cleans up", "waited", stopTimeout)
	}
}

// background runs f, which Close waits for. Once the server stops it refuses.
func (s *Sessions) background(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.work.Go(f)
	return true
}

// Get finds a session that has not ended.
func (s *Sessions) Get(id string) (*Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.byID[id]
	return session, ok
}

// LabOf returns the lab as it was when the attempt was made. Where that is not
// known it is the lab as it is today, and own is false; the error wraps
// [ErrNotKept] when that has left the catalogue, too.
func (s *Sessions) LabOf(ctx context.Context, a Attempt) (lab *Lab, own bool, err error) {
	if session, ok := s.Get(a.ID); ok {
		return session.lab, session.lab.Version == a.Version, nil
	}
	return s.versions.OfOrToday(ctx, a)
}

// Running are the sessions that have not ended, the oldest first.
func (s *Sessions) Running() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Session, 0, len(s.byID))
	for _, session := range s.byID {
		all = append(all, session)
	}
	slices.SortFunc(all, func(a, b *Session) int {
		return cmp.Or(a.attempt.Created.Compare(b.attempt.Created), cmp.Compare(a.ID(), b.ID()))
	})
	return all
}

// Start starts a lab for a learner and returns at once; stages follow as
// events. A learner has one running session of a lab: asking again returns it.
func (s *Sessions) Start(ctx context.Context, user int64, slug string) (*Session, error) {
	lab, ok := s.cfg.Labs.Get(slug)
	if !ok {
		return nil, fmt.Errorf("lab %q: %w", slug, ErrNoSuchLab)
	}
	s.starting.Lock()
	defer s.starting.Unlock()
	for _, running := range s.Running() {
		if running.User() == user && running.lab.Slug == slug {
			return running, nil
		}
	}
	if s.ctx.Err() != nil {
		return nil, ErrStopping
	}
	variants := lab.AllVariants()
	variant := variants[mathrand.IntN(len(variants))]
	if err := s.refusal(user, lab, variant); err != nil {
		return nil, err
	}
	session, err := s.newSession(Attempt{
		ID: newID(), User: user, Lab: slug, Version: lab.Version, Variant: variant.Name, Created: s.cfg.Now(),
	}, lab, variant)
	if err != nil {
		return nil, err
	}
	if err := s.versions.Keep(ctx, lab); err != nil { // before there is an attempt that needs it
		return nil, err
	}
	if err := s.cfg.Log.CreateAttempt(ctx, session.attempt); err != nil {
		return nil, fmt.Errorf("store the attempt: %w", err)
	}
	if err := s.launch(session); err != nil {
		return nil, err
	}
	return session, nil
}

// launch begins a new session's start. The supervisor must not find it before
// that, nor its sandbox without it: so the session is held until it is listed.
func (s *Sessions) launch(session *Session) error {
	session.mu.Lock()
	defer session.mu.Unlock()
	if err := session.freeLocked(); err != nil {
		return err
	}
	session.beginLocked(func(now *stretch) { session.open(now, true) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[session.ID()] = session
	return nil
}

func (s *Sessions) newSession(a Attempt, lab *Lab, v Variant) (*Session, error) {
	checks, problems := grade.Compile(lab.Checks())
	if len(problems) > 0 {
		return nil, fmt.Errorf("lab %s can't be graded: line %d: %s", lab.Slug, problems[0].Line, problems[0].Msg)
	}
	return &Session{
		attempt: a, lab: lab, variant: v, sessions: s, checks: checks,
		progress: Fold(lab, nil),
		seen:     newSeen(s.cfg.Now),
		typed:    map[string]time.Time{},
		touched:  s.cfg.Now(), leftAt: s.cfg.Now(),
	}, nil
}

// finish stores the score of a session that is over and removes its sandbox
// behind it, or keeps it. What can't be stored now, or after a kill, the next boot stores:
// the attempt counts as running until both are.
func (s *Sessions) finish(session *Session) {
	s.mu.Lock()
	delete(s.byID, session.ID())
	s.removing[session.ID()] = true // from here on it is this one's
	s.mu.Unlock()
	p := session.Snapshot()
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	session.mu.Lock()
	rest := Seen{LeftOut: session.seen.leftOut}
	session.mu.Unlock()
	if rest.LeftOut > 0 {
		if _, err := s.cfg.Log.AddSeen(ctx, map[string]Seen{session.ID(): rest}); err != nil {
			s.log.Warn("it could not be stored how much evidence was left out", "session", session.ID(), "err", err)
		}
	}
	err := s.cfg.Log.SetScore(ctx, session.ID(), p.Score, p.MaxScore)
	if err == nil {
		err = s.cfg.Log.EndAttempt(ctx, session.ID(), p.Ended)
	}
	if err != nil {
		s.log.Error("the end of a session could not be stored", "session", session.ID(), "err", err)
	}
	stopping := !s.background(func() {
		session.halt()
		session.closeTerminals()
		defer s.unclaim(session.ID())
		s.leave(session.ID())
	})
	if stopping {
		session.closeTerminals()
	}
}

// destroy removes a sandbox; what fails now is found by label and tried again.
func (s *Sessions) destroy(id string) {
	if s.claim(id) {
		defer s.unclaim(id)
		s.destroyClaimed(id)
	}
}

// claim takes a session's sandbox for one who removes or keeps it, unless
// another one has it already.
func (s *Sessions) claim(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removing[id] {
		return false
	}
	s.removing[id] = true
	return true
}

func (s *Sessions) unclaim(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.removing, id)
}

func (s *Sessions) destroyClaimed(id string) {
	ctx, cancel := context.WithTimeout(s.ctx, removeTimeout)
	defer cancel()
	if err := s.cfg.Provider.Destroy(ctx, id); err != nil && s.ctx.Err() == nil {
		s.log.Warn("a sandbox could not be removed yet", "session", id, "err", err)
	}
}

// Subscribe returns the events of all sessions that pass filter, from now on.
// A reader that lags by more than the buffer has its channel closed and must
// reload from the log.
func (s *Sessions) Subscribe(filter func(Event) bool) (events <-chan Event, cancel func()) {
	sub := &subscriber{filter: filter, events: make(chan Event, subscriberBuffer)}
	s.mu.Lock()
	s.subscribers[sub] = true
	s.mu.Unlock()
	return sub.events, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unsubscribe(sub)
	}
}

func (s *Sessions) unsubscribe(sub *subscriber) {
	if s.subscribers[sub] {
		delete(s.subscribers, sub)
		close(sub.events)
	}
}

func (s *Sessions) publish(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subscribers {
		if sub.filter != nil && !sub.filter(e) {
			continue
		}
		select {
		case sub.events <- e:
		default:
			s.unsubscribe(sub)
		}
	}
}

// newID returns a session id: unguessable, and fit for the name of a cluster.
func newID() string { return strings.ToLower(rand.Text()[:idLength]) }
