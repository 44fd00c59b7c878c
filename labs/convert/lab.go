package convert

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"drydock/labs"
	"drydock/sandbox"
)

// How often an imported check looks. It is written to be run once, at the
// press of a button, and starts a dozen programs or more.
const (
	checkEvery = "10s"
	// changingEvery is for a check that itself makes and deletes objects.
	changingEvery = "30s"
	// checkLimit is how long the grader lets a check run.
	checkLimit = 10
)

// elseText tells the learner what the script printed, without the lines that
// say what is in order: scripts print a line for each thing that they look at.
const elseText = `${result.code == 124 ? 'the check did not end within 10 seconds; it is tried again' :
(result.stdout + result.stderr).trim() == '' ? 'not yet; the check does not say why' :
(result.stdout + result.stderr).trim().split('\n').filter(l, !l.matches('^[^A-Za-z]*(✅|✔|PASS|OK\\b)')).join('\n').trim()}`

// build makes the files of the lab.
func (sc *scenario) build(o Options) (map[string][]byte, error) {
	r := sc.report
	b := &builder{scenario: sc, place: sc.choose(), files: map[string][]byte{}}
	r.Sandbox = string(b.place.kind)
	if b.place.kind == sandbox.Cluster {
		r.Sandbox += ", access: " + string(b.place.access)
	}
	b.images(o)
	b.setup()
	b.tasks()
	if err := b.description(o); err != nil {
		return nil, err
	}
	b.readme()
	for i, text := range sc.drafts() {
		name := "draft"
		if i > 0 {
			name = fmt.Sprintf("draft-%d", i+1)
		}
		b.file(path.Join("solutions", name+".sh"), b.place.said(text))
		r.Draft = append(r.Draft, path.Join("solutions", name+".sh"))
	}
	sc.warn(&b.place)
	return b.files, nil
}

// builder makes the files of one lab.
type builder struct {
	scenario *scenario
	place    place
	files    map[string][]byte
	steps    []*yaml.Node // of the setup, in order
	entries  *yaml.Node   // tasks
	taskIDs  map[*step]string
}

func (b *builder) file(name, text string) { b.files[name] = []byte(text) }

// addSetup adds a script to the setup.
func (b *builder) addSetup(name, text string) {
	name = path.Join("setup", fmt.Sprintf("%02d-%s.sh", len(b.steps), name))
	b.steps = append(b.steps, fields("run", str(name)))
	b.file(name, text)
}

// setup writes the scripts that prepare the sandbox.
func (b *builder) setup() {
	sc := b.scenario
	b.platform()
	b.assets()
	for _, s := range sc.setup {
		name := slugOf(s.what)
		b.addSetup(strings.Trim(name[:min(len(name), 40)], "-"), b.wrapped(s))
	}
	if b.place.kind == sandbox.Machine && len(b.steps) > 0 {
		b.addSetup("to-the-learner", "chown -R learner: "+learnerHome+"\n")
	}
	if b.place.varTmp {
		sc.report.did("what the setup leaves in /tmp is in /var/tmp: /tmp is empty whenever a node has been stopped")
	}
}

// sudo is what a node without sudo needs where everybody is root.
const sudo = `cat >/usr/local/bin/sudo <<'EOF'
#!/bin/bash
# Everybody is root here. Options of sudo are dropped.
while [[ $1 == -* || $1 == *=* ]]; do
	case $1 in -u | -g | -h | -p) shift ;; esac
	shift
done
exec "$@"
EOF
chmod 755 /usr/local/bin/sudo
`

// platform gives the node what scripts find on the platform.
func (b *builder) platform() {
	sc := b.scenario
	uses := func(s *script) bool { _, ok := s.facts.uses("sudo"); return ok }
	all := slices.Concat(sc.setup, sc.checks(), sc.learners())
	if b.place.kind == sandbox.Cluster && slices.ContainsFunc(all, uses) {
		b.addSetup("sudo", sudo)
	}
	if slices.ContainsFunc(all, func(s *script) bool { return strings.Contains(s.text, "/etc/killercoda/host") }) {
		b.addSetup("host", "mkdir -p /etc/killercoda\necho http://localhost:PORT >/etc/killercoda/host\n")
	}
}

