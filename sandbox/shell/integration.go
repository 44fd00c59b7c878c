package shell

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

// integration is what the shells read when they start.
//
//go:embed integration.bash
var integration []byte

// Integrated writes down what bash has to read so that it marks its commands,
// and returns the command line of a shell that does. Every user can read the
// file, and only this program's user change it.
//
// bash reads such a file only when it is no login shell: so the file does what a
// login shell would.
func Integrated(program, file string) (argv []string, err error) {
	unfinished := file + ".new"
	if err := os.WriteFile(unfinished, integration, 0o644); err != nil {
		return nil, fmt.Errorf("write down how the shells mark commands: %w", err)
	}
	if err := os.Chmod(unfinished, 0o644); err != nil { // whatever the umask
		return nil, fmt.Errorf("write down how the shells mark commands: %w", err)
	}
	if err := os.Rename(unfinished, file); err != nil {
		return nil, fmt.Errorf("write down how the shells mark commands: %w", err)
	}
	file, err = filepath.Abs(file)
	return []string{program, "--rcfile", file, "-i"}, err
}
