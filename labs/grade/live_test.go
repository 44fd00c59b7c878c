package grade

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// patience is how long a live test waits for what must come: far longer than
// it takes, on a machine with other work to do.
const patience = 90 * time.Second

// bench is a namespace of its own in the cluster that the live tests share.
type bench struct {
	*testing.T
	env       Env
	client    dynamic.Interface
	namespace string
}

func newBench(t *testing.T, env Env, namespace string) *bench {
	t.Helper()
	unlimited := rest.CopyConfig(env.REST)
	unlimited.QPS = -1 // the client's own limit would be measured instead of the checker
	client, err := dynamic.NewForConfig(unlimited)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t, env, client, namespace}
	b.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + namespace + `}}`)
	t.Cleanup(func() {
		_ = client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Delete(context.Background(), namespace, metav1.DeleteOptions{})
	})
	return b
}

func (b *bench) resource(o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := o.GroupVersionKind()
	plural := map[string]string{"NetworkPolicy": "networkpolicies"}[gvk.Kind]
	if plural == "" {
		plural = strings.ToLower(gvk.Kind) + "s"
	}
	all := b.client.Resource(gvk.GroupVersion().WithResource(plural))
	if slices.Contains(clusterKinds, gvk.Kind) {
		return all
	}
	return all.Namespace(b.namespace)
}

func (b *bench) parse(manifest string) *unstructured.Unstructured {
	b.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		b.Fatalf("%v in %s", err, manifest)
	}
	return o
}

// apply creates or replaces, and waits for a kind that is being defined.
func (b *bench) apply(manifest string) *unstructured.Unstructured {
	b.Helper()
	o := b.parse(manifest)
	raw, err := json.Marshal(o.Object)
	if err != nil {
		b.Fatal(err)
	}
	force := true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		done, err := b.resource(o).Patch(ctx, o.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: "test", Force: &force})
		if err == nil {
			return done
		}
		if !apierrors.IsNotFound(err) || !pause(ctx, 50*time.Millisecond, nil) {
			b.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func (b *bench) delete(manifest string) {
	b.Helper()
	o := b.parse(manifest)
	if err := b.resource(o).Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}); err != nil {
		b.Fatalf("delete %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

func (b *bench) set(checks ...Check) *Set {
	b.Helper()
	return mustCompile(b, checks...)
}

// mustCompile also puts the check's own id in where none is given.
func mustCompile(t testing.TB, checks ...Check) *Set {
	t.Helper()
	for i := range checks {
		if checks[i].ID == "" {
			checks[i].ID = fmt.Sprintf("check-%d", i)
		}
	}
	set, problems := Compile(checks)
	for _, p := range problems {
		t.Error(p)
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

// recorder is a Sink that keeps all it is told.
type recorder struct {
	mu       sync.Mutex
	evidence []Evidence
	results  []Result
	arrived  []time.Time
	more     chan struct{} // closed and replaced at each result
}

func (r *recorder) Evidence(e Evidence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.evidence = append(r.evidence, e)
}

func (r *recorder) Result(res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, res)
	r.arrived = append(r.arrived, time.Now())
	close(r.more)
	r.more = make(chan struct{})
}

// run starts judging; the recorder hears of it until the test ends.
func (b *bench) run(set *Set) *recorder {
	b.Helper()
	r := &recorder{more: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := set.Run(ctx, b.env, r); err != nil {
			b.Errorf("run: %v", err)
		}
	})
	b.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

// await waits for a result from the given position on, and returns it and the
// position after it.
func (r *recorder) await(t testing.TB, from int, want string, fits func(Result) bool) (Result, int) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		for i := from; i < len(r.results); i++ {
			if fits(r.results[i]) {
				defer r.mu.Unlock()
				return r.results[i], i + 1
			}
		}
		more := r.more
		r.mu.Unlock()
		select {
		case <-more:
		case <-deadline.C:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("no result: %s; results were %+v", want, r.results[from:])
		}
	}
}

func passes(r Result) bool { return r.Verdict == Pass }

func (r *recorder) all() []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.results)
}

func (r *recorder) kept() []Evidence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.evidence)
}

func fails(because string) func(Result) bool {
	return func(r Result) bool { return r.Verdict == Fail && strings.Contains(r.Reason, because) }
}

// replayed checks that the kept evidence alone leads to the same results.
func (b *bench) replayed(set *Set, r *recorder) {
	b.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	final := map[string]Result{}
	for _, res := range r.results {
		final[res.Check] = res
	}
	for _, again := range set.Replay(r.evidence, b.env.Vars, b.env.Baseline) {
		if !again.same(final[again.Check]) {
			b.Errorf("replay of %s says %+v; live it was %+v", again.Check, again, final[again.Check])
		}
	}
}

const configMap = `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {color: %s}}`

func watchConfig(b *bench) *Watch {
	return &Watch{Kind: "ConfigMap", Namespace: b.namespace, Name: "settings"}
}

