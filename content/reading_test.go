package content_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"drydock/content"
)

// testdata/library has all that reaches beyond one text: terms of the glossary,
// a lab's card, a picture to step through, and what is to be read before.
func TestLibraryGolden(t *testing.T) {
	l, err := content.Load(os.DirFS("testdata/library"))
	if err != nil {
		t.Fatal(err)
	}
	article, ok := l.Article("pod-to-pod")
	if !ok {
		t.Fatal("there is no article pod-to-pod")
	}
	pieces, err := article.Pieces()
	if err != nil {
		t.Fatal(err)
	}
	var got, whole strings.Builder
	for _, piece := range pieces {
		whole.WriteString(piece.HTML)
		if piece.Card == nil {
			got.WriteString(piece.HTML)
			continue
		}
		fmt.Fprintf(&got, "<!-- lab %s, line %d; why: %s-->\n%s<!-- end of lab -->\n", piece.Card.Slug, piece.Card.Line, piece.Why, piece.HTML)
	}
	fmt.Fprintf(&got, "<!-- after %v; terms %v -->\n", article.After, article.Terms)
	const golden = "testdata/pod-to-pod.html"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s differs; look at the difference after go test -update. Got:\n%s", golden, got.String())
	}
	checkSafe(t, whole.String())
	if err := l.CheckLabs([]string{"init-containers"}); err != nil {
		t.Error(err)
	}
	if err := l.CheckLabs([]string{"init-container"}); err == nil || !strings.Contains(err.Error(), `network/pod-to-pod/index.md:26: there is no lab "init-containers": did you mean "init-container"?`) {
		t.Errorf("the card of an unknown lab: %v", err)
	}
}

