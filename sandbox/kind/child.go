package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"
)

// ChildName is the name of [ChildCommand].
const ChildName = "kind-create"

// request is the first line of the child's input.
type request struct {
	Name       string
	Image      string
	Copy       bool // of a template: only the containers are to be made
	Kubeconfig string
	Cluster    *v1alpha4.Cluster
}

// event is one line of the child's output.
type event struct {
	Stage string        `json:",omitempty"`
	Done  bool          `json:",omitempty"`
	Took  time.Duration `json:",omitempty"`
	Warn  string        `json:",omitempty"`
	Error string        `json:",omitempty"` // the last event of a failure
	Ready bool          `json:",omitempty"` // the last event of a success
}

// ChildCommand is the hidden command as which the program runs itself to
// create one cluster. It reads a request from its input and prints events.
// The end of its input, also that of a server that was killed, cancels it.
func ChildCommand() *cobra.Command {
	return &cobra.Command{
		Use: ChildName, Hidden: true, Args: cobra.NoArgs, SilenceUsage: true,
		Short: "Create one kind cluster (used by the server itself)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return RunChild(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// RunChild is what [ChildCommand] runs.
func RunChild(in io.Reader, out io.Writer) error {
	var req request
	input := json.NewDecoder(in)
	if err := input.Decode(&req); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	l := &logger{out: json.NewEncoder(out)}
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(input.Buffered(), in)) // until it ends, however that is
		l.cancel()
	}()
	err := cluster.NewProvider(cluster.ProviderWithDocker(), cluster.ProviderWithLogger(l)).Create(req.Name,
		cluster.CreateWithV1Alpha4Config(req.Cluster),
		cluster.CreateWithNodeImage(req.Image),
		cluster.CreateWithKubeconfigPath(req.Kubeconfig),
		cluster.CreateWithStopBeforeSettingUpKubernetes(req.Copy),
		// The server waits itself: kind's waiting polls, and takes a timeout for success.
		cluster.CreateWithWaitForReady(0),
		cluster.CreateWithDisplayUsage(false),
		cluster.CreateWithDisplaySalutation(false),
	)
	l.end()
	if err == nil {
		l.send(event{Ready: true})
		return nil
	}
	l.send(event{Error: describe(err)})
	return err
}

// maxOutputShown is the end of a failed command's output, where the reason stands.
const maxOutputShown = 4 << 10

// describe adds the output of the command that failed to an error of kind's.
func describe(err error) string {
	text := err.Error()
	if run := kindexec.RunErrorForError(err); run != nil {
		output := strings.TrimSpace(string(run.Output))
		text += "\n" + output[max(0, len(output)-maxOutputShown):]
	}
	return text
}

const (
	// startNode is the stage in which the engine makes the node's container.
	startNode = "Start the node"
	// startKubernetes is the one at whose end the API server answers.
	startKubernetes = "Start Kubernetes"
)

// stageNames are kind's status lines, by their beginning, in our words.
func stageName(status string) string {
	for _, s := range []struct{ kind, ours string }{
		{"Ensuring node image", ""}, // it was checked before, and nothing is pulled
		{"Preparing nodes", startNode},
		{"Writing configuration", "Configure the node"},
		{"Starting control-plane", startKubernetes},
		{"Installing CNI", "Set up the network of the pods"},
		{"Installing StorageClass", "Add a storage class"},
	} {
		if strings.HasPrefix(status, s.kind) {
			return s.ours
		}
	}
	return status
}

// logger takes kind's status lines for stages. It implements log.Logger.
type logger struct {
	mu        sync.Mutex
	out       *json.Encoder
	stage     string
	begun     time.Time
	cancelled bool
}

// The formats of kind's status lines (pkg/internal/cli/status.go).
const statusPrefix, statusSuffix = " • ", "  ...\n"

func (l *logger) Info(string) {}

func (l *logger) Infof(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); strings.HasPrefix(line, statusPrefix) {
		l.begin(stageName(strings.TrimSuffix(strings.TrimPrefix(line, statusPrefix), statusSuffix)))
	}
}

func (l *logger) begin(stage string) {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stage, l.begun = stage, time.Now()
	if stage != "" {
		_ = l.out.Encode(event{Stage: stage})
	}
}

func (l *logger) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage != "" {
		_ = l.out.Encode(event{Stage: l.stage, Done: true, Took: time.Since(l.begun)})
	}
	l.stage = ""
	if l.cancelled {
		die()
	}
}

func (l *logger) send(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.out.Encode(e) // nobody is left to be told of an error
}

// cancel ends this process and the commands it runs, at once unless the engine
// is just making the node's container: it would finish that without a client,
// at a time when nobody looks for it any more.
func (l *logger) cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelled = true
	if l.stage != startNode {
		die()
	}
}

// die kills the process group, which the parent has made for this process alone.
func die() {
	if syscall.Getpgrp() == os.Getpid() {
		_ = syscall.Kill(0, syscall.SIGKILL)
	}
	os.Exit(1)
}

func (l *logger) Warn(message string)               { l.send(event{Warn: message}) }
func (l *logger) Warnf(format string, args ...any)  { l.Warn(fmt.Sprintf(format, args...)) }
func (l *logger) Error(message string)              { l.Warn(message) }
func (l *logger) Errorf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

// V returns the same logger for what kind tells its users, and none for the rest.
func (l *logger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return l
}

func (l *logger) Enabled() bool { return true }

var errChildVanished = errors.New("the process that creates the cluster ended without a word")

// events reads the child's output until it ends and returns how that was.
func events(ctx context.Context, out io.Reader, handle func(event)) error {
	dec := json.NewDecoder(out)
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return errChildVanished
		}
		switch {
		case e.Error != "":
			return errors.New(e.Error)
		case e.Ready:
			return nil
		}
		handle(e)
	}
}
