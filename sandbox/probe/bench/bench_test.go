package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asBench in the environment makes the test binary `drydock-probe bench`.
const asBench = "DRYDOCK_TEST_BENCH"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == BecomeVerb {
		runtime.LockOSThread()
		fmt.Fprintln(os.Stderr, Become(os.Args[2:]))
		os.Exit(1)
	}
	if os.Getenv(asBench) != "" {
		if err := measureHere(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func measureHere() error {
	spec, err := ReadSpec(os.Stdin)
	if err != nil {
		return err
	}
	report, err := Run(context.Background(), os.Args[0], spec)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// learner is the user of the learner's programs.
const learner = 1000

// measured runs a measurement in a process namespace of its own, as on a
// machine. beside is a shell script that starts what else is there; after is
// one that looks at what is left, and prints what is wrong.
func measured(t *testing.T, spec Spec, beside, after string) Report {
	t.Helper()
	if testing.Short() {
		t.Skip("needs root: make test runs it")
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test runs programs as several users: run it as root")
	}
	if spec.UID == 0 {
		spec.UID, spec.GID = learner, learner
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), MaxTotal)
	defer cancel()
	// As the first process the shell outlives what it starts, and all ends with it.
	script := beside + "\n" + asBench + `=1 "$1" <"$2"; code=$?` + "\n{ :; " + after + "\n} >&2\nexit $code\n"
	cmd := exec.CommandContext(ctx, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh", self, file(t, string(text)))
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		t.Fatalf("measure: %v: %s", err, &failed)
	}
	if failed.Len() > 0 {
		t.Errorf("afterwards: %s", &failed)
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	t.Logf("%.1000s", &out)
	return report
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// open is a directory that everybody can write to.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench-test-") // t.TempDir's are below one that others may not enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sum adds the numbers that it reads, and takes some time for them.
const sum = "s=0; while read n; do s=$((s+n)); done; echo $s"

// numbers are other ones for each seed.
var numbers = Program{Files: map[string]string{"lib/count": "20000"}, Command: []string{"sh", "-c",
	`awk -v seed=$SEED -v count=$(cat lib/count) 'BEGIN { srand(seed); for (i = 0; i < count; i++) print int(rand() * 1000) }'`}}

// comparison of a program with the sum.
func against(program string) Spec {
	return Spec{
		Command: []string{"sh", "-c", program}, Generate: &numbers, Rounds: 9,
		Baseline: Program{Files: map[string]string{"sum.sh": sum}, Command: []string{"sh", "sum.sh"}},
	}
}

// noise keeps one of the processors busy the whole time.
const noise = "while :; do :; done &"

// TestEqual: a program is as fast as itself, also on a busy machine.
func TestEqual(t *testing.T) {
	// One interval of twenty may miss.
	for range 3 {
		r := measured(t, against(sum), noise, "")
		if !r.Correct || r.Error != "" || r.Ratio < 0.7 || r.Ratio > 1.4 {
			t.Fatalf("%+v", r)
		}
		if r.Low <= 1 && 1 <= r.High {
			return
		}
	}
	t.Error("none of three intervals holds 1")
}

// TestSlower: twice the work is told apart, also on a busy machine.
func TestSlower(t *testing.T) {
	spec := against("cat >all; for again in 1 2; do s=0; while read n; do s=$((s+n)); done <all; done; echo $s")
	spec.Directory = open(t)
	r := measured(t, spec, noise, "")
	if !r.Correct || r.Error != "" || r.Low < 1.3 || r.High > 3 || r.Low > r.Ratio || r.Ratio > r.High || len(r.Rounds) < MinRounds {
		t.Errorf("%+v", r)
	}
}

// TestWork: it does not matter who does it, as long as it was started by the program.
func TestWork(t *testing.T) {
	spec := against("rm -f in out; mkfifo in out; (setsid sh -c '" + sum + "' <in >out &) ; exec 3<&0; cat <&3 >in & cat out")
	spec.Directory = open(t)
	if r := measured(t, spec, "", ""); !r.Correct || r.Error != "" || r.Ratio < 0.6 {
		t.Errorf("a program whose work is done by an orphan: %+v", r)
	}
}

// TestOffload: what somebody else does for the program is not its own.
func TestOffload(t *testing.T) {
	spec := against("exec 3<&0; cat <&3 >in & cat out")
	spec.Directory = open(t)
	servant := "cd " + spec.Directory + "; mkfifo -m 666 in out; while :; do (" + sum + ") <in >out; done &"
	if r := measured(t, spec, servant, ""); r.Correct || !strings.Contains(r.Error, "busy on the machine while your program was measured") {
		t.Errorf("a program whose work is done by another: %+v", r)
	}
}

func TestWall(t *testing.T) {
	spec := against("sleep 0.3; " + sum)
	spec.Measure = Wall
	spec.Rounds = MinRounds
	r := measured(t, spec, "", "")
	if !r.Correct || r.Low > r.Ratio || r.Ratio > r.High {
		t.Errorf("%+v", r)
	}
	for _, round := range r.Rounds {
		if round.Learner < 0.3 {
			t.Errorf("%+v took less than it slept", round)
		}
	}
}

// TestWrong: what is not right is said in words.
func TestWrong(t *testing.T) {
	small := Program{Command: []string{"sh", "-c", "echo 1 2; echo $SEED"}}
	for name, test := range map[string]struct {
		program string
		want    string // the reason, and the difference
	}{
		"another line":      {`read a b; echo $a $b; echo three`, "it printed something else than it should 2"},
		"a line too few":    {"head -n 1", "it printed something else than it should 2"},
		"a line too many":   {"cat; echo more", "it printed something else than it should 3"},
		"nothing":           {":", "it printed something else than it should 1"},
		"it fails":          {"cat; echo no room >&2; exit 3", "it ended with code 3: no room 0"},
		"it is killed":      {"kill -SEGV $$", "it was ended by the signal SIGSEGV 0"},
		"it hangs":          {"cat; sleep 4244", "it had not ended after 1 s 0"},
		"its orphan hangs":  {"cat; setsid sleep 4244 & setsid sh -c 'setsid sleep 4244 & sleep 4244' & echo more", "it printed something else than it should 3"},
		"it changes groups": {"cat; setsid --fork sleep 4244; exec setsid --wait sleep 4244", "it had not ended after 1 s 0"},
		"a flood":           {"yes", "it printed more than 16 MiB 0"},
		"a bomb":            {"bomb() { bomb | bomb & }; bomb; cat; echo more; sleep 4244", ""},
		"there is none":     {"", "/no/such/program cannot be run: no such file or directory 0"},
		"too much memory":   {"head -c 200M /dev/zero | tail -c 150M | wc -c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := Spec{
				Command: []string{"sh", "-c", test.program}, Baseline: Program{Command: []string{"cat"}}, Generate: &small,
				Timeout: time.Second, Rounds: MinRounds, Memory: 64 << 20,
			}
			if test.program == "" {
				spec.Command = []string{"/no/such/program"}
			}
			r := measured(t, spec, "", "grep -lzx 4244 /proc/[0-9]*/cmdline 2>/dev/null; ls -d /tmp/drydock-bench-*/ 2>/dev/null")
			line := 0
			if r.Difference != nil {
				line = r.Difference.Line
			}
			if r.Correct || r.Error != "" || r.Wrong == "" || test.want != "" && fmt.Sprint(r.Wrong, " ", line) != test.want {
				t.Errorf("%+v, want %s", r, test.want)
			}
		})
	}
}

// TestRefused: what the learner's program cannot do.
func TestRefused(t *testing.T) {
	attempts := map[string]string{
		"read the baseline":            "cat /tmp/drydock-bench-*/baseline/* /tmp/drydock-bench-*/*/*",
		"list what the lab has":        "ls /tmp/drydock-bench-*",
		"change its input":             "echo x >>/dev/stdin",
		"be root":                      "id -u | grep -x 0",
		"keep a capability":            "grep '^Cap' /proc/self/status | grep -v 0000000000000000",
		"gain privileges":              "grep '^NoNewPrivs:.0' /proc/self/status",
		"do without the filter":        "grep '^Seccomp:.0' /proc/self/status",
		"see the lab's other programs": "cat /proc/[0-9]*/environ | grep -z SEED=",
		"end the one who measures":     "kill -9 $PPID",
		"make a namespace":             "unshare -Ur true",
		"write the result":             "echo '{\"correct\":true}' >/proc/$PPID/fd/1",
	}
	for name, attempt := range attempts {
		t.Run(name, func(t *testing.T) {
			spec := Spec{
				Command: []string{"sh", "-c", attempt + " 2>/dev/null; echo tried"}, Inputs: []string{"x\n"}, Rounds: MinRounds,
				Baseline: Program{Files: map[string]string{"secret": "1"}, Command: []string{"sh", "-c", "i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done; echo tried"}},
			}
			if r := measured(t, spec, "", ""); !r.Correct {
				t.Errorf("a learner can %s: %+v", name, r)
			}
		})
	}
}

// TestOrder: which of the two is first changes with each round.
func TestOrder(t *testing.T) {
	dir := open(t)
	note := func(who string) string {
		return "echo " + who + " >>" + dir + "/order; chmod 666 " + dir + "/order; cat; " + sum
	}
	spec := against(note("L"))
	spec.Baseline.Command = []string{"sh", "-c", note("B")}
	spec.Rounds, spec.Precision = MinRounds, 0.001
	if r := measured(t, spec, "", ""); !r.Correct || len(r.Rounds) != MinRounds {
		t.Errorf("%+v", r)
	}
	order, err := os.ReadFile(filepath.Join(dir, "order"))
	if got := strings.ReplaceAll(string(order), "\n", ""); err != nil || got != "BLLBBLLBBLLBBL" {
		t.Errorf("the programs ran in the order %q, %v", got, err)
	}
}

// TestLab: what is wrong with the lab is not the learner's fault.
func TestLab(t *testing.T) {
	for want, change := range map[string]func(*Spec){
		"the lab's own program failed (seed 0): it ended with code 4":                    func(s *Spec) { s.Baseline.Command = []string{"sh", "-c", "exit 4"} },
		"the lab's own program failed (seed 0): nosuch cannot be run":                    func(s *Spec) { s.Baseline.Command = []string{"nosuch"} },
		"building the lab's own program (baseline) failed: it ended with code 1: broken": func(s *Spec) { s.Baseline.Build = []string{"sh", "-c", "echo broken >&2; exit 1"} },
		"the lab could not generate an input": func(s *Spec) {
			s.Inputs, s.Generate = nil, &Program{Command: []string{"sh", "-c", "exit 1"}}
		},
	} {
		spec := Spec{Command: []string{"cat"}, Inputs: []string{"x"}, Baseline: Program{Command: []string{"cat"}}}
		change(&spec)
		if r := measured(t, spec, "", ""); r.Correct || r.Wrong != "" || !strings.HasPrefix(r.Error, want) {
			t.Errorf("%+v, want %s", r, want)
		}
	}
	built := Spec{Command: []string{"cat"}, Inputs: []string{"x"}, Rounds: MinRounds, Baseline: Program{
		Files: map[string]string{"src/cat.sh": "exec cat"}, Build: []string{"cp", "src/cat.sh", "built"}, Command: []string{"sh", "./built"}}}
	if r := measured(t, built, "", ""); !r.Correct && r.Error != "the lab's own program takes no time that could be measured: its inputs are too small" {
		t.Errorf("%+v", r)
	}
}

func TestInterval(t *testing.T) {
	// From Le Boudec's table for the median, as ranks; 0 for none.
	for n, want := range map[int][2]int{5: {}, 6: {1, 6}, 7: {1, 7}, 8: {1, 8}, 9: {2, 8}, 10: {2, 9}, 15: {4, 12}, 20: {6, 15}, 25: {8, 18}, 30: {10, 21}, 70: {27, 44}} {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(i + 1)
		}
		rand.Shuffle(n, func(i, j int) { values[i], values[j] = values[j], values[i] })
		low, high, ok := interval(values)
		if got := [2]int{int(low), int(high)}; got != want || ok != (want[0] > 0) {
			t.Errorf("of %d values: ranks %v, %v, want %v", n, got, ok, want)
		}
	}
	if m := medianOf([]float64{3, 1, 2}); m != 2 {
		t.Errorf("the median is %v", m)
	}
	if m := medianOf([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Errorf("the median is %v", m)
	}
}

// TestCoverage: of many intervals about as many as promised hold the median,
// however skewed the values are.
func TestCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const tries = 20000
	const median = 0.6931471805599453 // of the exponential distribution
	for _, n := range []int{6, 9, 12, 25} {
		held := 0
		for range tries {
			values := make([]float64, n)
			for i := range values {
				values[i] = random.ExpFloat64()
			}
			if low, high, _ := interval(values); low <= median && median <= high {
				held++
			}
		}
		if part := float64(held) / tries; part < 1-outside-0.005 {
			t.Errorf("of %d values %.3f of the intervals hold the median", n, part)
		}
	}
}

func TestDifference(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		want, got string
		line      int
	}{
		{"a\nb\n", "a\nb\n", 0}, {"a\nb\n", "a  \r\nb", 0}, {"a\n", "a\n\n \n", 0}, {"", "", 0}, {"", " \n", 0},
		{"a\nb", "a\nc", 2}, {"a", "", 1}, {"", "a", 1}, {" a", "a", 1}, {"a\n\nb", "a\nb", 2}, {long + "1\n", long + "2\n", 1},
	} {
		d := difference([]byte(test.want), []byte(test.got))
		if d == nil && test.line != 0 || d != nil && d.Line != test.line {
			t.Errorf("%.20q and %.20q: %+v", test.want, test.got, d)
		}
		if d != nil && (len(d.Want) > 2*maxExcerpt || d.Want == d.Got) {
			t.Errorf("%.20q and %.20q: %+v shows no difference", test.want, test.got, d)
		}
	}
}

