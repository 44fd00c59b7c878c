package grade

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	deploymentSeen = `{"object":{"metadata":{"name":"web","namespace":"shop","uid":"u1"},"spec":{"replicas":2,"paused":false,"memory":"64Mi",
		"containers":[{"name":"app","image":"web:1"},{"name":"proxy","image":"proxy:7"}]},"status":{"readyReplicas":1,"load":0.12345}}}`
	podsSeen = `{"objects":[{"metadata":{"name":"web-1","namespace":"shop"},"status":{"phase":"Running"}},
		{"metadata":{"name":"web-2","namespace":"shop"},"status":{"phase":"Pending"}}]}`
	answerSeen   = `{"response":{"code":503,"body":"{\"ok\":false,\"count\":3}","headers":{"content-type":"application/json"},"seconds":0.25}}`
	noAnswerSeen = `{"response":{"code":0,"body":"","seconds":0.001,"error":"connection refused"}}`
	resultSeen   = `{"result":{"code":1,"stdout":"one\ntwo\n","stderr":"oops"}}`
)

// TestReasons: a condition that does not hold is told in words, from the
// values that decided.
func TestReasons(t *testing.T) {
	nothing := "{}"
	tests := []struct {
		watch any
		that  string
		seen  string
		want  string // verdict and reason
	}{
		{aDeployment, `object.status.readyReplicas == 1`, deploymentSeen, `pass `},
		{aDeployment, `object.status.readyReplicas == 2`, deploymentSeen, `fail object.status.readyReplicas is 1, wanted 2`},
		{aDeployment, `2 <= object.status.readyReplicas`, deploymentSeen, `fail object.status.readyReplicas is 1, wanted at least 2`},
		{aDeployment, `object.status.readyReplicas > 1`, deploymentSeen, `fail object.status.readyReplicas is 1, wanted more than 1`},
		{aDeployment, `object.status.readyReplicas == object.spec.replicas`, deploymentSeen, `fail object.status.readyReplicas is 1, wanted 2 (object.spec.replicas)`},
		{aDeployment, `object.status.availableReplicas == 2`, deploymentSeen, `fail object.status.availableReplicas is not set, wanted 2`},
		{aDeployment, `object.nowhere.at.all == 2`, deploymentSeen, `fail object.nowhere.at.all is not set, wanted 2`},
		{aDeployment, `object.status.readyReplicas == 2`, nothing, `fail Deployment shop/web does not exist`},
		{aDeployment, `object == null`, nothing, `pass `},
		{aDeployment, `object != null`, nothing, `fail Deployment shop/web does not exist`},
		{aDeployment, `object != null`, `{"note":"the cluster knows no kind Deployment yet"}`, `fail the cluster knows no kind Deployment yet`},
		{aDeployment, `object.spec.replicas == 2 && object.status.readyReplicas == 2 && object.spec.paused`, deploymentSeen, `fail object.status.readyReplicas is 1, wanted 2`},
		{aDeployment, `object.spec.replicas == 3 || object.status.readyReplicas == 2`, deploymentSeen, `fail object.spec.replicas is 2, wanted 3; and object.status.readyReplicas is 1, wanted 2`},
		{aDeployment, `object.spec.paused ? object.spec.replicas == 2 : object.spec.replicas == 3`, deploymentSeen, `fail object.spec.replicas is 2, wanted 3`},
		{aDeployment, `object.spec.paused`, deploymentSeen, `fail object.spec.paused is false, wanted true`},
		{aDeployment, `object.metadata.name`, deploymentSeen, `fail object.metadata.name is "web", wanted true`},
		{aDeployment, `!has(object.status.readyReplicas)`, deploymentSeen, `fail object.status.readyReplicas is set, and should not be`},
		{aDeployment, `has(object.spec.strategy)`, deploymentSeen, `fail object.spec.strategy is not set`},
		{aDeployment, `!(object.spec.replicas == 2)`, deploymentSeen, `fail object.spec.replicas is 2, wanted anything but 2`},
		{aDeployment, `object.metadata.name in ["a", "b"]`, deploymentSeen, `fail object.metadata.name is "web", wanted one of ["a","b"]`},
		{aDeployment, `object.metadata.name.startsWith("app")`, deploymentSeen, `fail object.metadata.name is "web", wanted something that starts with "app"`},
		{aDeployment, `!object.metadata.name.matches("^w")`, deploymentSeen, `fail object.metadata.name is "web", wanted nothing that matches "^w"`},
		{aDeployment, `object.metadata.uid == baseline.metadata.uid`, deploymentSeen, `fail object.metadata.uid is "u1", wanted "u0" (baseline.metadata.uid)`},
		{aDeployment, `object.metadata.name == vars.name`, deploymentSeen, `fail object.metadata.name is "web", wanted "api" (vars.name)`},
		{aDeployment, `object.metadata.name == vars.nothing`, deploymentSeen, `fail object.metadata.name is "web", wanted not set (vars.nothing)`},
		{aDeployment, `object.status.load > 0.5`, deploymentSeen, `fail object.status.load is 0.123, wanted more than 0.5`},
		{aDeployment, `quantity(object.spec.memory).isGreaterThan(quantity("1Gi"))`, deploymentSeen, `fail quantity(object.spec.memory).isGreaterThan(quantity("1Gi")) is false, wanted true`},
		{aDeployment, `object.spec.containers.all(c, c.image.endsWith(":1"))`, deploymentSeen, `fail proxy: c.image is "proxy:7", wanted something that ends with ":1"`},
		{aDeployment, `object.spec.containers.exists(c, c.name == "init")`, deploymentSeen, `fail none of 2 fits: c.name == "init"`},
		{aDeployment, `object.spec.replicas / 0 == 1`, deploymentSeen, `fail object.spec.replicas / 0 is not to be had (division by zero), wanted 1`},
		{aDeployment, `double(object.spec.replicas) / 0.0 < 0.0 || 0.0 / 0.0 == 0.0`, deploymentSeen, `fail double(object.spec.replicas) / 0.0 is +Inf, wanted less than 0; and 0.0 / 0.0 is NaN, wanted 0`},
		{somePods, `objects.all(p, p.status.phase == "Running")`, podsSeen, `fail Pod shop/web-2: p.status.phase is "Pending", wanted "Running"`},
		{somePods, `objects.exists(p, p.status.phase == "Failed")`, podsSeen, `fail none of 2 fits: p.status.phase == "Failed"`},
		{somePods, `objects.exists(p, p.status.phase == "Running")`, nothing, `fail there is no Pod`},
		{somePods, `size(objects) == 3`, podsSeen, `fail size(objects) is 2, wanted 3`},
		{somePods, `size(objects) > size(baseline)`, podsSeen, `fail size(objects) is 2, wanted more than 2 (size(baseline))`},
		{aRequest, `response.code == 200`, answerSeen, `fail response.code is 503, wanted 200`},
		{aRequest, `response.code == 200`, noAnswerSeen, `fail http://web.shop/healthz gave no answer: connection refused`},
		{aRequest, `response.code == 503 && response.json.count == 3 && response.headers["content-type"].contains("json")`, answerSeen, `pass `},
		{aRequest, `response.json.ok`, answerSeen, `fail response.json.ok is false, wanted true`},
		{aRequest, `response.seconds < 0.1`, answerSeen, `fail response.seconds is 0.25, wanted less than 0.1`},
		{aCommand, `result.code == 0`, resultSeen, `fail result.code is 1, wanted 0`},
		{aCommand, `result.stdout == "one"`, resultSeen, `fail result.stdout is "one\ntwo\n", wanted "one"`},
		{aCommand, `result.code != 0`, `{"note":"no pod with app=web in shop is ready"}`, `fail no pod with app=web in shop is ready`},
		{aDeployment, `object.a.map(x, object.a.map(y, object.a.map(z, x+y+z))).size() > 0`, `{"object":{"a":[` + strings.Repeat("1,", 400) + `1]}}`, `error the checker's condition takes too long to decide`},
		{aDeployment, `object.spec.replicas == 3`, `{"object":{"spec":{"replicas":"left out: 300 KiB"}},"leftOut":["object.spec.replicas"]}`, `error the checker cannot decide: object.spec.replicas is too big to look at`},
		{aDeployment, `object.spec.replicas == 3`, `{"object":[1]}`, `error the checker cannot read what it kept`},
		{aDeployment, `object.spec.replicas == 3`, `nonsense`, `error the checker cannot read what it kept`},
	}
	baseline := Baseline{"check-0": json.RawMessage(`{"object":{"metadata":{"uid":"u0"}},"objects":[{"a":1},{"a":2}]}`)}
	for _, test := range tests {
		t.Run(test.that, func(t *testing.T) {
			set := mustCompile(t, check(test.watch, test.that))
			for range 2 { // the same again: judging is pure
				r := set.Replay([]Evidence{{Check: "check-0", Data: json.RawMessage(test.seen)}}, map[string]string{"name": "api"}, baseline)[0]
				if got := string(r.Verdict) + " " + r.Reason; got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}
		})
	}
}

