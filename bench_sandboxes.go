package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox"
)

const (
	sandboxRounds = 5
	// benchMachineLab is the lab of the machine that is measured.
	benchMachineLab = "full-disk"
	// idleTime is how long a cluster is left alone before its memory is read.
	idleTime = 20 * time.Second
	// frozenTime is longer than a node's lease and connections' keep-alives.
	frozenTime = time.Minute
)

// yard is a place to make sandboxes in, for measuring: the providers as the
// server has them, without its pool, which would choose its own moments.
type yard struct {
	sandbox.Provider
	dir  string
	labs *labs.Catalogue
}

func openYard() (*yard, error) {
	dir, err := os.MkdirTemp("", "drydock-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to measure in: %w", err)
	}
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	provider, err := openProvider(data, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &yard{Provider: provider, dir: dir, labs: set}, nil
}

// close removes everything that was made.
func (y *yard) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return errors.Join(clearSandboxes(ctx, y.Provider), os.RemoveAll(y.dir))
}

// clearSandboxes removes all sandboxes and templates of an instance.
func clearSandboxes(ctx context.Context, provider sandbox.Provider) error {
	err := provider.Close(ctx)
	infos, listErr := provider.List(ctx)
	err = errors.Join(err, listErr)
	for _, info := range infos {
		err = errors.Join(err, provider.Discard(ctx, info.ID))
	}
	templates, listErr := provider.Templates(ctx)
	err = errors.Join(err, listErr)
	for _, t := range templates {
		err = errors.Join(err, provider.RemoveTemplate(ctx, t.ID))
	}
	return err
}

// spec is what a lab's first variant asks for.
func (y *yard) spec(slug, session string) (sandbox.Spec, error) {
	lab, ok := y.labs.Get(slug)
	if !ok {
		return sandbox.Spec{}, fmt.Errorf("the lab %s is not in the catalogue", slug)
	}
	return lab.SandboxSpec(y.Provider, session, lab.AllVariants()[0]), nil
}

// benchSession is the session whose sandboxes are measured.
const benchSession = "bench1"

// prompt waits for the first output of a shell in the session's sandbox.
func (y *yard) prompt(ctx context.Context, session string) error {
	shell, err := y.Terminal(ctx, session, sandbox.TerminalSpec{Tab: "1", Size: sandbox.Size{Cols: 80, Rows: 24}})
	if err != nil {
		return err
	}
	defer shell.Close()
	if _, err := shell.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for the prompt: %w", err)
	}
	return nil
}

// toPrompt measures bring, a Create or a Reset, to the prompt.
func (y *yard) toPrompt(ctx context.Context, bring func(context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Info, error), spec sandbox.Spec) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	began := time.Now()
	if _, err := bring(ctx, spec, nil); err != nil {
		return 0, err
	}
	if err := y.prompt(ctx, spec.Session); err != nil {
		return 0, err
	}
	return seconds(began), nil
}

// benchCluster measures what a learner of a cluster lab waits for, up to the
// prompt (the server then notes the state that is graded against), and what an
// idle cluster takes, against plain kind with the same image and lab.
func benchCluster(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	y, err := openYard()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	spec, err := y.spec(benchLab, benchSession)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if _, err := y.MakeTemplate(ctx, spec, nil); err != nil {
		return nil, err
	}
	made := seconds(began)
	fmt.Fprintf(progress, "  the template took %.1f s\n", made)
	lab, _ := y.labs.Get(benchLab)
	var f figures
	for round := range sandboxRounds {
		if err := y.clusterRound(ctx, spec, &f); err != nil {
			return nil, err
		}
		if round < startRounds { // it takes as long as all the rest
			plain, err := plainKind(ctx, lab, lab.AllVariants()[0])
			if err != nil {
				return nil, err
			}
			f.add("start.kind", plain.took)
			f.add("memory.kind", plain.memory)
		}
		fmt.Fprintf(progress, "  round %d of %d: %s\n", round+1, sandboxRounds, f.last())
	}
	plain, cold := f.median("start.kind"), f.median("start.cold")
	return []measurement{
		f.measure("start.kind", "s", "lab "+benchLab+": kind create cluster and the lab's setup until ready"),
		f.measure("start.cold", "s", "a copy of the template, to the prompt").against("start.kind", plain),
		f.measure("start.warm", "s", "a spare, to the prompt").against("start.kind", plain),
		f.measure("reset", "s", "a reset with a spare, to the prompt").against("start.cold", cold),
		f.measure("thaw", "s", "a frozen session's key to the first answer of kubectl get pods").against("start.cold", cold),
		f.measure("memory.idle", "MiB", "both containers, the lab's pods included, after "+idleTime.String()).against("plain kind", f.median("memory.kind")),
		{Name: "start.template", Value: made, Unit: "s", N: 1, Note: "the making of the template, once per variant of a lab"},
	}, nil
}

