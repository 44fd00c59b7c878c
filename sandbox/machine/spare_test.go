package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/image"
)

func TestMain(m *testing.M) {
	if os.Getenv(serverRole) != "" {
		os.Exit(createForEver())
	}
	os.Exit(m.Run())
}

// spareSpec is that of a lab whose setup leaves a trace and a process.
func spareSpec(session string) sandbox.Spec {
	return sandbox.Spec{
		Session: session, Kind: sandbox.Machine, Template: "lab-1-default",
		Limits: sandbox.Limits{Disk: 64 << 20},
	}
}

func (p *Provider) setUp(runs *int) func(context.Context, string, sandbox.Progress) error {
	return func(ctx context.Context, id string, _ sandbox.Progress) error {
		*runs++
		res, err := p.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"sh", "-c",
			"echo broken >/etc/lab; setsid setpriv --reuid=1000 --regid=1000 --clear-groups sleep 9999 >/dev/null 2>&1 </dev/null &"}})
		if err == nil && res.ExitCode != 0 {
			err = errors.New(string(res.Stderr))
		}
		return err
	}
}

func discardAll(t *testing.T, p *Provider) {
	t.Helper()
	infos, err := p.List(context.Background())
	for _, info := range infos {
		err = errors.Join(err, p.Discard(context.Background(), info.ID))
	}
	err = errors.Join(err, p.Close(context.Background()))
	if left, _ := (engineOf{p}).Remains(context.Background(), "x"); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
}

// TestSpares: a spare is frozen and in the state of hand-over; a session of the
// same template gets it, and its reset the next one.
func TestSpares(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	runs := 0
	spec := spareSpec("spare1")
	spec.Prepare = p.setUp(&runs)
	ctx := t.Context()
	var spares []sandbox.Info
	for range 2 {
		info, err := p.Spare(ctx, spec, nil)
		if err != nil || info.Use != sandbox.Spare || info.State != sandbox.Frozen || info.Session != "" || info.Template == "" {
			t.Fatalf("a spare is %+v, %v", info, err)
		}
		spares = append(spares, info)
	}
	if id, err := p.TemplateID(ctx, spec); err != nil || id != spares[0].Template {
		t.Errorf("the template's id is %q, %v, the spare's %q", id, err, spares[0].Template)
	}
	other := spec
	other.Limits.Disk *= 2
	if id, _ := p.TemplateID(ctx, other); id == spares[0].Template {
		t.Error("another limit makes no other template")
	}

	use := func(what string, bring func(context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Info, error)) sandbox.Info {
		begin := time.Now()
		info, err := bring(ctx, spec, nil)
		if err != nil || info.Use != sandbox.Serving || info.State != sandbox.Running || info.Session != spec.Session {
			t.Fatalf("%s: %+v, %v", what, info, err)
		}
		brought := time.Since(begin)
		term, err := p.Terminal(ctx, spec.Session, sandbox.TerminalSpec{Tab: "main", Size: sandbox.Size{Cols: 80, Rows: 24}})
		if err != nil {
			t.Fatal(err)
		}
		defer term.Close()
		seen := ""
		for !strings.Contains(seen, "$") {
			buf := make([]byte, 4096)
			n, err := term.Read(buf)
			if seen += string(buf[:n]); err != nil {
				t.Fatalf("%s: waiting for a prompt: %v after %q", what, err, seen)
			}
		}
		t.Logf("%s: handed over in %v, first prompt after %v", what, brought.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
		res, err := p.Exec(ctx, spec.Session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"sh", "-c", "cat /etc/lab; pgrep -u learner -xf 'sleep 9999' >/dev/null && echo runs"}})
		if err != nil || string(res.Stdout) != "broken\nruns\n" {
			t.Errorf("%s: not in the state of hand-over: %s%s, %v", what, res.Stdout, res.Stderr, err)
		}
		return info
	}
	first := use("warm start", p.Create)
	second := use("warm reset", p.Reset)
	if spares[0].Created.Equal(spares[1].Created) && first.ID == spares[1].ID {
		slices.Reverse(spares) // the engine tells seconds: neither is the older
	}
	if runs != 2 || first.ID != spares[0].ID || second.ID != spares[1].ID {
		t.Errorf("setup ran %d times, and %s, %s serve, want the spares %v", runs, first.ID, second.ID, spares)
	}
	third := use("cold reset", p.Reset)
	if runs != 3 || third.ID == second.ID {
		t.Errorf("a reset without a spare: setup ran %d times, %s after %s", runs, third.ID, second.ID)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if infos, err := p.List(ctx); err != nil || len(infos) != 1 || infos[0].ID != third.ID {
		t.Errorf("after the resets there are %+v, %v", infos, err)
	}
}

