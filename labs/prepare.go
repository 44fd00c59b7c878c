package labs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"drydock/labs/grade"
	"drydock/sandbox"
)

// The stages of Prepare, as a learner sees them while waiting.
const (
	StageApply = "Apply the lab"
	StageReady = "Wait until the fault is there"
)

const (
	// readyTimeout is how long the fault may take to be there; labs take seconds.
	readyTimeout = 3 * time.Minute
	// settleTimeout is how long an object may be refused because of what a
	// controller has yet to make: the default service account of a new
	// namespace, or the kind of a new custom resource.
	settleTimeout = 30 * time.Second
	settleEvery   = 200 * time.Millisecond
	// setupTimeout bounds one setup script.
	setupTimeout = 5 * time.Minute
	// applyOwner owns the fields of what a lab applies. It is the name that
	// kubectl uses, so that a learner's own `kubectl apply --server-side` meets no conflict.
	applyOwner = "kubectl"
	// nodeKubeConfig is the administrator's on a kind node.
	nodeKubeConfig = "/etc/kubernetes/admin.conf"
	// varEnv precedes a var's name in the environment of setup scripts.
	varEnv = "VAR_"
)

// An Execer runs a command in a sandbox; see [sandbox.Provider].
type Execer = func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error)

// SandboxSpec is what the lab asks of a provider for one session; a spare and a
// template have none.
func (l *Lab) SandboxSpec(provider sandbox.Provider, session string, v Variant) sandbox.Spec {
	step := func(run func(context.Context, *Lab, Variant, *rest.Config, Execer, sandbox.Progress) error) func(context.Context, string, sandbox.Progress) error {
		return func(ctx context.Context, id string, progress sandbox.Progress) error {
			var config *rest.Config
			if l.Sandbox.Kind == sandbox.Cluster {
				var err error
				if config, err = AdminConfig(ctx, provider, id); err != nil {
					return err
				}
			}
			exec := func(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
				return provider.Exec(ctx, id, cmd)
			}
			return run(ctx, l, v, config, exec, progress)
		}
	}
	return sandbox.Spec{
		Session:    session,
		Kind:       l.Sandbox.Kind,
		Nodes:      l.Sandbox.Nodes,
		Access:     l.Sandbox.Access,
		Namespaces: l.Sandbox.Namespaces,
		Template:   strings.Join([]string{l.Slug, l.Version, v.Name}, "-"),
		Prepare:    step(Prepare),
		Ready:      step(AwaitReady),
	}
}

// Prepare breaks a fresh sandbox as the lab and the variant say: it takes the
// steps of setup in order. config is an administrator's, nil on a machine.
func Prepare(ctx context.Context, lab *Lab, v Variant, config *rest.Config, exec Execer, progress sandbox.Progress) error {
	err := stage(progress, StageApply, func() error { return lab.setUp(ctx, v, config, exec) })
	if err != nil {
		return fmt.Errorf("set up the lab %s (variant %s): %w", lab.Slug, v.Name, err)
	}
	return nil
}

// AwaitReady waits until every ready check of the lab holds.
func AwaitReady(ctx context.Context, lab *Lab, v Variant, config *rest.Config, exec Execer, progress sandbox.Progress) error {
	env := grade.Env{REST: config, Vars: v.Vars, Files: lab.FS, Exec: exec, Log: slog.Default().With("lab", lab.Slug)}
	err := stage(progress, StageReady, func() error { return lab.awaitReady(ctx, env) })
	if err != nil {
		return fmt.Errorf("wait until the lab %s (variant %s) is ready: %w", lab.Slug, v.Name, err)
	}
	return nil
}

// stage tells progress of a step that runs now.
func stage(progress sandbox.Progress, name string, run func() error) error {
	if progress == nil {
		return run()
	}
	began := time.Now()
	progress(sandbox.Stage{Name: name})
	if err := run(); err != nil {
		return err
	}
	progress(sandbox.Stage{Name: name, Done: true, Took: time.Since(began)})
	return nil
}

