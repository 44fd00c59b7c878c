package kind

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/firewall/testhosts"
	"drydock/sandbox/image"
)

// An attack is something that a learner could try, and that must be refused.
type attack struct {
	name string
	// from is where script runs: as the learner in the terminal (the zero
	// value), as root in a pod that the learner may make, or as root on the
	// node, which is where a learner is who has broken out of everything else.
	from place
	// script exits with 0 when the attack has succeeded. stdin is its input.
	script, stdin string
	// refused is what a refusal says, in its output; several words separated
	// by a bar are alternatives.
	refused string
	// control runs on the node as root, with an administrator's kubectl, and
	// succeeds: the attack fails for the wall, not for a mistake of its own.
	// Empty only where the attack's own output or another check shows that.
	control string
}

type place string

const (
	fromPod  place = "pod"
	fromNode place = "node"
)

// What the policies say, and the roles that nobody has.
const (
	byAdmission     = "ValidatingAdmissionPolicy"
	byAuthorization = "the sandbox refuses this"
)

// Sessions of the attacks: one with all rights that a learner is ever given,
// one beside it to be attacked.
const (
	attackSession = "attacker"
	otherSession  = "bystander"
)

// arena is where attacks run.
type arena struct {
	*Provider
	attacker, other sandbox.Info
	hosts           *testhosts.Hosts
}