func check(collector any, that string) Check {
	c := Check{That: that}
	switch collector := collector.(type) {
	case *Watch:
		c.Watch = collector
	case *HTTP:
		c.HTTP = collector
	case *Exec:
		c.Exec = collector
	}
	return c
}

func TestElse(t *testing.T) {
	for text, want := range map[string]string{
		"web is not ready": "web is not ready",
		"web has ${object.status.readyReplicas} of ${vars.want} pods":      "web has 1 of two pods",
		"${object.metadata.name} is paused: ${object.spec.paused}":         "web is paused: false",
		"strategy: ${object.spec.strategy}, ${object.?spec.?x.orValue(0)}": "strategy: not set, 0",
		`a map: ${{"a": "}"}}, and $${this} is not filled`:                 `a map: {"a":"}"}, and ${this} is not filled`,
		"then: ${baseline.metadata.uid}":                                   "then: u0",
	} {
		c := check(aDeployment, "object.spec.replicas == 7")
		c.Else = text
		set := mustCompile(t, c)
		r := set.Replay([]Evidence{{Check: "check-0", Data: json.RawMessage(deploymentSeen)}}, map[string]string{"want": "two"},
			Baseline{"check-0": json.RawMessage(`{"object":{"metadata":{"uid":"u0"}}}`)})[0]
		if r.Reason != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, r.Reason, want)
		}
	}
}

