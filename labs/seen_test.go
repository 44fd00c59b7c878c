package labs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"drydock/labs/grade"
)

func TestSeenIsBoundedButForWhatDecides(t *testing.T) {
	now := time.Unix(0, 0)
	s := newSeen(func() time.Time { return now })
	half := json.RawMessage(bytes.Repeat([]byte("x"), seenBurst/2+1)) // two are too many
	piece := func(check string, second int) grade.Evidence {
		return grade.Evidence{Check: check, At: time.Unix(int64(second), 0), Data: half}
	}
	checks := func(evidence []grade.Evidence) (out []string) {
		for _, e := range evidence {
			out = append(out, fmt.Sprint(e.Check, e.At.Unix()))
		}
		slices.Sort(out)
		return out
	}
	want := func(what string, got []grade.Evidence, pieces ...string) {
		t.Helper()
		if names := checks(got); !slices.Equal(names, pieces) {
			t.Errorf("%s: %v, want %v", what, names, pieces)
		}
	}
	s.add(piece("a", 1), PhaseStarting) // of a sandbox that is being replaced
	s.add(piece("a", 2), PhaseRunning)
	s.add(piece("b", 3), PhaseTrouble)
	s.add(piece("a", 4), PhaseRunning)
	want("more than may come at once", s.take().Evidence, "a2")
	if s.leftOut != 2 {
		t.Errorf("%d were left out, want 2", s.leftOut)
	}
	want("what decided", s.decisive("a"), "a4")
	if s.leftOut != 1 {
		t.Errorf("%d were left out, want 1", s.leftOut)
	}
	want("at the end", s.final([]grade.Evidence{piece("c", 5)}), "a4", "b3", "c5")

	now = now.Add(2 * seenBurst / seenRate * time.Second) // what was used up comes back with the time
	s.add(piece("a", 6), PhaseRunning)
	taken := s.take()
	want("later", taken.Evidence, "a6")
	s.add(grade.Evidence{Check: "b", At: time.Unix(7, 0), Error: "blind"}, PhaseRunning)
	s.untake(taken.Evidence) // the disk was full
	if s.take(); s.size != 0 {
		t.Errorf("%d bytes are left of nothing", s.size)
	}
	s.full = true
	s.add(grade.Evidence{Check: "b", At: time.Unix(8, 0), Error: "blind"}, PhaseRunning)
	want("without room", s.take().Evidence)
	want("what decided without room", s.decisive("b"), "b8")
	s.forget()
	want("after a reset", s.final(nil))
}
