package gvisor

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/sandbox"
)

// measured says how each of the differences is seen: by scripts and what they print.
var measured = map[string][]look{
	"The kernel is gVisor": {{asLearner, "uname -r; ls /proc/modules && wc -l </proc/modules", "4.19.0-gvisor\n/proc/modules\n0\n"}, {asRoot, "dmesg", "gVisor"}},
	"perf does not work":   {{asLearner, "perf stat -e task-clock true 2>&1; ls /sys/kernel", "No such device"}},
	"/proc has only a part": {
		{asLearner, "ls /proc/vmstat /proc/interrupts /proc/diskstats /proc/pressure /proc/slabinfo 2>&1 | grep -c 'No such file'", "5\n"},
		{asLearner, "vmstat 2>&1", "Unable to create vmstat structure"}, {asLearner, "cat /proc/loadavg", "0.00 0.00 0.00"},
	},
	"strace and gdb work": {
		{asLearner, "strace -f -e trace=openat cat /etc/hostname 2>&1", `"/etc/hostname"`},
		{asLearner, "sleep 51 & strace -p $! -o /tmp/trace & until grep -q nanosleep /tmp/trace 2>/dev/null; do sleep .1; done; kill %2; kill %1; cat /tmp/trace", "nanosleep"},
		{asLearner, "sleep 52 & gdb -p $! -batch -ex bt 2>&1; kill %1", "#0 "},
		{asLearner, "cd /tmp && printf 'int f(int x){return x*2;}int main(void){return f(21);}' >a.c && gcc -g -o a a.c && gdb -batch -ex 'break f' -ex run -ex bt ./a", "f (x=21)"},
		{asLearner, "ls /proc/self/stack /proc/self/wchan /proc/self/sched 2>&1 | grep -c 'No such file'", "3\n"},
	},
	"Control groups (version 2)": {{asLearner, "cat /proc/self/cgroup; cd /sys/fs/cgroup/drydock-*; cat memory.max learner/pids.max; echo max >learner/pids.max || echo refused", "/learner\nmax\n480\nrefused\n"}},
	"There is a network of its own": {
		{asLearner, "ls /sys/class/net 2>/dev/null; ip -o link | wc -l; ping -c1 127.0.0.1", "1 received"},
		{asRoot, "nft list ruleset 2>&1", "Protocol not supported"}, {asRoot, "tc qdisc 2>&1", "not supported"},
	},
	"Every user may listen":      {{asLearner, `python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1", 53)); print("listens")'`, "listens"}},
	"There are no block devices": {{asRoot, "ls /dev/loop* /dev/sd* /dev/vd* 2>&1 | grep -c 'No such file'; lsblk | wc -l", "3\n0\n"}, {asLearner, "ulimit -c", "0\n"}},
	"nproc says":                 {{asLearner, "nproc", "2\n"}},
}

type look struct {
	as     account
	script string
	want   string
}

func TestDifferences(t *testing.T) {
	p := newTestProvider(t, stateDir(t), false)
	b := newMachine(t, p, "differ1", sandbox.Limits{})
	for _, text := range p.Differences() {
		if strings.HasPrefix(text, "When the machine needs more memory") {
			continue // see TestMemoryHog
		}
		if strings.HasPrefix(text, "Programs start slowly") {
			continue // the clock is no matter for a test: 15 ms for a fork and an exec were measured, 1 ms on Linux
		}
		t.Run(text[:20], func(t *testing.T) {
			found := false
			for prefix, looks := range measured {
				if !strings.HasPrefix(text, prefix) {
					continue
				}
				found = true
				for _, l := range looks {
					res := run(t, p, b, l.as, l.script)
					if !strings.Contains(string(res.Stdout), l.want) {
						t.Errorf("%s: exit code %d, %s%s, want %q in it", l.script, res.ExitCode, res.Stdout, res.Stderr, l.want)
					}
				}
			}
			if !found {
				t.Errorf("nobody has measured: %s", text)
			}
		})
	}
}

// newMachine makes a session's machine, which goes with the test.
func newMachine(t *testing.T, p *Provider, session string, limits sandbox.Limits) *box {
	t.Helper()
	_, err := p.Create(t.Context(), sandbox.Spec{Session: session, Limits: limits}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Destroy(context.Background(), session); err != nil {
			t.Error(err)
		}
	})
	b, err := p.serving(session)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, p *Provider, b *box, as account, script string) sandbox.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	res, err := p.execIn(ctx, b, as, sandbox.Command{Argv: []string{"bash", "-c", script}})
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return res
}

// TestForkBomb: the server can look all the while, and another machine feels nothing.
func TestForkBomb(t *testing.T) {
	p := newTestProvider(t, stateDir(t), false)
	b := newMachine(t, p, "bomb1", sandbox.Limits{PIDs: 128})
	other := newMachine(t, p, "bomb2", sandbox.Limits{})
	done := make(chan sandbox.Result, 1)
	go func() {
		res, _ := p.execIn(context.Background(), b, asLearner, sandbox.Command{Argv: []string{"bash", "-c",
			`for i in {1..300}; do sleep 30 & done 2>&1 | grep -m1 -o 'Resource temporarily unavailable'`}})
		done <- res
	}()
	for range 5 {
		for _, m := range []*box{b, other} {
			if res := run(t, p, m, asRoot, "true"); res.ExitCode != 0 {
				t.Errorf("the server's command failed under a fork bomb: %s", res.Stderr)
			}
		}
	}
	if res := <-done; !strings.Contains(string(res.Stdout), "Resource temporarily unavailable") {
		t.Errorf("300 processes fit: %s%s", res.Stdout, res.Stderr)
	}
	run(t, p, b, asRoot, "pkill -x sleep")
	if res := run(t, p, b, asLearner, "echo alive"); string(res.Stdout) != "alive\n" {
		t.Errorf("after a fork bomb: %+v", res)
	}
}

