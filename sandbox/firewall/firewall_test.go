package firewall_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"drydock/sandbox/firewall"
	"drydock/sandbox/firewall/testhosts"
	"drydock/sandbox/image"
)

const instance = "firewalltest"

func TestBridge(t *testing.T) {
	a, b := firewall.Bridge("class", "abcd"), firewall.Bridge("class", "abce")
	if len(a) > 15 || a == b || a[:7] != b[:7] {
		t.Errorf("bridges of one instance are %q and %q: want names of at most 15 bytes with the same 7 in front", a, b)
	}
	if other := firewall.Bridge("course", "abcd"); other[:7] == a[:7] {
		t.Errorf("bridges of two instances begin alike: %q, %q", a, other)
	}
}

// docker runs the command line and returns its output; the test fails with it.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s\n\"make up\" starts the engine", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// wall is a firewall with two sandbox networks, and what is on them.
type wall struct {
	*firewall.Firewall
	hosts *testhosts.Hosts
}

// Containers: two on the first network, one on the second, and one that is no
// sandbox's, whose port is published on all addresses of the machine.
const (
	attacker = "drydock-firewalltest-a1"
	beside   = "drydock-firewalltest-a2"
	other    = "drydock-firewalltest-b1"
	stranger = "drydock-firewalltest-stranger"
)

func newWall(t *testing.T) *wall {
	if testing.Short() {
		t.Skip("needs the engine and root: make test runs it")
	}
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	w := &wall{
		Firewall: firewall.New(firewall.Config{Instance: instance, Image: image.NodeRef, Engine: cli}),
		hosts:    testhosts.New(t),
	}
	t.Cleanup(func() {
		if err := w.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []string{"a", "b"} {
		name := "drydock-firewalltest-" + id
		docker(t, "network", "create", "--label", "drydock.instance="+instance,
			"--opt", firewall.BridgeOption+"="+firewall.Bridge(instance, id), "--opt", "com.docker.network.bridge.enable_ip_masquerade=false", name)
		t.Cleanup(func() { docker(t, "network", "rm", name) })
	}
	// As powerful in their network as a cluster's node is.
	run := func(name string, args ...string) {
		docker(t, append([]string{"run", "--detach", "--privileged", "--label", "drydock.instance=" + instance, "--name", name,
			"--sysctl", "net.ipv6.conf.all.disable_ipv6=0", "--entrypoint", "nc"}, append(args, image.TerminalRef, "-l", "-k", "4000")...)...)
		t.Cleanup(func() { docker(t, "rm", "--force", "--volumes", name) })
	}
	run(attacker, "--network", "drydock-firewalltest-a", "--publish", "127.0.0.1::4000")
	run(beside, "--network", "drydock-firewalltest-a")
	run(other, "--network", "drydock-firewalltest-b")
	run(stranger, "--publish", "0.0.0.0::4000")
	return w
}

func address(t *testing.T, container string) string {
	t.Helper()
	return docker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
}

func gateway(t *testing.T, network string) string {
	t.Helper()
	return docker(t, "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}}{{end}}", network)
}

// hostAddress is the machine's IPv4 address on an interface.
func hostAddress(t *testing.T, device string) string {
	t.Helper()
	link, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := link.Addrs()
	if err != nil || len(addresses) == 0 {
		t.Fatalf("addresses of %s: %v, %v", device, addresses, err)
	}
	return addresses[0].(*net.IPNet).IP.String()
}

func published(t *testing.T, container string) (port string) {
	t.Helper()
	line, _, _ := strings.Cut(docker(t, "port", container, "4000"), "\n")
	_, port, err := net.SplitHostPort(line)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reach tries to connect from a container: open, refused or silence.
func reach(t *testing.T, container, address, port string) string {
	t.Helper()
	return docker(t, "exec", container, "bash", "-c",
		"if timeout 2 bash -c 'exec 3<>/dev/tcp/"+address+"/"+port+"' 2>/dev/null; then echo open; elif [ $? = 124 ]; then echo silence; else echo refused; fi")
}

// TestWalls tries every way out twice: without the rules, where it must be
// open, so that it is the rules that close it.
func TestWalls(t *testing.T) {
	w := newWall(t)
	web, platform := fmt.Sprint(testhosts.HTTPPort), fmt.Sprint(w.hosts.PlatformPort)
	ways := []struct{ name, address, port, heard string }{
		{"the internet", testhosts.Internet, web, testhosts.Internet},
		{"a neighbour of the machine", testhosts.Neighbour, web, testhosts.Neighbour},
		{"the metadata service", testhosts.Metadata, web, testhosts.Metadata},
		{"the platform at the gateway", gateway(t, "drydock-firewalltest-a"), platform, "platform"},
		{"the platform at another sandbox's gateway", gateway(t, "drydock-firewalltest-b"), platform, "platform"},
		{"the platform at the engine's own gateway", hostAddress(t, "docker0"), platform, "platform"},
		{"the platform at the machine's address", testhosts.Machine, platform, "platform"},
	}
	for _, way := range ways {
		if got := reach(t, attacker, way.address, way.port); got != "open" {
			t.Errorf("without rules %s is %s, so that nothing is proven: want open", way.name, got)
		}
	}
	if err := w.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.hosts.Forget()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			if got := reach(t, attacker, way.address, way.port); got != "silence" {
				t.Errorf("%s:%s is %s, want silence", way.address, way.port, got)
			}
			if w.hosts.Heard(way.heard) != 0 {
				t.Errorf("%s was reached", way.heard)
			}
		})
	}
	t.Run("another sandbox", func(t *testing.T) {
		if got := reach(t, other, address(t, other), "4000"); got != "open" {
			t.Errorf("the other sandbox does not answer itself: %s", got)
		}
		if got := reach(t, attacker, address(t, other), "4000"); got != "silence" {
			t.Errorf("the other sandbox is %s, want silence", got)
		}
	})
	t.Run("a port that a stranger publishes", func(t *testing.T) {
		port := published(t, stranger)
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(testhosts.Machine, port), 5*time.Second)
		if err != nil {
			t.Fatalf("the stranger does not answer the machine: %v", err)
		}
		conn.Close()
		for _, at := range []string{gateway(t, "drydock-firewalltest-a"), testhosts.Machine} {
			if got := reach(t, attacker, at, port); got != "silence" {
				t.Errorf("the stranger at %s is %s, want silence", at, got)
			}
		}
	})
	t.Run("its own sandbox", func(t *testing.T) {
		if got := reach(t, attacker, address(t, beside), "4000"); got != "open" {
			t.Errorf("the container beside is %s, want open", got)
		}
	})
	t.Run("from the machine", func(t *testing.T) {
		for _, at := range []string{net.JoinHostPort("127.0.0.1", published(t, attacker)), net.JoinHostPort(address(t, attacker), "4000")} {
			conn, err := net.DialTimeout("tcp", at, 5*time.Second)
			if err != nil {
				t.Errorf("the machine's own way in: %v", err)
				continue
			}
			conn.Close()
		}
	})
	t.Run("raw packets", func(t *testing.T) { rawPackets(t, w) })
	t.Run("IPv6", func(t *testing.T) { linkLocal(t, w) })
}

