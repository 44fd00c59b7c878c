package labs

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"drydock/labs/grade"
	"drydock/labs/trail"
)

// Rubric turns how a system was repaired into points. What a lab does not
// mention costs nothing and is shown all the same; only guards have a price
// unless it says otherwise, [GuardCost]. All costs are points of a hundred.
type Rubric struct {
	Guards     *CountRule      `yaml:"guards,omitempty"`     // violated ones
	Downtime   *TimeRule       `yaml:"downtime,omitempty"`   // of the service
	Time       *TimeRule       `yaml:"time,omitempty"`       // of work, from the hand-over to the last repair
	Resets     *CountRule      `yaml:"resets,omitempty"`     // that were asked for
	Collateral *CollateralRule `yaml:"collateral,omitempty"` // objects that are otherwise, and need not be
}

// CountRule prices things that are counted.
type CountRule struct {
	Free int `yaml:"free,omitempty"` // so many cost nothing
	Cost int `yaml:"cost"`           // each of the others
	Most int `yaml:"most,omitempty"` // all together; 0: no bound
}

// TimeRule prices time.
type TimeRule struct {
	Free grade.Duration `yaml:"free,omitempty"` // so much costs nothing
	Per  grade.Duration `yaml:"per"`            // each begun stretch of this length beyond it …
	Cost int            `yaml:"cost"`           // … costs so much
	Most int            `yaml:"most,omitempty"`
}

// CollateralRule prices what else was changed.
type CollateralRule struct {
	Free  int         `yaml:"free,omitempty"`
	Cost  int         `yaml:"cost"`
	Most  int         `yaml:"most,omitempty"`
	Allow []Allowance `yaml:"allow,omitempty"` // what a repair may touch, beside what the checks look at
}

// Allowance names objects that a repair may touch; an empty field is any.
type Allowance struct {
	Kind      string `yaml:"kind"`
	Namespace string `yaml:"namespace,omitempty"`
	Name      string `yaml:"name,omitempty"`
}

// What a deduction is for.
const (
	ForGuards     = "guards"
	ForDowntime   = "downtime"
	ForTime       = "time"
	ForResets     = "resets"
	ForCollateral = "collateral"
)

// Deduction is what was taken off the score of an attempt, and why.
type Deduction struct {
	For    string
	Points int
	Reason string // in words, for the learner
}

// Term is one line of a rubric: what costs how much.
type Term struct {
	For   string
	Words string
}

// points prices n things.
func (r CountRule) points(n int) int { return bounded(max(0, n-r.Free)*r.Cost, r.Most) }

// points prices a time.
func (r TimeRule) points(d time.Duration) int {
	beyond, per := d-time.Duration(r.Free), time.Duration(r.Per)
	if beyond <= 0 || per <= 0 {
		return 0
	}
	begun := min(int64((beyond+per-1)/per), TotalPoints)
	return bounded(int(begun)*r.Cost, r.Most)
}

func (r CollateralRule) points(n int) int {
	return CountRule{Free: r.Free, Cost: r.Cost, Most: r.Most}.points(n)
}

func bounded(points, most int) int {
	if most > 0 {
		points = min(points, most)
	}
	return min(points, TotalPoints)
}

// rubric is the lab's with what it does not mention.
func (l *Lab) rubric() Rubric {
	r := Rubric{}
	if l.Rubric != nil {
		r = *l.Rubric
	}
	if r.Guards == nil {
		r.Guards = &CountRule{Cost: GuardCost}
	}
	return r
}

// Terms says what costs how much, in words.
func (l *Lab) Terms() []Term {
	r := l.rubric()
	var terms []Term
	add := func(what, words string) { terms = append(terms, Term{what, words}) }
	if len(l.Guards) > 0 {
		add(ForGuards, r.Guards.words("violated guard", "violated guards"))
	}
	if r.Downtime != nil {
		add(ForDowntime, "Time that the service is away for its users: "+r.Downtime.words())
	}
	if r.Time != nil {
		add(ForTime, "Time until everything is repaired, sleep and our own trouble left out: "+r.Time.words())
	}
	if r.Resets != nil {
		add(ForResets, r.Resets.words("reset", "resets"))
	}
	if r.Collateral != nil {
		c := CountRule{Free: r.Collateral.Free, Cost: r.Collateral.Cost, Most: r.Collateral.Most}
		add(ForCollateral, c.words("object changed that the repair does not need", "objects changed that the repair does not need"))
	}
	return terms
}

