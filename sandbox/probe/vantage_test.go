package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Addresses of the test's pods, from the range for benchmarks (RFC 2544), and of
// their DNS server, which only they know.
const (
	firstPod  = "198.18.77.1"
	secondPod = "198.18.77.2"
	podDNS    = "198.18.77.53"
)

// pods makes the network namespaces of two pods, and removes them with the
// test. Each has its address and the DNS server's on an interface of its own.
func pods(t *testing.T) (dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs root: make test runs it")
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root (CAP_NET_ADMIN, CAP_SYS_ADMIN)")
	}
	// Others on this machine have namespaces, too: only the test's are searched.
	dir = t.TempDir()
	for i, address := range []string{firstPod, secondPod} {
		name := fmt.Sprintf("drydock-probe-%d-%d", os.Getpid(), i)
		ip(t, "netns add "+name)
		t.Cleanup(func() { ip(t, "netns del "+name) })
		ip(t, "-n "+name+" link set lo up")
		ip(t, "-n "+name+" addr add "+address+"/32 dev lo")
		ip(t, "-n "+name+" addr add "+podDNS+"/32 dev lo")
		if err := os.Symlink("/var/run/netns/"+name, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Errorf("ip %s: %v: %s", args, err, out)
	}
}

// inPod does something in a pod's network: what it opens stays there.
func inPod(t *testing.T, path string, do func()) {
	t.Helper()
	network, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	if err := inside(network, home, func() error { do(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestFromPod: connections and questions come from inside a pod's network, and
// what holds for the pod's packets holds for them.
func TestFromPod(t *testing.T) {
	dir := pods(t)
	first := filepath.Join(dir, "0")
	var web string
	inPod(t, first, func() {
		serveDNS(t, podDNS+":53", zone{"web.shop.svc.cluster.local.": {"A " + firstPod}})
		web = serve(t, func(conn net.Conn) { fmt.Fprintf(conn, "hello %s", addressOf(conn.RemoteAddr())) })
	})
	_, port, err := net.SplitHostPort(web)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, Config{Networks: dir, Kubelet: writeFile(t, "clusterDNS: ["+podDNS+"]\nclusterDomain: cluster.local\n")})
	from := func(pod string) From { return From{Namespace: "shop", Pod: pod} }
	for name, test := range map[string]struct {
		request Request
		want    string
	}{
		"its own loopback":  {Request{From: from(firstPod), TCP: &TCP{Address: "localhost:" + port, Expect: "hello"}}, "true  hello 127.0.0.1"},
		"another's":         {Request{From: from(secondPod), TCP: &TCP{Address: "localhost:" + port}}, "false connection refused "},
		"no pod's":          {Request{From: from(""), TCP: &TCP{Address: "127.0.0.1:" + port}}, "false connection refused "},
		"a pod that is not": {Request{From: from("198.18.77.9"), TCP: &TCP{Address: web}}, PodGone},
		"a pod of the node": {Request{From: From{Pod: "127.0.0.1"}, TCP: &TCP{Address: freeAddress(t, "tcp")}}, "false connection refused "},
	} {
		test.request.ID = name
		if got := a.once(test.request); got.Error != "" && got.Error != test.want {
			t.Errorf("%s: %s, want %s", name, got.Error, test.want)
		} else if got.Error == "" {
			if text := fmt.Sprintf("%v %s %s", got.TCP.Open, got.TCP.Error, got.TCP.Received); text != test.want {
				t.Errorf("%s: %s, want %s", name, text, test.want)
			}
		}
	}
	ask := &DNS{Name: "web", Type: "A"}
	if got := a.once(Request{From: from(firstPod), DNS: ask}); got.DNS == nil || fmt.Sprint(got.DNS.Records) != "["+firstPod+"]" {
		t.Errorf("the pod's DNS server: %+v %+v", got, got.DNS)
	}
	if got := a.once(Request{From: from(secondPod), DNS: ask}); got.DNS == nil || got.DNS.Error != "the DNS server does not answer" {
		t.Errorf("a DNS server that the pod cannot reach: %+v %+v", got, got.DNS)
	}

	// What refuses the pod's packets refuses the probe's.
	name := filepath.Base(link(t, first))
	refuse := exec.Command("ip", "netns", "exec", name, "nft", "-f", "-")
	refuse.Stdin = strings.NewReader("table inet refusal { chain out { type filter hook output priority 0; tcp dport " + port + " reject with tcp reset; }; }\n")
	if out, err := refuse.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s\n\"make up\" installs it", err, out)
	}
	if got := a.once(Request{From: from(firstPod), TCP: &TCP{Address: "web:" + port}}); got.TCP == nil || got.TCP.Error != "connection refused" {
		t.Errorf("what a rule refuses: %+v %+v", got, got.TCP)
	}
}

// TestPodGoes: the namespace that was found once is not held on to.
func TestPodGoes(t *testing.T) {
	dir := pods(t)
	n := &networks{dir: dir, known: map[netip.Addr]string{}}
	address := netip.MustParseAddr(firstPod)
	for range 2 { // the second time it is known
		network, _, err := n.of(address)
		if err != nil || network == nil {
			t.Fatalf("%v, %v", network, err)
		}
		network.Close()
	}
	path := filepath.Join(dir, "0")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.of(address); err != errPodGone {
		t.Errorf("a pod that has gone: %v", err)
	}
	// A name that is left without its namespace is passed over.
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	n.known[address] = path
	if _, _, err := n.of(address); err != errPodGone {
		t.Errorf("a name without a namespace: %v", err)
	}
	if _, _, err := (&networks{dir: "/nonexistent", known: map[netip.Addr]string{}}).of(address); err != errPodGone {
		t.Errorf("where there has never been a pod: %v", err)
	}
}

func link(t *testing.T, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func addressOf(address net.Addr) string {
	host, _, _ := strings.Cut(address.String(), ":")
	return host
}
