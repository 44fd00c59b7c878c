package convert

import (
	"regexp"
	"slices"
	"strings"

	"drydock/sandbox"
)

// learnersHost is the container or machine that most scripts run on, or else
// the first that a terminal opens.
func (l *hclLab) learnersHost() *hclBlock {
	scripts := map[*hclBlock]int{}
	var first, best *hclBlock
	for _, b := range l.root.resources {
		switch b.kind {
		case "task":
			for _, condition := range b.blocks("condition") {
				for _, check := range condition.blocks("check") {
					if on := l.target([]*hclBlock{b, condition, check}); on != nil {
						scripts[on]++
					}
				}
			}
		case "terminal":
			if on, err := b.refers("target"); err == nil && first == nil {
				first = on
			}
		}
	}
	best = first
	for _, b := range l.root.resources { // in the order of the files, so that it is always the same
		if scripts[b] > scripts[best] {
			best = b
		}
	}
	return best
}

// sandbox reads what the lab runs on, and what is beside its pages.
func (l *hclLab) sandbox() {
	for _, b := range l.root.resources {
		if strings.HasPrefix(b.kind, "kubernetes_cluster") || b.kind == "k8s_cluster" {
			l.host.kind = sandbox.Cluster
		}
	}
	for _, b := range l.root.resources {
		switch b.kind {
		case "container", "vm":
			l.machine(b)
		case "exec":
			l.exec(b)
		case "kubernetes_config", "k8s_config":
			l.manifests(b)
		case "note":
			l.report.leaveOut(b.file, b.line, "the tab %s, a note beside the terminal", b.name)
		case "service":
			l.report.limit(KindPort, b.file, b.line, "the tab %s showed port %s in the browser", b.name, l.said(b, "port"))
		case "editor", "external_website", "virtual_browser":
			l.report.leaveOut(b.file, b.line, "the tab %s, of the kind %s", b.name, b.kind)
		case "aws_account", "azure_subscription", "google_project":
			l.report.limit(KindInternet, b.file, b.line, "it uses the %s %s", strings.ReplaceAll(b.kind, "_", " "), b.name)
		default:
			if !slices.Contains(known(), b.kind) {
				l.report.limit(KindTool, b.file, b.line, "the resource %s has no counterpart", called(b))
			}
		}
	}
}

// known are the kinds that need nothing said, or are read elsewhere.
func known() []string {
	return []string{"lab", "page", "task", "quiz", "layout", "terminal", "network", "kubernetes_cluster", "k8s_cluster",
		"single_choice_question", "multiple_choice_question", "text_answer_question", "numeric_answer_question", "true_false_question"}
}

// plainImage is a Linux that has what a machine here has, or what a terminal has beside a cluster.
var plainImage = regexp.MustCompile(`^(?:docker\.io/)?(?:(?:library/)?(?:ubuntu|debian)|bitnami/kubectl)(?:[:@].*)?$`)

// machine notes what a container or machine is that a sandbox has in its place.
func (l *hclLab) machine(b *hclBlock) {
	image := b.first("image")
	name := l.said(image, "name")
	if b.kind == "vm" && name == "" {
		name = l.said(b, "image")
	}
	switch {
	case l.learner != nil && b != l.learner:
		l.report.limit(KindHost, b.file, b.line, "%s is a second machine: left out", called(b))
	case l.host.kind == sandbox.Machine && clusterImage.MatchString(name):
		l.host.kind = sandbox.Cluster
	case !plainImage.MatchString(name):
		l.report.limit(KindBackend, image.file, image.at("name"), "the image %q of %s is not known here", name, called(b))
	}
	if volumes := b.blocks("volume"); len(volumes) > 0 {
		for _, v := range volumes {
			if source, err := v.text("source"); err == nil { // what is calculated is a kubeconfig, which the terminal has
				l.report.limit(KindFile, v.file, v.line, "the files of %s are not put into the sandbox", source)
			}
		}
	}
}

// exec is a script of the setup.
func (l *hclLab) exec(b *hclBlock) {
	on, err := b.refers("target")
	switch {
	case len(b.blocks("image")) > 0, err == nil && l.learner != nil && on != l.learner:
		l.report.limit(KindHost, b.file, b.line, "%s runs on a second machine: left out", called(b))
		return
	case l.said(b, "daemon") == "true":
		l.report.limit(KindTool, b.file, b.line, "%s runs all the time, in the background: left out", called(b))
		return
	}
	text, err := b.text("script")
	if err != nil {
		l.report.limit(KindScript, b.file, b.at("script"), "the script of %s %v", called(b), err)
		return
	}
	script := newScript(b.file, 0, called(b), strings.TrimRight(text, "\n")+"\n")
	if script.facts.Broken != "" && !script.foreign() {
		l.report.limit(KindScript, b.file, b.at("script"), "bash can't read the script of %s: %s", called(b), script.facts.Broken)
	}
	l.setup = append(l.setup, script)
}

// manifests are applied by the setup.
func (l *hclLab) manifests(b *hclBlock) {
	for _, name := range l.saidAll(b, "paths") {
		file, err := within(b.folder.dir, name)
		var content []byte
		if err == nil {
			content, err = l.src.read(file, maxScript)
		}
		var text string
		if err == nil {
			text, err = scriptText(content)
		}
		if err != nil {
			l.report.limit(KindFile, b.file, b.at("paths"), "the manifest %q %v", name, err)
			continue
		}
		l.setup = append(l.setup, newScript(file, 0, "manifest "+name, "kubectl apply -f - <<'MANIFEST'\n"+text+"MANIFEST\n"))
	}
}
