package kind

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/probe"
)

const (
	probedSession = "probed1"
	probedShop    = "shop"
)

// probedObjects are a database with a Service, one with a named port and without
// an address of its own, and a pod that asks.
const probedObjects = `
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: db, image: "localhost/drydock/workload:1", args: [db]}]
---
apiVersion: v1
kind: Pod
metadata: {name: api, labels: {app: api}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: api, image: "localhost/drydock/workload:1", args: [api, --db, "db:5432"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: "localhost/drydock/workload:1", command: [sleep, infinity]}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {selector: {app: api}, ports: [{name: http, port: 80, targetPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: direct}
spec: {clusterIP: None, selector: {app: api}, ports: [{name: http, port: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
`

// probed is a cluster with the objects, and the program that looks at them.
type probed struct {
	*Provider
	t       *testing.T
	say     *io.PipeWriter
	answers <-chan probe.Answer
	number  int
}

// TestProbe runs the probe on a real node: through Services, with the cluster's
// DNS, and from inside a pod's network.
func TestProbe(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() {
		if err := p.Destroy(context.Background(), probedSession); err != nil {
			t.Error(err)
		}
	})
	// Not the test's own context: that ends before the probe is told to.
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	t.Cleanup(cancel)
	c := &probed{Provider: p, t: t}
	spec := sandbox.Spec{Session: probedSession, Access: sandbox.AccessNamespace, Namespaces: []string{probedShop}}
	spec.Prepare = func(ctx context.Context, id string, _ sandbox.Progress) error {
		res, err := p.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Stdin: strings.NewReader(probedObjects),
			Argv: []string{"sh", "-c", "kubectl create namespace " + probedShop + " && kubectl -n " + probedShop + " apply -f -"}})
		if err == nil && res.ExitCode != 0 {
			err = fmt.Errorf("exit %d: %s", res.ExitCode, res.Stderr)
		}
		return err
	}
	if _, err := p.Create(ctx, spec, nil); err != nil {
		t.Fatal(err)
	}
	c.kubectl("", "-n", probedShop, "wait", "--for=condition=Ready", "--timeout=120s", "pod", "--all")
	c.start(ctx, t)
	for name, part := range map[string]func(*testing.T){"Services": c.services, "DNS": c.dns, "FromPod": c.fromPod, "Freeze": c.freezes} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			part(t)
		})
	}
	t.Run("Terminal", func(t *testing.T) {
		res, err := p.Exec(ctx, probedSession, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"test", "-e", probe.Program}})
		if err != nil || res.ExitCode != 1 {
			t.Errorf("the probe is where the learner works: exit %d, %v", res.ExitCode, err)
		}
	})
}

// kubectl runs it on the node, as the administrator.
func (c *probed) kubectl(stdin string, args ...string) string {
	c.t.Helper()
	return c.onNode(stdin, append([]string{"kubectl"}, args...)...)
}

func (c *probed) onNode(stdin string, argv ...string) string {
	c.t.Helper()
	res, err := c.Exec(c.t.Context(), probedSession, sandbox.Command{Where: sandbox.OnNode, Argv: argv, Stdin: strings.NewReader(stdin)})
	if err != nil || res.ExitCode != 0 {
		c.t.Fatalf("%v: exit %d, %s, %v", argv, res.ExitCode, res.Stderr, err)
	}
	return strings.TrimSpace(string(res.Stdout))
}

// start starts the program, which ends with the test.
func (c *probed) start(ctx context.Context, t *testing.T) {
	stdin, say := io.Pipe()
	out, stdout := io.Pipe()
	answers := make(chan probe.Answer, 1000)
	c.say, c.answers = say, answers
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		res, err := c.Exec(ctx, probedSession, sandbox.Command{Where: sandbox.OnNode, Argv: []string{probe.Program}, Stdin: stdin, Stdout: stdout})
		stdout.Close()
		stdin.CloseWithError(io.ErrClosedPipe)
		if err != nil || res.ExitCode != 0 {
			t.Errorf("the probe ends with code %d: %s, %v", res.ExitCode, res.Stderr, err)
		}
	}()
	go func() {
		defer close(answers)
		for lines := probe.Lines(out); lines.Scan(); {
			a, err := probe.DecodeAnswer(lines.Bytes())
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}
	}()
	t.Cleanup(func() {
		say.Close()
		<-ended
	})
}

