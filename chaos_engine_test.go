package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"drydock/sandbox/image"
)

const (
	// engineUp is how long a container engine may take to answer on a busy machine.
	engineUp = time.Minute
	// engineDisk is the size of the engine's file system: the images, a template
	// and what a handful of sandboxes write. It is a sparse file.
	engineDisk = 16 << 30
	// dataDisk is the size of the servers' data directories, which a test fills.
	dataDisk = 64 << 20
)

// chaosEngine is a container engine of the test's own: what the test does to
// it, it does to nobody else. It has a network namespace, so that it leaves
// this machine's firewall alone, and a file system, so that all that is
// mounted from it and all that it has written is known.
type chaosEngine struct {
	t      *testing.T
	dir    string // everything of it
	disk   string // its file system, mounted
	config string
	netns  string // the name of the network namespace
	socket string
	device uint64 // of the file system: loop devices on its files are its sandboxes'
	cmd    *exec.Cmd
	exited chan struct{}
	log    *lockedBuffer
	api    *client.Client
	killed bool // at least once
	left   int  // processes that the engine forgot when it was killed
}

// newChaosEngine starts an engine with the images of the machine's own one.
func newChaosEngine(t *testing.T) *chaosEngine {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos-") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	e := &chaosEngine{
		t: t, dir: dir, disk: filepath.Join(dir, "disk"), config: filepath.Join(dir, "daemon.json"),
		netns: "drydock-" + filepath.Base(dir), socket: filepath.Join(dir, "d.sock"), log: &lockedBuffer{},
	}
	t.Cleanup(e.remove)
	file := filepath.Join(dir, "disk.img")
	e.must("make the engine's file", os.WriteFile(file, nil, 0o600))
	e.must("size the engine's file", os.Truncate(file, engineDisk))
	e.must("make its directory", os.Mkdir(e.disk, 0o755))
	// What a crash of the whole machine would leave is not what is tested: no journal is faster.
	e.run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", file)
	e.run("mount", "-o", "loop", file, e.disk)
	var stat unix.Stat_t
	e.must("look at the file system", unix.Stat(e.disk, &stat))
	e.device = stat.Dev
	e.run("ip", "netns", "add", e.netns)
	e.run("ip", "-n", e.netns, "link", "set", "lo", "up")
	e.must("configure the engine", e.configure())
	e.api, err = client.New(client.WithHost("unix://" + e.socket))
	e.must("make a client of the engine", err)
	e.start()
	e.load()
	return e
}

func (e *chaosEngine) must(what string, err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%s: %v", what, err)
	}
}

