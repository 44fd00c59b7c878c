package kind

import "drydock/sandbox"

// policyDir is where the node image has the files that keep a learner on the
// node: rules of authorization, and admission policies from manifests, which
// nobody can see, change or delete through the API.
const policyDir = "/etc/kubernetes/drydock"

// policy is what the API server needs to enforce them. Keys as in [lean].
//
// With access to the node there is nothing left to keep: who is root there can
// read the API server's own keys.
func policy(access sandbox.Access) map[string]component {
	if access == sandbox.AccessNode {
		return map[string]component{}
	}
	return map[string]component{"apiServer": {
		args: []setting{
			{"admission-control-config-file", policyDir + "/admission.yaml"},
			{"authorization-config", policyDir + "/authorization.yaml"}, // instead of authorization-mode
		},
		mounts: []mount{{"drydock", policyDir}},
	}}
}
