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

// mount lets a component read a directory of the node, at the same path.
type mount struct{ name, path string }

// controlPlanePatch configures the control plane. Leader election is off:
// there is one of each, and after a freeze or a restart they would wait for a
// lease of their own to run out. A frozen node's own lease lapses too; the
// grace keeps the thawed node's pods.
func controlPlanePatch(access sandbox.Access) string {
	parts := map[string]*component{
		"apiServer": {},
		"controllerManager": {args: []setting{
			{"enable-hostpath-provisioner", "true"},
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
	b.WriteString("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n")
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
		fmt.Fprintf(b, "%s- {name: %q, hostPath: %q, mountPath: %q, readOnly: true, pathType: Directory}\n", indent, m.name, m.path, m.path)
	}
}

// initPatch leaves out what nobody reads, and the restart of kubelet that lets
// it renew its certificate in a year's time. The phase that makes the token for
// joining nodes stays: it also lets the API server talk to kubelet, without
// which there are no logs. The token itself is deleted afterwards.
const initPatch = `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
skipPhases: [preflight, show-join-command, kubelet-finalize]
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
podPidsLimit: %d
seccompDefault: true
systemReserved:
%s`, maxPodPIDs, quoteNumbers(reserved))
}

// quoteNumbers quotes the values: the file wants strings.
func quoteNumbers(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		fmt.Fprintf(&b, "%s: %q\n", key, value)
	}
	return b.String()
}
