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
	var walls []setting
	if access != sandbox.AccessNode {
		walls = []setting{
			{"admission-control-config-file", policyDir + "/admission.yaml"},
			{"authorization-config", policyDir + "/authorization.yaml"}, // instead of authorization-mode
		}
	}
	return map[string]component{"apiServer": {
		args:   append(walls, audit(access)...),
		mounts: []mount{{name: "drydock", path: policyDir}, {name: "drydock-audit", path: auditDir, writable: true}},
	}}
}

// auditDir is where the node keeps the audit log. It is root's alone, and on
// the file system of the container itself: a learner who fills the node's
// limited disk goes on being heard. `drydock-boot seal` leaves it out of a
// template; `drydock-boot audit` reads it.
const auditDir = "/kind/audit"

// audit has the API server write down what the learner asks of it, and nothing
// of what the system does. It writes before it answers, so that what was
// answered is never lost, and keeps four files of 8 MiB each: some ten thousand
// requests between two looks.
//
// An entry that is too large even without what was sent is not written at all,
// and a learner can make it large: by an address with a long query, or a list of
// forwarders. So the limit is beyond what the headers of a request can be, a
// mebibyte, of which a byte may take six in JSON.
//
// Who has the node works with the administrator's key, which only there is a
// learner's.
func audit(access sandbox.Access) []setting {
	rules := policyDir + "/audit.yaml"
	if access == sandbox.AccessNode {
		rules = policyDir + "/audit-node.yaml"
	}
	return []setting{
		{"audit-policy-file", rules},
		{"audit-log-path", auditDir + "/audit.log"},
		{"audit-log-maxsize", "8"},
		{"audit-log-maxbackup", "3"},
		{"audit-log-truncate-enabled", "true"},
		{"audit-log-truncate-max-event-size", "7340032"},
	}
}
