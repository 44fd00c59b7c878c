package trail_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"drydock/labs/trail"
)

func TestMaskText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"kubectl get pods -n shop", "kubectl get pods -n shop"},
		{"kubectl get secrets/web-tls", "kubectl get secrets/web-tls"},
		{"kubectl describe secret db", "kubectl describe secret db"},
		{`curl -H "Authorization: Bearer abc.def-123456" http://x`, `curl -H "Authorization: Bearer •••" http://x`},
		{"PGPASSWORD=hunter2 psql -h db", "PGPASSWORD=••• psql -h db"},
		{"export DB_PASSWORD='two words'; ls", "export DB_PASSWORD=•••; ls"},
		{`echo '{"password": "hunter2", "user": "web"}'`, `echo '{"password": •••, "user": "web"}'`},
		{"psql postgres://web:hunter2@db:5432/shop", "psql postgres://web:•••@db:5432/shop"},
		{"curl -u web:hunter2 http://x", "curl -u web:••• http://x"},
		{"kubectl --token abcdef get pods", "kubectl --token ••• get pods"},
		{"kubectl --token=abcdef get pods", "kubectl --token=••• get pods"},
		{"kubectl create secret generic db --from-literal=user=web --from-literal=pw='a b'", "kubectl create secret generic db --from-literal=user=••• --from-literal=pw=•••"},
		{"kubectl create configmap web --from-literal=colour=blue", "kubectl create configmap web --from-literal=colour=blue"},
		{"mysql -u root -phunter2 shop", "mysql -u root -p••• shop"},
		{"echo eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl", "echo •••"},
		{"x -----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY----- y", "x ••• y"},
	} {
		if got := trail.MaskText(c.text); got != c.want {
			t.Errorf("MaskText(%q)\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

// line is an entry of an audit log as Kubernetes 1.37 writes it.
func line(t *testing.T, second int, user, verb, resource, name string, more map[string]any) string {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, second, 0, time.UTC).Format(time.RFC3339Nano)
	e := map[string]any{
		"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "stage": "ResponseComplete",
		"requestURI": "/api/v1/namespaces/shop/" + resource + "/" + name, "verb": verb,
		"user":                     map[string]any{"username": user},
		"userAgent":                "kubectl/v1.37.1 (linux/amd64) kubernetes/0000000",
		"objectRef":                map[string]any{"resource": resource, "namespace": "shop", "name": name, "apiVersion": "v1"},
		"responseStatus":           map[string]any{"code": 200},
		"requestReceivedTimestamp": at, "stageTimestamp": at,
	}
	for key, value := range more {
		e[key] = value
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw) + "\n"
}

const learner = "system:serviceaccount:drydock:learner"

func TestParseAudit(t *testing.T) {
	patch := map[string]any{"requestObject": map[string]any{"spec": map[string]any{"template": map[string]any{
		"spec": map[string]any{"containers": []any{map[string]any{"name": "web", "env": []any{
			map[string]any{"name": "DB_PASSWORD", "value": "hunter2"}, map[string]any{"name": "DB_HOST", "value": "database"},
		}}}}}}}}
	log := "not JSON\n{}\n" +
		line(t, 0, learner, "list", "pods", "", nil) +
		line(t, 5, learner, "list", "pods", "", nil) +
		line(t, 6, learner, "watch", "pods", "", nil) +
		line(t, 10, learner, "patch", "deployments", "web", patch) +
		line(t, 11, learner, "delete", "pods", "web-1", nil) +
		line(t, 12, learner, "delete", "secrets", "db", map[string]any{"responseStatus": map[string]any{"code": 403, "message": `secrets "db" is forbidden`}}) +
		line(t, 13, learner, "patch", "deployments", "web", map[string]any{"requestObject": map[string]any{"spec": map[string]any{"replicas": 0}}}) +
		line(t, 14, "system:serviceaccount:shop:web", "create", "configmaps", "x", nil) +
		line(t, 15, "system:serviceaccount:drydock-setup:load", "create", "configmaps", "y", nil) +
		line(t, 16, "system:kube-scheduler", "create", "bindings", "z", nil) +
		line(t, 17, learner, "patch", "deployments", "web", map[string]any{"requestURI": "/x?dryRun=All&fieldManager=kubectl"})
	got := trail.ParseAudit([]byte(log), time.Time{})
	var words []string
	for _, r := range got {
		words = append(words, fmt.Sprintf("%s %s %s by=%q code=%d times=%d", r.Class, r.Verb, r.Target(), r.By, r.Code, r.Times))
	}
	want := []string{
		`look list pods by="" code=200 times=3`,
		`change patch deployments web by="" code=200 times=0`,
		`destroy delete pods web-1 by="" code=200 times=0`,
		`destroy delete secrets db by="" code=403 times=0`,
		`destroy patch deployments web by="" code=200 times=0`,
		`change create configmaps x by="shop/web" code=200 times=0`,
		`look patch deployments web by="" code=200 times=0`,
	}
	if strings.Join(words, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(words, "\n"), strings.Join(want, "\n"))
	}
	if body := got[1].Body; strings.Contains(body, "hunter2") || !strings.Contains(body, "database") {
		t.Errorf("the patch is kept as %s", body)
	}
	if got[3].Refusal == "" || !got[3].Refused() {
		t.Error("the refusal is not told")
	}
	later := trail.ParseAudit([]byte(log), time.Date(2026, 3, 1, 12, 0, 14, 0, time.UTC))
	if len(later) != 2 {
		t.Errorf("%d requests from the 14th second on, want 2", len(later))
	}
}

func TestTallyKeepsRoomForWhatWasDestroyed(t *testing.T) {
	var tally trail.Tally
	looks := make([]trail.Request, 3*trail.MaxKept)
	for i := range looks {
		looks[i] = trail.Request{Class: trail.Look, Resource: "pods", Name: fmt.Sprint(i)}
	}
	if kept := tally.Admit(looks); len(kept) != trail.MaxKept || tally.LeftOut != 2*trail.MaxKept {
		t.Errorf("%d kept and %d left out", len(kept), tally.LeftOut)
	}
	if kept := tally.Admit([]trail.Request{{Class: trail.Destroy}}); len(kept) != 1 {
		t.Error("what was destroyed is hidden behind what was looked at")
	}
}

func TestMarks(t *testing.T) {
	var m trail.Marks
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	if got := m.Write([]byte("\x1b]0;title\a\x1b]133;A\a$ \x1b[31mls\x1b[0m\r\n"), at(0)); len(got) != 0 {
		t.Errorf("commands before any: %+v", got)
	}
	whole := "\x1b]633;E;kubectl get pods \\x3b echo \\\\o\\x0a --token=abc\a\x1b]133;C\x1b\\NAME\r\n\x1b]133;D;3\a\x1b]133;A\a$ "
	var got []trail.Command
	for i := range len(whole) { // in pieces of one byte
		got = append(got, m.Write([]byte{whole[i]}, at(i))...)
	}
	if len(got) != 1 {
		t.Fatalf("%d commands: %+v", len(got), got)
	}
	c := got[0]
	if c.Text != `kubectl get pods ; echo \o  --token=•••` || c.Code != 3 || !c.Ended || c.Took <= 0 || c.At.Before(began) {
		t.Errorf("the command is %+v", c)
	}
	// An end without a beginning, and an empty line, are nothing.
	if got := m.Write([]byte("\x1b]133;D;0\a\x1b]133;A\a$ "), at(500)); len(got) != 0 {
		t.Errorf("a command that never began: %+v", got)
	}
	// A shell that does not tell the text still tells that something ran.
	if got := m.Write([]byte("\x1b]133;C\a\x1b]133;D\a"), at(600)); len(got) != 1 || got[0].Text != "" || got[0].Code != 0 {
		t.Errorf("without a text: %+v", got)
	}
	m.Write([]byte("\x1b]633;E;vim x\a\x1b]133;C\a"), at(700))
	if c, ok := m.Running(at(1700)); !ok || c.Text != "vim x" || c.Ended || c.Took != time.Second {
		t.Errorf("what still runs is %+v", c)
	}
	if _, ok := m.Running(at(1800)); ok {
		t.Error("it is told twice")
	}
}

func TestMarksAreBounded(t *testing.T) {
	var m trail.Marks
	now := time.Now()
	m.Write([]byte("\x1b]633;E;"+strings.Repeat("x", 1<<20)), now)
	// It is no mark, and does not swallow what follows.
	got := m.Write([]byte("\x1b]633;E;"+strings.Repeat("é", 3000)+"\a\x1b]133;C\a\x1b]133;D;0\a"), now)
	if len(got) != 1 || len(got[0].Text) > trail.MaxCommand || !strings.HasSuffix(got[0].Text, "…") {
		t.Errorf("got %d commands", len(got))
	}
	got = m.Write([]byte("\x1b]633;E;a\\x1b[2J\\x00\u202eb\a\x1b]133;C\a\x1b]133;D;0\a"), now)
	if len(got) != 1 || got[0].Text != "a[2Jb" {
		t.Errorf("control characters: %+v", got)
	}
}

func FuzzMarks(f *testing.F) {
	f.Add([]byte("\x1b]633;E;ls\a\x1b]133;C\a\x1b]133;D;1\a"), 3)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		now := time.Now()
		var whole, parts trail.Marks
		a := whole.Write(p, now)
		cut = min(max(0, cut), len(p))
		b := append(parts.Write(p[:cut], now), parts.Write(p[cut:], now)...)
		if len(a) != len(b) {
			t.Fatalf("cut at %d: %d commands, whole: %d", cut, len(b), len(a))
		}
		for i := range a {
			if a[i] != b[i] || len(a[i].Text) > trail.MaxCommand || strings.ContainsAny(a[i].Text, "\x1b\a\n\r\x00") {
				t.Fatalf("%+v and %+v", a[i], b[i])
			}
		}
	})
}

