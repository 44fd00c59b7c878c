package grade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/machine/boot"
	"drydock/sandbox/probe"
	measure "drydock/sandbox/probe/bench"
)

const (
	// defaultBenchEvery is how often is looked whether the learner's program has changed.
	defaultBenchEvery = 5 * time.Second
	// benchAnyway is after how long it is measured again though its files are
	// as before: it may have others beside those that its command names.
	benchAnyway = 10 * time.Minute
	// benchRefused is the pause after a measurement that was disturbed.
	benchRefused = 30 * time.Second
	// benchGrace is what starting and ending a measurement may take on top.
	benchGrace = 30 * time.Second
	// learnerHome is where the learner's program is started unless the check says.
	learnerHome = "/home/learner"
	// maxBenchFiles bounds the files of one of the lab's programs, in bytes together.
	maxBenchFiles = 1 << 20
)

func (b *Bench) sees() subject          { return measured }
func (b *Bench) needs() means           { return throughExec | throughFiles }
func (b *Bench) period() time.Duration  { return orDefault(b.Every, defaultBenchEvery) }
func (b *Bench) name() string           { return "" }
func (b *Bench) source(p *place) source { return &measurements{place: p, bench: *b} }

func (b *Bench) fill(replace func(string) string) {
	b.Command = slices.Clone(b.Command)
	for i, word := range b.Command {
		b.Command[i] = replace(word)
	}
}

func (b *Bench) problems(add report) {
	add.every("bench", b.Every)
	example := *b
	example.fill(exampleOf)
	spec := example.spec()
	spec.Baseline.Command = b.Baseline.Command
	if err := spec.Check(); err != nil {
		add("bench: %v", err)
	}
}

// spec is what is measured, without the files of the lab's programs.
func (b *Bench) spec() measure.Spec {
	dir := b.Dir
	if dir == "" {
		dir = learnerHome
	}
	return measure.Spec{
		Command: b.Command, Directory: dir, UID: boot.LearnerID, GID: boot.LearnerID,
		Baseline: measure.Program{Build: b.Baseline.Build, Command: b.Baseline.Command},
		Generate: &measure.Program{Build: b.Generate.Build, Command: b.Generate.Command},
		Measure:  measure.Measure(b.Measure), Rounds: b.Rounds, Timeout: time.Duration(b.Timeout),
	}
}

// measurements is the source of a bench check.
type measurements struct {
	*place
	bench Bench
}

// follow measures at first, whenever the learner's program has changed, and
// when it is asked to.
func (m *measurements) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	var measuredOf string
	var at time.Time
	for ctx.Err() == nil {
		now, err := m.program(ctx)
		if err == nil && now == measuredOf && m.env.Now().Sub(at) < benchAnyway {
			if asked(ctx, m.bench.period(), again) {
				measuredOf = ""
			}
			continue
		}
		seen, err := m.look(ctx)
		if ctx.Err() != nil {
			return
		}
		report(seen, err)
		if err != nil {
			pause(ctx, benchRefused, again)
			continue
		}
		measuredOf, at = now, m.env.Now()
	}
}

// asked waits for d and reports whether somebody asked to look again meanwhile.
func asked(ctx context.Context, d time.Duration, again <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-again:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// program names the state of the files that the learner's command names.
func (m *measurements) program(ctx context.Context) (string, error) {
	var files []string
	for _, word := range m.bench.Command {
		if path.IsAbs(word) {
			files = append(files, word)
		} else if !strings.HasPrefix(word, "-") {
			files = append(files, path.Join(m.bench.spec().Directory, word))
		}
	}
	release, err := m.slot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, execTimeout+execGrace)
	defer cancel()
	res, err := m.run(ctx, sandbox.Command{Where: sandbox.OnNode, Argv: append([]string{"timeout", "5", "stat", "-L", "-c", "%n %i %s %Y %Z", "--"}, files...), MaxOutput: maxOutput})
	return string(res.Stdout), err // of files that are not there, stat says nothing
}

// look measures. That takes seconds to minutes.
func (m *measurements) look(ctx context.Context) (data, error) {
	m.measuring.Lock() // two at once would disturb each other
	defer m.measuring.Unlock()
	ctx, cancel := context.WithTimeout(ctx, measure.MaxTotal+benchGrace)
	defer cancel()
	spec := m.bench.spec()
	var err error
	if spec.Baseline.Files, err = m.labFiles(m.bench.Baseline.Files); err == nil {
		spec.Generate.Files, err = m.labFiles(m.bench.Generate.Files)
	}
	if err != nil {
		return data{}, &blindness{cannotMeasure, err}
	}
	input, err := json.Marshal(spec)
	if err != nil {
		return data{}, &blindness{cannotMeasure, err}
	}
	res, err := m.run(ctx, sandbox.Command{Where: sandbox.OnNode, Argv: []string{probe.Program, "bench"}, Stdin: bytes.NewReader(input), MaxOutput: maxBenchFiles})
	if err != nil {
		return data{}, err
	}
	var report measure.Report
	switch err := json.Unmarshal(res.Stdout, &report); {
	case res.ExitCode != 0:
		return data{}, &blindness{cannotMeasure, fmt.Errorf("exit code %d: %s", res.ExitCode, excerpt(string(res.Stderr)))}
	case err != nil:
		return data{}, &blindness{cannotMeasure, err}
	case report.Error != "":
		return data{}, &blindness{cannotMeasure + ": " + excerpt(report.Error), errors.New(report.Error)}
	}
	return data{Bench: &report}, nil
}

const cannotMeasure = "the checker could not measure"

// labFiles reads the files of one of the lab's programs: a file, or all of a folder.
func (p *place) labFiles(name string) (map[string]string, error) {
	name = path.Clean(name)
	files, size := map[string]string{}, 0
	err := fs.WalkDir(p.env.Files, name, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(p.env.Files, at)
		if err != nil {
			return err
		}
		if size += len(content); size > maxBenchFiles {
			return fmt.Errorf("there are more than %d KiB", maxBenchFiles>>10)
		}
		as := strings.TrimPrefix(at, name+"/")
		if at == name {
			as = path.Base(name)
		}
		files[as] = string(content)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the lab's %s: %w", name, err)
	}
	return files, nil
}

// benchValue leaves the ratio out where there is none: a condition on it is then false.
func benchValue(r *measure.Report) map[string]any {
	value := map[string]any{"correct": r.Correct, "rounds": len(r.Rounds), "wrong": r.Wrong}
	if r.Correct {
		value["ratio"], value["low"], value["high"] = r.Ratio, r.Low, r.High
	}
	return value
}

// benchWrong says what the learner's program did wrong; empty when nothing.
func benchWrong(r *measure.Report) string {
	if r == nil || r.Correct {
		return ""
	}
	if r.Wrong == "" {
		return "its results are not right"
	}
	return r.Wrong
}
