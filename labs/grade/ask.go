package grade

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxAnswer bounds an answer, in bytes: more is no answer to a question, and
// a regular expression is run over it.
const maxAnswer = 4 << 10

// Right reports whether the answer is one of those accepted. It is false for
// an answer longer than 4 KiB.
func (a *Ask) Right(answer string, vars map[string]string) bool {
	answer = strings.TrimSpace(answer)
	if answer == "" || len(answer) > maxAnswer {
		return false
	}
	return slices.ContainsFunc(a.Accept, func(accept string) bool {
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
	})
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
	add := func(format string, args ...any) {
		problems = append(problems, Problem{Line: a.Line, Msg: fmt.Sprintf(format, args...)})
	}
	if strings.TrimSpace(a.Text) == "" {
		add("the question has no text")
	}
	if len(a.Accept) == 0 {
		add("the question accepts no answer: list at least one under accept")
	}
	for _, accept := range a.Accept {
		a.checkAccepted(accept, add)
	}
	if len(a.Choices) == 1 {
		add("a question with choices needs at least two")
	}
	for i, choice := range a.Choices {
		if slices.ContainsFunc(a.Choices[:i], func(c string) bool { return strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(choice)) }) {
			add("the choice %q is there twice", choice)
		}
	}
	return problems
}

func (a *Ask) checkAccepted(accept string, add func(string, ...any)) {
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
	case len(a.Choices) > 0 && len(varsIn(accept)) == 0 && !slices.ContainsFunc(a.Choices, func(c string) bool {
		return strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(accept))
	}):
		add("the accepted answer %q is none of the choices%s", accept, didYouMean(accept, a.Choices))
	}
}

// Vars returns the names of the variant's vars that the question mentions, sorted.
func (a *Ask) Vars() []string { return sorted(varsIn(a.Accept...)) }

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
