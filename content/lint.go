package content

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

const (
	// maxCodeColumns is the width of the terminal that code is typed into by
	// `content test`, and what fits beside a terminal in a lab.
	maxCodeColumns = 100
	// maxSummary in characters: three lines of a list.
	maxSummary = 240
)

// Lint looks for what an author should mend although pages are whole with it:
// lines of code that are too long, names of products that are written in another
// way than their makers do, long summaries, tables' columns without a heading, and
// files that nothing uses. The folder must be one that [Load] loads. The error joins
// the [Problem]s.
func Lint(fsys fs.FS) error {
	library, err := Load(fsys)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range library.Tracks {
		p := &problems{file: path.Join(t.Slug, "track.yaml")}
		p.summary(t.Summary, lineOf(fsys, p.file, "summary:"))
		errs = append(errs, p.err())
		for _, a := range t.Articles {
			errs = append(errs, a.lint(fsys))
		}
	}
	return errors.Join(errs...)
}

func (a *Article) lint(fsys fs.FS) error {
	p := &problems{file: path.Join(a.Dir, "index.md")}
	p.summary(a.Summary, lineOf(fsys, p.file, "summary:"))
	_, src, _ := splitFrontMatter(a.index)
	for _, b := range a.Blocks {
		if !b.IsOutput() { // what was printed is as wide as it is
			p.codeLines(b.Line, b.Code)
		}
	}
	opt := a.options(a.kept)
	l := &linter{reader: reader{problems: p, src: src}}
	l.walk(newMarkdown(opt).Parser().Parse(text.NewReader(src)))
	unused, err := a.unused(fsys, src)
	for _, name := range unused {
		p.found = append(p.found, Problem{File: path.Join(a.Dir, name), Line: 1, Msg: "nothing in the text uses or names this file: remove it, or show it"})
	}
	return errors.Join(p.err(), err)
}

func (p *problems) summary(summary string, line int) {
	if n := utf8.RuneCountInString(summary); n > maxSummary {
		p.add(line, "the summary has %d characters, and lists have room for %d", n, maxSummary)
	}
}

// lineOf is the line of a file that begins with the prefix.
func lineOf(fsys fs.FS, file, prefix string) int {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return 1
	}
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, prefix) {
			return i + 1
		}
	}
	return 1
}

// codeLines looks for long lines; fence is the line before the first.
func (p *problems) codeLines(fence int, code string) {
	for i, line := range strings.Split(code, "\n") {
		if n := utf8.RuneCountInString(line); n > maxCodeColumns {
			p.add(fence+1+i, "this line of code has %d columns, and a terminal beside a lab has %d: break it", n, maxCodeColumns)
		}
	}
}

// passing are files that no text has to name: sources of drawings, and what
// editors and interpreters leave.
func passing(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp")
}

// unused are the files in the article's folder that neither the text nor another
// file shows or names.
func (a *Article) unused(fsys fs.FS, src []byte) ([]string, error) {
	entries, err := fs.ReadDir(fsys, a.Dir)
	if err != nil {
		return nil, fmt.Errorf("list the files of article %s: %w", a.Slug, err)
	}
	texts := map[string][]byte{"index.md": src}
	for _, e := range entries {
		if data, err := fs.ReadFile(fsys, path.Join(a.Dir, e.Name())); err == nil && e.Name() != "index.md" {
			texts[e.Name()] = data
		}
	}
	named := func(file, name string) bool {
		for other, text := range texts {
			if other != file && bytes.Contains(text, []byte(name)) {
				return true
			}
		}
		return false
	}
	var unused []string
	for _, e := range entries {
		name := e.Name()
		shown := strings.TrimSuffix(name, ".mmd")
		if name != shown {
			shown += ".svg"
		}
		if e.IsDir() || name == "index.md" || passing(name) || named(name, strings.TrimSuffix(shown, ".py")) {
			continue
		}
		unused = append(unused, name)
	}
	return unused, nil
}

// linter goes through the words of a text.
type linter struct{ reader }

func (l *linter) walk(n ast.Node) {
	switch n := n.(type) {
	case *ast.CodeSpan, *ast.FencedCodeBlock, *ast.AutoLink:
		return
	case *ast.Text:
		line := l.line(n)
		for _, name := range productNames() {
			words := string(n.Segment.Value(l.src))
			for _, at := range name.wrong.FindAllStringIndex(words, -1) {
				if found := words[at[0]:at[1]]; !slices.Contains(name.right, found) && !partOfName(words, at[0], at[1]) {
					l.add(line, "%q is written %s", found, strings.Join(name.right, " or "))
				}
			}
		}
	}
	if n.Kind().String() == "TableHeader" {
		l.tableHeader(n)
	}
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		l.walk(c)
	}
}

// partOfName says whether the word is part of a longer name, such as that of a
// host, a package or a path.
func partOfName(words string, from, to int) bool {
	before := from > 0 && strings.IndexByte("/.@-_:", words[from-1]) >= 0
	after := to+1 < len(words) && strings.IndexByte("/.@-_:", words[to]) >= 0 && words[to+1] != ' '
	return before || after
}

// tableHeader: a column without a heading says nothing to a screen reader.
func (l *linter) tableHeader(header ast.Node) {
	column := 1
	for cell := header.FirstChild(); cell != nil; cell = cell.NextSibling() {
		if strings.TrimSpace(l.plain(cell)) == "" && !cell.HasChildren() {
			l.add(l.line(header), "column %d of this table has no heading", column)
		}
		column++
	}
}

// productName is a name as its makers write it, and a pattern for how it is
// written without regard to that.
type productName struct {
	right []string
	wrong *regexp.Regexp
}

// productNames are those that articles are about. A name of several words, or one
// that is a word too (Go, Envoy's envoys), is looked for as it goes wrong only.
func productNames() []productName {
	var names []productName
	add := func(pattern string, right ...string) {
		names = append(names, productName{right: right, wrong: regexp.MustCompile(`\b(?:` + pattern + `)\b`)})
	}
	for _, right := range []string{
		"Kubernetes", "GitHub", "GitLab", "PostgreSQL", "MySQL", "SQLite", "MongoDB", "Redis", "RabbitMQ", "OpenTelemetry", "Prometheus", "Grafana",
		"Istio", "Linkerd", "Cilium", "CoreDNS", "JavaScript", "TypeScript", "Python", "NumPy", "OpenSSL", "OpenSSH", "Debian", "Ubuntu",
		"eBPF", "gRPC", "YAML", "JSON", "WireGuard", "VMware", "DevOps", "Wi-Fi",
	} {
		add(`(?i)`+regexp.QuoteMeta(right), right)
	}
	add(`(?i)containerd`, "containerd")
	add(`(?i)systemd`, "systemd")
	add(`(?i)etcd`, "etcd")
	add(`(?i)k8s`, "Kubernetes")
	add(`(?i)Postgres`, "PostgreSQL")
	add(`(?i)nginx`, "NGINX", "nginx")
	add(`Github|git hub|Git Hub`, "GitHub")
	add(`Mac ?OS ?X?|OS ?X`, "macOS")
	add(`(?i)java script`, "JavaScript")
	add(`(?i)docker ?hub`, "Docker Hub")
	add(`docker compose|Docker-Compose|DockerCompose`, "Docker Compose")
	add(`(?i)cri-?o`, "CRI-O")
	add(`(?i)kubectl`, "kubectl")
	add(`(?i)kubelet`, "kubelet", "Kubelet")
	add(`linux`, "Linux")
	return names
}