func (l *Lab) setUp(ctx context.Context, v Variant, config *rest.Config, exec Execer) error {
	var cluster *applier
	if config != nil {
		var err error
		if cluster, err = newApplier(config); err != nil {
			return err
		}
		for _, name := range l.Sandbox.Namespaces {
			if err := cluster.namespace(ctx, name); err != nil {
				return err
			}
		}
	}
	for _, step := range l.Setup {
		var err error
		if step.Run != "" {
			err = l.runSetup(ctx, step, v, exec)
		} else {
			err = l.apply(ctx, step, v, cluster)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) apply(ctx context.Context, step Step, v Variant, cluster *applier) error {
	objects, problems := l.manifests(step, v.Vars)
	if len(problems) > 0 {
		return Problems(problems)
	}
	if cluster == nil {
		return fmt.Errorf("apply %s: there is no cluster", step.Apply)
	}
	slices.SortStableFunc(objects, func(a, b manifest) int { return rank(a) - rank(b) })
	for _, m := range objects {
		if err := cluster.apply(ctx, m.object); err != nil {
			return fmt.Errorf("%s:%d: apply %s: %w", l.path(m.file), m.line, m, err)
		}
	}
	return nil
}

// rank orders what others need before what needs it.
func rank(m manifest) int {
	switch m.object.GetKind() {
	case "Namespace", "CustomResourceDefinition":
		return 0
	}
	return 1
}

func (l *Lab) runSetup(ctx context.Context, step Step, v Variant, exec Execer) error {
	script, err := fs.ReadFile(l.FS, path.Clean(step.Run))
	if err != nil {
		return l.stepProblem(step, "run", err)
	}
	var env []string
	if l.Sandbox.Kind == sandbox.Cluster {
		env = append(env, "KUBECONFIG="+nodeKubeConfig)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Vars)) {
		env = append(env, varEnv+name+"="+v.Vars[name])
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	result, err := exec(ctx, sandbox.Command{Where: sandbox.OnNode, Argv: []string{"bash", "-c", keepVars(v) + string(script)}, Env: env}.Unlisted())
	if err != nil {
		return fmt.Errorf("run %s: %w", l.path(step.Run), err)
	}
	if result.ExitCode != 0 {
		return fmt.Errorf("%s exited with %d:\n%s", l.path(step.Run), result.ExitCode, lastLines(result))
	}
	return nil
}

// keepVars begins a setup script, in its first line: the script has the variant's
// vars, but what it starts has them not. A service that it leaves running as the
// learner would tell them to whoever reads its environment, and vars are what
// questions ask for.
func keepVars(v Variant) string {
	if len(v.Vars) == 0 {
		return ""
	}
	var names strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v.Vars)) {
		names.WriteString(" " + varEnv + name)
	}
	return "export -n" + names.String() + "; "
}

// lastLines is the end of what a command printed, standard error last.
func lastLines(r sandbox.Result) string {
	const most = 15
	out := strings.TrimSpace(string(r.Stdout) + string(r.Stderr))
	lines := strings.Split(out, "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// awaitReady judges the ready checks live until all hold at once.
func (l *Lab) awaitReady(ctx context.Context, env grade.Env) error {
	set, problems := grade.Compile(l.Ready)
	if len(problems) > 0 {
		return l.gradeProblems(problems)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	t, stop := judge(ctx, set, env)
	defer stop()
	err := t.until(ctx, func() bool { return len(t.missing(l.Ready)) == 0 })
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; what does not hold: %s", err, strings.Join(t.missing(l.Ready), "; "))
}

func (l *Lab) gradeProblems(found []grade.Problem) Problems {
	var all Problems
	for _, p := range found {
		all = append(all, Problem{File: l.path(labFile), Line: p.Line, Msg: p.String()})
	}
	return all
}

// applier applies objects of any kind, as `kubectl apply --server-side` does.
type applier struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newApplier(config *rest.Config) (*applier, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the cluster: %w", err)
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the cluster: %w", err)
	}
	return &applier{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))}, nil
}

// namespace makes a namespace unless it is there.
func (a *applier) namespace(ctx context.Context, name string) error {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("v1")
	object.SetKind("Namespace")
	object.SetName(name)
	if err := a.apply(ctx, object); err != nil {
		return fmt.Errorf("make the namespace %s: %w", name, err)
	}
	return nil
}

// apply applies the object; while the cluster is not ready for it, it tries again.
func (a *applier) apply(ctx context.Context, object *unstructured.Unstructured) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, settleEvery, settleTimeout, true, func(ctx context.Context) (bool, error) {
		last = a.applyOnce(ctx, object)
		switch {
		case last == nil:
			return true, nil
		case meta.IsNoMatchError(last):
			a.mapper.Reset()
			return false, nil
		case notYet(last):
			return false, nil
		}
		return false, last
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// notYet reports whether an object was refused because of something that a
// controller is about to make.
func notYet(err error) bool {
	switch {
	case apierrors.IsForbidden(err):
		return strings.Contains(err.Error(), "serviceaccount") || strings.Contains(err.Error(), "being terminated")
	case apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err):
		return true
	}
	return false
}

func (a *applier) applyOnce(ctx context.Context, object *unstructured.Unstructured) error {
	gvk := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	resource := a.client.Resource(mapping.Resource)
	options := metav1.ApplyOptions{FieldManager: applyOwner, Force: true}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		_, err = resource.Apply(ctx, object.GetName(), object, options)
		return err
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		return errors.New("metadata.namespace is missing: say which one it belongs to")
	}
	_, err = resource.Namespace(namespace).Apply(ctx, object.GetName(), object, options)
	return err
}
