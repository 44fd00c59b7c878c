package content_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"drydock/content"
)

const drawn = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>t</title><desc>d</desc><text x="1">a mast</text></svg>`

func loaded(t *testing.T, files fs.FS) *content.Library {
	t.Helper()
	l, err := content.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func article(t *testing.T, l *content.Library, slug string) *content.Article {
	t.Helper()
	a, ok := l.Article(slug)
	if !ok {
		t.Fatalf("there is no article %s", slug)
	}
	return a
}

func page(t *testing.T, a *content.Article) string {
	t.Helper()
	html, err := a.HTML()
	if err != nil {
		t.Fatal(err)
	}
	return html
}

// What has not changed is neither checked nor rendered again.
func TestReloadTakesWhatHasNotChanged(t *testing.T) {
	for _, test := range []struct {
		name, file, text string
		podIsNew         bool
	}{
		{"nothing", "kube/track.yaml", "title: Kubernetes\nsummary: Clusters.\norder: 2\n", false},
		{"another article", "kube/service/index.md", front + "Other text.\n", false},
		{"its text", "kube/pod/index.md", front + "Other text.\n\n![A mast](ship.svg)\n", true},
		{"its figure", "kube/pod/ship.svg", strings.Replace(drawn, "a mast", "two masts", 1), true},
		{"a file that is about all", "kube/track.yaml", "title: Clusters\nsummary: Clusters.\norder: 2\n", true},
		{"a file that nothing names", "kube/pod/notes.txt~", "x", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := library(map[string]string{
				"kube/pod/index.md": front + "Text.\n\n![A mast](ship.svg)\n", "kube/pod/ship.svg": drawn, "kube/service/index.md": front + "Text.\n",
			})
			before := loaded(t, files)
			files[test.file] = &fstest.MapFile{Data: []byte(test.text)}
			after, err := before.Reload(files)
			if err != nil {
				t.Fatal(err)
			}
			if isNew := article(t, before, "pod") != article(t, after, "pod"); isNew != test.podIsNew {
				t.Errorf("the article was loaded anew: %v, want %v", isNew, test.podIsNew)
			}
			if len(after.Articles) != 2 || !strings.Contains(page(t, article(t, after, "pod")), "mast") {
				t.Error("the library is not whole")
			}
		})
	}
}

// An SVG without a Mermaid source becomes stale when one is put beside it.
func TestReloadSeesFilesThatWereNotThere(t *testing.T) {
	files := library(map[string]string{"kube/pod/index.md": front + "![A mast](ship.svg)\n", "kube/pod/ship.svg": drawn})
	before := loaded(t, files)
	files["kube/pod/ship.mmd"] = &fstest.MapFile{Data: []byte("flowchart LR\n a-->b\n")}
	if _, err := before.Reload(files); err == nil || !strings.Contains(err.Error(), "run `make diagrams`") {
		t.Errorf("the error is %v", err)
	}
}

// Whatever becomes of the files, the library that was loaded from them is whole.
func TestALibraryDoesNotDependOnItsFiles(t *testing.T) {
	dot, err := os.ReadFile("testdata/dot.png")
	if err != nil {
		t.Fatal(err)
	}
	files := library(map[string]string{
		"kube/pod/index.md": front + "Text.\n\n![A mast](ship.svg)\n\n![A dot](dot.png)\n",
		"kube/pod/ship.svg": drawn, "kube/pod/dot.png": string(dot), "kube/pod/secret.png": "x",
	})
	l := loaded(t, files)
	clear(files)
	if _, err := l.Reload(files); err == nil || !strings.Contains(err.Error(), "there is no track here") {
		t.Errorf("an empty folder: %v", err)
	}
	a := article(t, l, "pod")
	if html := page(t, a); !strings.Contains(html, "a mast") || !strings.Contains(html, `src="/articles/pod/dot.png"`) {
		t.Errorf("the page is %s", html)
	}
	if data, err := a.Figure("dot.png"); err != nil || string(data) != string(dot) {
		t.Errorf("the picture: %d bytes, %v", len(data), err)
	}
	for _, name := range []string{"secret.png", "index.md", "ship.svg", "../pod/dot.png", ""} {
		if _, err := a.Figure(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q is given out: %v", name, err)
		}
	}
}

// A library that was found bad leaves the one before as it was.
func TestReloadKeepsTheLibraryBefore(t *testing.T) {
	files := library(map[string]string{"kube/pod/index.md": front + "Good.\n"})
	l := loaded(t, files)
	bad := maps.Clone(files)
	bad["kube/pod/index.md"] = &fstest.MapFile{Data: []byte(front + "<b>bad</b>\n")}
	after, err := l.Reload(bad)
	if after != nil || len(content.Problems(err)) != 1 {
		t.Errorf("a library with a problem: %v, %v", after, err)
	}
	if html := page(t, article(t, l, "pod")); html != "<p>Good.</p>\n" {
		t.Errorf("the page is %q", html)
	}
}

func TestPagesAreTheSameForAllWhoAskAtOnce(t *testing.T) {
	l := loaded(t, content.Embedded())
	var asking sync.WaitGroup
	for _, a := range l.Articles {
		want := page(t, article(t, loaded(t, content.Embedded()), a.Slug))
		for range 8 {
			asking.Go(func() {
				if html, err := a.HTML(); err != nil || html != want {
					t.Errorf("%s: another page, %v", a.Slug, err)
				}
			})
		}
	}
	asking.Wait()
}

// A track or an article may be a link to a folder, and the whole may be one, as
// tools make them that switch from one version to the next.
func TestLoadFollowsLinksToFolders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"v1/kube/track.yaml": "title: Kubernetes\nsummary: Clusters.\norder: 2\n", "v1/shared/index.md": front + "Text.\n", "v1/shared/track.yaml": "title: A\nsummary: S\norder: 1\n",
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Symlink("../shared", filepath.Join(dir, "v1/kube/pod")), os.Symlink("v1", filepath.Join(dir, "current")), os.Symlink("nowhere", filepath.Join(dir, "v1/kube/dead")),
	); err != nil {
		t.Fatal(err)
	}
	l := loaded(t, os.DirFS(filepath.Join(dir, "current")))
	if html := page(t, article(t, l, "pod")); html != "<p>Text.</p>\n" {
		t.Errorf("the page is %q", html)
	}
}
