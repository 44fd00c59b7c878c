package convert

import (
	_ "embed" // the script that makes web servers
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"drydock/sandbox"
)

// The images that the node has for pods.
const (
	busyboxRef  = "docker.io/library/busybox:1.35"
	workloadRef = "localhost/drydock/workload:1"
)

// mirrors are places where the images of Docker Hub stand under the same name.
func mirrors() []string {
	return []string{"docker.io/library/", "docker.io/", "index.docker.io/library/", "registry.hub.docker.com/library/", "public.ecr.aws/docker/library/", "public.ecr.aws/", "library/", "mirror.gcr.io/library/"}
}

// plainName is an image's name without a mirror's, and its tag.
func plainName(ref string) (name, tag string) {
	name, _, _ = strings.Cut(ref, "@")
	for _, m := range mirrors() {
		if rest, ok := strings.CutPrefix(name, m); ok {
			name = rest
			break
		}
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	return strings.TrimPrefix(name, "nginx/"), tag
}

// The words for what stands for an image and has to be made first.
const (
	nginxServer  = "busybox's web server, with nginx's folder and page"
	apacheServer = "busybox's web server, with Apache's folder and page"
)

// stands finds what stands for an image: what the user named, for the image
// with that tag or for all of that name; or the node's busybox, as it is or
// as a web server.
func (o *Options) stands(ref string) (string, bool) {
	name, tag := plainName(ref)
	for _, key := range []string{ref, name + ":" + tag, name} {
		if to, ok := o.Images[key]; ok {
			return fullName(to), true
		}
	}
	switch name {
	case "busybox", "alpine":
		return busyboxRef, true
	case "nginx":
		return nginxServer, true
	case "httpd":
		return apacheServer, true
	}
	return "", false
}

// present says whether the node has the image under this very name.
func present(ref string) bool {
	name, tag := plainName(ref)
	return ref == workloadRef || name == "busybox" && tag == "1.35" && !strings.Contains(ref, "public.ecr.aws")
}

// fullName is what containerd calls an image.
func fullName(ref string) string {
	first, _, more := strings.Cut(ref, "/")
	switch {
	case !more:
		ref = "docker.io/library/" + ref
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		ref = "docker.io/" + ref
	}
	if !strings.Contains(ref, "@") && strings.LastIndexByte(ref, ':') < strings.LastIndexByte(ref, '/') {
		ref += ":latest"
	}
	return ref
}

// wellKnown are images that a text names in passing. Names that are also those
// of programs or languages need a tag.
var wellKnown = regexp.MustCompile(`^(?:[a-z0-9.-]+/)*(?:(?:nginx|busybox|redis|httpd|alpine|postgres|memcached|curlimages/curl)(?::[A-Za-z0-9._-]+)?|(?:ubuntu|debian|mysql|mariadb|mongo|python|node|curl|http-echo|netshoot|rabbitmq|haproxy|traefik|perl|golang|bash|stress|fluentd):[A-Za-z0-9._-]+)$`)

// imagesOf are the names of all images that the scenario's pods need, with the
// place where each is named first. A wrong one on purpose is among them.
func (sc *scenario) imagesOf() map[string]Note {
	found := map[string]Note{}
	add := func(ref, file string, line int) {
		if _, known := found[ref]; !known && ref != "" {
			found[ref] = Note{File: file, Line: line}
		}
	}
	for _, s := range slices.Concat(sc.setup, sc.checks(), sc.learners()) {
		for _, u := range s.facts.Images {
			line := 0
			if u.Line > 0 {
				line = s.at(u.Line)
			}
			add(u.What, s.file, line)
		}
	}
	for _, a := range sc.assets {
		for i, row := range strings.Split(string(a.data), "\n") {
			if m := imageField.FindStringSubmatch(row); m != nil && imageName.MatchString(m[1]) {
				add(m[1], a.file, i+1)
			}
		}
	}
	for _, s := range sc.steps {
		if s.page == nil {
			continue
		}
		for _, word := range s.page.words {
			if wellKnown.MatchString(word) {
				add(word, s.file, 0)
			}
		}
	}
	return found
}

// speaksOfPulling says that a scenario is about images that can't be pulled.
var speaksOfPulling = regexp.MustCompile(`ImagePull|ErrImage|(?i)(wrong|invalid|bad|broken|incorrect|non-?existent|misspel\w+) (container )?image|image (name|tag) (is|was) (wrong|invalid|incorrect)`)

// broken says whether an image may be wrong on purpose: only the setup names
// it, and the scenario speaks of images that can't be pulled.
func (sc *scenario) broken(ref string) bool {
	about, elsewhere := false, false
	for _, s := range slices.Concat(sc.checks(), sc.learners()) {
		elsewhere = elsewhere || slices.ContainsFunc(s.facts.Images, func(u use) bool { return u.What == ref })
	}
	for _, s := range sc.steps {
		elsewhere = elsewhere || s.page != nil && slices.Contains(s.page.words, ref)
	}
	for _, d := range sc.pages() {
		about = about || speaksOfPulling.MatchString(d.text)
	}
	for _, s := range sc.setup {
		about = about || speaksOfPulling.MatchString(s.text)
	}
	return about && !elsewhere
}

// images looks at what pods need, and gives the node further names for what it
// has: then scripts, texts and checks that name them hold as they are.
func (b *builder) images(o Options) {
	if b.place.kind != sandbox.Cluster {
		return
	}
	sc := b.scenario
	found := sc.imagesOf()
	names := map[string][]string{} // what stands for them: names as containerd has them
	for _, ref := range slices.Sorted(maps.Keys(found)) {
		at := found[ref]
		to, ok := o.stands(ref)
		switch {
		case present(ref):
			continue
		case sc.broken(ref):
			sc.report.did("the image %s is not given to the node: the scenario is about images that can't be pulled, and only its setup names this one", ref)
			continue
		case !ok || strings.Contains(ref, "@"):
			sc.report.limit(KindImage, at.File, at.Line, "the image %s is not there, and nothing is pulled: name another one for it with --image", ref)
			continue
		case to == busyboxRef && strings.Contains(ref, "busybox"):
			sc.report.did("the image %s is the node's busybox, of version 1.35", ref)
		default:
			sc.report.limit(KindStandIn, at.File, at.Line, "for the image %s stands %s", ref, to)
		}
		if name := fullName(ref); !slices.Contains(names[to], name) {
			names[to] = append(names[to], name)
		}
	}
	if len(names) > 0 {
		b.addSetup("images", aliases(names))
		b.file("manifests/never-pull.yaml", neverPull)
		b.steps = append(b.steps, fields("apply", str("manifests/")))
	}
}

// webServer makes the images of web servers, on the node.
//
//go:embed webserver.sh
var webServer string

// aliases gives images that the node has further names.
func aliases(names map[string][]string) string {
	var t strings.Builder
	t.WriteString("# The names that this lab's pods use, for images that the node has.\nset -e\n")
	for _, to := range slices.Sorted(maps.Keys(names)) {
		for _, name := range names[to] {
			if to != name && to != nginxServer && to != apacheServer {
				fmt.Fprintf(&t, "ctr -n k8s.io images tag --force %s %s\n", quoteShell(to), quoteShell(name))
			}
		}
	}
	if len(names[nginxServer])+len(names[apacheServer]) > 0 {
		fmt.Fprintf(&t, "nginx=(%s)\napache=(%s)\n%s", quoteAll(names[nginxServer]), quoteAll(names[apacheServer]), webServer)
	}
	return t.String()
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quoteShell(w)
	}
	return strings.Join(quoted, " ")
}

// neverPull keeps kubelet from asking a registry for an image that is there:
// without a tag, or with :latest, that is what it does unless it is told not to.
const neverPull = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata:
  name: drydock-imported-images
spec:
  failurePolicy: Ignore
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          lists.range(size(object.spec.containers)).map(i,
            JSONPatch{op: "add", path: "/spec/containers/" + string(i) + "/imagePullPolicy", value: "IfNotPresent"})
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          lists.range(size(object.spec.?initContainers.orValue([]))).map(i,
            JSONPatch{op: "add", path: "/spec/initContainers/" + string(i) + "/imagePullPolicy", value: "IfNotPresent"})
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: drydock-imported-images
spec:
  policyName: drydock-imported-images
`
