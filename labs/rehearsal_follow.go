package labs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// followEvery is how often the files of a lab are looked at: their names,
	// sizes and times, a dozen system calls. A watch of the kernel's would be
	// sooner by less than anybody notices, and sees nothing on some shared folders.
	followEvery = 250 * time.Millisecond
	// maxFollowed bounds the files looked at; a lab has some twenty.
	maxFollowed = 5000
)

// Follow tells changed of each version of the lab that differs from the one
// before, loaded from a copy below dir, until ctx ends; or of its problems.
// What is still being written is waited for: files have to look the same twice.
func Follow(ctx context.Context, fsys fs.FS, lab *Lab, dir string, changed func(*Lab, Problems)) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	f := &follower{fsys: fsys, slug: lab.Slug, dir: dir, version: lab.Version, changed: changed}
	for ; ; f.look() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

type follower struct {
	fsys    fs.FS
	slug    string
	dir     string // for copies
	changed func(*Lab, Problems)
	version string // that was told last; empty after problems
	trouble string // the problems that were told last
	seen    string // the files at the last look
	loaded  string // the files that were loaded last
}

func (f *follower) look() {
	now := fingerprint(f.fsys, f.slug)
	settled := now == f.seen
	f.seen = now
	if !settled || now == f.loaded {
		return
	}
	f.loaded = now
	lab, err := LoadCopy(f.fsys, f.slug, f.dir)
	if err == nil {
		if problems := lab.ungradable(); len(problems) > 0 {
			err = Problems(sorted(problems))
		}
	}
	if err != nil {
		problems, ok := errors.AsType[Problems](err)
		if !ok {
			problems = Problems{{File: path.Join(f.slug, labFile), Msg: err.Error()}}
		}
		if text := problems.Error(); text != f.trouble {
			f.version, f.trouble = "", text
			f.changed(nil, problems)
		}
		return
	}
	if lab.Version != f.version {
		f.version, f.trouble = lab.Version, ""
		f.changed(lab, nil)
	}
}

// fingerprint tells whether files of a lab were changed: their names, sizes and times.
func fingerprint(fsys fs.FS, slug string) string {
	var all strings.Builder
	count := 0
	err := fs.WalkDir(fsys, slug, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != slug && hidden(entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if count++; count > maxFollowed {
			return fs.SkipAll
		}
		if entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil { // a file that has just gone, say: the next look will tell
		fmt.Fprintf(&all, "%v\n", err)
	}
	return all.String()
}

// remade lists what differs between two versions of a lab that only a fresh
// sandbox shows: what it is made of, and when it is handed over.
func remade(old, now *Lab, variant string) []string {
	var all []string
	differs := func(what string, a, b any) {
		if asText(a) != asText(b) {
			all = append(all, what)
		}
	}
	steps := func(l *Lab) (words []string) {
		for _, s := range l.Setup {
			words = append(words, "apply "+s.Apply, "run "+s.Run)
		}
		return words
	}
	differs("sandbox", old.Sandbox, now.Sandbox)
	differs("setup", steps(old), steps(now))
	differs("ready", old.Ready, now.Ready)
	was, _ := old.variant(variant)
	is, there := now.variant(variant)
	if !there {
		all = append(all, "the variant "+variant+", which has gone")
	} else {
		differs("the vars of the variant "+variant, was.Vars, is.Vars)
	}
	return append(all, changedFiles(old, now)...)
}

// setupFolders are those whose files go into a sandbox.
var setupFolders = []string{"manifests", "setup", "files"}

// changedFiles lists the files for the setup that differ, in the order of their names.
func changedFiles(old, now *Lab) []string {
	var all []string
	for _, folder := range setupFolders {
		before, beforeErr := readTree(old.FS, folder)
		after, afterErr := readTree(now.FS, folder)
		if beforeErr != nil && afterErr != nil {
			continue // in neither of them
		}
		for name, content := range before {
			if other, there := after[name]; !there || !bytes.Equal(content, other) {
				all = append(all, name)
			}
		}
		for name := range after {
			if _, there := before[name]; !there {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// LoadCopy loads a lab from a copy of its folder that it makes below dir: a
// lab that is being edited must stay what it was for those who use it.
func LoadCopy(fsys fs.FS, slug, dir string) (*Lab, error) {
	if !slugPattern.MatchString(slug) {
		return LoadLab(fsys, slug) // says what is wrong with it
	}
	folder, err := fs.Sub(fsys, slug)
	if err != nil {
		return nil, fmt.Errorf("open the lab %s: %w", slug, err)
	}
	files, err := readTree(folder, ".")
	if err != nil {
		return nil, fmt.Errorf("read the lab %s: %w", slug, err)
	}
	place, err := os.MkdirTemp(dir, "version-*")
	if err != nil {
		return nil, fmt.Errorf("copy the lab %s: %w", slug, err)
	}
	if err := os.Mkdir(filepath.Join(place, slug), 0o700); err != nil {
		return nil, fmt.Errorf("copy the lab %s: %w", slug, err)
	}
	for name, content := range files {
		to := filepath.Join(place, slug, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(to), 0o700)
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("copy the lab %s: %w", slug, err)
		}
	}
	return LoadLab(os.DirFS(place), slug)
}
