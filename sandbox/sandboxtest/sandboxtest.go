// Package sandboxtest is the conformance suite of package sandbox: whatever
// implements [sandbox.Provider] passes [Test] against its real engine.
//
// A creation costs a minute on a busy machine, so the suite makes one sandbox,
// cancels one, and resets the first; its parts run in order on that one. All
// are of one template, where the provider makes templates.
package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock/sandbox"
)

// Engine is what the suite needs of the engine beneath a provider, to do what
// happens to engines and to see what a provider leaves behind.
type Engine interface {
	// Interrupt stops a sandbox's containers as a restart of the machine does.
	Interrupt(ctx context.Context, session string) error
	// Remains names everything that the engine has of a session, of whatever type.
	Remains(ctx context.Context, session string) ([]string, error)
	// Reachable says whether a TCP connection from the learner's terminal to a
	// sandbox of another session, which the engine makes for this, gets through.
	Reachable(ctx context.Context, p sandbox.Provider, session string) (bool, error)
	// Inspect checks what only this provider's sandboxes have.
	Inspect(t *testing.T, p sandbox.Provider, session string)
}

const (
	session   = "conformance1"
	cancelled = "conformance2"
	namespace = "suite"

	// patience is for what takes seconds, on a machine that is busy with other things.
	patience = 2 * time.Minute
	// createPatience is for a creation.
	createPatience = 6 * time.Minute
)

// suite is one run.
type suite struct {
	p      sandbox.Provider
	again  func(t *testing.T) sandbox.Provider
	engine Engine

	mu       sync.Mutex
	prepared int  // how often Prepare ran
	readied  int  // how often Ready ran
	keeps    bool // the provider keeps templates that are prepared once
	stages   []sandbox.Stage
}

// Test runs the suite. Every call of newProvider returns a provider of the
// same instance on the same engine, as a server that was started again has it.
func Test(t *testing.T, newProvider func(t *testing.T) sandbox.Provider, engine Engine) {
	s := &suite{p: newProvider(t), again: newProvider, engine: engine}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, id := range []string{session, cancelled} {
			if err := s.p.Destroy(ctx, id); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
		s.clear(t)
	})
	s.must(t, "Unknown", s.unknown)
	s.must(t, "Refused", s.refused)
	s.must(t, "Cancel", s.cancel)
	s.must(t, "Create", s.create)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"List", s.list},
		{"Exec", s.exec},
		{"ExecAbandoned", s.execAbandoned},
		{"ExecStreams", s.execStreams},
		{"ExecStreamAbandoned", s.execStreamAbandoned},
		{"ExecStreamFrozen", s.execStreamFrozen},
		{"Probe", s.probe},
		{"Bench", s.bench},
		{"Terminal", s.terminal},
		{"TerminalSurvivesTheServer", s.terminalSurvives},
		{"TerminalEnds", s.terminalEnds},
		{"Unprivileged", s.unprivileged},
		{"Rights", s.rights},
		{"Isolation", s.isolation},
		{"Inspect", func(t *testing.T) { s.engine.Inspect(t, s.p, session) }},
		{"Freeze", s.freeze},
		{"Recover", s.recover},
		{"Usage", s.usage},
		{"Reset", s.reset},
		{"Spare", s.spare},
		{"Keep", s.keep},
		{"Destroy", s.destroy},
	} {
		t.Run(part.name, part.run)
	}
}

// must runs a part that the following ones build on.
func (s *suite) must(t *testing.T, name string, part func(*testing.T)) {
	t.Helper()
	if !t.Run(name, part) {
		t.FailNow()
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func (s *suite) spec(id string) sandbox.Spec {
	spec := sandbox.Spec{Session: id, Kind: s.p.Kind(), Template: "suite", Prepare: s.prepare, Ready: s.ready}
	if s.p.Kind() == sandbox.Cluster {
		spec.Access, spec.Namespaces = sandbox.AccessNamespace, []string{namespace}
	} else {
		spec.Limits.Disk = 200 << 20 // small enough to be filled
	}
	return spec
}

// prepare does what a lab's setup does: it makes the namespace with the administrator's rights.
func (s *suite) prepare(ctx context.Context, id string, progress sandbox.Progress) error {
	s.mu.Lock()
	s.prepared++
	s.mu.Unlock()
	progress(sandbox.Stage{Name: "Prepare"})
	if s.p.Kind() == sandbox.Cluster {
		if kubeconfig, err := s.p.KubeConfig(ctx, id); err != nil || !bytes.Contains(kubeconfig, []byte("https://127.0.0.1:")) {
			return fmt.Errorf("the kubeconfig during Prepare: %.200s, %w", kubeconfig, err)
		}
		res, err := s.p.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"kubectl", "create", "namespace", namespace}})
		if err != nil || res.ExitCode != 0 {
			return fmt.Errorf("make the namespace: exit %d, %s, %w", res.ExitCode, res.Stderr, err)
		}
	}
	progress(sandbox.Stage{Name: "Prepare", Done: true, Took: time.Millisecond})
	return nil
}

