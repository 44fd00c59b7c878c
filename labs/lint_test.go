package labs

import (
	"testing"
	"testing/fstest"

	"drydock/labs/catalogue"
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
	labs, err := LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	if len(labs.All()) == 0 {
		t.Fatal("no lab is embedded")
	}
	for _, lab := range labs.All() {
		for _, problem := range Lint(lab) {
			t.Error(problem)
		}
	}
}
