package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallMachine is a small machine.
func smallMachine(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/shadow", Typeflag: tar.TypeReg, Mode: 0o640, Gid: 42, Size: 6},
		{Name: "home/learner/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 1000, Gid: 1000},
		{Name: "closed/", Typeflag: tar.TypeDir, Mode: 0o500},
		{Name: "closed/file", Typeflag: tar.TypeReg, Mode: 0o400, Size: 6},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "etc/shadow", Mode: 0o777},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "closed/file"},
		{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
	} {
		h.ModTime = epoch
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestUnpackWithoutOwners: what cannot be given away is set aside, and what is
// unpacked can be read and removed again.
func TestUnpackWithoutOwners(t *testing.T) {
	dir := t.TempDir()
	owners := filepath.Join(dir, ownersFile)
	u := unpacker{dir: filepath.Join(dir, "rootfs")}
	if err := os.Mkdir(u.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := u.unpack(t.Context(), tar.NewReader(bytes.NewReader(smallMachine(t))), owners); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(owners)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var aside []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if h.FileInfo().IsDir() != strings.HasSuffix(h.Name, "/") || err != nil || int64(len(text)) != h.Size {
			t.Errorf("%s: %q, %v", h.Name, text, err)
		}
		aside = append(aside, h.Name)
	}
	if want := []string{"./", "./etc/", "./etc/shadow", "./home/", "./home/learner/"}; !slices.Equal(aside, want) {
		t.Errorf("set aside: %q, want %q", aside, want)
	}
	for name, want := range map[string]fs.FileMode{"etc/shadow": 0o640, "closed": 0o700, "closed/file": 0o400, "hard": 0o400} {
		info, err := os.Stat(filepath.Join(u.dir, name))
		if err != nil || info.Mode().Perm() != want || !info.ModTime().Equal(epoch) && name != "closed" {
			t.Errorf("%s: %v, %v, want %v", name, info, err, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(u.dir, "link")); err != nil || target != "etc/shadow" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if _, err := os.Lstat(filepath.Join(u.dir, "dev/null")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a device was made, or: %v", err)
	}
	if err := removeTree(dir); err != nil {
		t.Error(err)
	}
}

func TestUnpackStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u := unpacker{dir: t.TempDir()}
	if err := u.unpack(ctx, tar.NewReader(bytes.NewReader(smallMachine(t))), filepath.Join(t.TempDir(), ownersFile)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled unpacking ends with %v", err)
	}
}

// TestForgetMachineRoots: the newest two stay, and what a sandbox is made of.
func TestForgetMachineRoots(t *testing.T) {
	machines, sandbox := t.TempDir(), t.TempDir()
	root := func(name string) string {
		dir := filepath.Join(machines, name)
		if err := os.MkdirAll(filepath.Join(dir, usersDir), 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	newest, previous := root("aaaaaaaaaaaa"), root("bbbbbbbbbbbb")
	used, left, unused := root("cccccccccccc-2"), root("dddddddddddd"), root("eeeeeeeeeeee")
	if err := errors.Join(UseMachineRoot(used, "one", sandbox), UseMachineRoot(left, "two", filepath.Join(sandbox, "gone"))); err != nil {
		t.Fatal(err)
	}
	if err := forgetMachineRoots(machines, newest, previous); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{newest: true, previous: true, used: true, left: false, unused: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
	LeaveMachineRoot(used, "one")
	if err := forgetMachineRoots(machines, newest, previous); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(used); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that nothing is made of any more: %v", err)
	}
}

func TestReadMachineRoot(t *testing.T) {
	machines := t.TempDir()
	if _, err := ReadMachineRoot(machines); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "drydock image build --no-engine") {
		t.Errorf("nothing built: %v", err)
	}
	write(t, machines, "aaaaaaaaaaaa/"+rootFile, `{"recipe":"aaaa","contract":"0","made":"`+time.Now().UTC().Format(time.RFC3339)+`"}`)
	if err := os.Symlink("aaaaaaaaaaaa", filepath.Join(machines, currentRoot)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMachineRoot(machines); !errors.Is(err, ErrMissing) {
		t.Errorf("built for another version: %v", err)
	}
}

// TestMachineFile carries a machine root, with its owners, to another place.
func TestMachineFile(t *testing.T) {
	machines, there := t.TempDir(), t.TempDir()
	t.Cleanup(func() { _ = removeTree(machines); _ = removeTree(there) })
	dir := filepath.Join(machines, "aaaaaaaaaaaa")
	write(t, dir, rootFile, `{"recipe":"aaaaaaaaaaaaaaaa","contract":"`+Contract+`"}`)
	write(t, dir, "runsc", "program")
	if err := errors.Join(os.Symlink("aaaaaaaaaaaa", filepath.Join(machines, currentRoot)), os.Mkdir(filepath.Join(dir, "rootfs"), 0o755)); err != nil {
		t.Fatal(err)
	}
	u := unpacker{dir: filepath.Join(dir, "rootfs")}
	if err := u.unpack(t.Context(), tar.NewReader(bytes.NewReader(smallMachine(t))), filepath.Join(dir, ownersFile)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "machine.tar.gz")
	if _, err := ExportMachineRoot(t.Context(), machines, file); err != nil {
		t.Fatal(err)
	}
	r, err := ImportMachineRoot(t.Context(), there, file)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(r.Dir, "runsc")); err != nil || string(text) != "program" {
		t.Errorf("the program is %q, %v", text, err)
	}
	one, err1 := os.Stat(filepath.Join(r.Dir, "rootfs", "hard"))
	other, err2 := os.Stat(filepath.Join(r.Dir, "rootfs", "closed", "file"))
	if err1 != nil || err2 != nil || !os.SameFile(one, other) {
		t.Errorf("two names of one file: %v, %v", err1, err2)
	}
	shadow, err := os.Stat(filepath.Join(r.Dir, "rootfs", "etc", "shadow"))
	if err != nil || shadow.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", shadow, err)
	}
	if os.Geteuid() == 0 {
		if st := shadow.Sys().(*syscall.Stat_t); st.Gid != 42 {
			t.Errorf("its group is %d", st.Gid)
		}
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ImportMachineRoot(t.Context(), there, file); err == nil || !strings.Contains(err.Error(), "image export") {
		t.Errorf("a file of nonsense: %v", err)
	}
}

// TestUnpackStaysInside: no link in a file from elsewhere leads out of the directory.
func TestUnpackStaysInside(t *testing.T) {
	outside := t.TempDir()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []tar.Header{
		{Name: "way", Typeflag: tar.TypeSymlink, Linkname: outside},
		{Name: "way/file", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	u := unpacker{dir: t.TempDir(), owners: os.Geteuid() == 0}
	if err := u.unpack(t.Context(), tar.NewReader(&out), filepath.Join(t.TempDir(), ownersFile)); err == nil {
		t.Error("a link led out")
	}
	if _, err := os.Stat(filepath.Join(outside, "file")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was written outside: %v", err)
	}
}