// ready notes that it was asked.
func (s *suite) ready(ctx context.Context, id string, _ sandbox.Progress) error {
	s.mu.Lock()
	s.readied++
	s.mu.Unlock()
	if s.p.Kind() != sandbox.Cluster {
		return nil
	}
	// What Prepare has made is there in every copy.
	res, err := s.p.Exec(ctx, id, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"kubectl", "get", "namespace", namespace}})
	if err != nil || res.ExitCode != 0 {
		return fmt.Errorf("look for the namespace: exit %d, %s, %w", res.ExitCode, res.Stderr, err)
	}
	return nil
}

// clear removes templates and spares, and what is still going.
func (s *suite) clear(t *testing.T) {
	ctx := timeout(t, patience)
	if err := s.p.Close(ctx); err != nil {
		t.Errorf("clean up: %v", err)
	}
	infos, err := s.p.List(ctx)
	if err != nil {
		t.Errorf("clean up: %v", err)
	}
	for _, info := range infos {
		if err := s.p.Discard(ctx, info.ID); err != nil {
			t.Errorf("clean up: %v", err)
		}
	}
	templates, err := s.p.Templates(ctx)
	if err != nil {
		t.Errorf("clean up: %v", err)
	}
	for _, template := range templates {
		if err := s.p.RemoveTemplate(ctx, template.ID); err != nil {
			t.Errorf("clean up: %v", err)
		}
	}
}

func (s *suite) progress(stage sandbox.Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stages = append(s.stages, stage)
}

