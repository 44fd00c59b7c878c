package convert

import (
	"regexp"
	"slices"
	"strings"
)

// quiz makes a question of each of a quiz's.
func (l *hclLab) quiz(b *hclBlock, s *step) {
	for _, e := range b.list("questions") {
		q, err := b.folder.refers(e)
		if err != nil {
			l.report.limit(KindUngraded, b.file, b.at("questions"), "a question of %s %v", called(b), err)
			continue
		}
		ask := l.question(q)
		if ask == nil {
			continue
		}
		on := s
		if len(s.checks) > 0 || s.ask != nil {
			on = l.further(q, ask.text)
		}
		on.ask, on.hints = ask, append(on.hints, l.saidAll(q, "hints")...)
	}
}

// question reads a question; nil when there is nothing to grade. Choices are
// mixed there; here they are in the order of the alphabet, so that the right
// ones do not stand first.
func (l *hclLab) question(b *hclBlock) *question {
	q := &question{text: l.said(b, "question"), accept: l.saidAll(b, "answer")}
	switch b.kind {
	case "single_choice_question", "multiple_choice_question":
		q.choices = append(l.saidAll(b, "distractors"), q.accept...)
		slices.Sort(q.choices)
		q.choices = slices.Compact(q.choices)
		q.all = len(q.accept) > 1
	case "true_false_question":
		q.choices = []string{"true", "false"}
	case "text_answer_question", "numeric_answer_question":
		q.accept = literally(q.accept)
	default:
		l.report.limit(KindUngraded, b.file, b.line, "a question of the kind %s has no counterpart", b.kind)
		return nil
	}
	if q.text == "" || len(q.accept) == 0 || len(q.choices) > 0 && len(q.choices) <= len(q.accept) {
		l.report.limit(KindUngraded, b.file, b.line, "%s has no question, or no answer that is right beside one that is wrong", called(b))
		return nil
	}
	return q
}

// literally keeps answers between slashes, such as /etc/, from being taken for
// patterns; without the last one they are right, too.
func literally(answers []string) []string {
	var all []string
	for _, answer := range answers {
		if len(answer) > 1 && strings.HasPrefix(answer, "/") && strings.HasSuffix(answer, "/") {
			all = append(all, strings.TrimSuffix(answer, "/"), "/"+regexp.QuoteMeta(answer)+"/")
		} else {
			all = append(all, answer)
		}
	}
	return all
}
