package grade

import (
	"strings"
	"testing"
)

// TestKnownKinds: the fields of Kubernetes' own kinds are known when a check
// is compiled, and what is no field of theirs is found.
func TestKnownKinds(t *testing.T) {
	deployment := &Watch{Kind: "Deployment", Namespace: "shop", Name: "web"}
	pods := &Watch{Kind: "Pod", Namespace: "shop"}
	tests := []struct {
		name  string
		watch *Watch
		that  string
		want  string // in a problem; empty: none
	}{
		{"sound", deployment, "object != null && object.status.readyReplicas == 2", ""},
		{"optional", deployment, "object.?status.?readyReplicas.orValue(0) == object.spec.replicas", ""},
		{"metadata", deployment, `object.metadata.uid == baseline.metadata.uid && object.metadata.labels["app"] == "web"`, ""},
		{"has", deployment, "!has(object.status.readyReplicas)", ""},
		{"port by number or name", &Watch{Kind: "Service", Namespace: "shop", Name: "web"}, `object.spec.ports.exists(p, p.targetPort == 80 || p.targetPort == "http")`, ""},
		{"quantity", pods, `objects.all(p, p.spec.containers.all(c, quantity(c.resources.limits["memory"]).isLessThan(quantity("1Gi"))))`, ""},
		{"time", pods, `objects.all(p, timestamp(p.metadata.creationTimestamp) > timestamp("2026-01-01T00:00:00Z"))`, ""},
		{"secret", &Watch{Kind: "Secret", Namespace: "shop", Name: "db"}, `object.data["password"] != baseline.data["password"]`, ""},
		{"unknown kind", &Watch{APIVersion: "example.com/v1", Kind: "Widget", Name: "w"}, "object.spec.anything == 1", ""},
		{"misspelt", deployment, "object.status.readyReplica == 2", `a DeploymentStatus has no field "readyReplica"; did you mean "readyReplicas"?`},
		{"misspelt, optional", deployment, "object.status.?readyReplica.orValue(0) == 2", `a DeploymentStatus has no field "readyReplica"; did you mean "readyReplicas"?`},
		{"misspelt in has", deployment, "has(object.statuss)", `a Deployment has no field "statuss"; did you mean "status"?`},
		{"misspelt in a list", pods, "objects.all(p, p.spec.containers.all(c, c.imagePulPolicy == 'Never'))", `a Container has no field "imagePulPolicy"; did you mean "imagePullPolicy"?`},
		{"misspelt in baseline", deployment, "object.spec == baseline.specs", `a Deployment has no field "specs"; did you mean "spec"?`},
		{"far off", &Watch{Kind: "ConfigMap", Namespace: "shop", Name: "c"}, "object.spec == 1", `a ConfigMap has no field "spec"; it is one of apiVersion, binaryData, data, immutable, kind, metadata`},
		{"wrong type", deployment, `object.status.readyReplicas == "2"`, "no matching overload for '==' applied to '(int, string)'"},
		{"wrong type of object", deployment, `object.status == 2`, "applied to '(DeploymentStatus, int)'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			problems := Vet([]Check{{ID: "c", Watch: test.watch, That: test.that}})
			var all []string
			for _, p := range problems {
				all = append(all, p.String())
			}
			got := strings.Join(all, "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("problems %q, want %q", got, test.want)
			}
		})
	}
	problems := Vet([]Check{{ID: "c", Watch: deployment, That: "true", Else: "ready: ${object.status.readyReplicaz}"}})
	if len(problems) != 1 || !strings.Contains(problems[0].Msg, `did you mean "readyReplicas"?`) {
		t.Errorf("problems of else: %v", problems)
	}
}
