package convert

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// facts are what can be told of a shell script without running it. They decide
// where a check may run and what the report warns of; where they are wrong,
// the lab is a worse lab, but nothing escapes its sandbox.
type facts struct {
	Commands []use // programs that are started, by name
	Reads    []use // local files that are looked at
	Writes   []use // local files that are made
	Runs     []use // local files that are started
	Hosts    []use // places of the internet that are asked
	Changes  []use // what changes the cluster
	Images   []use // names of container images
	Waits    time.Duration
	Broken   string // why the script can't be read; empty
	Line     int    // where it can't
}

// use is one place of a script.
type use struct {
	What string
	Line int
}

func (f *facts) add(list *[]use, what string, line int) {
	if !slices.ContainsFunc(*list, func(u use) bool { return u.What == what }) {
		*list = append(*list, use{what, line})
	}
}

// merge adds what another script does.
func (f *facts) merge(g facts) {
	for _, pair := range []struct{ to, from *[]use }{
		{&f.Commands, &g.Commands}, {&f.Reads, &g.Reads}, {&f.Writes, &g.Writes}, {&f.Runs, &g.Runs},
		{&f.Hosts, &g.Hosts}, {&f.Changes, &g.Changes}, {&f.Images, &g.Images},
	} {
		for _, u := range *pair.from {
			f.add(pair.to, u.What, u.Line)
		}
	}
}

func (f *facts) uses(names ...string) (use, bool) {
	for _, u := range f.Commands {
		if slices.Contains(names, u.What) {
			return u, true
		}
	}
	return use{}, false
}

// study reads a script as bash would.
func study(src string) facts {
	var f facts
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash), syntax.KeepComments(false)).Parse(strings.NewReader(src), "")
	if err != nil {
		f.Line, f.Broken = complaint(err)
		return f
	}
	s := &student{facts: &f, values: map[string]string{}, functions: map[string]bool{}, kubectl: []string{"kubectl", "k", "oc"}}
	syntax.Walk(parsed, s.learn)
	syntax.Walk(parsed, s.visit)
	f.Waits = s.waits(parsed)
	return f
}

// complaint is where and why the parser gave up.
func complaint(err error) (int, string) {
	switch e := err.(type) {
	case syntax.ParseError:
		return int(e.Pos.Line()), e.Text
	case syntax.LangError:
		return int(e.Pos.Line()), e.Feature + " is not of bash"
	}
	return 0, err.Error()
}

// parses says whether bash could read the script.
func parses(src string) bool {
	_, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(src), "")
	return err == nil
}

// student walks through a script.
type student struct {
	*facts
	values    map[string]string // of variables that are only ever given one plain value
	functions map[string]bool
	kubectl   []string // what kubectl is called here
}

// unknown stands for a part of a word that only a run would tell.
const unknown = "\x00"

// learn notes plain values of variables and the names of functions.
func (s *student) learn(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.FuncDecl:
		s.functions[n.Name.Value] = true
		if called := onlyCall(n.Body); called != nil && s.name(called) == "kubectl" {
			s.kubectl = append(s.kubectl, n.Name.Value)
		}
	case *syntax.Assign:
		if n.Name == nil || n.Value == nil || n.Array != nil {
			break
		}
		value := s.word(n.Value)
		if before, known := s.values[n.Name.Value]; known && before != value {
			value = unknown
		}
		s.values[n.Name.Value] = value
	case *syntax.WordIter:
		s.values[n.Name.Value] = unknown
	}
	return true
}

// onlyCall is the call that a function consists of.
func onlyCall(body *syntax.Stmt) *syntax.CallExpr {
	block, ok := body.Cmd.(*syntax.Block)
	if !ok || len(block.Stmts) != 1 {
		return nil
	}
	called, _ := block.Stmts[0].Cmd.(*syntax.CallExpr)
	return called
}

// word is a word as far as it can be told without a run.
func (s *student) word(w *syntax.Word) string {
	var b strings.Builder
	s.parts(&b, w.Parts)
	return b.String()
}

