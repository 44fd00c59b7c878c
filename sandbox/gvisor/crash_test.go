package gvisor

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/sandbox"
)

// serverRole in the environment makes the test binary a server that works
// until it is killed; its value is the state directory.
const serverRole = "DRYDOCK_GVISOR_TEST_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverRole); dir != "" {
		os.Exit(workUntilKilled(dir))
	}
	os.Exit(m.Run())
}

// workUntilKilled makes, freezes, resets and destroys machines, and says what it does.
func workUntilKilled(dir string) int {
	p, err := New(Config{Instance: testInstance, Machines: os.Getenv("DRYDOCK_GVISOR_TEST_MACHINES"), StateDir: dir})
	ctx := context.Background()
	spec := sandbox.Spec{Session: "killed1", Template: "lab", Limits: sandbox.Limits{Disk: 64 << 20}}
	say := func(s sandbox.Stage) {
		if !s.Done {
			fmt.Println("stage:", s.Name)
		}
	}
	for err == nil {
		for _, step := range []func() error{
			func() error { _, err := p.Create(ctx, spec, say); return err },
			func() error { _, err := p.Spare(ctx, spec, say); return err },
			func() error { return p.Freeze(ctx, spec.Session) },
			func() error { return p.Thaw(ctx, spec.Session) },
			func() error { _, err := p.Reset(ctx, spec, say); return err },
			func() error { _, err := p.Reset(ctx, spec, say); return err },
			func() error { return p.Destroy(ctx, spec.Session) },
		} {
			if err = step(); err != nil {
				break
			}
		}
	}
	fmt.Println("failed:", err)
	return 1
}

// rounds of TestKilledServer: each takes a second or two.
const rounds = 12

// sweepAll sweeps until nothing is being prepared: what the killed server had
// started holds its locks until it has noticed.
func sweepAll(t *testing.T, p *Provider) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err := p.Sweep(t.Context()); err != nil {
			t.Fatalf("sweep: %v", err)
		}
		infos, err := p.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		preparing := slices.ContainsFunc(infos, func(i sandbox.Info) bool { return i.Use == sandbox.Preparing })
		if !preparing || time.Now().After(deadline) {
			return
		}
	}
}

// TestKilledServer kills servers at random moments. Whatever they were at, the
// next one can go on with what is whole, and a sweep leaves nothing of the rest.
func TestKilledServer(t *testing.T) {
	dir := stateDir(t)
	p := newTestProvider(t, dir, false)
	random := rand.New(rand.NewPCG(1, 2)) // the same moments in every run, as far as the machine is as fast
	for round := range rounds {
		killServer(t, p, dir, 1+random.IntN(9), time.Duration(random.IntN(250))*time.Millisecond)
		next := newTestProvider(t, dir, false)
		sweepAll(t, next)
		checkWhole(t, next)
		infos, err := next.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			if err := next.Discard(t.Context(), info.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := next.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := (host{next}).Remains(t.Context(), ""); err != nil || len(left) > 0 {
			t.Fatalf("round %d left %q, %v", round, left, err)
		}
	}
}

// killServer starts a server, and kills it a while after it has begun its n-th stage.
func killServer(t *testing.T, p *Provider, dir string, n int, after time.Duration) {
	t.Helper()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), serverRole+"="+dir, "DRYDOCK_GVISOR_TEST_MACHINES="+p.cfg.Machines)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	last := ""
	for range n {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "stage: ") {
			t.Fatalf("the server says %q", lines.Text())
		}
		last = lines.Text()
	}
	time.Sleep(after) // somewhere in the stage, or in what follows
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // killed
	t.Logf("killed %v after the beginning of stage %d (%s)", after, n, last)
}

// checkWhole checks that each sandbox that outlives its server is of use.
func checkWhole(t *testing.T, p *Provider) {
	t.Helper()
	all, err := p.boxes()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		info := p.info(b)
		if info.Use != sandbox.Serving && info.Use != sandbox.Spare {
			t.Errorf("a sweep has left %+v", info)
			continue
		}
		if err := p.thaw(t.Context(), b); err != nil {
			t.Errorf("wake %+v: %v", info, err)
		}
		if res := run(t, p, b, asLearner, "echo alive"); string(res.Stdout) != "alive\n" {
			t.Errorf("%+v: %s%s", info, res.Stdout, res.Stderr)
		}
	}
}

// TestHalfMade: what a server has left that died between two steps goes with
// the next sweep; what another one is at stays.
func TestHalfMade(t *testing.T) {
	p := newTestProvider(t, stateDir(t), false)
	for id, files := range map[string][]string{
		"aaaaaaaaaaaa": nil,
		"bbbbbbbbbbbb": {useFile, bundleDir + "/config.json"},
		"cccccccccccc": {boxFile, useFile, imageFile}, // empty, as after a loss of power
	} {
		for _, f := range files {
			path := filepath.Join(p.sandboxes(), id, f)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Join(p.sandboxes(), id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	busy := filepath.Join(p.sandboxes(), "dddddddddddd")
	if err := os.Mkdir(busy, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := p.tryLock("dddddddddddd")
	if err != nil || l == nil {
		t.Fatal(err)
	}
	if infos, err := p.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("half made: %+v, %v", infos, err)
	}
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids, err := p.ids(); err != nil || len(ids) != 1 {
		t.Errorf("left: %v, %v", ids, err)
	}
	l.release()
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := (host{p}).Remains(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
}

// TestKilledSandbox kills each of a machine's processes on the host alone:
// the machine is found stopped, and goes on with its files.
func TestKilledSandbox(t *testing.T) {
	p := newTestProvider(t, stateDir(t), false)
	b := newMachine(t, p, "shot1", sandbox.Limits{})
	for _, name := range []string{"runsc-sandbox", "runsc-gofer"} {
		run(t, p, b, asLearner, "echo "+name+" >~/file")
		pids, err := processesOf(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		shot := 0
		for _, pid := range pids {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.HasPrefix(string(line), name) {
				shot++
				if err := exec.Command("kill", "-9", fmt.Sprint(pid)).Run(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if shot == 0 {
			t.Fatalf("no %s among %v", name, pids)
		}
		waitFor(t, "the machine to be found stopped", func() bool { return b.state() == sandbox.Stopped })
		if _, err := p.Exec(t.Context(), "shot1", sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"true"}}); err == nil {
			t.Error("a dead machine answers")
		}
		if err := p.Recover(t.Context(), "shot1"); err != nil {
			t.Fatal(err)
		}
		if res := run(t, p, b, asLearner, "cat ~/file"); string(res.Stdout) != name+"\n" {
			t.Errorf("the learner's file: %q %s", res.Stdout, res.Stderr)
		}
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestInstancesKeepApart: what one has the other does not see, nor sweep.
func TestInstancesKeepApart(t *testing.T) {
	dir := stateDir(t)
	p := newTestProvider(t, dir, false)
	b := newMachine(t, p, "apart1", sandbox.Limits{})
	other, err := New(Config{Instance: testInstance + "2", Machines: p.cfg.Machines, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Destroy(t.Context(), "apart1"); err != nil {
		t.Fatal(err)
	}
	if err := other.Discard(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	if infos, err := other.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("the other sees %+v, %v", infos, err)
	}
	if res := run(t, p, b, asLearner, "echo alive"); string(res.Stdout) != "alive\n" {
		t.Errorf("%+v", res)
	}
}
