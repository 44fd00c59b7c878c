package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/store"
)

const (
	startRounds = 3 // a start takes most of a minute, yardstick included
	benchLab    = "init-containers"
	// startLimit bounds one start; it takes some twenty seconds on two cores.
	startLimit = 5 * time.Minute
)

// bench is a platform in a folder of its own, for measuring.
type bench struct {
	*platform
	dir     string
	learner store.User
}

// openBench opens a platform with the labs of labsDir, or the built-in ones, and one learner.
func openBench(ctx context.Context, labsDir string) (*bench, error) {
	dir, err := os.MkdirTemp("", "drydock-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to measure in: %w", err)
	}
	p, err := openPlatform(ctx, serveOptions{data: filepath.Join(dir, "data"), labsDir: labsDir}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b := &bench{platform: p, dir: dir}
	if err := p.sessions.Boot(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.learner, err = p.store.AddUser(ctx, store.NewUser{
		Name: "Bench", Login: "bench", Password: "measured-not-guessed", Role: store.RoleLearner,
	})
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// close removes all that was made for measuring.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return errors.Join(b.platform.close(), clearSandboxes(ctx, b.fleet), os.RemoveAll(b.dir))
}

// start starts a lab and returns when it has been handed over.
func (b *bench) start(ctx context.Context, slug string) (*labs.Session, error) {
	events, stop := b.sessions.Subscribe(func(e labs.Event) bool {
		return e.Type == labs.EventReady || e.Type == labs.EventFailed
	})
	defer stop()
	session, err := b.sessions.Start(ctx, b.learner.ID, slug)
	if err != nil {
		return nil, err
	}
	for {
		select {
		case e, ok := <-events:
			switch {
			case !ok:
				return nil, errors.New("the events of the start came too fast to follow")
			case e.Attempt != session.ID():
				continue
			case e.Type == labs.EventFailed:
				return nil, fmt.Errorf("the lab did not start: %s", e.Data)
			}
			return session, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// kindFigures are what was measured of a cluster of kind's own making.
type kindFigures struct {
	took   float64 // seconds to the lab's state of hand-over
	memory float64 // MiB when idle
}

// plainKind measures kind's own way to the same state, and what its cluster takes.
func plainKind(ctx context.Context, lab *labs.Lab, variant labs.Variant) (f kindFigures, err error) {
	dir, err := os.MkdirTemp("", "drydock-bench-kind-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	name := "drydock-bench-" + strings.ToLower(filepath.Base(dir)[len("drydock-bench-kind-"):])
	provider := cluster.NewProvider(cluster.ProviderWithDocker())
	defer keepNetwork(ctx)()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	defer func() { err = errors.Join(err, provider.Delete(name, kubeconfig)) }()
	began := time.Now()
	err = provider.Create(name,
		cluster.CreateWithNodeImage(image.NodeRef),
		cluster.CreateWithV1Alpha4Config(&v1alpha4.Cluster{Networking: v1alpha4.Networking{KubeProxyMode: "nftables"}}),
		cluster.CreateWithKubeconfigPath(kubeconfig),
	)
	if err != nil {
		return f, fmt.Errorf("kind create cluster: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return f, fmt.Errorf("use kind's kubeconfig: %w", err)
	}
	onNode := func(ctx context.Context, c sandbox.Command) (sandbox.Result, error) {
		return dockerExec(ctx, name+"-control-plane", c)
	}
	if err := labs.Prepare(ctx, lab, variant, config, onNode, nil); err != nil {
		return f, err
	}
	if err := labs.AwaitReady(ctx, lab, variant, config, onNode, nil); err != nil {
		return f, err
	}
	f.took = seconds(began)
	if err := pause(ctx, idleTime); err != nil {
		return f, err
	}
	f.memory, err = dockerMemory(ctx, name+"-control-plane")
	return f, err
}

// keepNetwork returns what removes the network that kind makes for all its
// clusters and leaves behind, if it was not there before.
func keepNetwork(ctx context.Context) (restore func()) {
	const kinds = "kind"
	if exec.CommandContext(ctx, "docker", "network", "inspect", kinds).Run() == nil {
		return func() {}
	}
	// While somebody else uses it by now, the engine refuses.
	return func() { _ = exec.Command("docker", "network", "rm", kinds).Run() }
}

// dockerMemory is what a container takes, in MiB, as `docker stats` shows it.
func dockerMemory(ctx context.Context, container string) (float64, error) {
	out, err := exec.CommandContext(ctx, "docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container).Output()
	if err != nil {
		return 0, fmt.Errorf("docker stats: %w", err)
	}
	said, _, _ := strings.Cut(string(out), " ")
	factor := 1.0
	number, isMiB := strings.CutSuffix(said, "MiB")
	if !isMiB {
		number, factor = strings.TrimSuffix(said, "GiB"), 1024
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("docker stats says %q: %w", out, err)
	}
	return value * factor, nil
}

// dockerExec runs a command in a container that is not one of ours.
func dockerExec(ctx context.Context, container string, c sandbox.Command) (sandbox.Result, error) {
	args := []string{"exec", "-i"}
	for _, variable := range c.Env {
		args = append(args, "--env", variable)
	}
	cmd := exec.CommandContext(ctx, "docker", append(append(args, container), c.Argv...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return sandbox.Result{ExitCode: cmd.ProcessState.ExitCode(), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, err
}
