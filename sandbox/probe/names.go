package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

const (
	dnsPort = 53
	// podDots is what kubelet gives to pods: a name with fewer dots is tried with the search list first.
	podDots = 5
	// systemDots, and the bounds that follow, are those of resolv.conf(5).
	systemDots = 1
	maxDots    = 15
	maxServers = 3
	maxSearch  = 32
	// maxFile bounds the files that are read at each look, which may be the learner's work, in bytes.
	maxFile = 1 << 20
)

// names is what a name means to a program: which servers are asked for which full names.
type names struct {
	servers []netip.AddrPort
	search  []string // without final dots
	dots    int
	hosts   []host // come first
}

// host is a line of /etc/hosts.
type host struct {
	address netip.Addr
	names   []string
}

// kubelet is what gives pods their names.
type kubelet struct {
	config string // its configuration file

	mu sync.Mutex
	// What the file says once stays so for as long as kubelet runs; to read it
	// costs as much as a look.
	servers []netip.AddrPort
	domain  string
}

// names are those of a pod in a namespace.
func (k *kubelet) names(namespace string) (names, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.domain == "" {
		if err := k.read(); err != nil {
			return names{}, fmt.Errorf("read kubelet's configuration: %w", err)
		}
	}
	return names{
		servers: k.servers,
		search:  []string{namespace + ".svc." + k.domain, "svc." + k.domain, k.domain},
		dots:    podDots,
		hosts:   []host{{netip.AddrFrom4([4]byte{127, 0, 0, 1}), []string{"localhost"}}}, // as in every pod
	}, nil
}

func (k *kubelet) read() error {
	var config struct {
		ClusterDNS    []string `yaml:"clusterDNS"`
		ClusterDomain string   `yaml:"clusterDomain"`
	}
	text, err := readFile(k.config)
	if err == nil {
		err = yaml.Unmarshal(text, &config)
	}
	if err != nil {
		return err
	}
	var servers []netip.AddrPort
	for _, s := range config.ClusterDNS {
		address, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("clusterDNS: %w", err)
		}
		servers = append(servers, netip.AddrPortFrom(address, dnsPort))
	}
	domain := strings.Trim(config.ClusterDomain, ".")
	if len(servers) == 0 || domain == "" {
		return errors.New("it has no clusterDNS or no clusterDomain")
	}
	k.servers, k.domain = servers, domain
	return nil
}

// systemNames are those of any program on a machine. What cannot be read says nothing.
func systemNames(resolvConf, hosts string) names {
	n := names{dots: systemDots}
	text, _ := readFile(resolvConf)
	for _, fields := range fieldsOf(text, "#;") {
		n.configure(fields)
	}
	if len(n.servers) == 0 {
		n.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	}
	text, _ = readFile(hosts)
	for _, fields := range fieldsOf(text, "#") {
		if address, err := netip.ParseAddr(fields[0]); err == nil {
			n.hosts = append(n.hosts, host{address.Unmap(), fields[1:]})
		}
	}
	return n
}

// configure takes in a line of resolv.conf.
func (n *names) configure(fields []string) {
	switch values := fields[1:]; fields[0] {
	case "nameserver":
		if len(values) > 0 && len(n.servers) < maxServers {
			if address, err := netip.ParseAddr(values[0]); err == nil {
				n.servers = append(n.servers, netip.AddrPortFrom(address, dnsPort))
			}
		}
	case "search", "domain": // the last one counts
		n.search = nil
		for _, domain := range values[:min(len(values), maxSearch)] {
			n.search = append(n.search, strings.Trim(domain, "."))
		}
	case "options":
		for _, option := range values {
			if dots, ok := strings.CutPrefix(option, "ndots:"); ok {
				if number, err := strconv.Atoi(dots); err == nil {
					n.dots = min(max(number, 0), maxDots)
				}
			}
		}
	}
}

// fieldsOf splits a file into lines and these into fields; comments are left out.
func fieldsOf(text []byte, comment string) [][]string {
	var all [][]string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if i := strings.IndexAny(line, comment); i >= 0 {
			line = line[:i]
		}
		if fields := strings.Fields(line); len(fields) > 0 {
			all = append(all, fields)
		}
	}
	return all
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of a usual size", path)
	}
	return os.ReadFile(path)
}

// candidates are the full names that a name may stand for, in the order in which they are tried.
func (n names) candidates(name string) []string {
	if full, ok := strings.CutSuffix(name, "."); ok {
		return []string{full}
	}
	all := make([]string, 0, len(n.search)+1)
	for _, domain := range n.search {
		all = append(all, name+"."+domain)
	}
	if strings.Count(name, ".") >= n.dots {
		return append([]string{name}, all...)
	}
	return append(all, name)
}

// addressesOf are those that the hosts file gives a name.
func (n names) addressesOf(name string) []netip.Addr {
	var found []netip.Addr
	for _, h := range n.hosts {
		for _, alias := range h.names {
			if strings.EqualFold(alias, strings.TrimSuffix(name, ".")) {
				found = append(found, h.address)
				break
			}
		}
	}
	return found
}

// resolve finds the addresses of a host, those of IPv4 first.
func (v vantage) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	if found := v.names.addressesOf(host); len(found) > 0 {
		return found, nil
	}
	for _, kind := range []string{"A", "AAAA"} {
		found, err := v.lookup(ctx, host, kind)
		if err != nil {
			return nil, err
		}
		if found.code == codeServerFailure {
			return nil, errDNSFailed
		}
		if len(found.records) > 0 {
			addresses := make([]netip.Addr, 0, len(found.records))
			for _, r := range found.records {
				address, err := netip.ParseAddr(r)
				if err != nil {
					return nil, err
				}
				addresses = append(addresses, address)
			}
			return addresses, nil
		}
		if found.code != codeSuccess {
			break // there is no such name, whatever is asked for
		}
	}
	return nil, errNoHost
}
