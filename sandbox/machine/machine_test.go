package machine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/image"
	"drydock/sandbox/sandboxtest"
)

// testInstance keeps the tests' sandboxes apart from those of a server on the same engine.
const testInstance = "machinetest"

func newTestProvider(t *testing.T, host ...client.Opt) *Provider {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	cli, err := client.New(append([]client.Opt{client.FromEnv}, host...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	p, err := New(Config{Instance: testInstance, Image: image.MachineRef, Engine: cli})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProvider needs the engine and the image: without them it fails and says what to run.
func TestProvider(t *testing.T) {
	p := newTestProvider(t)
	if _, err := p.List(t.Context()); err != nil {
		t.Fatalf("%v\n\"make up\" starts the engine", err)
	}
	sandboxtest.Test(t, func(t *testing.T) sandbox.Provider { return newTestProvider(t) }, engineOf{p})
}

func TestDeadEngine(t *testing.T) {
	p := newTestProvider(t, client.WithHost("unix://"+filepath.Join(t.TempDir(), "nobody.sock")))
	ctx := t.Context()
	_, listErr := p.List(ctx)
	_, createErr := p.Create(ctx, sandbox.Spec{Session: "dead1"}, nil)
	_, execErr := p.Exec(ctx, "dead1", sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"true"}})
	for name, err := range map[string]error{
		"List": listErr, "Create": createErr, "Exec": execErr, "Freeze": p.Freeze(ctx, "dead1"), "Sweep": p.Sweep(ctx),
	} {
		if !errors.Is(err, sandbox.ErrEngine) || errors.Is(err, sandbox.ErrNotFound) {
			t.Errorf("%s: %v, want ErrEngine", name, err)
		}
	}
}

func TestMissingImage(t *testing.T) {
	p := newTestProvider(t)
	p.cfg.Image = "drydock/machine:nosuchtag"
	_, err := p.Create(t.Context(), sandbox.Spec{Session: "image1"}, nil)
	if !errors.Is(err, sandbox.ErrNoImage) || !strings.Contains(err.Error(), "drydock image build") {
		t.Errorf("without its image: %v, want ErrNoImage and the command that makes it", err)
	}
}

// engineOf does to the engine beneath a provider what the suite asks for.
type engineOf struct{ *Provider }

// Interrupt kills the container, as the end of the machine's power does.
func (e engineOf) Interrupt(ctx context.Context, session string) error {
	c, err := e.find(ctx, session)
	if err != nil {
		return err
	}
	_, err = e.cfg.Engine.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
	return err
}

// Remains looks for everything of the test's instance that could be the session's.
func (e engineOf) Remains(ctx context.Context, session string) ([]string, error) {
	var left []string
	for _, args := range [][]string{
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "name=-for-" + session + "-"},
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "label=" + dock.LabelInstance + "=" + testInstance},
		{"volume", "ls", "--format", "{{.Name}}", "--filter", "label=" + dock.LabelInstance + "=" + testInstance},
	} {
		out, err := exec.CommandContext(ctx, "docker", args...).Output()
		if err != nil {
			return nil, fmt.Errorf("docker %v: %w", args, err)
		}
		for line := range strings.Lines(string(out)) {
			left = append(left, args[0]+" "+strings.TrimSpace(line))
		}
	}
	return left, nil
}

// Reachable says whether the machine has a way to anywhere: without one, no
// other session's can be reached.
func (e engineOf) Reachable(ctx context.Context, p sandbox.Provider, session string) (bool, error) {
	res, err := p.Exec(ctx, session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"sh", "-c", "ls /sys/class/net; ip route; ip -6 route show table all | grep -v ' dev lo '"}})
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(string(res.Stdout)) != "lo", nil
}

// Inspect looks at what only a machine has.
func (e engineOf) Inspect(t *testing.T, p sandbox.Provider, session string) {
	t.Run("Tools", func(t *testing.T) { e.tools(t, session) })
	t.Run("Refused", func(t *testing.T) { sandboxtest.Attack(t, e.Provider, session) })
	t.Run("Bounded", func(t *testing.T) { e.bounded(t, session) })
	t.Run("RootOfTheMachine", func(t *testing.T) { e.root(t, session) })
	t.Run("Usage", func(t *testing.T) { e.measured(t, session) })
}

