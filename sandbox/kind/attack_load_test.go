package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/sandbox"
)

// A load takes all that it can get of something, for a bounded time.
type load struct {
	name   string
	from   place
	script string // prints "biting" when it takes all it gets, and ends by itself
	// says is what the learner reads of the limit, in the load's own output or
	// in what ask prints afterwards.
	says, ask string
	// seen is what measuring the sandbox tells of it meanwhile, for the page;
	// nil where the limit is one of Kubernetes' own within the node.
	seen func(sandbox.Usage) bool
}

func shortOf(r sandbox.Resource) func(sandbox.Usage) bool {
	return func(u sandbox.Usage) bool { return slices.Contains(u.Short, r) }
}

// hostileLoads are all bounded in size and time, so that they end even where a
// limit does not hold.
func hostileLoads() []load {
	const seconds = "12"
	return []load{
		{name: "fork bomb in the terminal", says: "Resource temporarily unavailable", seen: shortOf(sandbox.Processes),
			script: "for i in $(seq 600); do sleep " + seconds + " & done 2>&1 | grep -m1 'Resource temporarily unavailable'; echo biting; sleep 4; pkill -x sleep"},
		{name: "fork bomb in a pod", from: fromPod, says: "Resource temporarily unavailable",
			script: "(i=0; while [ $i -lt 1500 ]; do sleep " + seconds + " & i=$((i+1)); done) 2>&1 | head -1; echo biting; sleep 4; killall sleep"},
		{name: "memory hog in the terminal", says: "Killed", seen: func(u sandbox.Usage) bool { return u.OutOfMemory },
			script: "echo biting; for i in 1 2 3; do head -c 900M /dev/zero | tail | true; echo ${PIPESTATUS[1]} | sed 's/137/Killed/'; done"},
		{name: "memory hog in a pod", from: fromPod, says: "137|Killed|OOMKilled|terminated",
			script: "echo biting; head -c 3000000000 /dev/zero | tail | wc -c; echo ended with $?",
			ask:    "kubectl get pod inside -o jsonpath='{.status.containerStatuses[0].lastState}{.status.containerStatuses[0].state}'; kubectl get events"},
		{name: "CPU hog", from: fromPod, says: "",
			script: "for i in 1 2 3 4 5 6 7 8; do timeout " + seconds + " sh -c 'while :; do :; done' & done; echo biting; wait"},
		{name: "disk filler in the terminal", says: "No space left on device",
			script: "echo biting; head -c 1G /dev/zero >/tmp/fill; head -c 1G /dev/zero >~/fill; rm -f /tmp/fill ~/fill; exit 1"},
		{name: "disk filler in a pod", from: fromPod, says: "No space left on device|Evicted|evicted|low on resource|DiskPressure", seen: shortOf(sandbox.Disk),
			script: "echo biting; head -c 3000000000 /dev/zero >/tmp/fill; ls -l /tmp/fill; sleep 5",
			ask:    "kubectl get pod inside -o jsonpath='{.status.reason} {.status.message}'; kubectl get events; kubectl describe nodes | grep Pressure"},
	}
}

// TestHostileLoads: what one session takes is not felt in another, and the
// learner is told what has happened.
func TestHostileLoads(t *testing.T) {
	a := newLoaded(t)
	for _, l := range hostileLoads() {
		t.Run(l.name, func(t *testing.T) {
			a.restore(t)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			var said string
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				argv := []string{"timeout", "90", "bash", "-c", l.script}
				if l.from == fromPod {
					argv = []string{"timeout", "90", "kubectl", "exec", "-i", "inside", "-c", "c", "--", "sh", "-c", l.script}
				}
				res, err := a.Exec(ctx, attackSession, sandbox.Command{Where: sandbox.InTerminal, Argv: argv})
				said = fmt.Sprintf("%s%s exit %d %v", res.Stdout, res.Stderr, res.ExitCode, err)
			}()
			// The other session works on, until the load has ended and at least this often.
			const least = 5
			asked, seen := 0, l.seen == nil
			for done := false; !done || asked < least; asked++ {
				code, out := a.run(t, otherSession, "", "kubectl --request-timeout=30s get pods -n kube-system && kubectl create configmap c"+fmt.Sprint(asked)+" --from-literal=a=b", "")
				if code != 0 {
					t.Fatalf("the other session was disturbed at its request %d: exit %d: %s", asked, code, out)
				}
				seen = seen || l.seen(a.usage(t))
				select {
				case <-ended:
					done = true
				default:
				}
			}
			a.run(t, otherSession, "", "kubectl delete configmaps --all", "")
			if !strings.Contains(said, "biting") {
				t.Errorf("the load did not bite: %s", said)
			}
			// A full disk stops its own cluster's API for a moment: ask until it answers.
			for l.ask != "" && !containsAny(said, l.says) && ctx.Err() == nil {
				_, out := a.run(t, attackSession, "", l.ask, "")
				said += out
			}
			if !containsAny(said, l.says) {
				t.Errorf("the learner is not told, want %q: %s", l.says, said)
			}
			if !seen {
				t.Errorf("the page can't tell the learner: at the end it sees %+v", a.usage(t))
			}
			t.Logf("the other session answered %d times; the learner read: %s", asked, said)
		})
	}
	t.Run("afterwards", func(t *testing.T) {
		a.restore(t)
		used := a.usage(t)
		if used.Disk > used.DiskMax || used.DiskMax > minDisk || used.Memory > minMemory+256<<20 {
			t.Errorf("the attacker takes %+v, more than its limits", used)
		}
	})
}

// usage is what the attacker's sandbox takes.
func (a *arena) usage(t *testing.T) sandbox.Usage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	usage, err := a.Usage(ctx, a.attacker.ID)
	if err != nil {
		t.Errorf("measure the attacker: %v", err)
	}
	return usage[a.attacker.ID]
}

func containsAny(text, words string) bool {
	for _, word := range strings.Split(words, "|") {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// newLoaded makes two sandboxes that are as small as they get.
func newLoaded(t *testing.T) *arena {
	p := newAttackedProvider(t)
	a := &arena{Provider: p}
	t.Cleanup(func() { removeTemplates(t, p) })
	for session, info := range map[string]*sandbox.Info{attackSession: &a.attacker, otherSession: &a.other} {
		t.Cleanup(func() {
			if err := p.Destroy(context.Background(), session); err != nil {
				t.Error(err)
			}
		})
		made, err := p.Create(t.Context(), sandbox.Spec{
			Session: session, Access: sandbox.AccessCluster, Template: "attacks",
			Limits: sandbox.Limits{Memory: minMemory + 256<<20, Disk: minDisk, PIDs: minPIDs},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		*info = made
	}
	return a
}

// restore waits until the attacked cluster answers and has its pod again: a
// load may cost its own session everything.
func (a *arena) restore(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		code, out := a.run(t, attackSession, "", "kubectl delete pod inside --ignore-not-found --force --grace-period=0 >/dev/null 2>&1; kubectl create -f - && kubectl wait --for=condition=Ready pod/inside --timeout=30s",
			pod("inside", "securityContext: {runAsUser: 0}"))
		if code == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the attacked cluster does not come back: %s", out)
		}
	}
}
