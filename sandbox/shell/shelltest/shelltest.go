// Package shelltest is for tests that run the terminal supervisor without a
// container around it, which would end with everything in it.
package shelltest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// KillLeft ends what shells had started and left behind. Their home, which no
// other process has, tells what was theirs.
func KillLeft(home string) error {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return err
	}
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, []byte("HOME="+home+"\x00")) {
			continue // it has ended meanwhile, or is somebody else's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil
}
