// Package terminaltest offers tests of terminals, and of pages with a
// terminal, a sandbox.Provider without containers: its shells are real, run by
// the supervisor of the terminal container on this machine, and its commands
// run beside them. What needs a cluster can't be tried with it.
package terminaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/shell"
	"drydock/sandbox/shell/shelltest"
)

// Provider has terminals and commands. All sessions share one home and one set
// of tabs. Methods of the interface that it does not have panic.
type Provider struct {
	sandbox.Provider
	t       testing.TB
	program string

	// Begin, when set, is called for every creation and reset, before the
	// sandbox is handed over; its error fails the start.
	Begin func(progress sandbox.Progress) error

	mu     sync.Mutex
	dir    string // of the present supervisor's socket and home
	cmd    *exec.Cmd
	broken error
	conns  map[*shell.Conn]bool
	made   map[string]sandbox.Info
}

// New builds and starts the supervisor. It is ended with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{t: t, conns: map[*shell.Conn]bool{}, made: map[string]sandbox.Info{}, program: filepath.Join(t.TempDir(), "drydock-shell")}
	build := exec.Command("go", "build", "-o", p.program, "drydock/sandbox/shell/cmd/drydock-shell")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the supervisor: %v\n%s", err, out)
	}
	p.start()
	t.Cleanup(p.end)
	return p
}

// Address leads another process's [Join] to the same shells.
func (p *Provider) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.program + ":" + p.dir
}

// Join returns a provider with the shells of a [New] in another process.
func Join(t testing.TB, address string) *Provider {
	t.Helper()
	program, dir, ok := strings.Cut(address, ":")
	if !ok {
		t.Fatalf("not an address of shells: %q", address)
	}
	return &Provider{t: t, conns: map[*shell.Conn]bool{}, program: program, dir: dir}
}

func (p *Provider) start() {
	p.t.Helper()
	me, err := user.Current()
	if err != nil {
		p.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "shell") // short: a socket's path has at most 107 bytes
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { os.RemoveAll(dir) })
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		p.t.Fatal(err)
	}
	rc := "PS1='$ '\nunset HISTFILE\n"
	if err := os.WriteFile(filepath.Join(home, ".bash_profile"), []byte(rc), 0o600); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(p.program, "-socket", filepath.Join(dir, "s"), "-user", me.Username, "-home", home, "-integration", filepath.Join(dir, "marks.bash"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	Eventually(p.t, "the supervisor listens", func() bool {
		_, err := os.Stat(filepath.Join(dir, "s"))
		return err == nil
	})
	p.mu.Lock()
	p.dir, p.cmd = dir, cmd
	p.mu.Unlock()
}

func (p *Provider) end() {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = cmd.Wait()
	if err := shelltest.KillLeft(filepath.Join(p.dir, "home")); err != nil {
		p.t.Errorf("end what the shells left: %v", err)
	}
}

// Replace ends all shells as a lost container does, and starts a fresh one in its place.
func (p *Provider) Replace() {
	p.end()
	p.start()
}

// Break makes the provider fail with err and drops its connections, as when
// the engine dies; nil mends it.
func (p *Provider) Break(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

// Kind implements [sandbox.Provider].
func (p *Provider) Kind() sandbox.Kind { return sandbox.Cluster }

// Create implements [sandbox.Provider].
func (p *Provider) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	if p.Begin != nil {
		if err := p.Begin(progress); err != nil {
			return sandbox.Info{}, err
		}
	}
	if spec.Prepare != nil {
		if err := spec.Prepare(ctx, spec.Session, progress); err != nil {
			return sandbox.Info{}, err
		}
	}
	info := sandbox.Info{Session: spec.Session, Name: spec.Session, Kind: sandbox.Cluster, State: sandbox.Running, Created: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made[spec.Session] = info
	return info, p.broken
}

// Reset implements [sandbox.Provider].
func (p *Provider) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	p.Replace()
	return p.Create(ctx, spec, progress)
}

// Destroy implements [sandbox.Provider].
func (p *Provider) Destroy(_ context.Context, session string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.made, session)
	return p.broken
}

// List implements [sandbox.Provider].
func (p *Provider) List(context.Context) ([]sandbox.Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []sandbox.Info
	for _, info := range p.made {
		all = append(all, info)
	}
	return all, p.broken
}