func TestNoBaseline(t *testing.T) {
	set := mustCompile(t, check(aDeployment, "object.metadata.uid == baseline.metadata.uid"))
	r := set.Replay([]Evidence{{Check: "check-0", Data: json.RawMessage(deploymentSeen)}}, nil, nil)[0]
	if r.Verdict != Error || !strings.Contains(r.Reason, "does not know the state at hand-over") {
		t.Errorf("without a baseline the result is %+v", r)
	}
}

// TestHold: t true, f false, e could not look, . what was seen last once more; the
// numbers are seconds. What is wanted is the result after the last.
func TestHold(t *testing.T) {
	const hold = 10
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	tests := []struct {
		series string
		want   Verdict
		until  int // seconds, of HoldUntil; 0: none
	}{
		{"0t", Fail, 10},
		{"0t 9.", Fail, 10},
		{"0t 10.", Pass, 0},
		{"0t 9t", Fail, 10},
		{"0t 10t", Pass, 0},
		{"0t 5f 6t 14.", Fail, 16},
		{"0t 5f 6t 16.", Pass, 0},
		{"0t 12f", Fail, 0},
		{"0t 10. 11. 12f 13t", Fail, 23},
		{"0f 10.", Fail, 0},
		// Time in which nobody looked counts neither way.
		{"0t 4e", Error, 0},
		{"0t 4e 30t", Fail, 36},
		{"0t 4e 30t 36.", Pass, 0},
		{"0t 4e 30. 36.", Pass, 0},
		{"0t 4e 8e 30t 31e 40t 45.", Pass, 0},
		{"0t 4e 30f 31t 38.", Fail, 41},
		{"0t 10. 11e", Error, 0},
		{"0t 10. 11e 60t", Pass, 0},
		{"5t 3t 13.", Pass, 0}, // the clock went back
		{"0e 5t", Fail, 15},
		{"", Error, 0},
	}
	set := mustCompile(t, Check{ID: "a", Watch: aDeployment, That: "object.ok", Hold: Duration(hold * time.Second)})
	for _, test := range tests {
		t.Run(test.series, func(t *testing.T) {
			var evidence []Evidence
			var last json.RawMessage
			for _, word := range strings.Fields(test.series) {
				var at int
				var what rune
				if _, err := fmt.Sscanf(word, "%d%c", &at, &what); err != nil {
					t.Fatal(err)
				}
				e := Evidence{Check: "a", At: start.Add(time.Duration(at) * time.Second)}
				switch what {
				case 't', 'f':
					e.Data = json.RawMessage(fmt.Sprintf(`{"object":{"ok":%t}}`, what == 't'))
					last = e.Data
				case '.':
					e.Data = last
				case 'e':
					e.Error = cannotReach
				}
				evidence = append(evidence, e)
			}
			r := set.Replay(evidence, nil, nil)[0]
			until := 0
			if !r.HoldUntil.IsZero() {
				until = int(r.HoldUntil.Sub(start).Seconds())
			}
			if r.Verdict != test.want || until != test.until {
				t.Errorf("%s: %s until %d, want %s until %d", test.series, r.Verdict, until, test.want, test.until)
			}
		})
	}
}

