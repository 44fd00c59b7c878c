package content_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"drydock/content"
	"drydock/content/xsstest"
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
		"prefix.svg":  `<svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>`,
		"space.svg":   `<svg xmlns="http://www.w3.org/2000/svg"><text xmlns="http://www.w3.org/1999/xhtml">x</text></svg>`,
		"open.svg":    `<svg xmlns="http://www.w3.org/2000/svg"><g>`,
		"crossed.svg": `<svg xmlns="http://www.w3.org/2000/svg"><g></svg></g>`,
		"fake.png":    "not a picture",
		"large.png":   strings.Repeat("x", 513<<10),
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
		{"another host in disguise", "[x](///example.org/x)", 1, "needs https:"},
		{"no host", "[x](https:example.org)", 1, "names no host"},
		{"back slashes", `[x](<\\example.org>)`, 1, "needs https:"},
		{"beside", "[x](other.html)", 1, "only pictures beside this text are served"},
		{"no picture beside", "[x](other.png)", 1, "no file"},
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
		{"misspelt callout", "> [!QIUZ] x?", 1, `did you mean "[!QUIZ]"?`},
		{"lower-case callout", "> [!quiz] x?", 1, `did you mean "[!QUIZ]"?`},
		{"empty callout", "> [!NOTE]", 1, "says nothing"},
		{"empty depth", "> [!DEPTH] Title", 1, "says nothing"},
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
		{"svg prefix", "![x](prefix.svg)", 1, "element <svg>"},
		{"svg space", "![x](space.svg)", 1, "attribute xmlns"},
		{"svg open", "![x](open.svg)", 1, "element <g> of this drawing does not end"},
		{"svg crossed", "![x](crossed.svg)", 1, "</svg> ends an element"},
		{"large picture", "![x](large.png)", 1, "at most 512 are allowed"},
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

