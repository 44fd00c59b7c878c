package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Manifest says which inputs the committed bundles were made of. Keys are
// slash-separated paths below web/assets, values SHA-256 in hex.
type Manifest struct {
	// Esbuild is the version of the bundler.
	Esbuild string            `json:"esbuild"`
	Inputs  map[string]string `json:"inputs"`
	Outputs map[string]string `json:"outputs"`
}

const manifestName = "manifest.json"

// axeFolder is where tests find axe-core.
const axeFolder = "axetest/dist"

// scan describes the files of dir as they are now.
func scan(dir string) (Manifest, error) {
	m := Manifest{Inputs: map[string]string{}, Outputs: map[string]string{}}
	var err error
	if m.Esbuild, err = esbuildVersion(filepath.Join(dir, "..", "..", "go.mod")); err != nil {
		return m, err
	}
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json"} {
		if err := m.add(m.Inputs, dir, name); err != nil {
			return m, err
		}
	}
	for _, folder := range []string{"src", "css", "bundle"} {
		if err := m.addFolder(m.Inputs, dir, folder); err != nil {
			return m, err
		}
	}
	if err := m.addFolder(m.Outputs, dir, "dist"); err != nil {
		return m, err
	}
	delete(m.Outputs, "dist/"+manifestName)
	if err := m.addFolder(m.Outputs, dir, axeFolder); err != nil {
		return m, err
	}
	return m, nil
}

func (m *Manifest) addFolder(to map[string]string, dir, folder string) error {
	return filepath.WalkDir(filepath.Join(dir, folder), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", path, err)
		}
		if entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return fmt.Errorf("name %s: %w", path, err)
		}
		return m.add(to, dir, filepath.ToSlash(name))
	})
}

func (m *Manifest) add(to map[string]string, dir, name string) error {
	content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	sum := sha256.Sum256(content)
	to[name] = hex.EncodeToString(sum[:])
	return nil
}

func (m *Manifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dist", manifestName), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return nil
}

func readManifest(dir string) (Manifest, error) {
	var m Manifest
	text, err := os.ReadFile(filepath.Join(dir, "dist", manifestName))
	if err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return m, fmt.Errorf("decode the manifest: %w", err)
	}
	return m, nil
}

// esbuildVersion reads the version of the bundler from go.mod.
func esbuildVersion(goMod string) (string, error) {
	text, err := os.ReadFile(goMod)
	if err != nil {
		return "", fmt.Errorf("read go.mod: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "github.com/evanw/esbuild" {
			return fields[1], nil
		}
	}
	return "", errors.New("go.mod does not require github.com/evanw/esbuild")
}

// differences tells what of the recorded state is not so any more, in words for who changed it.
func (m Manifest) differences(now Manifest) []string {
	var out []string
	if m.Esbuild != now.Esbuild {
		out = append(out, fmt.Sprintf("esbuild was %s and is %s", m.Esbuild, now.Esbuild))
	}
	out = append(out, compare("an input", m.Inputs, now.Inputs)...)
	return append(out, compare("an output", m.Outputs, now.Outputs)...)
}

func compare(what string, was, is map[string]string) []string {
	var out []string
	for name, sum := range is {
		if was[name] == "" {
			out = append(out, fmt.Sprintf("%s is not in the manifest: %s", what, name))
		} else if was[name] != sum {
			out = append(out, fmt.Sprintf("%s changed: %s", what, name))
		}
	}
	for name := range was {
		if is[name] == "" {
			out = append(out, fmt.Sprintf("%s is gone: %s", what, name))
		}
	}
	return out
}