func FuzzParseAudit(f *testing.F) {
	f.Add([]byte(`{"verb":"get","user":{"username":"` + learner + `"},"objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-03-01T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, r := range trail.ParseAudit(p, time.Time{}) {
			if len(r.Body) > trail.MaxBody || r.Class == "" || r.Resource == "" {
				t.Fatalf("%+v", r)
			}
		}
	})
}

// object decodes an object of Kubernetes.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return o
}

func snapshot(t *testing.T, objects ...string) trail.Snapshot {
	t.Helper()
	var s trail.Snapshot
	for _, text := range objects {
		s.Add(object(t, text))
	}
	return s
}

// words writes a difference in lines.
func words(d trail.Difference) string {
	var b strings.Builder
	for _, c := range d.Changes {
		fmt.Fprintf(&b, "%s %s %s/%s\n", c.Op, c.Kind, c.Space, c.Name)
		for _, f := range c.Fields {
			fmt.Fprintf(&b, "  %s: %q -> %q\n", f.Path, f.From, f.To)
		}
	}
	return b.String()
}

func TestCompareTellsWhatSomebodyChanged(t *testing.T) {
	before := snapshot(t,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"1","generation":1,"resourceVersion":"5","annotations":{"deployment.kubernetes.io/revision":"1"}},
		  "spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"web","image":"a:1","env":[{"name":"DB_HOST","value":"databse"},{"name":"DB_PASSWORD","value":"x1"}]}]}}},"status":{"readyReplicas":0}}`,
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop","uid":"2"},"data":{"password":"b2xk"}}`,
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"shop","uid":"3"},"spec":{"clusterIP":"10.96.0.9","ports":[{"port":5432}]}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"long","namespace":"shop","uid":"4"},"data":{"text":"`+strings.Repeat("x", 1000)+`1"}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"mine","namespace":"shop","uid":"5"},"spec":{"nodeName":"n"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"same","namespace":"shop","uid":"6"},"data":{"a":"b"}}`)
	after := snapshot(t,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"1","generation":4,"resourceVersion":"50","annotations":{"deployment.kubernetes.io/revision":"2"}},
		  "spec":{"replicas":2,"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}},"spec":{"containers":[{"name":"web","image":"a:1","env":[{"name":"DB_HOST","value":"database"},{"name":"DB_PASSWORD","value":"x2"}]}]}}},"status":{"readyReplicas":2}}`,
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop","uid":"2"},"data":{"password":"bmV3"}}`,
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"shop","uid":"33"},"spec":{"clusterIP":"10.96.0.77","ports":[{"port":5432}]}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"long","namespace":"shop","uid":"4"},"data":{"text":"`+strings.Repeat("x", 1000)+`2"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"same","namespace":"shop","uid":"6"},"data":{"a":"b"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new","namespace":"shop","uid":"7"},"data":{"a":"b"}}`)
	got := words(trail.Compare(before, after))
	long := strings.Repeat("x", 253) + "…"
	want := `changed ConfigMap shop/long
  data.text: "` + long + `" -> "` + long + `"
created ConfigMap shop/new
changed Deployment shop/web
  spec.template.spec.containers[web].env[DB_HOST].value: "databse" -> "database"
  spec.template.spec.containers[web].env[DB_PASSWORD].value: "•••" -> "•••"
deleted Pod shop/mine
changed Secret shop/db
  data.password: "•••" -> "•••"
replaced Service shop/db
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if raw, _ := json.Marshal(before); strings.Contains(string(raw), "b2xk") || strings.Contains(string(raw), `"x1"`) {
		t.Errorf("the snapshot holds a secret: %s", raw)
	}
}

func TestWhatTheSystemDoesIsNoCollateral(t *testing.T) {
	empty := trail.Snapshot{}
	after := snapshot(t,
		`{"apiVersion":"v1","kind":"Event","metadata":{"name":"e","namespace":"shop"}}`,
		`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","namespace":"shop"}}`,
		`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s","namespace":"shop"}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1","namespace":"shop","ownerReferences":[{"kind":"ReplicaSet","name":"web","controller":true}]}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kube-root-ca.crt","namespace":"shop"}}`,
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default","namespace":"shop"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"kube-system"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"drydock-setup"}}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"system:node"}}`)
	if got := words(trail.Compare(empty, after)); got != "" {
		t.Errorf("collateral:\n%s", got)
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	var before, after trail.Snapshot
	for i := range trail.MaxObjects + 5 {
		before.Add(object(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%d","namespace":"shop"}}`, i)))
	}
	if len(before.Objects) != trail.MaxObjects || before.LeftOut != 5 {
		t.Errorf("%d objects, %d left out", len(before.Objects), before.LeftOut)
	}
	big := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c0","namespace":"shop"},"data":{`
	for i := range 300 {
		big += fmt.Sprintf(`"k%d":%q,`, i, strings.Repeat("y", 200))
	}
	after.Add(object(t, big+`"z":"z"}}`))
	if after.Objects[0].Content != nil {
		t.Error("a big object is kept whole")
	}
	// What had no room is not called created or deleted.
	d := trail.Compare(before, after)
	if got := words(d); !strings.HasPrefix(got, "changed ConfigMap shop/c0\n") || strings.Contains(got, "created") {
		t.Errorf("got:\n%.300s", got)
	}
	if len(d.Changes) > 200 || d.More == 0 {
		t.Errorf("%d changes and %d more", len(d.Changes), d.More)
	}
	few := d.Bounded(3, 1, func(c trail.ObjectChange) bool { return c.Op == trail.Changed })
	if len(few.Changes) != 3 || few.Changes[0].Op != trail.Changed || few.More != d.More+len(d.Changes)-3 {
		t.Errorf("bounded: %+v", few)
	}
	// Kinds that could not be listed are not compared.
	after.Blind = []string{"ConfigMap"}
	if d := trail.Compare(before, after); len(d.Changes) != 0 || len(d.Blind) != 1 {
		t.Errorf("compared blindly: %s", words(d))
	}
}
