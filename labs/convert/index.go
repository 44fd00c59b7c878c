package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds how deeply a description nests: real ones have five levels.
const maxDepth = 50

// parseDescription reads JSON or YAML into nodes that know their lines. The
// error is in words, with the line.
func parseDescription(name string, src []byte) (*yaml.Node, *Note) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if strings.HasSuffix(name, ".json") {
		return parseJSON(name, src)
	}
	return parseYAML(name, src)
}

var yamlErrorLine = regexp.MustCompile(`line (\d+): `)

func parseYAML(name string, src []byte) (*yaml.Node, *Note) {
	var document yaml.Node
	if err := yaml.Unmarshal(src, &document); err != nil {
		note := &Note{File: name, Line: 1, Text: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
		if m := yamlErrorLine.FindStringSubmatch(note.Text); m != nil {
			if line, err := strconv.Atoi(m[1]); err == nil {
				note.Line, note.Text = max(line, 1), strings.Replace(note.Text, m[0], "", 1)
			}
		}
		return nil, note
	}
	if len(document.Content) != 1 {
		return nil, &Note{File: name, Line: 1, Text: "the file is empty"}
	}
	return document.Content[0], nil
}

// parseJSON makes YAML's nodes of JSON: YAML's own parser refuses the tabs that
// many files are indented with.
func parseJSON(name string, src []byte) (*yaml.Node, *Note) {
	p := &jsonParser{decoder: json.NewDecoder(bytes.NewReader(src)), src: src}
	p.decoder.UseNumber()
	root, err := p.value(0)
	if err == nil {
		if _, more := p.decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows behind the end of the JSON")
		}
	}
	if err == nil {
		return root, nil
	}
	offset := p.decoder.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err, offset = errors.New("it ends too early"), int64(len(src))
	}
	return nil, &Note{File: name, Line: lineAt(src, offset), Text: "not JSON: " + err.Error()}
}

type jsonParser struct {
	decoder *json.Decoder
	src     []byte
	offset  int64 // up to where lines were counted
	lines   int
}

// line is the line that the decoder has come to.
func (p *jsonParser) line() int {
	at := min(p.decoder.InputOffset(), int64(len(p.src)))
	p.lines += bytes.Count(p.src[p.offset:at], []byte("\n"))
	p.offset = at
	return p.lines + 1
}

// value reads the next value.
func (p *jsonParser) value(depth int) (*yaml.Node, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line()}
	switch t := token.(type) {
	case json.Delim:
		if depth > maxDepth {
			return nil, fmt.Errorf("it is nested more than %d levels deep", maxDepth)
		}
		node.Kind = yaml.SequenceNode
		if t == '{' {
			node.Kind = yaml.MappingNode
		}
		return node, p.content(node, depth)
	case string:
		node.Tag, node.Value = "!!str", t
	case json.Number:
		node.Tag, node.Value = "!!int", t.String()
	case bool:
		node.Tag, node.Value = "!!bool", strconv.FormatBool(t)
	default:
		node.Tag = "!!null"
	}
	return node, nil
}

// content reads what is between the brackets, and the closing one.
func (p *jsonParser) content(node *yaml.Node, depth int) error {
	for p.decoder.More() {
		child, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		node.Content = append(node.Content, child)
		if node.Kind == yaml.SequenceNode {
			continue
		}
		if child, err = p.value(depth + 1); err != nil {
			return err
		}
		node.Content = append(node.Content, child)
	}
	_, err := p.decoder.Token()
	return err
}

func lineAt(src []byte, offset int64) int {
	return bytes.Count(src[:min(max(offset, 0), int64(len(src)))], []byte("\n")) + 1
}

// object reads the fields of a mapping by name and remembers which of them
// were asked for: the others are told in the report as left out.
type object struct {
	file   string
	path   string // of the object, such as details.steps[0]
	node   *yaml.Node
	fields map[string]*yaml.Node
	lines  map[string]int
	asked  map[string]bool
	notes  *[]Note // of what is wrong
}

// newObject reads node, which may be nil: such an object has no fields.
func newObject(file, path string, node *yaml.Node, notes *[]Note) *object {
	o := &object{file: file, path: path, node: node, notes: notes,
		fields: map[string]*yaml.Node{}, lines: map[string]int{}, asked: map[string]bool{}}
	if node == nil || node.Tag == "!!null" {
		return o
	}
	if node.Kind != yaml.MappingNode {
		o.wrong(node.Line, "must be an object with fields, not %s", kindOf(node))
		return o
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		o.fields[node.Content[i].Value], o.lines[node.Content[i].Value] = node.Content[i+1], node.Content[i].Line
	}
	return o
}

func (o *object) wrong(line int, format string, args ...any) {
	name := o.path
	if name == "" {
		name = "the file"
	}
	*o.notes = append(*o.notes, Note{File: o.file, Line: line, Text: name + " " + fmt.Sprintf(format, args...)})
}

func (o *object) join(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

func (o *object) has(name string) bool { return o.fields[name] != nil }

// get returns a field, nil when it is not there or empty.
func (o *object) get(name string) *yaml.Node {
	o.asked[name] = true
	if n := o.fields[name]; n != nil && n.Tag != "!!null" && n.Kind != yaml.AliasNode {
		return n
	}
	return nil
}

// line is where the field, or else the object, stands.
func (o *object) line(name string) int {
	if n := o.lines[name]; n > 0 {
		return n
	}
	if o.node != nil {
		return o.node.Line
	}
	return 1
}

// text is a field of text; numbers and the like are taken as they are written.
func (o *object) text(names ...string) string {
	for _, name := range names {
		n := o.get(name)
		switch {
		case n == nil:
			continue
		case n.Kind != yaml.ScalarNode:
			*o.notes = append(*o.notes, Note{File: o.file, Line: n.Line, Text: fmt.Sprintf("%s must be text, not %s", o.join(name), kindOf(n))})
			continue
		case strings.TrimSpace(n.Value) != "":
			return strings.TrimSpace(n.Value)
		}
	}
	return ""
}

// object is a field that has fields itself.
func (o *object) object(name string) *object {
	return newObject(o.file, o.join(name), o.get(name), o.notes)
}

// list are the objects of a list.
func (o *object) list(name string) []*object {
	var all []*object
	for i, n := range o.items(name) {
		all = append(all, newObject(o.file, fmt.Sprintf("%s[%d]", o.join(name), i), n, o.notes))
	}
	return all
}

func (o *object) items(name string) []*yaml.Node {
	n := o.get(name)
	switch {
	case n == nil:
		return nil
	case n.Kind != yaml.SequenceNode:
		*o.notes = append(*o.notes, Note{File: o.file, Line: n.Line, Text: fmt.Sprintf("%s must be a list, not %s", o.join(name), kindOf(n))})
		return nil
	}
	return n.Content
}

// keys are the names of the fields, in the order of the file.
func (o *object) keys() []string {
	if o.node == nil || o.node.Kind != yaml.MappingNode {
		return nil
	}
	var names []string
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		names = append(names, o.node.Content[i].Value)
	}
	return names
}

// rest tells of the fields that nobody asked for. What is known to have no
// meaning for a lab is not worth a line.
func (o *object) rest(r *Report, meaningless ...string) {
	for _, name := range o.keys() {
		if !o.asked[name] && !slices.Contains(meaningless, name) {
			r.leaveOut(o.file, o.lines[name], "%s has no counterpart", o.join(name))
		}
	}
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "an object"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "text"
}