func (s *suite) unknown(t *testing.T) {
	ctx := timeout(t, patience)
	if infos, err := s.p.List(ctx); err != nil || len(infos) != 0 {
		t.Fatalf("a fresh instance has %v, %v: want no sandboxes", infos, err)
	}
	for name, err := range map[string]error{
		"Get":           second(s.p.Get(ctx, "nosuch1")),
		"Freeze":        s.p.Freeze(ctx, "nosuch1"),
		"Thaw":          s.p.Thaw(ctx, "nosuch1"),
		"Recover":       s.p.Recover(ctx, "nosuch1"),
		"Exec":          second(s.p.Exec(ctx, "nosuch1", sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"true"}})),
		"Terminal":      second(s.p.Terminal(ctx, "nosuch1", sandbox.TerminalSpec{Tab: "main"})),
		"CloseTerminal": s.p.CloseTerminal(ctx, "nosuch1", "main"),
		"KubeConfig":    second(s.p.KubeConfig(ctx, "nosuch1")),
	} {
		if !errors.Is(err, sandbox.ErrNotFound) {
			t.Errorf("%s of an unknown session: %v, want ErrNotFound", name, err)
		}
	}
	if err := s.p.Destroy(ctx, "nosuch1"); err != nil {
		t.Errorf("destroying what is not there: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func (s *suite) refused(t *testing.T) {
	for name, change := range map[string]func(*sandbox.Spec){
		"a short id":      func(s *sandbox.Spec) { s.Session = "abc" },
		"a bad id":        func(s *sandbox.Spec) { s.Session = "../../etc" },
		"100 nodes":       func(s *sandbox.Spec) { s.Nodes = 100 },
		"too little room": func(s *sandbox.Spec) { s.Limits.Memory = 1 << 20 },
		"unknown access":  func(s *sandbox.Spec) { s.Access = "everything" },
	} {
		if s.p.Kind() == sandbox.Machine && name == "unknown access" {
			continue // a machine has none
		}
		spec := s.spec(session)
		change(&spec)
		if _, err := s.p.Create(timeout(t, patience), spec, s.progress); err == nil {
			t.Errorf("a spec with %s was accepted", name)
		}
	}
	s.stages = nil
}

// cancel ends creations while the engine is busy with them: once by the
// context, as the node's container is made, and once by destroying the
// sandbox, as the cluster in it starts. A machine is started in two stages.
func (s *suite) cancel(t *testing.T) {
	cancelAt, destroyAt := 3, 5
	if s.p.Kind() == sandbox.Machine {
		cancelAt, destroyAt = 1, 2
	}
	ctx, cancel := context.WithCancelCause(timeout(t, createPatience))
	defer cancel(nil)
	impatient := errors.New("the learner has gone")
	_, err := s.p.Create(ctx, s.spec(cancelled), atStage(cancelAt, func() { cancel(impatient) }))
	if !errors.Is(err, impatient) {
		t.Errorf("a cancelled creation ends with %v, want the reason of its context", err)
	}
	s.nothingRemains(t, cancelled)

	destroyed := make(chan error, 1)
	_, err = s.p.Create(timeout(t, createPatience), s.spec(cancelled), atStage(destroyAt, func() {
		go func() { destroyed <- s.p.Destroy(timeout(t, patience), cancelled) }()
	}))
	if err == nil {
		t.Error("a creation whose sandbox was destroyed meanwhile has succeeded")
	}
	if err := <-destroyed; err != nil {
		t.Errorf("destroying a sandbox that is being created: %v", err)
	}
	s.nothingRemains(t, cancelled)
}

// atStage calls do when the n-th stage begins.
func atStage(n int, do func()) sandbox.Progress {
	begun := 0
	return func(stage sandbox.Stage) {
		if stage.Done {
			return
		}
		if begun++; begun == n {
			do()
		}
	}
}

func (s *suite) nothingRemains(t *testing.T, id string) {
	t.Helper()
	ctx := timeout(t, patience)
	if _, err := s.p.Get(ctx, id); !errors.Is(err, sandbox.ErrNotFound) {
		t.Errorf("Get of %s: %v, want ErrNotFound", id, err)
	}
	if left, err := s.engine.Remains(ctx, id); err != nil || len(left) != 0 {
		t.Errorf("the engine still has %q of %s, %v", left, id, err)
	}
}

func (s *suite) create(t *testing.T) {
	ctx := timeout(t, createPatience)
	begin := time.Now()
	info, err := s.p.Create(ctx, s.spec(session), s.progress)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("created in %v", time.Since(begin).Round(time.Millisecond))
	if info.Session != session || info.State != sandbox.Running || info.Kind != s.p.Kind() || info.Name == "" || time.Since(info.Created) > createPatience {
		t.Errorf("a new sandbox is %+v", info)
	}
	if s.prepared != 1 || s.readied < 1 {
		t.Errorf("Prepare ran %d times, want once; Ready %d times", s.prepared, s.readied)
	}
	if info.Use != sandbox.Serving || info.ID == "" || info.ID == session {
		t.Errorf("a new sandbox is %+v: want an id of its own, serving the session", info)
	}
	s.checkTemplates(t, info)
	s.checkStages(t)
	if _, err := s.p.Create(ctx, s.spec(session), s.progress); err == nil {
		t.Error("a second sandbox was made for the same session")
	}
}

// checkTemplates checks that the sandbox is a copy of the one template, if it is a copy.
func (s *suite) checkTemplates(t *testing.T, info sandbox.Info) {
	t.Helper()
	ctx := timeout(t, patience)
	id, err := s.p.TemplateID(ctx, s.spec(""))
	if err != nil || id != info.Template {
		t.Errorf("TemplateID: %q, %v, want that of the sandbox, %q", id, err, info.Template)
	}
	other := s.spec("")
	other.Template = "other"
	if otherID, err := s.p.TemplateID(ctx, other); err != nil || id != "" && otherID == id {
		t.Errorf("another template has the id %q, %v", otherID, err)
	}
	all, err := s.p.Templates(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.keeps = len(all) > 0
	if s.keeps && (len(all) != 1 || all[0].ID != id || all[0].Name != "suite" || all[0].Used != 1 || all[0].Kind != s.p.Kind()) {
		t.Errorf("the templates are %+v, want the one", all)
	}
}

// checkStages checks that every stage has begun before it ended, and ended.
func (s *suite) checkStages(t *testing.T) {
	t.Helper()
	open := map[string]bool{}
	for _, stage := range s.stages {
		if stage.Done {
			t.Logf("%8v  %s", stage.Took.Round(time.Millisecond), stage.Name)
		}
		switch {
		case stage.Name == "":
			t.Error("a stage without a name")
		case stage.Done == !open[stage.Name]:
			t.Errorf("stage %q begins twice or ends before it begins", stage.Name)
		case stage.Done && stage.Took <= 0:
			t.Errorf("stage %q took no time", stage.Name)
		}
		open[stage.Name] = !stage.Done
	}
	for name, is := range open {
		if is {
			t.Errorf("stage %q never ended", name)
		}
	}
	if len(open) < 3 {
		t.Errorf("only %d stages were reported", len(open))
	}
}

func (s *suite) list(t *testing.T) {
	ctx := timeout(t, patience)
	infos, err := s.p.List(ctx)
	if err != nil || len(infos) != 1 || infos[0].Session != session {
		t.Fatalf("List: %+v, %v", infos, err)
	}
	got, err := s.p.Get(ctx, session)
	if err != nil || got != infos[0] {
		t.Errorf("Get: %+v, %v, want %+v", got, err, infos[0])
	}
	// Nothing is known from memory alone.
	if other, err := s.again(t).Get(ctx, session); err != nil || other != got {
		t.Errorf("a server that was started again sees %+v, %v, want %+v", other, err, got)
	}
}

func (s *suite) run(t *testing.T, where sandbox.Where, argv ...string) sandbox.Result {
	t.Helper()
	res, err := s.p.Exec(timeout(t, patience), session, sandbox.Command{Where: where, Argv: argv})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (s *suite) exec(t *testing.T) {
	ctx := timeout(t, patience)
	for _, where := range []sandbox.Where{sandbox.InTerminal, sandbox.OnNode} {
		res, err := s.p.Exec(ctx, session, sandbox.Command{
			Where: where, Argv: []string{"sh", "-c", "tr a-z A-Z; echo $GREETING >&2; exit 7"},
			Env: []string{"GREETING=hello there"}, Stdin: strings.NewReader("from stdin"),
		})
		if err != nil || res.ExitCode != 7 || string(res.Stdout) != "FROM STDIN" || string(res.Stderr) != "hello there\n" || res.Truncated {
			t.Errorf("%s: %+v (%q, %q), %v", where, res, res.Stdout, res.Stderr, err)
		}
		res, err = s.p.Exec(ctx, session, sandbox.Command{
			Where: where, Argv: []string{"sh", "-c", "yes | head -c 100000; exit 3"}, MaxOutput: 1000,
		})
		if err != nil || len(res.Stdout) != 1000 || !res.Truncated || res.ExitCode != 3 {
			t.Errorf("%s: %d bytes of a longer output, truncated %v, exit %d, %v", where, len(res.Stdout), res.Truncated, res.ExitCode, err)
		}
		res, err = s.p.Exec(ctx, session, sandbox.Command{Where: where, Argv: []string{"/no/such/program"}})
		if err == nil && res.ExitCode == 0 {
			t.Errorf("%s: a program that is not there exits 0", where)
		}
	}
	if _, err := s.p.Exec(ctx, session, sandbox.Command{Where: "moon", Argv: []string{"true"}}); err == nil {
		t.Error("a command ran on the moon")
	}
}

// execAbandoned: a command whose context ends does not run on.
func (s *suite) execAbandoned(t *testing.T) {
	for _, where := range []sandbox.Where{sandbox.InTerminal, sandbox.OnNode} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		begin := time.Now()
		_, err := s.p.Exec(ctx, session, sandbox.Command{Where: where, Argv: []string{"sh", "-c", "sleep 4242 & sleep 4242"}})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: an abandoned command ends with %v", where, err)
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("%s: giving up took %v", where, took)
		}
		s.gone(t, where, "4242")
	}
}

// screen reads from a terminal until something appears.
type screen struct {
	sandbox.Terminal
	t    *testing.T
	seen []byte
}

func open(t *testing.T, p sandbox.Provider, tab string, from int64) *screen {
	t.Helper()
	term, err := p.Terminal(timeout(t, patience), session, sandbox.TerminalSpec{Tab: tab, Size: sandbox.Size{Cols: 100, Rows: 30}, From: from})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.Close() })
	return &screen{Terminal: term, t: t}
}

