package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is what a DNS server knows: full name → records as "TYPE data". A name
// without records is there all the same; "SERVFAIL" is what its servers are.
type zone map[string][]string

func questionFor(t testing.TB, name, kind string) dnsmessage.Question {
	t.Helper()
	full, err := dnsmessage.NewName(name)
	if err != nil {
		t.Fatal(err)
	}
	return dnsmessage.Question{Name: full, Type: recordTypes[kind], Class: dnsmessage.ClassINET}
}

func query(t testing.TB, name, kind string) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{}, Questions: []dnsmessage.Question{questionFor(t, name, kind)}}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// answer answers a packed question. What is longer than most is truncated.
func (z zone) answer(t testing.TB, packed []byte, most int) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packed); err != nil {
		t.Errorf("a question that cannot be read: %v", err)
		return nil
	}
	m.Response = true
	records, known := z[m.Questions[0].Name.String()]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, r := range records {
		if r == codeServerFailure {
			m.RCode = dnsmessage.RCodeServerFailure
			continue
		}
		kind, data, _ := strings.Cut(r, " ")
		if kind == "CNAME" || recordTypes[kind] == m.Questions[0].Type {
			m.Answers = append(m.Answers, resource(t, m.Questions[0].Name, kind, data))
		}
	}
	out, err := m.Pack()
	if err == nil && len(out) > most {
		m.Truncated, m.Answers = true, nil
		out, err = m.Pack()
	}
	if err != nil {
		t.Errorf("an answer that cannot be written: %v", err)
	}
	return out
}

func resource(t testing.TB, name dnsmessage.Name, kind, data string) dnsmessage.Resource {
	to := func(n string) dnsmessage.Name { return dnsmessage.MustNewName(n) }
	var body dnsmessage.ResourceBody
	fields := strings.Fields(data)
	var numbers [3]uint16
	for i := range min(len(fields), 3) {
		_, _ = fmt.Sscan(fields[i], &numbers[i]) // where there is one
	}
	switch kind {
	case "A":
		body = &dnsmessage.AResource{A: netip.MustParseAddr(data).As4()}
	case "AAAA":
		body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(data).As16()}
	case "CNAME":
		body = &dnsmessage.CNAMEResource{CNAME: to(data)}
	case "PTR":
		body = &dnsmessage.PTRResource{PTR: to(data)}
	case "MX":
		body = &dnsmessage.MXResource{Pref: numbers[0], MX: to(fields[1])}
	case "SRV":
		body = &dnsmessage.SRVResource{Priority: numbers[0], Weight: numbers[1], Port: numbers[2], Target: to(fields[3])}
	case "TXT":
		body = &dnsmessage.TXTResource{TXT: fields}
	default:
		t.Fatalf("no such type: %s", kind)
	}
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: recordTypes[kind], Class: dnsmessage.ClassINET, TTL: 5}, Body: body}
}

// dnsServer is a real one on the loopback network.
type dnsServer struct {
	address netip.AddrPort
	zone    zone
	asked   atomic.Int64
	byTCP   atomic.Int64
	// lose says whether a datagram with this number is lost.
	lose func(n int64) bool
	// before is written first: what somebody else may have sent.
	before func(question []byte) []byte
}

// serveDNS starts one; address may have port 0.
func serveDNS(t *testing.T, address string, z zone, options ...func(*dnsServer)) *dnsServer {
	t.Helper()
	datagrams, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
	streams, err := net.Listen("tcp", datagrams.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streams.Close() })
	s := &dnsServer{address: netip.MustParseAddrPort(datagrams.LocalAddr().String()), zone: z}
	for _, set := range options {
		set(s)
	}
	go s.datagrams(t, datagrams)
	go s.streams(t, streams)
	return s
}

