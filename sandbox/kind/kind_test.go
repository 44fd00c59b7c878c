package kind

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"drydock/sandbox"
)

func TestMain(m *testing.M) {
	// The provider runs its program again to create a cluster: here, the test binary.
	if len(os.Args) == 2 && os.Args[1] == ChildName {
		if err := RunChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestScratch(t *testing.T) {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	self, _ := os.Executable()
	p, err := New(Config{Instance: "kindtest", NodeImage: "drydock/node:latest", TerminalImage: "drydock/terminal:latest", StateDir: t.TempDir(), Engine: cli, Self: self})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ctx := context.Background()
	defer func() {
		b := time.Now()
		if err := p.Destroy(ctx, "first"); err != nil {
			t.Error(err)
		}
		t.Log("destroy", time.Since(b))
	}()
	info, err := p.Create(ctx, sandbox.Spec{Session: "first", Kind: sandbox.Cluster, Namespaces: []string{"default"}}, func(s sandbox.Stage) {
		t.Log(time.Since(begin).Round(time.Millisecond), s)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(info)
	for _, c := range []sandbox.Command{
		{Where: sandbox.InTerminal, Argv: []string{"kubectl", "get", "pods", "-A"}},
		{Where: sandbox.InTerminal, Argv: []string{"kubectl", "auth", "can-i", "--list"}},
		{Where: sandbox.OnNode, Argv: []string{"sh", "-c", "kubectl get nodes -o wide; kubectl get secrets -A; kubectl describe node | grep -A8 Alloc; ps aux | wc -l"}},
		{Where: sandbox.OnNode, Argv: []string{"sh", "-c", "journalctl --no-pager -o short-precise | grep -v audit | tail -n 400 | cut -c1-180"}},
	} {
		r, err := p.Exec(ctx, "first", c)
		t.Log(err, r.ExitCode, string(r.Stdout), string(r.Stderr))
	}
}
