package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
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
		for _, r := range c.Replace {
			k.word(r.File)
			k.word(r.Old)
			k.word(r.New)
		}
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
			if len(c.Replace) == 0 {
				return b.goBuild(ctx, b.src.path(c.Dir), c, flags, out, c.Packages)
			}
			changed, err := b.changedSource(ctx, c)
			if err != nil {
				return err
			}
			defer os.RemoveAll(changed)
			own, others := c.split()
			if len(own) == 0 {
				own, others = others, nil // all are built from the changed source
			}
			err = b.goBuild(ctx, changed, c, flags, out, own, "-mod=vendor")
			if err != nil || len(others) == 0 {
				return err
			}
			return b.goBuild(ctx, b.src.path(c.Dir), c, flags, out, others)
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

// split parts the component's own packages from those of its modules.
func (c component) split() (own, others []string) {
	for _, p := range c.Packages {
		if strings.HasPrefix(p, "./") {
			own = append(own, p)
		} else {
			others = append(others, p)
		}
	}
	return own, others
}

// goBuild builds packages of the module at dir.
func (b *builder) goBuild(ctx context.Context, dir string, c component, ldflags, out string, packages []string, more ...string) error {
	cgo := "CGO_ENABLED=0"
	if c.CGO {
		cgo = "CGO_ENABLED=1"
	}
	args := slices.Concat([]string{"build"}, more, []string{"-trimpath", "-buildvcs=false", "-tags", c.Tags, "-ldflags", ldflags, "-o", out}, packages)
	return run(ctx, goCommand(ctx, dir, []string{cgo}, args...), b.log)
}

// changedSource makes a copy of a component's own packages with everything
// that they import beside them, and the replacements in it. The go tool lets
// nobody overlay the module cache; of what is not changed it uses what it has
// compiled before all the same.
func (b *builder) changedSource(ctx context.Context, c component) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "drydock-"+c.Name+"-"); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("change the source of %s: %w", c.Name, err), os.RemoveAll(dir))
		}
	}()
	own, _ := c.split()
	for _, p := range own {
		if err := os.CopyFS(filepath.Join(dir, p), os.DirFS(b.src.path(c.Dir, p))); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(b.src.path(c.Dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	if err := run(ctx, goCommand(ctx, dir, nil, "mod", "vendor"), b.log); err != nil {
		return "", err
	}
	return dir, replaceIn(filepath.Join(dir, "vendor"), c.Replace)
}

// replaceIn changes files below dir.
func replaceIn(dir string, all []replacement) error {
	for _, r := range all {
		path := filepath.Join(dir, filepath.FromSlash(r.File))
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), r.Old); n != 1 {
			return fmt.Errorf("%s: %q is in it %d times, and not once: see replace in %s", r.File, r.Old, n, recipeFile)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), r.Old, r.New, 1)), 0o644); err != nil {
			return err
		}
	}
	return nil
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

// compileOwn builds a program of the main module; the Go build cache makes it cheap.
func (b *builder) compileOwn(ctx context.Context, pkg string) (string, error) {
	out := filepath.Join(b.cache, path.Base(pkg)+"-"+runtime.GOARCH)
	build := goCommand(ctx, b.src.dir, []string{"CGO_ENABLED=0"},
		"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	return out, run(ctx, build, b.log)
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
