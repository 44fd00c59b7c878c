package scaffold_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drydock/content"
	"drydock/content/prove"
	"drydock/content/scaffold"
	"drydock/labs/terminaltest"
)

// A new article is sound, and does what it says.
func TestANewArticleIsProven(t *testing.T) {
	tracks := t.TempDir()
	if err := os.Mkdir(filepath.Join(tracks, "linux"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tracks, "linux", "track.yaml"), []byte("title: Linux\nsummary: Kernels.\norder: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	folder, names, err := scaffold.New(tracks, "linux", "a-shell", time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
	if err != nil || folder != filepath.Join(tracks, "linux", "a-shell") || strings.Join(names, " ") != "index.md way.mmd way.svg" {
		t.Fatalf("%s, %v, %v", folder, names, err)
	}
	library, err := content.Load(os.DirFS(tracks))
	if err != nil {
		t.Fatal(err)
	}
	if err := content.Lint(os.DirFS(tracks)); err != nil {
		t.Error(err)
	}
	a, ok := library.Article("a-shell")
	if !ok || a.Title != "A shell" || a.Published.Format(time.DateOnly) != "2026-11-23" || len(a.Quizzes) != 1 {
		t.Fatalf("the article is %+v", a)
	}
	results, err := prove.Article(t.Context(), a, prove.Options{Provider: terminaltest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	if lies := prove.Problems(results); len(lies) != 0 || len(results) != 2 {
		t.Errorf("%d blocks were run; these lie: %+v", len(results), lies)
	}
}
