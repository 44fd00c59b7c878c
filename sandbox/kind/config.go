package kind

import (
	"fmt"
	"strings"

	"drydock/sandbox"
)

// component is what kubeadm is told of one part of the control plane.
type component struct {
	args   []setting // command line flags, without the dashes
	env    []setting
	mounts []mount
}

// setting is a name with its value.
type setting struct{ name, value string }

// mount lets a component read a directory of the node, at the same path, and
// write in it if it says so.
type mount struct {
	name, path string
	writable   bool
}

// controlPlanePatch configures the control plane. Leader election is off:
// there is one of each, and after a freeze or a restart they would wait for a
// lease of their own to run out. A frozen node's own lease lapses too; the
// grace keeps the thawed node's pods.
func controlPlanePatch(access sandbox.Access) string {
	parts := map[string]*component{
		"apiServer": {},
		"controllerManager": {args: []setting{
			{"leader-elect", "false"},
			{"node-monitor-grace-period", "720h"},
		}},
		"scheduler": {args: []setting{{"leader-elect", "false"}}},
		"etcd":      {},
	}
	for _, more := range []map[string]component{lean(), policy(access)} {
		for name, c := range more {
			parts[name].args = append(parts[name].args, c.args...)
			parts[name].env = append(parts[name].env, c.env...)
			parts[name].mounts = append(parts[name].mounts, c.mounts...)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nencryptionAlgorithm: ECDSA-P256\ncontrolPlaneEndpoint: %s:%d\n", nodeName, apiServerPort)
	for _, name := range []string{"apiServer", "controllerManager", "scheduler"} {
		fmt.Fprintf(&b, "%s:\n", name)
		parts[name].write(&b, "  ")
	}
	b.WriteString("etcd:\n  local:\n")
	parts["etcd"].write(&b, "    ")
	return b.String()
}

func (c *component) write(b *strings.Builder, indent string) {
	for _, list := range []struct {
		name     string
		settings []setting
	}{{"extraArgs", c.args}, {"extraEnvs", c.env}} {
		fmt.Fprintf(b, "%s%s:", indent, list.name)
		if len(list.settings) == 0 {
			b.WriteString(" []")
		}
		b.WriteString("\n")
		for _, s := range list.settings {
			fmt.Fprintf(b, "%s- {name: %q, value: %q}\n", indent, s.name, s.value)
		}
	}
	if len(c.mounts) == 0 {
		return // etcd has no such field
	}
	fmt.Fprintf(b, "%sextraVolumes:\n", indent)
	for _, m := range c.mounts {
		fmt.Fprintf(b, "%s- {name: %q, hostPath: %q, mountPath: %q, readOnly: %t, pathType: Directory}\n", indent, m.name, m.path, m.path, !m.writable)
	}
}

// Every node has this name, and gives itself this address, besides the one
// that the engine gives it: what Kubernetes keeps of the two then holds in every
// copy of a template. The address is private and in none of the cluster's ranges.
const (
	nodeName    = "lab-control-plane"
	nodeAddress = "10.245.0.1"
)

// initPatch names the node. It leaves out what nobody reads, and the restart of
// kubelet that lets it renew its certificate in a year's time. The phase that
// makes the token for joining nodes stays: it also lets the API server talk to
// kubelet, without which there are no logs. The token itself is deleted afterwards.
func initPatch() string {
	return fmt.Sprintf(`
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: %[2]s, bindPort: %[3]d}
nodeRegistration:
  name: %[1]s
  kubeletExtraArgs:
  - {name: node-ip, value: %[2]s}
  - {name: provider-id, value: kind://docker/lab/%[1]s}
patches: {directory: /kind/patches}
skipPhases: [preflight, show-join-command, kubelet-finalize]
`, nodeName, nodeAddress, apiServerPort)
}

// proxyPatch opens node ports on the engine's network too, where the terminal
// is. A service is there a fifth of a second after its first pod is ready, and
// not a whole one: the rules of a small cluster are written in milliseconds.
const proxyPatch = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
nodePortAddresses: [0.0.0.0/0]
nftables: {minSyncPeriod: 200ms}
`

// kubeletPatch makes the node offer what it may use, not what the machine has.
func kubeletPatch(plan *plan) string {
	reserved := fmt.Sprintf("  memory: %d\n", max(0, plan.host.memory-plan.limits.memory))
	if spare := float64(plan.host.cpus) - plan.limits.cpus; spare > 0 {
		reserved += fmt.Sprintf("  cpu: %dm\n", int(spare*1000))
	}
	return fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
rotateCertificates: false
podPidsLimit: %d
seccompDefault: true
evictionHard: {nodefs.available: %[2]s, imagefs.available: %[2]s, nodefs.inodesFree: 2%%}
evictionPressureTransitionPeriod: 20s
systemReserved:
%[3]s`, maxPodPIDs, diskReserve, quoteNumbers(reserved))
}

// diskReserve is what etcd and the logs need to go on: a node with less evicts
// pods, and says why. It takes new ones as soon as there is room again, not
// five minutes later: a learner has filled it by mistake.
const diskReserve = "200Mi"

// quoteNumbers quotes the values: the file wants strings.
func quoteNumbers(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		fmt.Fprintf(&b, "%s: %q\n", key, value)
	}
	return b.String()
}
