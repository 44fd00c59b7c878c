package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/image"
)

// auditEntry is what the test looks at of a line of the log.
type auditEntry struct {
	Level, Stage, Verb string
	User               struct{ Username string }
	ObjectRef          struct{ Resource, Name, Subresource string }
	RequestObject      map[string]any
	ResponseStatus     struct{ Code int }
}

// audited reads the log from a place on.
func (a *arena) audited(t *testing.T, since string) (entries []auditEntry, text string, next string) {
	t.Helper()
	for next = since; ; {
		res, err := a.Exec(t.Context(), attackSession, sandbox.AuditCommand(next))
		if err != nil {
			t.Fatal(err)
		}
		part, err := sandbox.ParseAudit(res)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(part.Lines) {
			var e auditEntry
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("a line is no JSON: %v: %s", err, line)
			}
			entries = append(entries, e)
		}
		text, next = text+string(part.Lines), part.Next
		if !part.More {
			return entries, text, next
		}
	}
}

// TestAuditLog: what the learner asks of the cluster is written down on the
// node, all of it and nothing else, and the learner can do nothing about it.
func TestAuditLog(t *testing.T) {
	a := &arena{Provider: newAttackedProvider(t)}
	t.Cleanup(func() { removeTemplates(t, a.Provider) }) // last, when nothing is made of it any more
	t.Cleanup(func() {
		if err := a.Destroy(context.Background(), attackSession); err != nil {
			t.Error(err)
		}
	})
	_, err := a.Create(t.Context(), sandbox.Spec{
		Session: attackSession, Access: sandbox.AccessNamespace, Namespaces: []string{"default"}, Template: "attacks",
		Prepare: func(ctx context.Context, id string, _ sandbox.Progress) error {
			_, err := a.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"kubectl", "create", "configmap", "of-the-lab"}})
			return err
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, text, _ := a.audited(t, ""); text != "" {
		t.Errorf("before the learner has come the log holds %.2000s", text)
	}
	a.must(t, fromNode, "kubectl create configmap of-the-platform && kubectl get pods -A")
	a.must(t, "", "kubectl get pods && kubectl create configmap mine --from-literal=colour=blue && kubectl patch configmap mine -p '{\"data\":{\"colour\":\"red\"}}' && kubectl delete configmap mine")
	a.must(t, "", "kubectl create secret generic hidden --from-literal=password=hunter2 && kubectl get secret hidden -o yaml >/dev/null && kubectl create serviceaccount other")
	a.must(t, "", "timeout 3 kubectl get pods --watch; true")
	if code, out := a.run(t, attackSession, "", "kubectl -n kube-system delete deployment coredns", ""); code == 0 {
		t.Errorf("the learner deleted the cluster's DNS: %s", out)
	}
	entries, text, next := a.audited(t, "")
	said := func(verb, resource, name string) []auditEntry {
		return slices.DeleteFunc(slices.Clone(entries), func(e auditEntry) bool {
			return e.Verb != verb || e.ObjectRef.Resource != resource || name != "" && e.ObjectRef.Name != name
		})
	}
	for _, want := range []struct {
		verb, resource, name, level string
		times, code                 int
	}{
		{"list", "pods", "", "Metadata", 2, 200}, {"watch", "pods", "", "Metadata", 1, 200}, // the watch lists first
		{"create", "configmaps", "", "Request", 1, 201}, {"patch", "configmaps", "mine", "Request", 1, 200}, {"delete", "configmaps", "mine", "Request", 1, 200},
		{"create", "secrets", "", "Metadata", 1, 201}, {"get", "secrets", "hidden", "Metadata", 1, 200},
		{"delete", "deployments", "coredns", "Request", 1, 403},
	} {
		found := said(want.verb, want.resource, want.name)
		if len(found) != want.times {
			t.Errorf("%s %s %s is there %d times, want %d", want.verb, want.resource, want.name, len(found), want.times)
			continue
		}
		if e := found[0]; e.Level != want.level || e.ResponseStatus.Code != want.code {
			t.Errorf("%s %s %s is there at level %s with code %d, want %s and %d", want.verb, want.resource, want.name, e.Level, e.ResponseStatus.Code, want.level, want.code)
		}
	}
	for _, e := range entries {
		if e.User.Username != "system:serviceaccount:drydock:learner" {
			t.Errorf("of %s it says: %s %s", e.User.Username, e.Verb, e.ObjectRef.Resource)
		}
	}
	if found := said("patch", "configmaps", "mine"); len(found) == 1 && found[0].RequestObject["data"] == nil {
		t.Error("a patch is written down without what it changed")
	}
	if strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
		t.Error("the log holds a secret")
	}
	if again, _, _ := a.audited(t, next); len(again) != 0 {
		t.Errorf("%d entries come twice", len(again))
	}

	a.must(t, "", "kubectl create -f - && kubectl wait --for=condition=Ready pod/inside --timeout=90s", pod("inside", "securityContext: {runAsUser: 0}"))
	for _, at := range auditAttacks() {
		t.Run(at.name, func(t *testing.T) { a.attack(t, at) })
	}
	// Another account's token says so.
	a.must(t, fromNode, "kubectl create clusterrolebinding other --clusterrole=edit --serviceaccount=default:other")
	_, _, next = a.audited(t, "")
	a.must(t, fromNode, `t=$(kubectl create token other); kubectl --kubeconfig=/dev/null --server=https://`+nodeName+`:6443 --insecure-skip-tls-verify --token="$t" create configmap others && ! grep -rqF "$t" /kind/audit`)
	entries, _, _ = a.audited(t, next)
	if found := said("create", "configmaps", ""); len(found) != 1 || found[0].User.Username != "system:serviceaccount:default:other" {
		t.Errorf("what another account did is there as %+v", found)
	}
	a.must(t, fromNode, `test "$(stat -c '%a %U' /kind/audit)" = "700 root" && test "$(stat -c '%a %U' /kind/audit/audit.log)" = "600 root"`)
}

