package labs

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"drydock/labs/grade"
)

// positions maps the path of a value, such as tasks[0].points, to its line in lab.yaml.
type positions map[string]int

// around yields the path, and those of the values around it.
func around(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for yield(path) && path != "" {
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
	}
}

// of returns the line of the value at path, or of the nearest value around it.
func (p positions) of(path string) int {
	for at := range around(path) {
		if line, ok := p[at]; ok {
			return line
		}
	}
	return 1
}

// decoder fills structs from YAML nodes, strictly: it refuses what it doesn't
// know, notes every problem and goes on.
type decoder struct {
	file     string
	lines    positions
	reported map[string]bool // paths of what is wrong, or misspelt: nothing more is said of them
	problems []Problem
}

func (d *decoder) problem(line int, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Msg: fmt.Sprintf(format, args...)})
}

// wrong reports the value at a path.
func (d *decoder) wrong(path string, node *yaml.Node, format string, args ...any) {
	d.reported[path] = true
	d.problem(node.Line, "%s "+format, append([]any{name(path)}, args...)...)
}

var (
	hintType     = reflect.TypeFor[Hint]()
	durationType = reflect.TypeFor[grade.Duration]()
	figureType   = reflect.TypeFor[grade.Figure]()
)

// decode stores node in into, which is addressable; path says where it stands.
func (d *decoder) decode(node *yaml.Node, into reflect.Value, path string) {
	d.lines[path] = node.Line
	if node.Kind == yaml.AliasNode {
		d.wrong(path, node, "is an alias (*%s): write the value out", node.Value)
		return
	}
	if node.Tag == "!!null" {
		d.wrong(path, node, "is empty: give it a value or leave it out")
		return
	}
	switch {
	case into.Type() == durationType:
		d.text(node, into, path)
	case into.Type() == hintType && node.Kind == yaml.ScalarNode:
		d.decode(node, into.FieldByName("Text"), path+".text")
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(node, into.Elem(), path)
	case into.Kind() == reflect.Struct:
		d.mapping(node, into, path)
	case into.Kind() == reflect.Map:
		d.vars(node, into, path)
	case into.Kind() == reflect.Slice:
		d.list(node, into, path)
	default:
		d.scalar(node, into, path)
	}
}

// text decodes what reads itself from text, as durations do.
func (d *decoder) text(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.ScalarNode {
		d.wrong(path, node, "must be a duration such as 500ms, 10s or 2m, not %s", kindOf(node))
		return
	}
	if err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(node.Value)); err != nil {
		d.wrong(path, node, "can't be read: %v", err)
	}
}

func (d *decoder) scalar(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.ScalarNode {
		d.wrong(path, node, "must be %s, not %s", wanted(into), kindOf(node))
		return
	}
	switch into.Kind() {
	case reflect.Bool:
		if node.Tag != "!!bool" {
			d.wrong(path, node, "must be true or false, not %q", node.Value)
			return
		}
		into.SetBool(node.Value == "true")
	case reflect.String:
		switch {
		case into.Type() == figureType && (node.Tag == "!!int" || node.Tag == "!!float"):
		case node.Tag != "!!str":
			d.wrong(path, node, "must be text, and YAML reads %s as %s: put it in quotes", node.Value, kindOf(node))
		case strings.TrimSpace(node.Value) == "":
			d.wrong(path, node, "is empty: give it a value or leave it out")
		}
		into.SetString(node.Value)
	case reflect.Int:
		n, err := strconv.Atoi(node.Value)
		if err != nil || node.Tag != "!!int" {
			d.wrong(path, node, "must be a whole number, not %q", node.Value)
			return
		}
		into.SetInt(int64(n))
	default:
		panic("labs: no decoder for " + into.Type().String()) // a field of a new type was added to Lab
	}
}

func (d *decoder) list(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		d.wrong(path, node, "must be a list, not %s", kindOf(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		d.decode(item, into.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// vars decodes a map of text to text.
func (d *decoder) vars(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		d.wrong(path, node, "must be a mapping of names to text, not %s", kindOf(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for key, value := range d.pairs(node, path) {
		text := reflect.New(into.Type().Elem()).Elem()
		if value.Tag == "!!str" && value.Value == "" {
			d.lines[path+"."+key.Value] = value.Line // an empty value is a value here
		} else {
			d.decode(value, text, path+"."+key.Value)
		}
		into.SetMapIndex(reflect.ValueOf(key.Value), text)
	}
}

func (d *decoder) mapping(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		d.wrong(path, node, "must be a mapping of fields, not %s", kindOf(node))
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range into.NumField() {
		field := into.Type().Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case !field.IsExported() || tag == "":
		case tag != "-":
			fields[tag] = into.Field(i)
			names = append(names, tag)
		case field.Name == "Line":
			into.Field(i).SetInt(int64(node.Line))
		}
	}
	for key, value := range d.pairs(node, path) {
		field, known := fields[key.Value]
		if !known {
			d.problem(key.Line, "unknown field %q%s", key.Value, didYouMean(key.Value, names))
			if meant := nearest(key.Value, names); meant != "" {
				d.reported[join(path, meant)] = true
			}
			continue
		}
		d.decode(value, field, join(path, key.Value))
		d.lines[join(path, key.Value)] = key.Line
	}
}

// pairs yields the keys and values of a mapping, and notes keys that stand twice.
func (d *decoder) pairs(node *yaml.Node, path string) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		first := map[string]int{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				d.problem(key.Line, "a key of %s is not plain text", name(path))
				continue
			}
			if line, twice := first[key.Value]; twice {
				d.problem(key.Line, "%q stands here a second time; the first is on line %d", key.Value, line)
				continue
			}
			first[key.Value] = key.Line
			if !yield(key, value) {
				return
			}
		}
	}
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// name is how a path is called in a message.
func name(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func wanted(into reflect.Value) string {
	switch into.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}

// kindOf says in words what a node is.
func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch node.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}
