package grade

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drydock/labs/trail"
	"drydock/sandbox"
)

// TestFile looks at files of this machine, as at those of a machine sandbox.
func TestFile(t *testing.T) {
	h := newHere(t)
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config", "port=5432\ntwo\n", 0o640)
	write("empty", "", 0o600)
	write("big", strings.Repeat("x", 3*maxFile), 0o600)
	write("-rf", "a name that looks like an option", 0o600)
	if err := os.Symlink("/etc/shadow", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, that string }{
		{config, `file.exists && file.kind == "file" && file.mode == "0640" && file.size == 14 && file.text == "port=5432\ntwo\n"`},
		{filepath.Join(dir, "empty"), `file.kind == "file" && file.size == 0 && file.text == ""`},
		{filepath.Join(dir, "big"), fmt.Sprintf(`file.size == %d && size(file.text) == %d`, 3*maxFile, maxFile)},
		{dir + "/./-rf", `file.text.startsWith("a name")`},
		{dir, `file.kind == "directory" && file.text == ""`},
		{filepath.Join(dir, "link"), `file.kind == "link" && file.target == "/etc/shadow" && file.text == ""`},
		{filepath.Join(dir, "none"), `!file.exists && file.error == "" && file.kind == ""`},
		{config + "/below", `!file.exists`},
		{"/dev/zero", `file.kind == "other" && file.text == ""`},
	}
	var checks []Check
	for _, test := range tests {
		checks = append(checks, Check{File: &File{On: "node", Path: test.path}, That: test.that})
	}
	checks = append(checks, Check{ID: "missing", File: &File{On: "terminal", Path: "/no/such/file"}, That: `file.text == "x"`})
	_, results, err := mustCompile(t, checks...).Once(t.Context(), Env{Exec: h.exec})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results[:len(tests)] {
		if r.Verdict != Pass {
			t.Errorf("%s: %+v", tests[i].that, r)
		}
	}
	if last := results[len(tests)]; last.Verdict != Fail || last.Reason != "/no/such/file does not exist" {
		t.Errorf("a file that is not there gives %+v", last)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("regular file|3|644|root|root|1763890000\nabc\nxyz"))
	f.Add([]byte("none\n"))
	f.Add([]byte("symbolic link|3|777|a|b|0\n/etc\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		if state, err := parseFile(out); (state == nil) == (err == nil) {
			t.Errorf("%q gives %+v, %v", out, state, err)
		}
	})
}

// TestEvents: both forms of events are read, the oldest first.
func TestEvents(t *testing.T) {
	object := func(raw string) map[string]any {
		var o map[string]any
		if err := json.Unmarshal([]byte(raw), &o); err != nil {
			t.Fatal(err)
		}
		d, err := decodeData(json.RawMessage(`{"object":` + raw + `}`)) // whole numbers stay whole
		if err != nil {
			t.Fatal(err)
		}
		return d.Object
	}
	seen := eventsSeen(map[string]map[string]any{
		"a": object(`{"type":"Warning","reason":"BackOff","message":"again","involvedObject":{"kind":"Pod","name":"web"},
			"source":{"component":"kubelet"},"reportingComponent":"kubelet","count":3,"firstTimestamp":"2026-11-23T09:00:00Z","lastTimestamp":"2026-11-23T09:05:00Z"}`),
		"b": object(`{"type":"Normal","reason":"Scheduled","message":"to node","involvedObject":{"kind":"Pod","name":"web"},
			"reportingComponent":"default-scheduler","eventTime":"2026-11-23T08:59:00.000000Z","metadata":{"creationTimestamp":"2026-11-23T08:59:00Z"}}`),
	})
	raw, err := seen.encode()
	if err != nil {
		t.Fatal(err)
	}
	set := mustCompile(t, Check{ID: "e", Events: &Events{Namespace: "shop", Kind: "Pod"}, That: `size(events) == 2 && events[0].reason == "Scheduled" &&
		events[0].from == "default-scheduler" && events[0].count == 1 && events[1].count == 3 && events[1].from == "kubelet" && events[1].last > events[0].last`})
	if got := set.conditions[0].judge(raw, nil, nil); got.verdict != Pass {
		t.Errorf("%s of %s: %s", got.verdict, raw, got.reason)
	}
}

