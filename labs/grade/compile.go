package grade

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// minEvery keeps probes from loading the sandbox they watch: one look
	// takes up to 100 ms of a core.
	minEvery = 200 * time.Millisecond
	// maxHold is far beyond what a learner waits for.
	maxHold = 30 * time.Minute

	defaultHTTPEvery = 2 * time.Second
	defaultExecEvery = 5 * time.Second
	defaultLogsEvery = time.Second

	// maxRequestBody keeps a request's body well below the kernel's limit for
	// one argument of a program, 128 KiB.
	maxRequestBody = 32 << 10
)

// compiled is one check, ready to judge.
type compiled struct {
	Check
	subject     subject
	that        *expression
	why         explainer
	otherwise   *template // nil without Else
	useBaseline bool
}

// everyAnswer says that two answers with the same status and body can be
// judged differently, so that none may be left out.
func (c *compiled) everyAnswer() bool {
	uses := func(e *expression) bool {
		return e.mentionsField(string(response), "seconds") || e.mentionsField(string(response), "headers")
	}
	return uses(c.that) || c.otherwise != nil && slices.ContainsFunc(c.otherwise.parts, uses)
}

// compiler gathers the problems of a list of checks.
type compiler struct {
	languages map[subject]*language
	problems  []Problem
	check     *Check // the one at hand
}

func (c *compiler) add(format string, args ...any) {
	c.problems = append(c.problems, Problem{Line: c.check.Line, Check: c.check.ID, Msg: fmt.Sprintf(format, args...)})
}

func (c *compiler) compile(check Check) *compiled {
	c.check = &check
	c.name()
	if check.Hold < 0 || time.Duration(check.Hold) > maxHold {
		c.add("hold is %s; it can be at most %s", check.Hold, maxHold)
	}
	subject, ok := c.collector()
	if !ok {
		return nil
	}
	lang, err := c.language(subject)
	if err != nil {
		c.add("%v", err)
		return nil
	}
	out := &compiled{Check: check, subject: subject}
	c.condition(lang, out)
	return out
}

func (c *compiler) language(s subject) (*language, error) {
	if l, ok := c.languages[s]; ok {
		return l, nil
	}
	l, err := newLanguage(s)
	if err == nil {
		c.languages[s] = l
	}
	return l, err
}

var idPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (c *compiler) name() {
	switch {
	case c.check.ID == "":
		c.add("the check has no id")
	case !idPattern.MatchString(c.check.ID):
		c.add("the id %q is not made of a-z, 0-9 and - (at most 63)", c.check.ID)
	}
}

// condition compiles That and Else.
func (c *compiler) condition(lang *language, out *compiled) {
	if strings.TrimSpace(out.That) == "" {
		c.add("the check has no condition: write what must be true under that")
		return
	}
	that, problems := lang.compileCondition(out.That)
	for _, p := range problems {
		c.add("that: %s", p)
	}
	if out.Else != "" {
		otherwise, problems := lang.compileTemplate(out.Else)
		for _, p := range problems {
			c.add("else: %s", p)
		}
		out.otherwise = otherwise
	}
	if that == nil {
		return
	}
	out.that = that
	kind := ""
	if out.Watch != nil {
		kind = out.Watch.Kind
	}
	out.why = newExplainer(that, kind)
	out.useBaseline = that.mentions(baselineName) || out.otherwise != nil &&
		slices.ContainsFunc(out.otherwise.parts, func(e *expression) bool { return e != nil && e.mentions(baselineName) })
}

// collector checks that there is exactly one, and what it needs.
func (c *compiler) collector() (subject, bool) {
	given := 0
	for _, set := range []bool{c.check.Watch != nil, c.check.HTTP != nil, c.check.Exec != nil, c.check.Logs != nil} {
		if set {
			given++
		}
	}
	if given != 1 {
		c.add("the check has %d collectors; it needs exactly one of watch, http, exec and logs", given)
		return "", false
	}
	switch {
	case c.check.Watch != nil:
		c.watch(c.check.Watch)
		if c.check.Watch.Name == "" {
			return manyObjects, true
		}
		return oneObject, true
	case c.check.HTTP != nil:
		c.http(c.check.HTTP)
		return response, true
	case c.check.Logs != nil:
		c.logs(c.check.Logs)
		return podLogs, true
	default:
		c.exec(c.check.Exec)
		return result, true
	}
}

// clusterKinds are kinds of Kubernetes itself that have no namespace. Of
// others, the cluster is asked.
var clusterKinds = []string{
	"APIService", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CSINode", "CustomResourceDefinition", "FlowSchema",
	"IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass",
	"PriorityLevelConfiguration", "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy",
	"ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttachment",
}

// namespacedKinds are those that labs watch most.
var namespacedKinds = []string{
	"ConfigMap", "CronJob", "DaemonSet", "Deployment", "EndpointSlice", "Endpoints", "Event", "HorizontalPodAutoscaler",
	"Ingress", "Job", "Lease", "LimitRange", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget",
	"ReplicaSet", "ReplicationController", "ResourceQuota", "Role", "RoleBinding", "Secret", "Service", "ServiceAccount",
	"StatefulSet",
}

