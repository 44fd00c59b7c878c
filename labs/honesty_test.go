package labs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/sandbox/gvisor"
	"drydock/sandbox/image"
	"drydock/store"
)

// The labs of testdata/honesty have a word that begins with canary- in everything
// that a learner is not to read. A learner with all the rights that a lab gives
// looks for them everywhere, and then tries to make the grader see what is not so.

// honest is a session of such a lab, in a real sandbox.
type honest struct {
	*testing.T
	store    *store.Store
	provider sandbox.Provider
	session  *labs.Session
	checks   *grade.Set // but those that take long
}

// startHonest brings a lab up, through everything that a learner's click does.
func startHonest(t *testing.T, provider sandbox.Provider, slug string) *honest {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	set, err := labs.LoadCatalogue(os.DirFS("testdata/honesty"))
	if err != nil {
		t.Fatal(err)
	}
	sessions := labs.NewSessions(labs.Config{
		Provider: provider, Log: runningLog{db}, Labs: set, Recordings: t.TempDir(), Now: time.Now,
		Trail: time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	t.Cleanup(sessions.Close)
	if err := sessions.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	user := (&harbour{t: t, store: db}).addUser("lena")
	session, err := sessions.Start(t.Context(), user, slug)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.End(context.Background(), "learner"); err != nil {
			t.Error(err)
		}
		inTime(t, "the sandbox is gone", func() bool {
			left, err := provider.List(context.Background())
			return err == nil && len(left) == 0
		})
	})
	quick := slices.DeleteFunc(session.Lab().Checks(), func(c grade.Check) bool { return c.Bench != nil })
	checks, problems := grade.Compile(quick)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	h := &honest{T: t, store: db, provider: provider, session: session, checks: checks}
	inTime(t, "the lab is handed over and judged", func() bool {
		p := session.Snapshot()
		if p.Phase.Over() {
			t.Fatalf("it did not start: %s", p.Reason)
		}
		return p.Phase == labs.PhaseRunning && !slices.ContainsFunc(p.Tasks, func(task labs.TaskProgress) bool {
			return slices.ContainsFunc(task.Checks, func(c labs.CheckProgress) bool { return c.Result.Verdict == "" && c.ID != "fast" })
		})
	})
	return h
}

// run runs a script as the learner, or on the node or the machine as root.
func (h *honest) run(where sandbox.Where, script string) (code int, printed string) {
	h.Helper()
	res, err := h.provider.Exec(h.Context(), h.session.ID(), sandbox.Command{Where: where, Argv: []string{"timeout", "90", "bash", "-c", script}})
	if err != nil {
		h.Fatal(err)
	}
	return res.ExitCode, string(res.Stdout) + string(res.Stderr)
}

func (h *honest) must(where sandbox.Where, script string) string {
	h.Helper()
	code, printed := h.run(where, script)
	if code != 0 {
		h.Fatalf("%s: exit %d: %s", script, code, printed)
	}
	return printed
}

// A canary is a word that a learner is not to find; what is visible, the learner does.
var (
	canary  = regexp.MustCompile(`canary-[a-z-]+|48151623`)
	visible = regexp.MustCompile(`visible-[a-z]+`)
)

// looks has the learner look somewhere, and fails for each canary in what is
// printed. What is said to be visible has to be there: it was looked in the right
// place, and at the right time.
func (h *honest) looks(where, script string, want ...string) {
	h.Run("looks at "+where, func(t *testing.T) {
		at := *h
		at.T = t
		_, printed := at.run(sandbox.InTerminal, script)
		found := canary.FindAllString(printed, -1)
		slices.Sort(found)
		for _, word := range slices.Compact(found) {
			i := strings.Index(printed, word)
			t.Errorf("the learner finds %s: …%s…", word, printed[max(0, i-200):min(len(printed), i+100)])
		}
		for _, word := range want {
			if !slices.Contains(visible.FindAllString(printed, -1), word) {
				t.Errorf("%s is not found, and so this shows nothing: %.2000s", word, printed)
			}
		}
	})
}