func (s *screen) typeIn(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		s.t.Fatalf("type %q: %v", text, err)
	}
}

// next is the absolute offset after all that was seen.
func (s *screen) next() int64 { return s.Offset() + int64(len(s.seen)) }

func (s *screen) waitFor(text string) {
	s.t.Helper()
	watchdog := time.AfterFunc(patience, func() { s.Close() })
	defer watchdog.Stop()
	buf := make([]byte, 4096)
	for !bytes.Contains(s.seen[max(0, len(s.seen)-2*len(buf)):], []byte(text)) {
		n, err := s.Read(buf)
		s.seen = append(s.seen, buf[:n]...)
		if err != nil {
			s.t.Fatalf("waiting for %q: %v after …%q", text, err, s.seen[max(0, len(s.seen)-500):])
		}
	}
}

func (s *screen) readToEnd() error {
	watchdog := time.AfterFunc(patience, func() { s.Close() })
	defer watchdog.Stop()
	var rest bytes.Buffer
	_, err := io.Copy(&rest, s.Terminal)
	s.seen = append(s.seen, rest.Bytes()...)
	return err // nil at io.EOF
}

func (s *suite) terminal(t *testing.T) {
	main := open(t, s.p, "main", 0)
	if main.Offset() != 0 {
		t.Errorf("a new shell starts at offset %d", main.Offset())
	}
	main.typeIn("stty size; echo I''am $(id -un)\r")
	main.waitFor("30 100\r\n")
	main.waitFor("Iam learner\r\n")
	if err := main.Resize(sandbox.Size{Cols: 71, Rows: 17}); err != nil {
		t.Fatal(err)
	}
	// The size and the keys go their own ways to the shell.
	main.typeIn("until [ \"$(stty size)\" = '17 71' ]; do sleep .05; done; echo re''sized\r")
	main.waitFor("resized\r\n")
	if s.p.Kind() == sandbox.Cluster {
		main.typeIn("kubectl config view --minify -o 'jsonpath=[{..namespace}]'\r")
		main.waitFor("[" + namespace + "]")
	}
	second := open(t, s.p, "second", 0)
	second.typeIn("echo tty=$(tty)\r")
	second.waitFor("tty=/dev/pts/")
	if _, err := s.p.Terminal(timeout(t, patience), session, sandbox.TerminalSpec{Tab: "No Good"}); err == nil {
		t.Error("a bad tab name was accepted")
	}
}

