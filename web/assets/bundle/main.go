// Command bundle makes web/assets/dist from web/assets/src and web/assets/css
// with esbuild, type-checks the sources, and records what went in and what
// came out in dist/manifest.json. Run it by "go generate ./web/assets".
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

// run bundles the assets in dir, which is web/assets.
func run(dir string) error {
	if err := install(dir); err != nil {
		return err
	}
	if err := typeCheck(dir); err != nil {
		return err
	}
	outputs, err := build(dir)
	if err != nil {
		return err
	}
	if err := replaceDist(filepath.Join(dir, "dist"), outputs); err != nil {
		return err
	}
	if err := copyAxe(dir); err != nil {
		return err
	}
	manifest, err := scan(dir)
	if err != nil {
		return err
	}
	return manifest.write(dir)
}

// install fetches the packages of package-lock.json, unless those of this very lock are there.
func install(dir string) error {
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("read the lock file: %w", err)
	}
	// npm keeps no copy of the lock that it installed, so that we do.
	mark := filepath.Join(dir, "node_modules", ".drydock-lock.json")
	if have, err := os.ReadFile(mark); err == nil && string(have) == string(lock) {
		return nil
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts")
	npm.Dir = dir
	npm.Stdout, npm.Stderr = os.Stderr, os.Stderr
	if err := npm.Run(); err != nil {
		return fmt.Errorf("npm ci: %w (Node and npm are needed to change the assets, not to build Drydock)", err)
	}
	if err := os.WriteFile(mark, lock, 0o644); err != nil {
		return fmt.Errorf("remember the installed lock file: %w", err)
	}
	return nil
}

func typeCheck(dir string) error {
	tsc := exec.Command(filepath.Join("node_modules", ".bin", "tsc"), "--noEmit", "--project", "tsconfig.json")
	tsc.Dir = dir
	if out, err := tsc.CombinedOutput(); err != nil {
		return fmt.Errorf("type check: %w\n%s", err, out)
	}
	return nil
}

// build bundles every entry and returns the files of dist by name.
func build(dir string) (map[string][]byte, error) {
	entries, err := entryPoints(dir)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", dir, err)
	}
	options := api.BuildOptions{
		AbsWorkingDir:       abs,
		EntryPointsAdvanced: entries,
		Outdir:              "dist",
		Bundle:              true,
		Format:              api.FormatESModule,
		Target:              api.ES2022,
		Platform:            api.PlatformBrowser,
		MinifyWhitespace:    true,
		MinifySyntax:        true,
		MinifyIdentifiers:   true,
		LegalComments:       api.LegalCommentsNone, // licenses.txt has them in full
		Metafile:            true,
		LogLevel:            api.LogLevelSilent,
		Plugins:             []api.Plugin{strictStyles()},
	}
	result := api.Build(options)
	if len(result.Errors) > 0 {
		text := api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage})
		return nil, errors.New("esbuild:\n" + strings.Join(text, ""))
	}
	outputs := map[string][]byte{}
	for _, f := range result.OutputFiles {
		outputs[filepath.Base(f.Path)] = f.Contents
	}
	licenses, err := collectLicenses(abs, result.Metafile)
	if err != nil {
		return nil, err
	}
	outputs["licenses.txt"] = licenses
	return outputs, nil
}

// entryPoints are the scripts that pages load, and every style sheet that
// stands directly in css.
func entryPoints(dir string) ([]api.EntryPoint, error) {
	var entries []api.EntryPoint
	for _, name := range []string{"page", "reading", "teach", "admin", "session", "report", "preview"} {
		source := "src/" + name + ".ts"
		if _, err := os.Stat(filepath.Join(dir, source)); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("look for %s: %w", source, err)
		}
		entries = append(entries, api.EntryPoint{InputPath: source, OutputPath: name})
	}
	sheets, err := filepath.Glob(filepath.Join(dir, "css", "*.css"))
	if err != nil {
		return nil, fmt.Errorf("list style sheets: %w", err)
	}
	for _, sheet := range sheets {
		name := strings.TrimSuffix(filepath.Base(sheet), ".css")
		entries = append(entries, api.EntryPoint{InputPath: "css/" + name + ".css", OutputPath: name})
	}
	return entries, nil
}

// collectLicenses returns the licence texts of the packages that went into the bundles.
func collectLicenses(dir, metafile string) ([]byte, error) {
	var meta struct {
		Inputs map[string]json.RawMessage `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return nil, fmt.Errorf("read esbuild's list of inputs: %w", err)
	}
	var packages []string
	for input := range meta.Inputs {
		if name, ok := packageOf(input); ok && !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
	}
	slices.Sort(packages)
	var all strings.Builder
	all.WriteString("The bundles in this folder contain parts of these packages.\n")
	for _, name := range packages {
		text, err := os.ReadFile(filepath.Join(dir, "node_modules", name, "LICENSE"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("package %s has no LICENSE file", name)
		} else if err != nil {
			return nil, fmt.Errorf("read the licence of %s: %w", name, err)
		}
		fmt.Fprintf(&all, "\n==== %s ====\n\n%s\n", name, strings.TrimSpace(string(text)))
	}
	return []byte(all.String()), nil
}

// copyAxe puts axe-core, which is for tests and no part of Drydock, where tests
// find it without Node. It stays as its authors made it, with its licence.
func copyAxe(dir string) error {
	files := map[string][]byte{}
	for _, name := range []string{"axe.min.js", "LICENSE"} {
		data, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", name))
		if err != nil {
			return fmt.Errorf("take axe-core: %w", err)
		}
		files[name] = data
	}
	return replaceDist(filepath.Join(dir, axeFolder), files)
}

func packageOf(input string) (name string, ok bool) {
	_, rest, ok := strings.Cut(input, "node_modules/")
	if !ok {
		return "", false
	}
	parts := strings.Split(rest, "/")
	if strings.HasPrefix(parts[0], "@") {
		return parts[0] + "/" + parts[1], true
	}
	return parts[0], true
}

// replaceDist makes the folder hold exactly the given files.
func replaceDist(dist string, files map[string][]byte) error {
	old, err := os.ReadDir(dist)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s: %w", dist, err)
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dist, err)
	}
	for _, entry := range old {
		if _, keep := files[entry.Name()]; keep {
			continue
		}
		if err := os.Remove(filepath.Join(dist, entry.Name())); err != nil {
			return fmt.Errorf("remove a file that is no longer made: %w", err)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dist, name), content, 0o644); err != nil {
			return fmt.Errorf("write a bundle: %w", err)
		}
	}
	return nil
}
