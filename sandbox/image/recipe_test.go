package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkout is the source tree that these tests are in.
const checkout = "../.."

func TestRecipeOfThisTree(t *testing.T) {
	src, err := openSource(checkout)
	if err != nil {
		t.Fatal(err)
	}
	if src.recipe.Contract != Contract {
		t.Errorf("the recipe has contract %s, the program %s: raise both together", src.recipe.Contract, Contract)
	}
	for _, c := range src.recipe.Components {
		if _, err := os.Stat(src.path(c.Dir, "go.mod")); err != nil {
			t.Errorf("component %s: %v", c.Name, err)
		}
		if _, err := c.ldflags("v1.2.3"); err != nil {
			t.Error(err)
		}
	}
}

func TestKubernetesIsStampedWithItsVersion(t *testing.T) {
	src, err := openSource(checkout)
	if err != nil {
		t.Fatal(err)
	}
	c, err := src.component("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	flags, err := c.ldflags("v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"version.gitVersion=v1.37.2 ", "version.gitMajor=1 ", "version.gitMinor=37"} {
		if !strings.Contains(flags, want) {
			t.Errorf("%q is not in %q", want, flags)
		}
	}
}

func TestParseRecipeRefuses(t *testing.T) {
	const roots = "rootfs: {node: {packages: [a]}, proxy: {packages: [a]}, busybox: {packages: [a]}, terminal: {packages: [a]}, machine: {packages: [a]}}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"unknown field":     {roots + "kubernets: 1\n", "kubernets"},
		"missing root":      {"debian: bookworm\n", "rootfs.node"},
		"nameless":          {roots + "components: [{dir: x}]\n", "name, dir, module"},
		"ambiguous output":  {roots + "components: [{name: a, dir: b, module: c, packages: [d, e], output: f}]\n", "output"},
		"not a mapping":     {"- a\n", "cannot unmarshal"},
		"flags of nonsense": {"", "EOF"},
	} {
		_, err := parseRecipe([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want something about %q", name, err, tt.want)
		}
	}
}

func TestOutsideACheckout(t *testing.T) {
	_, err := Recipes(t.Context(), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "--source") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseRecipe(f *testing.F) {
	text, err := os.ReadFile(filepath.Join(checkout, recipeFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("components: [{name: a, dir: b, module: c, packages: [d], ldflags: '{{.Nope}}'}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecipe(text)
		if err != nil {
			return
		}
		for _, c := range r.Components {
			if len(c.programs()) == 0 {
				t.Errorf("component %q builds nothing", c.Name)
			}
		}
	})
}

// write makes a file below dir, with the directories it lies in.
func write(t *testing.T, dir, name, content string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTreeHash(t *testing.T) {
	hash := func(dir string) string {
		k := newKey()
		if err := k.tree(dir, "terminal", "machine"); err != nil {
			t.Fatal(err)
		}
		return k.sum()
	}
	dir := t.TempDir()
	write(t, dir, "recipe.yaml", "a")
	write(t, dir, "files/etc/x", "b")
	before := hash(dir)

	// What no image is made from does not count.
	write(t, dir, "README.md", "prose")
	write(t, dir, "workload/main_test.go", "test")
	write(t, dir, "terminal/files/etc/y", "terminal")
	write(t, dir, "machine/files/etc/y", "machine")
	if got := hash(dir); got != before {
		t.Error("prose, tests or the excepted directory changed the hash")
	}

	for name, change := range map[string]func(){
		"content": func() { write(t, dir, "files/etc/x", "c") },
		"name":    func() { write(t, dir, "files/etc/z", "b") },
		"mode": func() {
			if err := os.Chmod(filepath.Join(dir, "files/etc/x"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
	} {
		before := hash(dir)
		change()
		if hash(dir) == before {
			t.Errorf("a change of %s did not change the hash", name)
		}
	}
}

// Words must not run into one another: ("ab", "c") is not ("a", "bc").
func TestKeyKeepsWordsApart(t *testing.T) {
	if newKey("ab", "c").sum() == newKey("a", "bc").sum() {
		t.Error("the same hash for different words")
	}
}

func TestProgramHashFollowsItsSources(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "go.mod", "module example\n\ngo 1.26\n")
	write(t, dir, "cmd/main.go", "package main\n\nimport \"example/part\"\n\nfunc main() { part.Do() }\n")
	write(t, dir, "part/part.go", "package part\n\nfunc Do() {}\n")
	write(t, dir, "other/other.go", "package other\n")
	hash := func() string {
		k := newKey()
		if err := k.program(t.Context(), dir, "./cmd"); err != nil {
			t.Fatal(err)
		}
		return k.sum()
	}
	before := hash()
	write(t, dir, "other/other.go", "package other\n\nconst X = 1\n")
	if hash() != before {
		t.Error("a package that the program does not import changed its hash")
	}
	write(t, dir, "part/part.go", "package part\n\nfunc Do() { println() }\n")
	if hash() == before {
		t.Error("a package that the program imports did not change its hash")
	}
}

func TestReplaceIn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	if err := os.WriteFile(file, []byte("const a, b = 1, 2 // one, one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceIn(dir, []replacement{{"a.go", "= 1", "= 3"}, {"a.go", ", 2", ", 4"}}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "const a, b = 3, 4 // one, one\n" {
		t.Errorf("changed to %q, %v", text, err)
	}
	for _, old := range []string{"one", "two"} { // twice, and not at all
		if err := replaceIn(dir, []replacement{{"a.go", old, "x"}}); err == nil || !strings.Contains(err.Error(), "and not once") {
			t.Errorf("%q: %v", old, err)
		}
	}
}
