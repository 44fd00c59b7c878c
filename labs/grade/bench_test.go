package grade

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"drydock/sandbox/machine/boot"
)

// TestBench measures programs here, as on a machine sandbox. It takes root, to
// be others than who measures.
func TestBench(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("measuring programs of other users takes root")
	}
	h := newHere(t)
	dir := filepath.Join(t.TempDir(), "home")
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, boot.LearnerID, boot.LearnerID); err != nil {
		t.Fatal(err)
	}
	program := func(name, source string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(source), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	files := fstest.MapFS{
		"bench/slow.sh": {Data: []byte("read n; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo $((n*2))\n")},
		"bench/make.sh": {Data: []byte("echo $SEED\n")},
	}
	of := func(id, source, that string) Check {
		return Check{ID: id, That: that, Bench: &Bench{
			Command: []string{"sh", program(id, source)}, Dir: dir, Rounds: 8, Timeout: Duration(20 * time.Second),
			Baseline: BenchProgram{Files: "bench/slow.sh", Command: []string{"sh", "slow.sh"}},
			Generate: BenchProgram{Files: "bench/make.sh", Command: []string{"sh", "make.sh"}},
		}}
	}
	set := mustCompile(t,
		of("fast", "read n; echo $((n*2))\n", `bench.correct && bench.high < 0.5 && bench.rounds > 0`),
		of("wrong", "read n; echo $n\n", `bench.correct && bench.ratio < 100.0`),
		of("spies", "cat "+filepath.Join(dir, "..", "..", "*", "slow.sh")+" 2>/dev/null; read n; echo $((n*2))\n", `bench.correct`),
	)
	results := undisturbed(t, set, Env{Exec: h.exec, Files: files})
	if results[0].Verdict != Pass || results[2].Verdict != Pass {
		t.Errorf("a fast program gives %+v, one that looks for the baseline %+v", results[0], results[2])
	}
	if wrong := results[1]; wrong.Verdict != Fail || wrong.Reason == "" {
		t.Errorf("a program with wrong results gives %+v", wrong)
	}
	if _, _, err := set.Once(t.Context(), Env{Exec: h.exec}); err == nil {
		t.Error("a check whose files are not there is run all the same")
	}
}

// undisturbed judges once, and again while other work on this machine has
// disturbed a measurement: that is refused, not guessed.
func undisturbed(t *testing.T, set *Set, env Env) []Result {
	t.Helper()
	for range 8 {
		_, results, err := set.Once(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(results, func(r Result) bool { return r.Verdict == Error }) {
			return results
		}
	}
	t.Fatal("the machine is too busy to measure anything")
	return nil
}

// TestBenchNoRatio: of wrong results there is no ratio that a condition could take for a good one.
func TestBenchNoRatio(t *testing.T) {
	set := mustCompile(t, Check{ID: "b", That: "bench.ratio < 0.5", Bench: &Bench{
		Command:  []string{"./solve"},
		Baseline: BenchProgram{Files: "bench/a", Command: []string{"./a"}}, Generate: BenchProgram{Files: "bench/b", Command: []string{"./b"}},
	}})
	for raw, want := range map[string]Verdict{
		`{"bench":{"correct":false,"wrong":"it printed nothing","ratio":0.1}}`: Fail,
		`{"bench":{"correct":false}}`:                                          Fail,
		`{"bench":{"correct":true,"ratio":0.1}}`:                               Pass,
	} {
		if got := set.conditions[0].judge(json.RawMessage(raw), nil, nil); got.verdict != want {
			t.Errorf("%s: %s, want %s", raw, got.verdict, want)
		}
	}
}
