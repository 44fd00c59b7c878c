package convert

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"drydock/sandbox"
)

// place is where a lab runs, and where its checks do.
type place struct {
	kind   sandbox.Kind
	access sandbox.Access
	there  string // the learner's home on the platform
	home   string // the learner's home here
	host   string // whose ports the learner reaches
	varTmp bool   // what the setup leaves in /tmp goes to /var/tmp
}

// The homes of learners, and what the platforms had instead.
const (
	rootHome    = "/root"
	learnerHome = "/home/learner"
	clusterNode = "lab-control-plane"
)

// choose decides what the lab runs in: as little as will do.
//
// On the platforms that labs come from, the learner is root on a machine that
// has the cluster, and everything happens there. In Drydock the learner has a
// terminal of its own beside the cluster. What needs only kubectl and files in
// the own home works there; what is said to need more gets the whole node,
// which only trusted cohorts may have.
func (sc *scenario) choose() place {
	if sc.host.kind == sandbox.Machine {
		if why := sc.needsRoot(); len(why) > 0 {
			sc.blame(why, "the learner is root on a node, since a machine gives no root")
			return place{kind: sandbox.Cluster, access: sandbox.AccessNode, there: sc.home, home: rootHome, host: "localhost", varTmp: sc.keepsTemporary()}
		}
		return place{kind: sandbox.Machine, there: sc.home, home: learnerHome, host: "localhost"}
	}
	if why := sc.needsNode(); len(why) > 0 {
		sc.blame(why, "the learner gets the whole node")
		return place{kind: sandbox.Cluster, access: sandbox.AccessNode, there: sc.home, home: rootHome, host: "localhost", varTmp: sc.keepsTemporary()}
	}
	return place{kind: sandbox.Cluster, access: sandbox.AccessCluster, there: sc.home, home: learnerHome, host: clusterNode, varTmp: sc.keepsTemporary()}
}

// maxBlame is how many reasons are named: one would do.
const maxBlame = 4

func (sc *scenario) blame(why []Note, what string) {
	for _, n := range why[:min(len(why), maxBlame)] {
		sc.report.limit(KindNode, n.File, n.Line, "%s; so %s: for trusted cohorts only", n.Text, what)
	}
}

// nodeTools work on the machine that a cluster runs on.
func nodeTools() []string {
	return []string{"systemctl", "journalctl", "service", "crictl", "ctr", "nerdctl", "kubeadm", "kubelet", "etcdctl", "etcdutl", "iptables", "ip6tables", "nft", "ipvsadm",
		"sysctl", "modprobe", "mount", "umount", "useradd", "usermod", "userdel", "chroot", "nsenter", "swapoff", "hostnamectl", "timedatectl", "update-ca-certificates", "visudo",
		"kubectl taint", "kubectl drain", "kubectl cordon", "kubectl uncordon", "kubectl certificate", "kubectl label node"}
}

// rootTools need root on a plain machine.
func rootTools() []string {
	return append(nodeTools(), "apt", "apt-get", "dpkg", "chown", "passwd", "groupadd", "adduser", "fdisk", "mkfs", "mkfs.ext4", "losetup", "cgcreate", "unshare", "setcap")
}

// nodeFolders belong to the cluster's machine.
func nodeFolders() []string {
	return []string{"/etc/kubernetes", "/var/lib/kubelet", "/var/lib/etcd", "/etc/cni", "/etc/systemd", "/usr/lib/systemd", "/lib/systemd", "/var/lib/containerd",
		"/etc/containerd", "/var/log/pods", "/var/log/containers", "/opt/cni"}
}

