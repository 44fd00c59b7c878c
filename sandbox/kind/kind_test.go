package kind

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"sigs.k8s.io/kind/pkg/cluster"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/image"
	"drydock/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	// The provider runs its program again to create a cluster: here, the test binary.
	if len(os.Args) == 2 && os.Args[1] == ChildName {
		if err := RunChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(serverRole) != "" {
		os.Exit(createUntilKilled())
	}
	os.Exit(m.Run())
}

// testInstance keeps the tests' sandboxes apart from those of a server on the same engine.
const testInstance = "kindtest"

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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{
		Instance: testInstance, NodeImage: image.NodeRef, TerminalImage: image.TerminalRef,
		StateDir: t.TempDir(), Engine: cli, Self: self,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProvider needs the engine and the images: without them it fails and says what to run.
func TestProvider(t *testing.T) {
	p := newTestProvider(t)
	if _, err := p.List(t.Context()); err != nil {
		t.Fatalf("%v\n\"make up\" starts the engine", err)
	}
	sandboxtest.Test(t, func(t *testing.T) sandbox.Provider { return newTestProvider(t) }, engineOf{p})
}

const (
	// serverRole in the environment makes the test binary a server that creates a sandbox.
	serverRole    = "DRYDOCK_TEST_SERVER"
	killedSession = "killed1"
)

// createUntilKilled creates a sandbox and prints the stages as they begin.
func createUntilKilled() int {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	p, err := New(Config{
		Instance: testInstance, NodeImage: image.NodeRef, TerminalImage: image.TerminalRef,
		StateDir: os.Getenv(serverRole), Engine: cli, Self: self,
	})
	if err == nil {
		_, err = p.Create(context.Background(), sandbox.Spec{Session: killedSession}, func(s sandbox.Stage) {
			if !s.Done {
				fmt.Println("stage:", s.Name)
			}
		})
	}
	fmt.Println("failed:", err)
	return 1
}

// TestKilledServer kills a server at the worst moment, while the engine makes
// the node. The next one finds what is left and removes it, and no process goes on.
func TestKilledServer(t *testing.T) {
	p := newTestProvider(t)
	t.Cleanup(func() {
		if err := p.Sweep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), serverRole+"="+t.TempDir())
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "stage: "+startNode {
		if strings.HasPrefix(lines.Text(), "failed") {
			t.Fatal(lines.Text())
		}
	}
	child := onlyChild(t, server.Process.Pid)
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // killed

	infos, err := p.List(t.Context())
	if err != nil || len(infos) != 1 || infos[0].State != sandbox.Creating || infos[0].Use != sandbox.Preparing {
		t.Errorf("what is left of a creation is %+v, %v", infos, err)
	}
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(cancelGrace)
	for syscall.Kill(child, 0) == nil && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond) // between two looks
	}
	if syscall.Kill(child, 0) == nil {
		t.Error("the creating process outlives its server")
	}
	for _, info := range infos {
		if left, err := (engineOf{p}).Remains(t.Context(), info.ID); err != nil || len(left) != 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
}

// onlyChild is the process that a server runs to create its cluster.
func onlyChild(t *testing.T, parent int) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(parent)).Output()
	if err != nil {
		t.Fatalf("find the creating process: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestDeadEngine(t *testing.T) {
	p := newTestProvider(t, client.WithHost("unix://"+filepath.Join(t.TempDir(), "nobody.sock")))
	ctx := t.Context()
	_, listErr := p.List(ctx)
	_, createErr := p.Create(ctx, sandbox.Spec{Session: "dead1"}, nil)
	_, execErr := p.Exec(ctx, "dead1", sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"true"}})
	_, terminalErr := p.Terminal(ctx, "dead1", sandbox.TerminalSpec{Tab: "main"})
	for name, err := range map[string]error{
		"List": listErr, "Create": createErr, "Exec": execErr, "Terminal": terminalErr, "Freeze": p.Freeze(ctx, "dead1"),
	} {
		if !errors.Is(err, sandbox.ErrEngine) || errors.Is(err, sandbox.ErrNotFound) {
			t.Errorf("%s: %v, want ErrEngine", name, err)
		}
	}
}

func TestMissingImage(t *testing.T) {
	p := newTestProvider(t)
	p.cfg.NodeImage = "drydock/node:nosuchtag"
	_, err := p.Create(t.Context(), sandbox.Spec{Session: "image1"}, nil)
	if !errors.Is(err, sandbox.ErrNoImage) || !strings.Contains(err.Error(), "drydock image build") {
		t.Errorf("without its image: %v, want ErrNoImage and the command that makes it", err)
	}
}