// newAttackedProvider has an instance of its own: other tests sweep theirs.
func newAttackedProvider(t *testing.T) *Provider {
	cfg := newTestProvider(t).cfg
	cfg.Instance = "attacktest"
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.wall.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// newArena makes both sandboxes, as copies of one template where they can be,
// behind the firewall and beside test hosts.
func newArena(t *testing.T) *arena {
	p := newAttackedProvider(t)
	a := &arena{Provider: p, hosts: testhosts.New(t)}
	// As a lab's conditions would, it waits until there is something to hand over: DNS.
	ready := func(ctx context.Context, id string, _ sandbox.Progress) error {
		res, err := p.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"kubectl", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s"}})
		if err == nil && res.ExitCode != 0 {
			err = fmt.Errorf("wait for DNS: %s", res.Stderr)
		}
		return err
	}
	make := func(session string) sandbox.Info {
		t.Cleanup(func() {
			if err := p.Destroy(context.Background(), session); err != nil {
				t.Error(err)
			}
		})
		info, err := p.Create(t.Context(), sandbox.Spec{Session: session, Access: sandbox.AccessCluster, Template: "attacks", Ready: ready}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	// The template goes last, when nothing is made of it any more.
	t.Cleanup(func() { removeTemplates(t, p) })
	a.attacker, a.other = make(attackSession), make(otherSession)
	a.must(t, fromNode, "kubectl create namespace drydock-control")
	a.must(t, "", "kubectl create -f - && kubectl wait --for=condition=Ready pod/inside --timeout=90s", pod("inside", "securityContext: {runAsUser: 0}"))
	return a
}

func removeTemplates(t *testing.T, p *Provider) {
	ctx := context.Background()
	templates, err := p.Templates(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, found := range templates {
		if found.Name == "attacks" {
			if err := p.RemoveTemplate(ctx, found.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

// pod is a manifest whose pod sleeps. container goes into the container,
// the lines of spec into the pod's spec.
func pod(name, container string, spec ...string) string {
	lines := []string{
		"apiVersion: v1", "kind: Pod", "metadata: {name: " + name + "}", "spec:", "  terminationGracePeriodSeconds: 0",
	}
	for _, s := range spec {
		lines = append(lines, "  "+s)
	}
	lines = append(lines, "  containers:", "    - name: c", "      image: "+image.WorkloadRef, `      command: [sleep, "3600"]`)
	if container != "" {
		lines = append(lines, "      "+container)
	}
	return strings.Join(lines, "\n") + "\n"
}

// run runs a script and returns its exit code and all that it printed.
func (a *arena) run(t *testing.T, session string, from place, script, stdin string) (int, string) {
	t.Helper()
	cmd := sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"timeout", "60", "bash", "-c", script}}
	switch from {
	case fromNode:
		cmd.Where = sandbox.OnNode
	case fromPod:
		cmd.Argv = []string{"timeout", "60", "kubectl", "exec", "-i", "inside", "-c", "c", "--", "sh", "-c", script}
	}
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	res, err := a.Exec(t.Context(), session, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return res.ExitCode, string(bytes.Join([][]byte{res.Stdout, res.Stderr}, nil))
}

// must runs what has to work.
func (a *arena) must(t *testing.T, from place, script string, stdin ...string) string {
	t.Helper()
	code, out := a.run(t, attackSession, from, script, strings.Join(stdin, ""))
	if code != 0 {
		t.Fatalf("%s: exit %d: %s", script, code, out)
	}
	return out
}

func (a *arena) attack(t *testing.T, at attack) {
	if at.control != "" {
		if code, out := a.run(t, attackSession, fromNode, at.control, at.stdin); code != 0 {
			t.Errorf("the attack proves nothing, since its control fails: %s: exit %d: %s", at.control, code, out)
		}
	}
	code, out := a.run(t, attackSession, at.from, at.script, at.stdin)
	if code == 0 {
		t.Errorf("the attack has succeeded: %s: %s", at.script, out)
	}
	for _, word := range strings.Split(at.refused, "|") {
		if strings.Contains(out, word) {
			return
		}
	}
	t.Errorf("refused for another reason than %q: exit %d: %s", at.refused, code, out)
}

// TestAttacks runs what a learner could try to leave the sandbox, or to hurt
// somebody else, against a real cluster. All of it is refused.
func TestAttacks(t *testing.T) {
	a := newArena(t)
	t.Run("copies", a.copiesFindTheirServices)
	for _, group := range []struct {
		name    string
		attacks []attack
	}{
		{"pods", podAttacks()},
		{"volumes", volumeAttacks()},
		{"system", systemAttacks()},
		{"identity", identityAttacks()},
		{"control", controlAttacks()},
		{"nodes", nodeAttacks()},
		{"terminal", terminalAttacks()},
		{"container", containerAttacks()},
		{"audit", auditAttacks()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, at := range group.attacks {
				t.Run(at.name, func(t *testing.T) { a.attack(t, at) })
			}
		})
	}
	t.Run("network", a.networkAttacks)
	t.Run("sessions", a.sessionAttacks)
	t.Run("platform", a.stillWorks)
}

// copiesFindTheirServices: what the template wrote down of services holds in
// its copies, whose pods came up in any order. kube-proxy may take the pod of DNS
// out until it has said again that it is ready, and is given the time for that.
func (a *arena) copiesFindTheirServices(t *testing.T) {
	for _, session := range []string{attackSession, otherSession} {
		code, said := a.run(t, session, fromNode, `set -eu
			dns='-n kube-system -l k8s-app=kube-dns'
			kubectl wait pods $dns --for=condition=Ready --timeout=60s
			pod=$(kubectl get pods $dns -o jsonpath='{.items[*].status.podIP}')
			for try in $(seq 60); do
				now=$(nft list table ip kube-proxy | grep "udp dnat" || true)
				test -z "$now" || break
				sleep 0.5
			done
			behind=$(kubectl get endpointslices $dns -o jsonpath='{.items[*].endpoints[*].addresses[*]}')
			kept=$(grep "udp dnat" /var/lib/drydock/kube-proxy.nft || true)
			echo "the pod of DNS is $pod, behind its service is $behind; the template sends calls to $kept, kube-proxy to $now"
			test "$pod" = "$behind"
			echo "$kept" | grep -q "udp dnat to $pod:53"
			echo "$now" | grep -q "udp dnat to $pod:53"`, "")
		if code != 0 {
			t.Errorf("session %s: %s", session, said)
		}
	}
}

// stillWorks: after all that, the sandbox does what it is there for.
func (a *arena) stillWorks(t *testing.T) {
	a.must(t, "", "kubectl create deployment web --image="+image.WorkloadRef+" -- sleep 3600 && kubectl rollout status deployment/web --timeout=90s")
	a.must(t, "", "kubectl create namespace mine && kubectl -n mine create role look --verb=get --resource=pods && kubectl -n mine create rolebinding look --role=look --serviceaccount=mine:default")
	a.must(t, "", "kubectl -n mine create secret generic s --from-literal=a=b && kubectl -n mine get secrets && kubectl get pods,services,configmaps -A && kubectl top nodes; kubectl get nodes")
	a.must(t, fromNode, "kubectl label node --all drydock-test=works && kubectl -n kube-system get secrets")
	if cfg, err := a.KubeConfig(t.Context(), attackSession); err != nil || len(cfg) == 0 {
		t.Errorf("the platform's own way in: %v", err)
	}
}

// podAttacks are pods that would reach out of themselves. The control is the
// same pod in a namespace of the system, which the policy leaves alone.
func podAttacks() []attack {
	const image = "image: " + imageRef
	var list []attack
	for _, p := range []struct{ name, manifest string }{
		{"privileged", pod("x", "securityContext: {privileged: true}")},
		{"privileged init container", pod("x", "", "initContainers:", "  - {name: i, "+image+", securityContext: {privileged: true}}")},
		{"host PID namespace", pod("x", "", "hostPID: true")},
		{"host IPC namespace", pod("x", "", "hostIPC: true")},
		{"host network", pod("x", "", "hostNetwork: true")},
		{"host path", pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, hostPath: {path: /}}]")},
		{"host path of a socket", pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, hostPath: {path: /run/containerd/containerd.sock, type: Socket}}]")},
		{"static pods by host path", pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, hostPath: {path: /etc/kubernetes/manifests, type: Directory}}]")},
		{"volume of a CSI driver", pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, csi: {driver: host.example.com}}]")},
		{"volume of an NFS server", pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, nfs: {server: 192.0.2.1, path: /}}]")},
		{"volume of an iSCSI server", pod("x", "volumeMounts: [{name: v, mountPath: /v}]", "volumes: [{name: v, iscsi: {targetPortal: \"192.0.2.1:3260\", iqn: \"iqn.2001-04.com.example:storage\", lun: 0}}]")},
		{"host port", pod("x", "ports: [{containerPort: 80, hostPort: 80}]")},
		{"capability SYS_ADMIN", pod("x", "securityContext: {capabilities: {add: [SYS_ADMIN]}}")},
		{"capability NET_ADMIN", pod("x", "securityContext: {capabilities: {add: [NET_ADMIN]}}")},
		{"all capabilities", pod("x", "securityContext: {capabilities: {add: [ALL]}}")},
		{"unmasked proc", pod("x", "securityContext: {procMount: Unmasked}", "hostUsers: false")},
		{"unsafe sysctl", pod("x", "", "securityContext: {sysctls: [{name: kernel.msgmax, value: \"65536\"}]}")},
		{"seccomp off for the pod", pod("x", "", "securityContext: {seccompProfile: {type: Unconfined}}")},
		{"seccomp off for a container", pod("x", "securityContext: {seccompProfile: {type: Unconfined}}")},
		{"AppArmor off", pod("x", "securityContext: {appArmorProfile: {type: Unconfined}}")},
		{"SELinux role", pod("x", "securityContext: {seLinuxOptions: {role: sysadm_r}}")},
		{"probe of another host", pod("x", "livenessProbe: {httpGet: {host: 169.254.169.254, port: 80, path: /}}")},
		{"lifecycle hook at another host", pod("x", "lifecycle: {postStart: {httpGet: {host: 127.0.0.1, port: 10248, path: /healthz}}}")},
		{"mirror pod", strings.Replace(pod("x", "", "nodeName: nowhere"), "{name: x}", "{name: x, annotations: {kubernetes.io/config.mirror: abc, kubernetes.io/config.source: file}}", 1)},
	} {
		list = append(list, attack{
			name: p.name, script: "kubectl create -f -", stdin: p.manifest, refused: byAdmission,
			control: "kubectl create --dry-run=server -n drydock-control -f -",
		})
	}
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hidden}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n" +
		"    metadata: {labels: {a: b}}\n    spec:\n      containers: [{name: c, " + image + ", securityContext: {privileged: true}}]\n"
	return append(list,
		attack{name: "ephemeral container", refused: byAdmission,
			script:  "kubectl debug inside --profile=sysadmin --image=" + imageRef + " --container=e1 -- true",
			control: "kubectl -n default debug inside --profile=baseline --image=" + imageRef + " --container=e2 -- true"},
		attack{name: "debugging a node", refused: byAdmission,
			script: "kubectl debug node/" + nodeName + " --image=" + imageRef + " -- true"},
		attack{name: "a controller's pods", stdin: deployment, refused: byAdmission,
			// The controller is told, and says so where the learner looks.
			script: "kubectl apply -f - >/dev/null && kubectl wait --for=condition=ReplicaFailure deployment/hidden --timeout=60s >/dev/null || exit 0; " +
				"kubectl get deployment hidden -o jsonpath='{.status.conditions[?(@.type==\"ReplicaFailure\")].message}'; kubectl delete deployment hidden >/dev/null; exit 1",
			control: "kubectl create --dry-run=server -n drydock-control -f -"},
		attack{name: "a namespace that says it is privileged", stdin: pod("x", "securityContext: {privileged: true}"), refused: byAdmission,
			script:  "kubectl create namespace free >/dev/null; kubectl label namespace free pod-security.kubernetes.io/enforce=privileged >/dev/null; kubectl create -n free -f -",
			control: "kubectl create --dry-run=server -n drydock-control -f -"},
		attack{name: "a namespace of the system's", script: "kubectl create namespace drydock-mine", refused: byAdmission,
			control: "kubectl create --dry-run=server namespace drydock-mine"},
	)
}

