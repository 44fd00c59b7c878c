package dock

import (
	"context"
	"errors"
	"testing"
)

// TestChanges: the newest operation for a session ends the one before and waits
// until that has cleaned up; another session's is not touched.
func TestChanges(t *testing.T) {
	var changes Changes
	first, done, err := changes.Begin(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	other, otherDone, err := changes.Begin(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	defer otherDone()
	cleaned := false
	go func() {
		<-first.Done()
		cleaned = true
		done()
	}()
	second, done, err := changes.Begin(t.Context(), "one")
	if err != nil || !cleaned || second.Err() != nil || !errors.Is(context.Cause(first), errReplaced) || other.Err() != nil {
		t.Errorf("begin: %v, cleaned %v, the first ended for %v, the other %v", err, cleaned, context.Cause(first), other.Err())
	}
	// One who stops waiting leaves the other to clean up.
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := changes.Begin(impatient, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("an impatient one gets %v", err)
	}
	done()
}
