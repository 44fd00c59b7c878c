// Package live keeps a library up to date with the folder that it is loaded
// from, such as a Git checkout: what changes there is loaded without a restart,
// and a bad edit, or a folder that went away, leaves the last good library in
// its place and is told as [Trouble].
//
// The kernel tells of changes (inotify). Where it does not, on network file
// systems or when its watches are used up, the folder is looked at again and
// again. It imports package content only.
package live

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"

	"drydock/content"
)

// Trouble is why a folder's newest version is not served. The zero Trouble is none.
type Trouble struct {
	Problems []content.Problem // of its files, the first [maxProblems]
	More     int               // problems beyond those
	Other    string            // what is wrong with no file in particular
	// Served is set when the newest version is served all the same: its pages
	// are whole, and links in them are dead.
	Served bool
}

// Any reports whether there is trouble.
func (t Trouble) Any() bool { return len(t.Problems) > 0 || t.Other != "" }

func (t Trouble) equal(other Trouble) bool {
	return slices.Equal(t.Problems, other.Problems) && t.More == other.More && t.Other == other.Other && t.Served == other.Served
}

// maxProblems is what fits into a banner; `drydock content lint` prints all.
const maxProblems = 10

func troubleOf(err error, served bool) Trouble {
	if err == nil {
		return Trouble{}
	}
	t := Trouble{Problems: content.Problems(err), Served: served}
	if len(t.Problems) == 0 {
		t.Other = err.Error()
	}
	if more := len(t.Problems) - maxProblems; more > 0 {
		t.Problems, t.More = t.Problems[:maxProblems], more
	}
	return t
}

// Config says what is loaded and how.
type Config struct {
	Dir string // the folder that has one folder per track
	// Check looks for what else an author should mend, such as links to labs
	// that do not exist; what it finds holds nothing up. It may be nil.
	Check func(*content.Library) error
	Log   *slog.Logger
}

// Folder is a folder with a library in it. It is safe for concurrent use.
type Folder struct {
	Config
	watcher func() (*fsnotify.Watcher, error)

	mu      sync.Mutex
	library *content.Library
	trouble Trouble
	changed chan struct{} // closed when one of these two changes
	version int           // counts these changes
	seen    stamp         // of what was loaded last
}

// Open loads the library. The error is that of a folder which cannot be served;
// the Folder is not nil then, has an empty library, and is good to be watched
// until somebody mends it.
func Open(cfg Config) (*Folder, error) {
	f := &Folder{Config: cfg, watcher: fsnotify.NewWatcher, library: &content.Library{}, changed: make(chan struct{})}
	err := f.load(look(f.Dir), func() {})
	return f, err
}

// Library returns the last good library.
func (f *Folder) Library() *content.Library {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.library
}

// Trouble returns what is wrong with the folder as it is now.
func (f *Folder) Trouble() Trouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// Changed returns a channel that is closed at the next change of the library or
// of the trouble.
func (f *Folder) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Version counts the changes that [Folder.Changed] tells of.
func (f *Folder) Version() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

// load loads the folder as it is now, and tells of it. Only [Open] and
// [Folder.Watch] call it, one after the other. What was read while somebody wrote
// it is not told: settle waits for them.
func (f *Folder) load(now stamp, settle func()) error {
	library, err := f.read()
	for tries := 0; err != nil && tries < settleTries; tries++ {
		again := look(f.Dir)
		if again.sum == now.sum {
			break
		}
		settle()
		now = look(f.Dir)
		library, err = f.read()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = now
	before, same := f.trouble, err != nil || library == f.library
	if err == nil {
		f.library = library
		f.trouble = f.checked(library)
	} else {
		f.trouble = troubleOf(err, false)
	}
	if !same || !f.trouble.equal(before) {
		close(f.changed)
		f.changed = make(chan struct{})
		f.version++
	}
	f.tell(before)
	return err
}

func (f *Folder) checked(library *content.Library) Trouble {
	if f.Check == nil {
		return Trouble{}
	}
	return troubleOf(f.Check(library), true)
}

// read loads the folder. A link is followed once, so that all is of one version.
func (f *Folder) read() (*content.Library, error) {
	dir, err := filepath.EvalSymlinks(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of tracks: %w", err)
	}
	f.mu.Lock()
	before := f.library
	f.mu.Unlock()
	if len(before.Tracks) == 0 {
		return content.Load(os.DirFS(dir))
	}
	return before.Reload(os.DirFS(dir))
}

// tell logs trouble when it changes, and its end.
func (f *Folder) tell(before Trouble) {
	switch t := f.trouble; {
	case t.equal(before):
	case !t.Any():
		f.Log.Info("the articles are in order again", "dir", f.Dir)
	default:
		served := "the last good version"
		if t.Served {
			served = "this version"
		}
		f.Log.Error("the articles have problems", "dir", f.Dir, "served", served, "problems", t.lines(), "more", t.More)
	}
}

func (t Trouble) lines() []string {
	if t.Other != "" {
		return []string{t.Other}
	}
	lines := make([]string, len(t.Problems))
	for i, p := range t.Problems {
		lines[i] = p.Error()
	}
	return lines
}

// Watch loads the folder each time it changes, until ctx ends.
func (f *Folder) Watch(ctx context.Context) {
	b := f.newBell()
	defer b.close()
	for {
		now := look(f.Dir)
		b.watch(now.places) // before it is looked at for good: nothing that happens from here on is missed
		if now = look(f.Dir); now.sum != f.seen.sum {
			_ = f.load(now, func() { b.settle(ctx) }) // it is told
			continue
		}
		if !b.wait(ctx) {
			return
		}
	}
}
