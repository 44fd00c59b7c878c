package content_test

import (
	"fmt"
	"strings"
	"testing"

	"drydock/content"
)

// What comes with Drydock is as tidy as it asks others to be.
func TestEmbeddedLibraryIsTidy(t *testing.T) {
	if err := content.Lint(content.Embedded()); err != nil {
		t.Error(err)
	}
}

func TestLint(t *testing.T) {
	long := strings.Repeat("x", 101)
	for _, test := range []struct{ name, text, want string }{
		{"code", "```sh none: why\n" + long + "\n```\n", "kube/pod/index.md:7: this line of code has 101 columns"},
		{"second line", "```sh none: why\nls\n" + long + "\n```\n", "kube/pod/index.md:8: this line"},
		{"100 columns", "```sh none: why\n" + long[1:] + "\n```\n", ""},
		{"output", "```sh machine\nls\n```\n```output\n" + long + "\n```\n", ""},
		{"name", "Text.\n\nOn Kubernetes and kubernetes.\n", `kube/pod/index.md:8: "kubernetes" is written Kubernetes`},
		{"name in a heading", "## The github\n", `kube/pod/index.md:6: "github" is written GitHub`},
		{"name in a link's text", "[postgresql](https://postgresql.org)\n", `:6: "postgresql" is written PostgreSQL`},
		{"another word for it", "K8s and Postgres.\n", `"K8s" is written Kubernetes`},
		{"name in code", "The package `github.com/x` and kubernetes.io.\n\n```sh none: why\nkubectl --namespace kubernetes\n```\n", ""},
		{"name at the end", "I like kubernetes.\n", `"kubernetes" is written Kubernetes`},
		{"names as they are", "Kubernetes, GitHub, containerd, systemd, etcd, PostgreSQL, NGINX, nginx, macOS, kubelet, CRI-O, `github`.\n", ""},
		{"table", "| | b |\n|---|---|\n| 1 | 2 |\n", ":6: column 1 of this table has no heading"},
		{"table with code", "| `a` | b |\n|---|---|\n| 1 | 2 |\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := content.Lint(library(map[string]string{"kube/pod/index.md": front + test.text}))
			if test.want == "" && err != nil || test.want != "" && !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("the error is %v; want %q", err, test.want)
			}
		})
	}
}

func TestLintFindsWhatNothingUses(t *testing.T) {
	err := content.Lint(library(map[string]string{
		"kube/pod/index.md": front + "![A mast](ship.svg)\n\nRun `run.py`.\n", "kube/pod/ship.svg": drawn, "kube/pod/run.py": "import lib\n", "kube/pod/lib.py": "x = 1\n",
		"kube/pod/.hidden": "x", "kube/pod/index.md~": "x", "kube/pod/left.svg": drawn, "kube/pod/left.py": "x",
	}))
	got := fmt.Sprint(err)
	if len(content.Problems(err)) != 2 || !strings.Contains(got, "kube/pod/left.svg:1: nothing") || !strings.Contains(got, "kube/pod/left.py:1: nothing") {
		t.Errorf("the problems are %v", err)
	}
}
