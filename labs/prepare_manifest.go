package labs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// manifest is one object of a lab's setup.
type manifest struct {
	file   string // below the lab's folder
	line   int    // where the object begins
	object *unstructured.Unstructured
}

func (m manifest) String() string {
	name := m.object.GetName()
	if ns := m.object.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return m.object.GetKind() + " " + name
}

var varReference = regexp.MustCompile(`\$\{vars\.([^}]*)\}`)

// expand puts the variant's values in the place of ${vars.name}. A name that
// the variant lacks is left as it stands.
func expand(text string, vars map[string]string) string {
	return varReference.ReplaceAllStringFunc(text, func(reference string) string {
		if value, ok := vars[varReference.FindStringSubmatch(reference)[1]]; ok {
			return value
		}
		return reference
	})
}

// manifests reads the objects that an apply step names: a file, or all .yaml
// files of a folder in name order.
func (l *Lab) manifests(step Step, vars map[string]string) ([]manifest, []Problem) {
	name := path.Clean(step.Apply)
	files, err := readTree(l.FS, name)
	if err != nil {
		return nil, []Problem{l.stepProblem(step, "apply", err)}
	}
	var all []manifest
	var problems []Problem
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(file) != ".yaml" {
			problems = append(problems, Problem{File: l.path(file), Msg: "a manifest's name ends in .yaml"})
			continue
		}
		objects, wrong := parseManifests(file, l.path(file), expand(string(files[file]), vars))
		all, problems = append(all, objects...), append(problems, wrong...)
	}
	if len(all) == 0 && len(problems) == 0 {
		problems = append(problems, Problem{File: l.path(labFile), Line: step.Line, Msg: fmt.Sprintf("apply: %s holds no object", step.Apply)})
	}
	return all, problems
}

// path is a file of the lab as problems name it: below the folder of labs.
func (l *Lab) path(file string) string { return path.Join(l.Slug, file) }

func (l *Lab) stepProblem(step Step, field string, err error) Problem {
	name := step.Apply + step.Run
	p := Problem{File: l.path(labFile), Line: step.Line}
	if errors.Is(err, fs.ErrNotExist) {
		p.Msg = fmt.Sprintf("%s: there is no %s in the lab's folder", field, name)
	} else {
		p.Msg = fmt.Sprintf("%s: %s can't be read: %v", field, name, err)
	}
	return p
}

// parseManifests splits a file into its objects. shown is its name in problems.
func parseManifests(file, shown, source string) ([]manifest, []Problem) {
	var all []manifest
	var problems []Problem
	for decoder := yaml.NewDecoder(strings.NewReader(source)); ; {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return all, problems
		} else if err != nil { // the parser can't go on behind it
			return all, append(problems, *yamlProblem(shown, err))
		}
		if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
			continue // nothing but comments
		}
		root := document.Content[0]
		object, err := toObject(root)
		if err != nil {
			problems = append(problems, Problem{File: shown, Line: root.Line, Msg: err.Error()})
			continue
		}
		all = append(all, manifest{file: file, line: root.Line, object: object})
	}
}

func toObject(node *yaml.Node) (*unstructured.Unstructured, error) {
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("no Kubernetes object: it must be a mapping, not %s", kindOf(node))
	}
	var value map[string]any
	if err := node.Decode(&value); err != nil {
		return nil, fmt.Errorf("no Kubernetes object: %w", err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("no Kubernetes object: %w", err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(encoded); err != nil {
		return nil, errors.New("no Kubernetes object: kind is missing")
	}
	switch {
	case object.GetAPIVersion() == "":
		return nil, fmt.Errorf("the %s has no apiVersion", object.GetKind())
	case object.GetName() == "":
		return nil, fmt.Errorf("the %s has no metadata.name", object.GetKind())
	}
	return object, nil
}