// TestAudit: only what the check is about is kept, and the log is read on from
// where it was.
func TestAudit(t *testing.T) {
	const line = `{"stage":"ResponseComplete","requestReceivedTimestamp":"2026-11-23T09:0%d:00Z","verb":"%s","requestURI":"/x","user":{"username":"system:serviceaccount:drydock:learner"},"objectRef":{"resource":"pods","namespace":"shop","name":"%s"},"responseStatus":{"code":200}}`
	parts := map[string]string{
		"":  `{"cursor":"1","more":true}` + "\n" + fmt.Sprintf(line, 1, "get", "web") + "\n",
		"1": `{"cursor":"2"}` + "\n" + fmt.Sprintf(line, 2, "delete", "web") + "\n" + fmt.Sprintf(line, 3, "delete", "other") + "\n",
		"2": `{"cursor":"2"}` + "\n",
	}
	env := Env{Exec: func(_ context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		since := ""
		if len(cmd.Argv) > 2 {
			since = cmd.Argv[2]
		}
		return sandbox.Result{Stdout: []byte(parts[since])}, nil
	}}
	p, err := newPlace(env)
	if err != nil {
		t.Fatal(err)
	}
	a := &audits{place: p, audit: Audit{Verbs: []string{"delete"}, Resource: "pods", Name: "web"}}
	set := mustCompile(t, Check{ID: "a", Audit: &a.audit, That: `size(audit) == 1 && audit[0].does == "destroy" && audit[0].name == "web" && audit[0].by == ""`})
	for range 2 {
		seen, err := a.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := seen.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got := set.conditions[0].judge(raw, nil, nil); got.verdict != Pass {
			t.Errorf("%s of %s: %s", got.verdict, raw, got.reason)
		}
	}
}

// TestAuditWithAGap: what was written over before it was read may be just what the
// check asks for, and so it can't be decided any more.
func TestAuditWithAGap(t *testing.T) {
	for name, gap := range map[string]string{
		"written over":      `{"cursor":"2","lost":true}` + "\n",
		"a line too long":   `{"cursor":"2","more":true}` + "\n",
		"the middle of one": `{"cursor":"2","more":true}` + "\naaaaaaaa",
	} {
		t.Run(name, func(t *testing.T) {
			env := Env{Exec: func(_ context.Context, cmd sandbox.Command) (sandbox.Result, error) {
				if len(cmd.Argv) == 2 {
					return sandbox.Result{Stdout: []byte(gap)}, nil
				}
				return sandbox.Result{Stdout: []byte(`{"cursor":"3"}` + "\n")}, nil
			}}
			p, err := newPlace(env)
			if err != nil {
				t.Fatal(err)
			}
			a := &audits{place: p}
			for range 2 { // the second look brings nothing new, and is no better
				_, err := a.look(t.Context())
				if gone := err != nil; gone != (name != "the middle of one") {
					t.Errorf("a look gives %v", err)
				}
			}
		})
	}
}

// TestAuditKeepsWhatDestroys: looking often hides nothing.
func TestAuditKeepsWhatDestroys(t *testing.T) {
	all := []trail.Request{{Class: trail.Destroy, Name: "first"}, {Class: trail.Change, Name: "second"}}
	for range 2 * maxRequests {
		all = append(all, trail.Request{Class: trail.Look})
	}
	kept := latestRequests(slices.Clone(all))
	if len(kept) != maxRequests || kept[0].Name != "first" || kept[1].Name != "second" {
		t.Errorf("%d are kept, the first two %+v", len(kept), kept[:2])
	}
	for range maxRequests {
		all = append(all, trail.Request{Class: trail.Change})
	}
	if kept = latestRequests(all); len(kept) != maxRequests || kept[0].Name != "first" || kept[1].Name == "second" {
		t.Errorf("%d are kept, the first two %+v", len(kept), kept[:2])
	}
}
