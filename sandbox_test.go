package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/fleet"
)

// listedProvider has two sandboxes and can measure one of them.
type listedProvider struct {
	sandbox.Provider
	removed []string
}

var listed = []sandbox.Info{
	{ID: "spare1", Kind: sandbox.Cluster, Use: sandbox.Spare, State: sandbox.Frozen, Template: "t1", Created: time.Unix(2000, 0)},
	{ID: "box1", Session: "session1", Kind: sandbox.Cluster, Use: sandbox.Serving, State: sandbox.Running, Template: "t1", Created: time.Unix(1000, 0)},
}

func (p *listedProvider) List(context.Context) ([]sandbox.Info, error) { return listed, nil }

func (p *listedProvider) Usage(_ context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	return map[string]sandbox.Usage{"box1": {Memory: 350 << 20, PIDs: 120}}, errors.New(strings.Join(ids, " ") + ": one hangs")
}

func (p *listedProvider) Destroy(_ context.Context, session string) error {
	p.removed = append(p.removed, "session "+session)
	return nil
}

func (p *listedProvider) Discard(_ context.Context, id string) error {
	p.removed = append(p.removed, "sandbox "+id)
	return nil
}

// One sandbox that can't be measured hides no other.
func TestSandboxList(t *testing.T) {
	lines, err := measureSandboxes(t.Context(), &listedProvider{}, []sandbox.Template{{ID: "t1", Name: "lab-1-typo"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printSandboxes(&out, &out, lines, false); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(rows) != 3 {
		t.Fatalf("got\n%s", &out)
	}
	for i, want := range []string{
		"ID SESSION USE KIND STATE TEMPLATE MEMORY PIDS DISK AGE",
		"box1 session1 serving cluster running lab-1-typo 350MiB 120 -",
		"spare1 - spare cluster frozen lab-1-typo - 0 -",
	} {
		if got := strings.Join(strings.Fields(rows[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
	out.Reset()
	if err := printSandboxes(&out, &out, lines, true); err != nil {
		t.Fatal(err)
	}
	var first sandboxLine
	if err := json.NewDecoder(&out).Decode(&first); err != nil || first.ID != "box1" || first.Usage.Memory != 350<<20 || first.TemplateName != "lab-1-typo" {
		t.Errorf("as JSON: %+v, %v", first, err)
	}
}

// Both a session's id and a sandbox's own remove it; what is in no list is a session's.
func TestSandboxRemoveTakesEitherID(t *testing.T) {
	p := &listedProvider{}
	for _, name := range []string{"spare1", "session1", "gone"} {
		if err := removeSandbox(t.Context(), p, listed, name); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(p.removed, ", "); got != "sandbox spare1, session session1, session gone" {
		t.Error(got)
	}
}

func (p *listedProvider) Kind() sandbox.Kind { return sandbox.Cluster }

func (p *listedProvider) Templates(context.Context) ([]sandbox.Template, error) {
	return []sandbox.Template{{ID: "t1", Name: "lab-1-typo", Kind: sandbox.Cluster}}, nil
}

func (p *listedProvider) RemoveTemplate(_ context.Context, id string) error {
	p.removed = append(p.removed, "template "+id)
	return nil
}

// silentProvider is of another kind, and its engine does not answer.
type silentProvider struct{ sandbox.Provider }

func (silentProvider) Kind() sandbox.Kind { return sandbox.Machine }

func (silentProvider) List(context.Context) ([]sandbox.Info, error) { return nil, sandbox.ErrEngine }

func (silentProvider) Templates(context.Context) ([]sandbox.Template, error) {
	return nil, sandbox.ErrEngine
}

func (silentProvider) Destroy(context.Context, string) error { return sandbox.ErrEngine }

// A kind of sandbox that does not answer hides nothing of the others, and the
// command fails saying which it is.
func TestSandboxCommandsWithASilentKind(t *testing.T) {
	p := &listedProvider{}
	both, err := fleet.New(fleet.Config{Providers: []sandbox.Provider{p, silentProvider{}}})
	if err != nil {
		t.Fatal(err)
	}
	silent := func(err error) bool {
		return errors.Is(err, sandbox.ErrEngine) && strings.Contains(err.Error(), "kind machine did not answer")
	}
	var out, hints bytes.Buffer
	if err := listSandboxes(t.Context(), both, &out, &hints, true); !silent(err) || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), `"TemplateName":"lab-1-typo"`) {
		t.Errorf("list: %v, and printed\n%s", err, &out)
	}
	out.Reset()
	if err := listTemplates(t.Context(), both, &out, &hints, false); !silent(err) || !strings.Contains(out.String(), "lab-1-typo") {
		t.Errorf("list --templates: %v, and printed\n%s", err, &out)
	}
	hints.Reset()
	if err := removeSandboxes(t.Context(), both, []string{"gone", "box1"}, &hints); !errors.Is(err, sandbox.ErrEngine) || hints.String() != "removed the sandbox box1\n" {
		t.Errorf("remove: %v, and said %q", err, &hints)
	}
	if err := clearOld(t.Context(), both, &hints); err != nil || !strings.Contains(hints.String(), "kind machine did not answer") {
		t.Errorf("an author's start: %v, and said %q", err, &hints)
	}
	p.removed = nil
	if err := removeAll(t.Context(), both, &hints); !silent(err) {
		t.Errorf("remove --all: %v", err)
	}
	if got := strings.Join(p.removed, ", "); got != "sandbox spare1, sandbox box1, template t1" {
		t.Errorf("remove --all removed %s", got)
	}
	// Where nothing answers there is nothing to show.
	none, err := fleet.New(fleet.Config{Providers: []sandbox.Provider{silentProvider{}}})
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := errors.Join(listSandboxes(t.Context(), none, &out, &out, false), listTemplates(t.Context(), none, &out, &out, false)); err == nil || out.Len() > 0 {
		t.Errorf("without any answer: %v, and printed %q", err, &out)
	}
	if err := clearOld(t.Context(), none, &out); !errors.Is(err, sandbox.ErrEngine) {
		t.Errorf("an author's start without any answer: %v", err)
	}
}

func TestLeftovers(t *testing.T) {
	before := []sandbox.Info{{ID: "a", Use: sandbox.Preparing}, {ID: "b", Use: sandbox.Leaving}, {ID: "c", Use: sandbox.Preparing}, {ID: "d", Use: sandbox.Spare}}
	if n := leftovers(before, []sandbox.Info{{ID: "c", Use: sandbox.Preparing}}); n != 2 {
		t.Errorf("%d leftovers, want a and b", n)
	}
}
