package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxExcerpt bounds a line that is shown, in bytes.
	maxExcerpt = 200
	// buildTimeout bounds the building of a lab's program.
	buildTimeout = 2 * time.Minute
)

// Run measures. self is the path of a program that calls [Become]; this process
// is root, and runs one measurement at a time. The error is for what keeps it
// from measuring at all; what was wrong with the programs is in the report.
func Run(ctx context.Context, self string, s Spec) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxTotal)
	defer cancel()
	r, err := newRunner(self)
	if err != nil {
		return Report{}, err
	}
	m := &measurement{runner: r, spec: s}
	defer m.remove()
	err = m.prepare(ctx)
	if err == nil {
		err = m.measure(ctx)
	}
	var refused refusal
	if errors.As(err, &refused) {
		m.report.Error, err = string(refused), nil
	}
	return m.report, err
}

// refusal is why nothing can be said about the learner's program.
type refusal string

func (r refusal) Error() string { return string(r) }

// measurement is one that is going on.
type measurement struct {
	*runner
	spec     Spec
	dir      string // nobody but root can open it
	baseline string // the directory of the lab's program
	generate string
	report   Report
	ratios   []float64
	beside   []company
}

// prepare writes the lab's files where the learner cannot open them, and builds them.
func (m *measurement) prepare(ctx context.Context) (err error) {
	if m.dir, err = os.MkdirTemp("", "drydock-bench-"); err != nil {
		return fmt.Errorf("make a directory for the lab's programs: %w", err)
	}
	// The lab's programs have to get through; others cannot even list it.
	if err := errors.Join(os.Chown(m.dir, 0, User), os.Chmod(m.dir, 0o710)); err != nil {
		return fmt.Errorf("make a directory for the lab's programs: %w", err)
	}
	if m.baseline, err = m.write(ctx, "baseline", m.spec.Baseline); err != nil {
		return err
	}
	if m.spec.Generate != nil {
		m.generate, err = m.write(ctx, "generate", *m.spec.Generate)
	}
	return err
}

func (m *measurement) write(ctx context.Context, name string, p Program) (string, error) {
	root, err := m.writeFiles(name, p.Files)
	if err != nil {
		return "", fmt.Errorf("write the lab's programs: %w", err)
	}
	if len(p.Build) == 0 {
		return root, nil
	}
	o, err := m.run(ctx, job{argv: p.Build, dir: root, uid: User, gid: User, env: []string{"HOME=" + root, "TMPDIR=" + root},
		timeout: buildTimeout, memory: m.spec.Memory})
	if err == nil && o.failed != "" {
		err = refusal(fmt.Sprintf("building the lab's own program (%s) failed: %s", name, o.failed))
	}
	return root, err
}

func (m *measurement) writeFiles(name string, files map[string]string) (string, error) {
	root := filepath.Join(m.dir, name)
	made := func(path string, err error) error {
		return errors.Join(err, os.Lchown(path, User, User))
	}
	if err := made(root, os.Mkdir(root, 0o700)); err != nil {
		return "", err
	}
	for file, content := range files {
		path := root
		elements := strings.Split(filepath.Clean(file), string(filepath.Separator))
		for _, element := range elements[:len(elements)-1] {
			path = filepath.Join(path, element)
			if err := os.Mkdir(path, 0o700); errors.Is(err, os.ErrExist) {
				continue
			} else if err := made(path, err); err != nil {
				return "", err
			}
		}
		path = filepath.Join(root, file)
		if err := made(path, os.WriteFile(path, []byte(content), 0o700)); err != nil {
			return "", err
		}
	}
	return root, nil
}

// remove leaves nothing behind. What cannot be removed is root's, in a directory that nobody can open.
func (m *measurement) remove() {
	if m.dir != "" {
		_ = os.RemoveAll(m.dir)
	}
}

// measure compares the programs until enough is known.
func (m *measurement) measure(ctx context.Context) error {
	for number := 0; number <= m.spec.Rounds && !m.enough(); number++ {
		c, err := m.compare(ctx, number)
		if ctx.Err() != nil {
			if len(m.ratios) >= MinRounds {
				break // it took long, but there is a result
			}
			return refusal(fmt.Sprintf("%d rounds took more than %v: the lab's inputs are too big for a comparison", number+1, MaxTotal))
		}
		if err != nil {
			return err
		}
		if !m.take(number, c) {
			return nil
		}
	}
	switch baseline, learner := busier(m.beside); {
	case baseline:
		return refusal("something else was busy on the machine while the lab's own program was measured, and not otherwise: end it, and try again")
	case learner:
		return refusal("something else was busy on the machine while your program was measured, and not otherwise: end it, " +
			"and let the program do its work itself")
	}
	m.report.Correct, m.report.Ratio = true, medianOf(m.ratios)
	m.report.Low, m.report.High, _ = interval(m.ratios)
	return nil
}

// enough says whether the interval is narrow enough.
func (m *measurement) enough() bool {
	low, high, ok := interval(m.ratios)
	return ok && high-low <= m.spec.Precision*medianOf(m.ratios)
}

// comparison is a round as it went.
type comparison struct {
	seed              uint32
	baseline, learner outcome
}