func (s *student) parts(b *strings.Builder, parts []syntax.WordPart) {
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			b.WriteString(strings.ReplaceAll(p.Value, "\\\n", ""))
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			s.parts(b, p.Parts)
		case *syntax.ParamExp:
			b.WriteString(s.parameter(p))
		default:
			b.WriteString(unknown)
		}
	}
}

func (s *student) parameter(p *syntax.ParamExp) string {
	if p.Param == nil {
		return unknown
	}
	if p.Param.Value == "HOME" {
		return "~"
	}
	if value, ok := s.values[p.Param.Value]; ok && p.Exp == nil && p.Slice == nil && p.Repl == nil {
		return value
	}
	if p.Exp != nil && p.Exp.Word != nil && (p.Exp.Op == syntax.DefaultUnset || p.Exp.Op == syntax.DefaultUnsetOrNull) {
		return s.word(p.Exp.Word) // ${NAME:-value}
	}
	return unknown
}

func (s *student) name(call *syntax.CallExpr) string {
	if len(call.Args) == 0 {
		return ""
	}
	return s.word(call.Args[0])
}

func (s *student) visit(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.CallExpr:
		var args []string
		for _, w := range n.Args {
			args = append(args, s.word(w))
		}
		s.call(args, int(n.Pos().Line()))
	case *syntax.Redirect:
		s.redirect(n)
	case *syntax.TestClause:
		s.test(n.X)
		return true
	}
	return true
}

func (s *student) redirect(r *syntax.Redirect) {
	line := int(r.Pos().Line())
	if r.Hdoc != nil {
		s.manifest(s.word(r.Hdoc), line)
		return
	}
	if r.Word == nil {
		return
	}
	name := s.word(r.Word)
	switch r.Op {
	case syntax.RdrOut, syntax.AppOut, syntax.RdrAll, syntax.AppAll, syntax.RdrClob:
		s.file(&s.Writes, name, line)
	case syntax.RdrIn, syntax.RdrInOut:
		s.file(&s.Reads, name, line)
	}
}

// test looks into [[ … ]].
func (s *student) test(x syntax.TestExpr) {
	syntax.Walk(x, func(n syntax.Node) bool {
		if u, ok := n.(*syntax.UnaryTest); ok {
			if w, ok := u.X.(*syntax.Word); ok && slices.Contains(fileTests(), u.Op.String()) {
				s.file(&s.Reads, s.word(w), int(u.Pos().Line()))
			}
		}
		return true
	})
}

// fileTests are the tests of [ and [[ that look at a file.
func fileTests() []string {
	return []string{"-e", "-a", "-f", "-d", "-r", "-w", "-x", "-s", "-L", "-h", "-O", "-G", "-b", "-c", "-p", "-S"}
}

// prefixes run the command that follows them.
func prefixes() []string {
	return []string{"sudo", "command", "exec", "nohup", "time", "builtin", "env", "nice", "setsid", "stdbuf", "eval", "xargs", "watch", "timeout", "su"}
}

// call notes what one command does.
func (s *student) call(args []string, line int) {
	for len(args) > 0 && slices.Contains(prefixes(), args[0]) {
		if args[0] == "sudo" {
			s.add(&s.Commands, "sudo", line)
		}
		args = behindPrefix(args)
	}
	if len(args) == 0 || strings.Contains(args[0], unknown) {
		return
	}
	name := args[0]
	if strings.ContainsRune(name, '/') {
		s.file(&s.Runs, name, line)
		name = path.Base(name)
	}
	if s.functions[name] && !slices.Contains(s.kubectl, name) {
		return
	}
	if slices.Contains(s.kubectl, name) {
		name = "kubectl"
	}
	s.add(&s.Commands, name, line)
	args = args[1:]
	switch name {
	case "kubectl":
		s.kube(args, line)
	case "curl", "wget":
		s.fetch(args, line)
	case "bash", "sh", "zsh", "source", ".", "python3", "python", "node":
		s.start(args, line, name == "bash" || name == "sh" || name == "zsh")
	case "[", "test":
		s.bracket(args, line)
	default:
		s.files(name, args, line)
		s.download(name, args, line)
	}
}

