package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Versions of what diagrams are rendered with. After a change run
// `go run ./content/diagrams -force` and look at every diagram.
const (
	mermaidVersion = "12.3.0"
	arimoVersion   = "5.3.0" // a font as wide as Arial, which stands in for it everywhere
)

// fromNPM returns one file of an npm package. The package is fetched once,
// checked by npm, and kept in the user's cache; nothing of it is run here but
// in the browser.
func fromNPM(ctx context.Context, name, version, file string) ([]byte, error) {
	archive, err := packed(ctx, name, version)
	if err != nil {
		return nil, fmt.Errorf("get %s@%s from npm: %w", name, version, err)
	}
	data, err := extract(archive, "package/"+file)
	if err != nil {
		return nil, fmt.Errorf("take %s out of %s: %w", file, archive, err)
	}
	return data, nil
}

// packed returns the path of the package's archive, which npm names after it.
func packed(ctx context.Context, name, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "drydock", "npm")
	archive := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-")+"-"+version+".tgz")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(dir, "partial-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", partial, name+"@"+version)
	cmd.Dir = partial
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return archive, os.Rename(filepath.Join(partial, filepath.Base(archive)), archive)
}

func extract(archive, name string) ([]byte, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	files := tar.NewReader(unzipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, os.ErrNotExist
		}
		if err != nil {
			return nil, err
		}
		if header.Name == name {
			return io.ReadAll(files)
		}
	}
}