func TestCheck(t *testing.T) {
	good := Spec{Command: []string{"a"}, UID: 1, GID: 1, Baseline: Program{Command: []string{"b"}}, Inputs: []string{""}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Spec){
		"no command of the learner's": func(s *Spec) { s.Command = nil },
		"other than root":             func(s *Spec) { s.UID = 0 },
		"the lab's own programs'":     func(s *Spec) { s.UID = User },
		"it is cpu or wall":           func(s *Spec) { s.Measure = "ram" },
		"6 to 200 give a result":      func(s *Spec) { s.Rounds = 3 },
		"at most 1m0s":                func(s *Spec) { s.Timeout = time.Hour },
		"between 0 and 1":             func(s *Spec) { s.Precision = 5 },
		"there are no inputs":         func(s *Spec) { s.Inputs = nil },
		"want one of both":            func(s *Spec) { s.Generate = &s.Baseline },
		"baseline has no command":     func(s *Spec) { s.Baseline.Command = nil },
		"below its directory":         func(s *Spec) { s.Baseline.Files = map[string]string{"../x": ""} },
		"the memory is -1 bytes":      func(s *Spec) { s.Memory = -1 },
	} {
		s := good
		change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzReadSpec(f *testing.F) {
	text, err := json.Marshal(against(sum))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"command":["a"],"uid":1,"gid":1,"baseline":{"command":["b"]},"inputs":["x"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ReadSpec(bytes.NewReader(text))
		if err != nil {
			return
		}
		if s.UID == 0 || s.Rounds < MinRounds || s.Timeout <= 0 || s.Timeout > MaxTimeout || s.Memory <= 0 {
			t.Errorf("%+v was found good", s)
		}
		for name := range s.Baseline.Files {
			if !strings.HasPrefix(filepath.Join("/root", name), "/root/") {
				t.Errorf("%q leads out of the directory", name)
			}
		}
	})
}

func TestBusier(t *testing.T) {
	rounds := func(c company) []company { return []company{c, c, c, c, c, c} }
	quiet := load{cpu: 1, wall: 1}
	for name, test := range map[string]struct {
		rounds            []company
		baseline, learner bool
	}{
		"nobody else":                 {rounds(company{quiet, quiet}), false, false},
		"the same beside both":        {rounds(company{load{1, 1, 0.9}, load{1, 1, 1}}), false, false},
		"a fast program":              {rounds(company{load{1, 1, 1}, load{0.1, 0.1, 0.1}}), false, false},
		"a slow program":              {rounds(company{load{1, 1, 1}, load{10, 10, 10}}), false, false},
		"who works for it":            {rounds(company{quiet, load{0.05, 1, 0.9}}), false, true},
		"on a slow machine, too":      {rounds(company{load{1, 10, 0}, load{0.05, 10, 0.9}}), false, true},
		"who works against the other": {rounds(company{load{1, 1.5, 1.5}, quiet}), true, false},
		"who comes once":              {append(rounds(company{quiet, quiet}), company{quiet, load{1, 3, 2}}), false, false},
		"who comes and goes":          {[]company{{load{1, 2, 2}, quiet}, {quiet, load{1, 2, 2}}, {load{1, 2, 2}, quiet}, {load{1, 2, 1}, quiet}, {quiet, load{1, 2, 1}}, {load{1, 2, 1}, quiet}, {quiet, quiet}}, false, false},
		"who works most of the time":  {append(rounds(company{quiet, load{0.05, 1, 0.9}}), company{quiet, quiet}, company{quiet, quiet}), false, true},
	} {
		if baseline, learner := busier(test.rounds); baseline != test.baseline || learner != test.learner {
			t.Errorf("%s: %v, %v, want %v, %v", name, baseline, learner, test.baseline, test.learner)
		}
	}
}