// What callouts with parts of their own must have.
func TestRenderRefusesCallouts(t *testing.T) {
	choices := "> - [ ] a\n>\n>   No.\n> - [x] b\n>\n>   Yes.\n"
	long := strings.Repeat("word ", 61)
	for _, test := range []struct {
		name, src string
		line      int
		says      string
	}{
		{"titled side note", "> [!ASIDE] Title\n> text", 1, "no title"},
		{"empty side note", "> [!ASIDE]", 1, "one paragraph"},
		{"two paragraphs in the margin", "> [!ASIDE]\n> a\n>\n> b", 1, "one paragraph"},
		{"code in the margin", "> [!ASIDE]\n> ```sh\n> ls\n> ```", 1, "one paragraph"},
		{"long side note", "a\n\n> [!ASIDE]\n> " + long, 3, "has 61 words"},

		{"tabs without a title", "> [!TABS]\n> - a\n>\n>   b\n> - c\n>\n>   d", 1, "what differs"},
		{"tabs without a list", "> [!TABS] x\n> text", 1, "one bulleted list"},
		{"empty tabs", "> [!TABS] x", 1, "one bulleted list"},
		{"numbered tabs", "> [!TABS] x\n> 1. a\n>\n>    b", 1, "one bulleted list"},
		{"text after tabs", "> [!TABS] x\n> - a\n>\n>   b\n> - c\n>\n>   d\n>\n> e", 1, "one bulleted list"},
		{"one tab", "> [!TABS] x\n> - a\n>\n>   b", 1, "from 2 to 6 tabs"},
		{"seven tabs", "> [!TABS] x" + strings.Repeat("\n> - a\n>\n>   b", 7), 1, "from 2 to 6 tabs"},
		{"tab without a name", "> [!TABS] x\n> - a\n>\n>   b\n> - ```sh\n>   ls\n>   ```", 5, "no name"},
		{"empty tab", "> [!TABS] x\n> - a\n>\n>   b\n> - c", 5, `"c" has nothing below`},
		{"name and text in one", "> [!TABS] x\n> - a\n>\n>   b\n> - the name\n>   and all that follows it", 5, "put an empty line between"},
		{"tabs of one name", "> [!TABS] x\n> - a\n>\n>   b\n> - a\n>\n>   c", 5, "line 2 has the name"},
		{"heading in tabs", "> [!TABS] x\n> - a\n>\n>   ## b\n> - c\n>\n>   d", 4, "inside of [!TABS]"},
		{"tabs in tabs", "> [!TABS] x\n> - a\n>\n>   > [!TABS] y\n> - c\n>\n>   d", 4, "cannot stand inside of [!TABS]"},
		{"code in tabs", "> [!TABS] x\n> - a\n>\n>   ```shh\n>   ls\n>   ```\n> - c\n>\n>   d", 4, "no language"},

		{"no question", "> [!QUIZ]\n" + choices, 1, "question mark"},
		{"no question mark", "> [!QUIZ] Say\n" + choices, 1, "question mark"},
		{"no answers", "> [!QUIZ] Why?", 1, "has no answers"},
		{"no answers but text", "> [!QUIZ] Why?\n> Because.", 1, "has no answers"},
		{"misspelt answer", "> [!QUIZ] Why?\n>\n> Anwser: `a`\n>\n> b", 3, `did you mean "Answer:"?`},
		{"asked twice", "> [!QUIZ] Why?\n" + choices + "\n> [!QUIZ]  Why?\n" + choices, 9, "line 1 asks the same"},
		{"nothing is right", "> [!QUIZ] Why?\n> - [ ] a\n>\n>   No.\n> - [ ] b\n>\n>   No.", 1, "no choice is right"},
		{"all is right", "> [!QUIZ] Why?\n> - [x] a\n>\n>   Yes.\n> - [X] b\n>\n>   Yes.", 1, "all choices are right"},
		{"one choice", "> [!QUIZ] Why?\n> - [x] a\n>\n>   Yes.", 1, "from 2 to 8 choices"},
		{"no box", "> [!QUIZ] Why?\n> - [x] a\n>\n>   Yes.\n> - b\n>\n>   No.", 5, "begins with [ ]"},
		{"no explanation", "> [!QUIZ] Why?\n> - [x] a\n>\n>   Yes.\n> - [ ] b", 5, "why it is wrong"},
		{"explanation in the choice", "> [!QUIZ] Why?\n> - [x] a\n>   because\n> - [ ] b\n>\n>   No.", 2, "why it is right"},
		{"empty choice", "> [!QUIZ] Why?\n> - [x] a\n>\n>   Yes.\n> - [ ]\n>\n>   No.", 5, "says nothing"},
		{"two same choices", "> [!QUIZ] Why?\n> - [x] a\n>\n>   Yes.\n> - [ ] a\n>\n>   No.", 5, "line 2 says the same"},
		{"two things in order", "> [!QUIZ] What first?\n> 1. a\n> 2. b\n>\n> c", 1, "from 3 to 8 things"},
		{"order without explanation", "> [!QUIZ] What first?\n> 1. a\n> 2. b\n> 3. c", 1, "why it is so"},
		{"explained within the order", "> [!QUIZ] What first?\n> 1. a\n> 2. b\n>\n>    x\n> 3. c\n>\n> d", 3, "after the list"},
		{"answer without code", "> [!QUIZ] Why?\n> Answer: a\n>\n> b", 2, "into code"},
		{"answer and text", "> [!QUIZ] Why?\n> Answer: `a` because\n>\n> b", 2, `not "because"`},
		{"answer twice", "> [!QUIZ] Why?\n> Answer: `a`, `A`\n>\n> b", 2, "accepted twice"},
		{"long answer", "> [!QUIZ] Why?\n> Answer: `" + strings.Repeat("a", 81) + "`\n>\n> b", 2, "from 1 to 80 characters"},
		{"answer without explanation", "> [!QUIZ] Why?\n> Answer: `a`", 1, "why it is so"},
		{"heading in a quiz", "> [!QUIZ] Why?\n> ## b\n" + choices, 2, "inside of [!QUIZ]"},
		{"quiz in a quiz", "> [!QUIZ] Why?\n> - [x] a\n>\n>   > [!QUIZ] What?\n> - [ ] b\n>\n>   No.", 4, "cannot stand inside of [!QUIZ]"},
		{"html in a quiz", "> [!QUIZ] Why?\n> - [x] a\n>\n>   <b>\n> - [ ] b\n>\n>   No.", 4, "HTML"},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc, err := content.Render("x.md", []byte(test.src), content.Options{})
			found := content.Problems(err)
			if !slices.ContainsFunc(found, func(p content.Problem) bool { return p.Line == test.line && strings.Contains(p.Msg, test.says) }) {
				t.Errorf("the problems are %v; want one on line %d that says %q; it is rendered as %s", found, test.line, test.says, doc.HTML)
			}
		})
	}
}

