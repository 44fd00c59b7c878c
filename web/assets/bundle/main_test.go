package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const assetsDir = ".."

func TestBundlesAreFresh(t *testing.T) {
	recorded, err := readManifest(assetsDir)
	if err != nil {
		t.Fatal(err)
	}
	now, err := scan(assetsDir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := recorded.differences(now); len(diff) > 0 {
		slices.Sort(diff)
		t.Fatalf("web/assets/dist is stale; run: go generate ./web/assets\n%s", strings.Join(diff, "\n"))
	}
	if len(now.Outputs) == 0 {
		t.Fatal("web/assets/dist is empty; run: go generate ./web/assets")
	}
}

// A source edited without a build, and a bundle edited by hand, are both noticed.
func TestStaleBundlesAreNoticed(t *testing.T) {
	dir := copyTree(t)
	for _, name := range []string{"src/session.ts", "dist/session.js", "package-lock.json", "bundle/styles.go"} {
		path := filepath.Join(dir, name)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(slices.Clone(before), "\n// edited\n"...), 0o644); err != nil {
			t.Fatal(err)
		}
		recorded, err := readManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		now, err := scan(dir)
		if err != nil {
			t.Fatal(err)
		}
		diff := recorded.differences(now)
		if len(diff) != 1 || !strings.HasSuffix(diff[0], "changed: "+name) {
			t.Errorf("after editing %s: %q", name, diff)
		}
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// copyTree copies what the manifest is about to a folder that may be changed.
func copyTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "web", "assets")
	for _, folder := range []string{"src", "css", "dist", "bundle", axeFolder} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join(assetsDir, folder))); err != nil {
			t.Fatal(err)
		}
	}
	copyFile := func(to, from string) {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json"} {
		copyFile(filepath.Join(dir, name), filepath.Join(assetsDir, name))
	}
	copyFile(filepath.Join(root, "go.mod"), filepath.Join(assetsDir, "..", "..", "go.mod"))
	return dir
}

// No bundle may name a place that a page would load code from, or hold a source map.
func TestBundlesAreSelfContained(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(assetsDir, "dist", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"sourceMappingURL", `createElement("style")`, "unpkg.com", "jsdelivr", "googleapis"} {
			if strings.Contains(string(content), bad) {
				t.Errorf("%s contains %q", filepath.Base(file), bad)
			}
		}
	}
	lock, err := os.ReadFile(filepath.Join(assetsDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), `"resolved"`) {
		t.Error("package-lock.json names registry addresses; .npmrc must omit them")
	}
}
