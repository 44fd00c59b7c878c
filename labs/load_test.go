package labs

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"drydock/labs/catalogue"
)

var update = flag.Bool("update", false, "write what was found into the goldens")

// wantSection holds, in an archive of testdata, the problems to be found.
const wantSection = "want"

// archives runs check for each archive of a folder of testdata: the files of
// a lab, and the problems that check must return for it.
func archives(t *testing.T, dir string, check func(t *testing.T, files fstest.MapFS) []string) {
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives in testdata/%s: %v", dir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files, want := fstest.MapFS{}, -1
			for i, f := range archive.Files {
				if f.Name == wantSection {
					want = i
					continue
				}
				files[path.Join("lab", f.Name)] = &fstest.MapFile{Data: f.Data}
			}
			got := strings.Join(check(t, files), "\n")
			if got != "" {
				got += "\n"
			}
			if *update {
				if want < 0 {
					archive.Files = append(archive.Files, txtar.File{Name: wantSection})
					want = len(archive.Files) - 1
				}
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 {
				t.Fatalf("%s has no %q section; run with -update and read it", name, wantSection)
			}
			if got != string(archive.Files[want].Data) {
				t.Errorf("got:\n%s\nwant:\n%s", got, archive.Files[want].Data)
			}
		})
	}
}

func lines(problems []Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Error())
	}
	return all
}

func TestLoadLab(t *testing.T) {
	archives(t, "load", func(t *testing.T, files fstest.MapFS) []string {
		lab, err := LoadLab(files, "lab")
		var problems Problems
		if errors.As(err, &problems) {
			if lab != nil {
				t.Error("a lab with problems was returned")
			}
			return lines(problems)
		}
		if err != nil {
			t.Fatal(err)
		}
		return nil
	})
}

func TestLoadLabKeepsWhatIsWritten(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/load/sound.txtar")
	if err != nil {
		t.Fatal(err)
	}
	lab, err := LoadLab(fstest.MapFS{
		"a-lab/lab.yaml":  {Data: archive.Files[0].Data},
		"a-lab/README.md": {Data: []byte("# Read me\n")},
	}, "a-lab")
	if err != nil {
		t.Fatal(err)
	}
	hints := lab.Tasks[0].Hints
	checks := lab.Checks()
	switch {
	case lab.Slug != "a-lab" || lab.Readme != "# Read me\n" || len(lab.Version) != 12:
		t.Errorf("slug %q, readme %q, version %q", lab.Slug, lab.Readme, lab.Version)
	case len(hints) != 2 || hints[0] != (Hint{Text: "Think."}) || hints[1] != (Hint{Text: "Think harder.", Cost: 5}):
		t.Errorf("hints: %+v", hints)
	case lab.AllVariants()[1].Vars["port"] != "81":
		t.Errorf("variants: %+v", lab.AllVariants())
	case len(checks) != 3 || checks[0].ID != "answers" || checks[2].ID != "same":
		t.Errorf("checks: %+v", checks)
	case checks[0].HTTP.Every.String() != "1s" || checks[0].HTTP.Header["Accept"] != "text/plain" || checks[0].Line != 31:
		t.Errorf("first check: %+v at line %d", checks[0].HTTP, checks[0].Line)
	case lab.Setup[0].Run != "setup/break.sh" || lab.Setup[1].Apply != "manifests/" || lab.Setup[1].Line != 18:
		t.Errorf("setup: %+v", lab.Setup)
	}
}

