package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"drydock/labs"
)

// Whatever a page holds, what is made of it has no HTML, no code without a
// language, no picture, and no heading that is too high.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		"# A\n\n`ls`{{exec}}\n", "```bash\nx\n```{{execute T2}}\n", "<details><summary>Solution</summary>\n```\nx\n```\n</details>", "- a\n  > b\n    c\n",
		"<pre>\n<b>x", "| a |\n|---|\n| `b\\|c` |\n", "[x](javascript:1) <https://a.b> ![p](q)\n", "{{TRAFFIC_HOST1_80}} [[HOST_IP]]", "a\n: b\n[^1]: c\n", "~~~ \n`` ` ``\n~~~", "<a href=x>y</a><br><!-- z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > maxPage {
			return
		}
		r := &Report{}
		page := readPage("page.md", src, 2, true, r)
		md := goldmark.New(goldmark.WithExtensions(extension.NewTable(), extension.Strikethrough, extension.TaskList, extension.DefinitionList, extension.Footnote))
		root := md.Parser().Parse(text.NewReader([]byte(page.markdown)))
		level := 2
		err := ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if !entering {
				return ast.WalkContinue, nil
			}
			switch n := n.(type) {
			case *ast.HTMLBlock, *ast.RawHTML, *ast.Image, *ast.CodeBlock:
				t.Errorf("%s in %q, made of %q", n.Kind(), page.markdown, src)
			case *ast.FencedCodeBlock:
				if n.Info == nil {
					t.Errorf("code without a language in %q, made of %q", page.markdown, src)
				}
			case *ast.Heading:
				if n.Level <= 2 || n.Level > level+1 {
					t.Errorf("a heading of level %d below one of level %d in %q, made of %q", n.Level, level, page.markdown, src)
				}
				level = n.Level
			}
			return ast.WalkContinue, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A description is read or refused, with a line that is in it.
func FuzzDescription(f *testing.F) {
	f.Add("index.json", `{"a": [1, true, null, {"b": "c"}]}`)
	f.Add("index.json", "{\n\t\"a\": ,}")
	f.Add("index.yaml", "a: [b\n")
	f.Add("index.json", strings.Repeat("[", 2*maxDepth))
	f.Fuzz(func(t *testing.T, name, src string) {
		root, note := parseDescription(name, []byte(src))
		if (root == nil) == (note == nil) {
			t.Fatalf("root %v, note %v", root, note)
		}
		if note != nil {
			if note.Line < 1 || note.Line > strings.Count(src, "\n")+2 {
				t.Errorf("line %d of %q", note.Line, src)
			}
			return
		}
		var notes []Note
		o := newObject(name, "", root, &notes)
		o.rest(&Report{})
		for _, key := range o.keys() {
			_, _, _ = o.text(key), o.list(key), o.object(key)
		}
	})
}

// A script comes out of lab.yaml as it went in, whatever is in it.
func FuzzCheck(f *testing.F) {
	f.Add("#!/bin/bash\n\tkubectl get pods  \n")
	f.Add("cat <<EOF\n  x: 'y'\n\nEOF\n")
	f.Add("  begins with spaces\n\u2028\u0085\ufeff# é\n---\n")
	f.Fuzz(func(t *testing.T, src string) {
		script, err := scriptText([]byte(src))
		if err != nil || len(script) > maxScript {
			return
		}
		out, err := yaml.Marshal(fields("command", list(str("bash"), block(script))))
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ Command []string }
		if err := yaml.Unmarshal(out, &back); err != nil || len(back.Command) != 2 || back.Command[1] != script {
			t.Errorf("%q became %q, error %v, through %q", script, back.Command, err, out)
		}
		study(script)
	})
}

// An archive is unpacked below its folder, or refused.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, small()...))
	f.Add(zipOf(f, entry{name: "../x", text: "y"}))
	f.Add(gzipped(f, tarOf(f, entry{name: "a", link: "../b"})))
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "archive")
		write(t, file, archive)
		t.Setenv("TMPDIR", dir)
		s, err := openArchive(file)
		if err == nil {
			_, err = s.walk(func(string) bool { return true })
			if err == nil {
				err = s.close()
			}
			if err != nil {
				t.Error(err)
			}
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, error %v", left, err)
		}
	})
}

// A lab in HCL becomes a lab or is refused, whatever its files say.
func FuzzHCL(f *testing.F) {
	f.Add(`resource "lab" "a" {
  title = "x${variable.v}"
  content { chapter "c" { page "p" { reference = resource.page.p } } }
}
variable "v" { default = "y" }
resource "page" "p" {
  file = "a"
  activities = { t = resource.task.t, "q" = resource.quiz.q }
}
resource "task" "t" { condition "c" { check { script = "b" } } }
resource "quiz" "q" { questions = [resource.text_answer_question.n] }
resource "text_answer_question" "n" {
  question = "?"
  answer = "/a/"
}`, `<instruqt-task id="t">a</instruqt-task><instruqt-quiz id=q></instruqt-quiz>`, "true\n")
	f.Add("module \"m\" {\n source = \"./\"\n}\noutput \"o\" {\n value = module.m.output.o\n}\nresource \"lab\" \"l\" {\n content { \n chapter \"c\" { \n page \"p\" {\n reference = module.m.output.o\n}\n}\n}\n}", "", "")
	f.Fuzz(func(t *testing.T, lab, a, b string) {
		files := fstest.MapFS{}
		for name, content := range map[string]string{"main.hcl": lab, "a": a, "b": b} {
			files[name] = &fstest.MapFile{Data: []byte(content)}
		}
		src := &source{FS: files, name: "lab"}
		becomesLab(t, src, &instruqt{src: src})
	})
}

// A whole scenario becomes a lab that can be loaded, or is refused. An id or a
// number of points that no lab may have would be found here.
func FuzzScenario(f *testing.F) {
	f.Add(`{"title":"x","details":{"steps":[{"text":"a","verify":"b"}],"assets":{"host01":[{"file":"a"}]}},"backend":{"imageid":"ubuntu"}}`, "# a\n", "true\n")
	f.Add(`{"details":{"intro":{"text":"a","foreground":"b"},"steps":[{"title":"${x}","text":"a","verify":"b"},{"verify":"b"}]},"backend":{"imageid":"kubernetes"}}`, "<b>x", "kubectl run a --image=nginx\n")
	f.Fuzz(func(t *testing.T, index, a, b string) {
		files := fstest.MapFS{}
		for name, content := range map[string]string{"index.json": index, "a": a, "b": b, "assets/a": b} {
			files[name] = &fstest.MapFile{Data: []byte(content)}
		}
		src := &source{FS: files, name: "scenario"}
		becomesLab(t, src, &killercoda{src: src, courses: map[string]courseItem{}})
	})
}

// becomesLab reads the scenario of a source, and fails when it becomes neither a lab nor a refusal.
func becomesLab(t *testing.T, src *source, format reader) {
	t.Helper()
	r := &Report{Scenario: src.name}
	sc, wrong := format.read(".", r)
	if len(wrong) > 0 {
		return
	}
	made := (&importer{src: src, read: format, taken: map[string]bool{}}).files(sc)
	if made == nil {
		if r.Outcome != Refused || len(r.Reasons) == 0 {
			t.Errorf("no lab and no reason: %+v", r)
		}
		return
	}
	lab := fstest.MapFS{}
	for name, content := range made {
		lab["lab/"+name] = &fstest.MapFile{Data: content}
	}
	if _, err := labs.LoadLab(lab, "lab"); err != nil {
		t.Errorf("%v, of\n%s", err, made["lab.yaml"])
	}
}
