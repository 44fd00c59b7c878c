package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Each file of testdata/stories is a story of the command line, told to the
// program as it is built, in a directory of its own.
func TestStories(t *testing.T) {
	bin := filepath.Dir(program(t))
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "stories"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
	})
}