// liveWatch are the tests of watching; they need nothing but an API server.
func liveWatch(t *testing.T, env Env) {
	tests := map[string]func(*bench){
		"comes-and-goes": testComesAndGoes, "tick": testTick, "hold": testHold, "lists": testLists, "new-kind": testNewKind,
		"secret": testSecret, "baseline": testBaseline, "once": testOnce, "recheck": testRecheck, "short-break": testShortBreak,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newBench(t, env, fmt.Sprintf("%s-%d", name, time.Now().UnixMilli())))
		})
	}
}

func testComesAndGoes(b *bench) {
	set := b.set(Check{Watch: watchConfig(b), That: `object.data.color == "blue"`})
	r := b.run(set)
	_, at := r.await(b, 0, "missing", fails("ConfigMap "+b.namespace+"/settings does not exist"))
	b.apply(fmt.Sprintf(configMap, "red"))
	_, at = r.await(b, at, "red", fails(`object.data.color is "red", wanted "blue"`))
	b.apply(fmt.Sprintf(configMap, "blue"))
	_, at = r.await(b, at, "blue", passes)
	b.delete(fmt.Sprintf(configMap, "x"))
	r.await(b, at, "gone", fails("does not exist"))
	b.replayed(set, r)
}

// testTick measures from the moment a change is asked for to its result.
func testTick(b *bench) {
	const rounds = 20
	b.apply(fmt.Sprintf(configMap, "red"))
	r := b.run(b.set(Check{Watch: watchConfig(b), That: `object.data.color == "blue"`}))
	_, at := r.await(b, 0, "red", fails("red"))
	var took []time.Duration
	for i := range rounds {
		color, want := "blue", passes
		if i%2 == 1 {
			color, want = "red", fails("red")
		}
		start := time.Now()
		b.apply(fmt.Sprintf(configMap, color))
		_, at = r.await(b, at, color, want)
		r.mu.Lock()
		took = append(took, r.arrived[at-1].Sub(start))
		r.mu.Unlock()
	}
	slices.Sort(took)
	b.Logf("change to result: median %s, worst %s", took[rounds/2], took[rounds-1])
	if took[rounds/2] > 100*time.Millisecond {
		b.Errorf("change to result takes %s in the median; it should take less than 100 ms", took[rounds/2])
	}
}

func testHold(b *bench) {
	const hold = 2 * time.Second
	set := b.set(Check{Watch: watchConfig(b), That: `object.data.color == "blue"`, Hold: Duration(hold)})
	b.apply(fmt.Sprintf(configMap, "blue"))
	r := b.run(set)
	first, at := r.await(b, 0, "held", fails("it must stay so for 2s"))
	if got := first.HoldUntil.Sub(first.At); got != hold {
		b.Errorf("the hold ends %s after it began, want %s", got, hold)
	}
	b.apply(fmt.Sprintf(configMap, "red"))
	_, at = r.await(b, at, "broken", fails("red"))
	b.apply(fmt.Sprintf(configMap, "blue"))
	begun, at := r.await(b, at, "held again", fails("it must stay so"))
	done, _ := r.await(b, at, "hold fulfilled", passes)
	if got := done.At.Sub(begun.At); got < hold || got > hold+time.Second {
		b.Errorf("passed %s after it became true, want %s", got, hold)
	}
	b.replayed(set, r)
}

// testShortBreak shows that a break of a few milliseconds breaks a hold.
func testShortBreak(b *bench) {
	set := b.set(Check{Watch: watchConfig(b), That: `object.data.color == "blue"`})
	b.apply(fmt.Sprintf(configMap, "blue"))
	r := b.run(set)
	_, at := r.await(b, 0, "blue", passes)
	b.apply(fmt.Sprintf(configMap, "red"))
	b.apply(fmt.Sprintf(configMap, "blue"))
	_, at = r.await(b, at, "the break", fails("red"))
	r.await(b, at, "blue again", passes)
}

func testLists(b *bench) {
	worker := `{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, labels: {app: worker}}, data: {state: %s}}`
	set := b.set(
		Check{ID: "all-done", Watch: &Watch{Kind: "ConfigMap", Namespace: b.namespace, Selector: "app=worker"}, That: `size(objects) == 2 && objects.all(o, o.data.state == "done")`},
		Check{ID: "any-done", Watch: &Watch{Kind: "ConfigMap", Namespace: b.namespace, Selector: "app=worker"}, That: `objects.exists(o, o.data.state == "done")`, Else: "nobody of ${size(objects)} is done"},
	)
	r := b.run(set)
	of := func(check string, fits func(Result) bool) func(Result) bool {
		return func(r Result) bool { return r.Check == check && fits(r) }
	}
	r.await(b, 0, "none", of("all-done", fails("size(objects) is 0, wanted 2")))
	r.await(b, 0, "none", of("any-done", fails("nobody of 0 is done")))
	b.apply(fmt.Sprintf(worker, "one", "done"))
	b.apply(fmt.Sprintf(worker, "two", "busy"))
	b.apply(fmt.Sprintf(configMap, "not-selected"))
	_, at := r.await(b, 0, "one busy", of("all-done", fails(`ConfigMap `+b.namespace+`/two: o.data.state is "busy", wanted "done"`)))
	r.await(b, 0, "one done", of("any-done", passes))
	b.apply(fmt.Sprintf(worker, "two", "done"))
	r.await(b, at, "both done", of("all-done", passes))
	b.replayed(set, r)
}

