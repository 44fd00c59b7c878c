package grade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"drydock/sandbox"
)

const (
	// execTimeout bounds a check's command: the learner waits for it.
	execTimeout = 10 * time.Second
	// execGrace is what ending a command, and starting it through a busy
	// engine, may take on top before the engine is held to be in trouble.
	execGrace = 10 * time.Second
	// hungPause follows a command that hung in a pod: it cannot be ended there,
	// and each further one would be left running, too. It also follows one that
	// printed too much, which costs others as much each time.
	hungPause = time.Minute
	// maxOutput bounds what is kept of each of stdout and stderr.
	maxOutput = 64 << 10
	// maxPrinted is what a command may print of both. All of it goes through the
	// engine and this server, which have others to serve; it takes them some 50 ms.
	maxPrinted     = 16 << 20
	printedTooMuch = "the command printed more than 16 MiB, and was ended"
	// adminConfig is the administrator's kubeconfig on a kind node.
	adminConfig = "/etc/kubernetes/admin.conf"
)

// commands is the source of an exec.
type commands struct {
	*place
	exec Exec
}

func (c *commands) look(ctx context.Context) (data, error) {
	release, err := c.slot(ctx)
	if err != nil {
		return data{}, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, execTimeout+execGrace)
	defer cancel()
	if c.exec.On == onPod {
		return c.inPod(ctx)
	}
	return c.inSandbox(ctx)
}

func (c *commands) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	for {
		every := c.exec.period()
		seen, err := c.look(ctx)
		if ctx.Err() != nil {
			return
		}
		report(seen, err)
		if seen.hung {
			every = max(every, hungPause)
		}
		if !pause(ctx, every, again) {
			return
		}
	}
}

// inSandbox runs the command under coreutils' timeout, which ends it where it
// runs: one that hangs is the system's fault (code 124), and must not pile up.
func (c *commands) inSandbox(ctx context.Context) (data, error) {
	cmd := sandbox.Command{Where: sandbox.InTerminal, Argv: c.exec.Command, MaxOutput: maxOutput, MaxPrinted: maxPrinted}.Unlisted()
	cmd.Argv = append([]string{"timeout", "-k", "1", strconv.Itoa(int(execTimeout.Seconds()))}, cmd.Argv...)
	if c.exec.On == onNode {
		cmd.Where = sandbox.OnNode
		cmd.Env = []string{"KUBECONFIG=" + adminConfig}
	}
	res, err := c.run(ctx, cmd)
	switch {
	case errors.Is(err, sandbox.ErrTooMuch):
		return data{hung: true, Note: printedTooMuch}, nil
	case err != nil:
		return data{}, err
	}
	return data{Result: &finished{Code: res.ExitCode, Stdout: string(res.Stdout), Stderr: string(res.Stderr)}}, nil
}

// inPod runs the command in the first ready pod, by name.
func (c *commands) inPod(ctx context.Context) (data, error) {
	pod, err := c.cluster.readyPod(ctx, c.exec.Namespace, c.exec.Selector)
	if err != nil {
		return data{}, blind(err)
	}
	if pod == nil {
		return data{Note: fmt.Sprintf("no pod with %s in %s is ready", c.exec.Selector, c.exec.Namespace)}, nil
	}
	executor, err := c.executor(pod)
	if err != nil {
		return data{}, &blindness{cannotRun, err}
	}
	limited, cancel := context.WithTimeout(quiet(ctx), execTimeout)
	defer cancel()
	limited, flooded := context.WithCancelCause(limited)
	defer flooded(nil)
	full := func() { flooded(sandbox.ErrTooMuch) }
	stdout, stderr := &bounded{full: full}, &bounded{full: full}
	err = executor.StreamWithContext(limited, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
	done := &finished{Stdout: stdout.String(), Stderr: stderr.String()}
	exit, exited := errors.AsType[utilexec.CodeExitError](err)
	switch {
	case err == nil:
	case exited:
		done.Code = exit.Code
	case errors.Is(context.Cause(limited), sandbox.ErrTooMuch):
		return data{hung: true, Note: printedTooMuch}, nil
	case limited.Err() != nil && ctx.Err() == nil:
		return data{hung: true, Note: fmt.Sprintf("the command in pod %s did not end within %s", pod.Name, execTimeout)}, nil
	default:
		return data{}, &blindness{cannotRun, fmt.Errorf("run %s in pod %s: %w", c.exec.Command[0], pod.Name, err)}
	}
	return data{Result: done}, nil
}

var podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// readyPod is the first ready pod that a selector picks, by name; nil when there is none.
func (c *cluster) readyPod(ctx context.Context, namespace, selector string) (*corev1.Pod, error) {
	list, err := within(ctx, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
		return c.dynamic.Resource(podResource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods with %s: %w", selector, err)
	}
	var ready []*corev1.Pod
	for _, item := range list.Items {
		pod := &corev1.Pod{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, pod); err != nil {
			return nil, fmt.Errorf("read pod %s: %w", item.GetName(), err)
		}
		if isReady(pod) {
			ready = append(ready, pod)
		}
	}
	if len(ready) == 0 {
		return nil, nil
	}
	return slices.MinFunc(ready, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) }), nil
}

func isReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// executor speaks WebSocket, and SPDY where the server is too old for that.
func (c *commands) executor(pod *corev1.Pod) (remotecommand.Executor, error) {
	client, err := c.cluster.core()
	if err != nil {
		return nil, fmt.Errorf("prepare to run a command in pod %s: %w", pod.Name, err)
	}
	config := c.cluster.coreConfig()
	container := cmp.Or(c.exec.Container, defaultContainer(pod))
	url := client.Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: c.exec.Command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	spdy, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, url)
	if err != nil {
		return nil, fmt.Errorf("prepare to run a command in pod %s: %w", pod.Name, err)
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, url.String())
	if err != nil {
		return nil, fmt.Errorf("prepare to run a command in pod %s: %w", pod.Name, err)
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// bounded keeps the first maxOutput bytes written to it and drops the rest, and
// says when it was far too much. What still comes in after a command was given
// up does no harm.
type bounded struct {
	full func()

	mu   sync.Mutex
	kept []byte
	all  int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all += len(p); b.all > maxPrinted/2 {
		b.full()
	}
	b.kept = append(b.kept, p[:min(maxOutput-len(b.kept), len(p))]...)
	return len(p), nil
}

func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.kept)
}
