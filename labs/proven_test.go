package labs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drydock/labs/catalogue"
)

func TestProofIsRecorded(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, catalogue.FS()); err != nil {
		t.Fatal(err)
	}
	load := func() *Lab {
		t.Helper()
		lab, err := LoadLab(os.DirFS(dir), "full-disk")
		if err != nil {
			t.Fatal(err)
		}
		return lab
	}
	folder := filepath.Join(dir, "full-disk")
	if err := os.Remove(filepath.Join(folder, provenFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	before := load()
	if before.Proven != nil || before.ProvenNow() {
		t.Errorf("proven before it was: %+v", before.Proven)
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 7, time.FixedZone("", 3600))
	want := Proven{Version: before.Version, At: at, Kubernetes: "v1.37.2", Image: "node f8b7fea8ab49", Drydock: "0.1.0", Cases: 42}
	if err := want.Record(folder); err != nil {
		t.Fatal(err)
	}
	lab := load()
	if lab.Version != before.Version {
		t.Error("the record of a proof changed the lab's version")
	}
	want.At = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	if lab.Proven == nil || *lab.Proven != want || !lab.ProvenNow() || lab.Proven.On() != "Kubernetes 1.37.2" {
		t.Errorf("recorded %+v", lab.Proven)
	}
	if left, err := filepath.Glob(filepath.Join(folder, provenFile+".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "files.md"), []byte("more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lab := load(); lab.ProvenNow() || lab.Proven == nil {
		t.Error("a lab that was changed since counts as proven")
	}
}

func TestProofThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"{":                                "unexpected end of JSON",
		"{}":                               "does not say which version",
		strings.Repeat(" ", maxProven+1):   "too large",
		`{"version":"x","at":"yesterday"}`: "can't be read",
		`{"version":"x","at":"2026-11-23T00:00:00Z","more":1}`: "", // of a later Drydock
	} {
		files := copyOf(t, "full-disk", map[string][]byte{provenFile: []byte(text)})
		_, err := LoadLab(files, "full-disk")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "full-disk/_proof.json: ")) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