// terminalSurvives detaches in the middle of a flood and goes on from another
// provider, as a server does that was killed and started again.
func (s *suite) terminalSurvives(t *testing.T) {
	const last = 100_000
	first := open(t, s.p, "flood", 0)
	first.typeIn("stty -echo; PS1=; PROMPT_COMMAND=; MARK=kept\r")
	first.typeIn(fmt.Sprintf("echo; echo be''gin; seq 1 %d; echo en''d\r", last))
	first.waitFor("\r\n5000\r\n")
	first.Close()

	other := open(t, s.again(t), "flood", first.next())
	if other.Offset() != first.next() {
		t.Fatalf("continues at %d, want %d", other.Offset(), first.next())
	}
	other.waitFor("end\r\n")
	all := append(first.seen, other.seen...)
	var want bytes.Buffer
	want.WriteString("begin\r\n")
	for i := range last {
		want.WriteString(strconv.Itoa(i+1) + "\r\n")
	}
	want.WriteString("end\r\n")
	if begin := bytes.Index(all, []byte("begin\r\n")); begin < 0 || !bytes.HasPrefix(all[begin:], want.Bytes()) {
		t.Errorf("a gap or a duplicate in %d bytes", len(all))
	}
	other.typeIn("echo [$MARK]\r")
	other.waitFor("[kept]\r\n")

	// The newest connection has the terminal.
	newest := open(t, s.p, "flood", other.next())
	if err := other.readToEnd(); !errors.Is(err, sandbox.ErrTerminalTaken) {
		t.Errorf("the older connection ends with %v, want ErrTerminalTaken", err)
	}
	newest.typeIn("echo {$MARK}\r")
	newest.waitFor("{kept}\r\n")
}

func (s *suite) terminalEnds(t *testing.T) {
	term := open(t, s.p, "brief", 0)
	term.typeIn("echo last''words; exit 3\r")
	if err := term.readToEnd(); err != nil || !bytes.Contains(term.seen, []byte("lastwords\r\n")) {
		t.Fatalf("the end of a shell: %v after %q, want io.EOF", err, term.seen)
	}
	if _, err := term.Write([]byte("x")); !errors.Is(err, sandbox.ErrShellGone) {
		t.Errorf("typing into a shell that has ended: %v, want ErrShellGone", err)
	}
	fresh := open(t, s.p, "brief", term.next())
	if fresh.Offset() != term.next() {
		t.Errorf("the next shell starts at %d, want %d", fresh.Offset(), term.next())
	}
	fresh.typeIn("echo new''shell\r")
	fresh.waitFor("newshell\r\n")
	if err := s.p.CloseTerminal(timeout(t, patience), session, "brief"); err != nil {
		t.Fatal(err)
	}
	if err := fresh.readToEnd(); err != nil {
		t.Errorf("a closed terminal ends with %v, want io.EOF", err)
	}
	if err := s.p.CloseTerminal(timeout(t, patience), session, "never"); err != nil {
		t.Errorf("closing what is not open: %v", err)
	}
}