// rawPackets has the right to send what it likes, under whatever name.
func rawPackets(t *testing.T, w *wall) {
	for _, script := range []string{
		"ping -c 1 -W 1 " + testhosts.Internet,
		"ping -c 1 -W 1 " + gateway(t, "drydock-firewalltest-a"),
		"ping -b -c 1 -W 1 255.255.255.255",
		"ping -c 1 -W 1 224.0.0.1",
	} {
		if got := docker(t, "exec", attacker, "sh", "-c", script+" >/dev/null 2>&1 && echo answered || echo nothing"); got != "nothing" {
			t.Errorf("%s: %s", script, got)
		}
	}
	// Datagrams need no answer to do harm: from its own address, from the
	// neighbour's of another network, and from the machine's.
	for _, from := range []string{address(t, attacker), address(t, other), testhosts.Machine, testhosts.Neighbour} {
		docker(t, "exec", attacker, "bash", "-c", "ip address add "+from+"/32 dev eth0 2>/dev/null; echo hello | nc -u -w 1 -s "+from+" "+testhosts.Internet+" 53; true")
	}
	if n := w.hosts.Heard(testhosts.Internet); n != 0 {
		t.Errorf("%d datagrams got out", n)
	}
}

// linkLocal: the machine has an IPv6 address on every bridge, wanted or not.
func linkLocal(t *testing.T, w *wall) {
	out, err := exec.Command("ip", "-6", "-oneline", "address", "show", "dev", firewall.Bridge(instance, "a"), "scope", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out))
	if len(fields) < 4 {
		t.Fatalf("the bridge has no IPv6 address: %q", out)
	}
	target, _, _ := strings.Cut(fields[3], "/")
	ping := func() string {
		return docker(t, "exec", attacker, "sh", "-c", "ping -6 -c 1 -W 1 "+target+"%eth0 >/dev/null 2>&1 && echo answered || echo nothing")
	}
	if got := ping(); got != "nothing" {
		t.Errorf("the machine's link-local address %s: %s", target, got)
	}
	if err := w.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ping(); got != "answered" {
		t.Errorf("without rules the machine's link-local address %s says %s, so that nothing is proven", target, got)
	}
}

// TestEnsure: rules that somebody flushed come back, and Check sees both.
func TestEnsure(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	// A second one stands for the server before or after this one, and for whoever flushes rules.
	f := firewall.New(firewall.Config{Instance: instance + "2", Image: image.NodeRef, Engine: cli})
	second := firewall.New(firewall.Config{Instance: instance + "2", Image: image.NodeRef, Engine: cli})
	ctx := t.Context()
	t.Cleanup(func() {
		if err := f.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := f.Check(ctx); !errors.Is(err, firewall.ErrOpen) {
		t.Errorf("before there are rules Check says %v, want ErrOpen", err)
	}
	for range 2 {
		if err := f.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Check(ctx); err != nil {
		t.Errorf("with rules Check says %v", err)
	}
	if err := second.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	if err := second.Remove(ctx); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := second.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(ctx); err != nil {
		t.Errorf("after they came back Check says %v", err)
	}
	if left := docker(t, "ps", "--all", "--quiet", "--filter", "label=drydock.instance="+instance+"2"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// TestSweep: what a killed server left goes when it is old enough, and nothing else.
func TestSweep(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	mine, others := instance+"3", instance+"4"
	create := func(of string) string {
		id := strings.TrimSpace(docker(t, "create", "--label", "drydock.instance="+of, "--label", firewall.Role, "--entrypoint", "nft", image.NodeRef, "list ruleset"))
		t.Cleanup(func() { docker(t, "rm", "--force", id) })
		return id
	}
	left, living := create(mine), create(others)
	there := func() string {
		return docker(t, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+firewall.Role)
	}
	f := firewall.New(firewall.Config{Instance: mine, Image: image.NodeRef, Engine: cli})
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(there(), left) {
		t.Error("a container that somebody may be waiting for was removed")
	}
	if err := f.SweepOlder(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if now := there(); strings.Contains(now, left) || !strings.Contains(now, living) {
		t.Errorf("left are %q, want only %s", now, living)
	}
}