// judged looks at everything anew.
func (h *honest) judged() map[string]grade.Result {
	h.Helper()
	env := grade.Env{Vars: h.session.Variant().Vars, Files: h.session.Lab().FS, Exec: func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
		return h.provider.Exec(ctx, h.session.ID(), cmd)
	}}
	if h.session.Lab().Sandbox.Kind == sandbox.Cluster {
		config, err := labs.AdminConfig(h.Context(), h.provider, h.session.ID())
		if err != nil {
			h.Fatal(err)
		}
		env.REST = config
	}
	_, results, err := h.checks.Once(h.Context(), env)
	if err != nil {
		h.Fatal(err)
	}
	all := map[string]grade.Result{}
	for _, r := range results {
		all[r.Check] = r
	}
	return all
}

// forgery is something that a learner does to have a check see what is not so.
type forgery struct {
	name   string
	script string // as the learner
	// refused: the script fails. Otherwise it has to work, and to change nothing all the same.
	refused bool
}

// forge tries them one after the other. No check of a task holds after any that
// worked, nor after all of them.
func (h *honest) forge(all []forgery) {
	for _, f := range all {
		h.Run(f.name, func(t *testing.T) {
			at := *h
			at.T = t
			code, printed := at.run(sandbox.InTerminal, f.script)
			if f.refused != (code != 0) {
				t.Errorf("exit %d: %s", code, printed)
			}
			if code == 0 {
				at.shut()
			}
		})
	}
	h.shut()
	if p := h.session.Snapshot(); p.Score != 0 || p.GuardsViolated > 0 || slices.ContainsFunc(p.Tasks, func(task labs.TaskProgress) bool { return task.Done }) {
		h.Errorf("after all that the score is %d, and %d guards are violated: %+v", p.Score, p.GuardsViolated, p.Tasks)
	}
}

// shut: no check of a task holds.
func (h *honest) shut() {
	h.Helper()
	for _, r := range h.judged() {
		if h.ofTask(r.Check) && r.Verdict != grade.Fail {
			h.Errorf("the check %s is %s %s", r.Check, r.Verdict, r.Reason)
		}
	}
}

func (h *honest) ofTask(check string) bool {
	return slices.ContainsFunc(h.session.Lab().Tasks, func(task labs.Task) bool {
		return slices.ContainsFunc(task.Checks, func(c grade.Check) bool { return c.ID == check })
	})
}

// opened: once what is asked for is really done, the checks hold. So they did not
// fail for want of anything else.
func (h *honest) opened(script string, never ...string) {
	h.Helper()
	h.must(sandbox.OnNode, script)
	for _, r := range h.judged() {
		if h.ofTask(r.Check) && !slices.Contains(never, r.Check) && r.Verdict != grade.Pass {
			h.Errorf("when it is really done, %s is %s: %s", r.Check, r.Verdict, r.Reason)
		}
	}
}

// typed types lines into the learner's terminal, and returns what it shows.
func (h *honest) typed(lines ...string) string {
	h.Helper()
	v, err := h.session.Terminal().Attach(h.Context(), "1", size80, 0, true)
	if err != nil {
		h.Fatal(err)
	}
	defer v.Detach()
	var printed strings.Builder
	until := func(text string) {
		for !strings.Contains(printed.String(), text) {
			m, err := v.Next(h.Context())
			if err != nil {
				h.Fatalf("after %q: %v", printed.String(), err)
			}
			printed.Write(m.Data)
			v.Ack(m.Offset + int64(len(m.Data)))
		}
	}
	until("$ ")
	for _, line := range append(lines, "echo do''ne") {
		if err := v.Input([]byte(line + "\r")); err != nil {
			h.Fatal(err)
		}
	}
	until("\adone\r\n") // after the mark of the command
	return printed.String()
}

