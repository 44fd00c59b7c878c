package main

import (
	"encoding/json"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the direction data flows in: for each top-level package, the
// others it may import. `store` uses types of labs and content only.
var mayImport = map[string][]string{
	"web":     {"labs", "content", "sandbox", "store"},
	"labs":    {"sandbox"},
	"store":   {"labs", "content"},
	"sandbox": {},
	"content": {"sandbox"}, // content/prove runs what articles say
}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		from := topLevel(pkg.ImportPath)
		if from == "" {
			continue // package main wires everything
		}
		seen[from] = true
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("%s: the top level is fixed; put it below one of %v", pkg.ImportPath, slices.Sorted(maps.Keys(mayImport)))
		}
		for _, imported := range pkg.Imports {
			to := topLevel(imported)
			if to != "" && to != from && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: %s may import only %v of ours", pkg.ImportPath, imported, from, allowed)
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("no package below %s: has the layout changed?", name)
		}
	}
}

// topLevel is the first folder below the module, or "" for other modules and package main.
func topLevel(importPath string) string {
	rest, ours := strings.CutPrefix(importPath, "drydock/")
	if !ours {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}