const imageRef = image.WorkloadRef

func volumeAttacks() []attack {
	volume := func(source string) string {
		return "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: out}\nspec:\n  capacity: {storage: 1Gi}\n  accessModes: [ReadWriteOnce]\n  " + source + "\n"
	}
	var list []attack
	for _, v := range []struct{ name, source string }{
		{"host path through a PersistentVolume", "hostPath: {path: /}"},
		{"local disk through a PersistentVolume", "local: {path: /}\n  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}"},
		{"NFS through a PersistentVolume", "nfs: {server: 192.0.2.1, path: /}"},
		{"CSI through a PersistentVolume", "csi: {driver: host.example.com, volumeHandle: a}"},
	} {
		list = append(list, attack{name: v.name, stdin: volume(v.source), script: "kubectl create -f -", refused: byAdmission,
			control: "kubectl create --dry-run=server -f -"})
	}
	return list
}

// systemAttacks reach for what runs the cluster.
func systemAttacks() []attack {
	return []attack{
		{name: "exec into kube-system", refused: byAuthorization,
			script:  "kubectl -n kube-system exec deployment/coredns -- /coredns -version",
			control: "kubectl -n kube-system rollout status deployment/coredns --timeout=90s && kubectl -n kube-system exec deployment/coredns -- /coredns -version"},
		{name: "attach in kube-system", script: "kubectl -n kube-system attach deployment/coredns </dev/null", refused: byAuthorization},
		{name: "port forward into kube-system", script: "timeout 10 kubectl -n kube-system port-forward deployment/coredns 1234:9153", refused: byAuthorization},
		{name: "proxy into kube-system", refused: byAuthorization,
			script:  "kubectl get --raw /api/v1/namespaces/kube-system/services/kube-dns:metrics/proxy/metrics",
			control: "kubectl get --raw /api/v1/namespaces/kube-system/services/kube-dns:metrics/proxy/metrics"},
		{name: "pod in kube-system", stdin: pod("x", "securityContext: {privileged: true}"), refused: byAuthorization,
			script: "kubectl create -n kube-system -f -", control: "kubectl create --dry-run=server -n kube-system -f -"},
		{name: "ephemeral container in kube-system", refused: byAuthorization,
			script: "kubectl -n kube-system debug $(kubectl -n kube-system get pods -l k8s-app=kube-proxy -o name) --profile=sysadmin --image=" + imageRef + " -- true"},
		{name: "change of a system workload", refused: byAuthorization,
			script:  "kubectl -n kube-system set image daemonset/kube-proxy kube-proxy=" + imageRef,
			control: "kubectl -n kube-system set image --dry-run=server daemonset/kube-proxy kube-proxy=" + imageRef},
		{name: "change of the cluster's DNS", refused: byAuthorization,
			script:  "kubectl -n kube-system patch configmap coredns -p '{\"data\":{\"Corefile\":\"\"}}'",
			control: "kubectl -n kube-system patch --dry-run=server configmap coredns -p '{\"data\":{\"Corefile\":\"\"}}'"},
		{name: "secrets of kube-system", script: "kubectl -n kube-system get secrets", refused: byAuthorization, control: "kubectl -n kube-system get secrets"},
		{name: "secrets of all namespaces", script: "kubectl get secrets -A", refused: byAuthorization, control: "kubectl get secrets -A"},
		{name: "watch of all secrets", script: "kubectl get --raw '/api/v1/secrets?watch=1&timeoutSeconds=1'", refused: byAuthorization,
			control: "kubectl get --raw '/api/v1/secrets?watch=1&timeoutSeconds=1'"},
		{name: "bootstrap token", stdin: "apiVersion: v1\nkind: Secret\ntype: bootstrap.kubernetes.io/token\nmetadata: {name: bootstrap-token-abcdef, namespace: kube-system}\n" +
			"stringData: {token-id: abcdef, token-secret: 0123456789abcdef, usage-bootstrap-authentication: \"true\", auth-extra-groups: \"system:bootstrappers:kubeadm:default-node-token\"}\n",
			script: "kubectl create -f -", refused: byAuthorization, control: "kubectl create --dry-run=server -f -"},
		{name: "kind's bootstrap token", refused: "Unauthorized|401",
			script: "curl -fsSk -H 'Authorization: Bearer abcdef.0123456789abcdef' $(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')/api"},
		{name: "lease of a node", script: "kubectl -n kube-node-lease delete lease --all", refused: byAuthorization,
			control: "kubectl -n kube-node-lease delete --dry-run=server lease --all"},
		{name: "removal of kube-system", script: "kubectl delete namespace kube-system --wait=false", refused: byAuthorization + "|forbidden"},
	}
}

