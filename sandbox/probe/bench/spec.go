package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// User is whom the lab's own programs run as: nobody else on a machine has the number.
const User = 64999

// Bounds and defaults of a measurement.
const (
	// MinRounds give a confidence interval of 95 %, and not less.
	MinRounds = 6
	// MaxRounds bounds what a lab may ask for.
	MaxRounds = 200
	// DefaultRounds is the most that are measured where a lab does not say.
	DefaultRounds = 25
	// DefaultPrecision is how wide the interval may be, as a part of the ratio, to end early.
	DefaultPrecision = 0.1
	// DefaultTimeout and MaxTimeout bound one run of a program.
	DefaultTimeout = 10 * time.Second
	MaxTimeout     = time.Minute
	// MaxTotal bounds a measurement: somebody waits for it.
	MaxTotal = 5 * time.Minute
	// DefaultMemory bounds the data of one process, in bytes.
	DefaultMemory = 512 << 20
	// MaxInput and MaxOutput bound an input, and what one run prints, in bytes.
	MaxInput  = 16 << 20
	MaxOutput = 16 << 20

	maxSpec     = 8 << 20  // bytes of a spec; inputs that are given are in it
	maxFiles    = 100      // of each of the lab's programs
	maxComplain = 2 << 10  // bytes kept of a program's standard error
	maxFileSize = 64 << 20 // bytes of a file that a program writes
	maxProcs    = 256      // processes of a program's user
)

// Spec says what is measured.
type Spec struct {
	// Command is the learner's, run in Directory as UID and GID. It is given each input on its
	// standard input, and prints its result.
	Command   []string `json:"command"`
	Directory string   `json:"directory,omitempty"` // default /
	UID       int      `json:"uid"`
	GID       int      `json:"gid"`
	// Baseline does the same, rightly, and is what the learner's is compared with.
	Baseline Program `json:"baseline"`
	// Generate prints an input, another one for each value of the environment
	// variable SEED. Without it, Inputs are taken in turn.
	Generate *Program `json:"generate,omitempty"`
	Inputs   []string `json:"inputs,omitempty"`

	Measure   Measure       `json:"measure,omitempty"`   // default CPU
	Rounds    int           `json:"rounds,omitempty"`    // at most; default DefaultRounds
	Precision float64       `json:"precision,omitempty"` // default DefaultPrecision
	Timeout   time.Duration `json:"timeout,omitempty"`   // of one run, in nanoseconds; default DefaultTimeout
	Memory    int64         `json:"memory,omitempty"`    // of one process; default DefaultMemory
}

// Program is one of the lab's own.
type Program struct {
	// Files are written into a directory of its own, which it starts in: name → content.
	Files map[string]string `json:"files,omitempty"`
	// Build is run there once, before anything is measured.
	Build   []string `json:"build,omitempty"`
	Command []string `json:"command"`
}

// Measure is what is compared.
type Measure string

const (
	// CPU is processor time.
	CPU Measure = "cpu"
	// Wall is the time that passes.
	Wall Measure = "wall"
)

// ReadSpec reads a spec and completes it.
func ReadSpec(r io.Reader) (Spec, error) {
	var s Spec
	limited := &io.LimitedReader{R: r, N: maxSpec + 1}
	d := json.NewDecoder(limited)
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		if limited.N <= 0 {
			err = fmt.Errorf("it is longer than %d MiB", maxSpec>>20)
		}
		return Spec{}, fmt.Errorf("read what is to be measured: %w", err)
	}
	if err := s.Check(); err != nil {
		return Spec{}, fmt.Errorf("read what is to be measured: %w", err)
	}
	return s.complete(), nil
}

