package grade

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxAnswer bounds an answer, in bytes: more is no answer to a question, and
	// a regular expression is run over it.
	maxAnswer = 4 << 10
	// maxNamed bounds how many things one answer names together, and may.
	maxNamed = 32
)

// Right reports whether the answer is right in the variant with these vars.
// Of several things, each stands on a line of its own; where the learner types
// them, a comma will do. It is false for an answer longer than 4 KiB.
func (a *Ask) Right(answer string, vars map[string]string) bool {
	answer = strings.TrimSpace(answer)
	switch {
	case answer == "" || len(answer) > maxAnswer:
		return false
	case a.Number != nil:
		return a.Number.near(answer, vars)
	case len(a.All) > 0:
		return a.namesAll(answer, vars)
	}
	return slices.ContainsFunc(a.Accept, func(accept string) bool { return accepts(accept, answer, vars) })
}

// accepts compares an answer with one accepted text.
func accepts(accept, answer string, vars map[string]string) bool {
	if source, ok := asRegexp(accept); ok {
		source, err := expand(source, vars, regexp.QuoteMeta)
		if err != nil {
			return false
		}
		re, err := wholeAnswer(source)
		return err == nil && re.MatchString(answer)
	}
	accept, err := expand(accept, vars, asIs)
	return err == nil && strings.EqualFold(strings.TrimSpace(accept), answer)
}

// namesAll reports whether each wanted thing is named, and each named thing
// wanted. What is named twice counts once.
func (a *Ask) namesAll(answer string, vars map[string]string) bool {
	named := a.parts(answer)
	if len(named) > maxNamed {
		return false
	}
	return !slices.ContainsFunc(a.All, func(wanted string) bool {
		return !slices.ContainsFunc(named, func(name string) bool { return accepts(wanted, name, vars) })
	}) && !slices.ContainsFunc(named, func(name string) bool {
		return !slices.ContainsFunc(a.All, func(wanted string) bool { return accepts(wanted, name, vars) })
	})
}

// parts splits an answer that names several things. A choice may have commas in it.
func (a *Ask) parts(answer string) []string {
	var parts []string
	for part := range strings.FieldsFuncSeq(answer, func(r rune) bool { return r == '\n' || r == ',' && len(a.Choices) == 0 }) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// near reports whether the answer is a number that is near enough.
func (n *Number) near(answer string, vars map[string]string) bool {
	is, within, err := n.values(vars)
	if err != nil {
		return false
	}
	if unit := strings.TrimSpace(n.Unit); unit != "" {
		answer = strings.TrimSpace(strings.TrimSuffix(answer, unit))
	}
	given, err := number(answer)
	return err == nil && math.Abs(given-is) <= within+math.Abs(is)*rounding
}

// rounding lets a number that decimal fractions can't write down stand for
// itself: 0.1+0.2 is 0.3.
const rounding = 1e-12

// values are the right number and the tolerance around it.
func (n *Number) values(vars map[string]string) (is, within float64, err error) {
	text, err := expand(string(n.Is), vars, asIs)
	if err != nil {
		return 0, 0, err
	}
	if is, err = number(text); err != nil {
		return 0, 0, fmt.Errorf("is: %q is no number", text)
	}
	if n.Within == "" {
		return is, 0, nil
	}
	if text, err = expand(string(n.Within), vars, asIs); err != nil {
		return 0, 0, err
	}
	share, relative := strings.CutSuffix(strings.TrimSpace(text), "%")
	if within, err = number(share); err != nil || within < 0 {
		return 0, 0, fmt.Errorf("within: %q is neither a number such as 0.5 nor a share such as 5%%", text)
	}
	if relative {
		within *= math.Abs(is) / 100
	}
	return is, within, nil
}

// number reads a finite decimal number. A decimal comma will do.
func number(text string) (float64, error) {
	text = strings.TrimSpace(text)
	if strings.Count(text, ",") == 1 && !strings.Contains(text, ".") {
		text = strings.Replace(text, ",", ".", 1)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(n) || math.IsInf(n, 0)) {
		err = strconv.ErrRange
	}
	return n, err
}

// ChoicesIn returns the choices as a learner with the variant's vars sees them.
func (a *Ask) ChoicesIn(vars map[string]string) []string {
	choices := make([]string, len(a.Choices))
	for i, choice := range a.Choices {
		choices[i] = choice
		if text, err := expand(choice, vars, asIs); err == nil {
			choices[i] = text
		}
	}
	return choices
}

// Several reports whether an answer names several things.
func (a *Ask) Several() bool { return len(a.All) > 0 }

// Samples are answers that must be right in the variant with these vars: those
// that are no regular expressions. There may be none.
func (a *Ask) Samples(vars map[string]string) []string {
	var samples []string
	add := func(texts ...string) {
		for i, text := range texts {
			filled, err := expand(text, vars, asIs)
			if _, pattern := asRegexp(text); pattern || err != nil {
				return
			}
			texts[i] = filled
		}
		samples = append(samples, strings.Join(texts, "\n"))
	}
	switch {
	case a.Number != nil:
		add(string(a.Number.Is))
	case len(a.All) > 0:
		add(slices.Clone(a.All)...)
	default:
		for _, accept := range a.Accept {
			add(accept)
		}
	}
	return samples
}

// asRegexp returns what stands between the slashes.
func asRegexp(accept string) (string, bool) {
	accept = strings.TrimSpace(accept)
	if len(accept) < 2 || accept[0] != '/' || accept[len(accept)-1] != '/' {
		return "", false
	}
	return accept[1 : len(accept)-1], true
}

func wholeAnswer(source string) (*regexp.Regexp, error) {
	return regexp.Compile(`(?is)\A(?:` + source + `)\z`)
}

// Problems returns everything wrong with the question.
func (a *Ask) Problems() []Problem {
	var problems []Problem
	var add report = func(format string, args ...any) {
		problems = append(problems, Problem{Line: a.Line, Msg: fmt.Sprintf(format, args...)})
	}
	if strings.TrimSpace(a.Text) == "" {
		add("the question has no text")
	}
	a.checkRight(add)
	for _, accept := range slices.Concat(a.Accept, a.All) {
		a.checkAccepted(accept, add)
	}
	if len(a.Choices) == 1 {
		add("a question with choices needs at least two")
	}
	for i, choice := range a.Choices {
		if slices.ContainsFunc(a.Choices[:i], func(c string) bool { return strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(choice)) }) {
			add("the choice %q is there twice", choice)
		}
		if strings.Contains(choice, "\n") {
			add("the choice %q has more than one line", choice)
		}
	}
	return problems
}