func TestDockerWrapper(t *testing.T) {
	script := filepath.Join(t.TempDir(), "docker")
	if err := os.WriteFile(script, dockerWrapper, 0o700); err != nil {
		t.Fatal(err)
	}
	b := &box{names: names{cluster: "c", node: "c-control-plane"}, plan: &plan{version: "v1.2.3", template: "t", engine: system.Info{
		Driver: "overlay2", SecurityOptions: []string{"name=seccomp"}, DriverStatus: [][2]string{{"Backing Filesystem", "extfs"}},
	}}}
	p := &Provider{cfg: Config{Instance: "i"}}
	answers, err := p.answers(b)
	if err != nil {
		t.Fatal(err)
	}
	docker := func(more []string, args ...string) string {
		t.Helper()
		cmd := exec.Command(script, args...)
		cmd.Env = slices.Concat(os.Environ(), answers, []string{"DRYDOCK_DOCKER=" + echo(t), "DRYDOCK_RUN_ARGS=--label=a=b --memory=1", "DRYDOCK_VAR_MOUNT=type=volume,dst=/var"}, more)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("docker %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	nodes := []string{"ps", "-a", "--filter", "label=io.x-k8s.kind.cluster=c", "--format", "{{.Names}}"}
	if out := docker(nil, nodes...); out != "" {
		t.Errorf("before there is a node, kind is told of %q", out)
	}
	for _, test := range []struct{ args, want string }{
		{"ps -a --filter x=y z", "ps|-a|--filter|x=y|z|"},
		{"run --name n --volume /var -v /a:/b image", "run|--label=a=b|--memory=1|--name|n|--mount|type=volume,dst=/var|-v|/a:/b|image|"},
		{"run --hostname h --name n i", "run|--label=a=b|--memory=1|--name|n|i|"},
		{"run --volume /lib/modules:/lib/modules:ro i", "run|--label=a=b|--memory=1|--volume|/lib/modules:/lib/modules:ro|i|"},
		{"exec c sh -c run", "exec|c|sh|-c|run|"},
		// What the server knows.
		{"info -f {{.Driver}}", "overlay2\n"},
		{"info -f {{.Other}}", "info|-f|{{.Other}}|"},
		{"network ls --filter=name=^c$ --format={{.ID}}", "c\n"},
		{"network ls --filter=name=^d$ --format={{.ID}}", "network|ls|--filter=name=^d$|--format={{.ID}}|"},
		{"inspect --type=image drydock/template:i-t", ""},
		{"exec --privileged c-control-plane cat /kind/version", "v1.2.3\n"},
	} {
		if out := docker(nil, strings.Fields(test.args)...); out != test.want {
			t.Errorf("docker %s says %q, want %q", test.args, out, test.want)
		}
	}
	for name, args := range map[string][]string{
		`"name=seccomp"`:                        {"info", "--format", "{{json .}}"},
		`["name=seccomp"]`:                      {"info", "--format", "'{{json .SecurityOptions}}'"},
		`[["Backing Filesystem",`:               {"info", "-f", "{{json .DriverStatus }}"},
		"c-control-plane\n":                     nodes, // the first "docker run" has made it
		"control-plane\n":                       {"inspect", "--format", `{{ index .Config.Labels "io.x-k8s.kind.role"}}`, "c-control-plane"},
		nodeAddress + ",\n":                     {"inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}},{{.GlobalIPv6Address}}{{end}}", "c-control-plane"},
		"run|--label=a=b|--memory=1|-e|A=b c||": {"run", "-e", "A=b c", ""}, // words with spaces stay words
	} {
		if out := docker(nil, args...); !strings.Contains(out, name) {
			t.Errorf("docker %q says %q, want %q in it", args, out, name)
		}
	}
	// What is no copy of a template is configured by kind.
	if out := docker([]string{"DRYDOCK_COPY="}, "exec", "--privileged", "c-control-plane", "mkdir", "-p", "/kind"); out != "exec|--privileged|c-control-plane|mkdir|-p|/kind|" {
		t.Errorf("kind configures a node: %q", out)
	}
}

// echo is a program that prints its arguments, each with a bar after it.
func echo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "echo")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nprintf '%s|' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// engineOf does to the engine beneath a provider what the suite asks for.
type engineOf struct{ *Provider }

// Interrupt kills the containers, the node last, as the end of the machine's power does.
func (e engineOf) Interrupt(ctx context.Context, session string) error {
	id, _, err := e.resolve(ctx, session)
	if err != nil {
		return err
	}
	return e.each(ctx, id, roleTerminal, func(c container.Summary) error {
		_, err := e.cfg.Engine.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
		return err
	})
}

// Remains looks for the labels and, since kind could make something without them, for the names.
func (e engineOf) Remains(ctx context.Context, id string) ([]string, error) {
	name := e.names(id).cluster
	var left []string
	for _, args := range [][]string{
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "label=" + dock.LabelSandbox + "=" + id},
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "name=" + name},
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "name=-for-" + id}, // it may be a session's
		{"network", "ls", "--format", "{{.Name}}", "--filter", "label=" + dock.LabelSandbox + "=" + id},
		{"network", "ls", "--format", "{{.Name}}", "--filter", "name=" + name},
		{"volume", "ls", "--format", "{{.Name}}", "--filter", "label=" + dock.LabelSandbox + "=" + id},
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

