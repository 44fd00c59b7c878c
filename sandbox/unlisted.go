package sandbox

import (
	"path"
	"slices"
	"strings"
)

// readScript has a shell run what it is given as its input, which has then come to
// its end. What can't be read, or is nothing, is a failure and no success.
const readScript = `drydock_script=$(cat) || exit; [ -n "$drydock_script" ] || exit 125; eval "$drydock_script"`

// Unlisted returns the command such that its script is not in any list of
// processes. Everybody in a sandbox may read the command lines of everybody else's
// processes, root's among them, and what is judged or set up by root is not for a
// learner to read: of a shell with a script (sh -c SCRIPT …) the script becomes the
// input, which only root's own processes can read. It runs as before, with an
// input that is at its end. Other commands, and those that have an input, are
// returned as they are.
func (c Command) Unlisted() Command {
	at := scriptAt(c.Argv)
	if at < 0 || c.Stdin != nil {
		return c
	}
	c.Stdin = strings.NewReader(c.Argv[at])
	c.Argv = slices.Clone(c.Argv)
	c.Argv[at] = readScript
	return c
}

// scriptAt is the place of a shell's script in its command line; -1: there is none.
func scriptAt(argv []string) int {
	if len(argv) == 0 || !slices.Contains([]string{"sh", "bash", "dash"}, path.Base(argv[0])) {
		return -1
	}
	for i := 1; i+1 < len(argv); i++ {
		switch word := argv[i]; {
		case strings.HasPrefix(word, "--"): // --norc
		case !strings.HasPrefix(word, "-"):
			return -1 // a file
		case strings.Contains(word, "c"):
			if strings.HasPrefix(argv[i+1], "-") || strings.HasPrefix(argv[i+1], "+") {
				return -1 // more options
			}
			return i + 1
		case strings.HasSuffix(word, "o"), strings.HasSuffix(word, "O"):
			i++ // its value: -o pipefail
		}
	}
	return -1
}