// checkRight checks that there is one way of saying what is right.
func (a *Ask) checkRight(add report) {
	ways := 0
	for _, there := range []bool{len(a.Accept) > 0, len(a.All) > 0, a.Number != nil} {
		if there {
			ways++
		}
	}
	switch {
	case ways == 0:
		add("the question accepts no answer: list at least one under accept, name what belongs together under all, or give a number")
	case ways > 1:
		add("the question has more than one of accept, all and number")
	case a.Number != nil:
		a.Number.check(len(a.Choices) > 0, add)
	case len(a.All) == 1 || len(a.All) > maxNamed:
		add("all names %d things; it is for 2 to %d that belong together", len(a.All), maxNamed)
	}
}

func (n *Number) check(choices bool, add report) {
	if choices {
		add("a number is typed; it has no choices")
	}
	digits := func(text string) string { return varPattern.ReplaceAllString(text, "1") }
	if _, _, err := (&Number{Is: Figure(digits(string(n.Is))), Within: Figure(digits(string(n.Within)))}).values(nil); err != nil {
		add("number: %v", err)
	}
}

func (a *Ask) checkAccepted(accept string, add report) {
	source, isRegexp := asRegexp(accept)
	switch {
	case strings.TrimSpace(accept) == "":
		add("an accepted answer is empty")
	case isRegexp:
		re, err := wholeAnswer(varPattern.ReplaceAllString(source, "x"))
		if err != nil {
			add("the accepted answer %s is not a regular expression: %v", accept, err)
		} else if re.MatchString("") {
			add("the accepted answer %s takes an empty answer, too", accept)
		}
	case len(a.All) > 0 && len(a.Choices) == 0 && strings.Contains(accept, ","):
		add("the accepted answer %q has a comma, which stands between the things that a learner names", accept)
	case len(a.Choices) > 0 && len(varsIn(accept)) == 0 && !slices.ContainsFunc(a.Choices, func(c string) bool {
		return strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(accept))
	}):
		add("the accepted answer %q is none of the choices%s", accept, didYouMean(accept, a.Choices))
	}
}

// Vars returns the names of the variant's vars that the question mentions, sorted.
func (a *Ask) Vars() []string {
	texts := slices.Concat(a.Accept, a.All, a.Choices)
	if a.Number != nil {
		texts = append(texts, string(a.Number.Is), string(a.Number.Within))
	}
	return sorted(varsIn(texts...))
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