func testNewKind(b *bench) {
	const crd = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: boats.grade.test}, spec: {
		group: grade.test, scope: Namespaced, names: {plural: boats, singular: boat, kind: Boat}, versions: [{name: v1, served: true, storage: true,
		schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`
	set := b.set(Check{Watch: &Watch{APIVersion: "grade.test/v1", Kind: "Boat", Namespace: b.namespace, Name: "ida"}, That: `object.afloat`})
	r := b.run(set)
	_, at := r.await(b, 0, "no kind", fails("the cluster knows no kind Boat yet"))
	b.apply(crd)
	b.apply(`{apiVersion: grade.test/v1, kind: Boat, metadata: {name: ida}, afloat: true}`)
	_, at = r.await(b, at, "afloat", passes)
	b.delete(crd)
	r.await(b, at, "kind gone", fails("Boat"))
}

func testSecret(b *bench) {
	secret := `{apiVersion: v1, kind: Secret, metadata: {name: password}, stringData: {password: %s}}`
	b.apply(fmt.Sprintf(secret, "hunter2"))
	set := b.set(Check{Watch: &Watch{Kind: "Secret", Namespace: b.namespace, Name: "password"}, That: `object.data.password != baseline.data.password`})
	var err error
	if b.env.Baseline, err = set.Baseline(context.Background(), b.env); err != nil {
		b.Fatal(err)
	}
	r := b.run(set)
	_, at := r.await(b, 0, "the same", fails("sha256:"))
	b.apply(fmt.Sprintf(secret, "correct-horse"))
	r.await(b, at, "rotated", passes)
	kept, err := json.Marshal([]any{r.kept(), b.env.Baseline})
	if err != nil {
		b.Fatal(err)
	}
	for _, clear := range []string{"hunter2", "aHVudGVyMg", "correct-horse", "Y29ycmVjdC1ob3JzZQ"} {
		if strings.Contains(string(kept), clear) {
			b.Errorf("the evidence holds the secret: %s", kept)
		}
	}
	b.replayed(set, r)
}

func testBaseline(b *bench) {
	b.apply(fmt.Sprintf(configMap, "red"))
	set := b.set(Check{Watch: watchConfig(b), That: `object.metadata.uid == baseline.metadata.uid`, Else: "do not replace it"})
	var err error
	if b.env.Baseline, err = set.Baseline(context.Background(), b.env); err != nil {
		b.Fatal(err)
	}
	r := b.run(set)
	_, at := r.await(b, 0, "the same", passes)
	b.delete(fmt.Sprintf(configMap, "x"))
	b.apply(fmt.Sprintf(configMap, "red"))
	_, at = r.await(b, at, "deleted or replaced", fails("do not replace it"))
	for _, res := range r.all()[at:] {
		if res.Verdict == Pass {
			b.Errorf("another object passes for the first: %+v", res)
		}
	}
}

func testOnce(b *bench) {
	b.apply(fmt.Sprintf(configMap, "blue"))
	set := b.set(
		Check{Watch: watchConfig(b), That: `object.data.color == "blue"`},
		Check{Watch: watchConfig(b), That: `object.data.color == "blue"`, Hold: Duration(time.Minute)},
		Check{Watch: &Watch{Kind: "Node", Name: "no-such-node"}, That: `object != null`},
		Check{Watch: &Watch{APIVersion: "batch/v1", Kind: "Job", Name: "x"}, That: `object != null`},
	)
	evidence, results, err := set.Once(context.Background(), b.env)
	if err != nil {
		b.Fatal(err)
	}
	if len(evidence) != 4 || len(results) != 4 {
		b.Fatalf("%d pieces of evidence and %d results of 4 checks", len(evidence), len(results))
	}
	want := []string{"pass ", "fail it is so now; it must stay so for 1m0s", "fail Node no-such-node does not exist", "error the checker does not know in which namespace to look for Job x"}
	for i, res := range results {
		if got := string(res.Verdict) + " " + res.Reason; got != want[i] {
			b.Errorf("check %d: %s, want %s", i, got, want[i])
		}
	}
}

// testRecheck shows that a request to look again reaches the cluster, by the
// hold that only another look can fulfil.
func testRecheck(b *bench) {
	b.apply(fmt.Sprintf(configMap, "blue"))
	set := b.set(Check{Watch: watchConfig(b), That: `object.data.color == "blue"`, Hold: Duration(300 * time.Millisecond)})
	r := b.run(set)
	held, at := r.await(b, 0, "held", fails("it must stay so"))
	set.Recheck("check-0")
	set.Recheck("")
	done, _ := r.await(b, at, "fulfilled", passes)
	if done.At.Before(held.HoldUntil) {
		b.Errorf("passed at %s, before the hold was over at %s", done.At, held.HoldUntil)
	}
	b.replayed(set, r)
}
