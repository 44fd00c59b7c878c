package grade

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// minEvery keeps looks from loading the sandbox they watch: a command takes
	// up to 100 ms of a core.
	minEvery = 200 * time.Millisecond
	// maxHold is far beyond what a learner waits for.
	maxHold = 30 * time.Minute

	defaultExecEvery = 5 * time.Second
	defaultLogsEvery = 2 * time.Second
)

// condition is one collector with what must hold of what it saw: a check, or a
// part of one.
type condition struct {
	Check
	path        string // what its evidence is kept under: the check's id, and of a part the way to it, as in web/0/1
	looks       collector
	subject     subject
	that        *expression
	why         explainer
	otherwise   *template // nil without Else
	useBaseline bool
}

// everyAnswer says that two answers that are the same but for their headers
// and the time they took can be judged differently, so that none may be left out.
func (c *condition) everyAnswer() bool {
	uses := func(e *expression) bool {
		return e.mentionsField(string(c.subject), "seconds") || c.subject == response && e.mentionsField(string(response), "headers")
	}
	return uses(c.that) || c.otherwise != nil && slices.ContainsFunc(c.otherwise.parts, uses)
}

// compiled is one check, ready to judge.
type compiled struct {
	Check
	tree       node
	conditions []int // of the set, in the order of the tree
	after      int   // the check of the set that must have passed before; -1: none
}

type typedSubject struct {
	subject subject
	kind    reflect.Type
}

// compiler gathers the problems of a list of checks.
type compiler struct {
	languages  map[subject]*language
	typed      map[typedSubject]*language
	conditions []*condition
	problems   []Problem
	check      *Check // the one at hand
	vet        bool   // look at the fields of known kinds
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
	out := &compiled{Check: check, after: -1}
	out.tree = c.tree(&check, check.ID, 1)
	out.conditions = out.tree.conditions()
	return out
}

// leaf compiles what looks at one thing, and returns its place in the set.
func (c *compiler) leaf(check *Check, path string) int {
	out := &condition{Check: *check, path: path}
	c.conditions = append(c.conditions, out)
	collector, ok := c.collector(check)
	if !ok {
		return len(c.conditions) - 1
	}
	out.looks, out.subject = collector, collector.sees()
	lang, err := c.language(out.subject)
	if err != nil {
		c.add("%v", err)
		return len(c.conditions) - 1
	}
	before := len(c.problems)
	c.condition(lang, out)
	if c.vet && check.Watch != nil && len(c.problems) == before {
		c.fields(out)
	}
	return len(c.conditions) - 1
}

// fields checks a sound condition against the fields of its kind, if that is known.
func (c *compiler) fields(out *condition) {
	kind := kindType(out.Watch.APIVersion, out.Watch.Kind)
	if kind == nil {
		return
	}
	typed, err := c.typedLanguage(out.subject, kind)
	if err != nil {
		c.add("%v", err)
		return
	}
	c.texts(typed, &out.Check)
}

func (c *compiler) typedLanguage(s subject, kind reflect.Type) (*language, error) {
	key := typedSubject{s, kind}
	if l, ok := c.typed[key]; ok {
		return l, nil
	}
	l, err := newTypedLanguage(s, kind)
	if err == nil {
		c.typed[key] = l
	}
	return l, err
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
func (c *compiler) condition(lang *language, out *condition) {
	if strings.TrimSpace(out.That) == "" {
		c.add("the check has no condition: write what must be true under that")
		return
	}
	out.that, out.otherwise = c.texts(lang, &out.Check)
	if out.that == nil {
		return
	}
	kind := ""
	if out.Watch != nil {
		kind = out.Watch.Kind
	}
	out.why = newExplainer(out.that, kind)
	out.useBaseline = out.that.mentions(baselineName) || out.otherwise != nil &&
		slices.ContainsFunc(out.otherwise.parts, func(e *expression) bool { return e != nil && e.mentions(baselineName) })
}

// texts compiles the two texts of a check that are CEL, and reports what is wrong with them.
func (c *compiler) texts(lang *language, check *Check) (that *expression, otherwise *template) {
	that, problems := lang.compileCondition(check.That)
	for _, p := range problems {
		c.add("that: %s", p)
	}
	if check.Else == "" {
		return that, nil
	}
	otherwise, problems = lang.compileTemplate(check.Else)
	for _, p := range problems {
		c.add("else: %s", p)
	}
	return that, otherwise
}

// collector checks that there is exactly one, and what it needs.
func (c *compiler) collector(check *Check) (collector, bool) {
	all := check.collectors()
	if len(all) != 1 {
		c.add("the check has %d collectors; it needs exactly one of %s", len(all), listWords(CollectorNames(), "and"))
		return nil, false
	}
	all[0].problems(c.add)
	return all[0], true
}

func (add report) namespace(collector, name string) {
	if name == "" || len(varsIn(name)) > 0 {
		return
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		add("%s: %q cannot be the name of a namespace: %s", collector, name, problems[0])
	}
}

func (add report) selector(collector, selector string) {
	if len(varsIn(selector)) > 0 {
		return
	}
	if _, err := labels.Parse(selector); err != nil {
		add("%s: the selector %q cannot be read: %v", collector, selector, err)
	}
}

func (add report) every(collector string, every Duration) {
	if every != 0 && time.Duration(every) < minEvery {
		add("%s: every is %s; looking more often than every %s would load the sandbox", collector, every, minEvery)
	}
}