// begin begins a probe from the shop's namespace, and returns its id.
func (c *probed) begin(r probe.Request) string {
	c.t.Helper()
	c.number++
	r.ID, r.From.Namespace = fmt.Sprint(c.number), probedShop
	if r.Every == 0 {
		r.Every = probe.MinEvery
	}
	if err := r.Write(c.say); err != nil {
		c.t.Fatal(err)
	}
	return r.ID
}

// await waits for an answer of a probe that is as wanted, and stops it.
func (c *probed) await(id, want string, good func(probe.Answer) bool) probe.Answer {
	c.t.Helper()
	var last probe.Answer
	deadline := time.After(time.Minute)
	for {
		select {
		case a, ok := <-c.answers:
			if !ok {
				c.t.Fatal("the probe has ended")
			}
			if a.ID != id {
				continue
			}
			if last = a; good(a) {
				if err := (probe.Request{ID: id, Stop: true}).Write(c.say); err != nil {
					c.t.Fatal(err)
				}
				return a
			}
		case <-deadline:
			c.t.Fatalf("the probe saw %s %+v %+v %+v, want %s", last.Error, last.HTTP, last.TCP, last.DNS, want)
		}
	}
}

func (c *probed) services(t *testing.T) {
	id := c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}})
	got := c.await(id, "the items", func(a probe.Answer) bool { return a.HTTP.Code == 200 })
	if len(got.HTTP.Body) == 0 || got.HTTP.Headers["content-type"] == "" {
		t.Errorf("%+v", got.HTTP)
	}
	id = c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api." + probedShop + ".svc.cluster.local:80/nosuch"}})
	c.await(id, "404", func(a probe.Answer) bool { return a.HTTP.Code == 404 })
	id = c.begin(probe.Request{TCP: &probe.TCP{Address: "db:5432"}})
	c.await(id, "an open port", func(a probe.Answer) bool { return a.TCP.Open })
	id = c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://nobody/"}})
	c.await(id, "a Service without pods", func(a probe.Answer) bool { return a.HTTP.Error == "connection refused" })
	id = c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://nosuch/"}})
	c.await(id, "no such Service", func(a probe.Answer) bool { return a.HTTP.Error == "no such host" })

	// It sees a Service that goes and comes back.
	id = c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}, Watch: probe.WatchUp})
	c.kubectl("", "-n", probedShop, "patch", "service", "api", "-p", `{"spec":{"selector":{"app":"other"}}}`)
	c.await(id, "that it is down", func(a probe.Answer) bool { return !a.Up() })
	c.kubectl("", "-n", probedShop, "patch", "service", "api", "-p", `{"spec":{"selector":{"app":"api"}}}`)
	id = c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}, Watch: probe.WatchUp})
	c.await(id, "that it is up", probe.Answer.Up)
}

func (c *probed) dns(t *testing.T) {
	for _, test := range []struct{ name, kind, want string }{
		{"api", "A", c.kubectl("", "-n", probedShop, "get", "service", "api", "-o", "jsonpath={.spec.clusterIP}")},
		{"direct", "A", c.address("api")},
		{"_http._tcp.api", "SRV", "0 100 80 api." + probedShop + ".svc.cluster.local"},
		{"kubernetes.default", "A", "10.96.0.1"},
		{"10.96.0.1", "PTR", "kubernetes.default.svc.cluster.local"},
	} {
		id := c.begin(probe.Request{DNS: &probe.DNS{Name: test.name, Type: test.kind}})
		c.await(id, test.want, func(a probe.Answer) bool {
			return a.DNS.Code == "NOERROR" && slices.Equal(a.DNS.Records, []string{test.want})
		})
	}
	id := c.begin(probe.Request{DNS: &probe.DNS{Name: "nosuch", Type: "A"}})
	c.await(id, "NXDOMAIN", func(a probe.Answer) bool { return a.DNS.Code == "NXDOMAIN" && a.DNS.Error == "" })
}

