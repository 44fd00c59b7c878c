package kind

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// TestNodeAccess: with access to the node the learner's shells are root's on
// it, in every copy of the template and after a restart too.
func TestNodeAccess(t *testing.T) {
	const session = "node1"
	p := newTestProvider(t)
	t.Cleanup(func() {
		if err := p.Destroy(context.Background(), session); err != nil {
			t.Error(err)
		}
		removeTemplates(t, p)
	})
	spec := sandbox.Spec{Session: session, Access: sandbox.AccessNode, Template: "attacks"}
	if _, err := p.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	works := func() {
		t.Helper()
		res, err := p.Exec(t.Context(), session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"sh", "-c",
			"id -u; hostname; kubectl --kubeconfig=/etc/kubernetes/admin.conf get nodes -o name; ls /etc/kubernetes/manifests"}})
		for _, want := range []string{"0\n" + nodeName, "node/" + nodeName, "etcd.yaml"} {
			if err != nil || !strings.Contains(string(res.Stdout), want) {
				t.Errorf("on the node %q is missing: %+v, %v", want, res, err)
			}
		}
		if text := typed(t, p, session, "echo $UID-$((40+2)) $(kubectl get nodes -o name) $(command -v less nano vi | wc -l)\n", "0-42 node/"+nodeName+" 3"); text != "" {
			t.Error(text)
		}
		// A shell that was closed gives way to a new one.
		if err := p.CloseTerminal(t.Context(), session, "main"); err != nil {
			t.Error(err)
		}
	}
	works()

	id, _, err := p.resolve(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	node, err := p.part(t.Context(), id, roleNode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.cfg.Engine.ContainerKill(t.Context(), node.ID, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(dock.Error("kill the node", err))
	}
	if err := p.Recover(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	works()
}

// typed writes into a terminal and waits for words in what it prints; it
// returns what it printed instead.
func typed(t *testing.T, p *Provider, session, keys, words string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	term, err := p.Terminal(ctx, session, sandbox.TerminalSpec{Tab: "main", Size: sandbox.Size{Cols: 200, Rows: 24}})
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { term.Close() })
	defer stop()
	defer term.Close()
	if _, err := io.WriteString(term, keys); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), words) {
		n, err := term.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			return "the terminal said " + seen.String() + ", " + err.Error()
		}
	}
	return ""
}
