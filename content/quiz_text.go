package content

import (
	"html"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
)

// quizText reads what is accepted as an answer, and adds it to reveal.
func (r *reader) quizText(q *Quiz, reveal *elementNode, p ast.Node) {
	line := r.line(p.FirstChild()) // the question may stand above it in the same paragraph
	var accepted []string
	var next ast.Node
	for n := p.FirstChild(); n != nil; n = next {
		if next = n.NextSibling(); n.Kind() != ast.KindCodeSpan {
			continue
		}
		answer := words(r.plain(n))
		switch {
		case answer == "" || utf8.RuneCountInString(answer) > AnswerLength:
			r.add(line, "an answer to type has from 1 to %d characters", AnswerLength)
		case containsFold(accepted, answer):
			r.add(line, "%q is accepted twice: case and spaces around it do not matter", answer)
		}
		accepted = append(accepted, answer)
		p.RemoveChild(p, n)
	}
	if len(accepted) == 0 {
		r.add(line, "put each answer that is accepted into code: Answer: `first`, `second`")
	}
	if rest := strings.Trim(strings.TrimPrefix(r.plain(p), typedAnswer), " ,"); rest != "" {
		r.add(line, "only answers in code with commas between them stand here, not %q: explain them in the paragraph below", rest)
	}
	var b strings.Builder
	for i, answer := range accepted {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString("<code>" + html.EscapeString(answer) + "</code>")
	}
	reveal.open += `<p class="quiz-verdict">The answer is ` + b.String() + ".</p>\n"
}

func containsFold(all []string, one string) bool {
	for _, s := range all {
		if strings.EqualFold(s, one) {
			return true
		}
	}
	return false
}