// unprivileged tries what a learner could use to get out of the terminal.
func (s *suite) unprivileged(t *testing.T) {
	res := s.run(t, sandbox.InTerminal, "grep", "-E", "^(CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs)", "/proc/self/status")
	for line := range strings.Lines(string(res.Stdout)) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if want := "0000000000000000"; field == "NoNewPrivs" && value != "1" || field != "NoNewPrivs" && value != want {
			t.Errorf("in the terminal %s", line)
		}
	}
	for _, script := range []string{
		"kill -9 1", "cat /proc/1/environ", "ls /run/drydock", "echo x >/etc/passwd", "echo x >/usr/bin/x",
		"drydock-shell attach -tab mine </dev/null", "test -e /var/run/docker.sock", "mount -t tmpfs x /mnt", "unshare -r true",
		"head -c 300M /dev/zero >/home/learner/big",
	} {
		if res := s.run(t, sandbox.InTerminal, "sh", "-c", script); res.ExitCode == 0 {
			t.Errorf("the learner can %s", script)
		}
	}
	s.run(t, sandbox.InTerminal, "rm", "-f", "/home/learner/big")
	if res := s.run(t, sandbox.InTerminal, "sh", "-c", "echo x >/home/learner/f && echo x >/tmp/f && test -s /home/learner/.bashrc"); res.ExitCode != 0 {
		t.Errorf("the home cannot be used: %s", res.Stderr)
	}
}

// rights asks the API server itself, as the learner.
func (s *suite) rights(t *testing.T) {
	if s.p.Kind() != sandbox.Cluster {
		return
	}
	for question, want := range map[string]string{
		"create deployments":                            "yes",
		"delete pods":                                   "yes",
		"get pods --subresource=log":                    "yes",
		"create pods --subresource=exec":                "yes",
		"create pods --subresource=portforward":         "yes",
		"update configmaps":                             "yes",
		"get secrets":                                   "yes",
		"list nodes":                                    "yes",
		"list events -A":                                "yes",
		"list storageclasses":                           "yes",
		"list pods -n kube-system":                      "yes",
		"get secrets -n kube-system":                    "no",
		"get configmaps -n kube-system":                 "yes",
		"create pods --subresource=exec -n kube-system": "no",
		"patch pods --subresource=ephemeralcontainers":  "no",
		"create serviceaccounts --subresource=token":    "no",
		"impersonate serviceaccounts":                   "no",
		"create rolebindings":                           "no",
		"create clusterrolebindings":                    "no",
		"create pods -n default":                        "no",
		"list secrets -A":                               "no",
		"create namespaces":                             "no",
		"patch namespaces":                              "no",
		"delete nodes":                                  "no",
		"get nodes --subresource=proxy":                 "no",
		"get secrets -n drydock":                        "no",
	} {
		res := s.run(t, sandbox.InTerminal, append([]string{"kubectl", "auth", "can-i"}, strings.Fields(question)...)...)
		got, _, _ := strings.Cut(strings.TrimSpace(string(res.Stdout)), " ") // a reason may follow
		if got != want {
			t.Errorf("may the learner %s: %q, want %q %s", question, got, want, res.Stderr)
		}
	}
	const privileged = `{"spec":{"containers":[{"name":"x","image":"x","securityContext":{"privileged":true}}]}}`
	res := s.run(t, sandbox.InTerminal, "kubectl", "run", "escape", "--image=x", "--overrides="+privileged)
	if res.ExitCode == 0 || !bytes.Contains(res.Stderr, []byte("PodSecurity")) {
		t.Errorf("a privileged pod: exit %d, %s", res.ExitCode, res.Stderr)
	}
	if res := s.run(t, sandbox.OnNode, "kubectl", "get", "secrets", "-n", "kube-system", "-o", "name"); bytes.Contains(res.Stdout, []byte("bootstrap-token")) {
		t.Errorf("a token for joining nodes is left: %s", res.Stdout)
	}
}

