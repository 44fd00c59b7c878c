package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopped is a program of the control plane, and how it is stopped.
type stopped struct {
	program string
	signal  syscall.Signal
}

var (
	// controllers act on what the API server says. They have nothing that they would have to write.
	controllers = []stopped{{"kube-controller-manager", syscall.SIGKILL}, {"kube-scheduler", syscall.SIGKILL}}
	// servers are stopped after them, in this order. etcd may finish what it writes.
	servers = []stopped{{"kube-apiserver", syscall.SIGKILL}, {"etcd", syscall.SIGTERM}}
)

const (
	// stopTimeout is for etcd, which takes a fraction of a second.
	stopTimeout = 30 * time.Second
	stopPoll    = 20 * time.Millisecond
)

// notKept is what the kubelet and containerd of a copy make anew: what was
// running, its logs, and identities. containerd's own data is that of the
// image, where nothing has run yet.
var notKept = []string{
	"./lib/containerd", "./lib/kubelet/pods", "./lib/kubelet/pki", "./lib/kubelet/plugins", "./lib/kubelet/plugins_registry",
	"./lib/kubelet/pod-resources", "./lib/kubelet/device-plugins", "./lib/kubelet/checkpoints",
	"./lib/kubelet/cpu_manager_state", "./lib/kubelet/memory_manager_state", "./lib/kubelet/actuated_pods_state", "./lib/kubelet/allocated_pods_state",
	"./log/pods", "./log/containers", "./log/journal", "./lib/cni", "./lib/dpkg", "./lib/apt", "./cache", "./tmp", "./run", "./lock",
}

// quiesce stops whoever would draw conclusions when the pods are said to have
// not started: that no service has anybody behind it, above all. In a copy all
// pods come back, with their addresses, and what is written down of services
// holds from the beginning. kubelet has been stopped before, or it would start
// again what is stopped here.
func quiesce() error {
	awaitServices()
	if err := stopAll(controllers); err != nil {
		return err
	}
	if err := keepServices(serviceRules); err != nil {
		return fmt.Errorf("keep the rules of the services: %w", err)
	}
	return nil
}

// seal packs the node, which is at rest.
func seal() error {
	if err := stopAll(servers); err != nil {
		return err
	}
	if err := separate("/etc/kubernetes", "/kind", "/var/lib/kubelet/config.yaml"); err != nil {
		return err
	}
	// A copy's audit log begins with its learner.
	if err := os.RemoveAll(auditDir); err != nil {
		return err
	}
	args := []string{"--create", "--sparse", "--hole-detection=raw", "--numeric-owner", "--one-file-system", "--directory", "/var", "--file", packedVar}
	for _, path := range notKept {
		args = append(args, "--exclude", path)
	}
	// etcd's store is a file system of its own, which has to be named: see limitVar.
	return command("tar", append(args, ".", "./lib/etcd")...)
}

func stopAll(all []stopped) error {
	for _, c := range all {
		if err := stop(c.program, c.signal); err != nil {
			return fmt.Errorf("stop %s: %w", c.program, err)
		}
	}
	return nil
}

// stop ends all processes of a program and waits for it.
func stop(program string, signal syscall.Signal) error {
	for deadline := time.Now().Add(stopTimeout); ; time.Sleep(stopPoll) {
		running, err := processes(program)
		if err != nil || len(running) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it still runs after %v", stopTimeout)
		}
		for _, pid := range running {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
}

// processes finds those that were started under a program's name.
func processes(program string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		first, _, _ := strings.Cut(string(line), "\x00")
		if filepath.Base(first) == program {
			found = append(found, pid)
		}
	}
	return found, nil
}

// oldAuthority is where kubeadm's settings name the authority of clients.
const oldAuthority = "/etc/kubernetes/pki/ca."

// separate parts the authority of clients from that of the API server, takes
// the key of the latter away, with which anybody could vouch for anybody, and
// forgets what is the node's own.
func separate(etc, kind, kubeletConfig string) error {
	newAuthority := strings.Replace(oldAuthority, "pki/ca.", clientAuthority+".", 1)
	manifests := filepath.Join(etc, "manifests")
	for _, edit := range []struct{ file, setting string }{
		{kubeletConfig, "clientCAFile: "},
		{filepath.Join(manifests, "kube-apiserver.yaml"), "--client-ca-file="},
		{filepath.Join(manifests, "kube-controller-manager.yaml"), "--client-ca-file="},
		{filepath.Join(manifests, "kube-controller-manager.yaml"), "--cluster-signing-cert-file="},
		{filepath.Join(manifests, "kube-controller-manager.yaml"), "--cluster-signing-key-file="},
	} {
		if err := substitute(edit.file, edit.setting+oldAuthority, edit.setting+newAuthority); err != nil {
			return err
		}
	}
	for _, path := range []string{filepath.Join(etc, "pki/ca.key"), filepath.Join(kind, "product_uuid")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func substitute(path, old, replacement string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("%s does not say %s", path, old)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600)
}
