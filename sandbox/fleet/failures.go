package fleet

import (
	"context"
	"slices"
	"strings"
	"sync"

	"drydock/sandbox"
)

const (
	// failuresKept is a page of them.
	failuresKept = 50
	// logKept is the end of what the tools printed, in bytes, where the reason stands.
	logKept = 4 << 10
)

// fail keeps a failure for the operator. What was called off is none.
func (f *Fleet) fail(ctx context.Context, failure Failure, err error) {
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled {
		return
	}
	failure.At = f.cfg.Now()
	text, log, _ := strings.Cut(err.Error(), "\n")
	failure.Error, failure.Log = text, log[max(0, len(log)-logKept):]
	f.log.Warn("a sandbox operation failed", "doing", failure.Doing, "session", failure.Session, "sandbox", failure.Sandbox,
		"template", failure.Template, "stage", failure.Stage, "err", err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, failure)
	if len(f.failures) > failuresKept {
		f.failures = slices.Delete(f.failures, 0, len(f.failures)-failuresKept)
	}
}

// tracker passes stages on and knows the last one begun.
type tracker struct {
	to sandbox.Progress

	mu   sync.Mutex
	last string
}

func track(to sandbox.Progress) *tracker { return &tracker{to: to} }

func (t *tracker) progress(stage sandbox.Stage) {
	if !stage.Done {
		t.mu.Lock()
		t.last = stage.Name
		t.mu.Unlock()
	}
	if t.to != nil {
		t.to(stage)
	}
}

func (t *tracker) stage() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}