func TestVersionCoversEveryFile(t *testing.T) {
	base := func() fstest.MapFS {
		return fstest.MapFS{
			"lab.yaml": {Data: []byte("x")}, "manifests/a.yaml": {Data: []byte("a")}, ".swp": {Data: []byte("editor")},
		}
	}
	version := func(files fstest.MapFS) string {
		t.Helper()
		content, err := readTree(files, ".")
		if err != nil {
			t.Fatal(err)
		}
		return contentAddress(content)
	}
	first := version(base())
	changed, renamed, added, scratch := base(), base(), base(), base()
	changed["manifests/a.yaml"].Data = []byte("b")
	renamed["manifests/b.yaml"] = renamed["manifests/a.yaml"]
	delete(renamed, "manifests/a.yaml")
	added["files/new"] = &fstest.MapFile{}
	scratch[".swp"].Data = []byte("something else")
	for name, files := range map[string]fstest.MapFS{"changed": changed, "renamed": renamed, "added": added} {
		if version(files) == first {
			t.Errorf("a file was %s and the version is the same", name)
		}
	}
	if version(scratch) != first {
		t.Error("an editor's file changes the version")
	}
}

func TestLoadCatalogueReportsAllLabs(t *testing.T) {
	_, err := LoadCatalogue(fstest.MapFS{
		"one/lab.yaml":   {Data: []byte("kind: [")},
		"two/README.md":  {Data: []byte("no lab.yaml")},
		"Three/lab.yaml": {Data: []byte("kind: Lab")},
		"_draft/nothing": {},
		"README.md":      {},
	})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error %v", err)
	}
	for i, file := range []string{"Three/lab.yaml", "one/lab.yaml", "two/lab.yaml"} {
		if problems[i].File != file {
			t.Errorf("problem %d is of %s, want %s", i, problems[i].File, file)
		}
	}
	var one Problem
	if !errors.As(err, &one) {
		t.Error("a Problem can't be taken out of the error")
	}
}

func TestLoadCatalogueRefusesWhatCannotBeGraded(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/load/sound.txtar")
	if err != nil {
		t.Fatal(err)
	}
	source := strings.Replace(string(archive.Files[0].Data), "response.code == 200", "response.cod == 200", 1)
	_, err = LoadCatalogue(fstest.MapFS{"lab/lab.yaml": {Data: []byte(source)}})
	if err == nil || !strings.Contains(err.Error(), `lab/lab.yaml:31: check answers: that: response has no field "cod"`) {
		t.Errorf("error %v", err)
	}
}

func TestLabThatIsTooLarge(t *testing.T) {
	_, err := LoadLab(fstest.MapFS{"lab/lab.yaml": {Data: make([]byte, maxLabFile+1)}}, "lab")
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
}

func TestDidYouMean(t *testing.T) {
	valid := []string{"title", "summary", "tasks", "track", "guards", "ready", "setup"}
	for given, want := range map[string]string{
		"titel": `, did you mean "title"?`, "Tasks": `, did you mean "tasks"?`, "gards": `, did you mean "guards"?`,
		"zzz": "", strings.Repeat("title", 100): "",
	} {
		if got := didYouMean(given, valid); got != want {
			t.Errorf("%s: %q, want %q", given, got, want)
		}
	}
	if got := didYouMean("qqqqq", []string{"b", "a"}); got != "; valid here: a, b" {
		t.Errorf("few words: %q", got)
	}
}

// FuzzLoadLab: whatever stands in lab.yaml, the loader ends, and either has no
// problem or names a line that exists.
func FuzzLoadLab(f *testing.F) {
	seeds, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range seeds {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	own, err := fs.ReadFile(catalogue.FS(), "init-containers/lab.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Fuzz(func(t *testing.T, source []byte) {
		lab, problems := parseLab("lab.yaml", source)
		rows := strings.Count(string(source), "\n") + 1 + strings.Count(string(source), "\r") +
			strings.Count(string(source), "\u0085") + strings.Count(string(source), "\u2028") + strings.Count(string(source), "\u2029")
		for _, p := range problems {
			if p.Line < 1 || p.Line > rows+1 || p.Msg == "" {
				t.Errorf("problem %+v in a file of %d lines", p, rows)
			}
		}
		if len(problems) == 0 && (lab.Title == "" || len(lab.Tasks) == 0) {
			t.Errorf("an empty lab has no problems: %+v", lab)
		}
	})
}
