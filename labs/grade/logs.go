package grade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

const (
	defaultTail = 10
	// maxTail and maxLog bound what is read of one pod, maxLogPods of how many.
	maxTail    = 1000
	maxLog     = 64 << 10
	maxLogPods = 50
)

func (l *Logs) sees() subject          { return podLogs }
func (l *Logs) needs() means           { return throughCluster }
func (l *Logs) period() time.Duration  { return cmp.Or(time.Duration(l.Every), defaultLogsEvery) }
func (l *Logs) name() string           { return "" }
func (l *Logs) source(p *place) source { return &logs{place: p, logs: *l} }

func (l *Logs) fill(replace func(string) string) {
	l.Namespace, l.Selector, l.Container = replace(l.Namespace), replace(l.Selector), replace(l.Container)
}

func (l *Logs) problems(add report) {
	if l.Namespace == "" || l.Selector == "" {
		add("logs needs the namespace of the pods and a selector")
	}
	add.namespace("logs", l.Namespace)
	add.selector("logs", l.Selector)
	add.every("logs", l.Every)
	if l.Tail < 0 || l.Tail > maxTail {
		add("logs: tail is %d; it is a number of lines up to %d", l.Tail, maxTail)
	}
}

// logs is the source of a logs check: it asks the API server, which costs the
// sandbox a hundredth of what a command in it costs.
type logs struct {
	*place
	logs Logs
}

func (l *logs) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	var after retry
	for {
		seen, err := l.look(ctx)
		if ctx.Err() != nil {
			return
		}
		report(seen, err)
		if err != nil {
			if !after.pause(ctx, again) {
				return
			}
			continue
		}
		after.reset()
		if !pause(ctx, l.logs.period(), again) {
			return
		}
	}
}

func (l *logs) look(ctx context.Context) (data, error) {
	seen, err := within(ctx, l.read)
	if err != nil {
		return data{}, blind(err)
	}
	return data{Logs: seen}, nil
}

func (l *logs) read(ctx context.Context) ([]said, error) {
	// From the API server's cache: which pods there are may be some milliseconds old.
	list, err := l.cluster.dynamic.Resource(podResource).Namespace(l.logs.Namespace).List(ctx, metav1.ListOptions{LabelSelector: l.logs.Selector, ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("list the pods with %s: %w", l.logs.Selector, err)
	}
	client, err := l.cluster.core()
	if err != nil {
		return nil, err
	}
	all := []said{}
	for _, item := range list.Items[:min(maxLogPods, len(list.Items))] {
		pod := &corev1.Pod{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, pod); err != nil {
			return nil, fmt.Errorf("read pod %s: %w", item.GetName(), err)
		}
		text, err := l.ofPod(ctx, client, pod)
		if err != nil {
			return nil, fmt.Errorf("read the log of pod %s: %w", pod.Name, err)
		}
		all = append(all, said{Pod: pod.Name, Text: text})
	}
	slices.SortFunc(all, func(a, b said) int { return cmp.Compare(a.Pod, b.Pod) })
	return all, nil
}

// ofPod returns nothing for a container that has not started, or whose pod has gone.
func (l *logs) ofPod(ctx context.Context, client rest.Interface, pod *corev1.Pod) (string, error) {
	container := cmp.Or(l.logs.Container, defaultContainer(pod))
	lines, bytes := int64(cmp.Or(l.logs.Tail, defaultTail)), int64(maxLog)
	stream, err := client.Get().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("log").
		VersionedParams(&corev1.PodLogOptions{Container: container, TailLines: &lines, LimitBytes: &bytes}, scheme.ParameterCodec).Stream(ctx)
	switch {
	case apierrors.IsBadRequest(err), apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, maxLog))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the container ended while it was read
	}
	return string(text), err
}

// defaultContainer is the one that kubectl takes.
func defaultContainer(pod *corev1.Pod) string {
	return cmp.Or(pod.Annotations["kubectl.kubernetes.io/default-container"], pod.Spec.Containers[0].Name)
}
