package kind

// lean holds the control plane's memory and start-up time down: it serves one
// small cluster. Keys are kubeadm's names of the components: apiServer,
// controllerManager, scheduler, etcd.
func lean() map[string]component { return map[string]component{} }