// Reachable makes another session's network with a terminal on it, which is
// all that a connection needs, and listens there.
func (e engineOf) Reachable(ctx context.Context, p sandbox.Provider, session string) (reached bool, err error) {
	plan, err := e.plan(ctx, sandbox.Spec{})
	if err != nil {
		return false, err
	}
	enough := errors.New("that was all")
	err = e.box(ctx, plan, func(b *box) error {
		if err := e.startTerminal(ctx, b); err != nil {
			return err
		}
		c, err := e.part(ctx, b.id, roleTerminal)
		if err != nil {
			return err
		}
		if reached, err = e.connects(ctx, p, session, c, b); err != nil {
			return err
		}
		return enough // what fails is removed
	}, dock.NewStages(nil, e.cfg.Log))
	if !errors.Is(err, enough) {
		return false, err
	}
	return reached, nil
}

// connects says whether the session's terminal gets through to a neighbour's.
func (e engineOf) connects(ctx context.Context, p sandbox.Provider, session string, neighbour container.Summary, b *box) (bool, error) {
	address := neighbour.NetworkSettings.Networks[b.names.cluster].IPAddress.String()
	ask := sandbox.Command{Argv: []string{"bash", "-c", knock(address)}}
	// From its own network the neighbour answers, so silence is not for want of an answer.
	self, err := e.dock.Exec(ctx, dock.Place{Container: neighbour.ID, User: learnerUser}, ask)
	if err != nil || !bytes.Contains(self.Stdout, []byte("refused")) {
		return false, fmt.Errorf("the neighbour does not answer itself: %s, %w", self.Stdout, err)
	}
	ask.Where = sandbox.InTerminal
	res, err := p.Exec(ctx, session, ask)
	if err != nil {
		return false, err
	}
	return !bytes.Contains(res.Stdout, []byte("silence")), nil
}

// Inspect looks at what only a cluster of kind's has.
func (e engineOf) Inspect(t *testing.T, p sandbox.Provider, session string) {
	t.Run("KindListsIt", func(t *testing.T) {
		clusters, err := cluster.NewProvider(cluster.ProviderWithDocker()).List()
		info, getErr := p.Get(t.Context(), session)
		if err != nil || getErr != nil || !slices.Contains(clusters, info.Name) {
			t.Errorf("kind lists %v, %v", clusters, err)
		}
	})
	t.Run("Limits", func(t *testing.T) { e.limits(t, session) })
	t.Run("LearnerAtWork", func(t *testing.T) { e.learnerAtWork(t, p, session) })
	t.Run("WrongNames", func(t *testing.T) { e.wrongNames(t, p, session) })
}