// behindPrefix drops a command such as sudo with its options and settings.
func behindPrefix(args []string) []string {
	prefix := args[0]
	args = args[1:]
	for len(args) > 0 && (strings.HasPrefix(args[0], "-") || prefix == "env" && strings.ContainsRune(args[0], '=')) {
		if takesUser := prefix == "sudo" && (args[0] == "-u" || args[0] == "-g"); takesUser && len(args) > 1 {
			args = args[1:]
		}
		args = args[1:]
	}
	if prefix == "timeout" && len(args) > 0 {
		args = args[1:] // the time
	}
	return args
}

// file notes a local file. Devices, what the kernel makes and names that
// nobody knows before a run are left out.
func (s *student) file(list *[]use, name string, line int) {
	switch {
	case strings.Contains(name, unknown), !local(name), strings.HasPrefix(name, "/dev/"), strings.HasPrefix(name, "/proc/"), strings.HasPrefix(name, "/sys/"):
		return
	}
	s.add(list, path.Clean(name), line)
}

// local says whether a word is a path of a file; a plain word without a slash
// is one where a file is expected.
func local(name string) bool {
	return name != "" && name != "-" && !strings.HasPrefix(name, "-") && !strings.Contains(name, "://") &&
		!strings.ContainsAny(name, "\n{}'\"$`|;*?<>() ")
}

// readers and writers take files as operands.
func readers() []string {
	return []string{"cat", "ls", "head", "tail", "wc", "stat", "diff", "cmp", "sha256sum", "md5sum", "sha1sum", "file", "du", "sort", "uniq",
		"less", "more", "find", "readlink", "realpath", "base64", "xxd", "od", "strings", "getfacl", "openssl", "tac", "nl", "column"}
}

func writers() []string {
	return []string{"touch", "mkdir", "tee", "rm", "chmod", "chown", "truncate", "install", "rmdir", "mkfifo", "mktemp"}
}

// patterns take a pattern or a program first, and then files.
func patterns() []string {
	return []string{"grep", "egrep", "fgrep", "sed", "awk", "gawk", "jq", "yq", "cut", "tr"}
}

func (s *student) files(name string, args []string, line int) {
	operands := operandsOf(args)
	switch {
	case slices.Contains(readers(), name):
		for _, a := range operands {
			s.path(&s.Reads, a, line)
		}
	case slices.Contains(writers(), name):
		for _, a := range operands {
			s.path(&s.Writes, a, line)
		}
	case slices.Contains(patterns(), name) && len(operands) > 1:
		for _, a := range operands[1:] {
			s.path(&s.Reads, a, line)
		}
	case (name == "cp" || name == "mv" || name == "ln") && len(operands) > 1:
		for _, a := range operands[:len(operands)-1] {
			s.path(&s.Reads, a, line)
		}
		s.path(&s.Writes, operands[len(operands)-1], line)
	case name == "cd" && len(operands) > 0:
		s.path(&s.Reads, operands[0], line)
	}
}

// path notes an operand that names a file by a whole path: a plain word may
// as well be anything else.
func (s *student) path(list *[]use, name string, line int) {
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, "~") {
		s.file(list, name, line)
	}
}

func operandsOf(args []string) []string {
	var operands []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			operands = append(operands, a)
		}
	}
	return operands
}

func (s *student) bracket(args []string, line int) {
	for i, a := range args {
		if slices.Contains(fileTests(), a) && i+1 < len(args) {
			s.file(&s.Reads, args[i+1], line)
		}
	}
}