// identityAttacks try to be, or to become, somebody with more rights.
func identityAttacks() []attack {
	// sign asks for a certificate and tries to have it signed.
	request := func(subject, signer string) string {
		return "cd /tmp && openssl req -new -newkey rsa:2048 -nodes -keyout k -subj " + subject + " -out r 2>/dev/null && kubectl delete csr mine --ignore-not-found >/dev/null && " +
			"printf 'apiVersion: certificates.k8s.io/v1\\nkind: CertificateSigningRequest\\nmetadata: {name: mine}\\nspec: {signerName: " + signer + ", usages: [client auth, digital signature], request: %s}\\n' $(base64 -w0 r) | kubectl create -f - >/dev/null && "
	}
	role := func(rule string) string {
		return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: more}\nrules: [" + rule + "]\n"
	}
	thief := "kubectl create serviceaccount thief >/dev/null 2>&1; kubectl create clusterrolebinding thief --clusterrole=cluster-admin --serviceaccount=default:thief >/dev/null 2>&1; " +
		"as=\"kubectl --token=$(kubectl create token thief)\"; $as get pods -A >/dev/null || { echo the thief has no rights at all; exit 1; }; "
	dry := "kubectl create --dry-run=server -f -"
	return []attack{
		{name: "impersonation of the administrator", refused: byAuthorization,
			script:  "kubectl --as=kubernetes-admin --as-group=kubeadm:cluster-admins get pods -A",
			control: "kubectl --as=kubernetes-admin --as-group=kubeadm:cluster-admins get pods -A"},
		{name: "impersonation of system:masters", refused: byAuthorization,
			script: "kubectl --as=x --as-group=system:masters get secrets -A", control: "kubectl --as=x --as-group=system:masters get pods -A"},
		{name: "impersonation of a node", refused: byAuthorization,
			script: "kubectl --as=system:node:" + nodeName + " --as-group=system:nodes get pods -A"},
		{name: "token of a system service account", refused: byAuthorization,
			script: "kubectl -n kube-system create token clusterrole-aggregation-controller", control: "kubectl -n kube-system create token clusterrole-aggregation-controller"},
		{name: "lasting token of a system service account", refused: byAuthorization, script: "kubectl create -f -", control: dry,
			stdin: "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\nmetadata: {name: t, namespace: kube-system, annotations: {kubernetes.io/service-account.name: clusterrole-aggregation-controller}}\n"},
		{name: "secrets through another service account", script: thief + "$as -n kube-system get secrets", refused: byAuthorization},
		{name: "node through another service account", refused: byAuthorization,
			script: thief + "$as get --raw /api/v1/nodes/" + nodeName + "/proxy/pods"},
		{name: "impersonation through another service account", script: thief + "$as --as=x --as-group=system:masters get secrets -A", refused: byAuthorization},
		{name: "privileged pod through another service account", stdin: pod("x", "securityContext: {privileged: true}"), refused: byAdmission,
			script: thief + "$as create -f -", control: "kubectl create --dry-run=server -n drydock-control -f -"},
		{name: "role that escalates", script: "kubectl create -f -", control: dry, refused: byAdmission,
			stdin: role("{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [escalate]}")},
		{name: "role that binds", script: "kubectl create -f -", control: dry, refused: byAdmission,
			stdin: role("{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [bind]}")},
		{name: "role that impersonates", script: "kubectl create -f -", control: dry, refused: byAdmission,
			stdin: role("{apiGroups: [\"\"], resources: [users, groups], verbs: [impersonate]}")},
		{name: "role for the nodes", script: "kubectl create -f -", control: dry, refused: byAdmission,
			stdin: role("{apiGroups: [\"\"], resources: [nodes/proxy], verbs: [get, create]}")},
		{name: "change of cluster-admin", refused: byAdmission,
			script:  "kubectl patch clusterrole cluster-admin --type=json -p '[{\"op\":\"remove\",\"path\":\"/rules\"}]'",
			control: "kubectl patch --dry-run=server clusterrole cluster-admin --type=json -p '[{\"op\":\"remove\",\"path\":\"/rules\"}]'"},
		{name: "locking the platform out", refused: byAdmission,
			script: "kubectl delete clusterrolebinding kubeadm:cluster-admins", control: "kubectl delete --dry-run=server clusterrolebinding kubeadm:cluster-admins"},
		{name: "locking the platform out by collection", refused: byAdmission,
			script: "kubectl delete clusterrolebindings --all", control: "kubectl delete --dry-run=server clusterrolebindings --all"},
		{name: "binding of the nodes' group", refused: byAdmission,
			script:  "kubectl create clusterrolebinding masters --clusterrole=view --group=system:nodes",
			control: "kubectl create --dry-run=server clusterrolebinding masters --clusterrole=view --group=system:nodes"},
		{name: "approval of a certificate for an administrator", refused: byAuthorization,
			script: request("/O=kubeadm:cluster-admins/CN=me", "kubernetes.io/kube-apiserver-client") + "kubectl certificate approve mine"},
		{name: "approval of a certificate for a node", refused: byAuthorization,
			script: request("/O=system:nodes/CN=system:node:me", "kubernetes.io/kube-apiserver-client-kubelet") + "kubectl certificate approve mine"},
		{name: "approval of a certificate by nobody", refused: "no",
			// The controller asks exactly this before it approves by itself.
			script:  "kubectl auth can-i create certificatesigningrequests.certificates.k8s.io --subresource=nodeclient || { kubectl auth can-i create certificatesigningrequests.certificates.k8s.io --subresource=selfnodeclient; }",
			control: "kubectl auth can-i create certificatesigningrequests.certificates.k8s.io --subresource=nodeclient"},
		{name: "signature on a certificate", refused: byAuthorization,
			script: request("/O=kubeadm:cluster-admins/CN=me", "example.com/mine") + "kubectl patch csr mine --subresource=status --type=merge -p '{\"status\":{\"certificate\":\"YQ==\"}}'"},
	}
}