func (s *dnsServer) datagrams(t *testing.T, conn net.PacketConn) {
	for buf := make([]byte, maxDatagram); ; {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // the test has ended
		}
		if number := s.asked.Add(1); s.lose != nil && s.lose(number) {
			continue
		}
		if s.before != nil {
			_, _ = conn.WriteTo(s.before(slices.Clone(buf[:n])), from)
		}
		_, _ = conn.WriteTo(s.zone.answer(t, buf[:n], maxDatagram), from) // nobody waits for it: the test will see
	}
}

func (s *dnsServer) streams(t *testing.T, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.byTCP.Add(1)
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err == nil {
			question := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, question); err == nil {
				out := s.zone.answer(t, question, 1<<16)
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			}
		}
		conn.Close()
	}
}

var shop = zone{
	"web.shop.svc.cluster.local.":             {"A 10.96.0.7", "TXT first second"},
	"db.shop.svc.cluster.local.":              {"A 10.244.0.9", "A 10.244.0.8", "AAAA fd00::9"},
	"_http._tcp.web.shop.svc.cluster.local.":  {"SRV 0 100 80 web.shop.svc.cluster.local."},
	"six.shop.svc.cluster.local.":             {"AAAA fd00::6"},
	"empty.shop.svc.cluster.local.":           {},
	"alias.shop.svc.cluster.local.":           {"CNAME example.org.", "A 192.0.2.1"},
	"kube-dns.kube-system.svc.cluster.local.": {"A 10.96.0.10"},
	"example.org.":                            {"A 192.0.2.1", "MX 10 mail.example.org.", "MX 5 other.example.org."},
	"broken.":                                 {codeServerFailure},
	"broken.shop.svc.cluster.local.":          {codeServerFailure},
	"7.0.96.10.in-addr.arpa.":                 {"PTR web.shop.svc.cluster.local."},
	"a.b.c.d.e.f.":                            {"A 192.0.2.6"},
	"many.shop.svc.cluster.local.":            manyAddresses(100),
}

func manyAddresses(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("A 10.244.1.%d", i)
	}
	return all
}

