package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// vantage is a place to look from: a network, and what names mean there.
type vantage struct {
	names   names
	network *os.File // a network namespace; nil: the program's own
	home    *os.File // the program's own
}

// dial opens a connection to an address, which has no name in it, from inside
// the vantage's network.
func (v vantage) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // a look is too short for it
	if v.network == nil {
		return d.DialContext(ctx, network, address)
	}
	var conn net.Conn
	err := inside(v.network, v.home, func() (err error) {
		// A socket stays in the namespace that it was made in, and a dialler makes
		// that of a single address on the thread that it is called on.
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// connect resolves a host and opens a connection to the first of its addresses that takes one.
func (v vantage) connect(ctx context.Context, host, port string) (net.Conn, error) {
	addresses, err := v.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var first error
	for i, address := range addresses {
		conn, err := v.try(ctx, net.JoinHostPort(address.String(), port), len(addresses)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// try gives the address its share of the time that is left for several.
func (v vantage) try(ctx context.Context, address string, share int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && share > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(share))
		defer cancel()
	}
	return v.dial(ctx, "tcp", address)
}

// inside runs do in a network namespace, on a thread of its own for as long as it takes.
func inside(network, home *os.File, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := enter(network); err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err := do()
		if enter(home) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine
		done <- err
	}()
	return <-done
}

func enter(network *os.File) error {
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network of a pod: %w", err)
	}
	return nil
}

// networks finds the network namespaces of pods by their addresses.
type networks struct {
	dir string

	mu    sync.Mutex
	home  *os.File // the program's own
	known map[netip.Addr]string
}

var errPodGone = errors.New(PodGone)

// of opens the network namespace of the pod with the address; both files are
// nil when that is the program's own, as of a pod with the node's network. The
// caller closes the first.
func (n *networks) of(address netip.Addr) (network, home *os.File, err error) {
	if own, err := hasAddress(address); err != nil || own {
		return nil, nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.home == nil {
		if n.home, err = os.Open("/proc/self/ns/net"); err != nil {
			return nil, nil, err
		}
	}
	// A namespace keeps its addresses and its name for as long as it is there.
	if path, ok := n.known[address]; ok {
		if network := openNetwork(path); network != nil {
			return network, n.home, nil
		}
		delete(n.known, address)
	}
	network, err = n.search(address)
	return network, n.home, err
}

func (n *networks) search(address netip.Addr) (*os.File, error) {
	entries, err := os.ReadDir(n.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errPodGone // there has never been one
	}
	if err != nil {
		return nil, fmt.Errorf("look for the pod's network: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(n.dir, e.Name())
		network := openNetwork(path)
		if network == nil {
			continue // it has just gone
		}
		found := false
		err = inside(network, n.home, func() (err error) {
			found, err = hasAddress(address)
			return err
		})
		if err == nil && found {
			n.known[address] = path
			return network, nil
		}
		network.Close()
	}
	return nil, errPodGone
}

// openNetwork opens a network namespace; nil if there is none, or only its name is left.
func openNetwork(path string) *os.File {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		file.Close()
		return nil
	}
	return file
}

// hasAddress says whether the network of this thread has an address.
func hasAddress(address netip.Addr) (bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("list the network's addresses: %w", err)
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == address.Unmap() {
			return true, nil
		}
	}
	return false, nil
}
