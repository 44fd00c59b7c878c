package main

import (
	"net"
	"time"
)

// servers are whom the programs of the control plane call first. All of them
// are started at the same moment. One that finds nobody comes back a second
// later or more, and one that starts early keeps the processor from the server
// that it waits for.
var servers = map[string]string{
	"kube-apiserver":          "127.0.0.1:2379", // etcd
	"kube-controller-manager": "127.0.0.1:6443", // the API server, which listens once it is nearly done
	"kube-scheduler":          "127.0.0.1:6443",
}

const (
	// awaitPoll is how often is looked; a look costs some 50 µs.
	awaitPoll = 10 * time.Millisecond
	// awaitLimit is when a program goes on without its server, and says itself what is wrong.
	awaitLimit = 30 * time.Second
)

// await waits until somebody listens at the address.
func await(address string) {
	for deadline := time.Now().Add(awaitLimit); time.Now().Before(deadline); time.Sleep(awaitPoll) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
	}
}
