// Package testhosts plays, for tests, the hosts that a sandbox must not reach:
// a host on the internet, a neighbour of the machine, the metadata service of a
// cloud, and the platform itself. They live in a network namespace and on
// interfaces that the package makes, and their addresses are routed there, so
// that no packet of a test leaves the machine even where a defence fails.
//
// It needs root, iproute2 and Linux, and is for tests only.
package testhosts

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses of the hosts. Those of the internet and the neighbourhood are from
// the ranges for documentation (RFC 5737) and for benchmarks (RFC 2544), which
// nobody has.
const (
	Internet  = "203.0.113.53"
	Neighbour = "198.18.53.2"
	Metadata  = "169.254.169.254"
	Metadata6 = "fd00:ec2::254"
	// Machine is the machine's own address on the link to the neighbour.
	Machine = "198.18.53.1"
)

// Ports that the hosts listen on: HTTP, and UDP that answers with what it got.
const (
	HTTPPort = 80
	UDPPort  = 53
)

const (
	namespace = "drydock-test"
	link      = "ddtest0"
	peer      = "ddtest1"
	dummy     = "ddtest2"
	lockFile  = "/run/lock/drydock-testhosts.lock"
)

// Hosts are running test hosts.
type Hosts struct {
	// PlatformPort is a port that listens on all addresses of the machine, as
	// a platform does that was told to.
	PlatformPort int

	mu    sync.Mutex
	heard map[string]*atomic.Int64
}

// New makes the hosts and removes them with the test. One test at a time has
// them, those of other processes included.
func New(t *testing.T) *Hosts {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network interfaces of its own: run it as root (CAP_NET_ADMIN, CAP_SYS_ADMIN)")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("this test needs the ip command: apt-get install iproute2 (or: make up)")
	}
	lock(t)
	remove() // what a killed test left
	t.Cleanup(remove)
	for _, args := range []string{
		"netns add " + namespace,
		"link add " + link + " type veth peer name " + peer + " netns " + namespace,
		"addr add " + Machine + "/30 dev " + link,
		"link set " + link + " up",
		"-n " + namespace + " link set lo up",
		"-n " + namespace + " addr add " + Neighbour + "/30 dev " + peer,
		"-n " + namespace + " addr add " + Internet + "/32 dev lo",
		"-n " + namespace + " link set " + peer + " up",
		// Both know the way back to wherever a packet comes from.
		"-n " + namespace + " route add default via " + Machine,
		"route add " + Internet + "/32 via " + Neighbour + " dev " + link,
		"link add " + dummy + " type bridge", // a machine without the dummy module has this: the engine needs it
		"addr add " + Metadata + "/32 dev " + dummy,
		"-6 addr add " + Metadata6 + "/128 dev " + dummy + " nodad",
		"link set " + dummy + " up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s\nmaking test hosts takes root with CAP_NET_ADMIN and CAP_SYS_ADMIN", args, err, out)
		}
	}
	h := &Hosts{heard: map[string]*atomic.Int64{}}
	for _, address := range []string{Internet, Neighbour} {
		within(t, func() { h.listen(t, address) })
	}
	h.listen(t, Metadata)
	h.listen(t, Metadata6)
	h.platform(t)
	for _, address := range []string{Internet, Neighbour, Metadata, Metadata6} {
		if !answers(net.JoinHostPort(address, fmt.Sprint(HTTPPort))) {
			t.Fatalf("the test host %s does not answer the machine itself", address)
		}
	}
	h.Forget()
	return h
}

// remove fails where there is nothing to remove, which is fine.
func remove() {
	for _, args := range []string{"link del " + link, "link del " + dummy, "netns del " + namespace} {
		_ = exec.Command("ip", strings.Fields(args)...).Run()
	}
}

func lock(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("wait for another test's hosts: %v", err)
	}
}

// within runs fn in the hosts' network namespace; what it opens stays there.
func within(t *testing.T, fn func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatalf("enter the network namespace of the test hosts: %v", err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // this thread must not go on in the wrong place
		}
	}()
	fn()
}

func (h *Hosts) counter(address string) *atomic.Int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heard[address] == nil {
		h.heard[address] = &atomic.Int64{}
	}
	return h.heard[address]
}

func (h *Hosts) listen(t *testing.T, address string) {
	t.Helper()
	tcp, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(HTTPPort)))
	if err != nil {
		t.Fatal(err)
	}
	h.serve(t, tcp, address)
	udp, err := net.ListenPacket("udp", net.JoinHostPort(address, fmt.Sprint(UDPPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	count := h.counter(address)
	go func() {
		packet := make([]byte, 2048)
		for {
			n, from, err := udp.ReadFrom(packet)
			if err != nil {
				return
			}
			count.Add(1)
			_, _ = udp.WriteTo(packet[:n], from)
		}
	}()
}

// platform listens on all addresses, of both families.
func (h *Hosts) platform(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	h.PlatformPort = l.Addr().(*net.TCPAddr).Port
	h.serve(t, l, "platform")
}

func (h *Hosts) serve(t *testing.T, l net.Listener, name string) {
	count := h.counter(name)
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "this is", name)
	})}
	go func() { _ = server.Serve(counted{l, count}) }()
	t.Cleanup(func() { server.Close() })
}

// counted counts connections.
type counted struct {
	net.Listener
	count *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.count.Add(1)
	}
	return conn, err
}

// answers reports whether somebody answers. A bridge and a route that were just
// made take a moment on a busy machine before they carry anything.
func answers(address string) bool {
	for deadline := time.Now().Add(answerTimeout); time.Now().Before(deadline); {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			return true
		}
		<-time.After(answerPoll)
	}
	return false
}

const (
	answerTimeout = 15 * time.Second
	answerPoll    = 100 * time.Millisecond
)

// Heard is the number of connections and datagrams that the host with an
// address, or "platform", has got.
func (h *Hosts) Heard(name string) int64 { return h.counter(name).Load() }

// Forget sets all of these numbers to zero.
func (h *Hosts) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.heard {
		n.Store(0)
	}
}
