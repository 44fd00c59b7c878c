package convert

import (
	"regexp"
	"slices"
	"strings"

	"drydock/sandbox"
)

// missingTools are programs that scenarios use and that are neither on the
// node nor in the learner's terminal.
func missingTools() []string {
	return []string{"docker", "docker-compose", "podman", "buildah", "skopeo", "helm", "crictl", "nerdctl", "etcdctl", "etcdutl", "kustomize", "yq", "git", "wget", "unzip", "zip",
		"pip", "pip3", "node", "npm", "go", "bc", "nslookup", "dig", "telnet", "tree", "argocd", "istioctl", "linkerd", "cilium", "calicoctl", "flux", "terraform",
		"ansible", "ansible-playbook", "ansible-navigator", "vault", "stress", "ab", "hey", "socat", "tcpdump", "tmux", "trivy", "kubesec", "falco", "apparmor_parser", "kube-bench", "java", "mvn", "ruby", "cosign", "kyverno", "velero", "expect", "ssh", "scp", "rsync", "man"}
}

// notOnClusters are those that only a machine has.
func notOnClusters() []string { return []string{"python3", "python", "gcc", "make", "strace", "gdb"} }

// networkPolicy is what the cluster takes and does not enforce.
var networkPolicy = regexp.MustCompile(`(?m)^\s*kind:\s*["']?NetworkPolicy\b`)

// warn notes what the lab lacks of what the scenario uses.
func (sc *scenario) warn(p *place) {
	r := sc.report
	scripts := slices.Concat(sc.setup, sc.checks(), sc.learners())
	for _, s := range scripts {
		at := func(line int) int {
			if line == 0 {
				return 0
			}
			return s.at(line)
		}
		for _, u := range s.facts.Hosts {
			if sc.ownHost(u.What) {
				continue
			}
			r.limit(KindInternet, s.file, at(u.Line), "%s reaches for the internet: %s", describe(s), u.What)
		}
		missing := missingTools()
		if p.kind == sandbox.Cluster {
			missing = append(missing, notOnClusters()...)
		} else {
			missing = append(missing, "kubectl", "systemctl", "journalctl")
		}
		for _, u := range s.facts.Commands {
			switch {
			case u.What == "ssh" || u.What == "scp":
				r.limit(KindHost, s.file, at(u.Line), "%s uses %s: there is no second machine", describe(s), u.What)
			case slices.Contains(missing, u.What):
				r.limit(KindTool, s.file, at(u.Line), "%s uses %s, which is not there", describe(s), u.What)
			case u.What == "kubectl top":
				r.limit(KindTool, s.file, at(u.Line), "%s uses kubectl top, and the cluster has no metrics server", describe(s))
			}
		}
	}
	sc.secondMachine()
	for _, s := range scripts {
		if networkPolicy.MatchString(s.text) || slices.Contains(sc.checks(), s) && strings.Contains(strings.ToLower(s.text), "networkpolic") {
			r.limit(KindTool, s.file, 0, "network policies are taken by the cluster, but not enforced")
			break
		}
	}
	for _, check := range sc.checks() {
		switch {
		case check.facts.Waits >= slowCheck:
			r.limit(KindSlow, check.file, check.at(1), "the check sleeps %s on its way, and is ended after %d seconds", check.facts.Waits, checkLimit)
		case check.limit > checkLimit:
			r.limit(KindSlow, check.file, check.at(1), "the check may take %d seconds there, and is ended after %d here", check.limit, checkLimit)
		}
		for _, u := range check.facts.Changes {
			r.limit(KindChanges, check.file, check.at(u.Line), "the check changes the cluster (%s) each time it looks, every %s", u.What, changingEvery)
			break
		}
	}
}

// ownHost says whether a name is one that the scenario itself gives to
// something in its cluster.
func (sc *scenario) ownHost(name string) bool {
	if !strings.Contains(name, ".") {
		return false
	}
	own := regexp.MustCompile(`(?im)(?:\bhost(?:name)?s?\b\W*|/etc/hosts.*|--resolve\s+\W*|\bdomain\w*\W+)` + regexp.QuoteMeta(name) + `|` + regexp.QuoteMeta(name) + `.*/etc/hosts`)
	for _, s := range slices.Concat(sc.setup, sc.checks(), sc.learners()) {
		if own.MatchString(s.text) {
			return true
		}
	}
	for _, p := range sc.pages() {
		if own.MatchString(p.text) {
			return true
		}
	}
	return false
}

// describe says what a script is; the learner's have no name.
func describe(s *script) string {
	if s.what == "" {
		return "the text"
	}
	return "the " + strings.TrimPrefix(s.what, "the ")
}

// secondMachine finds where the second machine is spoken of by its name.
func (sc *scenario) secondMachine() {
	if sc.host.other == "" {
		return
	}
	name := regexp.MustCompile(`\b` + regexp.QuoteMeta(sc.host.other) + `\b`)
	note := func(file, text string, line func(int) int) bool {
		i := name.FindStringIndex(text)
		if i != nil {
			sc.report.limit(KindHost, file, line(lineAt([]byte(text), int64(i[0]))), "a second node, %s, is spoken of, and the cluster has one", sc.host.other)
		}
		return i != nil
	}
	same := func(line int) int { return line }
	found := false
	for _, s := range slices.Concat(sc.setup, sc.checks()) {
		found = note(s.file, s.text, s.at) || found
	}
	for _, s := range sc.steps {
		found = note(s.file, s.text, same) || found
	}
	if !found {
		sc.report.did("made for two nodes, it gets one: nothing in it speaks of the second")
	}
}