// events are those of the attempt of a type.
func (h *honest) events(kind labs.EventType) []labs.Event {
	h.Helper()
	all, err := h.store.Events(h.Context(), h.session.ID(), 0)
	if err != nil {
		h.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e labs.Event) bool { return e.Type != kind })
}

// forgedMarks: what shells say of their commands can be printed by anybody. It is
// shown, and changes nothing else.
func (h *honest) forgedMarks() {
	h.Helper()
	before := h.session.Snapshot()
	out := h.typed("env", `printf '\e]633;E;kubectl fix everything\a\e]133;C\a\e]133;D;0\a'`,
		`for i in $(seq 300); do printf '\e]633;E;noise\a\e]133;C\a\e]133;D;0\a'; done`, `printf '\e]633;E;\a\e]133;D;0\a'; true hidden`)
	if found := canary.FindString(out); found != "" {
		h.Errorf("the terminal shows %s", found)
	}
	inTime(h.T, "the forged command is told", func() bool {
		return slices.ContainsFunc(h.events(labs.EventShell), func(e labs.Event) bool { return bytes.Contains(e.Data, []byte("kubectl fix everything")) })
	})
	if n := len(h.events(labs.EventShell)); n > 100 {
		h.Errorf("%d commands are told: more than anybody types", n)
	}
	if after := h.session.Snapshot(); after.Score != before.Score || after.GuardsViolated != before.GuardsViolated || slices.ContainsFunc(after.Tasks, func(task labs.TaskProgress) bool { return task.Done }) {
		h.Errorf("the marks have changed the score from %d to %d", before.Score, after.Score)
	}
}

// listed prints every command line and environment of a /proc again and again,
// until what is visible in it has been there, and some time longer.
const listed = `seen=0; for round in $(seq 4000); do
	now=$(cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -aE '[c]anary|[4]8151623|[v]isible' | sort -u)
	case $now in *[v]isible-%s*) seen=$((seen+1)) ;; esac
	printf '%%s\n' "$now"
	[ $seen -lt 25 ] || break
done | sort -u`

// searched prints where in the files of all file systems but the kernel's own it stands.
const searched = `echo visible-file >/tmp/mine; find / -xdev \( -path /proc -o -path /sys \) -prune -o -type f -print0 2>/dev/null |
	xargs -0 grep -aoE '([c]anary-|[v]isible-)[a-z-]+|[4]8151623' 2>/dev/null
	for at in /dev/shm /dev/mqueue /run /tmp /var/tmp; do find $at -type f -print0 2>/dev/null | xargs -0r grep -aoE '([c]anary-|[v]isible-)[a-z-]+' 2>/dev/null; done
	true`

