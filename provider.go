package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/fleet"
	"drydock/sandbox/gvisor"
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

// openProviders opens the provider of each kind.
func openProviders(data, nodeImage string, log *slog.Logger) ([]sandbox.Provider, error) {
	return serverProviders(context.Background(), providerOptions{data: data, nodeImage: nodeImage}, log)
}

// What machines run on.
const (
	machinesAuto   = "auto" // the engine; gVisor where there is none
	machinesEngine = "engine"
	machinesGVisor = "gvisor"
)

type providerOptions struct {
	data, nodeImage string
	machines        string // machinesAuto and so on; empty, without a server, is auto and leaves no trace
}

// serverProviders wires the providers to the engine. The engine need not
// answer yet: every use of a provider says so itself, and a server that is
// started before its engine is of use for reading.
func serverProviders(ctx context.Context, o providerOptions, log *slog.Logger) ([]sandbox.Provider, error) {
	instance, err := instanceID(o.data)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	api, err := engine.Open()
	answers := err == nil
	if errors.Is(err, engine.ErrNotRunning) {
		log.Warn("no container engine answers yet", "err", err)
		api, err = client.New(client.WithHost(client.DefaultDockerHost))
	}
	if err != nil {
		return nil, err
	}
	clusters, err := kind.New(kind.Config{
		Instance: instance, NodeImage: cmp.Or(o.nodeImage, image.NodeRef), TerminalImage: image.TerminalRef,
		StateDir: filepath.Join(o.data, "clusters"), Engine: api, Self: self, Log: log,
	})
	if err != nil {
		return nil, err
	}
	inEngine, err := machine.New(machine.Config{Instance: instance, Image: image.MachineRef, Engine: api, Log: log})
	if err != nil {
		return nil, err
	}
	machines, err := chooseMachines(ctx, o, instance, answers, inEngine, log)
	if err != nil {
		return nil, err
	}
	return []sandbox.Provider{clusters, machines}, nil
}

// usedEngine is the file that says that this data directory has had an engine:
// its machines are there, however long it is silent.
const usedEngine = "engine-used"

// chooseMachines says what machines run on. Sessions must find theirs again:
// so an engine that was there once is waited for, and gVisor stays while it has
// machines, though an engine has come meanwhile.
func chooseMachines(ctx context.Context, o providerOptions, instance string, answers bool, inEngine sandbox.Provider, log *slog.Logger) (sandbox.Provider, error) {
	_, err := os.Stat(filepath.Join(o.data, usedEngine))
	used := err == nil
	switch o.machines {
	case machinesEngine:
		return inEngine, markEngine(o)
	case "", machinesAuto, machinesGVisor:
	default:
		return nil, fmt.Errorf("--machines %q: it is auto, engine or gvisor", o.machines)
	}
	files, err := image.MachineDir()
	if err != nil {
		return nil, err
	}
	state := filepath.Join(o.data, "machines")
	_, err = os.Stat(state)
	without := err == nil // gVisor was used here
	if o.machines != machinesGVisor && !without && (answers || used) {
		return inEngine, markEngine(o)
	}
	onGVisor, err := gvisor.New(gvisor.Config{Instance: instance, Machines: files, StateDir: state, Log: log})
	if err != nil || o.machines == machinesGVisor || !answers && !used {
		return onGVisor, err
	}
	left, err := onGVisor.List(ctx)
	if err != nil || len(left) > 0 {
		log.Info("machines stay on gVisor until the last of them has gone", "machines", len(left))
		return onGVisor, err
	}
	return inEngine, markEngine(o)
}

func markEngine(o providerOptions) error {
	if o.machines == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(o.data, usedEngine), nil, 0o600); err != nil {
		return fmt.Errorf("note that machines run on the engine: %w", err)
	}
	return nil
}
