package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Level says how good or bad a finding is.
type Level string

const (
	OK    Level = "ok"
	Warn  Level = "warn"  // labs start, but not as well or as many as they could
	Wrong Level = "wrong" // labs do not start
)

// Finding is what one probe found.
type Finding struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Found string `json:"found"`
	// Mend is what to do about it: a command where there is one.
	Mend string `json:"mend,omitempty"`
}

// What one machine needs. The numbers were measured with one idle cluster of
// this node image: 550 MiB of memory, 500 MB of disk beside the images' 1.3 GB.
const (
	memoryNeeded = 2 << 30 // one cluster under a lab's load, and Drydock itself
	memoryWanted = 6 << 30 // a handful
	diskNeeded   = 5 << 30
	diskWanted   = 20 << 30

	// kind's own advice for machines with several clusters.
	inotifyWatches = 524288
	// inotifyInstances is enough for more than a hundred clusters: kind's 512
	// end at sixteen. An instance costs memory only while it is used.
	inotifyInstances = 4096
	// What one idle cluster was measured to hold, of both, and some for the pods of a lab.
	clusterInstances = 32
	clusterWatches   = 400
	// clustersWanted is a class and the spares that are kept for it.
	clustersWanted = 40

	// clusterMemory is what a cluster with a lab at work takes.
	clusterMemory = 600 << 20

	// Every session has a network of its own.
	networksNeeded = 1
	networksWanted = 20
)

const (
	// probeRef is made for a probe and removed after it.
	probeRef = "drydock/probe:doctor"
	// probeTime bounds one probe: a container starts within two seconds on two busy cores.
	probeTime = 30 * time.Second
)

// EngineFinding tells which engine answers.
func EngineFinding(v Version, err error) Finding {
	f := Finding{Name: "engine", Level: OK, Found: v.String()}
	if err != nil {
		f.Level, f.Found, f.Mend = Wrong, err.Error(), SetupCommand
	}
	return f
}

// ProbePrivileged runs a privileged container, as every cluster node is one.
func ProbePrivileged(ctx context.Context, cli *client.Client) Finding {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	f := Finding{Name: "privileged container", Level: OK}
	start := time.Now()
	if err := runProbe(ctx, cli); err != nil {
		f.Level, f.Found, f.Mend = Wrong, "does not run: "+err.Error(), SetupCommand
		return f
	}
	f.Found = fmt.Sprintf("runs (tried in %s)", time.Since(start).Round(10*time.Millisecond))
	return f
}

// ProbeCommand runs the docker command against the engine: kind works through it.
func ProbeCommand(ctx context.Context, cli *client.Client) Finding {
	f := Finding{Name: "docker command", Level: OK}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", "--host", cli.DaemonHost(), "version", "--format", "{{.Client.Version}} {{.Server.Version}}")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	switch {
	case errors.Is(err, exec.ErrNotFound):
		f.Level, f.Found, f.Mend = Wrong, "not installed; kind works through it", SetupCommand
	case err != nil:
		f.Level, f.Found, f.Mend = Wrong, "does not reach the engine: "+text, SetupCommand
	default:
		client, _, _ := strings.Cut(text, " ")
		f.Found = "version " + client
	}
	return f
}

// runProbe runs a program of 130 bytes that ends at once, so that no image has to be there first.
func runProbe(ctx context.Context, cli *client.Client) (err error) {
	archive, err := probeArchive()
	if err != nil {
		return err
	}
	imported, err := cli.ImageImport(ctx, client.ImageImportSource{Source: archive, SourceName: "-"}, probeRef, client.ImageImportOptions{})
	if err != nil {
		return fmt.Errorf("importing a probe image: %w", err)
	}
	_, err = io.Copy(io.Discard, imported)
	if err := errors.Join(err, imported.Close()); err != nil {
		return fmt.Errorf("importing a probe image: %w", err)
	}
	// Also when the context has ended: a probe leaves nothing behind.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
	defer cancel()
	defer func() {
		_, rmErr := cli.ImageRemove(clean, probeRef, client.ImageRemoveOptions{Force: true})
		err = errors.Join(err, rmErr)
	}()
	created, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: probeRef, Cmd: []string{"/probe"}},
		HostConfig: &container.HostConfig{Privileged: true, NetworkMode: "none"},
	})
	if err != nil {
		return fmt.Errorf("creating a container: %w", err)
	}
	defer func() {
		_, rmErr := cli.ContainerRemove(clean, created.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		err = errors.Join(err, rmErr)
	}()
	wait := cli.ContainerWait(ctx, created.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := cli.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		return err
	}
	select {
	case result := <-wait.Result:
		if result.StatusCode != 0 {
			return fmt.Errorf("it ended with exit code %d", result.StatusCode)
		}
		return nil
	case err := <-wait.Error:
		return fmt.Errorf("waiting for it to end: %w", err)
	}
}