// limits runs into them: that is the effect they have.
func (e engineOf) limits(t *testing.T, session string) {
	run := func(where sandbox.Where, script string) sandbox.Result {
		t.Helper()
		res, err := e.Exec(t.Context(), session, sandbox.Command{Where: where, Argv: []string{"bash", "-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	// 137 is 128 + SIGKILL: the kernel has killed what took too much.
	if res := run(sandbox.InTerminal, "head -c 900M /dev/zero | tail | true; exit ${PIPESTATUS[1]}"); res.ExitCode != 137 {
		t.Errorf("900 MiB in the terminal: exit %d %s", res.ExitCode, res.Stderr)
	}
	if res := run(sandbox.InTerminal, "for i in {1..400}; do sleep 3 & done 2>&1 | grep -m1 -o 'Resource temporarily unavailable'; pkill -x sleep"); len(res.Stdout) == 0 {
		t.Error("400 processes fit into the terminal")
	}
	res := run(sandbox.OnNode, "kubectl get nodes -o jsonpath='{.items[0].status.allocatable.memory}'")
	if want := fmt.Sprintf("%dKi", (defaultMemory-terminalMemory)>>10); string(res.Stdout) != want && string(res.Stdout) != "2560Mi" {
		t.Errorf("the node offers %s of memory, want %s", res.Stdout, want)
	}
	c, err := e.find(t.Context(), session, roleNode)
	if err != nil {
		t.Fatal(err)
	}
	found, err := e.cfg.Engine.ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := found.Container.HostConfig.Resources
	if r.Memory != defaultMemory-terminalMemory || r.MemorySwap != r.Memory || *r.PidsLimit != defaultPIDs-terminalPIDs || r.NanoCPUs == 0 {
		t.Errorf("the node's limits are %d bytes, %d with swap, %d processes, %d nano-CPUs", r.Memory, r.MemorySwap, *r.PidsLimit, r.NanoCPUs)
	}
}

// learnerAtWork does what every lab asks for.
func (e engineOf) learnerAtWork(t *testing.T, p sandbox.Provider, session string) {
	for _, step := range []struct{ script, want string }{
		{"kubectl create deployment web --image=" + image.WorkloadRef + " -- workload db && kubectl rollout status deployment/web --timeout=90s", "successfully rolled out"},
		{"until kubectl logs deployment/web | grep .; do :; done; kubectl exec deployment/web -- id -u", "65534"},
		{"kubectl set env deployment/web A=b && kubectl get events && kubectl delete deployment/web --wait=false", "Scheduled"},
		{"kubectl get pods -n kube-system && kubectl get nodes", "Ready"},
	} {
		res, err := p.Exec(t.Context(), session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"timeout", "100", "bash", "-c", step.script}})
		if err != nil || !strings.Contains(string(res.Stdout), step.want) {
			t.Errorf("%s: exit %d, %s%s, %v", step.script, res.ExitCode, res.Stdout, res.Stderr, err)
		}
	}
}

// wrongNames: a lab in which a name is misspelt must fail for that, at once.
func (e engineOf) wrongNames(t *testing.T, p sandbox.Provider, session string) {
	run := func(argv ...string) string {
		t.Helper()
		res, err := p.Exec(t.Context(), session, sandbox.Command{Where: sandbox.OnNode, Argv: argv})
		if err != nil || res.ExitCode != 0 {
			t.Fatalf("%v: exit %d, %s, %v", argv, res.ExitCode, res.Stderr, err)
		}
		return string(res.Stdout)
	}
	run("kubectl", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s")
	run("kubectl", "-n", "default", "run", "asks", "--image="+image.WorkloadRef, "--restart=Never", "--command", "--", "sleep", "600")
	run("kubectl", "-n", "default", "wait", "--for=condition=Ready", "pod/asks", "--timeout=60s")
	said := run("kubectl", "-n", "default", "exec", "asks", "--", "sh", "-c",
		"nslookup kubernetes.default.svc.cluster.local; nslookup databse; nslookup example.com; true")
	// One that waited for an answer would say that it timed out.
	if !strings.Contains(said, "10.96.0.1") || strings.Count(said, "NXDOMAIN") < 2 || strings.Contains(said, "timed out") {
		t.Errorf("looking names up in a pod: %s", said)
	}
	res, err := p.Exec(t.Context(), session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"getent", "hosts", "example.com"}})
	if err != nil || res.ExitCode == 0 {
		t.Errorf("a name of the outside in the terminal: exit %d, %v", res.ExitCode, err)
	}
	res, err = p.Exec(t.Context(), session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"cat", "/etc/resolv.conf"}})
	if err != nil || !strings.Contains(string(res.Stdout), "timeout:1") || !strings.Contains(string(res.Stdout), "attempts:1") {
		t.Errorf("the terminal's resolver waits longer than it need: %s, %v", res.Stdout, err)
	}
}

// knock connects to a port that nobody listens on: a host that can be reached refuses.
func knock(address string) string {
	return "if timeout 3 bash -c 'exec 3<>/dev/tcp/" + address + "/4000' 2>/dev/null; then echo open; " +
		"elif [ $? = 124 ]; then echo silence; else echo refused; fi"
}
