package labs

import (
	"context"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"drydock/sandbox"
)

const (
	// restoreTimeout is how long everything in the lab's namespaces may take to go.
	restoreTimeout = 90 * time.Second
	restoreEvery   = 250 * time.Millisecond
	// podGrace is what a pod gets to end, in seconds. Nothing in it is needed any more.
	podGrace = 1
)

// reusable reports whether a cluster of the lab can be brought back to where
// it was by deleting what came since: only if neither setup nor learner can
// change anything outside of the lab's namespaces, nor who may do what in them.
func (l *Lab) reusable() bool {
	if l.Sandbox.Kind != sandbox.Cluster || l.Sandbox.Access != sandbox.AccessNamespace {
		return false
	}
	for _, step := range l.Setup {
		if step.Run != "" {
			return false
		}
		objects, problems := l.manifests(step, l.AllVariants()[0].Vars)
		if len(problems) > 0 || slices.ContainsFunc(objects, func(m manifest) bool {
			return !slices.Contains(l.Sandbox.Namespaces, m.object.GetNamespace()) || m.object.GroupVersionKind().Group == rbacv1.GroupName
		}) {
			return false
		}
	}
	return true
}

// clusterState is every object of some namespaces, and the version it has.
type clusterState struct {
	namespaces []string
	objects    map[objectKey]objectVersion
}

type objectKey struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

type objectVersion struct {
	uid     types.UID
	version string
}

// spared reports whether an object is left alone: what the cluster itself
// makes and remakes (events, and what every namespace gets), and the learner's
// own rights, which the provider gives when the lab is handed over.
func (k objectKey) spared() bool {
	if k.resource.Group == rbacv1.GroupName {
		return true
	}
	switch k.resource.Resource {
	case "events":
		return true
	case "configmaps":
		return k.name == "kube-root-ca.crt"
	case "serviceaccounts":
		return k.name == "default"
	}
	return false
}

// lister lists the metadata of everything in a namespace.
type lister struct {
	client    metadata.Interface
	resources []schema.GroupVersionResource
}

func newLister(config *rest.Config) (*lister, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1                           // one request for each kind of object; the cluster is ours alone
	config.WarningHandler = rest.NoWarnings{} // old kinds are listed, too
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the cluster: %w", err)
	}
	lists, err := kinds.ServerPreferredNamespacedResources()
	if err != nil {
		return nil, fmt.Errorf("list the cluster's kinds: %w", err)
	}
	lists = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists)
	found, err := discovery.GroupVersionResources(lists)
	if err != nil {
		return nil, fmt.Errorf("list the cluster's kinds: %w", err)
	}
	l := &lister{}
	for resource := range found {
		l.resources = append(l.resources, resource)
	}
	if l.client, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("make a client for the cluster: %w", err)
	}
	return l, nil
}

func (l *lister) list(ctx context.Context, namespaces []string) (map[objectKey]objectVersion, error) {
	all := map[objectKey]objectVersion{}
	for _, resource := range l.resources {
		for _, namespace := range namespaces {
			found, err := l.client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("list the %s of %s: %w", resource.Resource, namespace, err)
			}
			for _, item := range found.Items {
				key := objectKey{resource, namespace, item.Name}
				if !key.spared() {
					all[key] = objectVersion{item.UID, item.ResourceVersion}
				}
			}
		}
	}
	return all, nil
}

// readState notes what the namespaces hold now.
func readState(ctx context.Context, config *rest.Config, namespaces []string) (clusterState, error) {
	l, err := newLister(config)
	if err != nil {
		return clusterState{}, err
	}
	objects, err := l.list(ctx, namespaces)
	return clusterState{namespaces: namespaces, objects: objects}, err
}

// restore deletes everything that came since the state was read, and waits
// until it is gone. It fails when something of then has changed.
func (s clusterState) restore(ctx context.Context, config *rest.Config) error {
	l, err := newLister(config)
	if err != nil {
		return err
	}
	var left int
	err = wait.PollUntilContextTimeout(ctx, restoreEvery, restoreTimeout, true, func(ctx context.Context) (bool, error) {
		now, err := l.list(ctx, s.namespaces)
		if err != nil {
			return false, err
		}
		left = 0
		for key, version := range now {
			if s.objects[key].uid == version.uid {
				continue
			}
			left++
			if err := l.remove(ctx, key); err != nil {
				return false, err
			}
		}
		return left == 0, s.unchanged(now)
	})
	if err != nil {
		return fmt.Errorf("empty the lab's namespaces (%d objects left): %w", left, err)
	}
	return nil
}

// unchanged fails when an object of then is gone or another.
func (s clusterState) unchanged(now map[objectKey]objectVersion) error {
	for key, then := range s.objects {
		if now[key] != then {
			return fmt.Errorf("the %s %s/%s, which was there before the lab, was changed", key.resource.Resource, key.namespace, key.name)
		}
	}
	return nil
}

func (l *lister) remove(ctx context.Context, key objectKey) error {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if key.resource.Resource == "pods" {
		grace := int64(podGrace)
		options.GracePeriodSeconds = &grace
	}
	err := l.client.Resource(key.resource).Namespace(key.namespace).Delete(ctx, key.name, options)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete the %s %s/%s: %w", key.resource.Resource, key.namespace, key.name, err)
	}
	return nil
}