// compare runs both programs on a new input.
func (m *measurement) compare(ctx context.Context, number int) (c comparison, err error) {
	var input *os.File
	if c.seed, input, err = m.input(ctx, number); err != nil {
		return c, err
	}
	defer os.Remove(input.Name()) // at the latest it goes with its directory
	defer input.Close()
	runs := []func() error{
		func() (err error) { c.baseline, err = m.program(ctx, input, true); return err },
		func() (err error) { c.learner, err = m.program(ctx, input, false); return err },
	}
	if number%2 == 1 {
		slices.Reverse(runs)
	}
	for _, run := range runs {
		if err := run(); err != nil {
			return c, err
		}
	}
	switch {
	case c.baseline.failed != "":
		return c, refusal(fmt.Sprintf("the lab's own program failed (seed %d): %s", c.seed, c.baseline.failed))
	case c.baseline.seconds(m.spec.Measure) <= 0:
		return c, refusal("the lab's own program takes no time that could be measured: its inputs are too small")
	}
	return c, nil
}

// take puts a round into the report; the first one only if it is wrong. It says
// whether the learner's program was right.
func (m *measurement) take(number int, c comparison) bool {
	m.report.Wrong = c.learner.failed
	if c.learner.failed == "" {
		if m.report.Difference = difference(c.baseline.output, c.learner.output); m.report.Difference != nil {
			m.report.Wrong = "it printed something else than it should"
		}
	}
	r := Round{
		Seed: c.seed, Baseline: c.baseline.seconds(m.spec.Measure), Learner: c.learner.seconds(m.spec.Measure), Equal: m.report.Wrong == "",
	}
	if number > 0 || !r.Equal {
		m.report.Rounds = append(m.report.Rounds, r)
		m.ratios = append(m.ratios, r.Learner/r.Baseline)
		m.beside = append(m.beside, company{baseline: c.baseline.load(), learner: c.learner.load()})
	}
	return r.Equal
}

// program runs one of the two on an input.
func (m *measurement) program(ctx context.Context, input *os.File, baseline bool) (outcome, error) {
	stdin, err := os.Open(input.Name()) // each has an offset of its own, and cannot write
	if err != nil {
		return outcome{}, fmt.Errorf("open the input: %w", err)
	}
	defer stdin.Close()
	j := job{argv: m.spec.Command, dir: m.spec.Directory, uid: m.spec.UID, gid: m.spec.GID,
		env: []string{"HOME=" + m.spec.Directory}, stdin: stdin, timeout: m.spec.Timeout, memory: m.spec.Memory}
	if baseline {
		j.argv, j.dir, j.uid, j.gid = m.spec.Baseline.Command, m.baseline, User, User
		j.env = []string{"HOME=" + m.baseline}
	}
	return m.run(ctx, j)
}

// input makes the input of a round: a file that can be read by whom it is given
// to open, found by nobody else, and written by nobody.
func (m *measurement) input(ctx context.Context, number int) (seed uint32, input *os.File, err error) {
	var content []byte
	if m.spec.Generate == nil {
		seed = uint32(number % len(m.spec.Inputs))
		content = []byte(m.spec.Inputs[seed])
	} else {
		seed = rand.Uint32()
		o, err := m.run(ctx, job{argv: m.spec.Generate.Command, dir: m.generate, uid: User, gid: User,
			env: []string{"HOME=" + m.generate, "SEED=" + strconv.FormatUint(uint64(seed), 10)}, timeout: m.spec.Timeout, memory: m.spec.Memory})
		if err != nil {
			return 0, nil, err
		}
		if o.failed != "" {
			return 0, nil, refusal(fmt.Sprintf("the lab could not generate an input (seed %d): %s", seed, o.failed))
		}
		content = o.output
	}
	input, err = os.CreateTemp(m.dir, "input-")
	if err != nil {
		return 0, nil, fmt.Errorf("write an input: %w", err)
	}
	_, err = input.Write(content)
	if err := errors.Join(err, input.Chmod(0o444)); err != nil {
		input.Close()
		return 0, nil, fmt.Errorf("write an input: %w", err)
	}
	return seed, input, nil
}

// difference is where two outputs differ, or nil. Space at the end of a line,
// and empty lines at the end, are no difference.
func difference(want, got []byte) *Difference {
	if bytes.Equal(want, got) {
		return nil
	}
	w, g := linesOf(want), linesOf(got)
	for i := range max(len(w), len(g)) {
		var a, b []byte
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if !bytes.Equal(a, b) {
			return &Difference{Line: i + 1, Want: excerpt(a, b), Got: excerpt(b, a)}
		}
	}
	return nil
}

func linesOf(output []byte) [][]byte {
	lines := bytes.Split(output, []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimRight(line, " \t\r")
	}
	for len(lines) > 0 && len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// excerpt is the part of a line around where it begins to differ from another.
func excerpt(line, other []byte) string {
	at := 0
	for at < min(len(line), len(other)) && line[at] == other[at] {
		at++
	}
	begin := max(0, at-maxExcerpt/2)
	text := strings.ToValidUTF8(string(line[begin:min(len(line), begin+maxExcerpt)]), "�")
	if begin > 0 {
		text = "…" + text
	}
	if begin+maxExcerpt < len(line) {
		text += "…"
	}
	return text
}
