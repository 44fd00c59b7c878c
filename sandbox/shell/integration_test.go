package shell_test

import (
	"os"
	"strings"
	"testing"
)

// marked types a line and returns what was printed until the next prompt's mark.
func marked(t *testing.T, s *supervisor, tab string, lines ...string) string {
	t.Helper()
	c := s.attach(tab, 0)
	defer c.Close()
	readUntil(t, c, `\x1b\]133;A\x07`)
	var got string
	for _, line := range lines {
		typeIn(t, c, line)
		got = readUntil(t, c, `\x1b\]133;D;\d+\x07\x1b\]133;A\x07`)
	}
	return got
}

func TestShellsMarkTheirCommands(t *testing.T) {
	s := start(t, currentUser(t))
	for name, test := range map[string]struct {
		lines []string
		want  string
	}{
		"text and exit code":  {[]string{"(exit 7)"}, "\x1b]633;E;(exit 7)\a\x1b]133;C\a\x1b]133;D;7\a"},
		"what ends a mark":    {[]string{`echo 'a;b\c'`}, "\x1b]633;E;echo 'a\\x3bb\\\\c'\a\x1b]133;C\aa;b\\c\r\n\x1b]133;D;0\a"},
		"the same line again": {[]string{"HISTCONTROL=ignoredups; true", "true", "true"}, "\x1b]633;E;true\a\x1b]133;C\a\x1b]133;D;0\a"},
		"more than one line":  {[]string{"for i in 1 2; do\necho $i\ndone"}, "]633;E;for i in 1 2\\x3b do echo $i\\x3b done\a"},
		// The line before must not be taken for it.
		"kept out of the history": {[]string{"HISTCONTROL=ignorespace; true", " false"}, "\x1b]633;E;\a\x1b]133;C\a\x1b]133;D;1\a"},
		"no history":              {[]string{"set +o history; true", "history -c; true"}, "\x1b]633;E;\a\x1b]133;C\a\x1b]133;D;0\a"},
		"a prompt of one's own":   {[]string{"PS1='mine> ' PROMPT_COMMAND='true'", "false"}, "\x1b]133;D;1\a"},
	} {
		t.Run(name, func(t *testing.T) {
			tab := "t" + strings.Map(func(r rune) rune {
				if r < 'a' || r > 'z' {
					return -1
				}
				return r
			}, name)
			tab = tab[:min(len(tab), 12)]
			if got := marked(t, s, tab, test.lines...); !strings.Contains(got, test.want) {
				t.Errorf("printed %q, want %q in it", got, test.want)
			}
		})
	}
}

// A learner's own files are read as by a login shell, and mark nothing out.
func TestShellsReadTheLearnersFiles(t *testing.T) {
	s := start(t, currentUser(t))
	c := s.attach("main", 0)
	typeIn(t, c, `cat >~/.bash_profile <<<'PS1="own> "; PROMPT_COMMAND="own=\$((own+1))"; alias ll="echo listed"'; exit`)
	if _, err := readToEnd(t, c); err != nil {
		t.Fatal(err)
	}
	got := marked(t, s, "2", "ll", "echo count $own")
	if !strings.Contains(got, "count 2\r\n") || !strings.Contains(got, "\x1b]633;E;echo count $own\a") {
		t.Errorf("printed %q", got)
	}
}

// Who has the shells can read what they read, and not change it.
func TestLearnerCannotChangeWhatShellsRead(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: shells can't run as somebody else here")
		return
	}
	s := start(t, "nobody")
	got := marked(t, s, "main", `f=$(tr '\0' '\n' </proc/$$/cmdline | grep bash$ | tail -1); test -r $f && { echo x >>$f; rm -f $f; mv $f $f.x; } 2>/dev/null; test -s $f && echo st''ands`)
	if !strings.Contains(got, "stands\r\n") {
		t.Errorf("printed %q", got)
	}
}
