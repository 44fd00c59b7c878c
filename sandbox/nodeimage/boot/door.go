package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
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

// signRules stand where kube-proxy's will be. They show pods the way to the API
// server's service: DNS, for one, asks it as soon as it starts, found no way,
// and came back seconds later. And they say of other services that nobody is
// there yet: whoever gets no answer at all asks again after seconds. The
// addresses are of kind's range of services.
const signRules = `table ip drydock_sign {
	chain prerouting {
		type nat hook prerouting priority -110;
		ip daddr 10.96.0.1 tcp dport 443 redirect to :6443
	}
	chain forward {
		type filter hook forward priority -10;
		ip daddr 10.96.0.0/16 reject with icmp port-unreachable
	}
}
`

const (
	// signPoll is how often is looked whether kube-proxy has its rules in place.
	signPoll = 500 * time.Millisecond
	// signTimeout is when the sign goes all the same: a lab may be about a kube-proxy that fails.
	signTimeout = 20 * time.Second
)

// takeDownSign removes the sign as soon as kube-proxy shows the way.
func takeDownSign() error {
	for deadline := time.Now().Add(signTimeout); time.Now().Before(deadline); time.Sleep(signPoll) {
		if exec.Command("nft", "list", "table", "ip", "kube-proxy").Run() == nil {
			break
		}
	}
	return nft("delete table ip drydock_sign\n")
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
	if err := nft(doorRules + signRules); err != nil {
		return err
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
	err = errors.Join(err, takeDownSign())
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
