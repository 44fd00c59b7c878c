// Package scaffold holds a small lab of each kind of sandbox that works, as a
// beginning for an author: `drydock lab new` copies one. They are labs like
// any other, and proven like any other.
//
// It imports nothing of ours; package labs loads what FS returns.
package scaffold

import (
	"embed"
	"io/fs"
)

//go:embed cluster machine
var files embed.FS

// FS returns a folder with a lab for each kind of sandbox, named like it.
func FS() fs.FS { return files }
