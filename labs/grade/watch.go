package grade

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func (w *Watch) sees() subject {
	if w.Name == "" {
		return manyObjects
	}
	return oneObject
}

func (w *Watch) needs() means           { return throughCluster }
func (w *Watch) period() time.Duration  { return 0 }
func (w *Watch) source(p *place) source { return &objects{place: p, watch: *w} }

func (w *Watch) fill(replace func(string) string) {
	w.Namespace, w.Name, w.Selector = replace(w.Namespace), replace(w.Name), replace(w.Selector)
}

func (w *Watch) name() string {
	if w.Namespace == "" {
		return w.Kind + " " + w.Name
	}
	return w.Kind + " " + w.Namespace + "/" + w.Name
}

// clusterKinds are kinds of Kubernetes itself that have no namespace. Of
// others, the cluster is asked.
var clusterKinds = []string{
	"APIService", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CSINode", "CustomResourceDefinition", "FlowSchema",
	"IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass",
	"PriorityLevelConfiguration", "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy",
	"ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttachment",
}

// namespacedKinds are those that labs watch most.
var namespacedKinds = []string{
	"ConfigMap", "CronJob", "DaemonSet", "Deployment", "EndpointSlice", "Endpoints", "Event", "HorizontalPodAutoscaler",
	"Ingress", "Job", "Lease", "LimitRange", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget",
	"ReplicaSet", "ReplicationController", "ResourceQuota", "Role", "RoleBinding", "Secret", "Service", "ServiceAccount",
	"StatefulSet",
}

func (w *Watch) problems(add report) {
	switch {
	case w.Kind == "":
		add("watch has no kind")
	case w.APIVersion == "" && kindType("", w.Kind) == nil && !slices.Contains(clusterKinds, w.Kind):
		if near := didYouMean(w.Kind, append(knownKinds(), clusterKinds...)); near != "" {
			add("watch: %q is no kind of Kubernetes itself%s Otherwise name its apiVersion", w.Kind, near)
		}
	case w.APIVersion == "" && slices.Contains(namespacedKinds, w.Kind) && w.Name != "" && w.Namespace == "":
		add("watch: a %s is in a namespace; name it", w.Kind)
	case w.APIVersion == "" && slices.Contains(clusterKinds, w.Kind) && w.Namespace != "":
		add("watch: a %s is in no namespace", w.Kind)
	}
	if _, err := schema.ParseGroupVersion(w.APIVersion); err != nil {
		add("watch: apiVersion %q is not of the form v1 or apps/v1", w.APIVersion)
	}
	add.namespace("watch", w.Namespace)
	add.selector("watch", w.Selector)
	if w.Name != "" && w.Selector != "" {
		add("watch has both a name and a selector; with a name, nothing is left to select")
	}
}
