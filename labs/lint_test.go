package labs

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"drydock/labs/catalogue"
	"drydock/labs/scaffold"
)

func TestLint(t *testing.T) {
	archives(t, "lint", func(t *testing.T, files fstest.MapFS) []string {
		lab, err := LoadLab(files, "lab")
		if err != nil {
			t.Fatal(err)
		}
		return lines(Lint(lab, WithArticles(func(slug string) bool { return slug == "an-article" })))
	})
}

func TestOwnLabsAreSound(t *testing.T) {
	for name, files := range map[string]fs.FS{"catalogue": catalogue.FS(), "scaffold": scaffold.FS()} {
		labs, err := LoadCatalogue(files)
		if err != nil {
			t.Fatal(err)
		}
		if len(labs.All()) < 2 {
			t.Fatalf("%d labs are embedded in the %s", len(labs.All()), name)
		}
		for _, lab := range labs.All() {
			for _, problem := range Lint(lab) {
				t.Error(problem)
			}
		}
	}
}
