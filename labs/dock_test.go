package labs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"drydock/sandbox"
)

// dock is a [sandbox.Provider] in memory. Its sandboxes are folders; commands
// really run in them, and so do its shells, which are bash on a pipe and
// outlive their connections. Everything that can go wrong with an engine can
// be made to go wrong. What needs a cluster can't be tried with it.
type dock struct {
	sandbox.Provider // the methods that sessions do not call
	t                *testing.T

	mu         sync.Mutex
	boxes      map[string]*box
	down       error         // what everything fails with
	gate       chan struct{} // when set, creations wait for its end
	createErr  error
	recoverErr error
	resetErr   error
	exec       func(argv string)
	called     map[string]int
}

type box struct {
	state  sandbox.State
	kept   bool
	made   time.Time
	home   string // its base name is the box's own id
	used   sandbox.Usage
	shells map[string]*bash
}

func newDock(t *testing.T) *dock {
	d := &dock{t: t, boxes: map[string]*box{}, called: map[string]int{}}
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for id := range d.boxes {
			d.drop(id)
		}
	})
	return d
}

// call notes a call and returns what it must fail with. d.mu is held.
func (d *dock) call(name string) error {
	d.called[name]++
	if d.down != nil {
		return fmt.Errorf("%s: %w", name, d.down)
	}
	return nil
}

// Templates are none: each sandbox is made anew.
func (d *dock) TemplateID(context.Context, sandbox.Spec) (string, error) { return "", nil }

func (d *dock) Kind() sandbox.Kind { return sandbox.Cluster }

func (d *dock) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	d.mu.Lock()
	err := d.call("Create")
	if err == nil && d.boxes[spec.Session] != nil {
		err = errors.New("there is one already")
	}
	if err != nil {
		d.mu.Unlock()
		return sandbox.Info{}, err
	}
	d.addLocked(spec.Session, sandbox.Creating)
	gate := d.gate
	d.mu.Unlock()
	progress(sandbox.Stage{Name: "Build a box"})
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	progress(sandbox.Stage{Name: "Build a box", Done: true})
	d.mu.Lock()
	if err == nil {
		err = d.createErr
	}
	d.mu.Unlock()
	if err == nil {
		err = spec.Prepare(ctx, spec.Session, progress)
	}
	if err == nil {
		err = spec.Ready(ctx, spec.Session, progress)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boxes[spec.Session]
	if err == nil && b == nil {
		err = errors.New("it was destroyed meanwhile")
	}
	if err != nil {
		d.drop(spec.Session)
		return sandbox.Info{}, err
	}
	b.state = sandbox.Running
	return b.info(spec.Session), nil
}

func (d *dock) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	d.mu.Lock()
	err := d.call("Reset")
	if err == nil {
		err = d.resetErr
	}
	if err == nil {
		d.drop(spec.Session)
	}
	d.mu.Unlock()
	if err != nil {
		return sandbox.Info{}, err
	}
	return d.Create(ctx, spec, progress)
}

func (d *dock) Destroy(_ context.Context, session string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("Destroy"); err != nil {
		return err
	}
	d.drop(session)
	return nil
}

func (d *dock) List(context.Context) ([]sandbox.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("List"); err != nil {
		return nil, err
	}
	var all []sandbox.Info
	for session, b := range d.boxes {
		all = append(all, b.info(session))
	}
	return all, nil
}

func (d *dock) Get(_ context.Context, session string) (sandbox.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.box("Get", session)
	if err != nil {
		return sandbox.Info{}, err
	}
	return b.info(session), nil
}

func (d *dock) Recover(_ context.Context, session string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.box("Recover", session)
	if err != nil {
		return err
	}
	b.state = sandbox.Running // and only then something may go wrong
	return d.recoverErr
}

// Freeze stops the shells; commands fail until Thaw.
func (d *dock) Freeze(_ context.Context, session string) error {
	return d.halt("Freeze", session, sandbox.Frozen, syscall.SIGSTOP)
}