func inShop(servers ...netip.AddrPort) vantage {
	return vantage{names: names{servers: servers, dots: podDots,
		search: []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local"}}}
}

func TestDNS(t *testing.T) {
	server := serveDNS(t, "127.0.0.1:0", shop)
	v := inShop(server.address)
	for _, test := range []struct {
		name, kind string
		want       string // code, full name, records
	}{
		{"web", "A", "NOERROR web.shop.svc.cluster.local [10.96.0.7]"},
		{"web.shop", "A", "NOERROR web.shop.svc.cluster.local [10.96.0.7]"},
		{"web.shop.svc.cluster.local.", "A", "NOERROR web.shop.svc.cluster.local [10.96.0.7]"},
		{"kube-dns.kube-system", "A", "NOERROR kube-dns.kube-system.svc.cluster.local [10.96.0.10]"},
		{"db", "A", "NOERROR db.shop.svc.cluster.local [10.244.0.8 10.244.0.9]"},
		{"db", "AAAA", "NOERROR db.shop.svc.cluster.local [fd00::9]"},
		{"_http._tcp.web.shop.svc.cluster.local", "SRV", "NOERROR _http._tcp.web.shop.svc.cluster.local [0 100 80 web.shop.svc.cluster.local]"},
		{"web", "TXT", "NOERROR web.shop.svc.cluster.local [firstsecond]"},
		{"alias", "CNAME", "NOERROR alias.shop.svc.cluster.local [example.org]"},
		{"alias", "A", "NOERROR alias.shop.svc.cluster.local [192.0.2.1]"},
		{"example.org", "MX", "NOERROR example.org [10 mail.example.org 5 other.example.org]"},
		{"10.96.0.7", "PTR", "NOERROR 7.0.96.10.in-addr.arpa [web.shop.svc.cluster.local]"},
		{"10.96.0.8", "PTR", "NXDOMAIN 8.0.96.10.in-addr.arpa []"},
		{"fd00::1", "PTR", "NXDOMAIN 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa []"},
		{"a.b.c.d.e.f", "A", "NOERROR a.b.c.d.e.f [192.0.2.6]"},
		{"empty", "A", "NOERROR empty.shop.svc.cluster.local []"},
		{"nosuch", "A", "NXDOMAIN nosuch.shop.svc.cluster.local []"},
		{"broken", "A", "SERVFAIL broken []"},
		{strings.Repeat("x", 300), "A", "NXDOMAIN " + strings.Repeat("x", 300) + ".shop.svc.cluster.local []"},
	} {
		got, err := v.dns(t.Context(), DNS{Name: test.name, Type: test.kind}, DefaultTimeout)
		if err != nil || got.Error != "" || got.Seconds <= 0 {
			t.Errorf("%s %s: %+v, %v", test.name, test.kind, got, err)
			continue
		}
		if text := fmt.Sprintf("%s %s %v", got.Code, got.Name, got.Records); text != test.want {
			t.Errorf("%s %s: %s, want %s", test.name, test.kind, text, test.want)
		}
	}
	if server.byTCP.Load() != 0 {
		t.Error("short answers were asked for by TCP")
	}
	got, err := v.dns(t.Context(), DNS{Name: "many", Type: "A"}, DefaultTimeout)
	if err != nil || len(got.Records) != 100 || server.byTCP.Load() != 1 {
		t.Errorf("a truncated answer is %+v, %v, asked for by TCP %d times", got, err, server.byTCP.Load())
	}
}

func TestResolve(t *testing.T) {
	server := serveDNS(t, "127.0.0.1:0", shop)
	v := inShop(server.address)
	v.names.hosts = []host{{netip.MustParseAddr("127.0.0.1"), []string{"localhost"}}}
	for host, want := range map[string]string{
		"web": "[10.96.0.7] <nil>", "six": "[fd00::6] <nil>", "db": "[10.244.0.9 10.244.0.8] <nil>", "192.0.2.3": "[192.0.2.3] <nil>",
		"localhost": "[127.0.0.1] <nil>", "nosuch": "[] no such host", "empty": "[] no such host", "broken": "[] the DNS server failed",
	} {
		got, err := v.resolve(t.Context(), host)
		if host == "db" {
			slices.SortFunc(got, func(a, b netip.Addr) int { return b.Compare(a) })
		}
		if text := fmt.Sprint(got, " ", err); text != want {
			t.Errorf("%s: %s, want %s", host, text, want)
		}
	}
}

// TestDNSTroubles: servers that are silent, refuse, fail, lose, or are not alone.
func TestDNSTroubles(t *testing.T) {
	good := serveDNS(t, "127.0.0.1:0", shop)
	failing := serveDNS(t, "127.0.0.1:0", zone{"web.shop.svc.cluster.local.": {codeServerFailure}})
	silent := serveDNS(t, "127.0.0.1:0", shop, func(s *dnsServer) { s.lose = func(int64) bool { return true } })
	lossy := serveDNS(t, "127.0.0.1:0", shop, func(s *dnsServer) { s.lose = func(n int64) bool { return n == 1 } })
	deceived := serveDNS(t, "127.0.0.1:0", shop, func(s *dnsServer) {
		s.before = func(question []byte) []byte {
			question[0]++ // another id
			return zone{"web.shop.svc.cluster.local.": {"A 6.6.6.6"}}.answer(t, question, maxDatagram)
		}
	})
	nobody := netip.MustParseAddrPort(freeAddress(t, "udp"))
	ask := DNS{Name: "web", Type: "A"}
	for name, servers := range map[string][]netip.AddrPort{
		"the first refuses":             {nobody, good.address},
		"the first fails":               {failing.address, good.address},
		"the first datagram is lost":    {lossy.address},
		"somebody else answers, too":    {deceived.address},
		"the first of two says nothing": {silent.address, good.address},
	} {
		got, err := inShop(servers...).dns(timeout(t, 20*time.Second), ask, 20*time.Second)
		if err != nil || got.Code != codeSuccess || !slices.Equal(got.Records, []string{"10.96.0.7"}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for want, server := range map[string]netip.AddrPort{
		"the DNS server does not answer":                   nobody,
		"timed out after 0.3 s waiting for the DNS server": silent.address,
	} {
		limit := 300 * time.Millisecond
		got, err := inShop(server).dns(timeout(t, limit), ask, limit)
		if err != nil || got.Error != want || got.Code != "" {
			t.Errorf("%+v, %v, want %q", got, err, want)
		}
		answer, err := inShop(server).http(timeout(t, limit), HTTP{URL: "http://web/"}, Request{Timeout: limit}.complete())
		if err != nil || answer.Error != want {
			t.Errorf("a request: %+v, %v, want %q", answer, err, want)
		}
	}
}

func timeout(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPodNames(t *testing.T) {
	k := &kubelet{config: filepath.Join(t.TempDir(), "later")}
	if got, err := k.names("shop"); err == nil {
		t.Errorf("from a configuration that is not there: %+v", got)
	}
	if err := os.WriteFile(k.config, []byte("kind: KubeletConfiguration\nclusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := k.names("shop")
	if err != nil || fmt.Sprint(got.servers, got.search, got.dots) != "[10.96.0.10:53] [shop.svc.cluster.local svc.cluster.local cluster.local] 5" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = k.names("other"); err != nil || got.search[0] != "other.svc.cluster.local" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, config := range map[string]string{
		"no servers": "clusterDomain: cluster.local\n", "no domain": "clusterDNS: [10.96.0.10]\n",
		"a name for an address": "clusterDNS: [dns]\nclusterDomain: cluster.local\n", "no YAML": "]",
	} {
		if got, err := (&kubelet{config: writeFile(t, config)}).names("shop"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSystemNames(t *testing.T) {
	resolv := writeFile(t, "# a comment\nnameserver 192.0.2.1 ; another\nnameserver nonsense\nnameserver fd00::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"+
		"domain old.example\nsearch lab.example. example\noptions timeout:1 ndots:2 ndots:x\nunknown\nsortlist\n")
	hosts := writeFile(t, "127.0.0.1 localhost # here\n::1 localhost\n192.0.2.9\tdb DB.example\nnonsense x\n")
	got := systemNames(resolv, hosts)
	if fmt.Sprint(got.servers, got.search, got.dots) != "[192.0.2.1:53 [fd00::1]:53 192.0.2.3:53] [lab.example example] 2" {
		t.Errorf("%+v", got)
	}
	if fmt.Sprint(got.candidates("a"), got.candidates("a.b.c"), got.candidates("a.")) != "[a.lab.example a.example a] [a.b.c a.b.c.lab.example a.b.c.example] [a]" {
		t.Errorf("%v %v %v", got.candidates("a"), got.candidates("a.b.c"), got.candidates("a."))
	}
	if fmt.Sprint(got.addressesOf("LOCALHOST"), got.addressesOf("db.example."), got.addressesOf("x")) != "[127.0.0.1 ::1] [192.0.2.9] []" {
		t.Errorf("%+v", got.hosts)
	}
	if got := systemNames("/nonexistent", "/dev/zero"); fmt.Sprint(got.servers, got.search, got.hosts) != "[127.0.0.1:53] [] []" {
		t.Errorf("without files: %+v", got)
	}

	v := vantage{names: got}
	for _, test := range []struct{ name, kind, want string }{
		{"localhost", "A", "NOERROR localhost [127.0.0.1]"}, {"localhost", "AAAA", "NOERROR localhost [::1]"},
		{"192.0.2.9", "PTR", "NOERROR 9.2.0.192.in-addr.arpa [db]"},
	} {
		got, err := v.dns(t.Context(), DNS{Name: test.name, Type: test.kind}, DefaultTimeout)
		if text := fmt.Sprintf("%s %s %v", got.Code, got.Name, got.Records); err != nil || text != test.want {
			t.Errorf("%s %s: %s, %v, want %s", test.name, test.kind, text, err, test.want)
		}
	}
}
