// Package catalogue holds the labs that come with Drydock, one folder per lab
// in the format that package labs documents. It is embedded in the binary.
//
// It imports nothing of ours; package labs loads what FS returns.
package catalogue

import (
	"embed"
	"io/fs"
)

//go:embed */*
var files embed.FS

// FS returns the folder of labs.
func FS() fs.FS { return files }
