package image

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

// TestKindsOwnCommand makes a cluster from the node image with kind's own
// command line, as it stands in the module we depend on, and a cluster config
// of nothing but kind's defaults: the image keeps kind's node contract.
func TestKindsOwnCommand(t *testing.T) {
	cli := connect(t)
	if _, _, err := Current(t.Context(), cli); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kind := filepath.Join(dir, "kind")
	if out, err := exec.Command("go", "build", "-o", kind, "sigs.k8s.io/kind").CombinedOutput(); err != nil {
		t.Fatalf("build kind: %v\n%s", err, out)
	}
	name := "drydock-test-" + strings.ToLower(rand.Text()[:8])
	// A network of its own, so that the test leaves none called "kind" behind.
	if _, err := cli.NetworkCreate(t.Context(), name, client.NetworkCreateOptions{Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := cli.NetworkRemove(context.Background(), name, client.NetworkRemoveOptions{}); err != nil {
			t.Errorf("remove the network: %v", err)
		}
	})
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(kind, args...)
		cmd.Env = append(os.Environ(), "KIND_EXPERIMENTAL_DOCKER_NETWORK="+name, "KUBECONFIG="+filepath.Join(dir, "kubeconfig"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("kind %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { run("delete", "cluster", "--name", name) })
	if out := run("create", "cluster", "--name", name, "--image", NodeRef, "--wait", "120s"); !strings.Contains(out, "Ready after") {
		t.Errorf("kind does not say that the node became ready:\n%s", out)
	}
	if out := run("get", "clusters"); !strings.Contains(out, name) {
		t.Errorf("kind get clusters lists %q, not %s", out, name)
	}
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", append([]string{"exec", name + "-control-plane", "kubectl"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// kind does not wait for the controllers: the account that pods run as is made by one of them.
	kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
	kubectl("run", "hello", "--image="+WorkloadRef, "--restart=Never", "--", "--help")
	kubectl("wait", "pod/hello", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
	if out := kubectl("logs", "hello"); !strings.Contains(out, "usage: workload") {
		t.Errorf("a pod of the workload image, without any pull, printed:\n%s", out)
	}
}