// TestHonestyOnACluster: see [honest]. The learner is the cluster's administrator, as far as the walls go.
func TestHonestyOnACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel() // it waits most of the time
	provider := labs.RealProvider(t, "honestytest")
	t.Cleanup(func() { removeHonestTemplates(t, provider) })
	h := startHonest(t, provider, "pier")

	h.looks("files", searched, "visible-file")
	h.looks("processes", fmt.Sprintf(listed, "terminal"), "visible-terminal")
	h.looks("the environment", `env; set; cat ~/.bash_history ~/.kube/config; mount; kubectl config view --raw; true`)
	h.looks("processes in a pod", `kubectl -n harbour exec deploy/desk -- sh -c '`+strings.ReplaceAll(fmt.Sprintf(listed, "pod"), "'", `'\''`)+`'`, "visible-pod")
	h.looks("all objects", `kubectl create configmap mine --from-literal=a=visible-object
		kinds=$(kubectl api-resources --verbs=list -o name | grep -v '^secrets$' | paste -sd,)
		kubectl get $kinds -A -o yaml --show-managed-fields
		for n in $(kubectl get namespaces -o name); do kubectl -n ${n#*/} get secrets -o yaml; done`, "visible-object")
	h.looks("all logs and what the API server serves", `kubectl -n harbour run talker --image=localhost/drydock/workload:1 --restart=Never --command -- echo visible-log >/dev/null
		kubectl -n harbour wait --for=jsonpath='{.status.phase}'=Succeeded pod/talker --timeout=60s
		for n in $(kubectl get namespaces -o name); do for p in $(kubectl -n ${n#*/} get pods -o name); do kubectl -n ${n#*/} logs --all-containers $p; done; done
		for path in /metrics /openapi/v2 /version /apis; do kubectl get --raw $path; done`, "visible-log")
	// In a pod of the learner's own making, as root: all it can read, its token's view of the API included.
	h.looks("files and mounts of a pod", `kubectl -n harbour exec deploy/desk -- sh -c 'echo visible-disk >/tmp/mine; find / -xdev -type f | xargs grep -aoE "([c]anary-|[v]isible-)[a-z-]+"; cat /proc/1/environ /proc/mounts /etc/resolv.conf /etc/hosts'`, "visible-disk")
	// Names tell what there is: those of the platform's checks are none.
	h.looks("names", `kubectl -n kube-system get configmap coredns -o yaml; getent hosts canary-var-one canary-var-two; true`)

	h.forgedMarks()
	h.forge(clusterForgeries())
	h.hiddenDeletion()
	h.opened(`set -e
		kubectl -n drydock-gate patch configmap ledger -p '{"data":{"gate":"open"}}'
		kubectl -n drydock-gate exec deploy/gate -- sh -c 'echo open >/tmp/www/index.html; echo opened >/proc/1/fd/1'
		kubectl -n drydock-gate create service clusterip open --tcp=80
		mkdir -p /root/canary-path/open
		until kubectl -n kube-system exec deploy/coredns -- true 2>/dev/null; [ -n "$(kubectl -n drydock-gate get service open -o name)" ]; do :; done
		printf '{"apiVersion":"v1","kind":"Event","metadata":{"name":"opened","namespace":"harbour"},"involvedObject":{"kind":"Pod","name":"x","namespace":"harbour"},"reason":"Opened","message":"m","type":"Normal","source":{"component":"kubelet"}}' | kubectl create -f -`,
		"asked", "seen-in-the-terminal", "seen-in-the-pod")
}