// start: an interpreter runs a file, or the text behind -c.
func (s *student) start(args []string, line int, shell bool) {
	for i, a := range args {
		switch {
		case a == "-c" && !shell:
			return
		case a == "-c" && i+1 < len(args):
			inner := study(args[i+1])
			for _, list := range []*[]use{&inner.Commands, &inner.Reads, &inner.Writes, &inner.Runs, &inner.Hosts, &inner.Changes, &inner.Images} {
				for j := range *list {
					(*list)[j].Line = line
				}
			}
			s.merge(inner)
			return
		case strings.HasPrefix(a, "-"):
		default:
			s.file(&s.Runs, a, line)
			return
		}
	}
}

// changing are the verbs of kubectl that change a cluster.
func changing() []string {
	return []string{"create", "apply", "delete", "run", "scale", "patch", "label", "annotate", "edit", "expose", "set", "replace", "rollout",
		"cordon", "uncordon", "drain", "taint", "autoscale", "cp", "debug"}
}

// kube notes what a call of kubectl does here: what stands behind -- happens
// in a container.
func (s *student) kube(args []string, line int) {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	verb, dry := "", false
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, value, joined := strings.Cut(a, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		switch {
		case name == "-f" || name == "--filename" || name == "-k" || name == "--kustomize":
			s.manifestFile(value, line)
		case strings.HasPrefix(name, "--from-file") || strings.HasPrefix(name, "--from-env-file"):
			_, file, named := strings.Cut(value, "=")
			if !named {
				file = value
			}
			s.file(&s.Reads, file, line)
		case name == "--kubeconfig" || name == "--cert" || name == "--key":
			s.file(&s.Reads, value, line)
		case name == "--image":
			s.image(value, line)
		case strings.HasPrefix(a, "--dry-run"):
			dry = true
		case strings.HasPrefix(a, "-"):
		case verb == "" && !takesValue(args, i):
			verb = a
		case verb == "set" && a == "image":
			verb = "set image"
		case verb == "set image" && joined:
			s.image(value, line)
		}
	}
	if verb == "rollout" && !slices.ContainsFunc(args, func(a string) bool { return a == "restart" || a == "undo" || a == "pause" || a == "resume" }) {
		return
	}
	if first, _, _ := strings.Cut(verb, " "); slices.Contains(changing(), first) && !dry {
		s.add(&s.Changes, "kubectl "+verb, line)
	}
	for _, part := range []string{"top", "taint", "drain", "cordon", "uncordon", "certificate"} {
		if verb == part {
			s.add(&s.Commands, "kubectl "+part, line)
		}
	}
	if verb == "label" && slices.ContainsFunc(args, func(a string) bool { return a == "node" || a == "nodes" || a == "no" }) {
		s.add(&s.Commands, "kubectl label node", line)
	}
}

// takesValue says whether args[i] is the value of the option before it.
func takesValue(args []string, i int) bool {
	return i > 0 && slices.Contains([]string{"-n", "--namespace", "--context", "-c", "-l", "--as", "-o", "--cluster", "--user"}, args[i-1])
}

func (s *student) manifestFile(name string, line int) {
	switch {
	case strings.Contains(name, "://"):
		s.host(name, line)
	case local(name):
		s.file(&s.Reads, name, line)
	}
}

// fetch: curl and wget ask addresses, and write files.
func (s *student) fetch(args []string, line int) {
	for i, a := range args {
		switch {
		case (a == "-o" || a == "-O" || a == "--output") && i+1 < len(args) && strings.HasPrefix(args[i+1], "/"):
			s.file(&s.Writes, args[i+1], line)
		case strings.Contains(a, "://"):
			s.host(a, line)
		}
	}
}