func (r CountRule) words(one, many string) string {
	text := "Each " + one + " costs " + points(r.Cost)
	if r.Free > 0 {
		text = fmt.Sprintf("%s free, each one after that costs %s", counted(r.Free, one, many)+" "+isAre(r.Free), points(r.Cost))
	}
	return text + mostWords(r.Most)
}

func (r TimeRule) words() string {
	text := fmt.Sprintf("%s for each %s", points(r.Cost), spell(time.Duration(r.Per)))
	if r.Free > 0 {
		text += " after the first " + spell(time.Duration(r.Free))
	}
	return text + mostWords(r.Most)
}

func mostWords(most int) string {
	if most == 0 {
		return ""
	}
	return fmt.Sprintf(", %d at most", most)
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func points(n int) string { return counted(n, "point", "points") }

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// spell writes a time as people say it.
func spell(d time.Duration) string {
	d = d.Round(time.Second)
	m, s := int(d/time.Minute), int(d%time.Minute/time.Second)
	switch {
	case m == 0:
		return counted(s, "second", "seconds")
	case s == 0:
		return counted(m, "minute", "minutes")
	}
	return fmt.Sprintf("%s %d s", counted(m, "minute", "minutes"), s)
}

// deductions is what an attempt loses, and why.
func (l *Lab) deductions(p *Progress) []Deduction {
	r := l.rubric()
	var all []Deduction
	add := func(what string, n int, reason string) {
		if n > 0 {
			all = append(all, Deduction{what, n, reason})
		}
	}
	add(ForGuards, r.Guards.points(p.GuardsViolated), counted(p.GuardsViolated, "guard was violated", "guards were violated"))
	if r.Downtime != nil {
		add(ForDowntime, r.Downtime.points(p.ServiceDown), "the service was away for its users for "+spell(p.ServiceDown))
	}
	if took, all := p.repairTook(); r.Time != nil && all {
		add(ForTime, r.Time.points(took), "the repair took "+spell(took))
	}
	if r.Resets != nil {
		add(ForResets, r.Resets.points(p.Resets), counted(p.Resets, "reset was asked for", "resets were asked for"))
	}
	if r.Collateral != nil {
		n := len(p.Collateral.Changes) + p.Collateral.More - p.expected
		add(ForCollateral, r.Collateral.points(n), counted(n, "object that the repair did not need is otherwise than before", "objects that the repair did not need are otherwise than before"))
	}
	return all
}

// expects reports whether a repair may touch an object: the lab's own checks
// look at it, or its rubric says so.
func (l *Lab) expects(c trail.ObjectChange, v Variant) bool {
	if l.Rubric != nil && l.Rubric.Collateral != nil {
		for _, a := range l.Rubric.Collateral.Allow {
			if a.Kind == c.Kind && (a.Namespace == "" || a.Namespace == c.Space) && (a.Name == "" || v.fill(a.Name) == c.Name) {
				return true
			}
		}
	}
	for _, t := range l.Tasks {
		for _, check := range t.Checks {
			if slices.ContainsFunc(check.Looks(), func(part grade.Check) bool { return looksAt(part, c, v) }) {
				return true
			}
		}
	}
	// A guard that looks at all of a kind looks for what should not be there.
	return slices.ContainsFunc(l.Guards, func(guard grade.Check) bool {
		return slices.ContainsFunc(guard.Looks(), func(part grade.Check) bool {
			return part.Watch != nil && part.Watch.Name != "" && looksAt(part, c, v)
		})
	})
}

// Expects reports whether a repair of the named variant may touch an object.
func (l *Lab) Expects(c trail.ObjectChange, variant string) bool {
	v, _ := l.variant(variant)
	return l.expects(c, v)
}

// WatchedObject is one that a check or a guard of a lab looks at.
type WatchedObject struct{ Kind, Name string }

// Watched are the objects that the checks and guards of a lab name. Who looks at
// one of them is on the way to the fault; who lists all of a kind may just have begun.
func (l *Lab) Watched(variant string) []WatchedObject {
	v, _ := l.variant(variant)
	var all []WatchedObject
	for _, c := range l.Checks() {
		for _, part := range c.Looks() {
			switch {
			case part.Watch != nil && part.Watch.Name != "":
				all = append(all, WatchedObject{part.Watch.Kind, v.fill(part.Watch.Name)})
			case part.Events != nil && part.Events.Name != "":
				all = append(all, WatchedObject{part.Events.Kind, v.fill(part.Events.Name)})
			}
		}
	}
	return all
}

// SameKind reports whether a resource of the API, as deployments, is that of a kind, as Deployment.
func SameKind(kind, resource string) bool {
	plural, singular := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Kind: kind})
	return resource == plural.Resource || resource == singular.Resource
}

