// Package scaffold holds a small article that works, as a beginning for an
// author: `drydock content new` copies it. It passes `content lint` and `content
// test` as it is. It imports package content only, for its errors' sake.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drydock/content"
)

//go:embed article
var files embed.FS

// New makes the folder of an article in a track of the folder that has one
// folder per track, and returns it with the names of its files. Nothing that is
// there is touched.
func New(tracks, track, slug string, now time.Time) (folder string, names []string, err error) {
	if !content.ValidSlug(slug) {
		return "", nil, fmt.Errorf("%q can't be the slug of an article: use lower-case letters, digits and single dashes", slug)
	}
	if err := checkPlace(tracks, track, slug); err != nil {
		return "", nil, err
	}
	source, err := fs.Sub(files, "article")
	if err != nil {
		return "", nil, err
	}
	folder = filepath.Join(tracks, track, slug)
	if err := os.Mkdir(folder, 0o755); errors.Is(err, fs.ErrExist) {
		return "", nil, fmt.Errorf("%s is there already; choose another slug, or remove it", folder)
	} else if err != nil {
		return "", nil, fmt.Errorf("make the article: %w", err)
	}
	if err := os.CopyFS(folder, source); err != nil {
		return "", nil, fmt.Errorf("make the article: %w", err)
	}
	if err := begin(filepath.Join(folder, "index.md"), slug, now); err != nil {
		return "", nil, err
	}
	entries, err := fs.ReadDir(source, ".")
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return folder, names, err
}

// checkPlace wants the track to be there, and no article of this name in any.
func checkPlace(tracks, track, slug string) error {
	found, err := filepath.Glob(filepath.Join(tracks, "*", "track.yaml"))
	if err != nil {
		return fmt.Errorf("look for tracks in %s: %w", tracks, err)
	}
	var known []string
	for _, file := range found {
		name := filepath.Base(filepath.Dir(file))
		known = append(known, name)
		other := filepath.Join(tracks, name, slug)
		if _, err := os.Lstat(other); err == nil {
			return fmt.Errorf("%s is there already; an article's slug is unique in all tracks", other)
		}
	}
	if len(known) == 0 {
		return fmt.Errorf("there is no track in %s: a track is a folder with a file track.yaml", tracks)
	}
	for _, name := range known {
		if name == track {
			return nil
		}
	}
	return fmt.Errorf("there is no track %q in %s: %s", track, tracks, content.DidYouMean(track, known))
}

// begin puts what is known into the front matter.
func begin(file, slug string, now time.Time) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("begin the article: %w", err)
	}
	title := strings.ReplaceAll(slug, "-", " ")
	title = strings.ToUpper(title[:1]) + title[1:]
	begun := strings.NewReplacer("title: TITLE", "title: '"+title+"'", "published: DATE", "published: "+now.Format(time.DateOnly)).Replace(string(text))
	if err := os.WriteFile(file, []byte(begun), 0o644); err != nil {
		return fmt.Errorf("begin the article: %w", err)
	}
	return nil
}
