package convert

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxDrafts bounds the drafts of solutions that are made of one scenario.
const maxDrafts = 5

// drafts are scripts made of what the scenario calls a solution, one for each
// way that it shows. Nobody has tried them.
func (sc *scenario) drafts() []string {
	ways := 1
	for _, s := range sc.steps {
		if s.page != nil {
			ways = max(ways, len(s.page.ways))
		}
	}
	var all []string
	for way := range min(ways, maxDrafts) {
		d := &draft{scenario: sc}
		for i, s := range sc.steps {
			d.step(s, i, way)
		}
		if text := d.text(); d.commands > 0 && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// draft is one solution in the making.
type draft struct {
	scenario *scenario
	lines    []string
	missing  []string // steps without a solution
	commands int
	manifest string // a manifest that was shown, and not yet used
	made     []string
}

func (d *draft) text() string {
	head := []string{"# A draft made of the scenario's own text. Nobody has tried it."}
	if len(d.missing) > 0 {
		head = append(head, "# The text has no solution for "+strings.Join(d.missing, ", ")+".")
	}
	head = append(head, "cd")
	if slices.ContainsFunc(d.lines, usesK.MatchString) {
		head = append(head, `k() { kubectl "$@"; }`)
	}
	all := slices.Concat(head, d.lines, []string{"", "exit 0 # what counts is what the checks see"})
	return strings.Join(all, "\n") + "\n"
}

// usesK finds the name that learners give kubectl.
var usesK = regexp.MustCompile(`(?m)(?:^|[|;&(])\s*k\s`)

// step adds the commands of a step: of its solution, or else of its text.
func (d *draft) step(s *step, i, way int) {
	d.lines = append(d.lines, "", fmt.Sprintf("# Step %d: %s", i+1, strings.Join(strings.Fields(s.title), " ")))
	before := d.commands
	switch {
	case len(s.solves) > 0:
		for _, solve := range s.solves {
			d.block(codeText{lang: "sh", body: solve.text})
		}
	case s.page == nil:
	case len(s.page.ways) > 0:
		for _, c := range s.page.ways[min(way, len(s.page.ways)-1)] {
			d.block(c)
		}
	default:
		for _, c := range s.page.runs {
			d.block(c)
		}
	}
	d.apply()
	if d.commands == before && len(s.checks) > 0 && !d.scenario.solvedAtOnce {
		d.missing = append(d.missing, fmt.Sprintf("step %d", i+1))
	}
}

var (
	isManifest = regexp.MustCompile(`(?m)^apiVersion:\s*\S+`)
	// beginsManifest: it is one, though the fence says bash.
	beginsManifest = regexp.MustCompile(`^(?:\s|#[^\n]*\n|---\s*\n)*apiVersion:`)
)

// block adds a block of code: a manifest waits for the command that uses it.
func (d *draft) block(c codeText) {
	switch lang := strings.ToLower(c.lang); {
	case isManifest.MatchString(c.body) && (beginsManifest.MatchString(c.body) || slices.Contains([]string{"yaml", "yml", "", "none", "text"}, lang)):
		d.apply()
		d.manifest = strings.TrimRight(c.body, "\n")
	case c.shell() || lang == "" && startsKnown(c.body):
		d.shell(withoutPrompts(c.body))
	}
}

// startsKnown says whether a block without a language begins with a command.
func startsKnown(body string) bool {
	word, _, _ := strings.Cut(strings.TrimLeft(strings.TrimSpace(body), "$ "), " ")
	return slices.Contains([]string{"kubectl", "k", "cat", "echo", "mkdir", "cp", "touch", "export", "sudo", "curl", "cd", "chmod"}, word)
}

// withoutPrompts takes the prompts of a session's transcript away, and what
// was printed there.
func withoutPrompts(body string) string {
	lines := strings.Split(body, "\n")
	prompt := func(line string) bool { return strings.HasPrefix(line, "$ ") }
	if !slices.ContainsFunc(lines, prompt) {
		return body
	}
	var kept []string
	continued := false
	for _, line := range lines {
		if prompt(line) || continued {
			kept = append(kept, strings.TrimPrefix(line, "$ "))
			continued = strings.HasSuffix(line, "\\")
		}
	}
	return strings.Join(kept, "\n")
}

// apply hands a manifest that no command names to the cluster.
func (d *draft) apply() {
	if d.manifest == "" {
		return
	}
	d.here("kubectl apply -f -")
}

// here gives the manifest to a command.
func (d *draft) here(command string) {
	end := "EOF"
	for strings.Contains(d.manifest, end) {
		end += "_"
	}
	d.lines = append(d.lines, command+" <<'"+end+"'", d.manifest, end)
	d.manifest = ""
	d.commands++
}

// shell adds commands, without those that wait for somebody to type.
func (d *draft) shell(body string) {
	body = strings.TrimRight(body, "\n")
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(body), "")
	if err != nil || len(body) > maxScript {
		d.lines = append(d.lines, "# bash can't read this:", comment(body))
		return
	}
	f := study(body)
	d.writeManifest(f)
	for _, w := range f.Writes {
		d.made = append(d.made, path.Base(w.What))
	}
	lines := strings.Split(body, "\n")
	for _, stmt := range parsed.Stmts {
		if interactive(stmt) {
			for i := int(stmt.Pos().Line()) - 1; i < int(stmt.End().Line()) && i < len(lines); i++ {
				lines[i] = "# by hand: " + strings.TrimPrefix(lines[i], "# by hand: ")
			}
		} else {
			d.commands++
		}
	}
	if out := strings.Join(lines, "\n"); parses(out) {
		d.lines = append(d.lines, out)
	} else {
		d.lines = append(d.lines, "# this needs somebody at the keyboard:", comment(body))
	}
}

// writeManifest puts a manifest that was shown into the file that a command
// then names.
func (d *draft) writeManifest(f facts) {
	if d.manifest == "" {
		return
	}
	for _, r := range f.Reads {
		base := path.Base(r.What)
		made := slices.Contains(d.made, base) || slices.ContainsFunc(f.Writes, func(w use) bool { return path.Base(w.What) == base })
		if ext := path.Ext(base); (ext == ".yaml" || ext == ".yml") && !made {
			d.made = append(d.made, base)
			d.here("cat >" + quoteShell(r.What))
			return
		}
	}
	d.apply()
}

// quoteShell quotes a path; a ~ at its beginning is the home.
func quoteShell(name string) string {
	if rest, home := strings.CutPrefix(name, "~/"); home {
		return "~/" + quoteShell(rest)
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// interactive says whether a command waits for somebody at the keyboard, or
// does not end by itself.
func interactive(stmt *syntax.Stmt) bool {
	found := false
	syntax.Walk(stmt, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || stmt.Background {
			return !found
		}
		var words []string
		for _, w := range call.Args {
			words = append(words, w.Lit())
		}
		found = found || needsKeyboard(words)
		return !found
	})
	return found
}

func needsKeyboard(words []string) bool {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "k" || words[0] == "kubectl") {
		if words[0] != "sudo" {
			return kubectlWaits(words[1:])
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	if words[0] == "tail" || words[0] == "journalctl" {
		return slices.Contains(words, "-f")
	}
	return slices.Contains([]string{"vi", "vim", "nano", "emacs", "less", "more", "man", "top", "htop", "watch", "ssh", "exit", "logout", "clear", "k9s", "tmux", "screen", "code", "su", "history", "reset"}, words[0])
}

func kubectlWaits(words []string) bool {
	for i, w := range words {
		switch {
		case w == "--":
			return false
		case w == "edit" || w == "port-forward" || w == "proxy" || w == "attach":
			return true
		case w == "-w" || w == "--watch" || w == "--watch=true":
			return true
		case w == "-f" && slices.Contains(words[:i], "logs"):
			return true
		}
	}
	return false
}

func comment(body string) string {
	return "# " + strings.ReplaceAll(body, "\n", "\n# ")
}
