package sandboxtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/machine/boot"
	"drydock/sandbox/probe"
	"drydock/sandbox/probe/bench"
)

// probe: the program is where checks look for it, answers while it runs, and
// ends with its input. The learner cannot change it.
func (s *suite) probe(t *testing.T) {
	c := s.converse(t, sandbox.OnNode, probe.Program)
	ask := func(r probe.Request) probe.Answer {
		t.Helper()
		if err := r.Write(c.say); err != nil {
			t.Fatal(err)
		}
		if !c.lines.Scan() {
			<-c.ended
			t.Fatalf("the probe has ended: %+v, %v", c.result, c.err)
		}
		a, err := probe.DecodeAnswer(c.lines.Bytes())
		if err != nil || a.ID != r.ID {
			t.Fatalf("%s: %v", c.lines.Bytes(), err)
		}
		return a
	}
	if a := ask(probe.Request{ID: "tcp", TCP: &probe.TCP{Address: "localhost:9"}}); a.TCP == nil || a.TCP.Error != "connection refused" {
		t.Errorf("a port that nobody listens on: %+v %+v", a, a.TCP)
	}
	if a := ask(probe.Request{ID: "dns", DNS: &probe.DNS{Name: "localhost", Type: "A"}}); a.DNS == nil || len(a.DNS.Records) != 1 || a.DNS.Records[0] != "127.0.0.1" {
		t.Errorf("localhost: %+v %+v", a, a.DNS)
	}
	c.say.Close()
	<-c.ended
	if c.err != nil || c.result.ExitCode != 0 {
		t.Errorf("at its input's end: %+v, %v", c.result, c.err)
	}
	if res := s.run(t, sandbox.InTerminal, "sh", "-c", "echo x >>"+probe.Program+" || rm -f "+probe.Program); s.p.Kind() == sandbox.Machine && res.ExitCode == 0 {
		t.Error("the learner can change the probe")
	}
}

// bench measures programs of the learner's on a machine.
func (s *suite) bench(t *testing.T) {
	if s.p.Kind() != sandbox.Machine {
		return
	}
	// A loop that calls nobody: on gVisor a call costs much more than elsewhere.
	const sum = "read n; s=0; while [ $n -gt 0 ]; do s=$((s+n)) n=$((n-1)); done; echo $s"
	for name, test := range map[string]struct {
		program string
		right   func(bench.Report) bool
	}{
		"the same": {sum, func(r bench.Report) bool { return r.Correct && r.Ratio > 0.3 && r.Ratio < 3 }},
		"wrong":    {"wc -l", func(r bench.Report) bool { return !r.Correct && r.Difference != nil && r.Difference.Got == "1" }},
		"a thief": {"cat /tmp/drydock-bench-*/*/* && echo read; kill $PPID && echo killed; id -u", func(r bench.Report) bool {
			return !r.Correct && r.Difference != nil && r.Difference.Got == "1000"
		}},
		"endless": {"setsid sleep 4245 & cat; sleep 4245", func(r bench.Report) bool { return strings.Contains(r.Wrong, "had not ended after") }},
	} {
		spec := bench.Spec{
			Command: []string{"sh", "-c", test.program}, Directory: boot.LearnerHome, UID: boot.LearnerID, GID: boot.LearnerID,
			Baseline: bench.Program{Files: map[string]string{"sum.sh": sum}, Command: []string{"sh", "sum.sh"}},
			Generate: &bench.Program{Command: []string{"sh", "-c", "echo $((100000 + SEED % 10000))"}},
			Rounds:   bench.MinRounds,
		}
		if name == "endless" {
			spec.Timeout = bench.DefaultTimeout / 3
		}
		text, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.p.Exec(timeout(t, patience), session, sandbox.Command{
			Where: sandbox.OnNode, Argv: []string{probe.Program, "bench"}, Stdin: bytes.NewReader(text),
		})
		var report bench.Report
		if err != nil || res.ExitCode != 0 || json.Unmarshal(res.Stdout, &report) != nil {
			t.Errorf("%s: %+v, %s, %v", name, res, res.Stderr, err)
			continue
		}
		t.Logf("%s: %s", name, res.Stdout)
		if report.Error != "" || !test.right(report) {
			t.Errorf("%s: %s", name, res.Stdout)
		}
		s.gone(t, sandbox.OnNode, "4245")
	}
}
