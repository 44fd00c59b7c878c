// Command kubernetes is the programs of Kubernetes that run on a node all the
// time, in one file: which of them it is depends on the name that it is called
// by, as with busybox. What they have in common, which is most of it, is then
// on disk once and in memory once, however many of them run.
//
// Each starts exactly as in its own package main of k8s.io/kubernetes. kubeadm
// and kubectl are not here: every process pays for what all of the programs
// prepare before main, and for those two that is as much as for all the rest.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // the time zones of CronJobs: the control plane's images have no files of them

	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // what the programs measure of their own requests
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	// The names that this program answers to.
	programs := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-proxy":              proxy.NewProxyCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	}
	name := filepath.Base(os.Args[0])
	program, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: call this file by one of the names %s\n", name,
			strings.Join(slices.Sorted(maps.Keys(programs)), ", "))
		os.Exit(2)
	}
	if condition, ok := preconditions[name]; ok {
		await(condition)
	}
	fitHeap()
	os.Exit(cli.Run(program()))
}