// clusterRound measures each figure once.
func (y *yard) clusterRound(ctx context.Context, spec sandbox.Spec, f *figures) error {
	cold, err := y.toPrompt(ctx, y.Create, spec)
	if err != nil {
		return err
	}
	f.add("start.cold", cold)
	if _, err := y.Spare(ctx, spec, nil); err != nil {
		return err
	}
	reset, err := y.toPrompt(ctx, y.Reset, spec)
	if err != nil {
		return err
	}
	f.add("reset", reset)
	if err := y.Provider.Close(ctx); err != nil { // the old one's removal must not weigh on what follows
		return err
	}
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	memory, err := y.memory(ctx, spec.Session)
	if err != nil {
		return err
	}
	f.add("memory.idle", memory)
	thaw, err := y.thaw(ctx, spec.Session)
	if err != nil {
		return err
	}
	f.add("thaw", thaw)
	if err := y.Destroy(ctx, spec.Session); err != nil {
		return err
	}
	if _, err := y.Spare(ctx, spec, nil); err != nil {
		return err
	}
	warm, err := y.toPrompt(ctx, y.Create, spec)
	if err != nil {
		return err
	}
	f.add("start.warm", warm)
	return y.Destroy(ctx, spec.Session)
}

func (y *yard) memory(ctx context.Context, session string) (float64, error) {
	info, err := y.Get(ctx, session)
	if err != nil {
		return 0, err
	}
	used, err := y.Usage(ctx, info.ID)
	return float64(used[info.ID].Memory) / (1 << 20), err
}

// thaw measures the way back from a frozen session.
func (y *yard) thaw(ctx context.Context, session string) (float64, error) {
	if err := y.Freeze(ctx, session); err != nil {
		return 0, err
	}
	if err := pause(ctx, frozenTime); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := y.Thaw(ctx, session); err != nil {
		return 0, err
	}
	res, err := y.Exec(ctx, session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"kubectl", "get", "pods"}})
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("kubectl get pods after a thaw: %s", res.Stderr)
	}
	return seconds(began), err
}

// benchMachine measures the start of a machine lab from a spare.
func benchMachine(ctx context.Context, _ io.Writer) (_ []measurement, err error) {
	y, err := openYard()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	spec, err := y.spec(benchMachineLab, benchSession)
	if err != nil {
		return nil, err
	}
	var f figures
	for range sandboxRounds {
		if _, err := y.Spare(ctx, spec, nil); err != nil {
			return nil, err
		}
		took, err := y.toPrompt(ctx, y.Create, spec)
		if err != nil {
			return nil, err
		}
		f.add("start.machine", took)
		if err := y.Destroy(ctx, spec.Session); err != nil {
			return nil, err
		}
	}
	return []measurement{f.measure("start.machine", "s", "lab "+benchMachineLab+": a spare, to the prompt")}, nil
}

// Sizes of the density table, and how many of the sessions are typed in.
var densitySizes = []int{4, 12, 24}

const (
	densityTyped = 4
	// densityWatch is how long each size is looked at.
	densityWatch = 15 * time.Second
	// keyEvery is a quick typist's pace.
	keyEvery = 150 * time.Millisecond
)

func densityNames() []string {
	var names []string
	for _, size := range densitySizes {
		names = append(names, "density."+strconv.Itoa(size))
	}
	return names
}

// benchDensity fills the machine with sessions of a cluster lab. Four are typed
// in; nobody types in the others, so they are frozen, as the server does it.
func benchDensity(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	y, err := openYard()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	var all []measurement
	var starts []float64
	running := 0
	for _, size := range densitySizes {
		for running < size {
			running++
			spec, err := y.spec(benchLab, "dense"+strconv.Itoa(running))
			if err != nil {
				return nil, err
			}
			took, err := y.toPrompt(ctx, y.Create, spec)
			if err != nil {
				return nil, err
			}
			if running > 1 { // the first made the template
				starts = append(starts, took)
			}
			if running > densityTyped {
				if err := y.Freeze(ctx, spec.Session); err != nil {
					return nil, err
				}
			}
		}
		rows, err := y.density(ctx, size, starts)
		if err != nil {
			return nil, err
		}
		starts = nil
		all = append(all, rows...)
		fmt.Fprintf(progress, "  %d sessions:", size)
		for _, m := range rows {
			fmt.Fprintf(progress, " %s %.3g %s", strings.TrimPrefix(m.Name, fmt.Sprintf("density.%d.", size)), m.Value, m.Unit)
		}
		fmt.Fprintln(progress)
	}
	return all, nil
}