// auditAttacks are on the log of what the learner does.
func auditAttacks() []attack {
	const dir = auditDir
	hostPath := pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, hostPath: {path: "+dir+"}}]")
	apiServer := "kube-apiserver-" + nodeName
	return []attack{
		{name: "audit log from the terminal", script: "cat " + dir + "/audit.log", refused: "No such file"},
		{name: "audit log by a host path", script: "kubectl create -f -", stdin: hostPath, refused: byAdmission + "|PodSecurity",
			control: "kubectl create --dry-run=server -n kube-system -f -"},
		{name: "audit log in the API server's pod", refused: byAuthorization,
			script:  "kubectl -n kube-system exec " + apiServer + " -- cat " + dir + "/audit.log",
			control: "kubectl -n kube-system get pod " + apiServer},
		{name: "audit log by kubelet's logs", script: "kubectl get --raw /api/v1/nodes/" + nodeName + "/proxy/logs/../.." + dir + "/audit.log", refused: byAuthorization + "|NotFound|forbidden"},
		{name: "audit log from a pod", from: fromPod, script: "cat " + dir + "/audit.log || find / -xdev -name 'audit*.log' | grep .", refused: "can't open|No such file"},
		{name: "a copy beside the API server", refused: byAuthorization,
			script: "kubectl -n kube-system debug " + apiServer + " --image=" + image.WorkloadRef + " --target=kube-apiserver -- true"},
		{name: "an API server without a log", refused: byAuthorization,
			script: "kubectl -n kube-system patch pod " + apiServer + ` -p '{"spec":{"containers":[{"name":"kube-apiserver","image":"x"}]}}'`},
		{name: "an API server started anew", refused: byAuthorization, script: "kubectl -n kube-system delete pod " + apiServer},
	}
}