func (d *dock) Keep(ctx context.Context, session string) error {
	d.mu.Lock()
	b, err := d.box("Keep", session)
	if err == nil {
		b.kept = true
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.Freeze(ctx, session)
}

func (d *dock) Thaw(_ context.Context, session string) error {
	return d.halt("Thaw", session, sandbox.Running, syscall.SIGCONT)
}

func (d *dock) halt(call, session string, to sandbox.State, signal syscall.Signal) error {
	d.mu.Lock()
	b, err := d.box(call, session)
	gate := d.gate
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.state == sandbox.Running || b.state == sandbox.Frozen {
		b.state = to
	}
	for _, sh := range b.shells {
		if err := sh.cmd.Process.Signal(signal); err != nil {
			return err
		}
	}
	return nil
}

func (d *dock) Exec(ctx context.Context, session string, command sandbox.Command) (sandbox.Result, error) {
	d.mu.Lock()
	b, err := d.box("Exec", session)
	if err == nil && b.state == sandbox.Frozen {
		d.called["Exec in ice"]++
		err = errors.New("it is frozen")
	}
	hook := d.exec
	d.mu.Unlock()
	if err != nil {
		return sandbox.Result{}, err
	}
	if hook != nil {
		hook(strings.Join(command.Argv, " "))
	}
	cmd := exec.CommandContext(ctx, command.Argv[0], command.Argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = b.home, append(os.Environ(), command.Env...), command.Stdin
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if command.Stdout != nil {
		cmd.Stdout = command.Stdout
	}
	cmd.WaitDelay = time.Second // its input may stay open
	err = cmd.Run()
	if ctx.Err() != nil {
		return sandbox.Result{}, ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return sandbox.Result{}, err
	}
	return sandbox.Result{ExitCode: cmd.ProcessState.ExitCode(), Stdout: out.Bytes(), Stderr: failure.Bytes()}, nil
}

// CloseTerminal ends a shell, which nobody can in a sandbox that is frozen.
func (d *dock) CloseTerminal(_ context.Context, session, tab string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.box("CloseTerminal", session)
	if err != nil {
		return err
	}
	if b.state == sandbox.Frozen {
		return errors.New("it is frozen")
	}
	if sh := b.shells[tab]; sh != nil {
		sh.kill()
		delete(b.shells, tab)
	}
	return nil
}

// KubeConfig leads nowhere: the labs of these tests have no cluster.
func (d *dock) KubeConfig(_ context.Context, session string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.box("KubeConfig", session); err != nil {
		return nil, err
	}
	return []byte(`{apiVersion: v1, kind: Config, current-context: none,
contexts: [{name: none, context: {cluster: none, user: none}}], users: [{name: none, user: {}}],
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]}`), nil
}

// box finds a sandbox. d.mu is held.
func (d *dock) box(call, session string) (*box, error) {
	if err := d.call(call); err != nil {
		return nil, err
	}
	b := d.boxes[session]
	if b == nil {
		return nil, fmt.Errorf("%s of %s: %w", call, session, sandbox.ErrNotFound)
	}
	return b, nil
}

func (b *box) info(session string) sandbox.Info {
	use := sandbox.Serving
	if b.kept {
		use = sandbox.Kept
	}
	return sandbox.Info{ID: filepath.Base(b.home), Session: session, Name: session, Kind: sandbox.Cluster, Use: use, State: b.state, Created: b.made}
}

func (d *dock) addLocked(session string, state sandbox.State) {
	home, err := os.MkdirTemp(d.t.TempDir(), session)
	if err != nil {
		d.t.Error(err)
	}
	d.boxes[session] = &box{state: state, made: time.Now(), home: home, shells: map[string]*bash{}}
}

// drop removes a sandbox with its shells. d.mu is held.
func (d *dock) drop(session string) {
	if b := d.boxes[session]; b != nil {
		for _, sh := range b.shells {
			sh.kill()
		}
		delete(d.boxes, session)
	}
}

func (d *dock) Usage(_ context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("Usage"); err != nil {
		return nil, err
	}
	all := map[string]sandbox.Usage{}
	for _, b := range d.boxes {
		if id := filepath.Base(b.home); slices.Contains(ids, id) {
			all[id] = b.used
		}
	}
	return all, nil
}

// What the tests do to the engine, and ask it.

func (d *dock) use(session string, used sandbox.Usage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boxes[session].used = used
}

func (d *dock) add(session string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addLocked(session, sandbox.Running)
}

func (d *dock) vanish(session string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(session)
}

func (d *dock) set(session string, state sandbox.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boxes[session].state = state
}

func (d *dock) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err
}

func (d *dock) failCreate(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.createErr = err
}

func (d *dock) failRecover(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recoverErr = err
}

func (d *dock) failReset(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resetErr = err
}

// onExec calls f before each command.
func (d *dock) onExec(f func(argv string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.exec = f
}

// hold makes creations wait until they are released.
func (d *dock) hold() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.gate = gate
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.gate = nil
		close(gate)
	})
}

