package convert

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"drydock/labs"
)

var update = flag.Bool("update", false, "write what was made into the goldens")

// Each archive holds a source below src/, and below want/ what is to become
// of it: the reports and every file of every lab. args names options.
func TestImport(t *testing.T) {
	for _, format := range Formats() {
		names, err := filepath.Glob(filepath.Join("testdata", format, "*.txtar"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no archives for %s: %v", format, err)
		}
		for _, name := range names {
			t.Run(format+"/"+strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { testArchive(t, format, name) })
		}
	}
}

func testArchive(t *testing.T, format, name string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return *update && strings.HasPrefix(f.Name, "want/") })
	src, into := t.TempDir(), t.TempDir()
	options := Options{Into: into, Images: map[string]string{}}
	want := map[string]string{}
	for _, f := range archive.Files {
		switch {
		case strings.HasPrefix(f.Name, "want/"):
			want[f.Name] = string(f.Data)
		case f.Name == "args":
			setOptions(&options, string(f.Data))
		default:
			write(t, filepath.Join(src, filepath.FromSlash(f.Name)), f.Data)
		}
	}
	got := imported(t, format, filepath.Join(src, "src"), options)
	if *update {
		for _, file := range sorted(got) {
			archive.Files = append(archive.Files, txtar.File{Name: file, Data: []byte(got[file])})
		}
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, file := range sorted(got) {
		if got[file] != want[file] {
			t.Errorf("%s is:\n%s\nwant:\n%s", file, got[file], want[file])
		}
	}
	for file := range want {
		if _, made := got[file]; !made {
			t.Errorf("%s was not made", file)
		}
	}
}

func setOptions(o *Options, args string) {
	for _, arg := range strings.Fields(args) {
		if name, ref, ok := strings.Cut(arg, "="); ok {
			o.Images[name] = ref
		} else {
			o.SelfReported = true
		}
	}
}

// imported are the reports and the files of the labs, by the names that
// archives have for them. What a whole script is made of is told by its first lines.
func imported(t *testing.T, format, src string, o Options) map[string]string {
	t.Helper()
	reports, notes, err := Import(format, src, o)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, r := range reports {
		r.Print(&text)
	}
	for _, n := range notes {
		fmt.Fprintln(&text, n)
	}
	fmt.Fprintln(&text, Summarize(reports))
	got := map[string]string{"want/report": strings.ReplaceAll(text.String(), o.Into+string(filepath.Separator), "")}
	for _, r := range reports {
		if r.Lab == "" {
			continue
		}
		slug := filepath.Base(r.Lab)
		lab, err := labs.LoadLab(os.DirFS(o.Into), slug)
		if err != nil {
			t.Fatal(err)
		}
		if problems := labs.Lint(lab); len(problems) > 0 {
			t.Errorf("%s: %v", slug, labs.Problems(problems))
		}
		read(t, got, o.Into, slug)
	}
	left, err := filepath.Glob(filepath.Join(o.Into, ".import-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
	return got
}

func read(t *testing.T, got map[string]string, dir, slug string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, slug), func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		below, relErr := filepath.Rel(dir, name)
		if relErr != nil {
			return relErr
		}
		text := strings.ReplaceAll(string(content), webServer, "(webserver.sh)\n")
		if entry.Name() == "never-pull.yaml" {
			text = "(never-pull.yaml)\n"
		}
		got[path.Join("want", filepath.ToSlash(below))] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
