package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"drydock/labs"
	"drydock/sandbox"
)

// menuKey is Ctrl-], which telnet users know and shells do not use.
const menuKey = 0x1d

// console is the author's own terminal: the learner's shell, and a menu on a key.
type console struct {
	words    *rehearsalWords
	provider sandbox.Provider
	keys     *keyboard
	cooked   *term.State // of the terminal, as it was found
}

func (c *console) told(e labs.RehearsalEvent) { c.words.told(e) }

// rehearse connects the terminal to the learner's shell until that ends or
// the author does. A reset brings a new shell.
func (c *console) rehearse(ctx context.Context, r *labs.Rehearsal) error {
	stdin := int(os.Stdin.Fd())
	cooked, err := term.MakeRaw(stdin)
	if err != nil {
		return fmt.Errorf("prepare this terminal: %w", err)
	}
	defer func() { _ = term.Restore(stdin, cooked) }()
	c.cooked, c.keys = cooked, newKeyboard(os.Stdin)
	c.words.standing(r.Standing())
	c.words.say("Ctrl-] opens the menu; leaving the shell ends the lab.")
	for {
		choice, err := c.shell(ctx, r)
		if err != nil || !choice.reset {
			c.words.standing(r.Standing())
			return err
		}
		if err := r.Reset(ctx, choice.variant, stagesOn(c.words.out, "\r\n")); err != nil {
			c.words.say("the reset failed, and the old sandbox goes on: " + err.Error())
		}
	}
}

// shell runs one shell to its end, or until the author leaves it.
func (c *console) shell(ctx context.Context, r *labs.Rehearsal) (left menuChoice, err error) {
	shell, err := c.provider.Terminal(ctx, authorSession, sandbox.TerminalSpec{Tab: "1", Size: terminalSize()})
	if err != nil {
		return left, fmt.Errorf("open the learner's shell: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(os.Stdout, shell)
		ended <- err
	}()
	defer shell.Close()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	for {
		select {
		case <-resized:
			_ = shell.Resize(terminalSize())
		case err := <-ended:
			return left, err
		case <-ctx.Done():
			return left, nil
		case typed, ok := <-c.keys.typed:
			if !ok {
				return left, nil
			}
			if choice := c.pass(ctx, typed, shell, r); choice.leaves() {
				return choice, nil
			}
		}
	}
}

func terminalSize() sandbox.Size {
	cols, rows, err := term.GetSize(int(os.Stdin.Fd()))
	if err != nil {
		return sandbox.Size{Cols: 80, Rows: 24}
	}
	return sandbox.Size{Cols: uint16(cols), Rows: uint16(rows)}
}

// pass hands what is typed on to the shell, and opens the menu on its key.
func (c *console) pass(ctx context.Context, typed []byte, shell io.Writer, r *labs.Rehearsal) menuChoice {
	before, after, menu := bytes.Cut(typed, []byte{menuKey})
	if _, err := shell.Write(before); err != nil {
		return menuChoice{} // the shell has ended; its reader tells how
	}
	if !menu {
		return menuChoice{}
	}
	stdin := int(os.Stdin.Fd())
	raw, err := term.GetState(stdin)
	if err != nil {
		return menuChoice{end: true}
	}
	_ = term.Restore(stdin, c.cooked)
	c.keys.unread(after)
	choice := c.menu(ctx, r)
	_ = term.Restore(stdin, raw)
	if !choice.leaves() {
		_, _ = shell.Write(append([]byte("\r"), c.keys.take()...)) // a fresh prompt
	}
	return choice
}

const menuHelp = `  tasks              where the tasks stand, and what the checks say
  answer TASK TEXT   answer a question (a number chooses among those shown)
  hint TASK          the next hint
  reset [VARIANT]    a fresh sandbox, of the lab as it is now
  end                end the lab
An empty line goes back to the shell.
`

// menu reads commands until an empty line, or one that leaves the shell.
func (c *console) menu(ctx context.Context, r *labs.Rehearsal) menuChoice {
	out := &commandOutput{words: c.words, newline: "\n"}
	fmt.Fprint(c.words.out, "\n", menuHelp)
	for {
		fmt.Fprint(c.words.out, "drydock> ")
		line, ok := c.keys.line()
		if !ok || strings.TrimSpace(line) == "" {
			return menuChoice{}
		}
		choice, err := menuCommand(ctx, r, line, out)
		switch {
		case errors.Is(err, errNoCommand):
			fmt.Fprint(c.words.out, menuHelp)
		case err != nil:
			fmt.Fprintln(c.words.out, err)
		case choice.leaves():
			return choice
		}
	}
}

// keyboard reads what is typed, for whoever wants it at the moment: a read of
// a terminal can't be taken back.
type keyboard struct {
	typed chan []byte // closed at the end of the input
	rest  []byte      // read already, and not yet used
}

func newKeyboard(in io.Reader) *keyboard {
	k := &keyboard{typed: make(chan []byte)}
	go func() {
		defer close(k.typed)
		for {
			buffer := make([]byte, 4096)
			n, err := in.Read(buffer)
			if n > 0 {
				k.typed <- buffer[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	return k
}

// unread gives back what the next line begins with.
func (k *keyboard) unread(b []byte) { k.rest = append(bytes.Clone(b), k.rest...) }

// take returns what was given back, or typed after a line, and is not used yet.
func (k *keyboard) take() []byte {
	rest := k.rest
	k.rest = nil
	return rest
}

// line waits for a line; it is false at the end of the input.
func (k *keyboard) line() (string, bool) {
	var line []byte
	for {
		before, after, found := bytes.Cut(k.take(), []byte{'\n'})
		if line = append(line, before...); found {
			k.rest = after
			return string(line), true
		}
		typed, ok := <-k.typed
		if !ok {
			return "", false
		}
		k.rest = typed
	}
}
