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
	err := errors.Join(h.tree(s.path("machine")), h.program(ctx, s.dir, shellMain), h.program(ctx, s.dir, machineMain))
	return h.sum(), err
}

// buildMachine makes the machine image: Debian's files, which belong to the
// machine's users (boot.IDBase says who they are), and the two programs that
// make a machine of it.
func (b *builder) buildMachine(ctx context.Context) error {
	return b.step("Assemble the machine", func() (bool, error) {
		shell, err := b.compileShell(ctx)
		if err != nil {
			return false, err
		}
		program, err := b.compileMachine(ctx)
		if err != nil {
			return false, err
		}
		tags := b.tags(Machine, b.machineHash)
		changes := append(labelChanges(b.labels(Machine, b.machineHash)),
			"ENV LANG=C.UTF-8 PATH="+machinePath, "WORKDIR /",
			`ENTRYPOINT ["`+boot.Program+`"]`)
		err = importTree(ctx, b.cli, tags[len(tags)-1], changes, func(t *tree) error {
			return b.machineFiles(t, shell, program)
		})
		if err != nil {
			return false, err
		}
		return false, b.tag(ctx, tags[len(tags)-1], tags)
	})
}

// compileMachine builds the program that makes a machine, and runs commands in it.
func (b *builder) compileMachine(ctx context.Context) (string, error) {
	out := filepath.Join(b.cache, "drydock-machine-"+runtime.GOARCH)
	build := goCommand(ctx, b.src.dir, []string{"CGO_ENABLED=0"},
		"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, machineMain)
	return out, run(ctx, build, b.log)
}

// machinePath has root's programs last: a learner looks for ip and ss, too.
const machinePath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

func (b *builder) machineFiles(t *tree, shell, program string) error {
	t.idBase = boot.IDBase
	if err := t.files(b.src.path("machine", "files"), func(string) fs.FileMode { return 0o644 }); err != nil {
		return err
	}
	if err := t.file("usr/local/bin/drydock-shell", shell, 0o755); err != nil {
		return err
	}
	if err := t.file(strings.TrimPrefix(boot.Program, "/"), program, 0o755); err != nil {
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
