package convert

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// names are what the uses of a list are of.
func names(list []use) string {
	var all []string
	for _, u := range list {
		all = append(all, u.What)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestStudy(t *testing.T) {
	tests := []struct {
		name, script                                          string
		reads, writes, runs, hosts, changes, images, commands string
	}{
		{name: "variables", script: `DIR="/opt/course"; FILE=$DIR/a.txt; [ -f "$FILE" ] && cat ${FILE}`, reads: "/opt/course/a.txt", commands: "[ cat"},
		{name: "a variable with two values is not known", script: `F=/a; F=/b; cat $F`, commands: "cat"},
		{name: "defaults", script: `cat "${X:-/opt/x}"`, reads: "/opt/x", commands: "cat"},
		{name: "home", script: `test -s ~/a && test -e "$HOME/b"`, reads: "~/a ~/b", commands: "test"},
		{name: "redirections", script: "echo x >/tmp/out 2>/dev/null; read y </opt/in; sort <<<\"$y\"", reads: "/opt/in", writes: "/tmp/out", commands: "echo read sort"},
		{name: "tests of bash", script: `[[ -x /opt/run.sh && "$A" == "/etc/no" ]]`, reads: "/opt/run.sh"},
		{name: "patterns are no files", script: `grep -q "/usr/share" /opt/log; echo "/etc/x"; jq -r .x /root/a.json; sed -i s,/a,/b, /opt/c`, reads: "/opt/c /opt/log /root/a.json", commands: "echo grep jq sed"},
		{name: "in a container", script: "kubectl exec web -- cat /etc/nginx.conf", commands: "kubectl"},
		{name: "files for kubectl", script: "kubectl apply -f /root/a.yaml -n x; kubectl create cm c --from-file=k=/opt/b --dry-run=client", reads: "/opt/b /root/a.yaml", changes: "kubectl apply", commands: "kubectl"},
		{name: "verbs behind options", script: "kubectl -n shop delete pod x; kubectl rollout status d; kubectl rollout restart d; kubectl get pods", changes: "kubectl delete kubectl rollout", commands: "kubectl"},
		{name: "kubectl by other names", script: "k() { kubectl \"$@\"; }\nkk() { kubectl \"$@\"; }\nkk scale d --replicas=2", changes: "kubectl scale", commands: "kubectl"},
		{name: "functions are no programs", script: "fail() { echo no; exit 1; }\nfail /opt/x", commands: "echo exit"},
		{name: "behind other programs", script: "sudo -u x systemctl restart y; timeout 5 curl -s http://localhost; env A=1 docker ps", commands: "curl docker sudo systemctl"},
		{name: "the internet", script: "curl -LO https://dl.k8s.io/x; wget http://10.0.0.1/ http://web.shop.svc http://app.example.com; kubectl apply -f https://github.com/x.yaml; apt-get -y install jq; git status; git clone x", hosts: "apt-get install dl.k8s.io git clone github.com", changes: "kubectl apply", commands: "apt-get curl git kubectl wget"},
		{name: "images", script: "kubectl run a --image=nginx:1.25\nkubectl set image d/x c=redis:7\nkubectl apply -f - <<EOF\nspec:\n  containers:\n  - image: 'busybox'\n  - image: $X\nEOF", images: "busybox nginx:1.25 redis:7", changes: "kubectl apply kubectl run kubectl set image", commands: "kubectl"},
		{name: "programs that are files", script: "bash /opt/a.sh; ~/b.sh; . ./c.sh; python3 -c 'x'", runs: "/opt/a.sh c.sh ~/b.sh", commands: ". b.sh bash python3"},
		{name: "scripts within", script: `bash -c 'cat /opt/a; docker ps'`, reads: "/opt/a", commands: "bash cat docker"},
		{name: "nodes", script: "kubectl taint nodes a b=c:NoSchedule; kubectl label node a x=y; kubectl top pods", changes: "kubectl label kubectl taint", commands: "kubectl kubectl label node kubectl taint kubectl top"},
		{name: "copies", script: "cp /opt/a /tmp/b; mv x y; cd /root/w", reads: "/opt/a /root/w", writes: "/tmp/b", commands: "cd cp mv"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := study(test.script)
			if f.Broken != "" {
				t.Fatalf("line %d: %s", f.Line, f.Broken)
			}
			for _, c := range []struct{ what, got, want string }{
				{"reads", names(f.Reads), test.reads}, {"writes", names(f.Writes), test.writes}, {"runs", names(f.Runs), test.runs},
				{"hosts", names(f.Hosts), test.hosts}, {"changes", names(f.Changes), test.changes}, {"images", names(f.Images), test.images},
				{"commands", names(f.Commands), test.commands},
			} {
				if c.got != c.want {
					t.Errorf("it %s %q, want %q", c.what, c.got, c.want)
				}
			}
		})
	}
}

func TestStudyWaits(t *testing.T) {
	if got := study("sleep 2; for i in 1 2; do sleep 0.5; done; sleep 1m; sleep $X; sleep inf").Waits; got != 62*time.Second+500*time.Millisecond {
		t.Errorf("it waits %s", got)
	}
}

func TestStudySaysWhatBashCanNotRead(t *testing.T) {
	f := study("echo a\nif true; then\n")
	if f.Broken == "" || f.Line != 2 {
		t.Errorf("line %d: %q", f.Line, f.Broken)
	}
	if f := study(strings.Repeat("$(", maxScript)); f.Broken == "" {
		t.Error("a script that is too long was read")
	}
}

func TestOwnHosts(t *testing.T) {
	sc := &scenario{setup: []*script{{text: "echo \"1.2.3.4 shop.acme.com\" >>/etc/hosts"}, {text: "rules:\n- host: a.acme.com\nDOMAIN=\"b.acme.com\""}}}
	for name, want := range map[string]bool{"shop.acme.com": true, "a.acme.com": true, "b.acme.com": true, "github.com": false, "apt-get": false} {
		if got := sc.ownHost(name); got != want {
			t.Errorf("%s is the scenario's own: %v", name, got)
		}
	}
}
