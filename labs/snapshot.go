package labs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"drydock/labs/trail"
	"drydock/sandbox"
)

const (
	// listsAtOnce are made at a time: the API server has a core or two, and the learner's programs want them too.
	listsAtOnce = 4
	// listLimit bounds one list; the snapshot as a whole has room for not many more.
	listLimit = 500
)

// takeSnapshot reads all objects that the learner of such a sandbox could have
// changed. Kinds that can't be listed are named in it; it fails when nothing
// can be asked at all.
func takeSnapshot(ctx context.Context, config *rest.Config, box Sandbox) (trail.Snapshot, error) {
	var s trail.Snapshot
	if config == nil {
		return s, errors.New("there is no cluster to look at")
	}
	config = rest.CopyConfig(config)
	config.QPS = -1 // a few dozen requests, as many at a time as listsAtOnce says
	kinds, err := changeable(config, box)
	if err != nil {
		return s, fmt.Errorf("ask which kinds of object there are: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return s, fmt.Errorf("make a client for the cluster: %w", err)
	}
	var lists sync.WaitGroup
	var mu sync.Mutex
	free := make(chan struct{}, listsAtOnce)
	for _, kind := range kinds {
		lists.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			objects, err := listKind(ctx, client, kind)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Blind = append(s.Blind, kind.kind)
				return
			}
			for _, o := range objects.Items {
				s.Add(o.Object)
			}
			if objects.GetContinue() != "" {
				s.LeftOut++
			}
		})
	}
	lists.Wait()
	slices.Sort(s.Blind)
	s.Blind = slices.Compact(s.Blind)
	return s, ctx.Err()
}

// listed is a kind of object, and the namespace that it is listed in; empty for all of them.
type listed struct {
	kind      string
	resource  schema.GroupVersionResource
	namespace string
}

func listKind(ctx context.Context, client dynamic.Interface, kind listed) (*unstructured.UnstructuredList, error) {
	return client.Resource(kind.resource).Namespace(kind.namespace).List(ctx, metav1.ListOptions{Limit: listLimit})
}

// changeable are the kinds that can be listed and changed, in the namespaces
// where the learner works, or everywhere.
func changeable(config *rest.Config, box Sandbox) ([]listed, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	groups, err := client.ServerPreferredResources()
	if len(groups) == 0 && err != nil {
		return nil, err
	}
	var all []listed
	for _, group := range groups {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range group.APIResources {
			if !isChangeable(r) {
				continue
			}
			kind := listed{kind: r.Kind, resource: version.WithResource(r.Name)}
			switch {
			case box.Access != sandbox.AccessNamespace:
				all = append(all, kind)
			case r.Namespaced:
				for _, kind.namespace = range box.Namespaces {
					all = append(all, kind)
				}
			}
		}
	}
	return all, nil
}

func isChangeable(r metav1.APIResource) bool {
	return trail.Comparable(r.Kind) && slices.Contains(r.Verbs, "list") &&
		(slices.Contains(r.Verbs, "update") || slices.Contains(r.Verbs, "patch") || slices.Contains(r.Verbs, "delete"))
}
