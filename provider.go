package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/image"
	"drydock/sandbox/kind"
)

// openProvider wires the cluster provider to the engine. The engine need not
// answer yet: every use of the provider says so itself.
func openProvider(data, nodeImage string, log *slog.Logger) (sandbox.Provider, error) {
	instance, err := instanceID(data)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	client, err := engine.Open()
	if err != nil {
		return nil, err
	}
	if nodeImage == "" {
		nodeImage = image.NodeRef
	}
	return kind.New(kind.Config{
		Instance: instance, NodeImage: nodeImage, TerminalImage: image.TerminalRef,
		StateDir: filepath.Join(data, "clusters"), Engine: client, Self: self, Log: log,
	})
}