func (s *suite) isolation(t *testing.T) {
	ctx := timeout(t, patience)
	if reached, err := s.engine.Reachable(ctx, s.p, session); err != nil || reached {
		t.Errorf("another session's sandbox can be reached: %v, %v", reached, err)
	}
}

func (s *suite) expectState(t *testing.T, want sandbox.State) {
	t.Helper()
	if info, err := s.p.Get(timeout(t, patience), session); err != nil || info.State != want {
		t.Errorf("state %q, %v, want %q", info.State, err, want)
	}
}

func (s *suite) freeze(t *testing.T) {
	ctx := timeout(t, patience)
	term := open(t, s.p, "main", 0)
	term.typeIn("A=''alive; echo $A\r")
	term.waitFor("alive\r\n")
	for range 2 { // freezing what is frozen is no error, nor is thawing what is not
		if err := s.p.Freeze(ctx, session); err != nil {
			t.Fatal(err)
		}
	}
	s.expectState(t, sandbox.Frozen)
	term.typeIn("echo still ''$A\r")
	for range 2 {
		if err := s.p.Thaw(ctx, session); err != nil {
			t.Fatal(err)
		}
	}
	s.expectState(t, sandbox.Running)
	term.waitFor("still alive\r\n")
	s.works(t)
}

// works does what a learner does first.
func (s *suite) works(t *testing.T) {
	t.Helper()
	if s.p.Kind() == sandbox.Cluster {
		if res := s.run(t, sandbox.InTerminal, "kubectl", "get", "pods"); res.ExitCode != 0 {
			t.Errorf("kubectl get pods: exit %d, %s", res.ExitCode, res.Stderr)
		}
	}
}

func (s *suite) recover(t *testing.T) {
	ctx := timeout(t, createPatience)
	term := open(t, s.p, "main", 0)
	term.typeIn("echo kept >~/kept; echo be''fore\r")
	term.waitFor("before\r\n")
	if err := s.engine.Interrupt(ctx, session); err != nil {
		t.Fatal(err)
	}
	if err := term.readToEnd(); !errors.Is(err, sandbox.ErrShellGone) {
		t.Errorf("a shell lost with its container ends with %v, want ErrShellGone", err)
	}
	s.expectState(t, sandbox.Stopped)
	begin := time.Now()
	if err := s.p.Recover(ctx, session); err != nil {
		t.Fatal(err)
	}
	t.Logf("recovered in %v", time.Since(begin).Round(time.Millisecond))
	s.expectState(t, sandbox.Running)
	s.works(t)
	after := open(t, s.p, "main", term.next())
	after.typeIn("echo af''ter\r")
	after.waitFor("after\r\n")
	if s.p.Kind() == sandbox.Machine {
		if res := s.run(t, sandbox.InTerminal, "cat", "/home/learner/kept"); string(res.Stdout) != "kept\n" {
			t.Errorf("the learner's file after a restart: %q %s", res.Stdout, res.Stderr)
		}
	}
}

func (s *suite) reset(t *testing.T) {
	ctx := timeout(t, createPatience)
	if res := s.run(t, sandbox.InTerminal, "touch", "/home/learner/old"); res.ExitCode != 0 {
		t.Fatal(string(res.Stderr))
	}
	before := s.identity(t)
	prepared := s.prepared
	s.stages = nil
	begin := time.Now()
	info, err := s.p.Reset(ctx, s.spec(session), s.progress)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("reset in %v", time.Since(begin).Round(time.Millisecond))
	if info.Session != session || info.State != sandbox.Running {
		t.Errorf("after a reset: %+v", info)
	}
	if want := map[bool]int{false: 1}[s.keeps]; s.prepared != prepared+want {
		t.Errorf("Prepare ran %d times for a reset, want %d", s.prepared-prepared, want)
	}
	s.checkStages(t)
	if after := s.identity(t); after == before {
		t.Error("a reset gave the same sandbox")
	}
	if res := s.run(t, sandbox.InTerminal, "ls", "/home/learner"); bytes.Contains(res.Stdout, []byte("old")) {
		t.Error("the learner's files outlived a reset")
	}
	s.works(t)
}

func (s *suite) usage(t *testing.T) {
	ctx := timeout(t, patience)
	info, err := s.p.Get(ctx, session)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.p.Usage(ctx, info.ID, "nosuchid")
	if u := all[info.ID]; err != nil || len(all) != 1 || u.Memory <= 0 || u.PIDs <= 0 || u.CPU <= 0 || u.DiskMax > 0 && u.Disk <= 0 {
		t.Errorf("the sandbox takes %+v, %v", all, err)
	}
}

