package prove_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"drydock/content"
	"drydock/content/prove"
	"drydock/labs/terminaltest"
	"drydock/sandbox"
)

// article loads one that has a text.
func article(t *testing.T, text string) *content.Article {
	t.Helper()
	library, err := content.Load(fstest.MapFS{
		"linux/track.yaml":       {Data: []byte("title: Linux\nsummary: Kernels.\norder: 1\n")},
		"linux/a-shell/index.md": {Data: []byte("---\ntitle: A shell\nsummary: About it.\npublished: 2026-11-23\norder: 1\n---\n" + text)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return library.Articles[0]
}

// told is what became of the blocks, by line.
func told(results []prove.Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%d: %s\n", r.Line, r.Problem)
	}
	return b.String()
}

const sound = "What is typed stays.\n\n" +
	"```sh machine\nword=kept\ncd /tmp\n```\n\n" +
	"```sh machine\necho \"$word in $PWD\"\n```\n```output\nkept in /tmp\n```\n\n" +
	"```sh machine\nfor i in 1 2; do\n  echo line $i\ndone; cat <<'END'\nand a $text\nEND\n```\n```output\nline 1\nline 2\nand a $text\n```\n\n" +
	"```sh machine fails\necho no >&2; false\n```\n```output\nno\n```\n\n" +
	"```sh machine\n# nothing but a remark\nprintf 'pid %s\\n' $$\n```\n```output shape\npid 4711\n```\n\n" +
	"```sh machine\nprintf 'one\\ntwo\\nthree\\n'\n```\n```output\none\n…\nthree\n```\n\n" +
	"```sh machine tab=2\necho \"[$word]\"\n```\n```output\n[]\n```\n\n" +
	"```sh machine until\nn=$((n+1)); echo $((n > 2))\n```\n```output\n1\n```\n\n" +
	"```python file=hello.py\nprint('hello')\n```\n\n" +
	"```sh machine\npython3 \"$OLDPWD/hello.py\"\n```\n```output\nhello\n```\n\n" +
	"```sh machine\ntput setaf 1; printf '12%%\\r100%%\\n'; tput sgr0\n```\n```output\n100%\n```\n\n" +
	"```sh machine root\necho as $(id -un)\n```\n```output\nas root\n```\n\n" +
	"```sh none: it takes a second machine\nping other\n```\n```output none: the same\n64 bytes\n```\n\n" +
	"```text\na drawing\n```\n"

func TestASoundArticleIsProven(t *testing.T) {
	results, err := prove.Article(t.Context(), article(t, sound), prove.Options{Provider: terminaltest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	if lies := prove.Problems(results); len(lies) != 0 || len(results) != 11 {
		t.Errorf("%d blocks were run; these lie: %+v", len(results), lies)
	}
}

const unsound = "```sh machine\necho a\n```\n```output\nb\n```\n\n" +
	"```sh machine\ntrue\nfalse\necho on\n```\n\n" +
	"```sh machine fails\ntrue\n```\n\n" +
	"```sh\necho where\n```\n\n" +
	"```python\nprint(1)\n```\n\n" +
	"```output\nof nothing\n```\n\n" +
	"```sh none\necho why\n```\n\n" +
	"```sh machine\necho 'not closed\n```\n\n" +
	"```sh machine\necho still here\n```\n```output\nstill here\n```\n\n" +
	"```sh machine\nexit 3\n```\n" // the shell is gone

func TestBlocksThatLieAreFound(t *testing.T) {
	results, err := prove.Article(t.Context(), article(t, unsound), prove.Options{Provider: terminaltest.New(t)})
	if err == nil || !strings.Contains(err.Error(), "linux/a-shell/index.md:") || !strings.Contains(err.Error(), "the shell has ended") {
		t.Errorf("the end of the shell: %v", err)
	}
	want := `10: it prints “a” instead of “b”
16: it ends with exit code 1; where that is meant, say fails
20: it ends with exit code 0, and is said to fail
24: say where it is run, cluster or machine, or none: and why it is not
28: this python is not run: give it a file=NAME that commands run, or say none: and why
32: no command above it prints this: put it right behind its command, or say ` + "```output none: and why nothing prints it" + `
36: say why it is not run, as in ` + "```sh none: it takes a second machine" + `
41: the shell wants more of this command
44: 
`
	if got := told(results); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestADeadEngineIsNoLie(t *testing.T) {
	p := terminaltest.New(t)
	p.Break(sandbox.ErrEngine)
	results, err := prove.Article(t.Context(), article(t, "```sh machine\necho a\n```\n"), prove.Options{Provider: p})
	if err == nil || !strings.Contains(err.Error(), "index.md:7") || len(results) != 0 {
		t.Errorf("%v, %v", results, err)
	}
}
