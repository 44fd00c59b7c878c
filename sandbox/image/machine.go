package image

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/moby/moby/client"

	"drydock/sandbox/machine/boot"
	"drydock/sandbox/probe"
)

// Machine is the value of LabelImage for the image of a Linux machine, and
// MachineRef the reference under which its newest build is found.
const (
	Machine    = "machine"
	MachineRef = "drydock/machine:latest"
)

// machineMain is the entry process of a machine, built from the main module.
const machineMain = "./sandbox/machine/cmd/drydock-machine"

// CurrentMachine returns the reference of the machine image to use, as Current
// does for those of clusters.
func CurrentMachine(ctx context.Context, cli *client.Client) (string, error) {
	return MachineRef, usable(ctx, cli, Machine, MachineRef)
}

// CurrentAll makes sure that all images are there.
func CurrentAll(ctx context.Context, cli *client.Client) error {
	_, _, err := Current(ctx, cli)
	if err == nil {
		_, err = CurrentMachine(ctx, cli)
	}
	return err
}

// machineHash is the hash of the machine image's recipe.
func (s *source) machineHash(ctx context.Context) (string, error) {
	r := s.recipe.Rootfs[Machine]
	h := newKey(runtime.GOARCH, s.recipe.Contract, s.recipe.Debian, r.Variant, strings.Join(r.Packages, " "), strings.Join(unwantedPaths, " "))
	for _, name := range []string{"machine.go", "tree.go"} {
		if err := h.file(filepath.Join(s.dir, "sandbox", "image", name), name); err != nil {
			return "", err
		}
	}
	err := errors.Join(h.tree(s.path("machine")), h.programs(ctx, s.dir, shellMain, machineMain, probeMain))
	return h.sum(), err
}

// buildMachine makes the machine image: Debian's files, which belong to the
// machine's users (boot.IDBase says who they are), the two programs that make a
// machine of it, and the one that probes it.
func (b *builder) buildMachine(ctx context.Context) error {
	return b.step("Assemble the machine", func() (bool, error) {
		programs, err := b.machinePrograms(ctx)
		if err != nil {
			return false, err
		}
		tags := b.tags(Machine, b.machineHash)
		changes := append(labelChanges(b.labels(Machine, b.machineHash)),
			"ENV LANG=C.UTF-8 PATH="+machinePath, "WORKDIR /",
			`ENTRYPOINT ["`+boot.Program+`"]`)
		err = importTree(ctx, b.cli, tags[len(tags)-1], changes, func(t *tree) error {
			return b.machineFiles(t, programs)
		})
		if err != nil {
			return false, err
		}
		return false, b.tag(ctx, tags[len(tags)-1], tags)
	})
}

// machinePath has root's programs last: a learner looks for ip and ss, too.
const machinePath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

// machinePrograms builds our programs for a machine: file in the machine → file.
func (b *builder) machinePrograms(ctx context.Context) (map[string]string, error) {
	programs := map[string]string{}
	for in, pkg := range map[string]string{shellProgram: shellMain, boot.Program: machineMain, probe.Program: probeMain} {
		program, err := b.compileOwn(ctx, pkg)
		if err != nil {
			return nil, err
		}
		programs[strings.TrimPrefix(in, "/")] = program
	}
	return programs, nil
}

func (b *builder) machineFiles(t *tree, programs map[string]string) error {
	t.idBase = boot.IDBase
	if err := t.files(b.src.path("machine", "files"), func(string) fs.FileMode { return 0o644 }); err != nil {
		return err
	}
	if err := t.programs(programs); err != nil {
		return err
	}
	if err := t.dir(strings.TrimPrefix(boot.LearnerHome, "/"), 0o750, boot.LearnerID); err != nil {
		return err
	}
	// No learner becomes another user by a program of Debian's; the machine says so once more.
	t.dropSetID = true
	return t.base(b.roots[Machine], func(name string) bool {
		// The engine and the machine make these themselves. A machine gets an id when it is made.
		return !strings.HasPrefix(name, "etc/skel/") && !strings.HasPrefix(name, "dev/") && name != "etc/machine-id" && name != "etc/mtab"
	})
}