func TestGlossary(t *testing.T) {
	l, err := content.Load(os.DirFS("testdata/library"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, term := range l.Glossary {
		got = append(got, fmt.Sprintf("%s #%s %s", term.Term, term.ID, term.Article))
	}
	want := "CNI #term-cni |network namespace #term-network-namespace namespaces|veth #term-veth pod-to-pod"
	if strings.Join(got, "|") != want {
		t.Errorf("the glossary is %q, want %q", got, want)
	}
}

const oneTerm = "- term: kube-proxy\n  also: [kube-proxies]\n  means: It programs the node.\n"

// svgOf is a drawing made by hand with the elements.
func svgOf(elements string) string {
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><title>t</title><desc>d</desc>` + elements + `</svg>`
}

func TestLoadRefusesWhatReachesBeyondAText(t *testing.T) {
	two := svgOf(`<g class="s1"/><g class="s2"/>`)
	stepping := func(picture string, below ...string) string {
		return "> [!STEPS] A way\n> " + picture + "\n>\n> " + strings.Join(below, "\n> ") + "\n"
	}
	for _, test := range []struct {
		name  string
		files map[string]string // of the track kube; an article is made of the text that index.md has
		want  string
	}{
		{"unknown term", map[string]string{"index.md": "one\n[kube proxi](term:)"}, `index.md:7: the glossary has no term "kube proxi": did you mean "kube-proxy"?`},
		{"far from all terms", map[string]string{"index.md": "[scheduling](term:)"}, "add it to the glossary.yaml of the track"},
		{"named term", map[string]string{"index.md": "[it](term:kube-proxxy)"}, `did you mean "kube-proxy"?`},
		{"again", map[string]string{"index.md": "[kube-proxy](term:)\n\nand [KUBE-PROXIES](term:)"}, "index.md:8: the term kube-proxy is explained on line 6 already"},
		{"term in a heading", map[string]string{"index.md": "## The [kube-proxy](term:)"}, "explain a term in the text"},
		{"term in a title", map[string]string{"index.md": "> [!NOTE] The [kube-proxy](term:)\n> x"}, "explain a term in the text"},
		{"term without words", map[string]string{"index.md": "[](term:kube-proxy)"}, "this link has no text"},
		{"term by itself", map[string]string{"index.md": "<term:kube-proxy>"}, "of the kind term"},
		{"glossary's field", map[string]string{"glossary.yaml": "- term: a\n  mean: b\n  means: c\n"}, `kube/glossary.yaml:2: unknown field "mean": did you mean "means"?`},
		{"nothing meant", map[string]string{"glossary.yaml": oneTerm + "- term: a\n"}, "kube/glossary.yaml:4: means is missing"},
		{"no list", map[string]string{"glossary.yaml": "term: a\nmeans: b\n"}, "kube/glossary.yaml:1: expected a list of terms"},
		{"no mapping", map[string]string{"glossary.yaml": oneTerm + "- kube-proxy\n"}, "kube/glossary.yaml:4: expected lines of the form"},
		{"no YAML", map[string]string{"glossary.yaml": oneTerm + "- term: \"a\n"}, "kube/glossary.yaml:"},
		{"form", map[string]string{"glossary.yaml": "- term: a\n  also: b\n  means: c\n"}, "kube/glossary.yaml:2: also must be a list, such as [one, two]"},
		{"form without words", map[string]string{"glossary.yaml": "- term: a\n  also: [\"+\"]\n  means: c\n"}, "kube/glossary.yaml:1: \"+\" has no letter or digit"},
		{"same form", map[string]string{"glossary.yaml": oneTerm + "- term: other\n  also: [Kube Proxy]\n  means: b\n"}, `kube/glossary.yaml:4: "Kube Proxy" is in the glossary already, as "kube-proxy": kube/glossary.yaml:1`},
		{"in two tracks", map[string]string{"../mesh/glossary.yaml": oneTerm, "../mesh/track.yaml": "title: M\nsummary: S\norder: 1\n"}, `mesh/glossary.yaml:1: "kube-proxy" is in the glossary already, as "kube-proxy": kube/glossary.yaml:1`},
		{"long", map[string]string{"glossary.yaml": "- term: a\n  means: " + strings.Repeat("long ", 80) + "\n"}, "at most 320 are allowed"},
		{"unknown article", map[string]string{"glossary.yaml": oneTerm + "  article: pot\n"}, `kube/glossary.yaml:1: kube-proxy: there is no article "pot": did you mean "pod"?`},

		{"term with spaces", map[string]string{"glossary.yaml": oneTerm, "index.md": "A [word](term:kube proxy)."}, "index.md:6: an address has no spaces"},

		{"lab's name", map[string]string{"index.md": "> [!LAB] Init containers"}, `index.md:6: "Init containers" is not the slug of a lab`},
		{"lab without name", map[string]string{"index.md": "> [!LAB]\n> why"}, `index.md:6: "" is not the slug of a lab`},
		{"lab in a list", map[string]string{"index.md": "- > [!LAB] full-disk"}, "stands on its own"},
		{"lab again", map[string]string{"index.md": "> [!LAB] full-disk\n\nand\n\n> [!LAB] full-disk"}, "index.md:10: the card of the lab full-disk is on line 6 already"},

		{"no picture", map[string]string{"index.md": "> [!STEPS] A way\n> 1. one\n> 2. two"}, "index.md:6: a picture to step through begins with the picture"},
		{"no list", map[string]string{"index.md": stepping("![x](x.svg)", "one"), "x.svg": two}, "stands one numbered list"},
		{"dots", map[string]string{"index.md": stepping("![x](x.svg)", "- one", "- two"), "x.svg": two}, "stands one numbered list"},
		{"from two", map[string]string{"index.md": stepping("![x](x.svg)", "2. one", "3. two"), "x.svg": two}, "stands one numbered list"},
		{"more below", map[string]string{"index.md": stepping("![x](x.svg)", "1. one", "2. two", "", "more"), "x.svg": two}, "stands one numbered list"},
		{"one step", map[string]string{"index.md": stepping("![x](x.svg)", "1. one"), "x.svg": two}, "has 1 steps"},
		{"step not shown", map[string]string{"index.md": stepping("![x](x.svg)", "1. one", "2. two", "3. three"), "x.svg": two}, "index.md:6: the drawing shows nothing of step 3"},
		{"step not told", map[string]string{"index.md": stepping("![x](x.svg)", "1. one", "2. two"), "x.svg": svgOf(`<g class="s1"/><g class="s2 s3"/>`)}, "class s3, but the list ends with step 2"},
		{"step in a step", map[string]string{"index.md": stepping("![x](x.svg)", "1. one", "2. two"), "x.svg": svgOf(`<g class="s1"><g><g class="s2"/></g></g>`)}, "class s2 is inside another one"},
		{"missing picture", map[string]string{"index.md": stepping("![x](y.svg)", "1. one", "2. two")}, "index.md:7: there is no file y.svg"},

		{"colour", map[string]string{"index.md": "![x](x.svg)", "x.svg": svgOf(`<rect fill="#fff"/>`)}, `fill="#fff" is the same on light and dark pages`},
		{"other's class", map[string]string{"index.md": "![x](x.svg)", "x.svg": svgOf(`<rect class="fill-nodes"/>`)}, `did you mean "fill-node"?`},
		{"class", map[string]string{"index.md": "![x](x.svg)", "x.svg": svgOf(`<rect class="step-one-of-all"/>`)}, "there are s1, s2, … for steps"},
		{"small words", map[string]string{"index.md": "![x](x.svg)", "x.svg": svgOf(`<text font-size="9">x</text>`)}, "use 13 or more"},
		{"no size", map[string]string{"index.md": "![x](x.svg)", "x.svg": `<svg xmlns="http://www.w3.org/2000/svg"><title>t</title><desc>d</desc></svg>`}, "needs a viewBox"},
		{"wide", map[string]string{"index.md": "![x](x.svg)", "x.svg": `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 10"><title>t</title><desc>d</desc></svg>`}, "at most 720 wide"},
		{"no description", map[string]string{"index.md": "![x](x.svg)", "x.svg": `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>t</title></svg>`}, "its <title> and its <desc>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := map[string]string{"kube/glossary.yaml": oneTerm}
			text := ""
			for name, data := range test.files {
				switch track, file, other := strings.Cut(strings.TrimPrefix(name, "../"), "/"); {
				case name == "index.md":
					text = data
				case other:
					fsys[track+"/"+file] = data
				case name == "glossary.yaml":
					fsys["kube/"+name] = data
				default:
					fsys["kube/pod/"+name] = data
				}
			}
			fsys["kube/pod/index.md"] = front + text
			_, err := content.Load(library(fsys))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v; want %q", err, test.want)
			}
			if len(content.Problems(err)) > 1 && test.name != "step not shown" {
				t.Errorf("one mistake is told as %v", content.Problems(err))
			}
		})
	}
}

