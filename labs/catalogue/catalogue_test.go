package catalogue

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// A file that is left out of the binary would make the embedded lab another
// lab than the one on disk.
func TestEveryFileIsEmbedded(t *testing.T) {
	count := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/") {
			return err
		}
		count++
		disk, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		embedded, err := fs.ReadFile(FS(), path)
		if err != nil {
			t.Errorf("%s is not embedded: a name that begins with a dot or an underscore never is", path)
		} else if !bytes.Equal(disk, embedded) {
			t.Errorf("%s: the embedded file differs", path)
		}
		return nil
	})
	if err != nil || count == 0 {
		t.Fatalf("%d files, error %v", count, err)
	}
}
