// Package assets holds the scripts and style sheets of the pages, bundled from
// src and css into dist, and serves them.
//
// The bundles are committed, so that building Drydock needs no Node. Who
// changes a script or a style sheet runs
//
//	go generate ./web/assets
//
// which fetches the pinned npm packages when they are missing and writes dist
// and its manifest anew; a test in package bundle fails when they are stale.
//
// It imports nothing of Drydock.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:generate go run ./bundle

//go:embed dist
var embedded embed.FS

// Set is the bundled files, ready to be served. It is safe for concurrent use.
type Set struct {
	files map[string]file
}

type file struct {
	contentType string
	version     string // of the content: part of the address, so that it can be cached for good
	plain       []byte
	gzipped     []byte // nil where compression gains nothing
}

// versionLength is the number of hex digits of a file's hash in its address:
// enough that two builds' files never share one.
const versionLength = 12

// Load returns the files built into the program.
func Load() (*Set, error) {
	dist, err := fs.Sub(embedded, "dist")
	if err != nil {
		return nil, fmt.Errorf("open the embedded assets: %w", err)
	}
	return LoadFS(dist)
}

// LoadFS reads the files of a folder, as dist is one.
func LoadFS(dist fs.FS) (*Set, error) {
	set := &Set{files: map[string]file{}}
	entries, err := fs.ReadDir(dist, ".")
	if err != nil {
		return nil, fmt.Errorf("read the assets: %w", err)
	}
	for _, entry := range entries {
		f, err := load(dist, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read asset %s: %w", entry.Name(), err)
		}
		set.files[entry.Name()] = f
	}
	return set, nil
}

// Add takes up a file that is made at start, such as the colours of
// highlighted code. It must not be called once the set is being served.
func (s *Set) Add(name string, plain []byte) error {
	f, err := pack(name, plain)
	if err != nil {
		return fmt.Errorf("add asset %s: %w", name, err)
	}
	s.files[name] = f
	return nil
}

func load(dist fs.FS, name string) (file, error) {
	plain, err := fs.ReadFile(dist, name)
	if err != nil {
		return file{}, err
	}
	return pack(name, plain)
}

func pack(name string, plain []byte) (file, error) {
	sum := sha256.Sum256(plain)
	f := file{
		contentType: mime.TypeByExtension(path.Ext(name)),
		version:     hex.EncodeToString(sum[:])[:versionLength],
		plain:       plain,
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return file{}, err
	}
	if _, err := w.Write(plain); err != nil {
		return file{}, err
	}
	if err := w.Close(); err != nil {
		return file{}, err
	}
	if packed.Len() < len(plain) {
		f.gzipped = packed.Bytes()
	}
	return f, nil
}

// Path returns the address of a file, such as session.js. It changes with the
// file's content. A name that does not exist is an error of the program: the
// address then leads to a 404.
func (s *Set) Path(name string) string {
	return "/assets/" + name + "?v=" + s.files[name].version
}

// ServeHTTP serves the files below /assets/.
func (s *Set) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files[strings.TrimPrefix(r.URL.Path, "/assets/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", `"`+f.version+`"`)
	if r.URL.Query().Get("v") == f.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == `"`+f.version+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if f.gzipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.gzipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // the browser went away: nobody to tell
}
