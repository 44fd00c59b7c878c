package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// addressProgram is the name by which the network plugin calls this program.
	addressProgram = "drydock-address"
	// addressPlugin is who gives addresses.
	addressPlugin = "/opt/cni/bin/host-local"
	// addressBook has a file for each pod that has an address, named by the
	// pod's UID: the address, and the container that got it. It is kept in a template.
	addressBook = "/var/lib/drydock/addresses"
)

// addresses gives pods their addresses, as a plugin of the container network
// interface (https://www.cni.dev/docs/spec/) that leaves the work to
// host-local. What it adds: a pod whose node was started again, or copied, gets
// the address that it had.
//
// Otherwise all that Kubernetes has written down of its pods' addresses is
// wrong until the controllers have come round to it, and calls go to whoever
// has the address now, or to nobody. In a copy that was up to seven seconds
// without DNS.
type addresses struct {
	plugin, book string
	out, log     io.Writer
}

// serve answers one call of the container runtime. Its parameters are in the
// environment, the network's configuration is what it reads.
func (a addresses) serve(environment []string, config []byte) error {
	parameters := variables(environment)
	pod := pod{
		file:      a.page(variables(strings.Split(parameters["CNI_ARGS"], ";"))["K8S_POD_UID"]),
		container: parameters["CNI_CONTAINERID"],
	}
	call := func(more ...string) ([]byte, error) {
		cmd := exec.Command(a.plugin)
		cmd.Env, cmd.Stdin, cmd.Stderr = append(environment, more...), bytes.NewReader(config), a.log
		return cmd.Output()
	}
	command := parameters["CNI_COMMAND"]
	if command == "DEL" {
		a.complain(pod.strike())
	}
	var answer []byte
	err := errNone
	if had, _, ok := pod.read(); ok && command == "ADD" {
		answer, err = call("CNI_ARGS=" + parameters["CNI_ARGS"] + ";IP=" + had.String())
	}
	if err != nil { // or somebody else has it now
		answer, err = call()
	}
	if err == nil && command == "ADD" {
		a.complain(pod.note(answer))
	}
	_, writeErr := a.out.Write(answer) // where the plugin failed, this says why
	return errors.Join(err, writeErr)
}

// errNone: the pod is not in the book.
var errNone = errors.New("no address is known")

// complain says what is wrong with the book. A pod starts all the same, with any address.
func (a addresses) complain(err error) {
	if err != nil {
		fmt.Fprintln(a.log, addressProgram+":", err)
	}
}

// page is the file of a pod, and empty where its UID is none.
func (a addresses) page(uid string) string {
	if uid == "" || uid[0] == '.' || filepath.Base(uid) != uid {
		return ""
	}
	return filepath.Join(a.book, uid)
}

// variables reads words of the form KEY=VALUE.
func variables(words []string) map[string]string {
	all := map[string]string{}
	for _, word := range words {
		if key, value, ok := strings.Cut(word, "="); ok {
			all[key] = value
		}
	}
	return all
}

// givenAddress finds the address in an answer, "ips":[{"address":"10.244.0.5/24"}].
func givenAddress(answer []byte) (netip.Addr, error) {
	var result struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return netip.Addr{}, fmt.Errorf("read the answer: %w", err)
	}
	if len(result.IPs) == 0 {
		return netip.Addr{}, errors.New("there is no address in the answer")
	}
	return result.IPs[0].Address.Addr(), nil
}

// pod is one in the book.
type pod struct {
	file      string // empty: it is in no book
	container string // that asks
}

// read returns what the book says of the pod: the address, and which container got it.
func (p pod) read() (address netip.Addr, container string, ok bool) {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return netip.Addr{}, "", false // not there, or no help
	}
	first, container, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	address, err = netip.ParseAddr(first)
	return address, container, err == nil
}

// note writes down what the plugin answered.
func (p pod) note(answer []byte) error {
	if p.file == "" {
		return nil
	}
	given, err := givenAddress(answer)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(p.file, []byte(given.String()+" "+p.container+"\n"), 0o600)
}

// strike takes the pod out, unless another container of it has the address since.
func (p pod) strike() error {
	if _, container, ok := p.read(); !ok || container != p.container {
		return nil
	}
	return os.Remove(p.file)
}