// scriptEnd ends a script within another.
const scriptEnd = "DRYDOCK-IMPORTED-SCRIPT"

// wrapped is a script of the scenario, as it ran on its platform: as root, in
// the home directory, with its own interpreter, its output in a log. Nobody
// looked at how it ended there; only where it says set -e itself, a failure
// is one here.
func (b *builder) wrapped(s *script) string {
	var t strings.Builder
	fmt.Fprintf(&t, "# %s: %s\n", s.file, s.what)
	fmt.Fprintf(&t, "export HOME=%[1]s\ncd \"$HOME\"\nmkdir -p /var/log/%[2]s\nlog=/var/log/%[2]s/%[3]s.log\nscript=$(mktemp -p /var/tmp)\n", b.place.rootHome(), b.scenario.format, slugOf(s.what))
	body := b.place.onNode(s.text)
	run := `bash "$script"`
	if first, _, _ := strings.Cut(body, "\n"); strings.HasPrefix(first, "#!") && !strings.HasSuffix(strings.Fields(first)[len(strings.Fields(first))-1], "sh") {
		run = `"$script"`
	}
	fmt.Fprintf(&t, "cat >\"$script\" <<'%s'\n%s%s\nchmod 700 \"$script\"\n", scriptEnd, body, scriptEnd)
	fmt.Fprintf(&t, "%s >>\"$log\" 2>&1\ncode=$?\nrm -f \"$script\"\n", run)
	if strict(s.text) {
		t.WriteString("if [ \"$code\" != 0 ]; then tail -n 15 \"$log\" >&2; fi\nexit \"$code\" # the script itself gives up at the first failure\n")
	} else {
		t.WriteString("exit 0 # the platform never asked how the script ended\n")
	}
	return t.String()
}

// rootHome is the home of what runs as root.
func (p *place) rootHome() string {
	if p.kind == sandbox.Machine {
		return p.home
	}
	return rootHome
}

// strict says whether a script ends at the first failure.
func strict(text string) bool {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "set" && strings.HasPrefix(words[1], "-") && strings.ContainsRune(words[1], 'e') {
			return true
		}
	}
	return false
}

// maxSetupScript leaves room for what stands around a file in a script.
const maxSetupScript = 64 << 10

// assets writes scripts that write the scenario's files: text as it is, so
// that it can be edited, anything else encoded.
func (b *builder) assets() {
	var script strings.Builder
	flush := func() {
		if script.Len() > 0 {
			b.addSetup("files", "set -e\n"+script.String())
			script.Reset()
		}
	}
	for _, a := range b.scenario.assets {
		target := quoteShell(b.place.onNode(a.target))
		var mode string
		if a.mode != "" {
			mode = fmt.Sprintf("chmod %s %s\n", quoteShell(a.mode), target)
		}
		fmt.Fprintf(&script, "mkdir -p \"$(dirname %s)\"\n", target)
		if plainFile(a.data) && len(a.data) < maxSetupScript {
			end := scriptEnd
			fmt.Fprintf(&script, "cat >%s <<'%s'\n%s%s\n", target, end, b.place.onNode(string(a.data)), end)
		} else {
			b.encoded(&script, flush, a.data, target)
		}
		script.WriteString(mode)
		if script.Len() > maxSetupScript {
			flush()
		}
	}
	flush()
	if n := len(b.scenario.assets); n > 0 {
		b.scenario.report.did("%s copied into the sandbox", count(n, "file"))
	}
}

// encoded writes a file in pieces, each in a script that is not too long.
func (b *builder) encoded(script *strings.Builder, flush func(), data []byte, target string) {
	fmt.Fprintf(script, ": >%s\n", target)
	for piece := range slices.Chunk(data, maxSetupScript/2) {
		fmt.Fprintf(script, "base64 -d >>%s <<'%s'\n%s\n%s\n", target, scriptEnd, base64.StdEncoding.EncodeToString(piece), scriptEnd)
		if script.Len() > maxSetupScript {
			flush()
		}
	}
}

// plainFile says whether a here-document can hold the file.
func plainFile(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 && bytes.HasSuffix(data, []byte("\n")) && !bytes.Contains(data, []byte(scriptEnd)) && !bytes.Contains(data, []byte("\r"))
}

