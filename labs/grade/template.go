package grade

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/common/types"
)

// template is text with ${CEL} parts, as Check.Else has it. `$${` stands for
// `${` itself.
type template struct {
	text  []string // one more than parts
	parts []*expression
}

// compileTemplate prepares text; its problems are in words for authors.
func (l *language) compileTemplate(text string) (*template, []string) {
	t := &template{}
	var problems []string
	literal := ""
	for {
		before, after, found := strings.Cut(text, "${")
		literal += before
		if !found {
			t.text = append(t.text, literal)
			return t, problems
		}
		if strings.HasSuffix(before, "$") {
			literal, text = literal[:len(literal)-1]+"${", after
			continue
		}
		end := closingBrace(after)
		if end < 0 {
			return nil, append(problems, fmt.Sprintf("${ without its } in %q", excerpt(text)))
		}
		part, bad := l.compile(after[:end])
		problems = append(problems, bad...)
		t.text, t.parts = append(t.text, literal), append(t.parts, part)
		literal, text = "", after[end+1:]
	}
}

// WithoutValues returns text with ${CEL} parts, as Check.Else has it, with a mark in
// the place of each: what is filled in there is not known, and how it is found
// is not for learners. Of a part without an end all is left out.
func WithoutValues(text, mark string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String()
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(literal + "${")
			text = after
			continue
		}
		b.WriteString(before + mark)
		end := closingBrace(after)
		if end < 0 {
			return b.String()
		}
		text = after[end+1:]
	}
}

// keysOf returns the names used as variable.name in any part; a nil template has none.
func (t *template) keysOf(variable string) []string {
	if t == nil {
		return nil
	}
	var keys []string
	for _, part := range t.parts {
		keys = append(keys, part.keysOf(variable)...)
	}
	return keys
}

// closingBrace returns the index of the } that ends the expression at the
// start of text, or -1. Braces in CEL's maps and strings do not count.
func closingBrace(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i
		case c == '}':
			depth--
		}
	}
	return -1
}

// maxSaid bounds text that a condition's author has chosen to show, in
// characters: what a script printed, for one, is some lines long.
const maxSaid = 500

// fill puts the values into the text. Strings stand as they are, without
// quotes; what is not there is "not set".
func (t *template) fill(v variables) string {
	var b strings.Builder
	for i, part := range t.parts {
		b.WriteString(t.text[i])
		out, _, err := part.prog.Eval(map[string]any(v))
		if s, ok := out.(types.String); ok && err == nil {
			b.WriteString(shorten(string(s), maxSaid))
		} else {
			b.WriteString(part.show(v))
		}
	}
	b.WriteString(t.text[len(t.parts)])
	return b.String()
}

// varPattern finds ${vars.name} in the collectors' fields and in accepted answers.
var varPattern = regexp.MustCompile(`\$\{vars\.([A-Za-z_][A-Za-z0-9_]*)\}`)

// varsIn returns the names of the vars that text mentions.
func varsIn(texts ...string) []string {
	var names []string
	for _, text := range texts {
		for _, m := range varPattern.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// expand replaces each ${vars.name} in text by quote of the variant's value.
func expand(text string, vars map[string]string, quote func(string) string) (string, error) {
	var missing []string
	out := varPattern.ReplaceAllStringFunc(text, func(match string) string {
		name := varPattern.FindStringSubmatch(match)[1]
		value, ok := vars[name]
		if !ok {
			missing = append(missing, name)
		}
		return quote(value)
	})
	if len(missing) > 0 {
		return "", errors.New("the variant has no var " + listWords(slices.Compact(missing), "and"))
	}
	return out, nil
}

func asIs(s string) string { return s }
