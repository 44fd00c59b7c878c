package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/sandbox/machine"
)

// Available says what is missing for machines in the directory machines (see
// [Config]) to run on this host; nil is nothing. It starts one: the only proof.
// Its error is sandbox.ErrNoImage where "drydock image build" is what is missing.
func Available(ctx context.Context, machines string) error {
	root, err := image.CurrentMachineRoot(machines)
	if err != nil {
		return fmt.Errorf("%w: %w", sandbox.ErrNoImage, err)
	}
	dir, err := os.MkdirTemp("", "gv")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := New(Config{Instance: "trial", Machines: machines, StateDir: dir})
	if err != nil {
		return err
	}
	if p.Durable() {
		for _, name := range []string{"mke2fs", "e2fsck", "mount", "losetup", "findmnt"} {
			if _, err := exec.LookPath(name); err != nil {
				return fmt.Errorf("machines on gVisor need %s of e2fsprogs and util-linux: %w", name, err)
			}
		}
	}
	_, err = p.Create(ctx, sandbox.Spec{Session: "trial", Kind: sandbox.Machine, Limits: sandbox.Limits{Disk: machine.MinDisk}}, nil)
	if err != nil {
		return fmt.Errorf("no machine starts on gVisor (%s): %w", root, err)
	}
	return errors.Join(p.Destroy(ctx, "trial"), p.Close(ctx))
}
