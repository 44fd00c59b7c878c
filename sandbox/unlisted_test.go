package sandbox

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestUnlisted runs commands as they are and unlisted: both do the same, but the
// second does not have its script in its command line.
func TestUnlisted(t *testing.T) {
	const marker = "canary"
	for _, argv := range [][]string{
		{"sh", "-c", "echo " + marker + " $0 $# $1; exit 3", "name", "one two"},
		{"bash", "-c", "set -e\ncat <<END\n" + marker + "\nEND\nfalse\necho not reached"},
		{"bash", "-euo", "pipefail", "-c", "false | true; echo " + marker},
		{"/bin/sh", "-ec", "read -r line || echo no input, " + marker + "; cat"},
		{"bash", "--norc", "-c", "cat < <(echo " + marker + ")"},
		{"sh", "-c", "echo " + marker + " 'not closed"},
	} {
		plain, quiet := Command{Argv: argv}, Command{Argv: argv}.Unlisted()
		if line := strings.Join(quiet.Argv, " "); strings.Contains(line, marker) {
			t.Errorf("%q is still listed: %q", argv, line)
		}
		want, wantCode := output(t, plain)
		got, code := output(t, quiet)
		if got != want || code != wantCode {
			t.Errorf("%q: %q and %d, but as it is %q and %d", argv, got, code, want, wantCode)
		}
	}
	for _, argv := range [][]string{nil, {"sh"}, {"sh", "-c"}, {"sh", "file", "-c", "x"}, {"grep", "-c", "x"}, {"bash", "-c", "-e", "x"}, {"bash", "-s", "x"}} {
		if c := (Command{Argv: argv}).Unlisted(); c.Stdin != nil || strings.Join(c.Argv, " ") != strings.Join(argv, " ") {
			t.Errorf("%q becomes %q", argv, c.Argv)
		}
	}
	given := Command{Argv: []string{"sh", "-c", "cat"}, Stdin: strings.NewReader("its own")}
	if got, _ := output(t, given.Unlisted()); got != "its own" {
		t.Errorf("a command that has an input prints %q", got)
	}
	// A script that does not arrive must not look as if it had succeeded.
	lost := Command{Argv: []string{"sh", "-c", "true"}}.Unlisted()
	lost.Stdin = strings.NewReader("")
	if _, code := output(t, lost); code == 0 {
		t.Error("a script that got lost has succeeded")
	}
}

func output(t *testing.T, c Command) (stdout string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.Argv[0], c.Argv[1:]...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, &out, io.Discard
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}
