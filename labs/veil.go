package labs

import (
	"regexp"
	"slices"
	"strings"

	"drydock/labs/grade"
)

// veil stands where an accepted answer stood.
const veil = "•••"

// wordEdge tells whether a word begins or ends there.
var wordEdge = regexp.MustCompile(`\w`)

// Veil hides, in what a learner is shown of an attempt that is not over, the
// answers that questions accept and the learner has not given yet. Evidence is
// what the system looked like, and the answer may well stand in it.
func (l *Lab) Veil(p Progress) func(text string) string {
	v, _ := l.variant(p.Variant)
	var hidden []*regexp.Regexp
	for i, t := range l.Tasks {
		if t.Ask == nil || i < len(p.Tasks) && p.Tasks[i].Done {
			continue
		}
		accepted := slices.Concat(t.Ask.Accept, t.Ask.All)
		if t.Ask.Number != nil {
			accepted = append(accepted, string(t.Ask.Number.Is))
		}
		for _, accept := range accepted {
			if re := acceptedAnywhere(accept, v); re != nil {
				hidden = append(hidden, re)
			}
		}
	}
	return func(text string) string {
		for _, re := range hidden {
			text = re.ReplaceAllString(text, veil)
		}
		return text
	}
}

// acceptedAnywhere finds an accepted answer within text; nil for one that is no regular expression after all.
func acceptedAnywhere(accept string, v Variant) *regexp.Regexp {
	accept = strings.TrimSpace(accept)
	if source, ok := strings.CutPrefix(accept, "/"); ok && strings.HasSuffix(source, "/") {
		for name, value := range v.Vars {
			source = strings.ReplaceAll(source, "${vars."+name+"}", regexp.QuoteMeta(value))
		}
		re, err := regexp.Compile("(?is)" + strings.TrimSuffix(source, "/"))
		if err != nil || re.MatchString("") {
			return nil
		}
		return re
	}
	text := strings.TrimSpace(v.fill(accept))
	if text == "" {
		return nil
	}
	source := regexp.QuoteMeta(text)
	if wordEdge.MatchString(text[:1]) { // the answer 3 is not in 30
		source = `\b` + source
	}
	if wordEdge.MatchString(text[len(text)-1:]) {
		source += `\b`
	}
	return regexp.MustCompile("(?i)" + source)
}

// ShowsMore reports whether a check's evidence shows more than its learner
// could see: what a command has printed or a file holds that was not looked at
// as the learner, or what their program should have printed.
func (l *Lab) ShowsMore(check string) bool {
	for _, c := range l.Checks() {
		if c.ID == check {
			return slices.ContainsFunc(c.Looks(), func(part grade.Check) bool {
				return part.Exec != nil && part.Exec.On != "terminal" || part.File != nil && part.File.On != "terminal" || part.Bench != nil
			})
		}
	}
	return true
}
