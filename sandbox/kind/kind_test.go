package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/sandbox/sandboxtest"
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

// testInstance keeps the tests' sandboxes apart from those of a server on the same engine.
const testInstance = "kindtest"

func newTestProvider(t *testing.T, host ...client.Opt) *Provider {
	t.Helper()
	cli, err := client.New(append([]client.Opt{client.FromEnv}, host...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{
		Instance: testInstance, NodeImage: image.NodeRef, TerminalImage: image.TerminalRef,
		StateDir: t.TempDir(), Engine: cli, Self: self,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProvider needs the engine and the images: without them it fails and says what to run.
func TestProvider(t *testing.T) {
	p := newTestProvider(t)
	if _, err := p.List(t.Context()); err != nil {
		t.Fatalf("%v\n\"make up\" starts the engine", err)
	}
	sandboxtest.Test(t, func(t *testing.T) sandbox.Provider { return newTestProvider(t) }, engineOf{p})
}

// engineOf does to the engine beneath a provider what the suite asks for.
type engineOf struct{ *Provider }

// Interrupt kills the containers, the node last, as the end of the machine's power does.
func (e engineOf) Interrupt(ctx context.Context, session string) error {
	return e.each(ctx, session, roleTerminal, func(c container.Summary) error {
		_, err := e.cfg.Engine.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
		return err
	})
}

// Remains looks for the labels and, since kind could make something without them, for the names.
func (e engineOf) Remains(ctx context.Context, session string) ([]string, error) {
	name := e.names(session).cluster
	var left []string
	for _, args := range [][]string{
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "label=" + labelSession + "=" + session},
		{"ps", "-a", "--format", "{{.Names}}", "--filter", "name=" + name},
		{"network", "ls", "--format", "{{.Name}}", "--filter", "label=" + labelSession + "=" + session},
		{"network", "ls", "--format", "{{.Name}}", "--filter", "name=" + name},
		{"volume", "ls", "--format", "{{.Name}}", "--filter", "label=" + labelSession + "=" + session},
	} {
		out, err := exec.CommandContext(ctx, "docker", args...).Output()
		if err != nil {
			return nil, fmt.Errorf("docker %v: %w", args, err)
		}
		for line := range strings.Lines(string(out)) {
			left = append(left, args[0]+" "+strings.TrimSpace(line))
		}
	}
	return left, nil
}

// Reachable makes another session's network with a terminal on it, which is
// all that a connection needs, and listens there.
func (e engineOf) Reachable(ctx context.Context, p sandbox.Provider, session string) (_ bool, err error) {
	const other = "neighbour"
	if err := e.makeNetwork(ctx, other); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.remove(context.WithoutCancel(ctx), other)) }()
	if err := e.startTerminal(ctx, other); err != nil {
		return false, err
	}
	c, err := e.find(ctx, other, roleTerminal)
	if err != nil {
		return false, err
	}
	address := c.NetworkSettings.Networks[e.names(other).cluster].IPAddress.String()
	// From its own network the neighbour answers, so silence is not for want of an answer.
	self, err := p.Exec(ctx, other, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"bash", "-c", probe(address)}})
	if err != nil || !bytes.Contains(self.Stdout, []byte("refused")) {
		return false, fmt.Errorf("the neighbour does not answer itself: %s, %w", self.Stdout, err)
	}
	res, err := p.Exec(ctx, session, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"bash", "-c", probe(address)}})
	if err != nil {
		return false, err
	}
	return !bytes.Contains(res.Stdout, []byte("silence")), nil
}

// probe connects to a port that nobody listens on: a host that can be reached refuses.
func probe(address string) string {
	return "if timeout 3 bash -c 'exec 3<>/dev/tcp/" + address + "/4000' 2>/dev/null; then echo open; " +
		"elif [ $? = 124 ]; then echo silence; else echo refused; fi"
}