// controlAttacks would make the API server do what it is told by others.
func controlAttacks() []attack {
	hook := func(kind string) string {
		return "apiVersion: admissionregistration.k8s.io/v1\nkind: " + kind + "\nmetadata: {name: h}\nwebhooks:\n  - {name: h.example.com, sideEffects: None, admissionReviewVersions: [v1], " +
			"clientConfig: {url: \"https://169.254.169.254/\"}, rules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}\n"
	}
	create := func(name, refused, manifest string) attack {
		return attack{name: name, stdin: manifest, script: "kubectl create -f -", refused: refused, control: "kubectl create --dry-run=server -f -"}
	}
	return []attack{
		create("validating webhook", byAuthorization, hook("ValidatingWebhookConfiguration")),
		create("mutating webhook", byAuthorization, hook("MutatingWebhookConfiguration")),
		create("mutating policy", byAuthorization, "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata: {name: m}\nspec:\n  failurePolicy: Ignore\n  reinvocationPolicy: Never\n"+
			"  matchConstraints: {resourceRules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}\n"+
			"  mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{}\"}}]\n"),
		create("APIService", byAuthorization, "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.steal.example.com}\n"+
			"spec: {group: steal.example.com, version: v1, groupPriorityMinimum: 1, versionPriority: 1, insecureSkipTLSVerify: true, service: {namespace: default, name: s}}\n"),
		{name: "taking over an APIService", refused: byAuthorization,
			script:  "kubectl patch apiservice v1.apps --type=merge -p '{\"spec\":{\"service\":{\"namespace\":\"default\",\"name\":\"s\"}}}'",
			control: "kubectl get apiservice v1.apps"},
		create("conversion webhook", byAdmission, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\nspec:\n  group: example.com\n  scope: Namespaced\n"+
			"  names: {plural: things, kind: Thing}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]\n"+
			"  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: \"https://169.254.169.254/\"}}}\n"),
		create("external addresses", byAdmission, "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 443}], selector: {a: b}, externalIPs: [192.0.2.1]}\n"),
		create("starving the platform's requests", byAuthorization, "apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: FlowSchema\nmetadata: {name: f}\n"+
			"spec: {matchingPrecedence: 2, priorityLevelConfiguration: {name: catch-all}, rules: [{subjects: [{kind: User, user: {name: kubernetes-admin}}], nonResourceRules: [{verbs: ['*'], nonResourceURLs: ['*']}]}]}\n"),
		{name: "deletion of the admission policies", refused: "not found|NotFound|" + byAuthorization,
			script: "kubectl delete validatingadmissionpolicy pods.drydock.static.k8s.io; kubectl delete validatingadmissionpolicybinding pods.drydock.static.k8s.io"},
		{name: "deletion of all admission policies", refused: byAuthorization,
			script: "kubectl delete --raw /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"},
		{name: "policy under the name of a static one", refused: byAuthorization, script: "kubectl create -f -",
			stdin: "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: pods.drydock.static.k8s.io}\nspec:\n" +
				"  matchConstraints: {resourceRules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}\n  validations: [{expression: \"true\"}]\n"},
		{name: "insides of the API server", script: "kubectl get --raw /debug/pprof/", refused: byAuthorization},
		{name: "log level of the API server", refused: byAuthorization,
			script: "curl -sSk -X PUT -d 0 -H \"Authorization: Bearer $(kubectl config view --raw -o jsonpath='{.users[0].user.token}')\" $(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')/debug/flags/v --fail-with-body"},
		create("event in kubelet's name", byAdmission, "apiVersion: v1\nkind: Event\nmetadata: {name: made-up, namespace: default}\n"+
			"involvedObject: {kind: Pod, name: inside, namespace: default}\nreason: Started\nmessage: it runs\ntype: Normal\nsource: {component: kubelet}\n"),
		create("event in a controller's name", byAdmission, "apiVersion: events.k8s.io/v1\nkind: Event\nmetadata: {name: made-up-too, namespace: default}\n"+
			"regarding: {kind: Pod, name: inside, namespace: default}\nreason: Completed\naction: Run\nnote: done\ntype: Normal\n"+
			"eventTime: 2026-11-23T09:00:00.000000Z\nreportingController: job-controller\nreportingInstance: job-controller-1\n"),
		{name: "status that is not so", refused: byAuthorization,
			script:  "kubectl patch pod inside --subresource=status -p '{\"status\":{\"podIP\":\"127.0.0.1\"}}'",
			control: "kubectl -n default patch --dry-run=server pod inside --subresource=status -p '{\"status\":{\"message\":\"a\"}}'"},
	}
}

