package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"

	"drydock/labs"
	"drydock/labs/catalogue"
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

// benchStart compares Start lab to prompt with what an author would do without
// Drydock: `kind create cluster` with the same image, then the same lab's setup
// until the same ready conditions hold. Both start from nothing each time.
func benchStart(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	b, err := openBench(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		return nil, err
	}
	lab, ok := set.Get(benchLab)
	if !ok {
		return nil, fmt.Errorf("the lab %s is not in the catalogue", benchLab)
	}
	var ours, plain []float64
	for round := range startRounds {
		took, err := b.startToPrompt(ctx, benchLab)
		if err != nil {
			return nil, err
		}
		kindTook, err := plainKind(ctx, lab, lab.AllVariants()[0])
		if err != nil {
			return nil, err
		}
		ours, plain = append(ours, took), append(plain, kindTook)
		fmt.Fprintf(progress, "  round %d of %d: %.1f s, plain kind %.1f s\n", round+1, startRounds, took, kindTook)
	}
	kindMedian := median(plain)
	note := "lab " + benchLab
	return []measurement{
		{Name: "start.kind", Value: kindMedian, Unit: "s", N: startRounds, Note: note + ", kind create cluster + setup until ready"},
		measurement{Name: "start.cold", Value: median(ours), Unit: "s", N: startRounds, Note: note + ", from nothing to a shell's prompt"}.
			against("start.kind", kindMedian),
	}, nil
}

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
	err := b.platform.close()
	infos, listErr := b.provider.List(ctx)
	err = errors.Join(err, listErr)
	for _, info := range infos {
		err = errors.Join(err, b.provider.Destroy(ctx, info.Session))
	}
	return errors.Join(err, os.RemoveAll(b.dir))
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

// startToPrompt measures one start in seconds, to the first output of the
// learner's shell, and removes the sandbox.
func (b *bench) startToPrompt(ctx context.Context, slug string) (took float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	began := time.Now()
	session, err := b.start(ctx, slug)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, session.End(ctx, "learner"), b.removed(ctx, session.ID()))
	}()
	shell, err := b.provider.Terminal(ctx, session.ID(), sandbox.TerminalSpec{Tab: "1", Size: sandbox.Size{Cols: 80, Rows: 24}})
	if err != nil {
		return 0, err
	}
	defer shell.Close()
	if _, err := shell.Read(make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("wait for the prompt: %w", err)
	}
	return seconds(began), nil
}

// removed waits until the sandbox of an ended session is gone, so that its
// removal does not weigh on what is measured next.
func (b *bench) removed(ctx context.Context, session string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := b.provider.Get(ctx, session); errors.Is(err, sandbox.ErrNotFound) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of the sandbox: %w", ctx.Err())
		}
	}
}

// plainKind measures kind's own way to the same state, in seconds.
func plainKind(ctx context.Context, lab *labs.Lab, variant labs.Variant) (took float64, err error) {
	dir, err := os.MkdirTemp("", "drydock-bench-kind-")
	if err != nil {
		return 0, err
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
		return 0, fmt.Errorf("kind create cluster: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return 0, fmt.Errorf("use kind's kubeconfig: %w", err)
	}
	onNode := func(ctx context.Context, c sandbox.Command) (sandbox.Result, error) {
		return dockerExec(ctx, name+"-control-plane", c)
	}
	if err := labs.Prepare(ctx, lab, variant, config, onNode, nil); err != nil {
		return 0, err
	}
	if err := labs.AwaitReady(ctx, lab, variant, config, onNode, nil); err != nil {
		return 0, err
	}
	return seconds(began), nil
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