// tasks makes a task of every step that is checked.
func (b *builder) tasks() {
	sc := b.scenario
	b.entries, b.taskIDs = list(), map[*step]string{}
	var graded []*step
	for i, s := range sc.steps {
		if len(s.checks) > 0 || s.ask != nil {
			graded = append(graded, s)
			continue
		}
		sc.report.limit(KindUngraded, s.listed, s.line, "step %d, %q, is not checked there, and not here", i+1, s.title)
	}
	used := sc.autoIDs()
	before := ""
	for i, s := range graded {
		number := slices.Index(sc.steps, s) + 1
		id := unusedID(fmt.Sprintf("step-%d", number), used)
		b.taskIDs[s] = id
		points := labs.TotalPoints / len(graded)
		if i < labs.TotalPoints%len(graded) {
			points++
		}
		task := fields("id", str(id), "title", str(s.title), "points", integer(points))
		if len(s.hints) > 0 {
			hints := list()
			for _, h := range s.hints {
				hints.Content = append(hints.Content, str(b.place.said(h)))
			}
			put(task, "hints", hints)
		}
		if s.ask != nil {
			put(task, "ask", askNode(s.ask))
		} else {
			checks := list()
			for j, check := range s.checks {
				name := fmt.Sprintf("verify-%d", number)
				if len(s.checks) > 1 {
					name = fmt.Sprintf("verify-%d-%d", number, j+1)
				}
				checks.Content = append(checks.Content, b.check(name, check, before))
			}
			before = checks.Content[len(checks.Content)-1].Content[1].Value
			put(task, "checks", checks)
		}
		b.entries.Content = append(b.entries.Content, task)
	}
	sc.report.Tasks = len(graded)
}

func askNode(q *question) *yaml.Node {
	ask := fields("text", str(q.text))
	if len(q.choices) > 0 {
		put(ask, "choices", texts(q.choices))
	}
	if q.all {
		put(ask, "all", texts(q.accept))
	} else {
		put(ask, "accept", texts(q.accept))
	}
	return ask
}

// check makes a check of a verify script. Once it has passed it has passed,
// and it counts only behind the step before: so it is on the platform, where
// the button leads to the next step.
func (b *builder) check(id string, s *script, before string) *yaml.Node {
	every := checkEvery
	if len(s.facts.Changes) > 0 {
		every = changingEvery
	}
	on := b.place.on(b.scenario, s)
	text := b.place.said(s.text)
	if on == "node" {
		text = b.place.onNode(s.text)
	}
	interpreter, text := b.command(on, text, s.prelude)
	check := fields("id", str(id),
		"exec", fields("on", str(on), "every", str(every), "command", list(str(interpreter), str("-c"), block(text))),
		"that", str("result.code == 0"), "else", block(elseText), "once", boolean(true))
	if before != "" {
		put(check, "after", str(before))
	}
	return check
}

// command is how a script is started, in the home directory, as there. The
// line that names its interpreter makes room for what has to come first, so
// that bash's complaints name the right lines.
func (b *builder) command(on, text, prelude string) (interpreter, script string) {
	first, rest, _ := strings.Cut(text, "\n")
	if strings.HasPrefix(first, "#!") && strings.Contains(first, "python") {
		return "python3", text
	}
	begin := "cd"
	if b.place.kind == sandbox.Machine && on == "node" {
		begin = "export HOME=" + b.place.home + "; cd"
	}
	if prelude != "" {
		begin += "; " + strings.TrimSuffix(prelude, "\n")
	}
	if strings.HasPrefix(first, "#!") {
		return "bash", begin + "\n" + rest
	}
	return "bash", begin + "\n" + text
}

// autoIDs are the ids that headings of the README get from their words.
func (sc *scenario) autoIDs() map[string]bool {
	used := map[string]bool{"service": true}
	for _, s := range sc.steps {
		if s.page != nil {
			for line := range strings.Lines(s.page.markdown) {
				if strings.HasPrefix(line, "#") {
					used[slugOf(line)] = true
				}
			}
		}
	}
	return used
}

func unusedID(id string, used map[string]bool) string {
	for used[id] {
		id += "x"
	}
	used[id] = true
	return id
}