func probeArchive() (io.Reader, error) {
	program, err := exitProgram(hostMachine())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	if err := t.WriteHeader(&tar.Header{Name: "probe", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := t.Write(program); err != nil {
		return nil, err
	}
	return &out, t.Close()
}

// Machine numbers of the ELF format.
const (
	elfAMD64 = 62
	elfARM64 = 183
)

// exitProgram is a static ELF executable that does exit(0).
func exitProgram(machine uint16) ([]byte, error) {
	var code []byte
	switch machine {
	case elfAMD64:
		code = []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05} // xor edi, edi; mov eax, 60; syscall
	case elfARM64:
		for _, word := range []uint32{0xd2800000, 0xd2800ba8, 0xd4000001} { // mov x0, 0; mov x8, 93; svc 0
			code = binary.LittleEndian.AppendUint32(code, word)
		}
	default:
		return nil, errors.New("no probe for this processor: Drydock runs on amd64 and arm64")
	}
	const (
		base    = 0x400000
		headers = 64 + 56
	)
	size := uint64(headers + len(code))
	var out bytes.Buffer
	out.WriteString("\x7fELF\x02\x01\x01")
	out.Write(make([]byte, 9))
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), uint64(64), uint64(0), // executable, entry, where the program header is
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // load all of it, read and execute
	} {
		if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	out.Write(code)
	return out.Bytes(), nil
}

// hostMachine is the ELF number of this machine's processor; 0 where there is no probe for it.
func hostMachine() uint16 {
	return map[string]uint16{"amd64": elfAMD64, "arm64": elfARM64}[runtime.GOARCH]
}

// info asks the engine about its machine.
func info(ctx context.Context, cli *client.Client) (client.SystemInfoResult, error) {
	i, err := cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return i, fmt.Errorf("asking the engine about its machine: %w", err)
	}
	return i, nil
}

// unknown is the finding of a probe that could not look.
func unknown(name string, err error) Finding {
	return Finding{Name: name, Level: Wrong, Found: err.Error(), Mend: SetupCommand}
}

// ProbeCgroup tells the version of the control groups that clusters run in.
func ProbeCgroup(ctx context.Context, cli *client.Client) Finding {
	const name = "control groups"
	i, err := info(ctx, cli)
	if err != nil {
		return unknown(name, err)
	}
	return cgroupFinding(i.Info.CgroupVersion, i.Info.CgroupDriver)
}

func cgroupFinding(version, driver string) Finding {
	f := Finding{Name: "control groups", Level: OK, Found: "version " + version + ", driver " + driver}
	if version != "2" {
		f.Level = Warn
		f.Found += "; clusters run, but Kubernetes will drop version 1"
		f.Mend = "start the machine with systemd.unified_cgroup_hierarchy=1 on the kernel's command line"
	}
	return f
}

// ProbeInotify reads the limits that several clusters on one machine run into.
func ProbeInotify(cli *client.Client) Finding {
	const name = "inotify limits"
	if !local(cli) {
		return Finding{Name: name, Level: OK, Found: "not looked at: the engine is on another machine"}
	}
	watches, err1 := readNumber("/proc/sys/fs/inotify/max_user_watches")
	instances, err2 := readNumber("/proc/sys/fs/inotify/max_user_instances")
	if err := errors.Join(err1, err2); err != nil {
		return unknown(name, err)
	}
	return inotifyFinding(watches, instances)
}

func inotifyFinding(watches, instances int64) Finding {
	clusters := min(instances/clusterInstances, watches/clusterWatches)
	f := Finding{Name: "inotify limits", Level: OK, Found: fmt.Sprintf("%d watches, %d instances: enough for about %d clusters", watches, instances, clusters)}
	if clusters < clustersWanted {
		f.Level = Warn
		f.Found += "; with more of them kubelet fails"
		f.Mend = fmt.Sprintf("sudo sysctl fs.inotify.max_user_watches=%d fs.inotify.max_user_instances=%d", inotifyWatches, inotifyInstances)
	}
	return f
}

func readNumber(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// ProbeMemory tells how much memory clusters can have.
func ProbeMemory(ctx context.Context, cli *client.Client) Finding {
	const name = "memory"
	i, err := info(ctx, cli)
	if err != nil {
		return unknown(name, err)
	}
	available := i.Info.MemTotal
	if local(cli) {
		text, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			return unknown(name, err)
		}
		if available, err = parseAvailable(string(text)); err != nil {
			return unknown(name, err)
		}
	}
	return memoryFinding(available, i.Info.MemTotal, i.Info.NCPU)
}

// parseAvailable reads the available memory, in bytes, from the text of /proc/meminfo.
func parseAvailable(meminfo string) (int64, error) {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo does not say how much memory is available")
}

func memoryFinding(available, total int64, cpus int) Finding {
	f := Finding{Name: "memory", Level: OK, Found: fmt.Sprintf("%s of %s available, %d processors: room for about %d more clusters at work",
		units.BytesSize(float64(available)), units.BytesSize(float64(total)), cpus, available/clusterMemory)}
	switch {
	case available < memoryNeeded:
		f.Level = Wrong
	case available < memoryWanted:
		f.Level = Warn
	default:
		return f
	}
	f.Mend = fmt.Sprintf("free some: one cluster needs %s, a class %s or more", units.BytesSize(memoryNeeded), units.BytesSize(memoryWanted))
	return f
}

