package labs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"drydock/labs/grade"
	"drydock/sandbox"
)

const (
	apiVersion = "drydock/v1"
	labKind    = "Lab"

	// TotalPoints is what the tasks of every lab add up to, so that scores compare.
	TotalPoints = 100

	maxMinutes  = 240              // longer is a course, not a lab
	maxNodes    = 3                // each node takes half a gibibyte and a third of a core
	maxTasks    = 20               // what fits on a page
	maxVariants = 20               // each is proven with every solution and wrong fix
	maxHold     = 10 * time.Minute // a learner waits for it
)

// reservedIDs name what is shown beside the checks, such as the probe of the service.
var reservedIDs = []string{"service"}

var (
	idPattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	varPattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,39}$`)

	levels   = []string{"beginner", "intermediate", "advanced"}
	kinds    = []sandbox.Kind{sandbox.Cluster, sandbox.Machine}
	accesses = []sandbox.Access{sandbox.AccessNamespace, sandbox.AccessCluster, sandbox.AccessNode}
	egresses = []string{"none", "internet"}
	places   = []string{"node", "terminal", "pod"}

	recordTypes = []string{"A", "AAAA", "CNAME", "MX", "PTR", "SRV", "TXT"}
)

// validator looks at the values of a decoded lab.
type validator struct {
	file     string
	lines    positions
	reported map[string]bool // by the decoder
	used     map[string]int  // ids of tasks and checks, and their lines
	problems []Problem
	machine  bool // the lab runs on a machine
}

// problem reports the value at path, unless the decoder has reported it or what is around it.
func (v *validator) problem(path, format string, args ...any) {
	for at := range around(path) {
		if v.reported[at] {
			return
		}
	}
	v.problems = append(v.problems, Problem{File: v.file, Line: v.lines.of(path), Msg: fmt.Sprintf(format, args...)})
}

// required reports fields that are not there at all; what is there but wrong,
// the decoder has reported.
func (v *validator) required(path string, fields ...string) {
	for _, field := range fields {
		if _, there := v.lines[join(path, field)]; !there && !v.reported[join(path, field)] {
			v.problem(path, "missing %q%s", field, inside(path))
		}
	}
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// oneOf reports a value that is not among the valid ones. An empty value is
// the decoder's business.
func oneOf[T ~string](v *validator, path string, value T, valid []T) {
	if value == "" || slices.Contains(valid, value) {
		return
	}
	words := make([]string, len(valid))
	for i, word := range valid {
		words[i] = string(word)
	}
	v.problem(path, "%s: unknown value %q%s", path, value, didYouMean(string(value), words))
}

func (v *validator) between(path string, value, least, most int) {
	if _, there := v.lines[path]; there && (value < least || value > most) {
		v.problem(path, "%s is %d; it must be between %d and %d", path, value, least, most)
	}
}

func (v *validator) lab(lab *Lab) {
	v.required("", "apiVersion", "kind", "title", "summary", "track", "level", "minutes", "sandbox")
	if lab.Imported == nil { // elsewhere, labs that begin with nothing are common
		v.required("", "setup")
	} else {
		v.required("imported", "from", "source")
	}
	v.required("", "ready", "tasks")
	oneOf(v, "apiVersion", lab.APIVersion, []string{apiVersion})
	oneOf(v, "kind", lab.Kind, []string{labKind})
	oneOf(v, "level", lab.Level, levels)
	v.between("minutes", lab.Minutes, 1, maxMinutes)
	v.slug("track", lab.Track)
	v.slug("article", lab.Article)
	if _, there := v.lines["sandbox"]; there {
		v.sandbox(lab.Sandbox)
	}
	v.variants(lab.Variants)
	v.setup(lab)
	if _, there := v.lines["ready"]; there && len(lab.Ready) == 0 {
		v.problem("ready", "ready has no check: the lab would be handed over before it is broken")
	}
	v.machine = lab.Sandbox.Kind == sandbox.Machine
	v.checks("ready", lab.Ready)
	v.levelOnly("ready", lab.Ready)
	v.tasks(lab.Tasks)
	v.checks("guards", lab.Guards)
	v.levelOnly("guards", lab.Guards)
	v.service(lab.Service)
	v.rubric(lab)
}

func (v *validator) slug(path, value string) {
	if value != "" && !slugPattern.MatchString(value) {
		v.problem(path, "%s: %q is no slug: up to 40 of a-z, 0-9 and - between them", path, value)
	}
}

func (v *validator) sandbox(s Sandbox) {
	v.required("sandbox", "kind")
	oneOf(v, "sandbox.kind", s.Kind, kinds)
	oneOf(v, "sandbox.access", s.Access, accesses)
	oneOf(v, "sandbox.egress", s.Egress, egresses)
	if s.Kind == sandbox.Machine {
		for _, field := range []string{"nodes", "access", "namespaces"} {
			if _, there := v.lines["sandbox."+field]; there {
				v.problem("sandbox."+field, "a machine has no %s", field)
			}
		}
		if s.Egress == "internet" {
			v.problem("sandbox.egress", "a machine has no network but its own loopback")
		}
		return
	}
	v.required("sandbox", "access")
	v.between("sandbox.nodes", s.Nodes, 1, maxNodes)
	if s.Access == sandbox.AccessNamespace && len(s.Namespaces) == 0 {
		v.problem("sandbox", "access: namespace needs namespaces: the list of those that the learner works in")
	}
	for i, ns := range s.Namespaces {
		path := fmt.Sprintf("sandbox.namespaces[%d]", i)
		if ns != "" && len(validation.IsDNS1123Label(ns)) > 0 {
			v.problem(path, "%q can't be a namespace's name", ns)
		}
		if slices.Index(s.Namespaces, ns) < i {
			v.problem(path, "the namespace %q is listed twice", ns)
		}
	}
}

func (v *validator) variants(variants []Variant) {
	v.between("variants", max(1, len(variants)), 1, maxVariants)
	seen := map[string]int{}
	for i, variant := range variants {
		path := fmt.Sprintf("variants[%d]", i)
		v.required(path, "name")
		v.slug(path+".name", variant.Name)
		if first, twice := seen[variant.Name]; twice && variant.Name != "" {
			v.problem(path+".name", "the variant %q is there twice; the first is on line %d", variant.Name, v.lines.of(fmt.Sprintf("variants[%d].name", first)))
		} else {
			seen[variant.Name] = i
		}
		for key := range variant.Vars {
			if !varPattern.MatchString(key) {
				v.problem(path+".vars."+key, "%q can't be the name of a var: up to 40 of a-z, A-Z, 0-9 and _, a letter first", key)
			}
		}
	}
}

func (v *validator) setup(lab *Lab) {
	if _, there := v.lines["setup"]; there && len(lab.Setup) == 0 {
		v.problem("setup", "setup has no step: nothing would be broken")
	}
	for i := range lab.Setup {
		path := fmt.Sprintf("setup[%d]", i)
		_, apply := v.lines[path+".apply"]
		_, run := v.lines[path+".run"]
		switch {
		case apply == run:
			v.problem(path, "%s needs exactly one of apply and run", path)
		case apply && lab.Sandbox.Kind == sandbox.Machine:
			v.problem(path, "nothing can be applied on a machine; use run")
		}
	}
}

func (v *validator) tasks(tasks []Task) {
	if _, there := v.lines["tasks"]; there {
		v.between("tasks", len(tasks), 1, maxTasks)
	}
	for i, task := range tasks {
		path := fmt.Sprintf("tasks[%d]", i)
		v.required(path, "id", "title", "points")
		v.id(path+".id", task.ID)
		v.between(path+".points", task.Points, 1, TotalPoints)
		_, ask := v.lines[path+".ask"]
		_, checks := v.lines[path+".checks"]
		switch {
		case ask == checks:
			v.problem(path, "%s needs exactly one of ask and checks", path)
		case checks && len(task.Checks) == 0:
			v.problem(path+".checks", "%s has no check, so it would always be done", path)
		case ask && task.Ask != nil:
			v.ask(path+".ask", task.Ask)
		}
		v.hints(path, task)
		v.checks(path+".checks", task.Checks)
		v.partial(path, task)
	}
}

func (v *validator) ask(path string, ask *grade.Ask) {
	v.required(path, "text")
	ways := 0
	for _, way := range []string{"accept", "all", "number"} {
		if _, there := v.lines[path+"."+way]; there {
			ways++
		}
	}
	if ways != 1 {
		v.problem(path, "%s needs exactly one of accept (any of these is right), all (these together) and number", path)
	}
	if ask.Number != nil {
		v.required(path+".number", "is")
	}
	if _, there := v.lines[path+".accept"]; there && len(ask.Accept) == 0 {
		v.problem(path+".accept", "no answer would be right")
	}
	if _, there := v.lines[path+".choices"]; there && len(ask.Choices) < 2 {
		v.problem(path+".choices", "choices must offer at least two")
	}
}

func (v *validator) hints(path string, task Task) {
	cost := 0
	for i, hint := range task.Hints {
		p := fmt.Sprintf("%s.hints[%d]", path, i)
		cost += hint.Cost
		if hint.Cost < 0 {
			v.problem(p+".cost", "a hint can't cost less than nothing")
		}
		v.required(p, "text")
	}
	if cost > task.Points && task.Points > 0 {
		v.problem(path+".hints", "the hints cost %d points and the task gives %d: a learner who takes them all must keep something to win", cost, task.Points)
	}
}

func (v *validator) checks(path string, checks []grade.Check) {
	for i, check := range checks {
		p := fmt.Sprintf("%s[%d]", path, i)
		v.required(p, "id")
		v.id(p+".id", check.ID)
		if time.Duration(check.Hold) > maxHold {
			v.problem(p+".hold", "hold is %s; at most %s, because a learner waits for it", check.Hold, maxHold)
		}
		v.check(p, check)
	}
}

// check looks at a check or a part of one.
func (v *validator) check(path string, check grade.Check) {
	for i, part := range check.All {
		v.check(fmt.Sprintf("%s.all[%d]", path, i), part)
	}
	for i, part := range check.Any {
		v.check(fmt.Sprintf("%s.any[%d]", path, i), part)
	}
	if check.Not != nil {
		v.check(path+".not", *check.Not)
	}
	for _, made := range []string{"all", "any", "not"} {
		if _, there := v.lines[path+"."+made]; there {
			return // what it may have beside its parts, the grader knows
		}
	}
	v.required(path, "that")
	v.collector(path, check)
}

// levelOnly reports what only the checks of tasks can have: what is ready or
// never to be violated is judged as it is at each moment.
func (v *validator) levelOnly(path string, checks []grade.Check) {
	for i, check := range checks {
		for field, there := range map[string]bool{"once": check.Once, "after": check.After != "", "points": check.Points != 0} {
			if there {
				v.problem(fmt.Sprintf("%s[%d].%s", path, i, field), "%s is for the checks of tasks", field)
			}
		}
	}
}

// partial checks the points of a task's checks: none has any, or all do and
// they make up the task's.
func (v *validator) partial(path string, task Task) {
	sum, without := 0, 0
	for i, check := range task.Checks {
		v.between(fmt.Sprintf("%s.checks[%d].points", path, i), check.Points, 1, task.Points)
		sum += check.Points
		if check.Points == 0 {
			without++
		}
	}
	switch {
	case sum == 0:
	case without > 0:
		v.problem(path+".checks", "some checks have points and %d have none: either each earns a part of the task's points, or the task gives all or nothing", without)
	case sum != task.Points:
		v.problem(path+".checks", "the points of the checks add up to %d, and the task gives %d", sum, task.Points)
	}
}

func (v *validator) collector(path string, check grade.Check) {
	var set []string
	for _, collector := range grade.CollectorNames() {
		if _, there := v.lines[path+"."+collector]; there {
			set = append(set, collector)
		}
	}
	if len(set) != 1 {
		names := grade.CollectorNames()
		v.problem(path, "%s needs exactly one of %s and %s: what does it look at?", path, strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
		return
	}
	switch {
	case check.Watch != nil && v.machine:
		v.problem(path+".watch", "a machine has no objects to watch; use exec or http")
	case check.Watch != nil:
		v.required(path+".watch", "kind")
	case check.Logs != nil && v.machine:
		v.problem(path+".logs", "a machine has no pods whose logs could be read; use exec")
	case check.Logs != nil:
		v.required(path+".logs", "namespace", "selector")
	case check.Events != nil && v.machine:
		v.problem(path+".events", "a machine has no events; use exec or file")
	case check.Audit != nil && v.machine:
		v.problem(path+".audit", "a machine has no audit log; use exec or file")
	case check.Bench != nil && !v.machine:
		v.problem(path+".bench", "programs are measured on machines; a cluster has none of the learner's")
	case check.Bench != nil:
		v.bench(path + ".bench")
	case check.File != nil:
		v.required(path+".file", "on", "path")
		oneOf(v, path+".file.on", check.File.On, []string{"node", "terminal"})
	case check.HTTP != nil:
		v.probe(path+".http", check.HTTP.From, check.HTTP.Pod, "url")
	case check.TCP != nil:
		v.probe(path+".tcp", check.TCP.From, check.TCP.Pod, "address")
	case check.DNS != nil:
		v.probe(path+".dns", check.DNS.From, check.DNS.Pod, "name")
		oneOf(v, path+".dns.type", check.DNS.Type, recordTypes)
	case check.Exec != nil && check.Exec.On == "pod" && v.machine:
		v.problem(path+".exec.on", "a machine has no pods; use on: node (its root) or on: terminal (the learner)")
	case check.Exec != nil:
		v.required(path+".exec", "on", "command")
		oneOf(v, path+".exec.on", check.Exec.On, places)
	}
}

func (v *validator) bench(path string) {
	v.required(path, "command", "baseline", "generate")
	for _, program := range []string{path + ".baseline", path + ".generate"} {
		if _, there := v.lines[program]; there {
			v.required(program, "files", "command")
		}
	}
}

// probe: it comes from a namespace of the cluster, or from the machine.
func (v *validator) probe(path, from, pod, target string) {
	if !v.machine {
		v.required(path, "from", target)
		if _, there := v.lines[path+".from"]; there && from == "" {
			v.problem(path+".from", "from is empty: name the namespace that the request comes from")
		}
		return
	}
	v.required(path, target)
	if from != "" {
		v.problem(path+".from", "a machine has no namespaces: leave from out; the request comes from the machine itself")
	}
	if pod != "" {
		v.problem(path+".pod", "a machine has no pods: leave pod out; the request comes from the machine itself")
	}
}

func (v *validator) service(service *Service) {
	if service == nil {
		return
	}
	v.required("service", "http")
	if service.HTTP != nil {
		v.probe("service.http", service.HTTP.From, service.HTTP.Pod, "url")
	}
}

// id checks the id of a task or a check: they share one name space, because
// wrong fixes and events name them.
func (v *validator) id(path, id string) {
	if id == "" {
		return
	}
	if !idPattern.MatchString(id) {
		v.problem(path, "%q is no id: up to 40 of a-z, 0-9 and - between them", id)
	}
	if slices.Contains(reservedIDs, id) {
		v.problem(path, "the id %q is taken by Drydock itself", id)
		return
	}
	if line, twice := v.used[id]; twice {
		v.problem(path, "the id %q is already used on line %d; tasks and checks share one name space", id, line)
		return
	}
	v.used[id] = v.lines.of(path)
}