func TestReplayIgnoresOthers(t *testing.T) {
	set := mustCompile(t, Check{ID: "b", Watch: aDeployment, That: "true"}, Check{ID: "a", Watch: aDeployment, That: "true"})
	results := set.Replay([]Evidence{{Check: "gone", Data: json.RawMessage("{}")}, {Check: "a", Data: json.RawMessage("{}")}}, nil, nil)
	if len(results) != 2 || results[0].Check != "b" || results[0].Verdict != Error || results[1].Verdict != Pass {
		t.Errorf("results are %+v", results)
	}
}

func TestSecretIsMasked(t *testing.T) {
	secret := func(value string) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"key": value}, "metadata": map[string]any{
			"name": "s", "managedFields": []any{"x"}, "annotations": map[string]any{lastApplied: value, "other": "kept"}}}
	}
	one, _ := data{Object: trim(secret("aHVudGVyMg=="))}.encode()
	same, _ := data{Object: trim(secret("aHVudGVyMg=="))}.encode()
	other, _ := data{Object: trim(secret("aHVudGVyMw=="))}.encode()
	if bytes.Contains(one, []byte("aHVud")) || bytes.Contains(one, []byte("managedFields")) || !bytes.Contains(one, []byte("kept")) {
		t.Errorf("kept of a secret: %s", one)
	}
	if !bytes.Equal(one, same) || bytes.Equal(one, other) {
		t.Errorf("masks do not tell secrets apart: %s and %s", one, other)
	}
}

// TestBigEvidence: what is kept stays below the limit, says what is missing,
// and keeps the rest.
func TestBigEvidence(t *testing.T) {
	big := strings.Repeat("x", maxEvidence)
	many := map[string]any{}
	for i := range 30000 {
		many[fmt.Sprintf("key-%d", i)] = "value"
	}
	tests := map[string]struct {
		object  map[string]any
		leftOut []string
	}{
		"small":         {map[string]any{"a": "b"}, nil},
		"a long string": {map[string]any{"data": map[string]any{"big": big, "small": "s"}}, []string{"object.data.big"}},
		"two":           {map[string]any{"data": map[string]any{"big": big, "bigger": big + "x"}}, []string{"object.data.bigger", "object.data.big"}},
		"many keys":     {map[string]any{"metadata": map[string]any{"name": "n"}, "data": many}, []string{"object.data"}},
		"in a list":     {map[string]any{"data": map[string]any{"list": []any{"a", map[string]any{"x": big}}}}, []string{"object.data.list[1].x"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			raw, err := data{Object: test.object}.encode()
			if err != nil || len(raw) > maxEvidence {
				t.Fatalf("%d bytes, %v", len(raw), err)
			}
			back, err := decodeData(raw)
			if err != nil || !slices.Equal(back.LeftOut, test.leftOut) {
				t.Errorf("left out %q, want %q (%v)", back.LeftOut, test.leftOut, err)
			}
		})
	}
	raw, err := data{Result: &finished{Stdout: strings.Repeat("\x00", maxOutput), Stderr: "why"}}.encode()
	if back, bad := decodeData(raw); err != nil || bad != nil || len(raw) > maxEvidence || back.Result.Stdout == "" || back.Result.Stderr != "why" {
		t.Errorf("%d bytes of output that is not text, %v, %v", len(raw), err, bad)
	}
	var list []map[string]any
	for i := range 3000 {
		list = append(list, map[string]any{"metadata": map[string]any{"name": fmt.Sprint(i)}, "spec": strings.Repeat("y", 500)})
	}
	if _, err := (data{Objects: list}).encode(); err != errTooBig {
		t.Errorf("a list that cannot be made smaller gives %v", err)
	}
}