// needsNode says what a learner with access to the cluster could not do.
func (sc *scenario) needsNode() []Note {
	var why []Note
	note := func(file string, line int, format string, args ...any) {
		why = append(why, Note{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
	}
	for _, p := range sc.learners() {
		if u, ok := p.facts.uses(nodeTools()...); ok {
			note(p.file, p.at(u.Line), "%s is a program for the node", u.What)
		}
		if u, ok := below(p.facts, nodeFolders()...); ok {
			note(p.file, p.at(u.Line), "%s is a file of the node", u.What)
		}
		sc.refused(p, note)
	}
	for _, p := range sc.setup {
		if m := leavesPod.FindStringIndex(p.text); m != nil && !inVolume(p.text[:m[0]]) {
			note(p.file, p.at(lineAt([]byte(p.text), int64(m[0]))), "a pod leaves its container (%s)", strings.TrimSpace(p.text[m[0]:m[1]]))
		}
	}
	return append(why, sc.sharedFiles()...)
}

var (
	// leavesPod is refused to pods unless the learner has the node anyway.
	leavesPod = regexp.MustCompile(`(?m)\bhostPath:|\bprivileged:\s*true|\bhostNetwork:\s*true|\bhostPID:\s*true|\bhostIPC:\s*true|\bhostPort:|\bNET_ADMIN\b|\bSYS_TIME\b|\bSYS_ADMIN\b`)
	// refusedKind are objects that a learner may not make.
	refusedKind = regexp.MustCompile(`(?m)^\s*kind:\s*["']?(PersistentVolume|(?:Validating|Mutating)WebhookConfiguration|(?:Validating|Mutating)AdmissionPolicy(?:Binding)?|APIService|FlowSchema|PriorityLevelConfiguration)["']?\s*(?:#.*)?$`)
	systemWrite = regexp.MustCompile(`kubectl[^\n|;]*\b(?:edit|apply|patch|delete|scale|create|set|rollout restart|replace|exec)\b[^\n|;]*(?:-n|--namespace)[= ]kube-system|kubectl[^\n|;]*(?:-n|--namespace)[= ]kube-system[^\n|;]*\b(?:edit|apply|patch|delete|scale|create|set|rollout restart|replace|exec)\b`)
)

// inVolume says whether what follows the text is of a PersistentVolume, which
// the setup may make.
func inVolume(before string) bool {
	i := strings.LastIndex(before, "kind:")
	return i >= 0 && strings.HasPrefix(strings.TrimSpace(before[i+len("kind:"):]), "PersistentVolume")
}

// refused finds what the policies of a cluster refuse to learners.
func (sc *scenario) refused(p *script, note func(string, int, string, ...any)) {
	if p.text == "" {
		return
	}
	for _, r := range []struct {
		pattern *regexp.Regexp
		what    string
	}{{leavesPod, "pods may not do this"}, {refusedKind, "learners may not make this"}, {systemWrite, "learners may not change the system's namespaces"}} {
		if m := r.pattern.FindStringIndex(p.text); m != nil {
			note(p.file, p.at(lineAt([]byte(p.text), int64(m[0]))), "%s: %s", r.what, oneLine(p.text[m[0]:m[1]]))
		}
	}
}

// oneLine shortens a piece of a script for a note.
func oneLine(text string) string {
	const long = 60
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > long {
		return string(runes[:long-1]) + "…"
	}
	return text
}

// learners are the commands that the text has the learner run, and those of
// the solutions.
func (sc *scenario) learners() []*script {
	var all []*script
	for _, s := range sc.steps {
		if s.page != nil {
			for _, c := range s.page.code() {
				all = append(all, &script{file: s.file, text: c.body, facts: studyBlock(c)})
			}
		}
		all = append(all, s.solves...)
	}
	return all
}

// studyBlock studies a block of a page. What is no shell script may still be a
// manifest.
func studyBlock(c codeText) facts {
	if c.shell() || c.lang == "" {
		f := study(c.body)
		for _, list := range []*[]use{&f.Commands, &f.Reads, &f.Writes, &f.Runs, &f.Hosts, &f.Changes, &f.Images} {
			for i := range *list {
				(*list)[i].Line = 0 // of the block, which says nothing
			}
		}
		return f
	}
	var f facts
	s := &student{facts: &f}
	s.manifest(c.body, 0)
	for i := range f.Images {
		f.Images[i].Line = 0
	}
	return f
}

// code is all that a page has in blocks.
func (p *page) code() []codeText {
	all := slices.Concat(p.runs, p.shown)
	for _, way := range p.ways {
		all = append(all, way...)
	}
	return all
}

// below finds a file in one of the folders.
func below(f facts, folders ...string) (use, bool) {
	for _, u := range slices.Concat(f.Reads, f.Writes, f.Runs) {
		for _, folder := range folders {
			if u.What == folder || strings.HasPrefix(u.What, folder+"/") {
				return u, true
			}
		}
	}
	return use{}, false
}

// sharedFiles are those that the learner and the setup or a check both see:
// the learner's terminal has files of its own.
func (sc *scenario) sharedFiles() []Note {
	var why []Note
	for _, a := range sc.assets {
		why = append(why, Note{File: a.file, Text: fmt.Sprintf("the learner works with the file %s", a.target)})
	}
	made := sc.madeBySetup()
	for _, u := range made {
		if file, line, ok := sc.mentions(u.What); ok {
			why = append(why, Note{File: file, Line: line, Text: fmt.Sprintf("the text speaks of %s, which the setup makes", u.What)})
		}
	}
	for _, s := range sc.steps {
		for _, check := range s.checks {
			for _, u := range sc.learnersFiles(check) {
				if !inHome(u.What) {
					why = append(why, Note{File: check.file, Line: check.at(u.Line), Text: fmt.Sprintf("a check looks at the learner's %s, outside of the home directory", u.What)})
				}
			}
		}
	}
	return why
}

// madeBySetup are the files that the setup leaves.
func (sc *scenario) madeBySetup() []use {
	var f facts
	for _, s := range sc.setup {
		f.merge(s.facts)
	}
	return slices.DeleteFunc(f.Writes, func(u use) bool { return !strings.HasPrefix(u.What, "/") && !strings.HasPrefix(u.What, "~") })
}

// mentions finds a file, or a file below it, in what the learner reads.
func (sc *scenario) mentions(file string) (where string, line int, ok bool) {
	names := []string{file}
	if rest, home := strings.CutPrefix(file, rootHome+"/"); home {
		names = append(names, "~/"+rest)
	} else if rest, home := strings.CutPrefix(file, "~/"); home {
		names = append(names, rootHome+"/"+rest)
	}
	for _, p := range sc.pages() {
		for _, name := range names {
			if i := strings.Index(p.text, name); i >= 0 && len(name) > len("/tmp") {
				return p.file, lineAt([]byte(p.text), int64(i)), true
			}
		}
	}
	return "", 0, false
}

// learnersFiles are the files that a check looks at and nobody but the learner
// can have made.
func (sc *scenario) learnersFiles(check *script) []use {
	made := sc.madeBySetup()
	own := func(u use) bool { // the check's own, or the setup's
		byCheck := func(w use) bool { return w.What == u.What }
		bySetup := func(w use) bool { return w.What == u.What && !sc.told(u.What) }
		return slices.ContainsFunc(check.facts.Writes, byCheck) || slices.ContainsFunc(made, bySetup)
	}
	var files []use
	for _, u := range slices.Concat(check.facts.Reads, check.facts.Runs) {
		switch {
		case own(u), system(u.What):
		default:
			files = append(files, u)
		}
	}
	return files
}

func (sc *scenario) told(file string) bool {
	_, _, ok := sc.mentions(file)
	return ok
}

// system are files that are the same wherever a check runs.
func system(file string) bool {
	for _, folder := range []string{"/bin", "/usr", "/sbin", "/lib", "/dev", "/proc", "/sys", "/etc/os-release", "/etc/killercoda", "/var/run/secrets"} {
		if file == folder || strings.HasPrefix(file, folder+"/") {
			return true
		}
	}
	return false
}

// inHome says whether a file is in the learner's home, as the platforms name it.
func inHome(file string) bool {
	return !strings.HasPrefix(file, "/") || file == rootHome || strings.HasPrefix(file, rootHome+"/") || strings.HasPrefix(file, "/home/") || strings.HasPrefix(file, "/tmp/")
}

// needsRoot says what the learner of a plain machine needs root for.
func (sc *scenario) needsRoot() []Note {
	var why []Note
	for _, p := range append(sc.learners(), sc.checks()...) {
		if u, ok := p.facts.uses(append(rootTools(), "sudo")...); ok {
			why = append(why, Note{File: p.file, Line: p.at(u.Line), Text: u.What + " needs root"})
		}
		if u, ok := p.facts.uses("kubectl"); ok {
			why = append(why, Note{File: p.file, Line: p.at(u.Line), Text: "kubectl needs a cluster"})
		}
	}
	for _, p := range sc.learners() {
		for _, u := range p.facts.Writes {
			if strings.HasPrefix(u.What, "/") && !inHome(u.What) {
				why = append(why, Note{File: p.file, Line: p.at(u.Line), Text: "only root can write " + u.What})
			}
		}
	}
	return why
}

func (sc *scenario) checks() []*script {
	var all []*script
	for _, s := range sc.steps {
		all = append(all, s.checks...)
	}
	return all
}

// slowCheck is what a check may sleep: the grader ends it after ten seconds.
const slowCheck = 8 * time.Second

// on says where a check runs: out of the learner's reach where that will do.
func (p *place) on(sc *scenario, check *script) string {
	var reason string
	for _, u := range sc.learnersFiles(check) {
		switch {
		case p.kind == sandbox.Cluster && p.access == sandbox.AccessNode:
		case p.kind == sandbox.Cluster:
			reason = fmt.Sprintf("it looks at %s, which is in the learner's terminal", u.What)
		case slices.ContainsFunc(check.facts.Runs, func(r use) bool { return r.What == u.What }):
			reason = fmt.Sprintf("it runs %s, which the learner writes, and root should not", u.What)
		}
		if reason != "" {
			sc.report.limit(KindForge, check.file, check.at(u.Line), "the check runs as the learner, who can read it and change what it sees: %s", reason)
			return "terminal"
		}
	}
	return "node"
}

var (
	rootPath = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])/root(/|\b)`)
	nodeName = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])controlplane($|[^A-Za-z0-9_/-])`)
	tmpPath  = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])/tmp/`)
)

// said is a text or a learner's script as it reads in this place: the home and
// the node have other names.
func (p *place) said(text string) string {
	text = strings.ReplaceAll(text, sandboxHost, p.host)
	if p.home != rootHome {
		text = rootPath.ReplaceAllString(text, "${1}"+p.home+"$2")
	}
	if p.there != rootHome && p.there != p.home {
		text = strings.ReplaceAll(text, p.there, p.home)
	}
	if p.kind == sandbox.Cluster {
		text = nodeName.ReplaceAllString(text, "${1}"+clusterNode+"$2")
	}
	if p.varTmp && p.access == sandbox.AccessNode {
		text = p.lasting(text)
	}
	return text
}

// onNode is a script that runs as root on the node, or on the machine.
func (p *place) onNode(text string) string {
	if p.kind == sandbox.Machine {
		return p.said(text)
	}
	text = nodeName.ReplaceAllString(text, "${1}"+clusterNode+"$2")
	return p.lasting(text)
}

// lasting moves what the setup leaves in /tmp: a node's is empty whenever it
// has been stopped, as that of every copy has.
func (p *place) lasting(text string) string {
	if !p.varTmp {
		return text
	}
	return tmpPath.ReplaceAllString(text, "${1}/var/tmp/")
}

// keepsTemporary says whether a check looks for what the setup left in /tmp.
func (sc *scenario) keepsTemporary() bool {
	for _, made := range sc.madeBySetup() {
		if !strings.HasPrefix(made.What, "/tmp/") {
			continue
		}
		for _, check := range sc.checks() {
			if slices.ContainsFunc(check.facts.Reads, func(u use) bool { return u.What == made.What || path.Dir(u.What) == made.What }) {
				return true
			}
		}
	}
	return false
}
