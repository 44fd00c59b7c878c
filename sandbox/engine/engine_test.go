package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

// connect returns a client of this machine's engine. These tests are about the
// real one: a machine without an engine fails them, "go test -short" leaves them out.
func connect(t *testing.T) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	cli, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	if _, err := Ping(t.Context(), cli); err != nil {
		t.Fatal(err)
	}
	return cli
}

func TestPingNamesTheEngine(t *testing.T) {
	v, err := Ping(t.Context(), connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if v.Name == "" || v.Number == "" || v.API == "" || v.Host == "" {
		t.Errorf("incomplete: %+v", v)
	}
}

func TestOpenTakesTheFirstSocketThatAccepts(t *testing.T) {
	dir := t.TempDir()
	// A socket file whose owner is gone, and one that is served.
	dead, live := filepath.Join(dir, "dead.sock"), filepath.Join(dir, "live.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	served, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()

	cli, err := open([]string{filepath.Join(dir, "none.sock"), dead, live})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if got := cli.DaemonHost(); got != "unix://"+live {
		t.Errorf("opened %s", got)
	}

	_, err = open([]string{filepath.Join(dir, "none.sock"), dead})
	if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), SetupCommand) {
		t.Errorf("without a served socket: %v", err)
	}
}

func TestPingOfNothing(t *testing.T) {
	cli, err := client.New(client.WithHost("unix://" + filepath.Join(t.TempDir(), "none.sock")))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if _, err := Ping(t.Context(), cli); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
	if f := ProbePrivileged(t.Context(), cli); f.Level != Wrong || f.Mend == "" {
		t.Errorf("the privileged probe without an engine: %+v", f)
	}
}

// The probe's program is written by hand: it must run, and do nothing else than end well.
func TestExitProgramRuns(t *testing.T) {
	program, err := exitProgram(hostMachine())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v, output %q", err, out)
	}
	if _, err := exitProgram(0); err == nil {
		t.Error("an unknown processor got a program")
	}
}

func TestProbesOfThisMachine(t *testing.T) {
	cli := connect(t)
	for _, f := range []Finding{
		ProbePrivileged(t.Context(), cli),
		ProbeCommand(t.Context(), cli),
		ProbeCgroup(t.Context(), cli),
		ProbeInotify(cli),
		ProbeLoops(cli),
		ProbeMemory(t.Context(), cli),
		ProbeDisk(t.Context(), cli),
		ProbeNetworks(t.Context(), cli),
	} {
		if f.Level == Wrong {
			t.Errorf("%s: %s (mend: %s)", f.Name, f.Found, f.Mend)
		}
		if f.Found == "" || (f.Level != OK) != (f.Mend != "") {
			t.Errorf("incomplete: %+v", f)
		}
	}
	if _, err := cli.ImageInspect(context.WithoutCancel(t.Context()), probeRef); err == nil {
		t.Errorf("%s was left behind", probeRef)
	}
}

func TestCommandFindsNoEngine(t *testing.T) {
	cli, err := client.New(client.WithHost("unix://" + filepath.Join(t.TempDir(), "none.sock")))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if f := ProbeCommand(t.Context(), cli); f.Level != Wrong || f.Mend == "" {
		t.Errorf("without an engine: %+v", f)
	}
	t.Setenv("PATH", t.TempDir())
	if f := ProbeCommand(t.Context(), cli); f.Level != Wrong || !strings.Contains(f.Found, "not installed") {
		t.Errorf("without the command: %+v", f)
	}
}

func TestFindings(t *testing.T) {
	tests := []struct {
		name  string
		f     Finding
		level Level
	}{
		{"cgroup v2", cgroupFinding("2", "systemd"), OK},
		{"cgroup v1", cgroupFinding("1", "cgroupfs"), Warn},
		{"inotify as Debian sets it", inotifyFinding(192536, 128), Warn},
		{"inotify as kind advises", inotifyFinding(524288, 512), Warn},
		{"no loop devices", loopFinding(false, 0), Wrong},
		{"loop devices", loopFinding(true, 3), OK},
		{"inotify raised", inotifyFinding(inotifyWatches, inotifyInstances), OK},
		{"memory for nothing", memoryFinding(1<<30, 2<<30, 1), Wrong},
		{"memory for one", memoryFinding(3<<30, 4<<30, 2), Warn},
		{"memory for a class", memoryFinding(30<<30, 32<<30, 8), OK},
		{"disk full", diskFinding(1<<30, "/d"), Wrong},
		{"disk short", diskFinding(10<<30, "/d"), Warn},
		{"disk ample", diskFinding(100<<30, "/d"), OK},
		{"no networks", networksFinding(0), Wrong},
		{"few networks", networksFinding(5), Warn},
		{"many networks", networksFinding(500), OK},
		{"no engine", EngineFinding(Version{}, ErrNotRunning), Wrong},
	}
	for _, tt := range tests {
		if tt.f.Level != tt.level {
			t.Errorf("%s: %s, want %s", tt.name, tt.f.Level, tt.level)
		}
		if (tt.f.Level == OK) != (tt.f.Mend == "") {
			t.Errorf("%s: level %s with mend %q", tt.name, tt.f.Level, tt.f.Mend)
		}
	}
}

