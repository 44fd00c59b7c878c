package kind

import "strings"

// lean holds the control plane's memory, idle work and start-up time down: it
// serves one small cluster, of which many share a machine. Keys are kubeadm's
// names of the components: apiServer, controllerManager, scheduler, etcd.
//
// The garbage collector of Kubernetes' own programs is set in their main
// package (sandbox/nodeimage/kubernetes), which knows when a start is over.
func lean() map[string]component {
	return map[string]component{
		"apiServer": {args: []setting{
			// A cache of every kind of object, and what fills it, is for thousands of
			// watchers; this server has fifty, and the store is on the same machine.
			{"watch-cache", "false"},
			// Queues between tenants: a cluster has one. The plain limit on requests stays.
			{"enable-priority-and-fairness", "false"},
			{"profiling", "false"},
			// Numbers for metrics that nobody scrapes.
			{"etcd-count-metric-poll-period", "0"},
			{"etcd-db-metric-poll-interval", "0"},
		}},
		"controllerManager": {args: []setting{
			{"controllers", controllers()},
			{"profiling", "false"},
		}},
		"scheduler": {args: []setting{{"profiling", "false"}}},
		"etcd": {
			args: []setting{
				// What survives a crash of the machine is made anew anyhow, and
				// a clone of a template starts from a store that was closed.
				{"unsafe-no-fsync", "true"},
				// How many changes are kept in memory: for members that fall behind, of which there are none.
				{"snapshot-count", "1000"},
				{"snapshot-catchup-entries", "100"},
				// kubeadm makes it 5 s for the API server's watch cache.
				{"watch-progress-notify-interval", "60s"},
				{"log-level", "warn"},
				// It writes beside the node's limited disk, and needs limits of its own:
				// with all of these it takes half a gibibyte at the most.
				{"quota-backend-bytes", "268435456"},
				{"max-wals", "2"},
				{"max-snapshots", "2"},
			},
			env: []setting{{"GOGC", "40"}},
		},
	}
}

// controllers is the value of the flag: all but those that have nothing to do on
// one node without a cloud, without drivers, and without nodes that join.
func controllers() string {
	without := []string{
		// They sign and remove the tokens of joining nodes. The one token is deleted.
		"bootstrap-signer-controller",
		"token-cleaner-controller",
		// Attaching is for volumes of CSI drivers. Volumes of paths on the node are mounted without.
		"persistentvolume-attach-detach-controller",
		"volumeattributesclass-protection-controller",
		// Devices are handed out by drivers: there are none.
		"device-taint-eviction-controller",
		"resourceclaim-controller",
		"resourcepoolstatusrequest-controller",
		// Old versions of objects and old API servers are what upgrades leave.
		"storage-version-migrator-controller",
		"storageversion-garbage-collector-controller",
		// It removes tokens that have not been used for a year.
		"legacy-serviceaccount-token-cleaner-controller",
		// They look after kinds of objects that this API server does not serve.
		"kube-apiserver-serving-clustertrustbundle-publisher-controller",
		"podcertificaterequest-cleaner-controller",
		"podgroup-protection-controller",
	}
	return "*,-" + strings.Join(without, ",-")
}
