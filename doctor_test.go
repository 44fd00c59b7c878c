package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"drydock/sandbox/engine"
)

// Without an engine doctor says so, names the command that mends it, still looks
// at what it can, and fails.
func TestDoctorWithoutAnEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	var out bytes.Buffer
	cmd := newDoctorCommand()
	cmd.SetArgs([]string{"--offline"})
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, errReported) {
		t.Errorf("it ended with %v", err)
	}
	for _, want := range []string{"wrong  engine", "mend: " + engine.SetupCommand, "SQLite with full-text search"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "build tools") {
		t.Errorf("--offline looked at what only building needs:\n%s", &out)
	}
}

func TestDoctorTriesFullTextSearch(t *testing.T) {
	if err := tryFullTextSearch(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDoctorFindings(t *testing.T) {
	findings := []engine.Finding{
		toolsFinding(nil),
		toolsFinding([]string{"mmdebstrap"}),
		databaseFinding(errors.New("no such module: fts5")),
	}
	var out bytes.Buffer
	if err := printFindings(&out, findings, false); err != nil {
		t.Fatal(err)
	}
	want := `ok     build tools           go, gcc and mmdebstrap
warn   build tools           missing: mmdebstrap; only "drydock image build" needs them
                             mend: sandbox/engine/setup.sh up
wrong  database              SQLite without full-text search: no such module: fts5
                             mend: make build (it sets the build tag sqlite_fts5)
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}

	out.Reset()
	if err := printFindings(&out, findings, true); err != nil {
		t.Fatal(err)
	}
	var read []engine.Finding
	if err := json.Unmarshal(out.Bytes(), &read); err != nil || len(read) != len(findings) || read[1] != findings[1] {
		t.Errorf("as JSON: %+v, %v", read, err)
	}
}
