package labs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"drydock/labs"
	"drydock/labs/catalogue"
)

func TestPackedLabsAreTheSame(t *testing.T) {
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range set.All() {
		packed, err := lab.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := lab.Pack(); !bytes.Equal(again, packed) {
			t.Errorf("%s is packed differently each time", lab.Slug)
		}
		back, err := labs.Unpack(lab.Slug, lab.Version, packed)
		if err != nil {
			t.Fatal(err)
		}
		if back.Version != lab.Version || back.Readme != lab.Readme || len(back.Checks()) != len(lab.Checks()) {
			t.Errorf("%s became another lab", lab.Slug)
		}
		script, err := fs.ReadFile(back.FS, "lab.yaml")
		if own, _ := fs.ReadFile(lab.FS, "lab.yaml"); err != nil || !bytes.Equal(script, own) {
			t.Errorf("lab.yaml became %d bytes, %v", len(script), err)
		}
		if _, err := labs.Unpack(lab.Slug, "0123456789ab", packed); err == nil {
			t.Error("a lab of another version is taken")
		}
		for _, bad := range [][]byte{nil, []byte("not a zip"), packed[:len(packed)/2]} {
			if _, err := labs.Unpack(lab.Slug, lab.Version, bad); err == nil {
				t.Errorf("%d bytes of a lab are taken", len(bad))
			}
		}
	}
}

// changedLabs are the labs of the harbour after an author has worked on them:
// the flag's check wants another file now. With gone there is no such lab any more.
func changedLabs(t *testing.T, gone bool) *labs.Catalogue {
	t.Helper()
	slug := "flag"
	if gone {
		slug = "another"
	}
	set, err := labs.LoadCatalogue(fstest.MapFS{
		slug + "/lab.yaml":      {Data: []byte(strings.ReplaceAll(flagLab, "[ls, flag], every", "[ls, banner], every"))},
		slug + "/README.md":     {Data: []byte("# A flag\n\n## Say what is missing {#say}\n\nLook.\n\n## Put it up {#raise}\n\nRaise it.\n")},
		slug + "/setup/down.sh": {Data: []byte("rm -f banner\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// An attempt is finished with the lab that it was begun with, whatever has
// become of the lab meanwhile.
func TestAttemptsKeepTheirLab(t *testing.T) {
	for name, gone := range map[string]bool{"changed": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t)
			first := h.serve("")
			session := first.running()
			lab := session.Lab()
			first.kill()
			h.labs = changedLabs(t, gone)
			second := h.serve("")
			session = second.adopted()
			if got := session.Lab().Version; got != lab.Version {
				t.Fatalf("it goes on with version %s, not with its own %s", got, lab.Version)
			}
			h.inPhase(session, labs.PhaseRunning)
			if err := session.Reset(t.Context()); err != nil { // set up with its own scripts, too
				t.Fatal(err)
			}
			h.eventually("the reset is done", func() bool {
				p := session.Snapshot()
				return p.Resets == 1 && p.Phase == labs.PhaseRunning
			})
			h.write(session.ID(), "flag")
			h.eventually("the task of the lab's own version ticks", func() bool { return taskDone(session, "raise") })
			if err := session.End(t.Context(), "learner"); err != nil {
				t.Fatal(err)
			}
			if got := h.over(session.ID()); got != 60 {
				t.Errorf("score %d, want 60", got)
			}
			ended, err := h.store.Attempt(t.Context(), session.ID())
			if err != nil {
				t.Fatal(err)
			}
			if shown, own, err := second.LabOf(t.Context(), ended); err != nil || !own || shown.Version != lab.Version {
				t.Errorf("afterwards it is shown with %v, its own: %v, %v", shown, own, err)
			}
			ended.Version = "0123456789ab"
			if _, own, err := second.LabOf(t.Context(), ended); own || errors.Is(err, labs.ErrNotKept) != gone {
				t.Errorf("a version that was not kept: own %v, %v", own, err)
			}
		})
	}
}