// address is a pod's.
func (c *probed) address(pod string) string {
	c.t.Helper()
	return c.kubectl("", "-n", probedShop, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
}

// fromPod compares what the pod itself gets with what the probe gets from its
// network: they agree, whatever refuses the pod's packets.
func (c *probed) fromPod(t *testing.T) {
	client := c.address("client")
	try := func() (pod, probed bool) {
		res, err := c.Exec(t.Context(), probedSession, sandbox.Command{Where: sandbox.OnNode, Argv: []string{
			"kubectl", "-n", probedShop, "exec", "client", "--", "timeout", "-s", "KILL", "10", "workload", "wait", "--for", "api:80"}})
		if err != nil {
			t.Fatal(err)
		}
		if res.ExitCode != 0 {
			t.Logf("the pod itself: %s", res.Stderr)
		}
		id := c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}, From: probe.From{Pod: client}, Every: time.Hour})
		got := c.await(id, "an answer", func(a probe.Answer) bool { return a.HTTP != nil })
		if !got.Up() {
			t.Log("the probe from the pod:", got.HTTP.Error)
		}
		return res.ExitCode == 0, got.Up()
	}
	id := c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}})
	c.await(id, "that the cluster is ready", probe.Answer.Up)
	if pod, probed := try(); !pod || !probed {
		t.Fatalf("the pod gets through: %v, a probe from it: %v", pod, probed)
	}
	// Nothing in the node enforces a policy: what the pod can do is what the probe shows.
	c.kubectl(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: silence}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`,
		"-n", probedShop, "apply", "-f", "-")
	if pod, probed := try(); pod != probed {
		t.Errorf("with a policy the pod gets through: %v, a probe from it: %v", pod, probed)
	} else {
		t.Log("with a policy that refuses everything, the pod gets through:", pod)
	}
	c.kubectl("", "-n", probedShop, "delete", "networkpolicy", "silence")
	// This is how a network that enforces policies refuses a pod's packets.
	c.onNode("", "sh", "-c", `for ns in /var/run/netns/*; do
		if nsenter --net="$ns" ip -o addr | grep -qwF "$1"; then
			nsenter --net="$ns" nft 'add table inet refusal; add chain inet refusal out { type filter hook output priority 0; }; add rule inet refusal out tcp dport 80 reject with tcp reset'
			exit
		fi
	done; exit 1`, "sh", client)
	if pod, probed := try(); pod || probed {
		t.Errorf("with a rule that refuses it the pod gets through: %v, a probe from it: %v", pod, probed)
	}
	id = c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}, From: probe.From{Pod: c.address("db")}})
	c.await(id, "that another pod is not refused", probe.Answer.Up)

	gone := c.begin(probe.Request{HTTP: &probe.HTTP{URL: "http://api/items"}, From: probe.From{Pod: client}})
	c.kubectl("", "-n", probedShop, "delete", "pod", "client")
	c.await(gone, probe.PodGone, func(a probe.Answer) bool { return a.Error == probe.PodGone })
}

// freezes: after a thaw the probe goes on, and says nothing wrong.
func (c *probed) freezes(t *testing.T) {
	id := c.begin(probe.Request{TCP: &probe.TCP{Address: "db:5432"}, Watch: probe.WatchEvery})
	c.await(id, "an open port", func(a probe.Answer) bool { return a.TCP.Open })
	id = c.begin(probe.Request{TCP: &probe.TCP{Address: "db:5432"}, Watch: probe.WatchUp})
	if err := c.Freeze(t.Context(), probedSession); err != nil {
		t.Fatal(err)
	}
	if err := c.Thaw(t.Context(), probedSession); err != nil {
		t.Fatal(err)
	}
	thawed := time.Now()
	if err := (probe.Request{ID: id, Again: true}).Write(c.say); err != nil {
		t.Fatal(err)
	}
	c.await(id, "a look after the thaw", func(a probe.Answer) bool {
		if !a.TCP.Open {
			t.Errorf("%+v", a.TCP)
		}
		return a.At.After(thawed)
	})
}