func (c *compiler) watch(w *Watch) {
	known := append(slices.Clone(clusterKinds), namespacedKinds...)
	switch {
	case w.Kind == "":
		c.add("watch has no kind")
	case w.APIVersion == "" && !slices.Contains(known, w.Kind):
		if near := didYouMean(w.Kind, known); near != "" {
			c.add("watch: %q is no kind of Kubernetes itself%s Otherwise name its apiVersion", w.Kind, near)
		}
	case w.APIVersion == "" && slices.Contains(namespacedKinds, w.Kind) && w.Name != "" && w.Namespace == "":
		c.add("watch: a %s is in a namespace; name it", w.Kind)
	case w.APIVersion == "" && slices.Contains(clusterKinds, w.Kind) && w.Namespace != "":
		c.add("watch: a %s is in no namespace", w.Kind)
	}
	if _, err := schema.ParseGroupVersion(w.APIVersion); err != nil {
		c.add("watch: apiVersion %q is not of the form v1 or apps/v1", w.APIVersion)
	}
	c.namespace("watch", w.Namespace)
	c.selector("watch", w.Selector)
	if w.Name != "" && w.Selector != "" {
		c.add("watch has both a name and a selector; with a name, nothing is left to select")
	}
}

func (c *compiler) namespace(collector, name string) {
	if name == "" || len(varsIn(name)) > 0 {
		return
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		c.add("%s: %q cannot be the name of a namespace: %s", collector, name, problems[0])
	}
}

func (c *compiler) selector(collector, selector string) {
	if len(varsIn(selector)) > 0 {
		return
	}
	if _, err := labels.Parse(selector); err != nil {
		c.add("%s: the selector %q cannot be read: %v", collector, selector, err)
	}
}

func (c *compiler) every(collector string, every Duration) {
	if every != 0 && time.Duration(every) < minEvery {
		c.add("%s: every is %s; looking more often than every %s would load the sandbox", collector, every, minEvery)
	}
}

var methodPattern = regexp.MustCompile(`^[A-Z]{1,20}$`)

func (c *compiler) http(h *HTTP) {
	c.namespace("http", h.From)
	c.every("http", h.Every)
	u, err := url.Parse(varPattern.ReplaceAllString(h.URL, "1"))
	switch {
	case h.URL == "":
		c.add("http has no url")
	case err != nil:
		c.add("http: the url %q cannot be read: %v", h.URL, err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		c.add("http: the url %q must begin with http:// or https:// and name a host", h.URL)
	}
	if h.Method != "" && !methodPattern.MatchString(h.Method) {
		c.add("http: the method %q is not of capital letters", h.Method)
	}
	for name, value := range h.Header {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n") {
			c.add("http: the header %q: %q cannot be sent", name, value)
		}
	}
	if len(h.Body) > maxRequestBody {
		c.add("http: the body has %d bytes; at most %d are sent", len(h.Body), maxRequestBody)
	}
}

const (
	onNode     = "node"
	onTerminal = "terminal"
	onPod      = "pod"
)

func (c *compiler) exec(e *Exec) {
	places := []string{onNode, onTerminal, onPod}
	switch {
	case !slices.Contains(places, e.On):
		c.add("exec: on is %q%s", e.On, didYouMeanOr(e.On, places))
	case e.On == onPod && (e.Namespace == "" || e.Selector == ""):
		c.add("exec on a pod needs its namespace and a selector")
	case e.On != onPod && (e.Namespace != "" || e.Selector != "" || e.Container != ""):
		c.add("exec: namespace, selector and container are only for on: pod")
	}
	c.namespace("exec", e.Namespace)
	c.selector("exec", e.Selector)
	c.every("exec", e.Every)
	if len(e.Command) == 0 || e.Command[0] == "" {
		c.add("exec has no command")
	}
}

func (c *compiler) logs(l *Logs) {
	if l.Namespace == "" || l.Selector == "" {
		c.add("logs needs the namespace of the pods and a selector")
	}
	c.namespace("logs", l.Namespace)
	c.selector("logs", l.Selector)
	c.every("logs", l.Every)
	if l.Tail < 0 || l.Tail > maxTail {
		c.add("logs: tail is %d; it is a number of lines up to %d", l.Tail, maxTail)
	}
}

// texts are the fields of the collector that may mention ${vars.x}.
func (c *Check) texts() []string {
	switch {
	case c.Watch != nil:
		return []string{c.Watch.Namespace, c.Watch.Name, c.Watch.Selector}
	case c.HTTP != nil:
		texts := []string{c.HTTP.From, c.HTTP.URL, c.HTTP.Body}
		for _, value := range c.HTTP.Header {
			texts = append(texts, value)
		}
		return texts
	case c.Logs != nil:
		return []string{c.Logs.Namespace, c.Logs.Selector, c.Logs.Container}
	case c.Exec != nil:
		return append([]string{c.Exec.Namespace, c.Exec.Selector, c.Exec.Container}, c.Exec.Command...)
	}
	return nil
}
