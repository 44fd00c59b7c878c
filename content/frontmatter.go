package content

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// field is one entry of a YAML mapping that an author fills in.
type field struct {
	required bool
	set      func(value string) error
	setAll   func(line int, values []string) error // instead of set, for a list
}

// readFields decodes a flat YAML mapping strictly: every entry must be one of
// the fields, once, and set without error. first is the line of the file that
// the YAML begins on.
func readFields(p *problems, first int, src []byte, fields map[string]field) {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		line, msg := yamlError(err)
		p.add(first+line-1, "%s", msg)
		return
	}
	if len(doc.Content) == 0 {
		doc.Content = []*yaml.Node{{Kind: yaml.MappingNode, Line: 1}}
	}
	readNode(p, first, doc.Content[0], fields)
}

// readNode decodes a mapping, as [readFields] describes.
func readNode(p *problems, first int, node *yaml.Node, fields map[string]field) {
	if node.Kind != yaml.MappingNode {
		p.add(first+node.Line-1, "expected lines of the form “name: value”")
		return
	}
	seen := map[string]bool{}
	readMapping(p, first, node.Content, fields, seen)
	for _, name := range names(fields) {
		if fields[name].required && !seen[name] {
			p.add(first+node.Line-1, "%s is missing", name)
		}
	}
}

// readMapping goes through the keys and values of a mapping.
func readMapping(p *problems, first int, content []*yaml.Node, fields map[string]field, seen map[string]bool) {
	for i := 0; i+1 < len(content); i += 2 {
		key, value := content[i], content[i+1]
		f, known := fields[key.Value]
		switch {
		case !known:
			p.add(first+key.Line-1, "unknown field %q: %s", key.Value, didYouMean(key.Value, names(fields)))
		case seen[key.Value]:
			p.add(first+key.Line-1, "%s is set twice", key.Value)
		case f.setAll != nil:
			readList(p, first, key.Value, value, f)
		case value.Kind != yaml.ScalarNode:
			p.add(first+value.Line-1, "%s must be one value", key.Value)
		default:
			if err := f.set(strings.TrimSpace(value.Value)); err != nil {
				p.add(first+value.Line-1, "%s: %v", key.Value, err)
			}
		}
		seen[key.Value] = true
	}
}

// readList decodes a list of plain values.
func readList(p *problems, first int, name string, node *yaml.Node, f field) {
	line := first + node.Line - 1
	values := make([]string, len(node.Content))
	for i, one := range node.Content {
		values[i] = strings.TrimSpace(one.Value)
		if one.Kind != yaml.ScalarNode || values[i] == "" {
			p.add(first+one.Line-1, "%s: each entry of the list must be one value", name)
			return
		}
	}
	if node.Kind != yaml.SequenceNode || len(values) == 0 {
		p.add(line, "%s must be a list, such as [one, two]", name)
		return
	}
	if err := f.setAll(line, values); err != nil {
		p.add(line, "%s: %v", name, err)
	}
}

// yamlError takes the line out of an error of the YAML library, whose text is
// "yaml: line 3: what is wrong".
func yamlError(err error) (line int, msg string) {
	msg = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if number, what, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				return line, what
			}
		}
	}
	return 1, msg
}

func names(fields map[string]field) (all []string) {
	for _, name := range []string{"title", "summary", "published", "order", "lab", "minutes", "after", "term", "also", "means", "article"} { // in the order they are missed
		if _, ok := fields[name]; ok {
			all = append(all, name)
		}
	}
	return all
}

func textField(to *string) field {
	return field{required: true, set: func(value string) error {
		if value == "" {
			return errors.New("must not be empty")
		}
		*to = value
		return nil
	}}
}

func slugField(to *string) field {
	return field{set: func(value string) error {
		if !validSlug(value) {
			return fmt.Errorf("%q is not a slug: use lower-case letters, digits and single dashes", value)
		}
		*to = value
		return nil
	}}
}

func textsField(to *[]string) field {
	return field{setAll: func(_ int, values []string) error {
		*to = values
		return nil
	}}
}

// slugsField also notes the line, for checks across files.
func slugsField(to *[]string, line *int) field {
	return field{setAll: func(at int, values []string) error {
		for _, value := range values {
			if !validSlug(value) {
				return fmt.Errorf("%q is not a slug: use lower-case letters, digits and single dashes", value)
			}
		}
		*to, *line = values, at
		return nil
	}}
}

func numberField(to *int, required bool) field {
	return field{required: required, set: func(value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a whole number from 1", value)
		}
		*to = n
		return nil
	}}
}

func dateField(to *time.Time) field {
	return field{required: true, set: func(value string) error {
		t, err := time.Parse(time.DateOnly, value)
		if err != nil {
			return fmt.Errorf("%q is not a date such as 2026-11-22", value)
		}
		*to = t
		return nil
	}}
}

// splitFrontMatter returns the YAML between the dashes, which begins on line
// 2, and the text with the front matter replaced by empty lines, so that the
// numbers of its lines are those of the file.
func splitFrontMatter(src []byte) (yaml, text []byte, ok bool) {
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(src, []byte("---\n"))
	if !ok {
		return nil, nil, false
	}
	end := bytes.Index(rest, []byte("\n---\n"))
	if end < 0 {
		return nil, nil, false
	}
	yaml = rest[:end+1]
	text = append(bytes.Repeat([]byte("\n"), bytes.Count(yaml, []byte("\n"))+2), rest[end+len("\n---\n"):]...)
	return yaml, text, true
}

// validSlug says whether the name can be part of an address.
func validSlug(name string) bool {
	if name == "" || strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") || strings.Contains(name, "--") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') })
}

// ValidSlug says whether the name can be an article's or a track's.
func ValidSlug(name string) bool { return validSlug(name) }
