package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestInstanceIsNamedOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	names := make([]string, 8)
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() {
			var err error
			if names[i], err = instanceID(data); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if slices.Sort(names); names[0] == "" || names[0] != names[len(names)-1] {
		t.Errorf("commands that start together name it %q", names)
	}
	left, err := os.ReadDir(data)
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v; want the name alone", left, err)
	}
}

// After a power cut a file can be there and empty.
func TestInstanceWithoutANameGetsOne(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, instanceFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if name, err := instanceID(data); name == "" || err != nil {
		t.Errorf("the name is %q, %v", name, err)
	}
}

func TestChildIsNotStartedInTheBackground(t *testing.T) {
	for _, flag := range []string{"--background", "--background=true", "--background=1", "--background=T"} {
		if got := withoutBackground([]string{"serve", flag, "--data", "d"}); !slices.Equal(got, []string{"serve", "--data", "d"}) {
			t.Errorf("with %s the child is started with %q", flag, got)
		}
	}
}

func TestAddressOfAllInterfacesCanBeOpened(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80", "0.0.0.0:8080": "http://localhost:8080", "[::]:8080": "http://localhost:8080", "[::1]:80": "http://[::1]:80",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := localURL(tcp); got != want {
			t.Errorf("%s is reached at %s, want %s", addr, got, want)
		}
	}
}

// drydock runs the program and returns what it printed.
func drydock(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(program(t), args...).CombinedOutput()
	return string(out), err
}

func TestServeInTheBackground(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	serve := []string{"serve", "--data", data, "--addr", "127.0.0.1:0", "--background=1"}
	t.Cleanup(func() {
		if out, err := drydock(t, "serve", "--stop", "--data", data); err != nil {
			t.Errorf("stop: %v\n%s", err, out)
		}
	})
	out, err := drydock(t, serve...)
	if err != nil || !strings.Contains(out, "Drydock is at http://127.0.0.1:") || !strings.Contains(out, "/setup/") {
		t.Fatalf("start: %v\n%s", err, out)
	}
	if out, err := drydock(t, "healthcheck", "--data", data); err != nil {
		t.Errorf("healthcheck: %v\n%s", err, out)
	}
	pid := lockHolder(data)
	if out, err = drydock(t, serve...); err != nil || !strings.Contains(out, "it was running already") || lockHolder(data) != pid {
		t.Errorf("a second start: %v\n%s", err, out)
	}
	if out, err = drydock(t, "serve", "--data", data); err == nil || !strings.Contains(out, "another Drydock") {
		t.Errorf("a second server with the directory: %v\n%s", err, out)
	}
	if out, err = drydock(t, "serve", "--stop", "--data", data); err != nil || serverRuns(data) {
		t.Errorf("stop: %v\n%s", err, out)
	}
	if out, err = drydock(t, "serve", "--stop", "--data", data); err != nil || !strings.Contains(out, "No Drydock runs") {
		t.Errorf("a second stop: %v\n%s", err, out)
	}
}

func TestServeRefusesSettingsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--idle", "0", "--idle 0s: it must be 1s or more"},
		{"--idle", "-5m", "--idle -5m0s: it must be 1s or more"},
		{"--idle", "900ms", "it must be 1s or more"},
		{"--starts", "-1", "--starts -1: it must be 1 or more"},
		{"--spares", "-2", "--spares -2: it must be 0"},
		{"--sessions-per-learner", "0", "or -1 for any number"},
		{"--sessions-per-learner", "-2", "or -1 for any number"},
		{"--memory", "-1GiB", "write it like 16GiB"},
	} {
		cmd := newServeCommand()
		cmd.SetArgs([]string{"--data", filepath.Join(t.TempDir(), "data"), "--addr", "127.0.0.1:0", c.flag + "=" + c.value})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("serve %s %s: %v, want %q", c.flag, c.value, err, c.want)
		}
	}
}

func TestDrainingIsKeptInTheDataDirectory(t *testing.T) {
	data := t.TempDir()
	keep := keepDraining(data)
	for _, on := range []bool{false, true, true, false} {
		if err := keep(on); err != nil {
			t.Fatal(err)
		}
		if got, err := drains(data); err != nil || got != on {
			t.Errorf("kept %v, read %v, %v", on, got, err)
		}
	}
	if err := keepDraining(filepath.Join(data, "gone"))(true); err == nil {
		t.Error("what can't be kept is no error")
	}
}

func TestServeInTheBackgroundSaysWhyItCannot(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(t.TempDir(), "data")
	out, err := drydock(t, "serve", "--background", "--data", data, "--addr", taken.Addr().String())
	if err == nil || !strings.Contains(out, "another server there?") {
		t.Errorf("with a port that is taken: %v\n%s", err, out)
	}
	if serverRuns(data) {
		t.Error("a server runs")
	}
}