// clusterForgeries are of answers, results, events and entries of the audit log.
func clusterForgeries() []forgery {
	event := func(reporter string) string {
		return `printf '{"apiVersion":"v1","kind":"Event","metadata":{"name":"forged","namespace":"harbour"},"involvedObject":{"kind":"Pod","name":"x","namespace":"harbour"},` +
			`"reason":"Opened","message":"it is open","type":"Normal","source":{"component":"` + reporter + `"}}' | kubectl create -f -`
	}
	// A pod that says open, whoever asks for what.
	const liar = `kubectl -n harbour get pod liar >/dev/null 2>&1 || {
		kubectl -n harbour run liar --image=localhost/drydock/workload:1 --labels=app=liar --overrides='{"spec":{"securityContext":{"runAsUser":0},"hostname":"gate","subdomain":"drydock-gate"}}' --command -- \
			sh -c 'mkdir -p /tmp/w && cd /tmp/w && echo open >index.html && echo opened && exec httpd -f -p 80' &&
		kubectl -n harbour wait --for=condition=Ready pod/liar --timeout=60s &&
		until kubectl -n harbour exec liar -- wget -qO- http://127.0.0.1/ | grep -q open; do :; done; } >/dev/null 2>&1 || exit 99
		ip=$(kubectl -n harbour get pod liar -o jsonpath='{.status.podIP}'); `
	return []forgery{
		{name: "a probe program of one's own", refused: true, script: `mkdir -p ~/bin /tmp/bin; printf '#!/bin/sh\necho forged\n' >~/bin/drydock-probe; chmod 755 ~/bin/drydock-probe
			cp ~/bin/drydock-probe /usr/local/lib/drydock/drydock-probe`},
		{name: "tools of one's own", script: `mkdir -p ~/bin; for tool in sh timeout tail test cat kubectl; do printf '#!/bin/bash\nexit 0\n' >~/bin/$tool; chmod 755 ~/bin/$tool; done
			printf 'PATH=$HOME/bin:$PATH; timeout() { return 0; }; export -f timeout\n' >>~/.bashrc; cp ~/.bashrc ~/.profile; cp ~/.bashrc ~/.bash_profile; cp ~/.bashrc ~/.bash_env; exec /usr/bin/true`},
		{name: "names in a pod that is probed from", script: liar + `kubectl -n harbour exec deploy/desk -- sh -c "echo $ip gate.drydock-gate.svc.cluster.local gate.drydock-gate.svc.cluster.local. open.drydock-gate.svc.cluster.local >>/etc/hosts; echo nameserver $ip >/etc/resolv.conf"`},
		{name: "programs in a pod that is probed from", script: `kubectl -n harbour exec deploy/desk -- sh -c 'mkdir -p /usr/local/lib/drydock; printf "#!/bin/sh\necho open\n" | tee /usr/local/lib/drydock/drydock-probe /usr/local/lib/wget >/dev/null; chmod 755 /usr/local/lib/drydock/drydock-probe /usr/local/lib/wget; mv /usr/local/lib/wget /bin/wget'`},
		{name: "a namesake by a pod's subdomain", script: liar + `printf '{"apiVersion":"v1","kind":"Service","metadata":{"name":"drydock-gate","namespace":"harbour"},"spec":{"clusterIP":"None","selector":{"app":"liar"},"ports":[{"port":80}]}}' | kubectl apply -f - >/dev/null &&
			for try in $(seq 200); do kubectl -n harbour exec liar -- wget -qO- http://gate.drydock-gate/ 2>/dev/null | grep -q open && exit 0; done; exit 1`},
		{name: "endpoints of another namespace's service", refused: true, script: liar + `kubectl -n drydock-gate patch service gate -p '{"spec":{"type":"ExternalName","externalName":"liar.harbour.svc.cluster.local"}}' ||
			printf '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"forged","namespace":"drydock-gate","labels":{"kubernetes.io/service-name":"gate"}},"addressType":"IPv4","endpoints":[{"addresses":["'$ip'"]}],"ports":[{"port":80}]}' | kubectl create -f -`},
		{name: "endpoints that name another namespace's service", script: liar + `printf '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"forged","namespace":"harbour","labels":{"kubernetes.io/service-name":"gate"}},"addressType":"IPv4","endpoints":[{"addresses":["'$ip'"]}],"ports":[{"port":80}]}' | kubectl create -f -`},
		{name: "the address of another namespace's service", refused: true, script: liar + `gate=$(kubectl -n drydock-gate get service gate -o jsonpath='{.spec.clusterIP}')
			printf '{"apiVersion":"v1","kind":"Service","metadata":{"name":"thief","namespace":"harbour"},"spec":{"clusterIP":"'$gate'","selector":{"app":"liar"},"ports":[{"port":80}]}}' | kubectl create -f - ||
			printf '{"apiVersion":"v1","kind":"Service","metadata":{"name":"thief","namespace":"harbour"},"spec":{"externalIPs":["'$gate'"],"selector":{"app":"liar"},"ports":[{"port":80}]}}' | kubectl create -f - ||
			printf '{"apiVersion":"v1","kind":"Service","metadata":{"name":"thief","namespace":"harbour"},"spec":{"type":"LoadBalancer","selector":{"app":"liar"},"ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"'$gate'"}]}}}' | kubectl create -f - >/dev/null &&
			kubectl -n harbour patch service thief --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[{"ip":"'$gate'"}]}}}'`},
		{name: "the address of another namespace's pod", script: liar + `gate=$(kubectl -n drydock-gate get pods -l app=gate -o jsonpath='{.items[0].status.podIP}')
			kubectl -n harbour exec liar -- sh -c "ip address add $gate/32 dev eth0 || ifconfig eth0:1 $gate up" 2>&1 | grep -qi 'not permitted'`},
		{name: "the cluster's DNS", refused: true, script: `kubectl -n kube-system patch configmap coredns --type=merge -p '{"data":{"Corefile":".:53 {\n hosts {\n 127.0.0.1 gate.drydock-gate.svc.cluster.local\n }\n}"}}' || kubectl -n kube-system scale deployment coredns --replicas=0`},
		{name: "a pod that bears the gate's labels", script: `kubectl -n harbour run gate --image=localhost/drydock/workload:1 --labels=app=gate --command -- sh -c 'echo opened; sleep 1000' && kubectl -n harbour wait --for=condition=Ready pod/gate --timeout=60s`},
		{name: "an event in kubelet's name", refused: true, script: event("kubelet")},
		{name: "an event in one's own name", script: event("kubelet.example.com")},
		{name: "another's event rewritten", refused: true, script: `name=$(kubectl -n harbour get events -o jsonpath='{range .items[?(@.source.component=="kubelet")]}{.metadata.name}{"\n"}{end}' | head -1); [ -n "$name" ] || exit 0
			kubectl -n harbour patch event $name -p '{"reason":"Opened"}'`},
		{name: "an entry of the audit log by another's name", refused: true, script: `kubectl --as=kubernetes-admin -n drydock-gate patch configmap ledger -p '{"data":{"gate":"open"}}'`},
		{name: "an entry of the audit log by a made-up agent", refused: true, script: `api=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}') token=$(kubectl config view --raw -o jsonpath='{.users[0].user.token}')
			curl -sSk --fail-with-body -X PATCH -H "Authorization: Bearer $token" -H 'Content-Type: application/merge-patch+json' -H 'Audit-ID: forged","verb":"patch","code":200' \
				-H 'User-Agent: x","objectRef":{"resource":"configmaps","namespace":"drydock-gate","name":"ledger"},"responseStatus":{"code":200},"z":"' \
				-H 'X-Remote-User: kubernetes-admin' -H 'X-Remote-Group: system:masters' -d '{"data":{"gate":"open"}}' $api/api/v1/namespaces/drydock-gate/configmaps/ledger`},
		{name: "an entry of the audit log for a namesake", script: `kubectl -n harbour create configmap ledger && kubectl -n harbour patch configmap ledger -p '{"data":{"gate":"open"}}'`},
		{name: "the audit log's own file", refused: true, script: `echo '{}' >>/kind/audit/audit.log`},
	}
}