func FuzzReplay(f *testing.F) {
	for _, seen := range []string{deploymentSeen, podsSeen, answerSeen, noAnswerSeen, resultSeen, "{}", "null", `{"objects":[null]}`, `{"object":{"metadata":{"uid":1e999}}}`} {
		f.Add([]byte(seen), []byte(seen), int64(0), "")
	}
	set := mustCompile(f,
		check(aDeployment, `object.metadata.uid == baseline.metadata.uid && object.spec.containers.all(c, c.image != "x")`),
		check(somePods, `size(objects) > 1 && objects.exists(p, p.status.phase.startsWith("R"))`),
		check(aRequest, `response.code < 300 && response.json.a.b == 1 || response.headers["x"] == "y"`),
		Check{Exec: aCommand, That: `result.code == 0 && result.stdout.contains("x")`, Hold: Duration(time.Second), Else: "it was ${result.stdout}"},
	)
	f.Fuzz(func(t *testing.T, first, second []byte, after int64, problem string) {
		var evidence []Evidence
		for _, c := range set.Checks() {
			evidence = append(evidence, Evidence{Check: c.ID, Data: first, At: time.Unix(0, 0)},
				Evidence{Check: c.ID, Data: second, Error: problem, At: time.Unix(0, after)})
		}
		baseline := Baseline{"check-0": first}
		results := set.Replay(evidence, nil, baseline)
		again := set.Replay(evidence, nil, baseline)
		for i, r := range results {
			if r.Verdict != Pass && r.Verdict != Fail && r.Verdict != Error {
				t.Errorf("verdict %q", r.Verdict)
			}
			if (r.Reason == "") != (r.Verdict == Pass) {
				t.Errorf("%s with reason %q", r.Verdict, r.Reason)
			}
			if !r.same(again[i]) {
				t.Errorf("judged again, %+v became %+v", r, again[i])
			}
		}
	})
}

func FuzzTemplate(f *testing.F) {
	lang, err := newLanguage(oneObject)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a ${object.a} b $${c} ${'}'}")
	f.Fuzz(func(t *testing.T, text string) {
		compiled, problems := lang.compileTemplate(text)
		if problems == nil {
			compiled.fill(variables{"object": map[string]any{"a": int64(1)}, "baseline": nil, "vars": map[string]string{}})
		}
	})
}

// realistic is a Deployment as the API server delivers it, about 3 KiB.
func realistic() json.RawMessage {
	object := map[string]any{}
	if err := json.Unmarshal([]byte(deploymentSeen), &object); err != nil {
		panic(err)
	}
	deployment := object["object"].(map[string]any)
	var conditions []any
	for i := range 12 {
		conditions = append(conditions, map[string]any{"type": fmt.Sprint("Condition", i), "status": "True", "reason": "MinimumReplicasAvailable",
			"message": "Deployment has minimum availability.", "lastUpdateTime": "2026-11-22T09:00:00Z", "lastTransitionTime": "2026-11-22T09:00:00Z"})
	}
	deployment["status"].(map[string]any)["conditions"] = conditions
	raw, _ := json.Marshal(object)
	return raw
}

// BenchmarkJudge: one look at one check that fails, with its reason.
func BenchmarkJudge(b *testing.B) {
	raw := realistic()
	set := mustCompile(b, check(aDeployment, `object.spec.replicas == 2 && object.status.conditions.all(c, c.status == "True") && object.status.readyReplicas == 2`))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		set.conditions[0].judge(raw, nil, nil)
	}
}

// BenchmarkReplay1000 judges a thousand different pieces of evidence again, as a regrade does.
func BenchmarkReplay1000(b *testing.B) {
	set := mustCompile(b, Check{ID: "a", Watch: aDeployment, That: `object.spec.replicas == 2 && object.status.readyReplicas == 2`, Hold: Duration(10 * time.Second)})
	var evidence []Evidence
	for i := range 1000 {
		evidence = append(evidence, Evidence{Check: "a", At: time.Unix(int64(i), 0), Data: bytes.Replace(realistic(), []byte(`"readyReplicas":1`), fmt.Appendf(nil, `"readyReplicas":%d`, i%3), 1)})
	}
	for b.Loop() {
		set.Replay(evidence, nil, nil)
	}
}

func BenchmarkCompile20(b *testing.B) {
	var checks []Check
	for i := range 20 {
		c := check([]any{aDeployment, somePods, aRequest, aCommand}[i%4], "true")
		c.ID, c.Else = fmt.Sprintf("check-%d", i), "not yet"
		checks = append(checks, c)
	}
	for b.Loop() {
		if _, problems := Compile(checks); problems != nil {
			b.Fatal(problems)
		}
	}
}
