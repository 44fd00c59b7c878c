package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// What the programs of the control plane wait for before they do anything. All
// of them are started at the same moment. One that finds its server not there
// comes back a second later or more, and one that starts early keeps the
// processor from the server that it waits for.
var preconditions = map[string]func() bool{
	"kube-apiserver":          etcdListens,
	"kube-controller-manager": apiIsHealthy, // what it asks for itself
	"kube-scheduler":          apiIsHealthy,
}

const (
	// awaitPoll is how often is looked; a look costs a millisecond at the most.
	awaitPoll = 30 * time.Millisecond
	// awaitLimit is when a program goes on all the same, and says itself what is wrong.
	awaitLimit = 30 * time.Second
)

// await waits until the condition holds.
func await(condition func() bool) {
	for deadline := time.Now().Add(awaitLimit); !condition() && time.Now().Before(deadline); {
		time.Sleep(awaitPoll)
	}
}

func etcdListens() bool {
	conn, err := net.Dial("tcp", "127.0.0.1:2379")
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func apiIsHealthy() bool {
	client := &http.Client{
		Timeout: time.Second,
		// Nothing is sent and nothing believed but a status.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	answer, err := client.Get("https://127.0.0.1:6443/healthz")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