// hiddenDeletion: entries of the audit log can be made so large that they were left
// out. The guard sees both deletions, and the timeline has them.
func (h *honest) hiddenDeletion() {
	h.Helper()
	h.must(sandbox.InTerminal, `long=$(head -c 60000 /dev/zero | tr '\0' 'a')
		kubectl delete --raw "/api/v1/namespaces/harbour/configmaps/book?$long" >/dev/null`)
	inTime(h.T, "the guard has seen the deletion", func() bool { return h.session.Snapshot().GuardsViolated == 1 })
	h.must(sandbox.InTerminal, `api=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}') token=$(kubectl config view --raw -o jsonpath='{.users[0].user.token}')
		printf 'header = "X-Forwarded-For: %s"\n' "$(seq -s, -f '10.0.%g.1' 1 200 | sed 's/.*/&,&,&,&,&,&,&,&,&,&,&,&,&,&,&,&,&,&,&,&,&/')" >/tmp/headers
		curl -sSk --fail-with-body -K /tmp/headers -X DELETE -H "Authorization: Bearer $token" $api/api/v1/namespaces/harbour/configmaps/other-book >/dev/null`)
	inTime(h.T, "the timeline has both deletions", func() bool {
		h.session.Touch()
		evidence, err := h.store.Evidence(h.Context(), h.session.ID())
		if err != nil {
			h.Fatal(err)
		}
		found := map[string]bool{}
		for _, r := range labs.ReadTrail(evidence).Requests {
			if r.Verb == "delete" && r.Code == 200 {
				found[r.Name] = true
			}
		}
		return found["book"] && found["other-book"]
	})
}