// Get implements [sandbox.Provider].
func (p *Provider) Get(_ context.Context, session string) (sandbox.Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, ok := p.made[session]
	if !ok {
		return info, sandbox.ErrNotFound
	}
	return info, p.broken
}

// Freeze implements [sandbox.Provider]: the sandbox says that it is frozen; its shells go on.
func (p *Provider) Freeze(_ context.Context, session string) error {
	return p.set(session, sandbox.Frozen)
}

// Keep implements [sandbox.Provider].
func (p *Provider) Keep(_ context.Context, session string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, ok := p.made[session]
	if !ok {
		return sandbox.ErrNotFound
	}
	info.Use, info.State = sandbox.Kept, sandbox.Frozen
	p.made[session] = info
	return p.broken
}

// Thaw implements [sandbox.Provider].
func (p *Provider) Thaw(_ context.Context, session string) error {
	return p.set(session, sandbox.Running)
}

// Usage knows of nothing that a sandbox takes.
func (p *Provider) Usage(context.Context, ...string) (map[string]sandbox.Usage, error) {
	return nil, nil
}

func (p *Provider) set(session string, state sandbox.State) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, ok := p.made[session]
	if !ok {
		return sandbox.ErrNotFound
	}
	info.State = state
	p.made[session] = info
	return p.broken
}

// KubeConfig implements [sandbox.Provider]: there is nobody at that address.
func (p *Provider) KubeConfig(context.Context, string) ([]byte, error) {
	return []byte(`{apiVersion: v1, kind: Config, current-context: none,
contexts: [{name: none, context: {cluster: none, user: none}}], users: [{name: none, user: {}}],
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]}`), nil
}

// Exec implements [sandbox.Provider]: commands run in the home of the shells.
func (p *Provider) Exec(ctx context.Context, _ string, command sandbox.Command) (sandbox.Result, error) {
	p.mu.Lock()
	dir, broken := filepath.Join(p.dir, "home"), p.broken
	p.mu.Unlock()
	if broken != nil {
		return sandbox.Result{}, broken
	}
	cmd := exec.CommandContext(ctx, command.Argv[0], command.Argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), command.Env...), command.Stdin
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if command.Stdout != nil {
		cmd.Stdout = command.Stdout
	}
	cmd.WaitDelay = time.Second // its input may stay open
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return sandbox.Result{}, fmt.Errorf("run %s: %w", command.Argv[0], err)
	}
	return sandbox.Result{ExitCode: cmd.ProcessState.ExitCode(), Stdout: out.Bytes(), Stderr: failure.Bytes()}, nil
}

// Terminal implements [sandbox.Provider].
func (p *Provider) Terminal(_ context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, fmt.Errorf("attach to terminal %s of %s: %w", spec.Tab, session, p.broken)
	}
	conn, err := shell.NewConn(p.run("attach", "-tab", spec.Tab, "-from", fmt.Sprint(spec.From),
		"-cols", fmt.Sprint(spec.Size.Cols), "-rows", fmt.Sprint(spec.Size.Rows)))
	if err != nil {
		return nil, err
	}
	p.conns[conn] = true
	return conn, nil
}

// CloseTerminal implements [sandbox.Provider].
func (p *Provider) CloseTerminal(_ context.Context, _, tab string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	out, err := exec.Command(p.program, "close", "-socket", filepath.Join(p.dir, "s"), "-tab", tab).CombinedOutput()
	if err != nil {
		return fmt.Errorf("close terminal %s: %w: %s", tab, err, out)
	}
	return nil
}

// run starts the supervisor's client, as the engine's exec does.
func (p *Provider) run(verb string, args ...string) io.ReadWriteCloser {
	cmd := exec.Command(p.program, append([]string{verb, "-socket", filepath.Join(p.dir, "s")}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return &pipes{Reader: out, WriteCloser: in, cmd: cmd}
}

type pipes struct {
	io.Reader
	io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

func (p *pipes) Close() error {
	err := p.WriteCloser.Close()
	// The end of its input ends it; its status tells nothing.
	p.once.Do(func() { go p.cmd.Wait() })
	return err
}

// patience is for what takes milliseconds, on a machine that is busy with other things.
const patience = 30 * time.Second

// Eventually waits until holds does.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}