// What an order shows is never the right one or its reverse, and always the same.
func TestOrderIsShuffled(t *testing.T) {
	items := regexp.MustCompile(`<li data-item="(\w+)">`)
	for n := range 200 {
		src := fmt.Sprintf("> [!QUIZ] Which is first of %d?\n> 1. a\n> 2. b\n> 3. c\n>\n> So it is.\n", n)
		doc, err := content.Render("x.md", []byte(src), content.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, m := range items.FindAllStringSubmatch(doc.HTML, -1) {
			shown = append(shown, m[1])
		}
		right := slices.Clone(doc.Quizzes[0].Items)
		backward := slices.Clone(right)
		slices.Reverse(backward)
		if slices.Equal(shown, right) || slices.Equal(shown, backward) {
			t.Errorf("%d: %v is shown where %v is right", n, shown, right)
		}
		if slices.Sort(right); !slices.Equal(slices.Sorted(slices.Values(shown)), right) {
			t.Errorf("%d: %v is shown, and not all of %v", n, shown, right)
		}
		if again, _ := content.Render("x.md", []byte(src), content.Options{}); again.HTML != doc.HTML {
			t.Errorf("%d: it is another page the second time", n)
		}
	}
}

func TestQuizAnswers(t *testing.T) {
	doc, err := content.Render("x.md", []byte("> [!QUIZ] Which?\n> - [x] a\n>\n>   Yes.\n> - [ ] b\n>\n>   No.\n\n"+
		"> [!QUIZ] What first?\n> 1. a\n> 2. b\n> 3. c\n>\n> d\n\n> [!QUIZ] Which word?\n> Answer: `a`\n>\n> b\n"), content.Options{})
	if err != nil || len(doc.Quizzes) != 3 {
		t.Fatal(doc.Quizzes, err)
	}
	choice, order, text := doc.Quizzes[0], doc.Quizzes[1], doc.Quizzes[2]
	if choice.Kind != content.QuizChoice || order.Kind != content.QuizOrder || text.Kind != content.QuizText || order.Line != 9 || text.Question != "Which word?" {
		t.Errorf("the quizzes are %+v", doc.Quizzes)
	}
	if again, _ := content.Render("y.md", []byte("A text.\n\n> [!QUIZ]  Which\n> word?\n> Answer: `b`\n>\n> c\n"), content.Options{}); len(again.Quizzes) != 0 {
		t.Errorf("the question goes on behind its question mark: %+v", again.Quizzes)
	}
	if again, err := content.Render("y.md", []byte("A text.\n\n> [!QUIZ]  Which *word*?\n> Answer: `b`\n>\n> c\n"), content.Options{}); err != nil || again.Quizzes[0].ID != text.ID {
		t.Errorf("the same question has another id: %+v %v", again.Quizzes, err)
	}
	a, b, c := order.Items[0], order.Items[1], order.Items[2]
	for _, test := range []struct {
		quiz   content.Quiz
		answer string
		valid  bool
	}{
		{choice, a, true}, {choice, a + " " + b, true}, {choice, a + " " + a, false}, {choice, c, false}, {choice, "", false}, {choice, a + " ", false},
		{order, a + " " + b + " " + c, true}, {order, c + " " + a + " " + b, true}, {order, a + " " + b, false}, {order, a + " " + b + " " + b, false},
		{text, "anything", true}, {text, " ", false}, {text, strings.Repeat("ä", content.AnswerLength), true}, {text, strings.Repeat("a", content.AnswerLength+1), false}, {text, "\xff", false},
	} {
		if got := test.quiz.Valid(test.answer); got != test.valid {
			t.Errorf("whether %q is an answer to %q: %v", test.answer, test.quiz.Question, got)
		}
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
		"> [!QUIZ] a\n> b?\n> ```sh mark=1\n> ls\n> ```\n> - [x] `<b>` [^1]\n>\n>   yes\n> - [ ] b\n>\n>   no\n\n[^1]: x\n",
		"> [!QUIZ] a?\n> 1. a\n> 2. b\n> 3. c\n>\n> d\n\n> [!QUIZ] b?\n> Answer: `<i>`, `\"`\n>\n> e\n",
		"> [!TABS] <\n> - a\n>\n>   > [!NOTE]\n>   > b\n> - *c*\n>\n>   d\n\n> [!ASIDE]\n> x\n",
		"<https://example.org/\"onmouseover=x> www.example.org me@example.org\n",
		"- [ ] a\n- [x] b\n\n![x](a.png)\n",
		"[x](#fn:1) [^a]\n\n[^a]: > [!DEPTH]\n    > y\n",
	} {
		f.Add(seed)
	}
	classes, err := xsstest.Classes()
	if err != nil {
		f.Fatal(err)
	}
	for _, class := range classes {
		for _, payload := range class.Payloads {
			f.Add(payload)
		}
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
		if err := xsstest.Check(doc.HTML); err != nil {
			t.Errorf("%q: %v", src, err)
		}
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
	for _, drawing := range xsstest.Payloads("drawings") {
		f.Add(drawing)
	}
	f.Fuzz(func(t *testing.T, svg string) {
		doc, err := content.Render("x.md", []byte("![a](a.svg)"), content.Options{Open: files{"a.svg": svg}.open})
		if err == nil {
			checkSafe(t, doc.HTML)
			if err := xsstest.Check(doc.HTML); err != nil {
				t.Errorf("%q: %v", svg, err)
			}
		}
	})
}