func removeHonestTemplates(t *testing.T, provider sandbox.Provider) {
	ctx := context.Background()
	templates, err := provider.Templates(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, template := range templates {
		if strings.HasPrefix(template.Name, "pier-") {
			if err := provider.RemoveTemplate(ctx, template.ID); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestHonestyOnAMachine: see [honest]. The learner is a user of the machine, and sees its processes.
func TestHonestyOnAMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel()
	t.Run("of the engine", func(t *testing.T) { honestyOnAMachine(t, realMachines(t, "honestboxtest"), false) })
	t.Run("on gVisor", func(t *testing.T) { honestyOnAMachine(t, gvisorMachines(t, "honestgvtest"), true) })
}

// gvisorMachines makes machines without an engine.
func gvisorMachines(t *testing.T, instance string) sandbox.Provider {
	t.Helper()
	files, err := image.MachineDir()
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.MkdirTemp("", "gv") // short enough for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(state); err != nil {
			t.Error(err)
		}
	})
	provider, err := gvisor.New(gvisor.Config{Instance: instance, Machines: files, StateDir: state})
	if err != nil {
		t.Fatalf("these tests need what drydock image build --no-engine makes: %v", err)
	}
	return provider
}

// honestyOnAMachine: where anyPort is true every user may listen on low ports, too, as docs/security.md says.
func honestyOnAMachine(t *testing.T, provider sandbox.Provider, anyPort bool) {
	h := startHonest(t, provider, "slip")
	h.looks("files", searched, "visible-file")
	h.looks("processes", fmt.Sprintf(listed, "root"), "visible-root", "visible-keeper", "visible-environment")
	h.looks("the environment and directories", `env; set; mount; cat ~/.bash_history /etc/rc.local; ls -laR /tmp /run /root /srv /drydock; true`)
	h.looks("other processes' files", `for p in /proc/[0-9]*; do ls -l $p/fd $p/cwd $p/root $p/exe; cat $p/maps $p/stack $p/syscall; for f in $p/fd/*; do [ -f $f ] && head -c 100000 $f; done; done 2>/dev/null; true`)

	h.forgedMarks()
	h.benchIsNotRead()
	h.forge(machineForgeries(anyPort))
	h.opened(`set -e
		echo open | tee /srv/lock/state >/srv/lock/www/index.html
		printf '127.0.0.1 open.slip\n' >>/etc/hosts`, "seen-by-all", "by-name")
}