func TestLoadChecksWhatComesBefore(t *testing.T) {
	track := func(order int, after string) string {
		return fmt.Sprintf("title: T\nsummary: S\norder: %d\n%s", order, after)
	}
	article := func(order int, after string) string {
		return fmt.Sprintf("---\ntitle: A\nsummary: S\npublished: 2026-11-22\norder: %d\n%s---\nText.\n", order, after)
	}
	for _, test := range []struct {
		name          string
		a, b, kube    string
		mesh          string
		want          string
		otherwiseFine bool
	}{
		{name: "fine", a: "", b: "after: [a]\n", mesh: "after: [kube]\n", otherwiseFine: true},
		{name: "unknown", b: "after: [aa]\n", want: `kube/b/index.md:6: after: there is no article "aa": did you mean "a"?`},
		{name: "twice", b: "after: [a, a]\n", want: "kube/b/index.md:6: after: a is named twice"},
		{name: "itself", b: "after: [b]\n", want: "kube/b/index.md:6: after: these articles wait for each other: b → b"},
		{name: "circle", a: "after: [b]\n", b: "after: [a]\n", want: "wait for each other: a → b → a"},
		{name: "later", a: "after: [b]\n", want: "kube/a/index.md:6: after: b comes later in the track"},
		{name: "one value", b: "after: a\n", want: "kube/b/index.md:6: after must be a list, such as [one, two]"},
		{name: "no slug", b: "after: [A b]\n", want: `kube/b/index.md:6: after: "A b" is not a slug`},
		{name: "nested", b: "after: [[a]]\n", want: "kube/b/index.md:6: after: each entry of the list must be one value"},
		{name: "unknown track", mesh: "after: [cube]\n", want: `mesh/track.yaml:4: after: there is no track "cube": did you mean "kube"?`},
		{name: "circle of tracks", mesh: "after: [kube]\n", kube: "after: [mesh]\n", want: "these tracks wait for each other: kube → mesh → kube"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := content.Load(library(map[string]string{
				"kube/track.yaml": track(1, test.kube), "mesh/track.yaml": track(2, test.mesh),
				"kube/a/index.md": article(1, test.a), "kube/b/index.md": article(2, test.b),
			}))
			if test.otherwiseFine {
				if b, ok := l.Article("b"); err != nil || !ok || fmt.Sprint(b.After, l.Tracks[1].After) != "[a] [kube]" {
					t.Errorf("after is read as %+v (%v)", b, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v; want %q", err, test.want)
			}
		})
	}
}

// A README of a lab can have neither cards nor terms: no glossary is at hand.
func TestRenderOutsideOfArticles(t *testing.T) {
	for src, want := range map[string]string{
		"> [!LAB] full-disk":   "stands in an article",
		"[kube-proxy](term:x)": "there is no glossary here",
	} {
		if _, err := content.Render("README.md", []byte(src), content.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v; want %q", src, err, want)
		}
	}
}