// Check says what is wrong with a spec, in words for its author.
func (s Spec) Check() error {
	switch {
	case len(s.Command) == 0:
		return errors.New("there is no command of the learner's")
	case s.UID <= 0 || s.GID <= 0:
		return errors.New("the learner's command runs as a user and group other than root: set uid and gid")
	case s.UID == User || s.GID == User:
		return fmt.Errorf("user and group %d are the lab's own programs'", User)
	case s.Measure != "" && s.Measure != CPU && s.Measure != Wall:
		return fmt.Errorf("measure is %q: it is %s or %s", s.Measure, CPU, Wall)
	case s.Rounds != 0 && s.Rounds < MinRounds || s.Rounds > MaxRounds:
		return fmt.Errorf("there are %d rounds: %d to %d give a result", s.Rounds, MinRounds, MaxRounds)
	case s.Timeout < 0 || s.Timeout > MaxTimeout:
		return fmt.Errorf("the timeout is %v: a run takes at most %v", s.Timeout, MaxTimeout)
	case s.Precision < 0 || s.Precision >= 1:
		return fmt.Errorf("the precision is %v: it is a part of the ratio, between 0 and 1", s.Precision)
	case s.Memory < 0:
		return fmt.Errorf("the memory is %d bytes", s.Memory)
	case s.Generate == nil && len(s.Inputs) == 0:
		return errors.New("there are no inputs, and no program that generates them")
	case s.Generate != nil && len(s.Inputs) > 0:
		return errors.New("there are inputs, and a program that generates them: want one of both")
	}
	if err := s.Baseline.check("baseline"); err != nil {
		return err
	}
	if s.Generate != nil {
		return s.Generate.check("generate")
	}
	return nil
}

func (p Program) check(name string) error {
	if len(p.Command) == 0 {
		return fmt.Errorf("%s has no command", name)
	}
	if len(p.Files) > maxFiles {
		return fmt.Errorf("%s has %d files: at most %d", name, len(p.Files), maxFiles)
	}
	for file := range p.Files {
		if !filepath.IsLocal(file) || strings.ContainsRune(file, 0) || filepath.Clean(file) == "." {
			return fmt.Errorf("%s: %q is no name of a file below its directory", name, file)
		}
	}
	return nil
}

func (s Spec) complete() Spec {
	if s.Directory == "" {
		s.Directory = "/"
	}
	if s.Measure == "" {
		s.Measure = CPU
	}
	if s.Rounds == 0 {
		s.Rounds = DefaultRounds
	}
	if s.Precision == 0 {
		s.Precision = DefaultPrecision
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.Memory == 0 {
		s.Memory = DefaultMemory
	}
	return s
}

// Report is what was measured. Without Error and with Correct there is a ratio.
type Report struct {
	// Rounds are those that were counted, and one that went wrong.
	Rounds []Round `json:"rounds,omitempty"`
	// Correct: in every round the learner's program printed what the baseline
	// printed, white space at the ends of lines and of the output left out.
	Correct bool `json:"correct"`
	// Wrong says what the learner's program did instead, in words for the learner.
	Wrong      string      `json:"wrong,omitempty"`
	Difference *Difference `json:"difference,omitempty"`
	// Ratio is the median of the rounds' ratios, learner to baseline: 0.5 is twice as
	// fast. It is between Low and High with a probability of at least 95 %.
	Ratio float64 `json:"ratio,omitempty"`
	Low   float64 `json:"low,omitempty"`
	High  float64 `json:"high,omitempty"`
	// Error says why nothing could be measured, which is not the fault of the learner's program.
	Error string `json:"error,omitempty"`
}

// Round is one comparison, in seconds of what is measured.
type Round struct {
	Seed     uint32  `json:"seed"` // of the generator; of given inputs, which one
	Baseline float64 `json:"baseline"`
	Learner  float64 `json:"learner"`
	Equal    bool    `json:"equal"`
}

// Difference is the first line in which two outputs differ, cut to a length to be read.
type Difference struct {
	Line int    `json:"line"` // from 1
	Want string `json:"want"`
	Got  string `json:"got"`
}
