package labs_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/moby/moby/client"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/labs/scaffold"
	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/sandbox/machine"
)

// realMachines makes real machines, and fails the test where there is no engine.
func realMachines(t *testing.T, instance string) sandbox.Provider {
	t.Helper()
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	provider, err := machine.New(machine.Config{Instance: instance, Image: image.MachineRef, Engine: cli})
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// proveMachine proves a lab on machines, and looks whether any is left.
func proveMachine(t *testing.T, instance string, lab *labs.Lab, options labs.ProveOptions) labs.Proof {
	t.Helper()
	options.Provider, options.Done = realMachines(t, instance), func(c labs.Case) {
		t.Logf("%-8s %-10s %-24s %5.1f s %s", c.Variant, c.Kind, c.Name, c.Took.Seconds(), strings.Join(c.Problems, "; "))
	}
	proof, err := labs.Prove(t.Context(), lab, options)
	if err != nil {
		t.Fatal(err)
	}
	if infos, err := options.Provider.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("left: %v, %v", infos, err)
	}
	return proof
}

// needed fails the test when no wrong fix needs something of a lab.
func needed(t *testing.T, proof labs.Proof) {
	t.Helper()
	for _, n := range proof.Needs {
		if !n.Needed() {
			t.Errorf("no wrong fix needs the %s %s; it catches %q", n.Kind, n.ID, n.Catches)
		}
	}
}

// TestProveMachineLab proves the machine lab that comes with Drydock on real
// machines, with every solution and every wrong fix, in every variant.
func TestProveMachineLab(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel() // it waits most of the time
	lab, err := labs.LoadLab(catalogue.FS(), "full-disk")
	if err != nil {
		t.Fatal(err)
	}
	proof := proveMachine(t, "machinelabtest", lab, labs.ProveOptions{Parallel: 6})
	if !proof.OK {
		t.Error("not proven")
	}
	needed(t, proof)
}

// TestProveNewMachineLab proves what an author begins with.
func TestProveNewMachineLab(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel()
	lab, err := labs.LoadLab(scaffold.FS(), "machine")
	if err != nil {
		t.Fatal(err)
	}
	proof := proveMachine(t, "newmachinetest", lab, labs.ProveOptions{Parallel: 4, Idle: 15 * time.Second})
	if !proof.OK {
		t.Error("not proven")
	}
	needed(t, proof)
}

// unsoundLab is solved by ending every process; and one of its checks comes
// true by itself, when it has been looked at often enough.
const unsoundLab = `
apiVersion: drydock/v1
kind: Lab
title: A process that hangs
summary: Text
track: linux
level: beginner
minutes: 10
sandbox: {kind: machine}
setup: [{run: setup/hang.sh}]
ready: [{id: hangs, exec: {on: node, command: [pgrep, -x, sleep], every: 500ms}, that: "result.code == 0"}]
tasks:
  - id: mend
    title: Mend it
    points: 60
    checks:
      - {id: gone, exec: {on: node, command: [pgrep, -x, sleep], every: 500ms}, that: "result.code != 0"}
      - {id: gone-too, exec: {on: node, command: [pgrep, sleep], every: 500ms}, that: "result.code != 0"}
  - id: wait
    title: Wait
    points: 40
    checks:
      - id: heals
        exec: {on: node, command: [sh, -c, "echo >>/run/looks; [ $(wc -l </run/looks) -gt 40 ] || ! pgrep -x sleep"], every: 500ms}
        that: result.code == 0
guards:
  - {id: nobody, exec: {on: node, command: [test, -e, /etc/passwd], every: 500ms}, that: "result.code == 0"}
`

func TestProveFindsWhatARestartSolves(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel()
	script := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	lab, err := labs.LoadLab(fstest.MapFS{
		"lab/lab.yaml":  script(unsoundLab),
		"lab/README.md": script("# A lab\n\n## Mend it {#mend}\n\n## Wait {#wait}\n"),
		"lab/setup/hang.sh": script("setsid setpriv --reuid=learner --regid=learner --clear-groups -- " +
			"sleep 100000 </dev/null >/dev/null 2>&1 &\n"),
		"lab/solutions/one.sh":    script("pkill -x sleep\n"),
		"lab/solutions/other.sh":  script("kill -9 $(pgrep -x sleep)\n"),
		"lab/wrong/look.sh":       script("# caught-by: gone\npgrep -x sleep\n"),
		"lab/wrong/not-caught.sh": script("# caught-by: nobody\npgrep -x sleep\n"),
	}, "lab")
	if err != nil {
		t.Fatal(err)
	}
	proof := proveMachine(t, "unsoundlabtest", lab, labs.ProveOptions{Parallel: 2, Idle: 2 * time.Minute}) // it ends at what it finds
	want := map[string]string{                                                                             // part of the problem; empty for what is sound
		"do-nothing":         "the check heals (task wait) held after a while in which nobody did anything",
		"restart-everything": "restart-everything does every task that has checks (mend, wait) and violates no guard",
		"delete-everything":  "",
		"not-caught":         "the guard nobody was not violated, so it does not catch this; what does: gone, gone-too",
	}
	for _, c := range proof.Cases {
		part, known := want[c.Name]
		if problems := strings.Join(c.Problems, "\n"); known && (c.OK != (part == "") || !strings.Contains(problems, part)) {
			t.Errorf("%s: ok %v, problems %q, want %q", c.Name, c.OK, problems, part)
		}
		delete(want, c.Name)
	}
	if proof.OK || len(want) > 0 {
		t.Errorf("proven: %v; not tried: %v", proof.OK, want)
	}
	// Each of the two checks of a task catches what the other does; the guard catches nothing.
	for id, catches := range map[string]int{"gone": 3, "gone-too": 3, "nobody": 0} {
		i := slices.IndexFunc(proof.Needs, func(n labs.Need) bool { return n.ID == id })
		if n := proof.Needs[i]; n.Needed() || len(n.Catches) != catches {
			t.Errorf("%s: %+v", id, n)
		}
	}
}