func (e engineOf) script(t *testing.T, session string, where sandbox.Where, script string) sandbox.Result {
	t.Helper()
	res, err := e.Exec(t.Context(), session, sandbox.Command{Where: where, Argv: []string{"timeout", "60", "bash", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// mayUnless is a script for what the host may forbid by a setting of its kernel:
// where the setting is above most, it prints what the script would.
func mayUnless(setting string, most int, script, prints string) string {
	return fmt.Sprintf("if [ $(cat /proc/sys/kernel/%s 2>/dev/null || echo 0) -gt %d ]; then echo '%s'; else %s; fi", setting, most, prints, script)
}

// tools are what the labs are about, used by the learner.
func (e engineOf) tools(t *testing.T, session string) {
	for script, want := range map[string]string{
		"strace -f -e trace=openat cat /etc/hostname 2>&1": "/etc/hostname",
		mayUnless("yama/ptrace_scope", 0, "sleep 50 & p=$!; strace -p $p -o /tmp/trace & until grep -q '^TracerPid:.[1-9]' /proc/$p/status; do :; done; kill $p; wait; cat /tmp/trace", "SIGTERM"): "SIGTERM",
		mayUnless("yama/ptrace_scope", 0, "sleep 51 & gdb -p $! -batch -ex bt 2>&1; kill %1", "#0 "):                                                                                               "#0 ",
		"cd /tmp && printf 'int main(void){return 42;}' >a.c && gcc -g -o a a.c; ./a; echo $?":                                                                                                     "42",
		"gdb -batch -ex run -ex 'info inferiors' /bin/true 2>&1":                                                                                                                                   "exited normally",
		"exec 9</etc/hostname; lsof -p $$; exec 9<&-":                                                                                                                                              "/etc/hostname",
		"lsns -p $$ -o TYPE": "user",
		"cat /proc/self/cgroup /proc/1/cgroup | wc -l; ls /sys/fs/cgroup":                              "mem",
		"python3 -m http.server 8000 -b 127.0.0.1 & until curl -s 127.0.0.1:8000; do :; done; kill %1": "Directory listing",
		"ping -c1 127.0.0.1":                  "1 received",
		"pidstat 1 1; vmstat; ps aux; ss -lx": "drydock/shell.sock",
		mayUnless("perf_event_paranoid", 2, "perf stat -e task-clock true 2>&1", "task-clock"): "task-clock",
		"find / -xdev -perm /6000 -type f; echo none":                                          "none",
		"hostname; getent hosts lab":                                                           "127.0.1.1",
	} {
		if res := e.script(t, session, sandbox.InTerminal, script); !strings.Contains(string(res.Stdout), want) {
			t.Errorf("%s: exit %d, %s%s, want %q in it", script, res.ExitCode, res.Stdout, res.Stderr, want)
		}
	}
}

// bounded runs into the limits: that is the effect they have, and the server
// can look all the while.
func (e engineOf) bounded(t *testing.T, session string) {
	bomb := `ulimit -u; for i in {1..600}; do sleep 20 & done 2>&1 | grep -m1 -o 'Resource temporarily unavailable'; sleep 1`
	done := make(chan sandbox.Result, 1)
	go func() {
		res, _ := e.Exec(context.WithoutCancel(t.Context()), session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"bash", "-c", bomb}})
		done <- res
	}()
	for range 5 {
		if res := e.script(t, session, sandbox.OnNode, "true"); res.ExitCode != 0 {
			t.Errorf("the server's command failed under a fork bomb: %s", res.Stderr)
		}
	}
	if res := <-done; !strings.Contains(string(res.Stdout), "Resource temporarily unavailable") {
		t.Errorf("600 processes fit: %s%s", res.Stdout, res.Stderr)
	}
	if u := e.usage(t, session); !slices.Contains(u.Short, sandbox.Processes) || u.OutOfMemory {
		t.Errorf("with all processes taken usage is %+v", u)
	}
	e.script(t, session, sandbox.OnNode, "pkill -x sleep; true")

	// 137 is 128 + SIGKILL: the kernel has killed what took too much.
	if res := e.script(t, session, sandbox.InTerminal, "head -c 2G /dev/zero | tail | true; exit ${PIPESTATUS[1]}"); res.ExitCode != 137 {
		t.Errorf("2 GiB of memory: exit %d %s", res.ExitCode, res.Stderr)
	}
	if res := e.script(t, session, sandbox.InTerminal, "echo alive"); string(res.Stdout) != "alive\n" {
		t.Errorf("after a memory hog: %+v", res)
	}
	if u := e.usage(t, session); !u.OutOfMemory || len(u.Short) > 0 {
		t.Errorf("after a memory hog usage is %+v", u)
	}
	for _, dir := range []string{"/tmp", "/home/learner", "/var/tmp"} {
		res := e.script(t, session, sandbox.InTerminal, "head -c 900M /dev/zero >"+dir+"/big; echo $?; stat -c %s "+dir+"/big; rm "+dir+"/big; echo x >"+dir+"/small && rm "+dir+"/small")
		if res.ExitCode != 0 || !strings.HasPrefix(string(res.Stdout), "1\n") {
			t.Errorf("900 MiB in %s: %s%s", dir, res.Stdout, res.Stderr)
		}
	}
	if res := e.script(t, session, sandbox.InTerminal, "head -c 300M /dev/zero >/dev/shm/big; s=$?; rm /dev/shm/big; exit $s"); res.ExitCode == 0 {
		t.Error("300 MiB fit into /dev/shm")
	}
}

// root of the machine can do what setup scripts need, and nothing to the host.
func (e engineOf) root(t *testing.T, session string) {
	for script, want := range map[string]string{
		"mount -t tmpfs -o size=1m x /mnt && stat -f -c %T /mnt && umount /mnt": "tmpfs",
		"ip netns add a && ip link add v type veth peer name w netns a && ip addr add 10.1.0.1/24 dev v && ip link set v up && nsenter --net=/run/netns/a ip addr add 10.1.0.2/24 dev w && nsenter --net=/run/netns/a ip link set w up && ping -c1 -W5 10.1.0.2": "1 received",
		"unshare -pf --mount-proc ps -e | wc -l":                                "2",
		"cat /proc/self/uid_map":                                                fmt.Sprint(0x70000000),
		"echo hi >/etc/motd && chown learner /etc/motd && stat -c %U /etc/motd": "learner",
	} {
		if res := e.script(t, session, sandbox.OnNode, script); !strings.Contains(string(res.Stdout), want) {
			t.Errorf("%s: exit %d, %s%s, want %q in it", script, res.ExitCode, res.Stdout, res.Stderr, want)
		}
	}
	for _, script := range []string{
		"echo 1 >/proc/sys/vm/drop_caches", "echo b >/proc/sysrq-trigger", "echo '|/x' >/proc/sys/kernel/core_pattern", "head -c1 /proc/kcore",
		"mknod /tmp/loop b 7 0", "mount -o remount,rw $(findmnt -rn -o TARGET -t cgroup,cgroup2 | head -1)",
		"mount -t cgroup -o memory x /mnt && echo 1 >/mnt/memory.limit_in_bytes", "date -s 2000-01-01", "dmesg",
		"ls /drydock", "python3 -c 'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); f=os.open(\"/bin/true\",0); os._exit(l.syscall(313,f,b\"\",0)!=0)'",
		"ls /dev/loop* /dev/vd* /dev/sd* 2>/dev/null | grep .", "timeout 3 bash -c 'exec 3<>/dev/tcp/172.17.0.1/22'", "nft list ruleset | grep -i docker",
	} {
		if res := e.script(t, session, sandbox.OnNode, script); res.ExitCode == 0 {
			t.Errorf("the machine's root can: %s\n%s", script, res.Stdout)
		}
	}
}

func (e engineOf) usage(t *testing.T, session string) sandbox.Usage {
	t.Helper()
	info, err := e.Get(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	all, err := e.Usage(t.Context(), info.ID, "nosuchsandbox")
	if err != nil || len(all) != 1 {
		t.Fatalf("usage is %+v, %v", all, err)
	}
	return all[info.ID]
}

func (e engineOf) measured(t *testing.T, session string) {
	u := e.usage(t, session)
	if u.Memory < 1<<20 || u.Memory > 500<<20 || u.CPU <= 0 || u.PIDs < 2 || u.DiskMax != 200<<20 || u.Disk <= 0 || u.Disk > u.DiskMax {
		t.Errorf("usage is %+v", u)
	}
}
