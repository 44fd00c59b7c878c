package labs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"drydock/labs/grade"
)

// tells says which checks tell the learner an answer that is to be found and
// typed: why they do not hold stands on the page from the beginning. Of choices
// the right one is on the page anyhow, among the others.
func (p *prover) tells(seen *tally, v Variant) []string {
	var problems []string
	checks := slices.Clone(p.lab.Guards)
	for _, t := range p.lab.Tasks {
		checks = append(checks, t.Checks...)
	}
	for _, t := range p.lab.Tasks {
		if t.Ask == nil || len(t.Ask.Choices) > 0 {
			continue
		}
		for _, accept := range acceptedBy(t.Ask) {
			re := anywhere(accept, v)
			for _, c := range checks {
				if r := seen.result(c.ID); re != nil && r.Verdict == grade.Fail && re.MatchString(r.Reason) {
					problems = append(problems, fmt.Sprintf("the check %s tells the answer to the question %s: “%s”; say it in other words under else", c.ID, t.ID, r.Reason))
				}
			}
		}
	}
	return problems
}

// acceptedBy are the answers that a question accepts, as they are written.
func acceptedBy(ask *grade.Ask) []string {
	accepted := slices.Concat(ask.Accept, ask.All)
	if ask.Number != nil {
		accepted = append(accepted, string(ask.Number.Is))
	}
	return accepted
}

// anywhere finds an accepted answer within text, as a word of its own: the answer 3
// is not in 30. It is nil for one that is no regular expression after all.
func anywhere(accept string, v Variant) *regexp.Regexp {
	source, isPattern := strings.CutPrefix(strings.TrimSpace(accept), "/")
	if isPattern && strings.HasSuffix(source, "/") {
		for name, value := range v.Vars {
			source = strings.ReplaceAll(source, "${vars."+name+"}", regexp.QuoteMeta(value))
		}
		source = strings.TrimSuffix(source, "/")
	} else {
		source = regexp.QuoteMeta(strings.TrimSpace(v.fill(accept)))
	}
	if whole, err := regexp.Compile("(?is)^(?:" + source + ")$"); err != nil || whole.MatchString("") {
		return nil
	}
	return regexp.MustCompile(`(?is)(?:^|\W)(?:` + source + `)(?:\W|$)`)
}
