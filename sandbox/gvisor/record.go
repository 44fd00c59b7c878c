package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// box is one sandbox on disk.
type box struct {
	ID       string         `json:"id"`
	Root     string         `json:"root"` // the directory of runsc and the root file system it was made from
	Template string         `json:"template,omitempty"`
	Limits   sandbox.Limits `json:"limits"`
	Created  time.Time      `json:"created"`

	dir string
	use use
}

// use is what a sandbox is there for. Of several that serve one session, the
// one with the highest number does; the others are leaving.
type use struct {
	Use sandbox.Use `json:"use"`
	// Session is who is served, or for whom it is being prepared.
	Session string `json:"session,omitempty"`
	Number  int    `json:"number,omitempty"`
}

// Files of a sandbox's directory.
const (
	boxFile     = "sandbox.json"
	useFile     = "use.json"
	processFile = "process.json"
	frozenFile  = "frozen"
	pidFile     = "pid" // as runsc writes it
	logFile     = "log"
	bundleDir   = "bundle"
)

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

// writeJSON replaces a file in one step, which outlives a loss of power.
func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w (%w)", path, fs.ErrNotExist, err) // as good as not there
	}
	return nil
}

// isID says whether a name is one that dock.NewID makes, in form.
func isID(name string) bool {
	const length = 12
	return len(name) == length && dock.CheckID(name) == nil
}

// load reads a sandbox. One that is half made or half removed is fs.ErrNotExist.
func (p *Provider) load(id string) (*box, error) {
	if !isID(id) {
		return nil, fs.ErrNotExist
	}
	b := &box{dir: filepath.Join(p.sandboxes(), id)}
	if err := errors.Join(readJSON(b.path(boxFile), b), readJSON(b.path(useFile), &b.use)); err != nil {
		return nil, err
	}
	return b, nil
}

// ids are the names of all that is in the directory of the sandboxes, whole or not.
func (p *Provider) ids() ([]string, error) {
	entries, err := os.ReadDir(p.sandboxes())
	if err != nil {
		return nil, fmt.Errorf("list the machines: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if isID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// boxes returns the sandboxes, the oldest first, with the use that each has in
// view of the others.
func (p *Provider) boxes() ([]*box, error) {
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	var all []*box
	highest := map[string]int{}
	for _, id := range ids {
		b, err := p.load(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the machine %s: %w", id, err)
		}
		all = append(all, b)
		if b.use.Use.OfSession() {
			highest[b.use.Session] = max(highest[b.use.Session], b.use.Number)
		}
	}
	for _, b := range all {
		if b.use.Use.OfSession() && b.use.Number < highest[b.use.Session] {
			b.use.Use = sandbox.Leaving
		}
	}
	slices.SortFunc(all, func(a, b *box) int { return a.Created.Compare(b.Created) })
	return all, nil
}

// serving finds the sandbox that serves a session, or is kept of it.
func (p *Provider) serving(session string) (*box, error) {
	return p.search(session, func(b *box) bool { return b.use.Use.OfSession() && b.use.Session == session })
}

// reached finds the sandbox that Exec means: the session's own; while one is
// being prepared, that by its own id, or the session's that is on its way.
func (p *Provider) reached(name string) (*box, error) {
	b, err := p.serving(name)
	if !errors.Is(err, sandbox.ErrNotFound) {
		return b, err
	}
	return p.search(name, func(b *box) bool {
		return b.use.Use == sandbox.Preparing && (b.ID == name || b.use.Session == name)
	})
}

func (p *Provider) search(name string, is func(*box) bool) (*box, error) {
	all, err := p.boxes()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	return nil, fmt.Errorf("session %s: %w", name, sandbox.ErrNotFound)
}

// setUse says what a sandbox is there for from now on.
func (b *box) setUse(u use) error {
	if err := writeJSON(b.path(useFile), u); err != nil {
		return fmt.Errorf("say what the machine %s is for: %w", b.ID, err)
	}
	b.use = u
	return nil
}

func (b *box) frozen() bool {
	_, err := os.Stat(b.path(frozenFile))
	return err == nil
}

func (b *box) state() sandbox.State {
	switch {
	case b.use.Use == sandbox.Preparing:
		return sandbox.Creating
	case !b.alive():
		return sandbox.Stopped
	case b.frozen():
		return sandbox.Frozen
	}
	return sandbox.Running
}

func (p *Provider) info(b *box) sandbox.Info {
	info := sandbox.Info{
		ID: b.ID, Name: p.container(b.ID), Kind: sandbox.Machine, Use: b.use.Use,
		State: b.state(), Template: b.Template, Created: b.Created,
	}
	if b.use.Use.OfSession() {
		info.Session = b.use.Session
	}
	return info
}

// lock is held by the process that prepares a sandbox. The kernel lets go of it
// when the process dies.
type lock struct {
	file *os.File
	path string
}

// tryLock takes the lock of a sandbox unless another process, or another part
// of this one, has it: then it returns nil.
func (p *Provider) tryLock(id string) (*lock, error) {
	path := filepath.Join(p.locks(), id)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock the machine %s: %w", id, err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, f.Close()
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock the machine %s: %w", id, err)
		}
		// Whoever had it before may have removed the file meanwhile.
		mine, errMine := f.Stat()
		there, errThere := os.Stat(path)
		if errMine == nil && errThere == nil && os.SameFile(mine, there) {
			return &lock{f, path}, nil
		}
		f.Close()
	}
}

// release lets go of the lock and removes its file.
func (l *lock) release() {
	_ = os.Remove(l.path) // a file that stays is removed by a later Sweep
	l.file.Close()
}
