package grade

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/klog/v2"
)

// The words for a learner when the checker cannot look. The details are
// logged, not shown.
const (
	cannotReach = "the checker could not reach the cluster"
	notAllowed  = "the checker was not allowed to look"
	cannotRun   = "the checker could not run its probe"
)

// requestTimeout bounds one request to the API server: it answers within
// milliseconds, or is in trouble.
const requestTimeout = 5 * time.Second

// cluster is one run's connection to the cluster that it looks at.
type cluster struct {
	config    *rest.Config
	transport *http.Client
	dynamic   dynamic.Interface
	discovery discovery.DiscoveryInterfaceWithContext

	mu    sync.Mutex
	kinds []*restmapper.APIGroupResources // nil until asked for
}

func newCluster(config *rest.Config) (*cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // a run makes few requests; waiting for a client-side limit would only delay a tick
	config.UserAgent = "drydock-grade"
	config.WarningHandler = rest.NoWarnings{}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the cluster: %w", err)
	}
	dyn, err := dynamic.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the cluster: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the cluster: %w", err)
	}
	return &cluster{config: config, transport: transport, dynamic: dyn, discovery: disco}, nil
}

// close ends the connections that are idle; those of running requests end
// with their contexts.
func (c *cluster) close() { c.transport.CloseIdleConnections() }

// coreConfig is for requests to the core API's subresources.
func (c *cluster) coreConfig() *rest.Config {
	config := rest.CopyConfig(c.config)
	config.APIPath, config.GroupVersion, config.NegotiatedSerializer = "/api", &corev1.SchemeGroupVersion, scheme.Codecs.WithoutConversion()
	return config
}

func (c *cluster) core() (rest.Interface, error) {
	client, err := rest.RESTClientForConfigAndClient(c.coreConfig(), c.transport)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the cluster: %w", err)
	}
	return client, nil
}

// resource is a kind as the API server serves it.
type resource struct {
	schema.GroupVersionResource
	namespaced bool
}

// errNoKind: the cluster does not know the kind. It may learn it.
var errNoKind = errors.New("no such kind")

// find looks up a kind. What is not known is asked for anew, as it can have
// been defined in the meantime.
func (c *cluster) find(ctx context.Context, apiVersion, kind string) (resource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds != nil {
		if found, err := findKind(c.kinds, apiVersion, kind); !errors.Is(err, errNoKind) {
			return found, err
		}
	}
	kinds, err := within(ctx, func(ctx context.Context) ([]*restmapper.APIGroupResources, error) {
		return restmapper.GetAPIGroupResourcesWithContext(ctx, c.discovery)
	})
	if err != nil {
		return resource{}, fmt.Errorf("ask the cluster for its kinds: %w", err)
	}
	c.kinds = kinds
	return findKind(kinds, apiVersion, kind)
}

// forget makes the next find ask the cluster: a kind has gone.
func (c *cluster) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds = nil
}

// builtIn are the API groups that win when a kind's name is in several and
// the check does not name one.
var builtIn = []string{"", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io", "policy", "autoscaling", "storage.k8s.io"}

func findKind(groups []*restmapper.APIGroupResources, apiVersion, kind string) (resource, error) {
	var found []resource
	for _, g := range groups {
		version := g.Group.PreferredVersion.Version
		if apiVersion != "" {
			gv, err := schema.ParseGroupVersion(apiVersion)
			if err != nil || gv.Group != g.Group.Name {
				continue
			}
			version = gv.Version
		}
		for _, r := range g.VersionedResources[version] {
			if r.Kind == kind && !strings.Contains(r.Name, "/") {
				found = append(found, resource{schema.GroupVersionResource{Group: g.Group.Name, Version: version, Resource: r.Name}, r.Namespaced})
			}
		}
	}
	switch len(found) {
	case 0:
		return resource{}, errNoKind
	case 1:
		return found[0], nil
	}
	for _, group := range builtIn {
		if i := slices.IndexFunc(found, func(r resource) bool { return r.Group == group }); i >= 0 {
			return found[i], nil
		}
	}
	return resource{}, fmt.Errorf("the kind %s is in several API groups: the check must name its apiVersion", kind)
}

// inWords says for a learner why a request failed.
func inWords(err error) string {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return notAllowed
	}
	return cannotReach
}

// quiet keeps client-go from logging to stderr what is reported as a result.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, klog.Logger{}) }

// within runs one request with its time limit.
func within[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return request(ctx)
}
