package labs

import (
	"slices"
	"testing"
	"testing/fstest"

	"drydock/labs/catalogue"
)

const draftLab = `apiVersion: drydock/v1
kind: Lab
title: A lab from elsewhere
summary: Make a namespace.
track: killercoda
level: beginner
minutes: 10
sandbox: {kind: cluster, access: cluster}
imported: {from: killercoda, source: make-a-namespace}
ready: [{id: node, watch: {kind: Node}, that: size(objects) == 1}]
tasks: [{id: step-1, title: Make it, points: 100, checks: [{id: verify-1, exec: {on: node, command: ["true"]}, that: result.code == 0}]}]
`

func TestLacking(t *testing.T) {
	script := &fstest.MapFile{Data: []byte("# caught-by: verify-1\ntrue\n")}
	files := fstest.MapFS{"draft/lab.yaml": {Data: []byte(draftLab)}}
	steps := []struct {
		add  string
		want []string
	}{
		{"draft/README.md", []string{"2 of 2 solutions", "a wrong fix"}},
		{"draft/solutions/draft.sh", []string{"1 of 2 solutions", "a wrong fix"}},
		{"draft/solutions/another-way.sh", []string{"a wrong fix"}},
		{"draft/wrong/half-of-it.sh", nil},
	}
	for _, step := range steps {
		files[step.add] = script
		lab, err := LoadLab(files, "draft")
		if err != nil {
			t.Fatal(err)
		}
		got, err := lab.Lacking()
		if err != nil || !slices.Equal(got, step.want) {
			t.Errorf("with %s it lacks %q, error %v; want %q", step.add, got, err, step.want)
		}
	}
}

func TestOwnLabsAreNoDrafts(t *testing.T) {
	all, err := LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range all.All() {
		if lab.Imported != nil {
			t.Errorf("%s is imported", lab.Slug)
		}
	}
}