// ProbeLoops tells whether there are loop devices: what a sandbox writes lies in
// a file system of limited size, which is a file mounted through one of them.
func ProbeLoops(cli *client.Client) Finding {
	const name = "loop devices"
	if !local(cli) {
		return Finding{Name: name, Level: OK, Found: "not looked at: the engine is on another machine"}
	}
	_, err := os.Stat("/dev/loop-control")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return unknown(name, err)
	}
	used, globErr := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if globErr != nil {
		return unknown(name, globErr)
	}
	return loopFinding(err == nil, len(used))
}

func loopFinding(there bool, used int) Finding {
	if !there {
		return Finding{Name: "loop devices", Level: Wrong, Mend: "sudo modprobe loop",
			Found: "there is no /dev/loop-control; what a sandbox may write can't be limited"}
	}
	return Finding{Name: "loop devices", Level: OK, Found: fmt.Sprintf("%d in use; more are made when they are needed", used)}
}

// ProbeDisk tells how much room there is where the engine keeps its data.
func ProbeDisk(ctx context.Context, cli *client.Client) Finding {
	const name = "disk"
	i, err := info(ctx, cli)
	if err != nil {
		return unknown(name, err)
	}
	dir := i.Info.DockerRootDir
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || !local(cli) {
		// As in a container with the engine's socket mounted: the directory is the machine's, not ours.
		return Finding{Name: name, Level: OK, Found: "not looked at: " + dir + " cannot be seen from here"}
	}
	return diskFinding(int64(st.Bavail)*st.Bsize, dir)
}

func diskFinding(free int64, dir string) Finding {
	f := Finding{Name: "disk", Level: OK, Found: units.BytesSize(float64(free)) + " free in " + dir}
	switch {
	case free < diskNeeded:
		f.Level = Wrong
	case free < diskWanted:
		f.Level = Warn
	default:
		return f
	}
	f.Mend = fmt.Sprintf("make room: %s are needed, %s are good; \"docker system df\" shows what takes it",
		units.BytesSize(diskNeeded), units.BytesSize(diskWanted))
	return f
}

// ProbeNetworks makes a network, as every session gets one, and counts how many more there can be.
func ProbeNetworks(ctx context.Context, cli *client.Client) Finding {
	const name = "networks"
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	made, err := cli.NetworkCreate(ctx, fmt.Sprintf("drydock-probe-%d", os.Getpid()), client.NetworkCreateOptions{Driver: "bridge"})
	if err != nil {
		return Finding{Name: name, Level: Wrong, Found: "none can be made: " + err.Error(), Mend: "docker network prune"}
	}
	if _, err := cli.NetworkRemove(context.WithoutCancel(ctx), made.ID, client.NetworkRemoveOptions{}); err != nil {
		return unknown(name, fmt.Errorf("removing the probe's network: %w", err))
	}
	i, err := info(ctx, cli)
	if err != nil {
		return unknown(name, err)
	}
	list, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("driver", "bridge")})
	if err != nil {
		return unknown(name, fmt.Errorf("listing networks: %w", err))
	}
	var pools []pool
	for _, p := range i.Info.DefaultAddressPools {
		pools = append(pools, pool{base: p.Base, size: p.Size})
	}
	var used []netip.Prefix
	for _, n := range list.Items {
		for _, c := range n.IPAM.Config {
			used = append(used, c.Subnet)
		}
	}
	return networksFinding(networksLeft(pools, used))
}

// pool is a range of addresses that the engine cuts networks of one size from.
type pool struct {
	base netip.Prefix
	size int // prefix length of each network
}

// dockerPools are what Docker uses when nothing is configured (moby, daemon/libnetwork/ipamutils).
func dockerPools() []pool {
	pools := []pool{{netip.MustParsePrefix("192.168.0.0/16"), 20}}
	for second := byte(17); second < 32; second++ {
		pools = append(pools, pool{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second, 0, 0}), 16), 16})
	}
	return pools
}

// networksLeft counts the networks that can still be made.
func networksLeft(pools []pool, used []netip.Prefix) int {
	if len(pools) == 0 {
		pools = dockerPools()
	}
	left := 0
	for _, p := range pools {
		all := 1 << max(0, p.size-p.base.Bits())
		for _, u := range used {
			if !u.Overlaps(p.base) {
				continue
			}
			// A used network may span several of the pool's, or the whole pool.
			all -= 1 << max(0, p.size-max(u.Bits(), p.base.Bits()))
		}
		left += max(0, all)
	}
	return left
}

func networksFinding(left int) Finding {
	f := Finding{Name: "networks", Level: OK, Found: fmt.Sprintf("one was made; about %d more can be", left)}
	switch {
	case left < networksNeeded:
		f.Level = Wrong
	case left < networksWanted:
		f.Level = Warn
	default:
		return f
	}
	f.Mend = `"docker network prune", or smaller "default-address-pools" in /etc/docker/daemon.json`
	return f
}
