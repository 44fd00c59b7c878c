// Package engine finds the container engine and probes whether it can do what
// sandboxes need. Beside it lies setup.sh, which installs and starts an engine
// where there is none.
//
// A probe really tries what it speaks of and reports a [Finding]: what was
// found, and the command that mends what is wrong. The package imports none of
// Drydock's other packages.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// ErrNotRunning is in the chain of the error for an engine that does not answer.
var ErrNotRunning = errors.New("no container engine answers")

// SetupCommand starts an engine, and installs one where there is none.
const SetupCommand = "sandbox/engine/setup.sh up"

// dialTime is how long a local socket may take to accept: one that exists and has no owner refuses at once.
const dialTime = time.Second

// sockets are the places where engines listen, the likeliest first.
func sockets(runtimeDir string) []string {
	list := []string{"/var/run/docker.sock"}
	if runtimeDir != "" {
		list = append(list, filepath.Join(runtimeDir, "docker.sock"))
	}
	list = append(list, "/run/podman/podman.sock")
	if runtimeDir != "" {
		list = append(list, filepath.Join(runtimeDir, "podman", "podman.sock"))
	}
	return list
}

// Open returns a client of the engine that DOCKER_HOST names, or of the first
// that accepts connections on one of the usual Docker and Podman sockets. It
// does not talk to it yet; [Ping] does.
func Open() (*client.Client, error) {
	if os.Getenv(client.EnvOverrideHost) != "" {
		cli, err := client.New(client.FromEnv)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", client.EnvOverrideHost, err)
		}
		return cli, nil
	}
	return open(sockets(os.Getenv("XDG_RUNTIME_DIR")))
}

func open(sockets []string) (*client.Client, error) {
	var refused error
	for _, path := range sockets {
		conn, err := net.DialTimeout("unix", path, dialTime)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				refused = cmp.Or(refused, err)
			}
			continue
		}
		conn.Close()
		return client.New(client.WithHost("unix://" + path))
	}
	if errors.Is(refused, os.ErrPermission) {
		return nil, fmt.Errorf("%w to this user (%w): run \"sudo usermod -aG docker $USER\" and log in again", ErrNotRunning, refused)
	}
	return nil, fmt.Errorf("%w on %s: run \"%s\", or name one with %s", ErrNotRunning, strings.Join(sockets, " or "), SetupCommand, client.EnvOverrideHost)
}

// Version says which engine answers.
type Version struct {
	Name   string // Docker or Podman
	Number string
	API    string // the version of its interface that is spoken
	Host   string // where it was reached
}

func (v Version) String() string {
	return fmt.Sprintf("%s %s, API %s, at %s", v.Name, v.Number, v.API, v.Host)
}

// Ping asks the engine who it is. An error is ErrNotRunning.
func Ping(ctx context.Context, cli *client.Client) (Version, error) {
	// The client speaks the engine's own version of the interface from here on.
	if _, err := cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return Version{}, fmt.Errorf("%w at %s: %w", ErrNotRunning, cli.DaemonHost(), err)
	}
	v, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return Version{}, fmt.Errorf("%w at %s: %w", ErrNotRunning, cli.DaemonHost(), err)
	}
	name := "Docker"
	for _, c := range v.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			name = "Podman"
		}
	}
	return Version{Name: name, Number: v.Version, API: cli.ClientVersion(), Host: cli.DaemonHost()}, nil
}

// local says whether the engine runs on this machine, so that what is read from /proc is about it.
func local(cli *client.Client) bool { return strings.HasPrefix(cli.DaemonHost(), "unix://") }
