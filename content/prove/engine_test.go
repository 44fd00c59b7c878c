package prove_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"drydock/content"
	"drydock/content/prove"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/sandbox/image"
	"drydock/sandbox/kind"
	"drydock/sandbox/machine"
)

// TestMain lets kind make clusters in a process of its own, which is this program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == kind.ChildName {
		if err := kind.RunChild(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// onTheEngine is an article for a real machine and a real cluster.
const onTheEngine = "```sh machine\nid -un; pwd\n```\n```output\nlearner\n/home/learner\n```\n\n" +
	"```python file=who.py\nimport os\nprint(os.getuid())\n```\n\n" +
	"```sh machine\npython3 who.py\n```\n```output\n1000\n```\n\n" +
	"```sh machine root\nid -un\n```\n```output\nroot\n```\n\n" +
	"```yaml file=web.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n" +
	"  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n        - {name: web, image: " + image.WorkloadRef + ", command: [sleep, '1000']}\n```\n\n" +
	"```sh cluster\nkubectl apply -f web.yaml\nkubectl rollout status deployment/web --timeout=60s | tail -1\n```\n" +
	"```output\ndeployment.apps/web created\ndeployment \"web\" successfully rolled out\n```\n\n" +
	"```sh cluster\nkubectl get pods\n```\n```output shape\nNAME                   READY   STATUS    RESTARTS   AGE\n" +
	"web-5d9c7b8f6-x2x9k   1/1     Running   0          3s\nweb-5d9c7b8f6-zzz44   1/1     Running   0          3s\n```\n\n" +
	"```yaml cluster\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n```\n\n" +
	"```yaml cluster\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selektor: {app: web}, ports: [{port: 80}]}\n```\n"

// both returns sandboxes of both kinds, and takes away at the end of the test
// what they keep. It needs the engine and its images: without them the test fails.
func both(t *testing.T, instance string) sandbox.Provider {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	machines, err := machine.New(machine.Config{Instance: instance, Image: image.MachineRef, Engine: cli})
	if err != nil {
		t.Fatal(err)
	}
	clusters, err := kind.New(kind.Config{
		Instance: instance, NodeImage: image.NodeRef, TerminalImage: image.TerminalRef, StateDir: t.TempDir(), Engine: cli, Self: self, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	both, err := fleet.New(fleet.Config{Providers: []sandbox.Provider{clusters, machines}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clear(t, both) })
	return both
}

// clear fails where a sandbox was left, and removes what sandboxes were made of.
func clear(t *testing.T, provider sandbox.Provider) {
	ctx := context.WithoutCancel(t.Context())
	if left, err := provider.List(ctx); err != nil || len(left) != 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
	templates, err := provider.Templates(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, found := range templates {
		if err := provider.RemoveTemplate(ctx, found.ID); err != nil {
			t.Error(err)
		}
	}
}

func TestArticleOnTheEngine(t *testing.T) {
	results, err := prove.Article(t.Context(), article(t, onTheEngine), prove.Options{Provider: both(t, "articletest")})
	if err != nil {
		t.Fatalf("this test needs the engine and its images (drydock image build): %v", err)
	}
	lies := prove.Problems(results)
	if len(results) != 7 || len(lies) != 1 || !strings.Contains(lies[0].Problem, `unknown field "spec.selektor"`) {
		t.Errorf("of %d blocks these lie: %+v", len(results), lies)
	}
}

// TestEmbeddedArticles runs every command of every article that comes with Drydock.
func TestEmbeddedArticles(t *testing.T) {
	provider := both(t, "librarytest")
	library, err := content.Load(content.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("all", func(t *testing.T) {
		for _, a := range library.Articles {
			t.Run(a.Slug, func(t *testing.T) {
				t.Parallel()
				results, err := prove.Article(t.Context(), a, prove.Options{Provider: provider})
				if err != nil {
					t.Fatalf("this test needs the engine and its images (drydock image build): %v", err)
				}
				for _, r := range prove.Problems(results) {
					t.Errorf("content/tracks/%s:%d: %s\n%s", r.File, r.Line, r.Problem, r.Printed)
				}
				if len(results) == 0 {
					t.Error("none of its blocks is run")
				}
			})
		}
	})
}