// installers fetch what they install.
func installers() map[string][]string {
	return map[string][]string{
		"apt": {"install", "update", "upgrade"}, "apt-get": {"install", "update", "upgrade"}, "yum": {"install"}, "dnf": {"install"},
		"apk": {"add", "update"}, "pip": {"install"}, "pip3": {"install"}, "npm": {"install", "i", "ci"}, "yarn": {"", "install", "add"},
		"snap": {"install"}, "gem": {"install"}, "cargo": {"install", "build"}, "go": {"install", "get"}, "git": {"clone", "pull", "fetch"},
		"helm": {"repo", "install", "upgrade", "pull"}, "docker": {"pull", "run", "build", "compose", "login", "push"}, "podman": {"pull", "run", "build", "push"},
		"docker-compose": {"up", "pull", "build"}, "crictl": {"pull"}, "nerdctl": {"pull", "run", "build"}, "ctr": {"pull"}, "istioctl": {"install"}, "flux": {"bootstrap", "install"},
		"add-apt-repository": {""}, "arkade": {"get"}, "krew": {"install"},
	}
}

func (s *student) download(name string, args []string, line int) {
	verbs, known := installers()[name]
	operands := operandsOf(args)
	if !known || len(operands) == 0 && !slices.Contains(verbs, "") {
		return
	}
	if len(operands) == 0 || slices.Contains(verbs, "") || slices.Contains(verbs, operands[0]) {
		if name == "helm" && !slices.ContainsFunc(args, func(a string) bool {
			return strings.Contains(a, "://") || a == "repo" || a == "install" || a == "upgrade"
		}) {
			return
		}
		s.add(&s.Hosts, strings.TrimSpace(name+" "+strings.Join(operands[:min(1, len(operands))], "")), line)
	}
}

// host notes an address of the internet.
func (s *student) host(address string, line int) {
	address = strings.Trim(address, `"'`)
	u, err := url.Parse(strings.Split(address, unknown)[0])
	if err != nil {
		return
	}
	if name := u.Hostname(); outside(name) {
		s.add(&s.Hosts, name, line)
	}
}

var address = regexp.MustCompile(`^[0-9.]+$`)

// outside says whether a name is one of the internet's: names that nobody can
// register, names of a cluster and plain addresses are not.
func outside(host string) bool {
	if !strings.Contains(host, ".") || address.MatchString(host) {
		return false
	}
	for _, suffix := range []string{".local", ".svc", ".test", ".example", ".invalid", ".internal", ".localhost", "example.com", "example.org", "example.net", ".lan", ".home"} {
		if strings.HasSuffix(host, suffix) {
			return false
		}
	}
	labels := strings.Split(host, ".")
	return len(labels[len(labels)-1]) >= 2 && slices.ContainsFunc(topLevels(), func(t string) bool { return labels[len(labels)-1] == t })
}

// topLevels are those where software is fetched from: db.shop, say, is a
// service of a cluster.
func topLevels() []string {
	return []string{"com", "org", "net", "io", "dev", "sh", "app", "cloud", "co", "de", "in", "me", "ai", "us", "eu", "uk", "gov", "edu", "info", "xyz", "tech", "run", "to"}
}

// manifest looks for images in a here-document.
func (s *student) manifest(text string, line int) {
	for i, row := range strings.Split(text, "\n") {
		if m := imageField.FindStringSubmatch(row); m != nil {
			s.image(m[1], line+1+i)
		}
	}
}

var (
	imageField = regexp.MustCompile(`^\s*(?:-\s+)?["']?image["']?:\s*["']?([^\s"'#,}]+)`)
	imageName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]+)?$`)
)

func (s *student) image(name string, line int) {
	if name = strings.Trim(name, `"'`); imageName.MatchString(name) {
		s.add(&s.Images, name, line)
	}
}

// waits adds up what a script sleeps on its way; loops once.
func (s *student) waits(parsed *syntax.File) time.Duration {
	var total time.Duration
	syntax.Walk(parsed, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok && s.name(call) == "sleep" && len(call.Args) > 1 {
			total += seconds(s.word(call.Args[1]))
		}
		return true
	})
	return total
}

// seconds reads sleep's argument: 5, 0.5, 2m.
func seconds(text string) time.Duration {
	unit := time.Second
	for suffix, u := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = number, u
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	const longest = 1e6 // a script that sleeps for weeks has made its point
	if err != nil || n < 0 || n > longest {
		return 0
	}
	return time.Duration(n * float64(unit))
}
