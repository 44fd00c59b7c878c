package kind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	watchtools "k8s.io/client-go/tools/watch"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// The learner's account in the cluster.
const (
	accountNamespace = "drydock"
	accountName      = "learner"
	// namespaceNote keeps the default namespace of the learner's kubectl on
	// the account, for when the terminal has to be set up again.
	namespaceNote = "drydock/default-namespace"
	// tokenLife is longer than any session; the token dies with its cluster.
	tokenLife = 30 * 24 * time.Hour
)

// Names of the roles.
const (
	roleEdit   = "drydock:edit"
	roleLook   = "drydock:look"
	roleSystem = "drydock:look-at-system"
)

// enforceLevel refuses pods that would leave the node (privileged, host
// namespaces, host paths) in namespaces where the learner may make pods.
const (
	enforceLabel = "pod-security.kubernetes.io/enforce"
	enforceLevel = "baseline"
)

// access is an administrator's view of one cluster.
type access struct {
	client *kubernetes.Clientset
	ca     []byte // of the API server
	server string // its address inside the sandbox
}

func (p *Provider) accessTo(ctx context.Context, id string) (*access, error) {
	raw, err := p.kubeConfig(ctx, id)
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("use the cluster's kubeconfig: %w", err)
	}
	cfg.QPS = -1 // a few dozen requests per creation: no reason to hold them back
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client for the cluster: %w", err)
	}
	return &access{
		client: client, ca: cfg.CAData,
		server: fmt.Sprintf("https://%s:%d", nodeName, apiServerPort),
	}, nil
}

// needlessHooks are the steps of the API server's start that write what a copy
// of a template has already: a hundred roles, compared one by one, take a second.
var needlessHooks = []string{"poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes"}

// waitForAPI waits until the API server says that it is ready. There is
// nothing to watch before it does.
func (a *access) waitForAPI(ctx context.Context) error {
	for {
		ask := a.client.Discovery().RESTClient().Get().AbsPath("/readyz")
		for _, hook := range needlessHooks {
			ask = ask.Param("exclude", hook)
		}
		err := ask.Do(ctx).Error()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w (%v)", context.Cause(ctx), err)
		case <-time.After(bootPoll):
		}
	}
}

// nodeTimeout is for a node whose control plane answers already.
const nodeTimeout = 2 * time.Minute