// nodeAttacks are those on the node and what listens there.
func nodeAttacks() []attack {
	const node = nodeName
	const ip = nodeName // as the terminal knows the node
	token := "$(kubectl config view --raw -o jsonpath='{.users[0].user.token}')"
	change := func(name, verb string) attack {
		return attack{name: name, script: "kubectl " + verb, refused: byAuthorization, control: "kubectl " + strings.Replace(verb, " ", " --dry-run=server ", 1)}
	}
	closed := func(name, url string) attack {
		return attack{name: name, script: "curl -fsSk -m 5 " + url, refused: "connect to"}
	}
	return []attack{
		{name: "nodes/proxy", script: "kubectl get --raw /api/v1/nodes/" + node + "/proxy/pods", refused: byAuthorization,
			control: "kubectl get --raw /api/v1/nodes/" + node + "/proxy/pods"},
		{name: "nodes/proxy to run commands", refused: byAuthorization,
			script: "kubectl create --raw /api/v1/nodes/" + node + "/proxy/run/default/inside/c?cmd=id -f /dev/null"},
		{name: "node logs", script: "kubectl get --raw /api/v1/nodes/" + node + "/proxy/logs/", refused: byAuthorization},
		{name: "kubelet's port", refused: "Forbidden|403",
			script:  "curl -sSk --fail-with-body -H \"Authorization: Bearer " + token + "\" https://" + ip + ":10250/pods",
			control: "curl -fsSk --cert /etc/kubernetes/pki/apiserver-kubelet-client.crt --key /etc/kubernetes/pki/apiserver-kubelet-client.key https://" + ip + ":10250/pods"},
		{name: "kubelet's port to run commands", refused: "Forbidden|403",
			script: "curl -sSk --fail-with-body -X POST -H \"Authorization: Bearer " + token + "\" 'https://" + ip + ":10250/run/default/inside/c?cmd=id'"},
		{name: "kubelet's port without a name", refused: "Unauthorized|401", script: "curl -sSk --fail-with-body https://" + ip + ":10250/pods"},
		closed("kubelet's open port", "http://"+ip+":10255/pods"),
		closed("kubelet's health port", "http://"+ip+":10248/healthz"),
		closed("containerd's streams", "http://"+ip+":1338/"),
		{name: "etcd", refused: "alert|certificate|handshake|not connected|reset|connect to", script: "curl -sSk -m 5 https://" + ip + ":2379/version",
			control: "curl -fsSk --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key https://127.0.0.1:2379/version"},
		change("node label", "label nodes --all a=b"),
		change("node taint", "taint nodes --all a=b:NoExecute"),
		change("cordoning", "patch node "+node+` --patch='{"spec":{"unschedulable":true}}'`),
		change("removal of the node", "delete node "+node),
		{name: "node status", refused: byAuthorization,
			script:  "kubectl patch node " + node + " --subresource=status -p '{\"status\":{\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":80}}}}'",
			control: "kubectl patch --dry-run=server node " + node + " --subresource=status -p '{\"status\":{\"phase\":\"Running\"}}'"},
		{name: "a node of one's own", refused: byAuthorization, script: "kubectl create -f -", stdin: "apiVersion: v1\nkind: Node\nmetadata: {name: mine}\n",
			control: "kubectl create --dry-run=server -f -"},
	}
}

