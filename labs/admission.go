package labs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"drydock/sandbox"
	"drydock/sandbox/fleet"
)

// Gate lets starts in by turns, as far as the machine has room; a
// [fleet.Fleet] is one.
type Gate interface {
	// Accepts says whether a session could be let in at all, if need be after a wait.
	Accepts(spec sandbox.Spec) error
	// Admit waits for leave to make a session's sandbox.
	Admit(ctx context.Context, r fleet.Request, waiting func(fleet.Waiting)) (release func(), err error)
}

// ErrTooMany: the learner has as many sessions as one may have at once. The
// error is a [TooManyError].
var ErrTooMany = errors.New("too many labs are running")

// TooManyError refuses a start, and names what has to end first.
type TooManyError struct {
	Most    int
	Running []*Session // the learner's, the oldest first
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%v: %d of %d", ErrTooMany, len(e.Running), e.Most)
}

// Unwrap is [ErrTooMany].
func (e *TooManyError) Unwrap() error { return ErrTooMany }

// refusal says why a learner can't start the lab now.
func (s *Sessions) refusal(user int64, lab *Lab, v Variant) error {
	mine := slices.DeleteFunc(s.Running(), func(o *Session) bool { return o.User() != user })
	if most := s.cfg.PerLearner; most > 0 && len(mine) >= most {
		return &TooManyError{Most: most, Running: mine}
	}
	if s.cfg.Gate == nil {
		return nil
	}
	return s.cfg.Gate.Accepts(lab.SandboxSpec(s.cfg.Provider, "", v))
}

// StageTurn is the stage of a start that waits for its turn or for memory.
const StageTurn = "Wait for a free place"

// admit waits until the session's sandbox may be made, and tells of the place in the queue.
func (s *Session) admit(ctx context.Context, spec sandbox.Spec) (release func(), err error) {
	if s.sessions.cfg.Gate == nil {
		return func() {}, nil
	}
	waited, began := false, s.sessions.cfg.Now()
	release, err = s.sessions.cfg.Gate.Admit(ctx, fleet.Request{
		Session: s.ID(), Owner: strconv.FormatInt(s.User(), 10), Spec: spec, Reset: !s.Snapshot().Ready.IsZero(),
	}, func(w fleet.Waiting) {
		if !waited {
			waited = true
			s.stage(sandbox.Stage{Name: StageTurn})
		}
		_ = s.emit(Event{Type: EventQueued}, map[string]int64{"place": int64(w.Place), "estimateMs": w.Estimate.Milliseconds()})
	})
	if err == nil && waited {
		s.stage(sandbox.Stage{Name: StageTurn, Done: true, Took: s.sessions.cfg.Now().Sub(began)})
	}
	return release, err
}

// Specs are what all labs and variants ask of a provider, for templates and spares.
func (c *Catalogue) Specs(provider sandbox.Provider) []sandbox.Spec {
	var specs []sandbox.Spec
	for _, lab := range c.All() {
		for _, v := range lab.AllVariants() {
			specs = append(specs, lab.SandboxSpec(provider, "", v))
		}
	}
	return specs
}
