package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/docker/go-units"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"
)

// fleetOptions are the settings of a server's sandboxes.
type fleetOptions struct {
	memory    string // as a person writes it; empty: by the machine
	starts    int    // 0: by the machine
	spares    int
	templates string
	machines  string
	idle      time.Duration
	perUser   int
	keepFor   time.Duration // 0: nothing is kept
}

// How much of the machine sandboxes may take unless told otherwise.
const (
	// memoryKept is left to the system, the engine and Drydock itself: the
	// larger of this and an eighth.
	memoryKept = 2 << 30
	// coresPerStart: the boot of a cluster keeps two cores busy.
	coresPerStart = 2
)

// leastIdle is shorter than anybody's pauses, and about as often as sessions are looked at.
const leastIdle = time.Second

// check says which of the settings make no sense, all at once.
func (o fleetOptions) check() error {
	var problems []error
	refuse := func(format string, values ...any) { problems = append(problems, fmt.Errorf(format, values...)) }
	if o.idle < leastIdle {
		refuse("--idle %v: it must be %v or more, such as 10m; to freeze no session, say more than any lasts, such as 24h", o.idle, leastIdle)
	}
	if o.keepFor < 0 {
		refuse("--keep-for %v: it must be 0, for not at all, or more, such as 12h", o.keepFor)
	}
	if o.starts < 0 {
		refuse("--starts %d: it must be 1 or more, or 0 for one for two cores", o.starts)
	}
	if o.spares < 0 {
		refuse("--spares %d: it must be 0, for none, or more", o.spares)
	}
	if o.perUser == 0 || o.perUser < -1 {
		refuse("--sessions-per-learner %d: it must be 1 or more, or -1 for any number", o.perUser)
	}
	return errors.Join(problems...)
}

// drainFile is there, in the data directory, while an operator drains the server.
const drainFile = "draining"

// keepDraining writes down in a data directory whether the server drains.
func keepDraining(data string) func(on bool) error {
	path := filepath.Join(data, drainFile)
	return func(on bool) error {
		var err error
		if on {
			err = os.WriteFile(path, nil, 0o600)
		} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("write down whether the server drains: %w", err)
		}
		return nil
	}
}

// drains reports whether an operator drained the server of a data directory.
func drains(data string) (bool, error) {
	_, err := os.Stat(filepath.Join(data, drainFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("see whether the server drains: %w", err)
	}
	return true, nil
}

// openFleet makes the fleet of a server. Run is up to the caller.
func openFleet(o serveOptions, providers []sandbox.Provider, history fleet.History, set *labs.Catalogue, log *slog.Logger) (*fleet.Fleet, error) {
	memory, err := memoryBudget(o.memory)
	if err != nil {
		return nil, err
	}
	starts := o.starts
	if starts == 0 {
		starts = max(1, runtime.NumCPU()/coresPerStart)
	}
	draining, err := drains(o.data)
	if err != nil {
		return nil, err
	}
	var all *fleet.Fleet // the specs' own steps run through it
	all, err = fleet.New(fleet.Config{
		Providers: providers, Memory: memory, Starts: starts, Spares: o.spares, Templates: o.templates,
		Specs: func() []sandbox.Spec { return set.Specs(all) }, History: history, Now: time.Now, Log: log,
		Draining: draining, KeepDraining: keepDraining(o.data),
	})
	return all, err
}

// memoryBudget is what sandboxes may take together, in bytes; 0: no bound.
func memoryBudget(text string) (int64, error) {
	if text != "" {
		n, err := units.RAMInBytes(text)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("--memory %q: write it like 16GiB, or 0 for no bound", text)
		}
		return n, nil
	}
	total, err := machineMemory()
	if err != nil {
		return 0, fmt.Errorf("find out this machine's memory; say with --memory how much of it sandboxes may take: %w", err)
	}
	return max(total-max(memoryKept, total/8), total/2), nil
}

// machineMemory is all the memory there is, in bytes.
func machineMemory() (int64, error) { return memoryFigure("MemTotal") }

// memoryFigure is one of the kernel's figures of memory, in bytes.
func memoryFigure(name string) (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		rest, found := strings.CutPrefix(lines.Text(), name+":")
		if !found {
			continue
		}
		var kib int64
		if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
			return 0, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("%s does not say %s", f.Name(), name)
}

// measurements gives a fleet the history that it needs from the store.
type measurements struct{ *store.Store }

func (m measurements) AddMeasurement(ctx context.Context, one fleet.Measurement) error {
	return m.Store.AddMeasurement(ctx, store.Measurement{
		At: one.At, Kind: string(one.Kind), How: one.How, Template: one.Template, Took: one.Took, Memory: one.Memory,
	})
}

func (m measurements) Measurements(ctx context.Context, since time.Time) ([]fleet.Measurement, error) {
	kept, err := m.Store.Measurements(ctx, since)
	all := make([]fleet.Measurement, 0, len(kept))
	for _, one := range kept {
		all = append(all, fleet.Measurement{
			At: one.At, Kind: sandbox.Kind(one.Kind), How: one.How, Template: one.Template, Took: one.Took, Memory: one.Memory,
		})
	}
	return all, err
}

// inBackground runs the fleet until stop is called. That waits for what is being
// made to be taken back, but not for ever: the next start finds what is left.
func inBackground(all *fleet.Fleet) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		all.Run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-stopped:
		case <-time.After(removalTimeout):
		}
	}
}