func (a *access) waitForNode(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	err := until(ctx, a.client.CoreV1().RESTClient(), "nodes", "", name, &corev1.Node{}, func(o runtime.Object) bool {
		for _, c := range o.(*corev1.Node).Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("wait until the node is ready: %w", err)
	}
	return nil
}

// rewind makes the cluster forget that its pods have started, so that those of
// a copy start for the first time: no restarts, no traces of other containers.
// Neither kubelet nor the controllers run: what these have concluded stays. It
// returns the pods that were ready.
func (a *access) rewind(ctx context.Context) (ready []string, err error) {
	pods, err := a.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods: %w", err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || pod.Annotations[corev1.MirrorPodAnnotationKey] != "" {
			continue
		}
		if podReady(&pod) {
			ready = append(ready, pod.Namespace+"/"+pod.Name)
		}
		pod.Status = corev1.PodStatus{
			Phase: corev1.PodPending, QOSClass: pod.Status.QOSClass,
			Conditions: slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type != corev1.PodScheduled }),
		}
		if _, err := a.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, &pod, metav1.UpdateOptions{}); err != nil {
			return nil, fmt.Errorf("take back the start of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return ready, a.forget(ctx)
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// forget removes what tells of the template's own making: events of pods, and
// the note that names the authority of clients, which every copy replaces.
func (a *access) forget(ctx context.Context) error {
	err := a.client.CoreV1().ConfigMaps("kube-system").Delete(ctx, "extension-apiserver-authentication", metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("forget the old authority: %w", err)
	}
	for _, kind := range []string{"Pod", "Node"} {
		events, err := a.client.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=" + kind})
		if err != nil {
			return fmt.Errorf("list the events: %w", err)
		}
		for _, e := range events.Items {
			err := a.client.CoreV1().Events(e.Namespace).Delete(ctx, e.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("forget an event: %w", err)
			}
		}
	}
	return nil
}

// waitForPods waits until the pods, as namespace/name, are ready.
func (a *access) waitForPods(ctx context.Context, pods []string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	waiting := map[string]bool{}
	for _, pod := range pods {
		waiting[pod] = true
	}
	if len(waiting) == 0 {
		return nil
	}
	lw := cache.NewListWatchFromClient(a.client.CoreV1().RESTClient(), "pods", "", fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		pod, ok := e.Object.(*corev1.Pod)
		if ok && podReady(pod) {
			delete(waiting, pod.Namespace+"/"+pod.Name)
		}
		return len(waiting) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait until the pods %s are ready: %w", strings.Join(slices.Sorted(maps.Keys(waiting)), ", "), err)
	}
	return nil
}

// waitForServiceAccounts waits until pods can be made at all.
func (a *access) waitForServiceAccounts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	err := until(ctx, a.client.CoreV1().RESTClient(), "serviceaccounts", "default", "default", &corev1.ServiceAccount{},
		func(runtime.Object) bool { return true })
	if err != nil {
		return fmt.Errorf("wait for the first service account: %w", err)
	}
	return nil
}

// until watches one object until it exists and holds.
func until(ctx context.Context, c rest.Interface, resource, namespace, name string, kind runtime.Object, holds func(runtime.Object) bool) error {
	lw := cache.NewListWatchFromClient(c, resource, namespace, fields.OneTermEqualSelector("metadata.name", name))
	_, err := watchtools.UntilWithSync(ctx, lw, kind, nil, func(e watch.Event) (bool, error) {
		return (e.Type == watch.Added || e.Type == watch.Modified) && holds(e.Object), nil
	})
	return err
}

// bootstrapToken is the secret of the token for joining nodes, which is the
// same in every kind cluster.
const bootstrapToken = "bootstrap-token-abcdef"

// trim takes out what a cluster of one node does not need: a second DNS
// server, names of the outside, and the token with which other nodes would join.
func (a *access) trim(ctx context.Context) error {
	_, err := a.client.AppsV1().Deployments("kube-system").Patch(ctx, "coredns", types.StrategicMergePatchType,
		[]byte(leanDNS), metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("leave one DNS server: %w", err)
	}
	if err := a.closeDNS(ctx); err != nil {
		return err
	}
	err = a.client.CoreV1().Secrets("kube-system").Delete(ctx, bootstrapToken, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the token for joining nodes: %w", err)
	}
	return nil
}

// leanDNS is one DNS server, which is asked every second whether it is ready:
// what waits for a name waits for that, and every ten seconds is kubeadm's way.
const leanDNS = `{"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"coredns","readinessProbe":{"periodSeconds":1}}]}}}}`

// The cluster's DNS server asks this one, which runs in it, for the names of
// the outside: none of them can be reached, so none exists. Asked of the
// engine, a misspelt name would take seconds to be unknown.
const (
	dnsUpstream = "/etc/resolv.conf"
	dnsNobody   = "127.0.0.1:1053"
	dnsRefusal  = `.:1053 {
    bind 127.0.0.1
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`
)

// closeDNS comes before the DNS server has started: that waits for the node.
func (a *access) closeDNS(ctx context.Context) error {
	maps := a.client.CoreV1().ConfigMaps("kube-system")
	cm, err := maps.Get(ctx, "coredns", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil && strings.Contains(cm.Data["Corefile"], dnsUpstream) {
		cm.Data["Corefile"] = strings.Replace(cm.Data["Corefile"], dnsUpstream, dnsNobody, 1) + dnsRefusal
		_, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("keep the cluster's DNS to itself: %w", err)
	}
	return nil
}

// addLearner makes the learner's account and the roles, which bind nobody yet.
func (a *access) addLearner(ctx context.Context, namespace string) error {
	_, err := a.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: accountNamespace}}, metav1.CreateOptions{})
	if err == nil {
		_, err = a.client.CoreV1().ServiceAccounts(accountNamespace).Create(ctx, &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: accountName, Annotations: map[string]string{namespaceNote: namespace}},
		}, metav1.CreateOptions{})
	}
	for _, r := range learnerRoles() {
		if err == nil {
			_, err = a.client.RbacV1().ClusterRoles().Create(ctx, r, metav1.CreateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("make the learner's account: %w", err)
	}
	return nil
}

// learnerRoles are what a learner with access to namespaces is given. Not in
// them, on purpose: secrets outside the lab's namespaces, tokens of service
// accounts, impersonation, ephemeral containers, proxies into nodes, roles.
func learnerRoles() []*rbacv1.ClusterRole {
	look := []string{"get", "list", "watch"}
	edit := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	rule := func(verbs []string, group, resources string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: strings.Fields(resources)}
	}
	role := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	}
	return []*rbacv1.ClusterRole{
		role(roleEdit,
			rule(edit, "", "pods services endpoints configmaps secrets persistentvolumeclaims replicationcontrollers replicationcontrollers/scale serviceaccounts"),
			rule([]string{"get", "create"}, "", "pods/exec pods/attach pods/portforward"),
			rule([]string{"create"}, "", "pods/eviction"),
			rule([]string{"get", "patch", "update"}, "", "pods/resize"),
			rule(look, "", "pods/log pods/status services/status events resourcequotas limitranges"),
			rule(edit, "apps", "deployments deployments/scale statefulsets statefulsets/scale replicasets replicasets/scale daemonsets"),
			rule(look, "apps", "controllerrevisions deployments/status statefulsets/status replicasets/status daemonsets/status"),
			rule(edit, "batch", "jobs cronjobs"),
			rule(edit, "autoscaling", "horizontalpodautoscalers"),
			rule(edit, "policy", "poddisruptionbudgets"),
			rule(edit, "networking.k8s.io", "networkpolicies ingresses"),
			rule(edit, "coordination.k8s.io", "leases"),
			rule(look, "discovery.k8s.io", "endpointslices"),
			rule(look, "rbac.authorization.k8s.io", "roles rolebindings"),
		),
		role(roleLook,
			rule(look, "", "nodes namespaces events persistentvolumes"),
			rule(look, "events.k8s.io", "events"),
			rule(look, "storage.k8s.io", "storageclasses csidrivers csinodes volumeattachments"),
			rule(look, "networking.k8s.io", "ingressclasses servicecidrs ipaddresses"),
			rule(look, "scheduling.k8s.io", "priorityclasses"),
			rule(look, "node.k8s.io", "runtimeclasses"),
			rule(look, "apiextensions.k8s.io", "customresourcedefinitions"),
			rule(look, "metrics.k8s.io", "nodes pods"),
		),
		role(roleSystem,
			rule(look, "", "pods pods/log services endpoints configmaps serviceaccounts"),
			rule(look, "apps", "deployments daemonsets replicasets"),
			rule(look, "discovery.k8s.io", "endpointslices"),
			rule(look, "coordination.k8s.io", "leases"),
		),
	}
}

