package convert

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is one file of an archive.
type entry struct {
	name, text, link string
	size             int64 // of a file of zeros
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: 0o644, Size: max(int64(len(e.text)), e.size), Typeflag: tar.TypeReg}
		if e.link != "" {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, e.link, 0
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, io.LimitReader(io.MultiReader(strings.NewReader(e.text), zeros{}), header.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		header.SetMode(0o644)
		text := e.text
		if e.link != "" {
			header.SetMode(fs.ModeSymlink | 0o777)
			text = e.link
		}
		f, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, io.LimitReader(io.MultiReader(strings.NewReader(text), zeros{}), max(int64(len(text)), e.size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// small is a scenario.
func small() []entry {
	return []entry{
		{name: "set/index.json", text: `{"title": "x", "details": {"steps": [{"title": "Do", "text": "a.md", "verify": "v.sh"}]}, "backend": {"imageid": "kubernetes-kubeadm-1node"}}`},
		{name: "./set/a.md", text: "Make a pod."},
		{name: "set/v.sh", text: "kubectl get pod a"},
	}
}

func TestArchives(t *testing.T) {
	link := entry{name: "set/b.md", link: "/etc/passwd"}
	huge := entry{name: "set/huge.bin", size: maxFile + 1}
	tests := []struct {
		name    string
		content []byte
		notes   int    // of what was not unpacked
		refused string // empty: it is imported
	}{
		{name: "tar", content: tarOf(t, small()...)},
		{name: "tar.gz", content: gzipped(t, tarOf(t, small()...))},
		{name: "zip", content: zipOf(t, small()...)},
		{name: "a link in a tar", content: tarOf(t, append(small(), link)...), notes: 1},
		{name: "a link in a zip", content: zipOf(t, append(small(), link)...), notes: 1},
		{name: "a huge file in a tar", content: gzipped(t, tarOf(t, append(small(), huge)...)), notes: 1},
		{name: "a huge file in a zip", content: zipOf(t, append(small(), huge)...), notes: 1},
		{name: "up and out", content: tarOf(t, entry{name: "../../evil", text: "x"}), refused: `its entry "../../evil" leads out of the archive`},
		{name: "from the root", content: tarOf(t, entry{name: "/etc/cron.d/evil", text: "x"}), refused: "leads out of the archive"},
		{name: "through a folder", content: zipOf(t, entry{name: "a/../../evil", text: "x"}), refused: "leads out of the archive"},
		{name: "with backslashes", content: zipOf(t, entry{name: `..\..\evil`, text: "x"}), refused: "leads out of the archive"},
		{name: "a long path", content: tarOf(t, entry{name: strings.Repeat("a/", maxPath) + "a", text: "x"}), refused: "characters; at most"},
		{name: "a bomb in a tar.gz", content: gzipped(t, tarOf(t, bomb()...)), refused: "unpacks to more than 256 MiB"},
		{name: "a bomb in a zip", content: zipOf(t, bomb()...), refused: "unpacks to more than 256 MiB"},
		{name: "no archive", content: []byte("hello"), refused: "this is no archive that can be read"},
		{name: "empty", refused: "this is no archive that can be read"},
		{name: "cut off", content: gzipped(t, tarOf(t, small()...))[:60], refused: "read the tar"},
		{name: "no scenario", content: tarOf(t, entry{name: "a/b", text: "x"}), refused: "holds nothing in the format killercoda"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			file := filepath.Join(t.TempDir(), "archive")
			write(t, file, test.content)
			reports, notes, err := Import("killercoda", file, Options{Into: t.TempDir()})
			if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Fatalf("error %v, want %q", err, test.refused)
				}
				return
			}
			if err != nil || len(reports) != 1 || reports[0].Outcome != Converted || len(notes) != test.notes {
				t.Errorf("reports %+v, notes %v, error %v", reports, notes, err)
			}
		})
	}
}

// bomb is more than is unpacked, in files that are each small enough.
func bomb() []entry {
	var all []entry
	for i := range maxArchive/maxFile + 1 {
		all = append(all, entry{name: "bomb/" + strings.Repeat("x", i+1), size: maxFile})
	}
	return all
}

// A link in a folder may lead about in it, but not out of it.
func TestLinksInFolders(t *testing.T) {
	outside, dir := filepath.Join(t.TempDir(), "secret"), t.TempDir()
	write(t, outside, []byte("secret"))
	for _, e := range small() {
		write(t, filepath.Join(dir, e.name), []byte(e.text))
	}
	for _, name := range []string{"a.md", "v.sh"} {
		if err := os.Remove(filepath.Join(dir, "set", name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "shared/v.sh"), []byte("kubectl get pod a"))
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "set/a.md")), os.Symlink("../shared/v.sh", filepath.Join(dir, "set/v.sh"))); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	reports, _, err := Import("killercoda", dir, Options{Into: into})
	if err != nil || len(reports) != 1 || reports[0].Tasks != 1 {
		t.Fatalf("reports %+v, error %v", reports, err)
	}
	if want := "set/index.json:1: details.steps[0].text: a.md is a link that leads out of what is imported"; reports[0].Limits[0].String() != want {
		t.Errorf("limits %v, want %q", reports[0].Limits, want)
	}
	readme, err := os.ReadFile(filepath.Join(into, "set", "README.md"))
	if err != nil || strings.Contains(string(readme), "secret") {
		t.Errorf("README.md: %q, error %v", readme, err)
	}
}

func TestFolderThatIsTaken(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	for _, e := range small() {
		write(t, filepath.Join(dir, e.name), []byte(e.text))
	}
	write(t, filepath.Join(into, "set", "mine"), []byte("mine"))
	reports, _, err := Import("killercoda", dir, Options{Into: into})
	if err != nil || reports[0].Refusal != RefusedTaken {
		t.Errorf("reports %+v, error %v", reports, err)
	}
	if mine, err := os.ReadFile(filepath.Join(into, "set", "mine")); err != nil || string(mine) != "mine" {
		t.Errorf("what was there is %q, error %v", mine, err)
	}
}

func TestNamesThatAreTheSame(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	for _, folder := range []string{"one", "two", "three/two"} {
		for _, e := range small() {
			write(t, filepath.Join(dir, folder, e.name), []byte(e.text))
		}
	}
	reports, _, err := Import("killercoda", dir, Options{Into: into})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range reports {
		got = append(got, filepath.Base(r.Lab))
	}
	if want := "set two-set set-2"; strings.Join(got, " ") != want {
		t.Errorf("labs %v, want %s", got, want)
	}
}

func TestUnknownFormat(t *testing.T) {
	_, _, err := Import("kilercoda", t.TempDir(), Options{})
	if want := `there is no format "kilercoda", did you mean "killercoda"?; there are: killercoda, iximiuz, instruqt, educates`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