func (d *dock) kept(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boxes[session]
	return b != nil && b.kept
}

func (d *dock) has(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.boxes[session] != nil
}

// state is empty for a sandbox that is not there.
func (d *dock) state(session string) sandbox.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.boxes[session]; b != nil {
		return b.state
	}
	return ""
}

func (d *dock) home(session string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.boxes[session]; b != nil {
		return b.home
	}
	d.t.Errorf("there is no sandbox of %s", session)
	return d.t.TempDir()
}

func (d *dock) shells(session string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.boxes[session].shells)
}

func (d *dock) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.boxes)
}

func (d *dock) calls(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.called[name]
}

func (d *dock) made() int { return d.calls("Create") }

// attach connects to a shell, which is started on first use.
func (d *dock) attach(session string, spec sandbox.TerminalSpec) (*shellConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.box("Terminal", session)
	if err != nil {
		return nil, err
	}
	sh := b.shells[spec.Tab]
	if sh == nil {
		if sh, err = startBash(b.home); err != nil {
			return nil, err
		}
		b.shells[spec.Tab] = sh
	}
	return &shellConn{sh: sh, offset: min(spec.From, sh.printed())}, nil
}

// bash is a shell on a pipe that keeps all it has printed.
type bash struct {
	stdin io.WriteCloser
	cmd   *exec.Cmd

	mu     sync.Mutex
	news   *sync.Cond
	output []byte
	ended  bool
}

func startBash(home string) (*bash, error) {
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Dir = home
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	sh := &bash{stdin: stdin, cmd: cmd}
	sh.news = sync.NewCond(&sh.mu)
	cmd.Stdout, cmd.Stderr = sh, sh
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // its end is all that counts
		sh.mu.Lock()
		defer sh.mu.Unlock()
		sh.ended = true
		sh.news.Broadcast()
	}()
	return sh, nil
}

func (sh *bash) Write(p []byte) (int, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.output = append(sh.output, p...)
	sh.news.Broadcast()
	return len(p), nil
}

func (sh *bash) printed() int64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return int64(len(sh.output))
}

func (sh *bash) kill() { _ = sh.cmd.Process.Kill() }

// shellConn is a [sandbox.Terminal].
type shellConn struct {
	sh     *bash
	offset int64
	closed bool // guarded by sh.mu
}

func (c *shellConn) Read(p []byte) (int, error) {
	c.sh.mu.Lock()
	defer c.sh.mu.Unlock()
	for c.offset >= int64(len(c.sh.output)) && !c.closed && !c.sh.ended {
		c.sh.news.Wait()
	}
	switch {
	case c.closed:
		return 0, io.ErrClosedPipe
	case c.offset < int64(len(c.sh.output)):
		n := copy(p, c.sh.output[c.offset:])
		c.offset += int64(n)
		return n, nil
	}
	return 0, sandbox.ErrShellGone
}

func (c *shellConn) Write(p []byte) (int, error) { return c.sh.stdin.Write(p) }

func (c *shellConn) Close() error {
	c.sh.mu.Lock()
	defer c.sh.mu.Unlock()
	c.closed = true
	c.sh.news.Broadcast()
	return nil
}

func (c *shellConn) Offset() int64 {
	c.sh.mu.Lock()
	defer c.sh.mu.Unlock()
	return c.offset
}

func (c *shellConn) Resize(sandbox.Size) error { return nil }
