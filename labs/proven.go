package labs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// provenFile is where a lab keeps when it was last proven. Its name begins
// with an underscore: it is no part of the lab's version.
const provenFile = "_proof.json"

// maxProven bounds it, in bytes; it has a few hundred.
const maxProven = 16 << 10

// Proven says when a lab was last proven, and on what.
type Proven struct {
	Version    string    `json:"version"` // of the lab, as it was then
	At         time.Time `json:"at"`
	Kubernetes string    `json:"kubernetes,omitempty"` // such as v1.37.2; empty for a machine
	Image      string    `json:"image"`                // that sandboxes were made of: node or machine, and the hash of its recipe
	Drydock    string    `json:"drydock"`              // the version of Drydock
	Cases      int       `json:"cases"`                // that were tried
}

// On is what the lab was proven on, in words.
func (p *Proven) On() string {
	if p.Kubernetes != "" {
		return "Kubernetes " + strings.TrimPrefix(p.Kubernetes, "v")
	}
	name, recipe := p.Image, ""
	if i := strings.LastIndex(p.Image, " "); i >= 0 {
		name, recipe = p.Image[:i], p.Image[i:]
	}
	return name + " image" + recipe
}

// ProvenNow reports whether the lab was proven as it is, and not only an
// older version of it.
func (l *Lab) ProvenNow() bool { return l.Proven != nil && l.Proven.Version == l.Version }

// Record writes down, in the lab's folder on disk, that it was proven.
func (p Proven) Record(folder string) (err error) {
	p.At = p.At.UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("write down the proof: %w", err)
	}
	fresh, err := os.CreateTemp(folder, provenFile+".*") // whole or not at all
	if err != nil {
		return fmt.Errorf("write down the proof: %w", err)
	}
	defer func() { err = errors.Join(err, removeIfThere(fresh.Name())) }()
	_, err = fresh.Write(append(text, '\n'))
	if err = errors.Join(err, fresh.Chmod(0o644), fresh.Close()); err == nil {
		err = os.Rename(fresh.Name(), filepath.Join(folder, provenFile))
	}
	if err != nil {
		return fmt.Errorf("write down the proof: %w", err)
	}
	return nil
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readProven returns nil for a lab that was never proven.
func readProven(folder fs.FS) (*Proven, error) {
	text, err := readBounded(folder, provenFile, maxProven)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	p := &Proven{}
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	if err == nil && (p.Version == "" || p.At.IsZero()) {
		err = errors.New("it does not say which version was proven, and when")
	}
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w; remove it, or let `drydock lab test --record` write it anew", err)
	}
	return p, nil
}
