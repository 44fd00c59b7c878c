package sandboxtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"drydock/sandbox"
)

// conversation is a command that is talked with while it runs.
type conversation struct {
	t      *testing.T
	say    *io.PipeWriter
	lines  *bufio.Scanner
	deafen func(error) // the command's output is no longer taken
	cancel context.CancelCauseFunc
	ended  chan struct{} // from then on:
	result sandbox.Result
	err    error
}

// converse starts a command in the suite's sandbox.
func (s *suite) converse(t *testing.T, where sandbox.Where, argv ...string) *conversation {
	ctx, cancel := context.WithCancelCause(timeout(t, patience))
	stdin, say := io.Pipe()
	hear, stdout := io.Pipe()
	c := &conversation{
		t: t, say: say, lines: bufio.NewScanner(hear), cancel: cancel, ended: make(chan struct{}),
		deafen: func(err error) { hear.CloseWithError(err) },
	}
	go func() {
		defer close(c.ended)
		c.result, c.err = s.p.Exec(ctx, session, sandbox.Command{
			Where: where, Argv: argv, Stdin: stdin, Stdout: stdout, MaxOutput: 100,
		})
		stdout.Close()
		stdin.Close()
	}()
	t.Cleanup(func() {
		cancel(nil)
		hear.Close()
		<-c.ended
	})
	return c
}

// ask says something, and wants it repeated.
func (c *conversation) ask(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.say, text+"\n"); err != nil {
		c.t.Fatalf("say %q: %v", text, err)
	}
	c.hear(text)
}

// hear waits for a line.
func (c *conversation) hear(want string) {
	c.t.Helper()
	if !c.lines.Scan() {
		<-c.ended
		c.t.Fatalf("the command was to print %q, and ended: %+v, %v", want, c.result, c.err)
	}
	if got := c.lines.Text(); got != want {
		c.t.Fatalf("the command prints %q, want %q", got, want)
	}
}

// execStreams talks with a command while it runs, for longer than is ever kept.
func (s *suite) execStreams(t *testing.T) {
	for _, where := range []sandbox.Where{sandbox.InTerminal, sandbox.OnNode} {
		c := s.converse(t, where, "sh", "-c", "cat; echo end >&2; exit 5")
		c.ask("hello")
		c.ask("are you there?")
		long := string(bytes.Repeat([]byte("long "), 100))
		for range 100 {
			c.ask(long)
		}
		c.say.Close()
		if c.lines.Scan() {
			t.Errorf("%s: nobody asked for %q", where, c.lines.Text())
		}
		<-c.ended
		if c.err != nil || c.result.ExitCode != 5 || len(c.result.Stdout) != 0 || string(c.result.Stderr) != "end\n" || c.result.Truncated {
			t.Errorf("%s: %+v, %v", where, c.result, c.err)
		}

		// A command that ends by itself leaves nobody waiting for its input.
		c = s.converse(t, where, "echo", "done")
		c.hear("done")
		<-c.ended
		if c.err != nil || c.result.ExitCode != 0 {
			t.Errorf("%s: with its input open: %+v, %v", where, c.result, c.err)
		}
	}
}

// execStreamAbandoned: neither a command whose context ends runs on, nor one
// whose output nobody takes.
func (s *suite) execStreamAbandoned(t *testing.T) {
	enough := errors.New("enough")
	for _, where := range []sandbox.Where{sandbox.InTerminal, sandbox.OnNode} {
		for name, leave := range map[string]func(*conversation){
			"the caller goes":        func(c *conversation) { c.cancel(enough) },
			"the output is not read": func(c *conversation) { c.deafen(enough); _, _ = io.WriteString(c.say, "?\n") },
		} {
			c := s.converse(t, where, "sh", "-c", "cat; sleep 4243")
			c.ask("hello")
			leave(c)
			<-c.ended
			if !errors.Is(c.err, enough) {
				t.Errorf("%s, %s: the command ends with %v", where, name, c.err)
			}
			s.gone(t, where, "4243")
		}
	}
}

// gone checks that no process has the number as an argument.
func (s *suite) gone(t *testing.T, where sandbox.Where, number string) {
	t.Helper()
	res := s.run(t, where, "sh", "-c", "grep -lzx "+number+" /proc/[0-9]*/cmdline 2>/dev/null")
	if len(res.Stdout) != 0 {
		t.Errorf("%s: still running: %s", where, res.Stdout)
	}
}

// execStreamFrozen: over a freeze a conversation stands still. One that is
// given up meanwhile ends at once for the caller, and for the command with the thaw.
func (s *suite) execStreamFrozen(t *testing.T) {
	ctx := timeout(t, patience)
	goesOn := s.converse(t, sandbox.OnNode, "cat")
	goesOn.ask("before")
	givenUp := s.converse(t, sandbox.OnNode, "sh", "-c", `cat; echo "the input has ended" >/run/given-up`)
	givenUp.ask("before")
	if err := s.p.Freeze(ctx, session); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(goesOn.say, "during\n"); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	givenUp.cancel(enough)
	<-givenUp.ended
	if !errors.Is(givenUp.err, enough) {
		t.Errorf("a command that is given up in ice ends with %v", givenUp.err)
	}
	if err := s.p.Thaw(ctx, session); err != nil {
		t.Fatal(err)
	}
	goesOn.hear("during")
	goesOn.ask("after")
	goesOn.say.Close()
	<-goesOn.ended
	if goesOn.err != nil || goesOn.result.ExitCode != 0 {
		t.Errorf("after the thaw: %+v, %v", goesOn.result, goesOn.err)
	}
	res := s.run(t, sandbox.OnNode, "timeout", "60", "sh", "-c", "until [ -s /run/given-up ]; do sleep 0.05; done; rm /run/given-up")
	if res.ExitCode != 0 {
		t.Error("a command that was given up in ice runs on after the thaw")
	}
}
