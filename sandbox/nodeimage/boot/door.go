package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// apiAddress is the API server's, where the door's own rule does not reach.
	apiAddress = "127.0.0.1:6443"
	// doorAddress is where the door listens.
	doorAddress = "127.0.0.1:6442"
	// apiReady leaves out what only writes what a copy has already: it compares a
	// hundred roles, one by one, and kubelet would wait for that.
	apiReady = "/readyz?exclude=poststarthook/rbac/bootstrap-roles&exclude=poststarthook/scheduling/bootstrap-system-priority-classes"
	// doorPoll is how often the API server is asked.
	doorPoll = 30 * time.Millisecond
	// doorTimeout is when the door gives up: everybody may find out for himself then.
	doorTimeout = 2 * time.Minute
)

// doorRules lead those who call the API server on this node to the door.
const doorRules = `table ip drydock_door {
	chain output {
		type nat hook output priority -110;
		ip daddr != 127.0.0.1 tcp dport 6443 fib daddr type local redirect to :6442
	}
}
`

// serviceRules is the table of kube-proxy in the template, as nft prints it.
const serviceRules = "/var/lib/drydock/kube-proxy.nft"

// dnsIsServed matches rules that lead calls of DNS somewhere.
var dnsIsServed = regexp.MustCompile(`udp \. 53 : goto service-[A-Z0-9]+-kube-system/kube-dns/udp/dns`)

const (
	// servedTimeout is for the controllers and kube-proxy to say of a pod that is ready that it is behind
	// its service, a second or two. A lab whose fault is in DNS pays it, once for each template.
	servedTimeout = 5 * time.Second
	servedPoll    = 100 * time.Millisecond
)

// awaitServices waits until what is written down of services has caught up with
// the pods, as far as that shows in DNS: it was ready last.
func awaitServices() {
	for deadline := time.Now().Add(servedTimeout); time.Now().Before(deadline); time.Sleep(servedPoll) {
		if rules, err := exec.Command("nft", "list", "table", "ip", "kube-proxy").Output(); err == nil && dnsIsServed.Match(rules) {
			return
		}
	}
}

// keepServices writes down where kube-proxy sends those who call a service.
func keepServices(file string) error {
	rules, err := exec.Command("nft", "list", "table", "ip", "kube-proxy").Output()
	if err != nil {
		return nil // none: there is no kube-proxy, or it works in another way
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, rules, 0o600)
}

// showServices puts the template's rules in place, which hold in the copy too: its
// pods have the same addresses. kube-proxy replaces them as soon as it runs.
// Without them, all that comes up before it finds no DNS and no API server, and
// asks again after seconds.
func showServices(file string) error {
	rules, err := os.ReadFile(file)
	if err != nil {
		return nil // none were kept
	}
	return nft(string(rules))
}

// door holds up those who call the API server before it is there. kubelet and
// the controllers are started at the same time as it is, find nobody, and come
// back later and later: after up to a dozen seconds for a server that takes
// three. A call that is held at the door is through as soon as it opens.
//
// It ends with the last call that came through it.
func door() error {
	listener, err := net.Listen("tcp", doorAddress)
	if err != nil {
		return err
	}
	if err := nft(doorRules); err != nil {
		return err
	}
	if err := showServices(serviceRules); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-boot:", err) // everybody waits for kube-proxy then
	}
	open := make(chan struct{})
	var calls sync.WaitGroup
	calls.Go(func() { // ends when the listener is closed
		for {
			caller, err := listener.Accept()
			if err != nil {
				return
			}
			calls.Go(func() {
				<-open
				_ = connect(caller.(*net.TCPConn)) // a caller whose call broke calls again
			})
		}
	})
	waitForAPI()
	err = errors.Join(nft("delete table ip drydock_door\n"), listener.Close())
	close(open)
	calls.Wait()
	return err
}

// waitForAPI waits until the API server says that it is ready, or for doorTimeout.
func waitForAPI() {
	client := &http.Client{
		Timeout: time.Second,
		// Nothing is sent and nothing believed but a status.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	for deadline := time.Now().Add(doorTimeout); time.Now().Before(deadline); time.Sleep(doorPoll) {
		answer, err := client.Get("https://" + apiAddress + apiReady)
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
	}
}

// connect passes a call on until either side hangs up.
func connect(caller *net.TCPConn) error {
	defer caller.Close()
	server, err := net.Dial("tcp", apiAddress)
	if err != nil {
		return err
	}
	defer server.Close()
	back := make(chan error, 1)
	go func() {
		_, err := io.Copy(caller, server)
		back <- errors.Join(err, caller.CloseWrite())
	}()
	_, err = io.Copy(server, caller)
	return errors.Join(err, server.(*net.TCPConn).CloseWrite(), <-back)
}

func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
