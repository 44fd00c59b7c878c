package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hostLocal builds the plugin that gives addresses, in the version that a node has.
func hostLocal(t *testing.T) string {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "host-local")
	build := exec.Command("go", "build", "-o", plugin, "github.com/containernetworking/plugins/plugins/ipam/host-local")
	build.Dir, build.Env = "../cni", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build host-local: %v: %s", err, out)
	}
	return plugin
}

// network is a network of pods that is used for a test.
type network struct {
	t            *testing.T
	plugin, book string
	state        string // of host-local, which a node that starts again has lost
}

func (n *network) call(command, uid, container string) (answer string, err error) {
	n.t.Helper()
	config, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "test", "type": "ptp",
		"ipam": map[string]any{"type": addressProgram, "dataDir": n.state, "ranges": [][]map[string]string{{{"subnet": "10.244.0.0/29"}}}},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	var out, log bytes.Buffer
	environment := append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+container, "CNI_NETNS=/none", "CNI_IFNAME=eth0", "CNI_PATH=/none",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID="+uid)
	err = addresses{plugin: n.plugin, book: n.book, out: &out, log: &log}.serve(environment, config)
	if log.Len() > 0 {
		n.t.Errorf("%s of %s complains: %s", command, uid, &log)
	}
	return out.String(), err
}

// add gives a pod's container an address and checks which.
func (n *network) add(uid, container, want string) {
	n.t.Helper()
	answer, err := n.call("ADD", uid, container)
	if err != nil {
		n.t.Fatalf("%s gets no address: %v: %s", uid, err, answer)
	}
	if given, err := givenAddress([]byte(answer)); err != nil || given.String() != want {
		n.t.Errorf("%s gets %s, %v, want %s", uid, given, err, want)
	}
}

func (n *network) del(uid, container string) {
	n.t.Helper()
	if answer, err := n.call("DEL", uid, container); err != nil {
		n.t.Fatalf("%s cannot give its address back: %v: %s", uid, err, answer)
	}
}

func TestPodsKeepTheirAddresses(t *testing.T) {
	n := &network{t: t, plugin: hostLocal(t), book: filepath.Join(t.TempDir(), "book"), state: t.TempDir()}
	n.add("one", "a", "10.244.0.2")
	n.add("two", "b", "10.244.0.3")
	n.add("three", "c", "10.244.0.4")
	n.del("two", "b")

	n.state = t.TempDir() // the node is started again, and its pods come up in another order
	n.add("three", "d", "10.244.0.4")
	n.add("new", "e", "10.244.0.5")
	n.add("one", "f", "10.244.0.2")
	n.add("two", "g", "10.244.0.3") // the next one: it had gone, as far as anybody knows

	// A pod whose containers start anew has both for a moment, and the last one counts.
	n.add("one", "h", "10.244.0.6")
	n.del("one", "f")
	n.state = t.TempDir()
	n.add("one", "i", "10.244.0.6")

	// Who comes first to an address of somebody else has it.
	n.state = t.TempDir()
	n.add("first", "j", "10.244.0.2")
	n.add("second", "k", "10.244.0.3")
	n.add("two", "l", "10.244.0.4")
}

func TestAddressesWithoutABook(t *testing.T) {
	n := &network{t: t, plugin: hostLocal(t), book: filepath.Join(t.TempDir(), "book"), state: t.TempDir()}
	for container, uid := range map[string]string{"a": "", "b": "../../outside", "c": ".hidden"} {
		if answer, err := n.call("ADD", uid, container); err != nil || !strings.Contains(answer, "10.244.0.") {
			t.Errorf("a pod with the UID %q gets %s, %v", uid, answer, err)
		}
	}
	if _, err := os.Stat(n.book); err == nil {
		t.Error("they are in the book")
	}
	for _, container := range []string{"d", "e"} { // the last two addresses
		if _, err := n.call("ADD", "", container); err != nil {
			t.Fatal(err)
		}
	}
	if answer, err := n.call("ADD", "late", "f"); err == nil || !strings.Contains(answer, "no IP addresses available") {
		t.Errorf("where none is left, the runtime is told %s, %v", answer, err)
	}
}
