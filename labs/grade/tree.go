package grade

import (
	"fmt"
	"strings"
)

// composition is how the parts of a node make it up.
type composition string

const (
	single composition = ""
	allOfs composition = "all"
	anyOfs composition = "any"
	notOne composition = "not"
)

// node is a check or a part of one: a condition, or parts of its own.
type node struct {
	made      composition
	condition int // of the set, with single
	parts     []node
	otherwise *template // nil without Else; a condition has its own
}

const (
	// maxDepth and maxParts bound a check made of parts: one that says more
	// than this at once can't be explained to a learner either.
	maxDepth = 4
	maxParts = 16
)

// each calls see with the node and all below it, in order.
func (n *node) each(see func(*node)) {
	see(n)
	for i := range n.parts {
		n.parts[i].each(see)
	}
}

// conditions returns those that the node is made of, in order.
func (n *node) conditions() []int {
	var all []int
	n.each(func(n *node) {
		if n.made == single {
			all = append(all, n.condition)
		}
	})
	return all
}

// tree compiles a check and its parts. Evidence of what it looks at is kept under path.
func (c *compiler) tree(check *Check, path string, depth int) node {
	made, parts := composed(check)
	switch {
	case len(made) == 0:
		return node{condition: c.leaf(check, path)}
	case len(made) > 1 || len(check.collectors()) > 0:
		c.add("a check is either one of %s, or made of parts by one of all, any and not", listWords(CollectorNames(), "and"))
		return c.broken(path)
	case check.That != "":
		c.add("that belongs to the parts of %s, each of which has its own", made[0])
	case len(parts) == 0 || len(parts) > maxParts:
		c.add("%s has %d parts; it can have 1 to %d", made[0], len(parts), maxParts)
	case depth == maxDepth:
		c.add("the parts of parts go deeper than %d", maxDepth)
		return c.broken(path)
	case made[0] == notOne && check.Else == "":
		c.add("not needs an else that says what must not be so")
	}
	out := node{made: made[0], otherwise: c.elseOf(check)}
	for i := range parts {
		if excess := notOfParts(&parts[i]); len(excess) > 0 {
			c.add("%s: only a whole check can have that, not a part of one", listWords(excess, "and"))
		}
		out.parts = append(out.parts, c.tree(&parts[i], fmt.Sprintf("%s/%d", path, i), depth+1))
	}
	return out
}

// OfCheck reports whether evidence is that of a check or of a part of it.
// path is [Evidence.Check].
func OfCheck(path, check string) bool {
	return path == check || strings.HasPrefix(path, check+"/")
}

// broken stands for a check that could not be compiled.
func (c *compiler) broken(path string) node {
	c.conditions = append(c.conditions, &condition{path: path})
	return node{condition: len(c.conditions) - 1}
}

// Looks returns the parts of the check that look at something, in order: the
// check itself unless it is made of parts.
func (c Check) Looks() []Check {
	made, parts := composed(&c)
	if len(made) == 0 {
		return []Check{c}
	}
	var all []Check
	for _, p := range parts {
		all = append(all, p.Looks()...)
	}
	return all
}

// composed returns the ways in which a check is made of parts, and the parts of the last.
func composed(check *Check) (made []composition, parts []Check) {
	if check.All != nil {
		made, parts = append(made, allOfs), check.All
	}
	if check.Any != nil {
		made, parts = append(made, anyOfs), check.Any
	}
	if check.Not != nil {
		made, parts = append(made, notOne), []Check{*check.Not}
	}
	return made, parts
}

// notOfParts names the fields of a part that only a whole check can have.
func notOfParts(part *Check) []string {
	var names []string
	for name, there := range map[string]bool{
		"id": part.ID != "", "hold": part.Hold != 0, "after": part.After != "", "once": part.Once, "points": part.Points != 0,
	} {
		if there {
			names = append(names, name)
		}
	}
	return sorted(names)
}

// elseOf compiles the Else of a check that is made of parts. It can speak of vars only.
func (c *compiler) elseOf(check *Check) *template {
	if check.Else == "" {
		return nil
	}
	lang, err := c.language(nothing)
	if err != nil {
		c.add("%v", err)
		return nil
	}
	out, problems := lang.compileTemplate(check.Else)
	for _, p := range problems {
		c.add("else: %s", p)
	}
	return out
}

// linkAfter resolves the ids that checks come after.
func (c *compiler) linkAfter(checks []*compiled) {
	byID := map[string]int{}
	ids := make([]string, len(checks))
	for i, check := range checks {
		byID[check.ID], ids[i] = i, check.ID
	}
	for i, check := range checks {
		if check.After == "" {
			continue
		}
		c.check = &check.Check
		before, known := byID[check.After]
		switch {
		case !known:
			c.add("after: there is no check %q%s", check.After, didYouMean(check.After, ids))
		case before == i:
			c.add("after: a check can't come after itself")
		default:
			check.after = before
		}
	}
	for i, check := range checks {
		c.check = &check.Check
		for at, steps := checks[i].after, 0; at >= 0; at, steps = checks[at].after, steps+1 {
			if at == i || steps > len(checks) {
				c.add("after: these checks wait for each other")
				break
			}
		}
	}
}

// judge is what the node means, given what each condition means by itself. A
// verdict of "" says that it takes more looks to tell.
func (n *node) judge(of func(condition int) judgement, vars map[string]string) judgement {
	if n.made == single {
		return of(n.condition)
	}
	parts := make([]judgement, len(n.parts))
	for i := range n.parts {
		parts[i] = n.parts[i].judge(of, vars)
	}
	var out judgement
	switch n.made {
	case allOfs:
		out = decide(parts, Fail, Pass, "; ")
	case anyOfs:
		out = decide(parts, Pass, Fail, "; or ")
	case notOne:
		out = negate(parts[0])
	}
	if out.verdict == Fail && n.otherwise != nil {
		out.reason = shorten(n.otherwise.fill(variables{varsName: vars, baselineName: nil}), maxReason)
	}
	return out
}

// decide is what parts mean together in three-valued logic (Kleene's): one part
// with the deciding verdict decides; all must have the other for that to hold.
// What could not be looked at leaves open what it could have decided.
func decide(parts []judgement, deciding, other Verdict, between string) judgement {
	byVerdict := map[Verdict][]string{}
	for _, p := range parts {
		byVerdict[p.verdict] = append(byVerdict[p.verdict], p.reason)
	}
	for _, verdict := range []Verdict{deciding, "", Error} {
		if reasons, any := byVerdict[verdict]; any {
			return judgement{verdict, together(reasons, between)}
		}
	}
	return judgement{other, together(byVerdict[other], between)}
}

func negate(part judgement) judgement {
	switch part.verdict {
	case Pass:
		return judgement{verdict: Fail}
	case Fail:
		return judgement{verdict: Pass}
	}
	return part
}

// together joins the reasons of several parts.
func together(reasons []string, between string) string {
	var said []string
	for _, reason := range reasons {
		if reason != "" && len(said) < maxAlternatives {
			said = append(said, reason)
		}
	}
	return shorten(strings.Join(said, between), maxReason)
}
