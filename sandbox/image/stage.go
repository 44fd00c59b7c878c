package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Stage is one measured step of a build.
type Stage struct {
	Name   string
	Index  int // from 1
	Total  int
	Done   bool // false when it begins, true when it has ended
	Cached bool // nothing had to be done
	Err    error
	Took   time.Duration
}

// stageKeyLength is how much of its key stands in the name of a stage's directory.
const stageKeyLength = 16

// stages runs the steps of a build, keeps their results on disk and tells of progress.
type stages struct {
	cache  string // the directory that holds the results
	total  int
	index  int
	report func(Stage)
	log    io.Writer // everything that the tools print
}

// step runs fn as the next stage; fn says whether there was nothing to do.
func (s *stages) step(name string, fn func() (cached bool, err error)) error {
	s.index++
	st := Stage{Name: name, Index: s.index, Total: s.total}
	s.report(st)
	fmt.Fprintf(s.log, "=== %s\n", name)
	start := time.Now()
	cached, err := fn()
	st.Done, st.Cached, st.Err, st.Took = true, cached, err, time.Since(start)
	s.report(st)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.ToLower(name[:1])+name[1:], err)
	}
	return nil
}

// cached runs fn as the next stage unless its result for this key is there. fn
// fills the directory it is given, which appears under its final name only when fn
// has succeeded, so that a build that was cut off leaves nothing that looks whole.
func (s *stages) cached(ctx context.Context, name, slug string, k *key, fn func(dir string) error) (dir string, err error) {
	dir = filepath.Join(s.cache, slug+"-"+k.sum()[:stageKeyLength])
	err = s.step(name, func() (bool, error) {
		if _, err := os.Stat(dir); err == nil {
			return true, nil
		}
		if err := os.MkdirAll(s.cache, 0o755); err != nil {
			return false, err
		}
		work, err := os.MkdirTemp(s.cache, ".unfinished-"+slug+"-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(work)
		if err := fn(work); err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := os.Rename(work, dir); errors.Is(err, fs.ErrExist) {
			return true, nil // another build has made the same meanwhile
		} else if err != nil {
			return false, err
		}
		return false, s.forgetOthers(slug, dir)
	})
	return dir, err
}

// forgetOthers removes the results of earlier recipes: they are hundreds of
// megabytes each, and the Go build cache makes most of them cheap to make again.
func (s *stages) forgetOthers(slug, keep string) error {
	old, err := filepath.Glob(filepath.Join(s.cache, slug+"-"+strings.Repeat("[0-9a-f]", stageKeyLength)))
	if err != nil {
		return err
	}
	for _, dir := range old {
		if dir == keep {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