// networkOf is what the engine knows of a sandbox's network.
func (a *arena) networkOf(t *testing.T, info sandbox.Info, format string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "network", "inspect", "--format", format, info.Name).Output()
	if err != nil {
		t.Fatalf("look at the network of %s: %v", info.Name, err)
	}
	return strings.Fields(string(out))
}

// TestNamespaceAttacks: with access to a namespace roles say what there is,
// and what they leave open the same policies close.
func TestNamespaceAttacks(t *testing.T) {
	p := newAttackedProvider(t)
	a := &arena{Provider: p}
	t.Cleanup(func() {
		if err := p.Destroy(context.Background(), attackSession); err != nil {
			t.Error(err)
		}
	})
	if _, err := p.Create(t.Context(), sandbox.Spec{Session: attackSession}, nil); err != nil {
		t.Fatal(err)
	}
	const forbidden = "forbidden|Forbidden"
	create := "kubectl create -f -"
	for _, at := range []attack{
		{name: "privileged pod", script: create, stdin: pod("x", "securityContext: {privileged: true}"), refused: forbidden},
		{name: "host path", script: create, stdin: pod("x", "", "volumes: [{name: v, hostPath: {path: /}}]"), refused: forbidden},
		{name: "label that frees the namespace", script: "kubectl label namespace default --overwrite pod-security.kubernetes.io/enforce=privileged", refused: forbidden,
			control: "kubectl label --dry-run=server namespace default --overwrite pod-security.kubernetes.io/enforce=privileged"},
		{name: "pod in another namespace", script: "kubectl -n kube-public run x --image=" + imageRef, refused: forbidden},
		{name: "a new namespace", script: "kubectl create namespace mine", refused: forbidden, control: "kubectl create --dry-run=server namespace mine"},
		{name: "secrets of another namespace", script: "kubectl -n kube-system get secrets", refused: forbidden, control: "kubectl -n kube-system get secrets"},
		{name: "secrets of all namespaces", script: "kubectl get secrets -A", refused: forbidden, control: "kubectl get secrets -A"},
		{name: "exec into kube-system", script: "kubectl -n kube-system exec deployment/coredns -- /coredns -version", refused: forbidden},
		{name: "nodes/proxy", script: "kubectl get --raw /api/v1/nodes/" + nodeName + "/proxy/pods", refused: forbidden,
			control: "kubectl get --raw /api/v1/nodes/" + nodeName + "/proxy/pods"},
		{name: "ephemeral container", refused: forbidden,
			script: "kubectl run host --image=" + imageRef + " --command -- sleep 3600 >/dev/null; kubectl debug host --image=" + imageRef + " --profile=sysadmin -- true"},
		{name: "a role", script: "kubectl create role r --verb='*' --resource=pods", refused: forbidden, control: "kubectl -n default create --dry-run=server role r --verb='*' --resource=pods"},
		{name: "a binding", script: "kubectl create clusterrolebinding b --clusterrole=cluster-admin --serviceaccount=default:default", refused: forbidden},
		{name: "token of another account", script: "kubectl create token default", refused: forbidden, control: "kubectl -n default create token default"},
		{name: "impersonation", script: "kubectl --as=kubernetes-admin --as-group=kubeadm:cluster-admins get pods -A", refused: forbidden},
	} {
		t.Run(at.name, func(t *testing.T) { a.attack(t, at) })
	}
	t.Run("its own work", func(t *testing.T) {
		a.must(t, "", "kubectl create deployment web --image="+imageRef+" -- sleep 3600 && kubectl rollout status deployment/web --timeout=90s && kubectl get secrets,pods")
	})
}
