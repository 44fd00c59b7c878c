package content_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"drydock/content"
)

const front = "---\ntitle: A pod\nsummary: What it is.\npublished: 2026-11-22\n---\n"

func library(extra map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{"kube/track.yaml": {Data: []byte("title: Kubernetes\nsummary: Clusters.\norder: 2\n")}}
	for name, text := range extra {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// Every article and lab text in the tree loads, and every diagram is fresh.
func TestEmbeddedLibrary(t *testing.T) {
	l, err := content.Load(content.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range l.Articles {
		html, err := a.HTML()
		if err != nil {
			t.Fatal(err)
		}
		checkSafe(t, html)
	}
}

// Diagrams that no text shows are checked here.
func TestDiagramsAreFresh(t *testing.T) {
	sources, err := filepath.Glob("tracks/*/*/*.mmd")
	if err != nil || len(sources) == 0 {
		t.Fatal("no diagrams", err)
	}
	for _, source := range sources {
		mmd, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		svg, err := os.ReadFile(strings.TrimSuffix(source, ".mmd") + ".svg")
		if err != nil || !content.DiagramFresh(mmd, svg) {
			t.Errorf("%s is not rendered as it is now: run `make diagrams` (%v)", source, err)
		}
	}
}

func TestLoad(t *testing.T) {
	l, err := content.Load(library(map[string]string{
		"linux/track.yaml": "title: Linux\nsummary: Kernels.\norder: 1\n",
		"linux/keys/index.md": "---\r\ntitle: \"Keys: how\"\r\nsummary: S.\r\npublished: 2026-01-02\r\nlab: broken-dns\r\nminutes: 7\r\n---\r\n" +
			"Read [this](/articles/pod#one) first.\r\n\r\n## Two\r\n",
		"kube/pod/index.md":     "---\ntitle: A pod\nsummary: What it is.\npublished: 2026-11-22\norder: 2\n---\n\n## One {#one}\n\n" + strings.Repeat("word ", 1100) + "\n\n```sh\n" + strings.Repeat("ls\n", 20) + "```\n",
		"kube/service/index.md": "---\ntitle: A service\nsummary: What it is.\npublished: 2026-11-23\norder: 1\n---\nHello *you* & `code`.",
		"kube/pod/pod.txt":      "a file beside it",
	}))
	if err != nil {
		t.Fatal(err)
	}
	var tracks, newest []string
	for _, track := range l.Tracks {
		for _, a := range track.Articles {
			tracks = append(tracks, track.Slug+"/"+a.Slug)
		}
	}
	for _, a := range l.Articles {
		newest = append(newest, a.Slug)
	}
	if got := fmt.Sprint(tracks, newest); got != "[linux/keys kube/service kube/pod] [service pod keys]" {
		t.Errorf("the order is %s", got)
	}
	keys, _ := l.Article("keys")
	if keys.Title != "Keys: how" || keys.Lab != "broken-dns" || keys.Minutes != 7 || keys.Track != "linux" || keys.Published.Year() != 2026 {
		t.Errorf("the front matter was read as %+v", keys)
	}
	pod, _ := l.Article("pod")
	if pod.Words != 1101 || pod.Minutes != 6 { // five for the words, one for 20 lines of code
		t.Errorf("%d words in %d minutes", pod.Words, pod.Minutes)
	}
	if len([]rune(pod.Excerpt)) > 281 || !strings.HasSuffix(pod.Excerpt, "word…") {
		t.Errorf("the excerpt is %q", pod.Excerpt)
	}
	if service, _ := l.Article("service"); service.Excerpt != "Hello you & code." {
		t.Errorf("the excerpt is %q", service.Excerpt)
	}
	if _, ok := l.Article("nothing"); ok {
		t.Error("an unknown article was found")
	}
	if err := l.CheckLabs([]string{"broken-dns"}); err != nil {
		t.Error(err)
	}
	if err := l.CheckLabs([]string{"broken-dms"}); err == nil || !strings.Contains(err.Error(), `did you mean "broken-dms"?`) {
		t.Errorf("a link to an unknown lab: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		file string
		text string
		want string
	}{
		{"unknown field", "kube/pod/index.md", "---\ntitel: A\nsummary: S\npublished: 2026-11-22\n---\n", `kube/pod/index.md:2: unknown field "titel": did you mean "title"?`},
		{"missing field", "kube/pod/index.md", "---\ntitle: A\nsummary: S\n---\n", "kube/pod/index.md:2: published is missing"},
		{"empty field", "kube/pod/index.md", "---\ntitle: A\nsummary:\npublished: 2026-11-22\n---\n", "kube/pod/index.md:3: summary: must not be empty"},
		{"twice", "kube/pod/index.md", "---\ntitle: A\nsummary: S\npublished: 2026-11-22\ntitle: B\n---\n", "kube/pod/index.md:5: title is set twice"},
		{"date", "kube/pod/index.md", "---\ntitle: A\nsummary: S\npublished: 22.11.2026\n---\n", "kube/pod/index.md:4: published: \"22.11.2026\" is not a date"},
		{"number", "kube/pod/index.md", "---\ntitle: A\nsummary: S\npublished: 2026-11-22\nminutes: 0\n---\n", "kube/pod/index.md:5: minutes: \"0\" is not a whole number from 1"},
		{"list", "kube/pod/index.md", "---\ntitle: [A]\nsummary: S\npublished: 2026-11-22\n---\n", "kube/pod/index.md:2: title must be one value"},
		{"lab", "kube/pod/index.md", "---\ntitle: A\nsummary: S\npublished: 2026-11-22\nlab: A B\n---\n", "kube/pod/index.md:5: lab: \"A B\" is not a slug"},
		{"yaml", "kube/pod/index.md", "---\ntitle: A\nsummary: \"S\npublished: 2026-11-22\n---\n", "kube/pod/index.md:"},
		{"no front matter", "kube/pod/index.md", "# A pod\n", "kube/pod/index.md:1: an article begins with its front matter"},
		{"never ends", "kube/pod/index.md", "---\ntitle: A\n", "kube/pod/index.md:1: an article begins with its front matter"},
		{"second title", "kube/pod/index.md", front + "\n# A pod\n", "kube/pod/index.md:7: the title is in the front matter"},
		{"line in the text", "kube/pod/index.md", front + "\none\n\n<b>\n", "kube/pod/index.md:9: HTML is not allowed"},
		{"no text", "kube/pod/notes.txt", "", "kube/pod/index.md:1: this file is missing"},
		{"folder", "kube/A Pod/index.md", front, `kube/A Pod/index.md:1: the folder's name "A Pod" is not a slug`},
		{"track", "mesh/pod/index.md", front, "mesh/track.yaml:1: this file is missing"},
		{"track's field", "kube/track.yaml", "title: A\nsummary: S\norder: one\n", `kube/track.yaml:3: order: "one" is not a whole number`},
		{"article", "kube/pod/index.md", front + "[x](/articles/pots)", `kube/pod/index.md:6: there is no article "pots": did you mean "pod"?`},
		{"heading", "kube/pod/index.md", front + "## One {#one}\n\n[x](/articles/pod#tone)", `kube/pod/index.md:8: article pod has no heading #tone: did you mean "one"?`},
		{"unknown track", "kube/pod/index.md", front + "[x](/tracks/cube)", `kube/pod/index.md:6: there is no track "cube": did you mean "kube"?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := content.Load(library(map[string]string{test.file: test.text}))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v; want %q", err, test.want)
			}
			if l != nil {
				t.Error("a library with a problem was loaded")
			}
		})
	}
}

func TestTwoArticlesCannotShareAnAddress(t *testing.T) {
	_, err := content.Load(library(map[string]string{
		"kube/pod/index.md": front, "mesh/pod/index.md": front, "mesh/track.yaml": "title: A\nsummary: S\norder: 1\n",
	}))
	if err == nil || !strings.Contains(err.Error(), "has an article of this name too") {
		t.Errorf("the error is %v", err)
	}
}

func TestLoadFindsAllProblemsAtOnce(t *testing.T) {
	_, err := content.Load(library(map[string]string{
		"kube/track.yaml":       "title: A\nsumary: S\norder: 1\n",
		"kube/pod/index.md":     "---\ntitle: A\nsummary: S\npublished: soon\n---\n<b>\n",
		"kube/service/index.md": front + "```\nx\n```\n",
	}))
	if got := len(content.Problems(err)); got != 5 {
		t.Errorf("%d problems, want 5: %v", got, err)
	}
}
