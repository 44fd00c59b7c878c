package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/fleet"
	"drydock/sandbox/image"
	"drydock/sandbox/kind"
	"drydock/sandbox/machine"
)

// openProvider opens all kinds of sandbox of a data directory as one, for
// commands that keep no pool and let nobody wait.
func openProvider(data, nodeImage string, log *slog.Logger) (sandbox.Provider, error) {
	providers, err := openProviders(data, nodeImage, log)
	if err != nil {
		return nil, err
	}
	return fleet.New(fleet.Config{Providers: providers, Log: log})
}

// openProviders wires the providers to the engine. The engine need not
// answer yet: every use of a provider says so itself, and a server that is
// started before its engine is of use for reading.
func openProviders(data, nodeImage string, log *slog.Logger) ([]sandbox.Provider, error) {
	instance, err := instanceID(data)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	api, err := engine.Open()
	if errors.Is(err, engine.ErrNotRunning) {
		log.Warn("no container engine answers yet", "err", err)
		api, err = client.New(client.WithHost(client.DefaultDockerHost))
	}
	if err != nil {
		return nil, err
	}
	if nodeImage == "" {
		nodeImage = image.NodeRef
	}
	clusters, err := kind.New(kind.Config{
		Instance: instance, NodeImage: nodeImage, TerminalImage: image.TerminalRef,
		StateDir: filepath.Join(data, "clusters"), Engine: api, Self: self, Log: log,
	})
	if err != nil {
		return nil, err
	}
	machines, err := machine.New(machine.Config{Instance: instance, Image: image.MachineRef, Engine: api, Log: log})
	if err != nil {
		return nil, err
	}
	return []sandbox.Provider{clusters, machines}, nil
}