// grant gives the learner what the spec allows.
//
// With access to the cluster or the node this is cluster-admin. What is still
// refused with access to the cluster cannot be by roles, which only add, nor by
// objects that an administrator can delete: see [policy].
func (a *access) grant(ctx context.Context, spec sandbox.Spec) error {
	if spec.Access != sandbox.AccessNamespace {
		return a.bindEverywhere(ctx, "cluster-admin")
	}
	if err := a.bindEverywhere(ctx, roleLook); err != nil {
		return err
	}
	if err := a.bind(ctx, "kube-system", roleSystem); err != nil {
		return err
	}
	for _, namespace := range spec.Namespaces {
		if err := a.enforce(ctx, namespace); err != nil {
			return err
		}
		if err := a.bind(ctx, namespace, roleEdit); err != nil {
			return err
		}
	}
	return nil
}

func learner() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNamespace, Name: accountName}}
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

func (a *access) bindEverywhere(ctx context.Context, role string) error {
	_, err := a.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "drydock:learner"}, Subjects: learner(), RoleRef: clusterRole(role),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("give the learner the role %s: %w", role, err)
	}
	return nil
}

func (a *access) bind(ctx context.Context, namespace, role string) error {
	_, err := a.client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "drydock:learner"}, Subjects: learner(), RoleRef: clusterRole(role),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("give the learner the role %s in namespace %s: %w", role, namespace, err)
	}
	return nil
}

// enforce holds the namespace's pods to the baseline, unless the lab's own
// manifests say otherwise.
func (a *access) enforce(ctx context.Context, name string) error {
	ns, err := a.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the lab works in namespace %s, but its setup did not make it", name)
	}
	if err != nil {
		return fmt.Errorf("look at namespace %s: %w", name, err)
	}
	if ns.Labels[enforceLabel] != "" {
		return nil
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, enforceLabel, enforceLevel)
	_, err = a.client.CoreV1().Namespaces().Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("protect namespace %s: %w", name, err)
	}
	return nil
}

// defaultNamespace is what addLearner noted.
func (a *access) defaultNamespace(ctx context.Context) (string, error) {
	sa, err := a.client.CoreV1().ServiceAccounts(accountNamespace).Get(ctx, accountName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("look up the learner's account: %w", err)
	}
	return sa.Annotations[namespaceNote], nil
}

// kubeconfig is the learner's.
func (a *access) kubeconfig(ctx context.Context, namespace string) ([]byte, error) {
	seconds := int64(tokenLife / time.Second)
	token, err := a.client.CoreV1().ServiceAccounts(accountNamespace).CreateToken(ctx, accountName,
		&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("get a token for the learner: %w", err)
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["lab"] = &clientcmdapi.Cluster{Server: a.server, CertificateAuthorityData: a.ca}
	cfg.AuthInfos[accountName] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	cfg.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: accountName, Namespace: namespace}
	cfg.CurrentContext = "lab"
	return clientcmd.Write(*cfg)
}

// giveKubeconfig puts the learner's kubeconfig into the terminal.
func (p *Provider) giveKubeconfig(ctx context.Context, id string, a *access, namespace string) error {
	cfg, err := a.kubeconfig(ctx, namespace)
	if err != nil {
		return err
	}
	c, err := p.part(ctx, id, roleTerminal)
	if err != nil {
		return err
	}
	res, err := p.dock.Exec(ctx, dock.Place{Container: c.ID, User: learnerUser}, sandbox.Command{
		Argv:  []string{"/bin/sh", "-c", "umask 077 && mkdir -p " + learnerHome + "/.kube && cat >" + learnerHome + "/.kube/config"},
		Stdin: strings.NewReader(string(cfg)),
	})
	if err == nil && res.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(string(res.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("put the kubeconfig into the terminal: %w", err)
	}
	return nil
}
