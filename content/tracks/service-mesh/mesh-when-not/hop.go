//go:build ignore

// Hop measures what one and two reverse proxies add to a small HTTP request on the loopback
// interface, with and without mutual TLS between the proxies. Every server and proxy is a process
// of its own, as in a mesh. Run it with: go run hop.go
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Each case takes turns with the others for this many rounds of this many requests.
const (
	rounds   = 8
	requests = 2500
)

func main() {
	log.SetFlags(0)
	role := flag.String("role", "", "server or proxy; without it, the measurement")
	upstream := flag.String("upstream", "", "where a proxy sends requests")
	dir := flag.String("dir", "", "directory of the certificate and key")
	inTLS := flag.Bool("in-tls", false, "accept mutual TLS")
	outTLS := flag.Bool("out-tls", false, "speak mutual TLS to the upstream")
	flag.Parse()
	switch *role {
	case "server":
		answer := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") }
		serve(http.HandlerFunc(answer), nil)
	case "proxy":
		target, err := url.Parse(*upstream)
		check(err)
		transport := &http.Transport{MaxIdleConnsPerHost: 100}
		if *outTLS {
			transport.TLSClientConfig = mutual(*dir)
			target.Scheme = "https"
		}
		proxy := &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport: transport,
		}
		var in *tls.Config
		if *inTLS {
			in = mutual(*dir)
		}
		serve(proxy, in)
	default:
		measure()
	}
}

// serve announces its address on standard output and serves until its standard input closes.
func serve(h http.Handler, config *tls.Config) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(l.Addr())
	if config != nil {
		l = tls.NewListener(l, config)
	}
	go func() { io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	check(http.Serve(l, h))
}

// mutual is a configuration for both sides: each shows the certificate and demands it.
func mutual(dir string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "crt"), filepath.Join(dir, "key"))
	check(err)
	authorities := x509.NewCertPool()
	authorities.AddCert(pair.Leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
		RootCAs:      authorities,
	}
}

// process is a running server or proxy.
type process struct {
	address string
	pid     int
	alive   io.WriteCloser // its standard input: the process ends when this closes
}

// start runs this program again in a role and reads its address.
func start(arguments ...string) process {
	cmd := exec.Command(os.Args[0], arguments...)
	cmd.Stderr = os.Stderr
	alive, err := cmd.StdinPipe()
	check(err)
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	check(err)
	return process{strings.TrimSpace(line), cmd.Process.Pid, alive}
}

func measure() {
	dir, err := os.MkdirTemp("", "hop")
	check(err)
	defer os.RemoveAll(dir)
	makeCertificate(dir)

	server := start("-role=server")
	one := start("-role=proxy", "-upstream=http://"+server.address)
	two := start("-role=proxy", "-upstream=http://"+one.address)
	secureIn := start("-role=proxy", "-dir="+dir, "-in-tls", "-upstream=http://"+server.address)
	secure := start("-role=proxy", "-dir="+dir, "-out-tls", "-upstream=http://"+secureIn.address)

	cases := []struct {
		name    string
		entry   process
		samples []time.Duration
	}{
		{name: "no proxy", entry: server},
		{name: "one proxy", entry: one},
		{name: "two proxies", entry: two},
		{name: "two proxies, mTLS between", entry: secure},
	}
	client := &http.Client{}
	for range rounds {
		for i := range cases {
			for n := range requests {
				took := get(client, cases[i].entry.address)
				if n >= requests/10 { // the first ones open connections
					cases[i].samples = append(cases[i].samples, took)
				}
			}
		}
	}
	fmt.Printf("%-28s%10s%10s%10s\n", "", "p50", "p90", "p99")
	for _, c := range cases {
		slices.Sort(c.samples)
		at := func(p int) string {
			return fmt.Sprintf("%.0f µs", float64(c.samples[len(c.samples)*p/100])/1e3)
		}
		fmt.Printf("%-28s%10s%10s%10s\n", c.name, at(50), at(90), at(99))
	}
	total := rounds * requests
	for name, p := range map[string]process{"proxy": two, "proxy with mTLS": secure} {
		spent := processorTime(p.pid) / time.Duration(total)
		fmt.Printf("%s: %v of processor time a request, %s resident\n", name, spent, resident(p.pid))
	}
	for _, p := range []process{secure, secureIn, two, one, server} {
		p.alive.Close()
	}
}

func get(client *http.Client, address string) time.Duration {
	begin := time.Now()
	response, err := client.Get("http://" + address + "/")
	check(err)
	_, err = io.Copy(io.Discard, response.Body)
	check(err)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		log.Fatalf("%s answered %s", address, response.Status)
	}
	return time.Since(begin)
}

func resident(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(err)
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// processorTime is what a process has used so far, in user mode and in the kernel.
func processorTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] { // utime and stime, see proc(5)
		n, err := strconv.Atoi(field)
		check(err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // sysconf(_SC_CLK_TCK) is 100 on Linux
}

func makeCertificate(dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	check(os.WriteFile(filepath.Join(dir, "crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