// fill puts the variant's vars into text.
func (v Variant) fill(text string) string {
	for name, value := range v.Vars {
		text = strings.ReplaceAll(text, "${vars."+name+"}", value)
	}
	return text
}

// looksAt reports whether a check looks at an object.
func looksAt(check grade.Check, c trail.ObjectChange, v Variant) bool {
	switch {
	case check.Watch != nil:
		w := check.Watch
		return w.Kind == c.Kind && v.fill(w.Namespace) == c.Space && (w.Name == "" || v.fill(w.Name) == c.Name)
	case check.HTTP != nil && c.Kind == "Service":
		address, err := url.Parse(v.fill(check.HTTP.URL))
		return err == nil && isService(c, address.Hostname(), v.fill(check.HTTP.From))
	case check.TCP != nil && c.Kind == "Service":
		host, _, err := net.SplitHostPort(v.fill(check.TCP.Address))
		return err == nil && isService(c, host, v.fill(check.TCP.From))
	case check.DNS != nil && c.Kind == "Service":
		return isService(c, v.fill(check.DNS.Name), v.fill(check.DNS.From))
	case check.Exec != nil && c.Kind == "Pod":
		return check.Exec.On == "pod" && v.fill(check.Exec.Namespace) == c.Space
	case check.Logs != nil && c.Kind == "Pod":
		return v.fill(check.Logs.Namespace) == c.Space
	}
	return false
}

// isService reports whether a name of DNS, asked for from a namespace, is a Service's.
func isService(c trail.ObjectChange, host, from string) bool {
	name, rest, _ := strings.Cut(host, ".")
	space, _, _ := strings.Cut(rest, ".")
	if space == "" {
		space = from
	}
	return name == c.Name && space == c.Space
}

// rubric looks at the values of a rubric.
func (v *validator) rubric(lab *Lab) {
	r := lab.Rubric
	if r == nil {
		return
	}
	v.countRule("rubric.guards", r.Guards)
	v.countRule("rubric.resets", r.Resets)
	v.timeRule("rubric.downtime", r.Downtime)
	v.timeRule("rubric.time", r.Time)
	if r.Guards != nil && len(lab.Guards) == 0 {
		v.problem("rubric.guards", "the lab has no guards whose violation could cost anything")
	}
	if r.Downtime != nil && lab.Service == nil {
		v.problem("rubric.downtime", "nobody can tell for how long the service is away: the lab has no service")
	}
	c := r.Collateral
	if c == nil {
		return
	}
	v.countRule("rubric.collateral", &CountRule{Free: c.Free, Cost: c.Cost, Most: c.Most})
	if v.machine {
		v.problem("rubric.collateral", "a machine has no objects that could be compared; use a guard")
	}
	for i := range c.Allow {
		v.required(fmt.Sprintf("rubric.collateral.allow[%d]", i), "kind")
	}
}

func (v *validator) countRule(path string, r *CountRule) {
	if r == nil {
		return
	}
	v.required(path, "cost")
	v.prices(path, r.Cost, r.Most)
	v.between(path+".free", r.Free, 0, maxFree)
}

func (v *validator) timeRule(path string, r *TimeRule) {
	if r == nil {
		return
	}
	v.required(path, "per", "cost")
	v.prices(path, r.Cost, r.Most)
	if _, there := v.lines[path+".per"]; there && time.Duration(r.Per) < time.Second {
		v.problem(path+".per", "%s.per is %s; at least 1s", path, r.Per)
	}
	if r.Free < 0 {
		v.problem(path+".free", "%s.free is %s; it can't be less than nothing", path, r.Free)
	}
}

// maxFree is how many things may cost nothing: more is no rule.
const maxFree = 100

func (v *validator) prices(path string, cost, most int) {
	v.between(path+".cost", cost, 0, TotalPoints)
	v.between(path+".most", most, 1, TotalPoints)
	if _, there := v.lines[path+".most"]; there && most >= 1 && most < cost {
		v.problem(path+".most", "%s.most is %d, less than the cost of one, %d", path, most, cost)
	}
}
