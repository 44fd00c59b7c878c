// Package resident runs short commands on a sandbox's node through one program
// that stays there. Starting a command through the engine costs a tenth of a
// second of a core and more, most of it the engine's; fifty sessions whose
// checks run two commands every few seconds would take all of a large machine.
// A program that is there already does it in some milliseconds.
//
// It owns that program and what is said between the two. It imports package
// sandbox for its types.
package resident

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drydock/sandbox"
)

//go:embed resident.pl
var script string

const (
	// defaultOutput is that of [sandbox.Command].
	defaultOutput = 1 << 20
	// maxLine bounds a line of the program, in bytes; a pipe takes 4 KiB in one piece.
	maxLine = 4 << 10
	// maxComplaint is kept of what the program itself complains of.
	maxComplaint = 4 << 10
	// maxInput bounds the input of a command that the program is told; scripts are shorter.
	maxInput = 256 << 10
	// notFound is the exit code of a program that is not there, by the shell's custom and the engines'.
	notFound = 127
	// tooMuch is what the program says in the place of an exit code of a command
	// that printed more than it may.
	tooMuch = "flood"
	// queued is how many commands may wait for a program that does not read.
	queued = 16
)

// Exec runs a command in a sandbox; see [sandbox.Provider].
type Exec func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error)

// Runner runs commands in one sandbox. Its methods are safe for concurrent use.
type Runner struct {
	exec Exec

	mu      sync.Mutex
	program *program // nil until it is needed, and after it was lost
	closed  bool
	ids     int
}

// New makes a Runner of what starts a command. Close it at the end.
func New(exec Exec) *Runner { return &Runner{exec: exec} }

// Exec runs a command as a [sandbox.Provider] does: on the node through the
// program, if it has a deadline and neither takes nor hands on a stream, a short
// text of [strings.NewReader] being none; else directly, as in
// a sandbox that has no Perl. When the program is lost on the way that is an error, and the next
// command begins a new one.
func (r *Runner) Exec(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	deadline, bounded := ctx.Deadline()
	input, short := inputOf(cmd)
	if !bounded || cmd.Where != sandbox.OnNode || !short || cmd.Stdout != nil || !plain(cmd) {
		return r.exec(ctx, cmd)
	}
	s, id, err := r.begin()
	if err != nil {
		return r.exec(ctx, cmd)
	}
	most := cmd.MaxOutput
	if most == 0 {
		most = defaultOutput
	}
	asked := s.ask(id, most)
	defer s.forget(id)
	// One byte more than is kept tells whether there was more.
	line := fmt.Sprintf("%s %d %d %d %d", id, int(math.Ceil(max(1, time.Until(deadline).Seconds()))), most+1, cmd.MaxPrinted, len(cmd.Env))
	line += encoded([]string{input}) + encoded(cmd.Env) + encoded(cmd.Argv) + "\n"
	select {
	case s.lines <- []byte(line):
	case <-s.over:
	case <-ctx.Done():
	}
	select {
	case res := <-asked.done:
		return res, asked.err
	case <-s.over:
		if s.missing {
			return r.exec(ctx, cmd)
		}
		return sandbox.Result{}, fmt.Errorf("the program on the node was lost: %w", s.err)
	case <-ctx.Done():
		if s.silentSince(asked.at) { // it is stuck, or what leads to it is cut
			s.stop()
		}
		return sandbox.Result{}, context.Cause(ctx)
	}
}

// Close ends the program and waits until it has ended. What is run later is run directly.
func (r *Runner) Close() {
	r.mu.Lock()
	s := r.program
	r.closed = true
	r.mu.Unlock()
	if s != nil {
		s.stop()
		<-s.over
	}
}

var (
	errClosed  = errors.New("the runner is closed")
	errMissing = errors.New("the sandbox lacks what the program is written in")
)

// begin returns the program, which it starts if need be, and an id for a command.
func (r *Runner) begin() (*program, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, "", errClosed
	}
	if r.program != nil && r.program.ended() && r.program.missing {
		return nil, "", errMissing
	}
	r.ids++
	if r.program == nil || r.program.ended() {
		r.program = start(r.exec)
	}
	return r.program, strconv.Itoa(r.ids), nil
}

// plain reports whether the program can be told the command.
func plain(cmd sandbox.Command) bool {
	strange := func(word string) bool { return strings.ContainsRune(word, 0) }
	return len(cmd.Argv) > 0 && !slices.ContainsFunc(cmd.Argv, strange) && !slices.ContainsFunc(cmd.Env, strange)
}