// density measures a machine with size sessions on it.
func (y *yard) density(ctx context.Context, size int, starts []float64) ([]measurement, error) {
	infos, err := y.List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, info := range infos {
		ids = append(ids, info.ID)
	}
	before, err := y.cpu(ctx, ids)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	echoes, err := y.typeInAll(ctx, "typing"+strconv.Itoa(size))
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	used, err := y.Usage(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var memory, cpu float64
	for _, u := range used {
		memory += float64(u.Memory) / (1 << 20)
		cpu += u.CPU.Seconds()
	}
	note := fmt.Sprintf("%d sessions, %d typed in, the others frozen", size, min(size, densityTyped))
	row := func(name, unit string, value float64, n int) measurement {
		return measurement{Name: fmt.Sprintf("density.%d.%s", size, name), Value: value, Unit: unit, N: n, Note: note}
	}
	p50 := median(echoes) // sorts them
	return []measurement{
		row("memory", "MiB", memory, 1),
		row("cpu", "cores", (cpu-before)/took.Seconds(), 1),
		row("start", "s", median(starts), len(starts)),
		row("echo.p50", "s", p50, len(echoes)),
		row("echo.p99", "s", echoes[len(echoes)*99/100], len(echoes)),
	}, nil
}

func (y *yard) cpu(ctx context.Context, ids []string) (total float64, err error) {
	used, err := y.Usage(ctx, ids...)
	for _, u := range used {
		total += u.CPU.Seconds()
	}
	return total, err
}

// typeInAll types in the sessions that are awake, side by side, and returns how
// long each key took to come back, in seconds.
func (y *yard) typeInAll(ctx context.Context, tab string) ([]float64, error) {
	each := make([][]float64, densityTyped)
	g, gctx := errgroup.WithContext(ctx)
	for i := range densityTyped {
		g.Go(func() (err error) {
			each[i], err = y.typeIn(gctx, "dense"+strconv.Itoa(i+1), tab)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []float64
	for _, e := range each {
		all = append(all, e...)
	}
	return all, nil
}

func (y *yard) typeIn(ctx context.Context, session, tab string) ([]float64, error) {
	shell, err := y.Terminal(ctx, session, sandbox.TerminalSpec{Tab: tab, Size: sandbox.Size{Cols: 80, Rows: 24}})
	if err != nil {
		return nil, err
	}
	defer shell.Close()
	stop := context.AfterFunc(ctx, func() { shell.Close() })
	defer stop()
	if err := readUntil(shell, "$ "); err != nil {
		return nil, fmt.Errorf("wait for the prompt: %w", err)
	}
	var echoes []float64
	key := byte('a')
	for end := time.Now().Add(densityWatch); time.Now().Before(end); {
		began := time.Now()
		if _, err := shell.Write([]byte{key}); err != nil {
			return nil, err
		}
		if err := readUntil(shell, string(key)); err != nil {
			return nil, fmt.Errorf("wait for a key to come back: %w", err)
		}
		echoes = append(echoes, seconds(began))
		if key++; key > 'z' {
			key = 'a'
			if _, err := shell.Write([]byte{'U' - '@'}); err != nil { // an empty line again
				return nil, err
			}
			if err := readUntil(shell, "\x1b[K"); err != nil {
				return nil, err
			}
		}
		if err := pause(ctx, keyEvery); err != nil {
			return nil, err
		}
	}
	return echoes, nil
}

func readUntil(r io.Reader, text string) error {
	var seen bytes.Buffer
	buf := make([]byte, 1024)
	for !bytes.Contains(seen.Bytes(), []byte(text)) {
		n, err := r.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// figures gathers measured values by name.
type figures struct {
	names  []string
	values map[string][]float64
}

func (f *figures) add(name string, value float64) {
	if f.values == nil {
		f.values = map[string][]float64{}
	}
	if f.values[name] == nil {
		f.names = append(f.names, name)
	}
	f.values[name] = append(f.values[name], value)
}

func (f *figures) median(name string) float64 {
	return median(append([]float64(nil), f.values[name]...))
}

// mean is the average of a figure's values.
func (f *figures) mean(name string) float64 {
	sum := 0.0
	for _, value := range f.values[name] {
		sum += value
	}
	return sum / float64(len(f.values[name]))
}

func (f *figures) measure(name, unit, note string) measurement {
	return measurement{Name: name, Value: f.median(name), Unit: unit, N: len(f.values[name]), Note: note}
}

// last is the latest value of each figure, for people.
func (f *figures) last() string {
	var parts []string
	for _, name := range f.names {
		values := f.values[name]
		parts = append(parts, fmt.Sprintf("%s %.3g", name, values[len(values)-1]))
	}
	return strings.Join(parts, ", ")
}
