package live

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxDepth is how deep below the folder of tracks files are looked at: a track,
// an article, a folder of figures and one to spare. It ends links that go round.
const maxDepth = 4

// stamp is a folder at one time.
type stamp struct {
	sum    [sha256.Size]byte // differs when a file does
	places places
}

// places are where changes of a folder are seen.
type places struct {
	folders []string        // everything in them matters
	links   map[string]bool // paths that matter in folders of others: the folder itself, and links on the way to it
}

// look stamps the folder by the names, sizes, times and inodes of its files,
// without those that begin with a dot, such as .git, and what editors leave.
func look(dir string) stamp {
	at := stamp{places: waysTo(dir)}
	sum := sha256.New()
	target, err := filepath.EvalSymlinks(dir)
	if err == nil {
		at.places.folders = lookBelow(sum, target, 0)
	}
	fmt.Fprintf(sum, "%q %v\n", target, err)
	at.sum = [sha256.Size]byte(sum.Sum(nil))
	return at
}

func lookBelow(sum hash.Hash, dir string, depth int) (folders []string) {
	entries, err := os.ReadDir(dir)
	fmt.Fprintf(sum, "%q %v\n", dir, err)
	folders = []string{dir}
	for _, e := range entries {
		name := e.Name()
		if passing(name) {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := e.Info()
		if err == nil && e.Type()&fs.ModeSymlink != 0 {
			info, err = os.Stat(path)
		}
		if err != nil {
			fmt.Fprintf(sum, "%q %v\n", name, err)
			continue
		}
		if info.IsDir() {
			if depth < maxDepth {
				folders = append(folders, lookBelow(sum, path, depth+1)...)
			}
			continue // the time of a folder changes with every file that an editor leaves
		}
		fmt.Fprintf(sum, "%q %d %d %v", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		if file, ok := info.Sys().(*syscall.Stat_t); ok { // a file that took the place of another may be as large and as old
			fmt.Fprintf(sum, " %d %d", file.Ino, file.Ctim.Nano())
		}
		fmt.Fprintln(sum)
	}
	return folders
}

// passing says whether a file is none of the content: hidden, or left by an editor.
func passing(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") ||
		strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".tmp")
}

// waysTo are the folder itself and the links on the way to it: tools switch from
// one version of a checkout to the next by such a link.
func waysTo(dir string) places {
	p := places{links: map[string]bool{}}
	path, err := filepath.Abs(dir)
	if err != nil {
		return p
	}
	p.links[path] = true
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			p.links[path] = true
		}
	}
	return p
}
