package content

import (
	"embed"
	"io/fs"
)

//go:embed tracks
var embedded embed.FS

// Embedded returns the tracks that are part of the program, for [Load].
func Embedded() fs.FS {
	tracks, err := fs.Sub(embedded, "tracks")
	if err != nil {
		panic(err) // only for an invalid name
	}
	return tracks
}