// TestInstances: what another server has on the same engine is not touched.
func TestInstances(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	other, err := New(Config{Instance: testInstance + "2", Image: p.cfg.Image, Engine: p.cfg.Engine})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// One that serves, and one that looks as if it had been left behind.
	spec := spareSpec("shared1")
	if _, err := p.Create(ctx, spec, nil); err != nil {
		t.Fatal(err)
	}
	plan, err := p.plan(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	left, err := p.createContainer(ctx, dock.NewID(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(ctx, "shared1"); !errors.Is(err, sandbox.ErrNotFound) {
		t.Errorf("another instance finds it: %v", err)
	}
	if err := errors.Join(other.Sweep(ctx), other.Destroy(ctx, "shared1")); err != nil {
		t.Fatal(err)
	}
	if infos, err := other.List(ctx); err != nil || len(infos) != 0 {
		t.Errorf("another instance lists %v, %v", infos, err)
	}
	if infos, err := p.List(ctx); err != nil || len(infos) != 2 {
		t.Fatalf("what is left is %v, %v", infos, err)
	}
	// Its own sweep takes what nobody prepares any more, and leaves what serves.
	if err := p.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.cfg.Engine.ContainerInspect(ctx, left, client.ContainerInspectOptions{}); !dock.Absent(err) {
		t.Errorf("swept, but still there: %v", err)
	}
	if _, err := p.Get(ctx, "shared1"); err != nil {
		t.Errorf("the sweep took what serves: %v", err)
	}
}

// TestSpareThatStopped: a spare that was stopped, as by a restart of the host,
// is never handed out, so a sweep takes it; one that is frozen stays.
func TestSpareThatStopped(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	ctx := t.Context()
	var spares []sandbox.Info
	for range 2 {
		info, err := p.Spare(ctx, spareSpec("stopped1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		spares = append(spares, info)
	}
	c, err := p.container(ctx, spares[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.cfg.Engine.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if infos, err := p.List(ctx); err != nil || len(infos) != 1 || infos[0].ID != spares[1].ID {
		t.Errorf("after the sweep there are %+v, %v, want %s alone", infos, err, spares[1].ID)
	}
}

// TestRemovalThatWasCutShort: a machine that a kill of the engine or the server
// left on its way out, renamed and not removed, is removed by the next sweep.
func TestRemovalThatWasCutShort(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	ctx := t.Context()
	info, err := p.Create(ctx, spareSpec("leaving1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.container(ctx, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.rename(ctx, c, dock.EndLeaving); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(ctx); err != nil {
		t.Errorf("sweep: %v", err)
	}
	if infos, err := p.List(ctx); err != nil || len(infos) != 0 {
		t.Errorf("left are %+v, %v", infos, err)
	}
}

// TestStoppedWhilePrepared: who waits for a machine that has stopped is told so
// at once, not when the conditions that it waits for are given up.
func TestStoppedWhilePrepared(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	spec := spareSpec("stopped2")
	spec.Ready = func(ctx context.Context, id string, _ sandbox.Progress) error {
		c, err := p.container(ctx, id)
		if err != nil {
			return err
		}
		if _, err := p.cfg.Engine.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := p.Create(t.Context(), spec, nil); !errors.Is(err, errStopped) {
		t.Errorf("create: %v, want %v", err, errStopped)
	}
	if infos, err := p.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("left are %+v, %v", infos, err)
	}
}

// serverRole in the environment makes the test binary a server that makes sandboxes.
const serverRole = "DRYDOCK_TEST_SERVER"

func createForEver() int {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	p, err := New(Config{Instance: testInstance, Image: image.MachineRef, Engine: cli})
	for n := 0; err == nil; n++ {
		say := func(s sandbox.Stage) { fmt.Println("stage", s.Name, s.Done) }
		spec := spareSpec(fmt.Sprintf("killed%d", n))
		if _, err = p.Create(context.Background(), spec, say); err != nil {
			break
		}
		fmt.Println("stage reset")
		if _, err = p.Reset(context.Background(), spec, say); err == nil {
			err = p.Destroy(context.Background(), spec.Session)
		}
	}
	fmt.Println("failed:", err)
	return 1
}

// TestKilledServer kills servers at different moments: what they leave is
// removed by a sweep, or serves a session that can be destroyed.
func TestKilledServer(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	for lines := 1; lines <= 12; lines++ {
		server := exec.Command(os.Args[0])
		server.Env = append(os.Environ(), serverRole+"=1")
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		for range lines {
			if said.Scan(); strings.HasPrefix(said.Text(), "failed") {
				t.Fatal(said.Text())
			}
		}
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = server.Wait() // killed
		// The engine may still be making a container for a client that is gone: sweeps come again and again.
		deadline := time.Now().Add(removeTimeout)
		for {
			err := p.Sweep(t.Context())
			infos, listErr := p.List(t.Context())
			if err = errors.Join(err, listErr); err != nil {
				t.Fatal(err)
			}
			settled := true
			for _, info := range infos {
				if settled = settled && info.Use == sandbox.Serving; settled {
					if err := p.Destroy(t.Context(), info.Session); err != nil {
						t.Fatal(err)
					}
				}
			}
			if settled {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("killed after %q: %+v is left", said.Text(), infos)
			}
		}
	}
}

// TestServicesAfterARestart: what a lab leaves in /etc/rc.local runs again, as
// root, before anybody is let in; and the disk has kept what was written.
func TestServicesAfterARestart(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() { discardAll(t, p) })
	ctx := t.Context()
	spec := spareSpec("restart1")
	spec.Prepare = func(ctx context.Context, id string, _ sandbox.Progress) error {
		res, err := p.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"bash", "-c", `
cat >/etc/rc.local <<'END'
#!/bin/bash
id -un >>/var/tmp/starts
mount -t tmpfs -o size=1m service /srv
setsid sleep 8888 >/dev/null 2>&1 </dev/null &
END
chmod 700 /etc/rc.local; /etc/rc.local`}})
		if err == nil && res.ExitCode != 0 {
			err = errors.New(string(res.Stderr))
		}
		return err
	}
	if _, err := p.Create(ctx, spec, nil); err != nil {
		t.Fatal(err)
	}
	for starts := 1; starts <= 3; starts++ {
		res, err := p.Exec(ctx, spec.Session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"sh", "-c",
			"cat /var/tmp/starts; pgrep -xc sleep; stat -f -c %T /srv; echo n >>~/notes; wc -l <~/notes"}})
		want := strings.Repeat("root\n", starts) + "1\ntmpfs\n" + fmt.Sprintln(starts)
		if err != nil || string(res.Stdout) != want {
			t.Errorf("start %d: %s%s, %v, want %s", starts, res.Stdout, res.Stderr, err, want)
		}
		c, err := p.find(ctx, spec.Session)
		if err != nil {
			t.Fatal(err)
		}
		// Once in good order, once as by a loss of power.
		if starts%2 == 1 {
			_, err = p.cfg.Engine.ContainerStop(ctx, c.ID, client.ContainerStopOptions{})
		} else {
			_, err = p.cfg.Engine.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
		}
		if err == nil {
			err = p.Recover(ctx, spec.Session)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
