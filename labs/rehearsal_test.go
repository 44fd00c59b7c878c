package labs_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
)

// draft is a lab that is being written, with a rehearsal of it that follows.
type draft struct {
	t         *testing.T
	folder    string
	dock      *dock
	rehearsal *labs.Rehearsal

	mu     sync.Mutex
	events []labs.RehearsalEvent
}

var draftFiles = map[string]string{
	"lab.yaml":       strings.Replace(flagLab, "sandbox: {kind: cluster, access: cluster}", "sandbox: {kind: machine}", 1),
	"README.md":      "# A flag\n\n## Say what is missing {#say}\n\nLook.\n\n## Put it up {#raise}\n\nRaise it.\n",
	"setup/down.sh":  "rm -f flag sawn\n",
	"files/flag.txt": "blue\n",
}

func newDraft(t *testing.T) *draft {
	d := &draft{t: t, folder: filepath.Join(t.TempDir(), "flag"), dock: newDock(t)}
	for name, text := range draftFiles {
		d.save(name, text)
	}
	files, copies := os.DirFS(filepath.Dir(d.folder)), t.TempDir()
	lab, err := labs.LoadCopy(files, "flag", copies)
	if err != nil {
		t.Fatal(err)
	}
	d.rehearsal = labs.NewRehearsal(d.dock, "start", lab, lab.AllVariants()[0], d.told)
	if err := d.rehearsal.Open(t.Context(), func(sandbox.Stage) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() {
		labs.Follow(ctx, files, lab, copies, func(lab *labs.Lab, problems labs.Problems) {
			if lab == nil {
				d.rehearsal.Broken(problems)
			} else {
				d.rehearsal.Reload(ctx, lab)
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		following.Wait()
		if err := d.rehearsal.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if d.dock.has("start") {
			t.Error("the sandbox was left behind")
		}
	})
	return d
}

// save writes a file as many editors do: another one, which takes its place.
func (d *draft) save(name, text string) {
	d.t.Helper()
	file := filepath.Join(d.folder, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = os.WriteFile(file+".new", []byte(text), 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *draft) edit(old, now string) {
	d.t.Helper()
	file := filepath.Join(d.folder, "lab.yaml")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		d.t.Fatalf("no %q in lab.yaml: %v", old, err)
	}
	d.save("lab.yaml", strings.Replace(string(text), old, now, 1))
}

func (d *draft) put(name string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dock.home("start"), name), nil, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *draft) told(e labs.RehearsalEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// next waits for the next event of a type, and forgets those up to it.
func (d *draft) next(what labs.RehearsalEventType) (found labs.RehearsalEvent) {
	d.t.Helper()
	(&harbour{t: d.t}).eventually("event "+string(what), func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		i := slices.IndexFunc(d.events, func(e labs.RehearsalEvent) bool { return e.Type == what })
		if i >= 0 {
			found, d.events = d.events[i], d.events[i+1:]
		}
		return i >= 0
	})
	return found
}

// TestRehearsalFollowsWhatIsSaved edits a lab while its author works on it.
func TestRehearsalFollowsWhatIsSaved(t *testing.T) {
	t.Parallel()
	d := newDraft(t)
	if e := d.next(labs.RehearsalReady); e.Variant != "default" || e.Version == "" {
		t.Errorf("ready: %+v", e)
	}
	d.put("flag")
	if e := d.next(labs.RehearsalCheck); e.ID != "up" || !e.Holding {
		t.Errorf("first, what holds is told: %+v", e)
	}
	if e := d.next(labs.RehearsalCheck); e.ID != "up" || e.Verdict != grade.Pass {
		t.Errorf("then that it passes: %+v", e)
	}
	if e := d.next(labs.RehearsalTask); e.ID != "raise" || !e.Done {
		t.Errorf("and that the task is done: %+v", e)
	}

	// An error changes nothing but is told with its place; the old checks still judge.
	d.edit(`that: "result.code == 0", hold: 1s`, `that: "result.cod == 0", hold: 1s`)
	if e := d.next(labs.RehearsalProblems); len(e.Problems) != 1 || e.Problems[0].File != "flag/lab.yaml" || e.Problems[0].Line == 0 || !strings.Contains(e.Problems[0].Msg, "cod") {
		t.Errorf("problems: %+v", e.Problems)
	}
	if err := os.Remove(filepath.Join(d.dock.home("start"), "flag")); err != nil {
		t.Fatal(err)
	}
	if e := d.next(labs.RehearsalTask); e.ID != "raise" || e.Done {
		t.Errorf("no longer done: %+v", e)
	}

	// What can be judged in the same sandbox is, at once: here the check is turned round.
	d.edit(`that: "result.cod == 0", hold: 1s`, `that: "result.code != 0"`)
	if e := d.next(labs.RehearsalReload); len(e.Reset) != 0 || len(e.Baselines) != 0 {
		t.Errorf("reload: %+v", e)
	}
	if e := d.next(labs.RehearsalTask); e.ID != "raise" || !e.Done {
		t.Errorf("judged by the new check: %+v", e)
	}

	// The guard keeps what it saw at hand-over; a new one has to make do with now.
	d.put("sawn")
	if e := d.next(labs.RehearsalGuard); e.ID != "mast" || e.Reason != "the mast was sawn off" {
		t.Errorf("guard: %+v", e)
	}
	d.edit("guards:\n", "guards:\n  - {id: keel, exec: {on: terminal, command: [ls, sawn]}, that: \"result.code == baseline.code\"}\n")
	if e := d.next(labs.RehearsalReload); len(e.Reset) != 0 || !slices.Equal(e.Baselines, []string{"keel"}) {
		t.Errorf("reload: %+v", e)
	}

	// What only a fresh sandbox shows is named, and there after a reset.
	d.save("setup/down.sh", "rm -f flag sawn; touch flag\n")
	e := d.next(labs.RehearsalReload)
	if !slices.Equal(e.Reset, []string{"setup/down.sh"}) {
		t.Errorf("reload: %+v", e)
	}
	d.edit(`that: "result.code != 0"}`+"\ntasks", `that: "result.code == 0"}`+"\ntasks")
	if e = d.next(labs.RehearsalReload); !slices.Equal(e.Reset, []string{"ready", "setup/down.sh"}) {
		t.Errorf("reload: %+v", e)
	}
	if err := d.rehearsal.Reset(t.Context(), "", func(sandbox.Stage) {}); err != nil {
		t.Fatal(err)
	}
	if ready := d.next(labs.RehearsalReady); ready.Version != e.Version {
		t.Errorf("reset to version %s, want %s", ready.Version, e.Version)
	}
	if s := d.rehearsal.Standing(); s.Violated["mast"] || s.Done["raise"] {
		t.Errorf("after a reset: %+v", s)
	}
	if err := d.rehearsal.Reset(t.Context(), "defualt", nil); err == nil || !strings.Contains(err.Error(), `did you mean "default"?`) {
		t.Errorf("reset to an unknown variant: %v", err)
	}
}

func TestRehearsalAnswersAndHints(t *testing.T) {
	t.Parallel()
	d := newDraft(t)
	if right, err := d.rehearsal.Answer("say", "the mast"); err != nil || right {
		t.Errorf("a wrong answer: %v, %v", right, err)
	}
	if right, err := d.rehearsal.Answer("say", " Flag"); err != nil || !right {
		t.Errorf("the right answer: %v, %v", right, err)
	}
	if e := d.next(labs.RehearsalTask); e.ID != "say" || !e.Done || d.rehearsal.Standing().Points() != 40 {
		t.Errorf("told %+v, %d points", e, d.rehearsal.Standing().Points())
	}
	if _, err := d.rehearsal.Answer("sai", "flag"); err == nil || !strings.Contains(err.Error(), `did you mean "say"?`) {
		t.Errorf("error %v", err)
	}
	first, ok := d.rehearsal.Hint("say")
	second, ok2 := d.rehearsal.Hint("say")
	if _, more := d.rehearsal.Hint("say"); !ok || !ok2 || more || first.Text != "Look around." || second.Cost != 5 {
		t.Errorf("hints %+v, %+v, more %v", first, second, more)
	}
}

// A lab that can't be read for a moment, or is gone, is told once and followed on.
func TestFollowOutlivesWhatIsTorn(t *testing.T) {
	t.Parallel()
	d := newDraft(t)
	d.next(labs.RehearsalReady)
	if err := os.Rename(d.folder, d.folder+".away"); err != nil {
		t.Fatal(err)
	}
	if e := d.next(labs.RehearsalProblems); len(e.Problems) == 0 {
		t.Errorf("told %+v", e)
	}
	began := time.Now()
	if err := os.Rename(d.folder+".away", d.folder); err != nil {
		t.Fatal(err)
	}
	if e := d.next(labs.RehearsalReload); e.At.Before(began) || len(e.Reset) != 0 {
		t.Errorf("told %+v", e)
	}
}
