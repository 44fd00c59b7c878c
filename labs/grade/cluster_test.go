package grade

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"k8s.io/client-go/tools/clientcmd"

	"drydock/sandbox"
	"drydock/sandbox/kind"
)

const (
	testSession = "gradetest"
	// workload runs one busybox httpd that answers /healthz with ok.
	workload = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: %d, selector: {matchLabels: {app: web}},
		template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: web, image: "localhost/drydock/workload:1",
		command: [sh, -c, "mkdir -p /tmp/www && cd /tmp/www && echo -n '{\"ok\":true}' > healthz && exec httpd -f -p 8080 -h /tmp/www"],
		readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}]}}}}`
	workloadService = `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}`
)

func TestMain(m *testing.M) {
	// The provider runs its program again to create a cluster: here, the test binary.
	if len(os.Args) == 2 && os.Args[1] == kind.ChildName {
		if err := kind.RunChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if testing.Short() {
		fmt.Println("labs/grade: -short leaves out the tests on a real cluster")
	}
	os.Exit(code)
}

// TestCluster holds all tests that need a cluster: they share one.
func TestCluster(t *testing.T) {
	if testing.Short() {
		return // TestMain says so
	}
	env := startCluster(t)
	t.Run("side by side", func(t *testing.T) {
		liveWatch(t, env)
		for name, test := range map[string]func(*bench){
			"http": testHTTP, "names": testNames, "exec": testExec, "exec-in-pod": testExecInPod, "logs": testLogs, "service": testService, "check-now": testCheckNow,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(newBench(t, env, fmt.Sprintf("%s-%d", name, time.Now().UnixMilli())))
			})
		}
	})
	// Last: it takes from the others what they stand on.
	t.Run("robust", func(t *testing.T) { robust(t, env) })
}

func startCluster(t *testing.T) Env {
	t.Helper()
	engine, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	provider, err := kind.New(kind.Config{Instance: "gradetest", NodeImage: "drydock/node:latest", TerminalImage: "drydock/terminal:latest",
		StateDir: t.TempDir(), Engine: engine, Self: self})
	if err != nil {
		t.Fatal(err)
	}
	destroy := func() {
		if err := provider.Destroy(context.Background(), testSession); err != nil {
			t.Errorf("these tests need the engine: %v", err)
		}
	}
	destroy() // what a killed run left
	t.Cleanup(destroy)
	begin := time.Now()
	if _, err := provider.Create(t.Context(), sandbox.Spec{Session: testSession, Kind: sandbox.Cluster, Access: sandbox.AccessCluster, Namespaces: []string{"default"}}, nil); err != nil {
		t.Fatalf("these tests need the engine and the node image (drydock image build): %v", err)
	}
	t.Logf("the cluster took %s", time.Since(begin))
	kubeconfig, err := provider.KubeConfig(t.Context(), testSession)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return Env{REST: config, Exec: func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		return provider.Exec(ctx, testSession, cmd)
	}}
}

// serve starts the workload, and waits until it is ready.
func (b *bench) serve() {
	b.Helper()
	b.apply(fmt.Sprintf(workload, 1))
	b.apply(workloadService)
	ready := b.run(b.set(Check{Watch: &Watch{Kind: "Deployment", Namespace: b.namespace, Name: "web"}, That: `object.status.readyReplicas == 1`}))
	ready.await(b, 0, "the workload is ready", passes)
}

func testHTTP(b *bench) {
	b.serve()
	url := "http://web." + b.namespace + "/healthz"
	set := b.set(Check{HTTP: &HTTP{From: "default", URL: url, Every: Duration(300 * time.Millisecond)},
		That: `response.code == 200 && response.json.ok && "date" in response.headers && response.seconds < 5.0`})
	r := b.run(set)
	_, at := r.await(b, 0, "answers", passes)
	b.apply(fmt.Sprintf(workload, 0))
	_, at = r.await(b, at, "nobody answers", fails(url+" gave no answer: connection refused"))
	b.apply(fmt.Sprintf(workload, 1))
	_, at = r.await(b, at, "answers again", passes)
	b.delete(workloadService)
	r.await(b, at, "no name", fails(url+" gave no answer: no such host"))
	b.replayed(set, r)
}

// testNames: names are looked up as a pod in the namespace would.
func testNames(b *bench) {
	b.serve()
	in := func(id, from, url string) Check {
		return Check{ID: id, HTTP: &HTTP{From: from, URL: url, Every: Duration(time.Second)}, That: "response.code == 200"}
	}
	set := b.set(
		in("short", b.namespace, "http://web/healthz"), in("svc", "default", "http://web."+b.namespace+".svc/healthz"),
		in("full", "default", "http://web."+b.namespace+".svc.cluster.local/healthz"),
		in("elsewhere", "default", "http://web/healthz"), in("unknown", "default", "http://nobody.nowhere/"),
	)
	r := b.run(set)
	for _, id := range []string{"short", "svc", "full"} { // once DNS has heard of the service
		r.await(b, 0, id, func(r Result) bool { return r.Check == id && r.Verdict == Pass })
	}
	for _, id := range []string{"elsewhere", "unknown"} {
		r.await(b, 0, id, func(r Result) bool { return r.Check == id && fails("no such host")(r) })
	}
	for _, res := range r.all() {
		if res.Verdict == Pass && (res.Check == "elsewhere" || res.Check == "unknown") {
			b.Errorf("%s passes", res.Check)
		}
	}
}

func testExec(b *bench) {
	want := map[string]string{
		"node":     "pass ",
		"terminal": "pass ",
		"fails":    `fail result.code is 3, wanted 0`,
		"missing":  `fail result.code is 127, wanted 0`,
		"floods":   "pass ",
	}
	on := func(id, place, that string, command ...string) Check {
		return Check{ID: id, Exec: &Exec{On: place, Command: command}, That: that}
	}
	_, results, err := b.set(
		on("node", "node", `result.code == 0 && result.stdout.contains("control-plane")`, "kubectl", "get", "nodes"),
		on("terminal", "terminal", `result.stdout == "learner\n"`, "id", "-un"),
		on("fails", "node", `result.code == 0`, "sh", "-c", "exit 3"),
		on("missing", "node", `result.code == 0`, "no-such-program"),
		on("floods", "node", fmt.Sprintf(`result.code == 0 && size(result.stdout) == %d`, maxOutput), "sh", "-c", "yes | head -c 10000000"),
	).Once(b.Context(), b.env)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range results {
		if got := string(r.Verdict) + " " + r.Reason; got != want[r.Check] {
			b.Errorf("%s: %s, want %s", r.Check, got, want[r.Check])
		}
	}
}

func testExecInPod(b *bench) {
	in := func(id, that string, command ...string) Check {
		return Check{ID: id, Exec: &Exec{On: "pod", Namespace: b.namespace, Selector: "app=web", Every: Duration(300 * time.Millisecond), Command: command}, That: that}
	}
	set := b.set(
		in("reads", `result.code == 0 && result.stdout == "{\"ok\":true}"`, "cat", "/tmp/www/healthz"),
		in("floods", fmt.Sprintf(`result.code == 0 && size(result.stdout) == %d`, maxOutput), "sh", "-c", "yes | head -c 1000000"),
		in("fails", `result.code == 3 && result.stderr == "oops"`, "sh", "-c", "echo -n oops >&2; exit 3"),
	)
	r := b.run(set)
	_, at := r.await(b, 0, "no pod", fails("no pod with app=web in "+b.namespace+" is ready"))
	b.serve()
	for _, id := range []string{"reads", "fails", "floods"} {
		r.await(b, at, id, func(r Result) bool { return r.Check == id && r.Verdict == Pass })
	}
	b.replayed(set, r)
}

func testLogs(b *bench) {
	of := func(id, selector, container string, tail int, that string) Check {
		return Check{ID: id, Logs: &Logs{Namespace: b.namespace, Selector: selector, Container: container, Tail: tail, Every: Duration(200 * time.Millisecond)}, That: that}
	}
	set := b.set(
		of("says", "app=talker", "", 2, `size(logs) == 1 && logs[0].pod == "talker" && logs[0].text == "two\nthree\n"`),
		of("waits", "app=talker", "late", 0, `size(logs) == 1 && logs[0].text == ""`),
		of("nobody", "app=nobody", "", 0, `size(logs) == 0`),
		// A long line counts as one for each 16 KiB.
		of("floods", "app=flooder", "", 100, fmt.Sprintf(`size(logs) == 1 && size(logs[0].text) == %d`, maxLog)),
	)
	r := b.run(set)
	b.apply(`{apiVersion: v1, kind: Pod, metadata: {name: talker, labels: {app: talker}, annotations: {kubectl.kubernetes.io/default-container: first}}, spec: {
		terminationGracePeriodSeconds: 0,
		initContainers: [{name: first, image: "localhost/drydock/workload:1", command: [sh, -c, "echo one; echo two; echo three; sleep 600"]}],
		containers: [{name: late, image: "localhost/drydock/workload:1", command: [sh, -c, "echo never"]}]}}`)
	b.apply(`{apiVersion: v1, kind: Pod, metadata: {name: flooder, labels: {app: flooder}}, spec: {terminationGracePeriodSeconds: 0,
		containers: [{name: floods, image: "localhost/drydock/workload:1", command: [sh, -c, "yes | tr -d '\\n' | head -c 200000; sleep 600"]}]}}`)
	for _, id := range []string{"says", "waits", "nobody", "floods"} {
		r.await(b, 0, id, func(r Result) bool { return r.Check == id && r.Verdict == Pass })
	}
	b.replayed(set, r)
}

func testService(b *bench) {
	b.serve()
	type change struct {
		up     bool
		detail string
	}
	changes := make(chan change)
	ctx, cancel := context.WithCancel(context.Background())
	var probing sync.WaitGroup
	probing.Go(func() {
		err := ProbeService(ctx, b.env, HTTP{From: b.namespace, URL: "http://web/healthz"}, 200*time.Millisecond, func(up bool, _ time.Time, detail string) {
			select {
			case changes <- change{up, detail}:
			case <-ctx.Done():
			}
		})
		if err != nil {
			b.Errorf("probe: %v", err)
		}
	})
	defer probing.Wait()
	defer cancel()
	next := func() change {
		b.Helper()
		select {
		case got := <-changes:
			return got
		case <-time.After(patience):
			b.Fatal("the service did not change")
			return change{}
		}
	}
	expect := func(want change) {
		b.Helper()
		if got := next(); got != want {
			b.Errorf("the service became %+v, want %+v", got, want)
		}
	}
	for first := next(); !first.up; first = next() { // DNS may not have heard of the service yet
		b.Logf("at first: %s", first.detail)
	}
	b.apply(fmt.Sprintf(workload, 0))
	expect(change{false, "connection refused"})
	b.apply(fmt.Sprintf(workload, 1))
	expect(change{true, "200 OK"})
}

// testCheckNow: a probe with a long period looks at once when asked to.
func testCheckNow(b *bench) {
	b.apply(fmt.Sprintf(configMap, "red"))
	set := b.set(Check{ID: "color", Exec: &Exec{On: "node", Every: Duration(time.Hour), Command: []string{
		"kubectl", "get", "configmap", "settings", "--namespace", b.namespace, "--output", "jsonpath={.data.color}"}}, That: `result.stdout == "blue"`})
	r := b.run(set)
	_, at := r.await(b, 0, "red", fails(`"red"`))
	b.apply(fmt.Sprintf(configMap, "blue"))
	set.Recheck("color")
	r.await(b, at, "blue", passes)
}
