package convert

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var plusTitle = regexp.MustCompile(`(?m)^\s*title\s*=\s*["'](.*)["']\s*$`)

// splitFront parts the front matter of a page from its text: YAML between
// lines of three dashes, or TOML between three plus signs, of which only the
// title is read. The text begins on the line that is returned.
func splitFront(file, src string) (front *yaml.Node, text string, line int, note *Note) {
	src = strings.ReplaceAll(strings.TrimPrefix(src, "\ufeff"), "\r\n", "\n")
	lines := strings.Split(src, "\n")
	mark := strings.TrimSpace(lines[0])
	if mark != "---" && mark != "+++" {
		return nil, src, 1, nil
	}
	for i := 1; i < len(lines); i++ {
		if strings.TrimRight(lines[i], " ") != mark {
			continue
		}
		matter, text := strings.Join(lines[1:i], "\n"), strings.Join(lines[i+1:], "\n")
		if mark == "+++" {
			front = &yaml.Node{Kind: yaml.MappingNode, Line: 1}
			if m := plusTitle.FindStringSubmatch(matter); m != nil {
				put(front, "title", str(m[1]))
			}
			return front, text, i + 2, nil
		}
		if front, note = parseYAML(file, []byte("\n"+matter)); note != nil { // the empty line stands for the dashes
			return nil, text, i + 2, note
		}
		return front, text, i + 2, nil
	}
	return nil, src, 1, &Note{File: file, Line: 1, Text: "its front matter is never closed: a line of " + mark + " is missing"}
}

// texts are the members of a list of text; one text is a list of it.
func (o *object) texts(name string) []string {
	if n := o.get(name); n != nil && n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	var all []string
	for _, n := range o.items(name) {
		if n.Kind == yaml.ScalarNode {
			all = append(all, n.Value)
		}
	}
	return all
}
