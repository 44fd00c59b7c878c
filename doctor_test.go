package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/firewall"
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

func TestDoctorOfSandboxes(t *testing.T) {
	box := func(id string, use sandbox.Use, state sandbox.State) sandbox.Info {
		return sandbox.Info{ID: id, Use: use, State: state}
	}
	busy := []sandbox.Info{
		box("a", sandbox.Serving, sandbox.Running), box("b", sandbox.Serving, sandbox.Frozen),
		box("c", sandbox.Spare, sandbox.Frozen), box("d", sandbox.Preparing, sandbox.Creating),
	}
	own := parts{containers: []string{"a", "a", "b", "c", "d", "gone", ""}, networks: []string{"a", "gone"}}
	old := fmt.Errorf("%w: its rules are those of another version", firewall.ErrOpen)
	var out bytes.Buffer
	err := printFindings(&out, []engine.Finding{
		templatesFinding(nil, nil),
		templatesFinding([]sandbox.Template{{Size: 180 << 20, Used: 2}, {Size: 20 << 20}}, nil),
		templatesFinding(nil, sandbox.ErrEngine),
		sandboxesFinding(nil, parts{}, false),
		sandboxesFinding(busy, own, true),
		sandboxesFinding(busy, own, false),
		firewallFinding(nil, 4),
		firewallFinding(firewall.ErrOpen, 0),
		firewallFinding(old, 4),
		firewallFinding(errors.New("no such image"), 4),
		gvisorFinding(nil, true),
		gvisorFinding(fmt.Errorf("%w: no such file", sandbox.ErrNoImage), true),
		gvisorFinding(fmt.Errorf("%w: no such file", sandbox.ErrNoImage), false),
		gvisorFinding(errors.New("no machine starts"), true),
		gvisorFinding(errors.New("no machine starts"), false),
		othersFinding(map[string]parts{"mine": own}, "mine"),
		othersFinding(map[string]parts{"mine": own, "zed": {networks: []string{"x"}}, "abc": {containers: []string{"x", "y"}}}, "mine"),
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `ok     templates             none yet; the first start of a lab makes one
ok     templates             2, of 200MiB together; without a copy at this moment: 1
warn   templates             the container engine does not answer
                             mend: sandbox/engine/setup.sh up
ok     sandboxes             serving sessions: 0 (asleep: 0), spares: 0, kept: 0
ok     sandboxes             serving sessions: 2 (asleep: 1), spares: 1, kept: 0; being made or removed: 1
warn   sandboxes             serving sessions: 2 (asleep: 1), spares: 1, kept: 0; left over: 1 half made or half removed, 2 parts of others
                             mend: "drydock sandbox prune" with the same --data, or the next "drydock serve"
ok     firewall              in place: sandboxes reach nothing but themselves
ok     firewall              not in place, and there are no sandboxes: the first one's start puts it there
wrong  firewall              the sandboxes' firewall is not in place: its rules are those of another version; sandboxes can reach this machine and its network
                             mend: a running server puts the rules back within some minutes; "drydock sandbox remove --all" until then
warn   firewall              no such image
                             mend: drydock image build, if the node image is missing; else the engine's log
ok     gVisor                runs (tried): machine labs need no engine
ok     gVisor                not built; machine labs would need it only without an engine
warn   gVisor                not built; without an engine no lab runs
                             mend: drydock image build --no-engine
ok     gVisor                does not run here, and is needed only without an engine: no machine starts
warn   gVisor                no machine starts
                             mend: sandbox/engine/setup.sh up
ok     other instances       none on this engine
warn   other instances       of other data directories: abc (containers: 2, networks: 0), zed (containers: 0, networks: 1)
                             mend: where that directory is gone for good, for each NAME: docker rm -fv $(docker ps -aq --filter label=drydock.instance=NAME); docker network prune -f --filter label=drydock.instance=NAME
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// A look at a directory that is not there makes none, and a part is looked at where it is.
func TestDoctorMakesNoDataDirectory(t *testing.T) {
	needsEngine(t)
	data := filepath.Join(t.TempDir(), "none")
	out, err := exec.Command(program(t), "doctor", "--offline", "--json", "--data", data).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var findings []engine.Finding
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatal(err)
	}
	found := map[string]engine.Finding{}
	for _, f := range findings {
		found[f.Name] = f
		if f.Found == "" || (f.Level == engine.OK) != (f.Mend == "") {
			t.Errorf("incomplete: %+v", f)
		}
	}
	for _, name := range []string{"engine", "control groups", "inotify limits", "loop devices", "memory", "images", "data directory", "other instances"} {
		if _, there := found[name]; !there {
			t.Errorf("nothing is said of: %s", name)
		}
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
}
