package dock

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

// Freezer keeps the freezing of a container apart from the start of a command
// in it. An engine that does both at once (Docker 20.10) waits for a process
// that can't answer and holds the container's lock meanwhile: from then on
// nobody can ask anything about it, until the engine is started again.
type Freezer struct {
	mu    sync.Mutex
	locks map[string]*sync.RWMutex // by container; as many as there have been
}

func (f *Freezer) of(container string) *sync.RWMutex {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks == nil {
		f.locks = map[string]*sync.RWMutex{}
	}
	if f.locks[container] == nil {
		f.locks[container] = &sync.RWMutex{}
	}
	return f.locks[container]
}

const (
	// startTimeout is how long a command may take to start, after which the
	// engine has other troubles.
	startTimeout = 5 * time.Second
	startPoll    = 2 * time.Millisecond
	// freezeTimeout is for what takes the engine a fraction of a second.
	freezeTimeout = 30 * time.Second
)

// start creates and starts a command, and keeps freezes away until it has
// started, which is after this returns.
func (r Runner) start(ctx context.Context, container string, options client.ExecCreateOptions) (id string, _ client.ExecAttachResult, err error) {
	lock := r.Freezer.of(container)
	lock.RLock()
	started := false
	defer func() {
		if !started {
			lock.RUnlock()
		}
	}()
	created, err := r.Engine.ExecCreate(ctx, container, options)
	if err != nil {
		return "", client.ExecAttachResult{}, Error("ask the engine", err)
	}
	attached, err := r.Engine.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return "", client.ExecAttachResult{}, Error("start the command", err)
	}
	started = true
	go func() {
		defer lock.RUnlock()
		r.awaitStart(created.ID)
	}()
	return created.ID, attached, nil
}

// awaitStart waits until a command has a process, or had one.
func (r Runner) awaitStart(exec string) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		state, err := r.Engine.ExecInspect(ctx, exec, client.ExecInspectOptions{})
		if err != nil || state.PID != 0 || state.ExitCode != 0 {
			return // what can't be asked about has gone, or has other troubles
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(startPoll):
		}
	}
}

// Freeze stops all of a container's processes where they are.
func (r Runner) Freeze(ctx context.Context, container string) error {
	lock := r.Freezer.of(container)
	lock.Lock()
	defer lock.Unlock()
	// Abandoned, it would go on without the lock; one that hangs must not hold it for ever.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freezeTimeout)
	defer cancel()
	_, err := r.Engine.ContainerPause(ctx, container, client.ContainerPauseOptions{})
	return err
}
