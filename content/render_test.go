package content_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"drydock/content"
)

var update = flag.Bool("update", false, "write what the tests get as what they want")

// files is a folder beside a text, for Options.Open.
type files map[string]string

func (f files) open(name string) ([]byte, error) {
	data, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(data), nil
}

// testdata/*.md are rendered to *.html. Look at what `go test -update` changes.
func TestRenderGoldens(t *testing.T) {
	sources, err := filepath.Glob("testdata/*.md")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources", err)
	}
	for _, source := range sources {
		t.Run(filepath.Base(source), func(t *testing.T) {
			src, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := content.Render(source, src, content.Options{
				FigureBase: "/articles/example/",
				Open:       func(name string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", name)) },
			})
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%s<!-- words %d; excerpt %q; contents %v; links %v -->\n", doc.HTML, doc.Words, doc.Excerpt, doc.Contents, doc.Links)
			golden := strings.TrimSuffix(source, ".md") + ".html"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; look at the difference after go test -update. Got:\n%s", golden, got)
			}
			checkSafe(t, doc.HTML)
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	beside := files{
		"ok.svg":      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><title>t</title><desc>d</desc><rect width="1" height="1"/></svg>`,
		"script.svg":  `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
		"onload.svg":  `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`,
		"style.svg":   `<svg xmlns="http://www.w3.org/2000/svg"><rect style="fill:red"/></svg>`,
		"html.svg":    `<svg xmlns="http://www.w3.org/2000/svg"><foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject></svg>`,
		"use.svg":     `<svg xmlns="http://www.w3.org/2000/svg"><g fill="url(https://example.org/x)"/></svg>`,
		"entity.svg":  `<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg xmlns="http://www.w3.org/2000/svg"><text>&a;</text></svg>`,
		"no.svg":      `<p>not a drawing</p>`,
		"two.svg":     `<svg xmlns="http://www.w3.org/2000/svg"/><svg xmlns="http://www.w3.org/2000/svg"/>`,
		"fake.png":    "not a picture",
		"unborn.mmd":  "flowchart LR\n a-->b",
		"changed.mmd": "flowchart LR\n a-->c",
		"changed.svg": content.DiagramMark([]byte("flowchart LR\n a-->b")) + `<svg xmlns="http://www.w3.org/2000/svg"/>`,
	}
	for _, test := range []struct {
		name, src string
		line      int
		says      string
	}{
		{"html block", "text\n\n<div>x</div>", 3, "HTML is not allowed"},
		{"html in text", "one\ntwo <b>three</b>", 2, "HTML is not allowed"},
		{"comment", "<!-- later -->", 1, "HTML is not allowed"},
		{"script", "a\n\n<script>alert(1)</script>", 3, "HTML is not allowed"},
		{"javascript", "a\n[x](javascript:alert)", 2, "of the kind javascript"},
		{"javascript in entities", "[x](&#106;avascript:alert)", 1, "of the kind javascript"},
		{"javascript in a definition", "[x]\n\n[x]: JaVaScript:alert", 1, "of the kind javascript"},
		{"javascript by itself", "<javascript:alert(1)>", 1, "of the kind javascript"},
		{"data", "[x](data:text/html,x)", 1, "of the kind data"},
		{"vbscript", "[x](vbscript:x)", 1, "of the kind vbscript"},
		{"file", "[x](file:///etc/passwd)", 1, "of the kind file"},
		{"another host", "[x](//example.org/x)", 1, "needs https:"},
		{"back slashes", `[x](<\\example.org>)`, 1, "needs https:"},
		{"beside", "[x](other.html)", 1, "no file"},
		{"no text", "[](https://example.org)", 1, "no text"},
		{"no heading", "## Pods {#pods}\n\n[x](#pod)", 3, `did you mean "pods"?`},
		{"twice", "## A {#a}\n\n## B {#a}", 3, "line 1 has the id #a too"},
		{"hole", "## A\n\n#### B", 3, "level 4 below one of level 2"},
		{"attribute", "## A {onclick=alert}", 1, "no other attribute such as onclick"},
		{"style", "## A {style=color:red}", 1, "no other attribute such as style"},
		{"no language", "a\n\n```\nls\n```", 3, "say what this is"},
		{"unknown language", "```yamll\na: 1\n```", 1, `did you mean "yaml"?`},
		{"unknown word", "```sh rum\nls\n```", 1, `did you mean "run"?`},
		{"marks no lines", "```sh mark=a\nls\n```", 1, "does not name lines"},
		{"marks line 0", "```sh mark=0\nls\n```", 1, "does not name lines"},
		{"marks backwards", "```sh mark=3-2\nls\nls\nls\n```", 1, "does not name lines"},
		{"marks twice", "```sh mark=1-2,2\nls\nls\n```", 1, "twice or out of their order"},
		{"marks too much", "a\n\n```sh mark=1,3-4\nls\nls\nls\n```", 3, "line 4 cannot be marked: the code has 3"},
		{"misspelt mark", "```sh mrak=1\nls\n```", 1, `did you mean "mark="?`},
		{"two places", "```sh cluster machine\nls\n```", 1, "cluster or machine"},
		{"run nowhere", "```sh run none\nls\n```", 1, "cannot be run"},
		{"output is run", "```output run\nls\n```", 1, "printed, not run"},
		{"no code", "```sh\n\n```", 1, "is empty"},
		{"mermaid", "```mermaid\ngraph\n```", 1, "name.mmd"},
		{"indented", "a\n\n    ls", 3, "four spaces"},
		{"callout", "a\n\n> [!INFO]\n> x", 3, "[!NOTE]"},
		{"empty callout", "> [!NOTE]", 1, "says nothing"},
		{"image in text", "a ![x](ok.svg) b", 1, "line of its own"},
		{"no alternative", "![](ok.svg)", 1, "cannot see it"},
		{"from the network", "![x](https://example.org/x.svg)", 1, "without a network"},
		{"from above", "![x](../secret.svg)", 1, "without a network"},
		{"missing", "a\n\n![x](no-such.svg)", 3, "no file no-such.svg"},
		{"unborn", "![x](unborn.svg)", 1, "was not rendered yet: run `make diagrams`"},
		{"changed", "![x](changed.svg)", 1, "was changed since"},
		{"kind of figure", "![x](unborn.mmd)", 1, ".svg, .png or .jpg"},
		{"not a picture", "![x](fake.png)", 1, "read the figure"},
		{"svg script", "![x](script.svg)", 1, "element <script>"},
		{"svg handler", "![x](onload.svg)", 1, "attribute onload"},
		{"svg style", "![x](style.svg)", 1, "attribute style"},
		{"svg html", "![x](html.svg)", 1, "element <foreignObject>"},
		{"svg address", "![x](use.svg)", 1, "only name something in the drawing"},
		{"svg entity", "![x](entity.svg)", 1, "<!DOCTYPE>"},
		{"svg root", "![x](no.svg)", 1, "element <p>"},
		{"svg twice", "![x](two.svg)", 1, "one <svg>"},
		{"bytes", "\xff\xfe", 1, "UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc, err := content.Render("x.md", []byte(test.src), content.Options{FigureBase: "/x/", Open: beside.open})
			var p content.Problem
			if !errors.As(err, &p) {
				t.Fatalf("no problem was found, but %v; it is rendered as %s", err, doc.HTML)
			}
			if p.File != "x.md" || p.Line != test.line || !strings.Contains(p.Msg, test.says) {
				t.Errorf("the problem is %q; want one on line %d that says %q", p, test.line, test.says)
			}
			if doc.HTML != "" {
				t.Errorf("it was rendered all the same: %s", doc.HTML)
			}
		})
	}
}

func TestRenderFindsAllProblemsAtOnce(t *testing.T) {
	_, err := content.Render("x.md", []byte("<b>\n\n```\nls\n```\n\n[x](ftp://x)\n"), content.Options{})
	var lines []int
	for _, p := range content.Problems(err) {
		lines = append(lines, p.Line)
	}
	if fmt.Sprint(lines) != "[1 3 7]" {
		t.Errorf("problems on lines %v, want 1, 3 and 7: %v", lines, err)
	}
}

func TestFiguresOfOnePageKeepApart(t *testing.T) {
	drawing := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title id="t">old</title><desc id="d">All of it.</desc>` +
		`<defs><marker id="m1"><path d="M0 0"/></marker></defs><path d="M0 0L1 1" marker-end="url(#m1)"/></svg>`
	doc, err := content.Render("x.md", []byte("![one](a.svg)\n\n![two](a.svg \"Two\")"), content.Options{IDPrefix: "p-", Open: files{"a.svg": drawing}.open})
	if err != nil {
		t.Fatal(err)
	}
	checkSafe(t, doc.HTML)
	for _, want := range []string{
		`id="p-figure-1-m1"`, `marker-end="url(#p-figure-1-m1)"`, `id="p-figure-2-m1"`, `marker-end="url(#p-figure-2-m1)"`,
		`role="img" aria-labelledby="p-figure-1-title" aria-describedby="p-figure-1-desc"`, `<title id="p-figure-1-title">one</title>`,
		`<desc id="p-figure-2-desc">All of it.</desc>`, `<figcaption>Two</figcaption>`,
	} {
		if !strings.Contains(doc.HTML, want) {
			t.Errorf("no %s in %s", want, doc.HTML)
		}
	}
}

// checkSafe parses the HTML as a browser does, and fails on what a page must
// never have: things that run, styles that a strict policy ignores, addresses
// of unknown kinds, ids that are there twice and references to none.
func checkSafe(t *testing.T, source string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(source))
	if err != nil {
		t.Fatalf("not HTML: %v", err)
	}
	ids := map[string]bool{}
	var named []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "style", "iframe", "object", "embed", "foreignobject", "foreignObject", "form", "base", "meta", "link", "use", "animate", "set":
			t.Errorf("there is a <%s> in %s", n.Data, source)
		}
		for _, a := range n.Attr {
			value := strings.ToLower(strings.TrimSpace(a.Val))
			switch key := strings.ToLower(a.Key); {
			case strings.HasPrefix(key, "on"), key == "style", key == "srcdoc", key == "formaction":
				t.Errorf("<%s %s=%q> in %s", n.Data, key, a.Val, source)
			case key == "href" || key == "src":
				if scheme, _, ok := strings.Cut(value, ":"); ok && regexp.MustCompile(`^[a-z]+$`).MatchString(scheme) && scheme != "http" && scheme != "https" && scheme != "mailto" {
					t.Errorf("<%s %s=%q> in %s", n.Data, key, a.Val, source)
				}
			case key == "id":
				if ids[a.Val] {
					t.Errorf("the id %q is there twice in %s", a.Val, source)
				}
				ids[a.Val] = true
			case key == "aria-labelledby", key == "aria-describedby":
				named = append(named, strings.Fields(a.Val)...)
			}
		}
	}
	for _, id := range named {
		if !ids[id] {
			t.Errorf("there is nothing with the id %q in %s", id, source)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"# A\n\n[x](javascript:alert(1)) <script>alert(1)</script>\n",
		"> [!NOTE] *title* `x`\n> text\n\n> [!TIP]\n",
		"> [!NOTE] [a\n> b](https://x)\n> c\n",
		"```sh run cluster file=a\"b.sh\nls <b> & | x\n```\n",
		"| a | b |\n|:-:|--:|\n| 1 | `x` |\n\na[^1]\n\n[^1]: note [x](#a)\n\nterm\n: definition\n",
		"![a\"><script>](a.svg \"t\\\"><b>\")\n",
		"## A {#a\"b onclick=x}\n## A\n## A\n",
		"<https://example.org/\"onmouseover=x> www.example.org me@example.org\n",
		"- [ ] a\n- [x] b\n\n![x](a.png)\n",
		"[x](#fn:1) [^a]\n\n[^a]: > [!DEPTH]\n    > y\n",
	} {
		f.Add(seed)
	}
	drawing := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><desc>d</desc><text x="1">a &lt; b</text></svg>`
	open := files{"a.svg": drawing}.open
	f.Fuzz(func(t *testing.T, src string) {
		doc, err := content.Render("x.md", []byte(src), content.Options{FigureBase: "/x/", Open: open})
		if err != nil {
			if doc.HTML != "" {
				t.Errorf("%q has problems but was rendered", src)
			}
			return
		}
		checkSafe(t, doc.HTML)
	})
}

func FuzzSVG(f *testing.F) {
	for _, seed := range []string{
		`<svg viewBox="0 0 1 1"><g fill="url(#a)"><text>x</text></g></svg>`,
		`<svg><title><script>x</script></title><desc>a<b/></desc></svg>`,
		`<svg xmlns:x="http://www.w3.org/1999/xlink"><path x:href="javascript:x" d="M0 0"/></svg>`,
		`<svg><text class="&quot; onload=&quot;x">&lt;script&gt;</text></svg>`,
		`<?xml version="1.0"?><!-- c --><svg id="a" role="b"><marker id="m"/></svg>`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, svg string) {
		doc, err := content.Render("x.md", []byte("![a](a.svg)"), content.Options{Open: files{"a.svg": svg}.open})
		if err == nil {
			checkSafe(t, doc.HTML)
		}
	})
}