// spare makes one ahead of the next reset, which takes it.
func (s *suite) spare(t *testing.T) {
	ctx := timeout(t, createPatience)
	spare, err := s.p.Spare(ctx, s.spec(""), s.progress)
	if err != nil {
		t.Fatal(err)
	}
	if spare.Use != sandbox.Spare || spare.State != sandbox.Frozen || spare.Session != "" {
		t.Errorf("a spare is %+v", spare)
	}
	// A sweep leaves it alone.
	if err := s.again(t).Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	before := s.identity(t)
	prepared := s.prepared
	begin := time.Now()
	info, err := s.p.Reset(ctx, s.spec(session), s.progress)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("reset to a spare in %v", time.Since(begin).Round(time.Millisecond))
	if info.ID != spare.ID || info.Use != sandbox.Serving || info.State != sandbox.Running {
		t.Errorf("after a reset with a spare: %+v, want %s", info, spare.ID)
	}
	if s.prepared != prepared {
		t.Error("Prepare ran although there was a spare")
	}
	if s.identity(t) == before {
		t.Error("a reset gave the same sandbox")
	}
	s.works(t)
	if err := s.p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if infos, err := s.p.List(ctx); err != nil || len(infos) != 1 || infos[0].ID != info.ID {
		t.Errorf("after a reset there are %+v, %v", infos, err)
	}
}

// keep ends the service, and looks into what is kept as the learner left it:
// with the shell that was open, its variables, and what was on its screen.
func (s *suite) keep(t *testing.T) {
	ctx := timeout(t, createPatience)
	before := s.identity(t)
	term := open(t, s.p, "main", 0)
	term.typeIn("MARK=of''mine; sleep 4321 & echo le''ft\r")
	term.waitFor("left\r\n")
	term.Close()
	for range 2 { // keeping what is kept is no error
		if err := s.p.Keep(ctx, session); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(state sandbox.State) {
		t.Helper()
		infos, err := s.p.List(ctx)
		if err != nil || len(infos) != 1 || infos[0].Use != sandbox.Kept || infos[0].Session != session || infos[0].State != state {
			t.Errorf("what is kept is %+v, %v", infos, err)
		}
		s.expectState(t, state)
	}
	kept(sandbox.Frozen)
	if err := s.again(t).Sweep(ctx); err != nil { // which leaves it alone
		t.Fatal(err)
	}
	if _, err := s.p.Create(ctx, s.spec(session), nil); err == nil {
		t.Error("a session whose sandbox is kept got another one")
	}
	if err := s.p.Thaw(ctx, session); err != nil {
		t.Fatal(err)
	}
	kept(sandbox.Running)
	s.works(t)
	opened := open(t, s.again(t), "main", 0)
	opened.waitFor("left\r\n")
	opened.typeIn("echo [$MARK] $(jobs -r | wc -l)\r")
	opened.waitFor("[ofmine] 1\r\n")
	if s.identity(t) != before {
		t.Error("what was opened is another sandbox")
	}
	if err := s.p.Keep(ctx, session); err != nil {
		t.Fatal(err)
	}
	kept(sandbox.Frozen)
}

// identity is different in every fresh sandbox.
func (s *suite) identity(t *testing.T) string {
	t.Helper()
	argv := []string{"cat", "/etc/machine-id"}
	res := s.run(t, sandbox.OnNode, argv...)
	if res.ExitCode != 0 || len(res.Stdout) == 0 {
		t.Fatalf("%v: exit %d, %s", argv, res.ExitCode, res.Stderr)
	}
	return string(res.Stdout)
}

func (s *suite) destroy(t *testing.T) {
	ctx := timeout(t, patience)
	if err := s.p.Thaw(ctx, session); err != nil { // of what was kept
		t.Fatal(err)
	}
	term := open(t, s.p, "main", 0)
	for range 2 {
		if err := s.p.Destroy(ctx, session); err != nil {
			t.Fatal(err)
		}
	}
	if err := term.readToEnd(); !errors.Is(err, sandbox.ErrShellGone) {
		t.Errorf("a shell of a destroyed sandbox ends with %v, want ErrShellGone", err)
	}
	s.nothingRemains(t, session)
	if infos, err := s.p.List(ctx); err != nil || slices.ContainsFunc(infos, func(i sandbox.Info) bool { return i.Session == session }) {
		t.Errorf("List after Destroy: %v, %v", infos, err)
	}
}
