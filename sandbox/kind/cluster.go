package kind

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// dockerWrapper stands for docker in the PATH of the child process.
//
//go:embed docker.sh
var dockerWrapper []byte

// cancelGrace is for the child to end by itself: the engine needs a few
// seconds for a node's container, more when the machine is busy.
const cancelGrace = 60 * time.Second

// createCluster runs kind in a child process.
// It calls answers once, as soon as the cluster's API can be used: kind has
// things left to do then that nothing has to wait for.
func (p *Provider) createCluster(ctx context.Context, b *box, s *dock.Stages, answers func()) error {
	dir, err := os.MkdirTemp(p.cfg.StateDir, b.names.cluster+"-")
	if err != nil {
		return fmt.Errorf("make a directory for the creation: %w", err)
	}
	defer os.RemoveAll(dir)
	docker, err := exec.LookPath("docker")
	if err != nil {
		return fmt.Errorf("kind needs the docker command: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker"), dockerWrapper, 0o700); err != nil {
		return fmt.Errorf("write the wrapper of docker: %w", err)
	}
	req, err := json.Marshal(request{
		Name: b.names.cluster, Image: p.nodeImage(b.plan), Copy: b.plan.template != "",
		Kubeconfig: filepath.Join(dir, "kubeconfig"), Cluster: clusterConfig(b.plan),
	})
	if err != nil {
		return err
	}
	known, err := p.answers(b)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.cfg.Self, ChildName)
	cmd.Env = append(p.childEnv(b, dir, docker), known...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return runChild(ctx, cmd, append(req, '\n'), func(e event) {
		if e.Warn != "" {
			p.cfg.Log.Debug("kind warns", "sandbox", b.id, "message", e.Warn)
			return
		}
		s.Report(sandbox.Stage{Name: e.Stage, Done: e.Done, Took: e.Took})
		if e.Stage == startKubernetes && e.Done {
			answers()
		}
	})
}

// nodeImage is what the plan's node is made of.
func (p *Provider) nodeImage(plan *plan) string {
	if plan.template != "" {
		return p.templateRef(plan.template)
	}
	return p.cfg.NodeImage
}

// runChild runs the child and follows its events. When ctx ends it closes the
// child's input, which is the signal to stop, and waits until it has.
func runChild(ctx context.Context, cmd *exec.Cmd, req []byte, handle func(event)) error {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	complaints := dock.NewCapture(maxOutputShown)
	cmd.Stderr = complaints
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the process that creates the cluster: %w", err)
	}
	exited := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		stdin.Close()
		select {
		case <-exited:
		case <-time.After(cancelGrace):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	defer stop()
	_, writeErr := stdin.Write(req)
	err = events(ctx, stdout, handle)
	// A child that has said its last word ends by itself: closing its input
	// would make it end all else, but there is nothing else any more.
	waitErr := cmd.Wait()
	close(exited)
	if errors.Is(err, errChildVanished) {
		err = fmt.Errorf("%w (%v): %s", err, errors.Join(waitErr, writeErr), bytes.TrimSpace(complaints.Bytes()))
	}
	return err
}

// childEnv is what kind and the wrapper read from the environment.
func (p *Provider) childEnv(b *box, dir, docker string) []string {
	plan := b.plan
	var args []string
	var volume strings.Builder
	volume.WriteString("type=volume,dst=/var")
	labels := p.labels(b.id, roleNode, plan.template)
	labels[labelAccess] = string(plan.spec.Access)
	for name, value := range labels {
		args = append(args, "--label="+name+"="+value)
		fmt.Fprintf(&volume, ",volume-label=%s=%s", name, value)
	}
	args = append(args,
		fmt.Sprintf("--memory=%d", plan.limits.memory),
		fmt.Sprintf("--memory-swap=%d", plan.limits.memory), // as much as memory: none
		fmt.Sprintf("--pids-limit=%d", plan.limits.pids),
		fmt.Sprintf("--cpus=%.2f", min(plan.limits.cpus, float64(plan.host.cpus))),
		"--dns="+noDNS, "--dns-search="+noSearch,
		"--hostname="+nodeName, "--network-alias="+nodeName,
		// The node looks this name up before it starts, and falls back to the same address.
		"--add-host=host.docker.internal:"+b.gateway.String(),
		"--env=DRYDOCK_ADDRESS="+nodeAddress,
	)
	for _, o := range dnsOptions() {
		args = append(args, "--dns-opt="+o)
	}
	if plan.template != "" {
		// The node makes /var itself, of this size.
		args = append(args, fmt.Sprintf("--env=DRYDOCK_DISK=%d", plan.limits.disk))
		volume.WriteString(",volume-nocopy")
	}
	return append(os.Environ(),
		"PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"),
		"DOCKER_HOST="+p.cfg.Engine.DaemonHost(),
		"KIND_EXPERIMENTAL_DOCKER_NETWORK="+b.names.cluster,
		"DRYDOCK_DOCKER="+docker,
		"DRYDOCK_RUN_ARGS="+strings.Join(args, " "),
		"DRYDOCK_VAR_MOUNT="+volume.String(),
	)
}

// answers are to the questions of kind that the wrapper answers: see docker.sh.
func (p *Provider) answers(b *box) ([]string, error) {
	engine := &b.plan.engine
	all := []string{
		"DRYDOCK_CLUSTER=" + b.names.cluster,
		"DRYDOCK_NODE=" + b.names.node,
		"DRYDOCK_IMAGE=" + p.nodeImage(b.plan),
		"DRYDOCK_DRIVER=" + engine.Driver,
		"DRYDOCK_VERSION=" + b.plan.version,
		"DRYDOCK_ADDRESS=" + nodeAddress,
		"DRYDOCK_COPY=" + b.plan.template,
	}
	for name, value := range map[string]any{
		"DRYDOCK_INFO": engine, "DRYDOCK_SECURITY": engine.SecurityOptions, "DRYDOCK_DRIVER_STATUS": engine.DriverStatus,
	} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("pass on what the engine says of itself: %w", err)
		}
		all = append(all, name+"="+string(text))
	}
	return all, nil
}

// clusterConfig is what kind is asked for.
func clusterConfig(plan *plan) *v1alpha4.Cluster {
	c := &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Nodes:    []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}},
		Networking: v1alpha4.Networking{
			APIServerAddress: "127.0.0.1",
			// The image brings a static network configuration for the pods.
			DisableDefaultCNI: true,
			KubeProxyMode:     v1alpha4.NFTablesProxyMode,
		},
		KubeadmConfigPatches: []string{controlPlanePatch(plan.spec.Access), initPatch(), kubeletPatch(plan), proxyPatch},
	}
	v1alpha4.SetDefaultsCluster(c)
	return c
}
