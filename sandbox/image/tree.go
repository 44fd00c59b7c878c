package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree writes a file system as a tar: files from several places, each path once
// (the first that is written wins over what a later base would bring).
type tree struct {
	tar  *tar.Writer
	seen map[string]bool
	// dropSetID takes the set-user-ID and set-group-ID bits from what base copies.
	dropSetID bool
	// idBase is added to the user and the group of all that is written.
	idBase int
}

func newTree(out io.Writer) *tree {
	return &tree{tar: tar.NewWriter(out), seen: map[string]bool{}}
}

func (t *tree) close() error { return t.tar.Close() }

// setIDBits are the mode bits set-user-ID and set-group-ID.
const setIDBits = 0o6000

// clean returns a path as it is compared: no leading "./" or "/", no trailing "/".
func clean(name string) string { return strings.Trim(path.Clean("/"+name), "/") }

func (t *tree) header(h *tar.Header) (write bool, err error) {
	h.Name = clean(h.Name)
	if h.Name == "" || t.seen[h.Name] {
		return false, nil
	}
	t.seen[h.Name] = true
	if t.idBase > 0 {
		h.Uid, h.Gid = h.Uid+t.idBase, h.Gid+t.idBase
		h.Format = tar.FormatUnknown // whichever has room for such numbers
	}
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	return true, t.tar.WriteHeader(h)
}

// parents writes the directories that name lies in.
func (t *tree) parents(name string) error {
	dir := path.Dir(clean(name))
	if dir == "." {
		return nil
	}
	if err := t.parents(dir); err != nil {
		return err
	}
	_, err := t.header(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch})
	return err
}

// text writes a file with the given content.
func (t *tree) text(name, content string, mode fs.FileMode) error {
	if err := t.parents(name); err != nil {
		return err
	}
	write, err := t.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: int64(mode), ModTime: epoch})
	if !write || err != nil {
		return err
	}
	_, err = io.WriteString(t.tar, content)
	return err
}

// link writes a symbolic link.
func (t *tree) link(name, target string) error {
	if err := t.parents(name); err != nil {
		return err
	}
	_, err := t.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch})
	return err
}

// dir writes an empty directory.
func (t *tree) dir(name string, mode fs.FileMode, uid int) error {
	if err := t.parents(name); err != nil {
		return err
	}
	_, err := t.header(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: int64(mode), Uid: uid, Gid: uid, ModTime: epoch})
	return err
}

// programs copies several programs: name → file of the building machine.
func (t *tree) programs(all map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := t.file(name, all[name], 0o755); err != nil {
			return err
		}
	}
	return nil
}

// file copies one file of the building machine.
func (t *tree) file(name, from string, mode fs.FileMode) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.parents(name); err != nil {
		return err
	}
	write, err := t.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(mode), ModTime: epoch})
	if !write || err != nil {
		return err
	}
	_, err = io.Copy(t.tar, f)
	return err
}

// files copies everything below a directory of the building machine to the root
// of the tree; mode says what a file's mode is to be, since a module cache has none of them right.
func (t *tree) files(from string, mode func(name string) fs.FileMode) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		return t.file(name, p, mode(name))
	})
}

// base copies the entries of a tar file for which keep holds.
func (t *tree) base(from string, keep func(name string) bool) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	in := tar.NewReader(f)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", from, err)
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = clean(h.Linkname)
		}
		if !keep(clean(h.Name)) {
			continue
		}
		if t.dropSetID {
			h.Mode &^= setIDBits
		}
		write, err := t.header(h)
		if err != nil {
			return fmt.Errorf("copying %s from %s: %w", h.Name, from, err)
		}
		if !write {
			continue
		}
		if _, err := io.Copy(t.tar, in); err != nil {
			return fmt.Errorf("copying %s from %s: %w", h.Name, from, err)
		}
	}
}

// extract writes the first file of a tar that has one of the names to a program file.
func extract(from, to string, names ...string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	in := tar.NewReader(f)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s has no %s", from, strings.Join(names, " or "))
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", from, err)
		}
		if h.Typeflag != tar.TypeReg || !slices.Contains(names, clean(h.Name)) {
			continue
		}
		out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	}
}
