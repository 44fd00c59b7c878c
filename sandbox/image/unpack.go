package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// unpackRootfs writes a tar's files to "rootfs" in a machine root's directory.
func unpackRootfs(ctx context.Context, dir string, from *tar.Reader) error {
	u := unpacker{dir: filepath.Join(dir, "rootfs"), owners: os.Geteuid() == 0}
	return u.unpack(ctx, from, filepath.Join(dir, ownersFile))
}

// unpacker writes a tar's files below a directory.
type unpacker struct {
	dir string
	// prefix is the directory in the tar that is unpacked; empty for all of it.
	prefix string
	// owners says that files can be given to others.
	owners bool
	// dirs are the directories so far, by their names. Their modes are set at
	// the end: one may be closed to its owner.
	dirs map[string]*tar.Header
	// rest gets what belongs to others than root, where owners is false; aside
	// are the directories that are in it already.
	rest  *tar.Writer
	aside map[string]bool
	// root is dir; no link leads out of it.
	root *os.Root
}

// unpack writes the tar's files. Where they cannot be given to others, those
// that belong to others than root are also written to a tar of their own.
func (u *unpacker) unpack(ctx context.Context, in *tar.Reader, owners string) error {
	u.dirs, u.aside = map[string]*tar.Header{}, map[string]bool{}
	var err error
	if u.root, err = os.OpenRoot(u.dir); err != nil {
		return err
	}
	defer u.root.Close()
	if !u.owners {
		f, err := os.OpenFile(owners, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		u.rest = tar.NewWriter(f)
	}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if h.Name = clean(h.Name); u.prefix != "" {
			inside, is := strings.CutPrefix(h.Name, u.prefix+"/")
			if !is {
				continue
			}
			h.Name = inside
		}
		if err := u.entry(h, in); err != nil {
			return fmt.Errorf("unpacking %s: %w", h.Name, err)
		}
	}
	for _, h := range u.dirs {
		if err := u.finish(h); err != nil {
			return fmt.Errorf("unpacking %s: %w", h.Name, err)
		}
	}
	if u.rest != nil {
		return u.rest.Close()
	}
	return nil
}

func (u *unpacker) entry(h *tar.Header, in io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.MkdirAll(h.Name, 0o755); err != nil {
			return err
		}
		u.dirs[h.Name] = h
	case tar.TypeReg:
		out, err := u.root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		if err = errors.Join(err, out.Close(), u.finish(h)); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, h.Name); err != nil {
			return err
		}
		if u.owners {
			if err := u.root.Lchown(h.Name, h.Uid, h.Gid); err != nil {
				return err
			}
		}
	case tar.TypeLink:
		return u.root.Link(clean(h.Linkname), h.Name)
	default:
		return nil // a device: the kernel of the machine makes its own
	}
	if u.rest == nil || h.Uid == 0 && h.Gid == 0 {
		return nil
	}
	return u.setAside(h)
}

// setAside writes an entry that belongs to another than root, and the
// directories that it lies in: gVisor wants to see them first, and so named.
func (u *unpacker) setAside(h *tar.Header) error {
	if err := u.setDirAside(path.Dir(h.Name)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return u.setDirAside(h.Name)
	}
	copied := *h
	copied.Name = "./" + h.Name
	if err := u.rest.WriteHeader(&copied); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := u.root.Open(h.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(u.rest, f)
	return err
}

func (u *unpacker) setDirAside(name string) error {
	if u.aside[name] {
		return nil
	}
	u.aside[name] = true
	copied := tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, ModTime: epoch}
	if name != "." {
		if err := u.setDirAside(path.Dir(name)); err != nil {
			return err
		}
		if h := u.dirs[name]; h != nil {
			copied = *h
		}
		copied.Name = "./" + name + "/"
	}
	return u.rest.WriteHeader(&copied)
}

// finish gives a file or a directory its owner, its mode and its time.
func (u *unpacker) finish(h *tar.Header) error {
	mode := h.FileInfo().Mode()
	if u.owners {
		if err := u.root.Lchown(h.Name, h.Uid, h.Gid); err != nil {
			return err
		}
	} else {
		mode |= 0o400 // or it could not be read by who has unpacked it
		if h.Typeflag == tar.TypeDir {
			mode |= 0o700
		}
	}
	return errors.Join(u.root.Chmod(h.Name, mode.Perm()|mode&fs.ModeSticky), u.root.Chtimes(h.Name, h.ModTime, h.ModTime))
}
