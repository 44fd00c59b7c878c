package labs

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
)

// ErrNotKept: the version of the lab that an attempt was made with is neither
// in the catalogue nor among those that are kept.
var ErrNotKept = errors.New("this version of the lab is not kept")

// Pack returns the lab's folder as one file, from which [Unpack] makes the lab
// again. Equal labs make equal files.
func (l *Lab) Pack() ([]byte, error) {
	files, err := readTree(l.FS, ".")
	if err != nil {
		return nil, fmt.Errorf("read the lab %s: %w", l.Slug, err)
	}
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// Without a time: the same folder must always make the same file.
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: path.Join(l.Slug, name), Method: zip.Deflate})
		if err == nil {
			_, err = entry.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack the lab %s: %w", l.Slug, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("pack the lab %s: %w", l.Slug, err)
	}
	return packed.Bytes(), nil
}

// Unpack makes a lab of what [Lab.Pack] returned. What is in it must make up
// the version.
func Unpack(slug, version string, packed []byte) (*Lab, error) {
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, fmt.Errorf("open the packed lab %s: %w", slug, err)
	}
	lab, err := LoadLab(archive, slug)
	if err != nil {
		return nil, fmt.Errorf("load the packed lab %s: %w", slug, err)
	}
	if lab.Version != version {
		return nil, fmt.Errorf("the packed lab %s has version %s, not %s", slug, lab.Version, version)
	}
	if problems := lab.ungradable(); len(problems) > 0 {
		return nil, fmt.Errorf("the packed lab %s can't be graded any more: %w", slug, Problems(problems))
	}
	return lab, nil
}

// LabKeeper keeps the versions of labs that attempts were made with.
type LabKeeper interface {
	// KeepLab keeps a version; keeping it again changes nothing.
	KeepLab(ctx context.Context, slug, version string, packed []byte) error
	// KeptLab returns what was kept; ok is false when that version was not.
	KeptLab(ctx context.Context, slug, version string) (packed []byte, ok bool, err error)
}

// maxVersionsCached bounds the old versions that are held ready: a page of
// attempts shows those of some dozen labs.
const maxVersionsCached = 64

// Versions finds labs as they were when an attempt was made: a lab may have
// changed since, or have left the catalogue. It is safe for concurrent use.
type Versions struct {
	catalogue *Catalogue
	keeper    LabKeeper

	mu     sync.Mutex
	kept   map[string]bool // by slug and version: is with the keeper
	loaded map[string]*Lab // the same, old versions that are held ready
}

// NewVersions makes a Versions of the labs of today and those that are kept.
func NewVersions(catalogue *Catalogue, keeper LabKeeper) *Versions {
	return &Versions{catalogue: catalogue, keeper: keeper, kept: map[string]bool{}, loaded: map[string]*Lab{}}
}

// Keep keeps the lab for the attempts that are made with it.
func (v *Versions) Keep(ctx context.Context, lab *Lab) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := lab.Slug + "@" + lab.Version
	if v.kept[key] {
		return nil
	}
	if err := lab.KeepWith(ctx, v.keeper); err != nil {
		return err
	}
	v.kept[key] = true
	return nil
}

// KeepWith has the keeper keep this version of the lab.
func (l *Lab) KeepWith(ctx context.Context, keeper LabKeeper) error {
	packed, err := l.Pack()
	if err != nil {
		return err
	}
	if err := keeper.KeepLab(ctx, l.Slug, l.Version, packed); err != nil {
		return fmt.Errorf("keep version %s of lab %s: %w", l.Version, l.Slug, err)
	}
	return nil
}

// Of returns the lab that the attempt was made with. The error wraps
// [ErrNotKept] when that version is gone.
func (v *Versions) Of(ctx context.Context, a Attempt) (*Lab, error) {
	if lab, ok := v.catalogue.Get(a.Lab); ok && lab.Version == a.Version {
		return lab, nil
	}
	key := a.Lab + "@" + a.Version
	v.mu.Lock()
	defer v.mu.Unlock()
	if lab, ok := v.loaded[key]; ok {
		return lab, nil
	}
	packed, ok, err := v.keeper.KeptLab(ctx, a.Lab, a.Version)
	if err != nil {
		return nil, fmt.Errorf("look for version %s of lab %s: %w", a.Version, a.Lab, err)
	}
	if !ok {
		return nil, fmt.Errorf("lab %s, version %s: %w", a.Lab, a.Version, ErrNotKept)
	}
	lab, err := Unpack(a.Lab, a.Version, packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	if len(v.loaded) >= maxVersionsCached {
		clear(v.loaded)
	}
	v.loaded[key] = lab
	return lab, nil
}

// OfOrToday returns the lab that the attempt was made with, and where that
// version is not kept, the one of today, if there is one; own is then false.
func (v *Versions) OfOrToday(ctx context.Context, a Attempt) (lab *Lab, own bool, err error) {
	lab, err = v.Of(ctx, a)
	if err == nil {
		return lab, true, nil
	}
	if today, ok := v.catalogue.Get(a.Lab); ok {
		return today, false, nil
	}
	return nil, false, err
}
