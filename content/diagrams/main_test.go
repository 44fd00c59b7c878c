package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drydock/content"
)

func TestParse(t *testing.T) {
	s, err := parse([]byte("%% title: One pod \r\n%% desc: Two containers.\r\n\r\n%% a remark\r\nflowchart LR\r\n  a --> b:::good"))
	if err != nil {
		t.Fatal(err)
	}
	if s.title != "One pod" || s.desc != "Two containers." {
		t.Errorf("title %q, description %q", s.title, s.desc)
	}
	for _, class := range []string{"good", "bad", "accent", "muted"} {
		if !strings.Contains(s.text, "\nclassDef "+class+" fill:#") {
			t.Errorf("a flowchart has no class %s:\n%s", class, s.text)
		}
	}
	s, err = parse([]byte("%% title: T\n%% desc: D\nsequenceDiagram\n  A->>B: hello\n"))
	if err != nil || strings.Contains(s.text, "classDef") {
		t.Errorf("a sequence diagram knows no classes: %v\n%s", err, s.text)
	}
}

func TestParseRefuses(t *testing.T) {
	for source, says := range map[string]string{
		"flowchart LR\n a-->b":                                        "needs a title",
		"%% title: T\nflowchart LR\n a-->b":                           "needs a description",
		"%% title: T\n%% desc: D\n":                                   "is empty",
		"%% title: T\n%% desc: D\n%%{init: {}}%%\nflowchart LR":       "the same for all diagrams",
		"---\nconfig: {}\n---\n%% title: T\n%% desc: D\nflowchart LR": "the same for all diagrams",
	} {
		if _, err := parse([]byte(source)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want an error that says %q", source, err, says)
		}
	}
}

func TestFindKnowsWhatIsFresh(t *testing.T) {
	dir := t.TempDir()
	source := []byte("flowchart LR\n a-->b\n")
	for name, data := range map[string]string{
		"a/fresh.mmd": string(source), "a/fresh.svg": content.DiagramMark(source) + "\n<svg/>",
		"a/new.mmd":   string(source),
		"b/stale.mmd": string(source) + " b-->c\n", "b/stale.svg": content.DiagramMark(source) + "\n<svg/>",
		"b/hand.svg": "<svg/>",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := find([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	fresh := map[string]bool{}
	for _, d := range found {
		fresh[filepath.Base(d.target())] = d.fresh
	}
	if len(fresh) != 3 || !fresh["fresh.svg"] || fresh["new.svg"] || fresh["stale.svg"] {
		t.Errorf("found %v", fresh)
	}
	if _, err := find([]string{filepath.Join(dir, "nowhere")}); err == nil {
		t.Error("a folder that is not there has diagrams")
	}
}

func TestExtract(t *testing.T) {
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	files := tar.NewWriter(zipped)
	for name, text := range map[string]string{"package/package.json": "{}", "package/dist/x.js": "x"} {
		if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(t.TempDir(), "x.tgz")
	if err := errors.Join(files.Close(), zipped.Close(), os.WriteFile(archive, packed.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	if data, err := extract(archive, "package/dist/x.js"); err != nil || string(data) != "x" {
		t.Errorf("took out %q, %v", data, err)
	}
	if _, err := extract(archive, "package/dist/y.js"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("took out what is not in it: %v", err)
	}
}

// Every colour that the theme gives to Mermaid must have a name, and the
// script finds names by colour, so no two may be alike.
func TestColoursCanBeToldApart(t *testing.T) {
	names := map[string]string{}
	for _, c := range content.DiagramColours() {
		if other := names[c.Light]; other != "" {
			t.Errorf("%s and %s are both %s", c.Name, other, c.Light)
		}
		names[c.Light] = c.Name
	}
	for variable, value := range themeVariables() {
		if colour, ok := value.(string); ok && strings.HasPrefix(colour, "#") && names[colour] == "" {
			t.Errorf("%s is %s, which is none of the colours", variable, colour)
		}
	}
}
