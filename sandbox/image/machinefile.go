package image

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ExportMachineRoot writes the newest machine root to a file, for a machine
// that has no network or a user who cannot build it.
func ExportMachineRoot(ctx context.Context, machines, file string) (MachineRoot, error) {
	r, err := ReadMachineRoot(machines)
	if err != nil {
		return r, err
	}
	owners, err := readOwners(filepath.Join(r.Dir, ownersFile))
	if err != nil {
		return r, err
	}
	fresh := file + ".unfinished"
	out, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return r, fmt.Errorf("writing the machine: %w", err)
	}
	defer os.Remove(fresh) // gone by then, if all went well
	// What is already small or is read once is not worth minutes of a processor.
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return r, err
	}
	w := &rootWriter{tar: tar.NewWriter(zip), root: r.Dir, owners: owners, seen: map[uint64]string{}}
	if err := errors.Join(w.write(ctx), w.tar.Close(), zip.Close(), out.Close()); err != nil {
		return r, fmt.Errorf("writing the machine: %w", err)
	}
	return r, os.Rename(fresh, file)
}

// readOwners reads whom the files belong to that could not be given away.
func readOwners(path string) (map[string]*tar.Header, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	owners := map[string]*tar.Header{}
	for in := tar.NewReader(f); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return owners, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		owners[clean(h.Name)] = h
	}
}

// rootWriter writes a machine root as a tar.
type rootWriter struct {
	tar    *tar.Writer
	root   string
	owners map[string]*tar.Header // nil: the files themselves say it
	seen   map[uint64]string      // files with several names, by their numbers
}

func (w *rootWriter) write(ctx context.Context) error {
	for _, name := range []string{rootFile, "runsc", "rootfs"} {
		err := filepath.WalkDir(filepath.Join(w.root, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			return w.entry(path, d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *rootWriter) entry(path string, d fs.DirEntry) error {
	name, err := filepath.Rel(w.root, path)
	if err != nil {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	if d.Type() == fs.ModeSymlink {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname = filepath.ToSlash(name), "", ""
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	w.own(h)
	if st, ok := info.Sys().(*syscall.Stat_t); ok && h.Typeflag == tar.TypeReg && st.Nlink > 1 {
		if first, again := w.seen[st.Ino]; again {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			w.seen[st.Ino] = strings.TrimPrefix(h.Name, "rootfs/")
		}
	}
	if err := w.tar.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w.tar, f)
	return err
}

// own says whom an entry belongs to where its file cannot.
func (w *rootWriter) own(h *tar.Header) {
	if w.owners == nil {
		return
	}
	h.Uid, h.Gid = 0, 0
	if real := w.owners[strings.TrimPrefix(clean(h.Name), "rootfs/")]; real != nil {
		h.Uid, h.Gid, h.Mode = real.Uid, real.Gid, real.Mode
	}
}

// ImportMachineRoot unpacks a file that ExportMachineRoot wrote, and makes it the newest.
func ImportMachineRoot(ctx context.Context, machines, file string) (MachineRoot, error) {
	f, err := os.Open(file)
	if err != nil {
		return MachineRoot{}, fmt.Errorf("reading the machine: %w", err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return MachineRoot{}, fmt.Errorf("%s is no file of \"drydock image export --no-engine\": %w", file, err)
	}
	if machines, err = filepath.Abs(machines); err != nil {
		return MachineRoot{}, err
	}
	if err := os.MkdirAll(machines, 0o755); err != nil {
		return MachineRoot{}, err
	}
	work, err := os.MkdirTemp(machines, ".unfinished-")
	if err != nil {
		return MachineRoot{}, err
	}
	defer removeTree(work)
	r, err := readMachineFile(ctx, work, tar.NewReader(zip))
	if err != nil {
		return r, fmt.Errorf("reading the machine from %s: %w", file, err)
	}
	if err := installMachineRoot(machines, work, r.Recipe); err != nil {
		return r, err
	}
	return ReadMachineRoot(machines)
}

// readMachineFile unpacks the three parts in the order that they are written in.
func readMachineFile(ctx context.Context, dir string, in *tar.Reader) (MachineRoot, error) {
	var r MachineRoot
	for _, name := range []string{rootFile, "runsc"} {
		h, err := in.Next()
		if err != nil {
			return r, err
		}
		if h.Name != name || h.Typeflag != tar.TypeReg {
			return r, fmt.Errorf("%s is where %s should be", h.Name, name)
		}
		out, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode).Perm())
		if err != nil {
			return r, err
		}
		_, err = io.Copy(out, in)
		if err := errors.Join(err, out.Close()); err != nil {
			return r, err
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, err
	}
	if r.Contract != Contract || len(r.Recipe) < hashLength || strings.Trim(r.Recipe, "0123456789abcdef") != "" {
		return r, fmt.Errorf("it was written by another version of Drydock (contract %q, this one has %s)", r.Contract, Contract)
	}
	for _, name := range []string{usersDir, "rootfs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return r, err
		}
	}
	u := unpacker{dir: filepath.Join(dir, "rootfs"), owners: os.Geteuid() == 0, prefix: "rootfs"}
	return r, u.unpack(ctx, in, filepath.Join(dir, ownersFile))
}