// inputOf is the whole input of a command; ok is false when it is a stream.
func inputOf(cmd sandbox.Command) (text string, ok bool) {
	if cmd.Stdin == nil {
		return "", true
	}
	whole, ok := cmd.Stdin.(*strings.Reader)
	if !ok || whole.Len() > maxInput {
		return "", false
	}
	unread := *whole // who runs it directly reads it, too
	read, err := io.ReadAll(&unread)
	return string(read), err == nil
}

// encoded are words for the program, each behind a space.
func encoded(words []string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" =" + base64.StdEncoding.EncodeToString([]byte(word)))
	}
	return b.String()
}

// program is one that runs. It is the input and the output of its program.
type program struct {
	stop  context.CancelFunc
	lines chan []byte   // to its input
	over  chan struct{} // closed when it has ended
	err   error         // why; read once over is closed
	// missing: the sandbox lacks what it is written in. Read once over is closed.
	missing bool
	rest    []byte // of a line of the input; the reader's

	mu      sync.Mutex
	partial []byte // of a line of the output
	waiting map[string]*asked
	heard   time.Time
}

// asked is a command that is under way.
type asked struct {
	at   time.Time
	most int
	out  [2]bytes.Buffer
	done chan sandbox.Result
	err  error // read after done
}

func start(exec Exec) *program {
	ctx, stop := context.WithCancel(context.Background())
	s := &program{stop: stop, lines: make(chan []byte, queued), over: make(chan struct{}), waiting: map[string]*asked{}}
	go func() {
		defer close(s.over)
		defer stop()
		res, err := exec(ctx, sandbox.Command{
			Where: sandbox.OnNode, Argv: []string{"perl", "-e", script},
			Stdin: &input{s, ctx}, Stdout: s, MaxOutput: maxComplaint,
		})
		s.missing = err == nil && res.ExitCode == notFound
		if err == nil {
			err = fmt.Errorf("it ended with code %d: %.200s", res.ExitCode, bytes.TrimSpace(res.Stderr))
		}
		s.err = err
	}()
	return s
}

func (s *program) ended() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

func (s *program) ask(id string, most int) *asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &asked{at: time.Now(), most: most, done: make(chan sandbox.Result, 1)}
	s.waiting[id] = a
	return a
}

func (s *program) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}

func (s *program) silentSince(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.Before(at)
}

// input is what the program reads: commands, until it is stopped.
type input struct {
	*program
	ctx context.Context
}

// Read waits for a command.
func (i *input) Read(into []byte) (int, error) {
	if len(i.rest) == 0 {
		select {
		case i.rest = <-i.lines:
		case <-i.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(into, i.rest)
	i.rest = i.rest[n:]
	return n, nil
}

// errLine ends a program that says what it was not told to: it may be somebody
// else's by now.
var errLine = errors.New("the program on the node says something else")

// Write takes what the program prints.
func (s *program) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(s.partial)+len(line) > maxLine {
			return 0, errLine
		}
		s.partial = append(s.partial, line...)
		if !whole {
			break
		}
		rest = after
		if err := s.take(string(s.partial)); err != nil {
			return 0, err
		}
		s.partial = s.partial[:0]
	}
	return len(p), nil
}

// take reads one line of the output. The caller holds mu.
func (s *program) take(line string) error {
	id, said, _ := strings.Cut(line, " ")
	kind, said, ok := strings.Cut(said, " ")
	if !ok || len(kind) != 1 || !strings.Contains("012", kind) {
		return errLine
	}
	a := s.waiting[id]
	if a == nil {
		return nil // nobody waits for it any more
	}
	if kind == "0" {
		code, err := strconv.Atoi(said)
		switch {
		case said == tooMuch:
			a.err = sandbox.ErrTooMuch
		case err != nil:
			return errLine
		}
		delete(s.waiting, id)
		a.done <- a.result(code)
		return nil
	}
	piece, err := base64.StdEncoding.DecodeString(said)
	out := &a.out[kind[0]-'1']
	if err != nil || out.Len()+len(piece) > a.most+1 {
		return errLine
	}
	_, err = out.Write(piece)
	return err
}

func (a *asked) result(code int) sandbox.Result {
	keep := func(b []byte) []byte { return b[:min(len(b), a.most)] }
	stdout, stderr := a.out[0].Bytes(), a.out[1].Bytes()
	return sandbox.Result{
		ExitCode: code, Stdout: keep(stdout), Stderr: keep(stderr), Truncated: max(len(stdout), len(stderr)) > a.most,
	}
}