func TestParseAvailable(t *testing.T) {
	got, err := parseAvailable("MemTotal:       24685112 kB\nMemFree:         1 kB\nMemAvailable:   23092568 kB\n")
	if err != nil || got != 23092568<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parseAvailable("MemTotal: 1 kB\n"); err == nil {
		t.Error("nothing was missed")
	}
}

func TestNetworksLeft(t *testing.T) {
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	small := []pool{{netip.MustParsePrefix("172.18.0.0/16"), 26}}
	tests := []struct {
		name  string
		pools []pool
		used  []netip.Prefix
		want  int
	}{
		{"our own pool", small, nil, 1024},
		{"two used", small, prefixes("172.18.0.0/26", "172.18.0.64/26"), 1022},
		{"a larger one takes the place of several", small, prefixes("172.18.4.0/24"), 1020},
		{"all of it is used", small, prefixes("172.0.0.0/8"), 0},
		{"one elsewhere does not count", small, prefixes("10.0.0.0/8", "fc00::/64"), 1024},
		{"Docker's own", nil, prefixes("172.17.0.0/16"), 30},
	}
	for _, tt := range tests {
		if got := networksLeft(tt.pools, tt.used); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// The set-up script says that all is well wherever these tests can pass, and
// changes nothing to find out.
func TestSetupCheck(t *testing.T) {
	connect(t)
	out, err := exec.CommandContext(t.Context(), "./setup.sh", "check", "--engine-only").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "privileged containers run") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), "./setup.sh", "sideways").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "usage:") {
		t.Errorf("an unknown command: %v\n%s", err, out)
	}
}

// runBounded runs the runtime wrapper without CAP_SYS_RESOURCE, with a runc that does nothing.
func runBounded(t *testing.T, args ...string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "runc"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	wrapper, err := filepath.Abs("runc-bounded.sh")
	if err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"setpriv", "--bounding-set", "-sys_resource", wrapper}, args...)
	if os.Getuid() != 0 {
		argv = append([]string{"unshare", "--map-root-user"}, argv...) // only root may change the bounding set
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestRuntimeWrapperDropsLackingCapabilities(t *testing.T) {
	const process = `{"args":["sh"],"capabilities":{"bounding":["CAP_SYS_RESOURCE","CAP_CHOWN"],"effective":["CAP_SYS_RESOURCE"]}}`
	read := func(path string) (p struct {
		Args         []string
		Capabilities map[string][]string
	}) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"process"`) {
			var c struct{ Process json.RawMessage }
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			text = c.Process
		}
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	check := func(t *testing.T, path string) {
		t.Helper()
		p := read(path)
		if len(p.Args) != 1 || strings.Join(p.Capabilities["bounding"], " ") != "CAP_CHOWN" || len(p.Capabilities["effective"]) != 0 {
			t.Errorf("left: %+v", p)
		}
	}
	for name, args := range map[string]func(bundle, process string) []string{
		"create":      func(b, _ string) []string { return []string{"--root", "/r", "create", "--bundle", b, "id"} },
		"create with": func(b, _ string) []string { return []string{"create", "--bundle=" + b, "id"} },
		"run":         func(b, _ string) []string { return []string{"--log", "x", "run", "-b", b, "id"} },
	} {
		t.Run(name, func(t *testing.T) {
			bundle := t.TempDir()
			config := filepath.Join(bundle, "config.json")
			if err := os.WriteFile(config, []byte(`{"process":`+process+`}`), 0o600); err != nil {
				t.Fatal(err)
			}
			runBounded(t, args(bundle, "")...)
			check(t, config)
		})
	}
	t.Run("exec", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "process.json")
		if err := os.WriteFile(file, []byte(process), 0o600); err != nil {
			t.Fatal(err)
		}
		runBounded(t, "exec", "--process", file, "id")
		check(t, file)
	})
	t.Run("nothing to drop from", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "process.json")
		if err := os.WriteFile(file, []byte(`{"args":["sh"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		runBounded(t, "exec", "--process", file, "id")
		if p := read(file); len(p.Args) != 1 || p.Capabilities != nil {
			t.Errorf("left: %+v", p)
		}
	})
}