func (e *chaosEngine) run(argv ...string) {
	e.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		e.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// configure takes the runtime from the machine's own engine, which may need a
// special one. Containers outlive the daemon, as they do where systemd runs it.
func (e *chaosEngine) configure() error {
	config := map[string]any{}
	if text, err := os.ReadFile("/etc/docker/daemon.json"); err == nil {
		if err := json.Unmarshal(text, &config); err != nil {
			return fmt.Errorf("read the engine's own configuration: %w", err)
		}
	}
	mine := map[string]any{
		"live-restore": true, "bridge": "none",
		"default-address-pools": []map[string]any{{"base": "172.18.0.0/16", "size": 26}},
	}
	for _, name := range []string{"default-runtime", "runtimes"} {
		if value, ok := config[name]; ok {
			mine[name] = value
		}
	}
	text, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	return os.WriteFile(e.config, text, 0o600)
}

// start starts the daemon and waits until it answers. After a kill it may need
// more than one attempt, which service managers make, too.
func (e *chaosEngine) start() {
	e.t.Helper()
	for deadline := time.Now().Add(engineUp); time.Now().Before(deadline); {
		if e.attempt(deadline) {
			return
		}
	}
	e.t.Fatalf("the engine does not answer within %s:\n%s", engineUp, e.log.tail(30))
}

// attempt starts the daemon and says whether it answers. One that has ended is waited for.
func (e *chaosEngine) attempt(deadline time.Time) bool {
	e.t.Helper()
	cmd := exec.Command("nsenter", "--net=/run/netns/"+e.netns, "dockerd", "--config-file", e.config,
		"--data-root", filepath.Join(e.disk, "docker"), "--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "dockerd.pid"), "--host", "unix://"+e.socket)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	cmd.WaitDelay = time.Second // what it has started holds its output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	e.must("start the engine", cmd.Start())
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // a killed one has a status that says so
		close(exited)
	}()
	e.cmd, e.exited = cmd, exited
	for time.Now().Before(deadline) {
		if _, err := e.api.Ping(context.Background(), client.PingOptions{NegotiateAPIVersion: true}); err == nil {
			return true
		}
		select {
		case <-exited:
			e.cmd = nil
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// kill kills the daemon, and with hard also the program below it that watches the containers.
func (e *chaosEngine) kill(hard bool) {
	e.t.Helper()
	e.killed = true
	e.must("kill the engine", e.cmd.Process.Kill())
	<-e.exited
	e.cmd = nil
	for deadline := time.Now().Add(engineUp); hard && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		pid := e.containerd()
		if pid == 0 {
			return
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// containerd is the process id of the program below the daemon, or 0.
func (e *chaosEngine) containerd() int {
	text, err := os.ReadFile(filepath.Join(e.dir, "exec", "containerd", "containerd.pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); !strings.Contains(string(name), e.dir) {
		return 0
	}
	return pid
}

// shims are the engine's own processes, one a container that runs.
func (e *chaosEngine) shims() ([]process, error) {
	return processes(func(p process) bool {
		return strings.Contains(p.argv, "containerd-shim") && strings.Contains(p.argv, e.dir)
	})
}

// reap ends those that the engine itself has forgotten: one that is killed
// while it starts a container may do so, and no client of it sees them.
func (e *chaosEngine) reap(shims []process, containers []container.Summary) (known []process) {
	for _, p := range shims {
		if slices.ContainsFunc(containers, func(c container.Summary) bool { return strings.Contains(p.argv, c.ID) }) {
			known = append(known, p)
			continue
		}
		// What the engine is starting or ending at this moment is not in the list either.
		age, err := p.age()
		if pid, _ := strconv.Atoi(p.pid); err == nil && age > forgottenAfter && pid > 1 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			e.left++
			e.t.Logf("the engine, killed while it started a container, has forgotten a process: %s", p)
		}
		known = append(known, p) // until it has gone
	}
	return known
}

// forgottenAfter is more than the engine needs to start or end a container.
const forgottenAfter = 20 * time.Second

// load brings the images over from the machine's own engine.
func (e *chaosEngine) load() {
	e.t.Helper()
	began := time.Now()
	save := exec.Command("docker", "save", image.NodeRef, image.TerminalRef, image.MachineRef)
	load := exec.Command("docker", "load")
	load.Env = append(os.Environ(), "DOCKER_HOST=unix://"+e.socket)
	var complaints strings.Builder
	save.Stderr, load.Stderr = &complaints, &complaints
	var err error
	load.Stdin, err = save.StdoutPipe()
	e.must("join the two", err)
	e.must("read the images", save.Start())
	err = load.Run()
	if err = errors.Join(err, save.Wait()); err != nil {
		e.t.Fatalf("load the images: %v\n%s", err, complaints.String())
	}
	e.t.Logf("an engine of its own, with the images, in %.0f s", time.Since(began).Seconds())
}

// remove removes all of it. What a failed test left in it goes with it.
func (e *chaosEngine) remove() {
	if e.t.Failed() {
		e.t.Logf("the engine's log:\n%s", e.log.tail(40))
	}
	if e.t.Failed() { // perhaps between a kill and the start that follows it
		for n := 0; e.cmd == nil && n < 3; n++ {
			e.attempt(time.Now().Add(engineUp))
		}
		e.removeContainers()
	}
	if e.cmd != nil {
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(engineUp, func() { _ = e.cmd.Process.Kill() })
		<-e.exited
		late.Stop()
	}
	if pid := e.containerd(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if left, err := e.shims(); err == nil {
		for _, p := range left {
			if pid, _ := strconv.Atoi(p.pid); pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	// The daemon mounts its directory onto itself each time that it starts, and keeps its own namespace.
	for _, own := range []string{filepath.Join(e.disk, "docker"), filepath.Join(e.dir, "exec", "netns", "default")} {
		for exec.Command("umount", own).Run() == nil {
			continue
		}
	}
	// A mount that does not go, or a process that holds it, is a leak.
	for _, argv := range [][]string{{"ip", "netns", "del", e.netns}, {"umount", e.disk}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			e.t.Errorf("%s: %v\n%s", strings.Join(argv, " "), err, out)
			return
		}
	}
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Error(err)
	}
}

func (e *chaosEngine) removeContainers() {
	ctx, cancel := context.WithTimeout(context.Background(), engineUp)
	defer cancel()
	list, _ := e.api.ContainerList(ctx, client.ContainerListOptions{All: true})
	for _, c := range list.Items {
		_, _ = e.api.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
}

// transport reaches what listens in the engine's network namespace.
func (e *chaosEngine) transport() http.RoundTripper {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		type dialled struct {
			conn net.Conn
			err  error
		}
		done := make(chan dialled, 1)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with this goroutine
			ns, err := os.Open("/run/netns/" + e.netns)
			if err == nil {
				defer ns.Close()
				err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			}
			if err != nil {
				done <- dialled{nil, err}
				return
			}
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			done <- dialled{conn, err}
		}()
		d := <-done
		return d.conn, d.err
	}}
}

// loops counts the loop devices on files of the engine's, the one that it is on left out.
func (e *chaosEngine) loops() (int, error) {
	out, err := exec.Command("losetup", "--list", "--noheadings", "--output", "BACK-MAJ:MIN").Output()
	if err != nil {
		return 0, fmt.Errorf("list the loop devices: %w", err)
	}
	mine := fmt.Sprintf("%d:%d", unix.Major(e.device), unix.Minor(e.device))
	n := 0
	for line := range strings.Lines(string(out)) {
		if strings.TrimSpace(line) == mine {
			n++
		}
	}
	return n, nil
}

// mounts are the containers' root file systems that are mounted.
func (e *chaosEngine) mounts() (int, error) {
	text, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 2 && f[2] == "overlay" && strings.HasPrefix(f[1], e.disk) {
			n++
		}
	}
	return n, nil
}
