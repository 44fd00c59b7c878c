package live

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How long a change may take. A Git checkout writes and renames thousands of
// files within a second; an editor writes a file, and often twice.
const (
	// settled is how long nothing must have happened until the folder is read.
	settled = 150 * time.Millisecond
	// settledAtLast reads it even if something always happens.
	settledAtLast = 3 * time.Second
	// settleTries is how often a folder is read again that was found bad while
	// somebody wrote it.
	settleTries = 3
	// pollPeriod is how often a folder is looked at of which the kernel tells
	// nothing: two thousand articles are 14,000 files and take some 50 ms.
	pollPeriod = 2 * time.Second
	// safetyPeriod is the same where the kernel does tell. It does not tell of
	// what another machine writes to a shared folder.
	safetyPeriod = 30 * time.Second
)

// bell rings when something in the folder may have changed.
type bell struct {
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil: there is none, and it rings every pollPeriod
	places  places
	inside  map[string]bool // places.folders
	watched map[string]bool
}

func (f *Folder) newBell() *bell {
	b := &bell{log: f.Log, watched: map[string]bool{}}
	w, err := f.watcher()
	if err != nil {
		b.poll(err)
		return b
	}
	b.watcher = w
	return b
}

// poll goes on without the kernel's help.
func (b *bell) poll(err error) {
	b.close()
	b.log.Warn("the kernel does not tell when the articles change; they are looked at from time to time", "every", pollPeriod, "err", err)
}

func (b *bell) close() {
	if b.watcher != nil {
		_ = b.watcher.Close() // there is nothing that is not written yet
		b.watcher = nil
	}
}

// watch begins to watch the places that are not watched yet.
func (b *bell) watch(p places) {
	b.places, b.inside = p, make(map[string]bool, len(p.folders))
	for _, folder := range p.folders {
		b.inside[folder] = true
	}
	folders := slices.Clone(p.folders)
	for link := range p.links {
		folders = append(folders, filepath.Dir(link))
	}
	now := make(map[string]bool, len(folders))
	for _, folder := range folders {
		if b.watcher == nil {
			return
		}
		// One that went away and came back has to be watched anew: adding one that is watched costs little.
		switch err := b.watcher.Add(folder); {
		case err == nil:
			now[folder] = true
		case errors.Is(err, fsnotify.ErrClosed), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
			b.poll(err)
			return
		}
	}
	for folder := range b.watched {
		if !now[folder] {
			_ = b.watcher.Remove(folder) // it may be gone, and its watch with it
		}
	}
	b.watched = now
}

// wait waits until something may have changed, and nothing changes any more.
// It returns false when ctx ended.
func (b *bell) wait(ctx context.Context) bool {
	period := safetyPeriod
	if b.watcher == nil {
		period = pollPeriod
	}
	timer := time.NewTimer(period)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case e := <-b.events():
			if b.matters(e) {
				b.settle(ctx)
				return ctx.Err() == nil
			}
		case err := <-b.errors(): // events were lost
			b.log.Debug("watching the articles", "err", err)
			b.settle(ctx)
			return ctx.Err() == nil
		}
	}
}

// settle waits until nothing has happened for a moment.
func (b *bell) settle(ctx context.Context) {
	quiet, atLast := time.NewTimer(settled), time.NewTimer(settledAtLast)
	defer quiet.Stop()
	defer atLast.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
			return
		case <-atLast.C:
			return
		case e := <-b.events():
			if b.matters(e) {
				quiet.Reset(settled)
			}
		case <-b.errors():
		}
	}
}

// events and errors are nil, and never ready, when there is no watcher.
func (b *bell) events() chan fsnotify.Event {
	if b.watcher == nil {
		return nil
	}
	return b.watcher.Events
}

func (b *bell) errors() chan error {
	if b.watcher == nil {
		return nil
	}
	return b.watcher.Errors
}

// matters leaves out what happens beside the folder, and files of editors.
func (b *bell) matters(e fsnotify.Event) bool {
	if b.places.links[e.Name] {
		return true
	}
	if passing(filepath.Base(e.Name)) {
		return false
	}
	return b.inside[filepath.Dir(e.Name)] || b.inside[e.Name]
}