const (
	minutesBase = 5
	minutesStep = 10 // what a step takes, where nothing is said
)

// description writes lab.yaml.
func (b *builder) description(o Options) error {
	sc := b.scenario
	level := sc.level
	if level == "" {
		level = "intermediate"
	}
	minutes := sc.minutes
	if minutes == 0 {
		minutes = min(maxMinutes, minutesBase+minutesStep*len(sc.steps))
	}
	summary := strings.Join(strings.Fields(cmp.Or(sc.summary, sc.title)), " ")
	doc := fields("apiVersion", str("drydock/v1"), "kind", str("Lab"), "title", str(sc.title), "summary", str(summary),
		"track", str(cmp.Or(o.Track, sc.track, sc.format)), "level", str(level), "minutes", integer(minutes),
		"imported", fields("from", str(sc.format), "source", str(cmp.Or(strings.TrimPrefix(sc.dir, "."), path.Base(sc.file)))),
		"sandbox", b.sandbox())
	if len(b.steps) > 0 {
		put(doc, "setup", list(b.steps...))
	}
	put(doc, "ready", b.ready())
	put(doc, "tasks", b.entries)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(doc); err != nil {
		return fmt.Errorf("write lab.yaml: %w", err)
	}
	b.files["lab.yaml"] = out.Bytes()
	return nil
}

func (b *builder) sandbox() *yaml.Node {
	box := fields("kind", str(string(b.place.kind)))
	if b.place.kind == sandbox.Cluster {
		put(box, "access", str(string(b.place.access)))
	}
	return box
}

// ready: the setup's scripts have ended before it is asked.
func (b *builder) ready() *yaml.Node {
	if b.place.kind == sandbox.Machine {
		return list(fields("id", str("machine-runs"), "exec", fields("on", str("node"), "command", texts([]string{"true"})), "that", str("result.code == 0")))
	}
	return list(fields("id", str("node-is-ready"), "watch", fields("kind", str("Node")),
		"that", str("size(objects) > 0 && objects.all(n, n.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True'))")))
}

// readme writes what the learner reads.
func (b *builder) readme() {
	sc := b.scenario
	var t strings.Builder
	fmt.Fprintf(&t, "# %s\n\n", b.headline(sc.title))
	for _, d := range sc.intro {
		p := readPage(d.file, d.text, 1, false, sc.report)
		if strings.TrimSpace(p.markdown) != "" {
			t.WriteString(p.markdown + "\n")
		}
	}
	for _, s := range sc.steps {
		fmt.Fprintf(&t, "## %s", b.headline(s.title))
		if id := b.taskIDs[s]; id != "" {
			fmt.Fprintf(&t, " {#%s}", id)
		}
		t.WriteString("\n\n")
		if s.page != nil && strings.TrimSpace(s.page.markdown) != "" {
			t.WriteString(s.page.markdown + "\n")
		}
	}
	b.file("README.md", strings.TrimRight(b.place.said(t.String()), "\n")+"\n")
}

func (b *builder) headline(title string) string {
	return strings.NewReplacer("{", "&#123;", "}", "&#125;").Replace(escapeText(strings.Join(strings.Fields(title), " ")))
}

// Nodes of YAML.

func str(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text} }

// block is text of several lines, as it stands. Where the encoder's own
// decoder would not read it back (it begins with a space, or has one of
// Unicode's line ends), it goes between quotes.
func block(text string) *yaml.Node {
	n := str(text)
	n.Style = yaml.LiteralStyle
	var back []string
	if out, err := yaml.Marshal(list(n)); err != nil || yaml.Unmarshal(out, &back) != nil || len(back) != 1 || back[0] != text {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func integer(n int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(n)}
}

func boolean(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(b)}
}

func list(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: items}
}

func texts(items []string) *yaml.Node {
	n := list()
	n.Style = yaml.FlowStyle
	for _, text := range items {
		n.Content = append(n.Content, str(text))
	}
	return n
}

// fields is a mapping of names and nodes, in turns.
func fields(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(pairs); i += 2 {
		put(n, pairs[i].(string), pairs[i+1].(*yaml.Node))
	}
	return n
}

func put(mapping *yaml.Node, name string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, str(name), value)
}