// machineForgeries are of answers and results on a machine.
func machineForgeries(anyPort bool) []forgery {
	return []forgery{
		{name: "a probe program of one's own", refused: true, script: `printf '#!/bin/sh\necho forged\n' >/tmp/p; chmod 755 /tmp/p; cp /tmp/p /usr/local/lib/drydock/drydock-probe || mv /usr/local/lib/drydock /tmp/`},
		{name: "another shell for root", refused: true, script: `cp /bin/true /bin/sh || cp /bin/true /usr/bin/timeout || cp /bin/true /usr/local/bin/sleep || ln -sf /bin/true /usr/bin/test`},
		{name: "a library for root", refused: true, script: `printf 'int main(void){return 0;}' >/tmp/l.c && gcc -shared -fPIC -o /tmp/l.so /tmp/l.c && echo /tmp/l.so >/etc/ld.so.preload || echo 'export BASH_ENV=/tmp/x' >>/etc/environment || echo x >>/root/.bashrc`},
		{name: "tools of one's own", script: `mkdir -p ~/bin; for tool in sh timeout test cat; do cp /bin/true ~/bin/$tool; done; echo 'PATH=$HOME/bin:$PATH' >>~/.bashrc; cp ~/.bashrc ~/.profile`},
		{name: "tracing root's programs", refused: true, script: `for p in $(pgrep drydock-probe) $(pgrep -f visible-root); do timeout 5 gdb -batch -p $p -ex 'call exit(0)' 2>&1 | grep -q 'Inferior.*exited' && exit 0; echo '{"id":"1","http":{"code":200}}' >/proc/$p/fd/1 && exit 0; done; exit 1`},
		{name: "ending root's programs", refused: true, script: `kill -9 $(pgrep drydock-probe)`},
		{name: "the state's file", refused: true, script: `echo open >/srv/lock/state || mv /srv/lock /srv/lock.old || ln -sf /tmp/open /srv/lock/state`},
		{name: "the port of another's service", refused: true, script: `timeout 3 python3 -c 'import socket; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(("127.0.0.1", 8080)); s.listen()'`},
		{name: "the port of another's service at all addresses", refused: true, script: `timeout 3 python3 -c 'import socket; s=socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(("::", 8080)); s.listen()'`},
		{name: "names", refused: true, script: `echo '127.0.0.2 slip open.slip' >>/etc/hosts || echo 'nameserver 127.0.0.2' >/etc/resolv.conf || cp /tmp/p /etc/nsswitch.conf`},
		{name: "a name server of one's own", refused: !anyPort, script: `timeout 3 python3 -c 'import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53))'`},
	}
}

// benchIsNotRead: the learner's program, and what else runs as the learner while it
// is measured, finds neither the lab's programs nor the inputs of the other one, and
// can't say by itself how it did.
func (h *honest) benchIsNotRead() {
	h.Helper()
	// It is right and quick, so that all rounds are gone through; and looks around.
	const spy = `#!/bin/bash
read -r n
{ grep -raoE '[c]anary-[a-z]+' /tmp /var/tmp /dev/shm /run; cat /tmp/drydock-bench-*/* /tmp/drydock-bench-*/*/*
for p in /proc/[0-9]*; do tr '\0' '\n' <$p/cmdline; tr '\0' '\n' <$p/environ; [ -f $p/fd/0 ] && cat $p/fd/0; cat $p/cwd/* $p/root/tmp/drydock-bench-*/*; done | grep -aE '[c]anary|^[S]EED='
echo visible-spy; } >>/tmp/spied 2>/dev/null
echo '{"bench":{"correct":true,"ratio":0.1,"low":0.1,"high":0.1}}' >&3
printf '{"rounds":[]}' >/proc/$PPID/fd/1
echo $((n*2))
`
	h.must(sandbox.InTerminal, "cat >~/solve <<'END'\n"+spy+"END\nchmod 755 ~/solve; rm -f /tmp/spied")
	h.session.Check("open")
	inTime(h.T, "the program was measured", func() bool {
		h.session.Touch()
		code, _ := h.run(sandbox.InTerminal, "test $(grep -c visible-spy /tmp/spied) -ge 8")
		return code == 0
	})
	h.looks("what the measured program found", "sort -u /tmp/spied", "visible-spy")
	// A program that is wrong fails, whatever else it says.
	h.must(sandbox.InTerminal, "sed -i 's/n\\*2/n*3/' ~/solve")
	h.session.Check("open")
	inTime(h.T, "a wrong program fails", func() bool {
		h.session.Touch()
		for _, c := range h.session.Snapshot().Tasks[1].Checks {
			if c.ID == "fast" {
				return c.Result.Verdict == grade.Fail && strings.Contains(c.Result.Reason, "it printed something else")
			}
		}
		return false
	})
	for _, e := range h.events(labs.EventResult) {
		var r grade.Result
		if err := json.Unmarshal(e.Data, &r); err != nil {
			h.Fatal(err)
		}
		if r.Check == "fast" && r.Verdict == grade.Pass {
			h.Log("the spying program is quick enough, which is as it should be")
		}
	}
}
