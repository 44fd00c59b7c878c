package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// compile builds one component's programs.
func (b *builder) compile(c component) task {
	return func(ctx context.Context) error {
		v, err := b.version(ctx, c)
		if err != nil {
			return err
		}
		flags, err := c.ldflags(v)
		if err != nil {
			return err
		}
		toolchain, err := goOutput(ctx, b.src.path(c.Dir), "env", "GOVERSION")
		if err != nil {
			return err
		}
		k := newKey(toolchain, runtime.GOARCH, fmt.Sprint(c.CGO), c.Tags, flags, c.Output)
		for _, p := range c.Packages {
			k.word(p)
			if !strings.HasPrefix(p, "./") {
				continue // the go.mod says which source it is
			}
			if err := k.tree(b.src.path(c.Dir, p)); err != nil {
				return err
			}
		}
		for _, f := range []string{"go.mod", "go.sum"} {
			if err := k.file(b.src.path(c.Dir, f), f); err != nil {
				return err
			}
		}
		dir, err := b.cached(ctx, "Build "+c.Name+" "+v, "bin-"+c.Name, k, func(dir string) error {
			out := dir + string(filepath.Separator)
			if c.Output != "" {
				out += c.Output
			}
			cgo := "CGO_ENABLED=0"
			if c.CGO {
				cgo = "CGO_ENABLED=1"
			}
			args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", c.Tags, "-ldflags", flags, "-o", out}
			return run(ctx, goCommand(ctx, b.src.path(c.Dir), []string{cgo}, append(args, c.Packages...)...), b.log)
		})
		if err != nil {
			return err
		}
		for _, p := range c.programs() {
			b.bin[p] = filepath.Join(dir, p)
		}
		return nil
	}
}

// compilePrograms builds what is ours or too small to be a component: the
// node's first program, that of the workload image, and Kubernetes' own pause.
func (b *builder) compilePrograms(ctx context.Context) error {
	kubernetes, err := goOutput(ctx, b.src.path(), "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	pause := filepath.Join(kubernetes, "build", "pause", "linux", "pause.c")
	k := newKey(runtime.GOARCH)
	if err := k.file(pause, "pause.c"); err != nil {
		return err
	}
	ours := []string{"workload", "boot"}
	for _, p := range ours {
		if err := k.tree(b.src.path(p)); err != nil {
			return err
		}
	}
	dir, err := b.cached(ctx, "Build the programs of the node and the labs", "bin-programs", k, func(dir string) error {
		for _, p := range ours {
			build := goCommand(ctx, b.src.path(), []string{"CGO_ENABLED=0"},
				"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, p), "./"+p)
			if err := run(ctx, build, b.log); err != nil {
				return err
			}
		}
		return run(ctx, command(ctx, dir, "gcc", "-Os", "-static", "-s", "-DVERSION=drydock", "-o", "pause", pause), b.log)
	})
	for _, p := range append(ours, "pause") {
		b.bin[p] = filepath.Join(dir, p)
	}
	return err
}

// rootfs makes one of the recipe's root file systems from Debian's packages.
func (b *builder) rootfs(name string) task {
	return func(ctx context.Context) error {
		r := b.src.recipe.Rootfs[name]
		k := newKey(runtime.GOARCH, b.src.recipe.Debian, r.Variant, strings.Join(r.Packages, " "), strings.Join(unwantedPaths, " "))
		dir, err := b.cached(ctx, "Gather Debian packages for the "+name, "root-"+name, k, func(dir string) error {
			args := []string{"--quiet", "--variant=" + r.Variant, "--include=" + strings.Join(r.Packages, ",")}
			for _, p := range unwantedPaths {
				args = append(args, "--dpkgopt=path-exclude="+p)
			}
			// A copyright file is owed to whoever gets the image.
			args = append(args, "--dpkgopt=path-include=/usr/share/doc/*/copyright")
			cmd := command(ctx, dir, "mmdebstrap", append(args, b.src.recipe.Debian, filepath.Join(dir, "root.tar"))...)
			cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()))
			return run(ctx, cmd, b.log)
		})
		b.roots[name] = filepath.Join(dir, "root.tar")
		return err
	}
}

// unwantedPaths of Debian's packages are not unpacked: nobody reads them on a node.
var unwantedPaths = []string{
	"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*",
}