// TestMemoryHog: all of the machine ends, as Differences says, no other one
// feels it, and the files are there when it is started again.
func TestMemoryHog(t *testing.T) {
	p := newTestProvider(t, stateDir(t), false)
	if !p.Bounded() {
		t.Fatal("the test needs the right to make control groups")
	}
	b := newMachine(t, p, "hungry1", sandbox.Limits{Memory: 256 << 20})
	other := newMachine(t, p, "hungry2", sandbox.Limits{})
	run(t, p, b, asLearner, "echo kept >~/file; sync")
	_, err := p.execIn(t.Context(), b, asLearner, sandbox.Command{Argv: []string{"bash", "-c", "head -c 600M /dev/zero | tail"}})
	if err == nil {
		t.Error("600 MiB fit into 256")
	}
	if res := run(t, p, other, asLearner, "echo alive"); string(res.Stdout) != "alive\n" {
		t.Errorf("another machine: %+v", res)
	}
	waitFor(t, "the machine to be found stopped", func() bool { return b.state() == sandbox.Stopped })
	if err := p.Recover(t.Context(), "hungry1"); err != nil {
		t.Fatal(err)
	}
	if res := run(t, p, b, asLearner, "cat ~/file"); string(res.Stdout) != "kept\n" {
		t.Errorf("the learner's file: %q %s", res.Stdout, res.Stderr)
	}
}

// TestDiskFull: the disk's limit holds everywhere, and what is deleted can be written again.
func TestDiskFull(t *testing.T) {
	for _, unprivileged := range []bool{false, true} {
		p := newTestProvider(t, stateDir(t), unprivileged)
		b := newMachine(t, p, "full1", sandbox.Limits{Disk: 64 << 20})
		for _, dir := range []string{"/tmp", "~", "/var/tmp"} {
			res := run(t, p, b, asLearner, "head -c 200M /dev/zero >"+dir+"/big; echo $?; rm "+dir+"/big; echo x >"+dir+"/small && rm "+dir+"/small")
			if res.ExitCode != 0 || !strings.HasPrefix(string(res.Stdout), "1\n") {
				t.Errorf("200 MiB in %s: %s%s", dir, res.Stdout, res.Stderr)
			}
		}
		usage, err := p.Usage(t.Context(), b.ID)
		if u := usage[b.ID]; err != nil || u.Disk > 80<<20 || u.DiskMax != 64<<20 {
			t.Errorf("usage is %+v, %v", usage, err)
		}
	}
}

// TestRestart: /etc/rc.local starts a lab's processes again, and frozen machines survive their server.
func TestRestart(t *testing.T) {
	dir := stateDir(t)
	p := newTestProvider(t, dir, false)
	b := newMachine(t, p, "again1", sandbox.Limits{})
	run(t, p, b, asRoot, `printf '#!/bin/sh\nsetsid sleep 4321 &\n' >/etc/rc.local; chmod +x /etc/rc.local`)
	run(t, p, b, asLearner, "echo mine >~/file")
	if err := p.Freeze(t.Context(), "again1"); err != nil {
		t.Fatal(err)
	}
	next := newTestProvider(t, dir, false)
	if err := next.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := next.Get(t.Context(), "again1"); err != nil || info.State != sandbox.Frozen {
		t.Errorf("after a restart of the server: %+v, %v", info, err)
	}
	if err := next.Thaw(t.Context(), "again1"); err != nil {
		t.Fatal(err)
	}
	if err := (host{next}).Interrupt(t.Context(), "again1"); err != nil {
		t.Fatal(err)
	}
	if err := next.Recover(t.Context(), "again1"); err != nil {
		t.Fatal(err)
	}
	if res := run(t, next, b, asLearner, "cat ~/file; pgrep -xf 'sleep 4321' | wc -l"); string(res.Stdout) != "mine\n1\n" {
		t.Errorf("after a restart: %s%s", res.Stdout, res.Stderr)
	}
	if usage, err := next.Usage(t.Context(), b.ID, "nosuchsandbx"); err != nil || len(usage) != 1 || usage[b.ID].PIDs < 3 {
		t.Errorf("usage is %+v, %v", usage, err)
	}
}

func TestAvailable(t *testing.T) {
	p := newTestProvider(t, stateDir(t), false)
	if err := Available(t.Context(), p.cfg.Machines); err != nil {
		t.Error(err)
	}
	if err := Available(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "drydock image build --no-engine") {
		t.Errorf("where nothing was built: %v", err)
	}
	if left, err := (host{p}).Remains(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if !slices.Contains((&Provider{disk: overlayDisk{}}).Differences(), notDurable) {
		t.Error("it is not said that files can be lost")
	}
}
