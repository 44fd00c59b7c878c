package dock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"drydock/sandbox"
)

// Changes orders what one process does for each session: one thing at a time,
// and the newest wins. The zero value is ready.
type Changes struct {
	mu    sync.Mutex
	under map[string]*change
}

// change is one operation under way.
type change struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// errReplaced ends a creation whose sandbox is being destroyed.
var errReplaced = errors.New("the sandbox was destroyed while it was being created")

// Begin registers an operation for a session. It ends the one under way, if
// any, and waits until that has cleaned up. The caller calls done at the end.
func (c *Changes) Begin(ctx context.Context, session string) (_ context.Context, done func(), err error) {
	for {
		c.mu.Lock()
		other := c.under[session]
		if other == nil {
			ctx, cancel := context.WithCancelCause(ctx)
			mine := &change{cancel: cancel, done: make(chan struct{})}
			if c.under == nil {
				c.under = map[string]*change{}
			}
			c.under[session] = mine
			c.mu.Unlock()
			return ctx, func() {
				c.mu.Lock()
				delete(c.under, session)
				c.mu.Unlock()
				cancel(nil)
				close(mine.done)
			}, nil
		}
		c.mu.Unlock()
		other.cancel(errReplaced)
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// Stages reports the steps of an operation with the time they took, one report
// at a time although some steps may run side by side.
type Stages struct {
	mu       sync.Mutex
	progress sandbox.Progress
	log      *slog.Logger
}

// NewStages reports to progress, which may be nil.
func NewStages(progress sandbox.Progress, log *slog.Logger) *Stages {
	if progress == nil {
		progress = func(sandbox.Stage) {}
	}
	return &Stages{progress: progress, log: log}
}

// Report passes on what somebody else reports.
func (s *Stages) Report(stage sandbox.Stage) {
	if stage.Done {
		s.log.Debug("stage of a sandbox", "stage", stage.Name, "took", stage.Took)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress(stage)
}

// Run reports a step around fn.
func (s *Stages) Run(name string, fn func() error) error {
	begin := time.Now()
	s.Report(sandbox.Stage{Name: name})
	if err := fn(); err != nil {
		return err
	}
	s.Report(sandbox.Stage{Name: name, Done: true, Took: time.Since(begin)})
	return nil
}

// Await waits until all of work has ended, or ctx. The error then says what
// was attempted.
func Await(ctx context.Context, work *sync.WaitGroup, attempt string) error {
	ended := make(chan struct{})
	go func() {
		work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", attempt, context.Cause(ctx))
	}
}
