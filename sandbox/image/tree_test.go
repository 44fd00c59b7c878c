package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entries reads a tar into "name mode content" lines, in order.
func entries(t *testing.T, r io.Reader) []string {
	t.Helper()
	var out []string
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %o %s%s", h.Name, h.Mode, h.Linkname, text))
	}
}

// baseTar writes a root file system as mmdebstrap does.
func baseTar(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./etc/motd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
		{Name: "./usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 4},
		{Name: "./usr/bin/link", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su", Mode: 0o4755},
		{Name: "./var/cache/junk", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, "base"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTreeMergesPlaces(t *testing.T) {
	ours := t.TempDir()
	write(t, ours, "etc/motd", "ours")
	write(t, ours, "usr/local/bin/run", "x")
	var out bytes.Buffer
	tr := newTree(&out)
	tr.dropSetID = true
	mode := func(name string) fs.FileMode {
		if strings.Contains(name, "bin/") {
			return 0o755
		}
		return 0o644
	}
	for _, err := range []error{
		tr.files(ours, mode),
		tr.text("/etc/motd", "too late", 0o600),
		tr.link("usr/sbin/init", "/lib/init"),
		tr.dir("home/learner", 0o750, 1000),
		tr.base(baseTar(t), func(name string) bool { return !strings.HasPrefix(name, "var/cache/") }),
		tr.close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"etc/ 755 ", "etc/motd 644 ours",
		"usr/ 755 ", "usr/local/ 755 ", "usr/local/bin/ 755 ", "usr/local/bin/run 755 x",
		"usr/sbin/ 755 ", "usr/sbin/init 777 /lib/init",
		"home/ 755 ", "home/learner/ 750 ",
		"usr/bin/ 755 ", "usr/bin/su 755 base", "usr/bin/link 755 usr/bin/su",
	}
	if got := entries(t, &out); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestTreeIsReproducible(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b", "2")
	write(t, dir, "a/c", "1")
	make := func() []byte {
		var out bytes.Buffer
		tr := newTree(&out)
		if err := errors.Join(tr.files(dir, func(string) fs.FileMode { return 0o644 }), tr.close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	first := make()
	// The time at which a checkout was made must not show.
	if err := os.Chtimes(filepath.Join(dir, "b"), epoch, epoch); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, make()) {
		t.Error("the same files made different tars")
	}
}

func TestExtract(t *testing.T) {
	to := filepath.Join(t.TempDir(), "program")
	if err := extract(baseTar(t), to, "bin/su", "usr/bin/su"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o755 || info.Size() != 4 {
		t.Errorf("%v, %v", info, err)
	}
	if err := extract(baseTar(t), to+"2", "bin/nope"); err == nil || !strings.Contains(err.Error(), "bin/nope") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestKeepOnNode(t *testing.T) {
	for name, want := range map[string]bool{
		"usr/bin/systemctl": true,
		"usr/lib/systemd/system/systemd-journald.service":                            true,
		"usr/lib/systemd/system/multi-user.target.wants/getty.target":                false,
		"lib/systemd/system/basic.target.wants/x":                                    false,
		"usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service": false,
		"usr/lib/systemd/system/sysinit.target.wants/systemd-sysctl.service":         true,
		"usr/lib/systemd/system/sockets.target.wants/systemd-udevd-kernel.socket":    false,
		"usr/lib/systemd/system/sockets.target.wants/systemd-initctl.socket":         false,
		"usr/lib/systemd/system/sockets.target.wants/systemd-journald.socket":        true,
		"etc/systemd/system/timers.target.wants/apt-daily.timer":                     false,
		"etc/systemd/system.conf":                                                    true,
	} {
		if got := keepOnNode(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestArchiveIsAnOCILayout(t *testing.T) {
	dir := t.TempDir()
	layer := func(name string) string {
		write(t, dir, name, "layer "+name)
		return filepath.Join(dir, name)
	}
	shared := layer("shared")
	var out bytes.Buffer
	err := writeArchive(&out, []nodeImage{
		{names: []string{"registry.k8s.io/a:1", "registry.k8s.io/a:2"}, layers: []string{shared}, config: ocispec.ImageConfig{Cmd: []string{"a"}}},
		{names: []string{"localhost/b:1"}, layers: []string{shared, layer("own")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs := map[string]string{}
	in := tar.NewReader(&out)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := blobs[h.Name]; twice {
			t.Errorf("%s is in the archive twice", h.Name)
		}
		blobs[h.Name] = string(text)
		if encoded, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && digest.FromBytes(text).Encoded() != encoded {
			t.Errorf("%s does not have the content that its name says", h.Name)
		}
	}
	// Two layers, two configurations and two manifests, beside the layout and the index.
	if len(blobs) != 8 {
		t.Errorf("%d files in the archive, want 8", len(blobs))
	}
	for _, name := range []string{"registry.k8s.io/a:1", "registry.k8s.io/a:2", "localhost/b:1"} {
		if !strings.Contains(blobs["index.json"], `"io.containerd.image.name":"`+name+`"`) {
			t.Errorf("the index does not name %s: %s", name, blobs["index.json"])
		}
	}
}

func TestSandboxImage(t *testing.T) {
	src, err := openSource(checkout)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{src: src}
	config, err := b.kindFile(t.Context(), "etc/containerd/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	name, err := sandboxImage(config)
	if err != nil || !strings.HasPrefix(name, "registry.k8s.io/pause:") {
		t.Errorf("kind's configuration names %q, %v", name, err)
	}
	if _, err := sandboxImage("version = 2\n"); err == nil {
		t.Error("a configuration without one was accepted")
	}
}
