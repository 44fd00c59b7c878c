package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/moby/client"
)

// Options of a build.
type Options struct {
	Source string // a checkout of Drydock
	Cache  string // where the results of stages are kept; empty: below the user's cache directory
	Force  bool   // build even if the engine has the images of this recipe
	Report func(Stage)
	Log    io.Writer // gets what the tools print; nil: dropped
}

// Build makes the images from source, as far as their recipe has changed since
// the engine's were made, and returns them. It can be cancelled at any time and
// then leaves nothing behind but finished stages.
func Build(ctx context.Context, cli *client.Client, opts Options) ([]Image, error) {
	b, err := newBuilder(ctx, cli, opts)
	if err != nil {
		return nil, err
	}
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	return List(ctx, cli)
}

// complete fills in what was left out.
func (o *Options) complete() error {
	if o.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("finding a place for the build's intermediate results: %w", err)
		}
		o.Cache = filepath.Join(dir, "drydock", "image")
	}
	if o.Report == nil {
		o.Report = func(Stage) {}
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return nil
}

type builder struct {
	*stages
	src          *source
	cli          *client.Client
	nodeHash     string
	terminalHash string
	wantNode     bool
	wantTerminal bool
	machineHash  string
	wantMachine  bool

	kubernetes string              // its version
	bin        map[string]string   // program → file
	roots      map[string]string   // root file system → tar
	required   map[string][]string // program → the names of the image that kubeadm wants for it
}

func newBuilder(ctx context.Context, cli *client.Client, opts Options) (*builder, error) {
	src, err := openSource(opts.Source)
	if err != nil {
		return nil, err
	}
	if src.recipe.Contract != Contract {
		return nil, fmt.Errorf("%s is for another version of Drydock (contract %s, this program needs %s): use the source of this version",
			recipeFile, src.recipe.Contract, Contract)
	}
	if err := opts.complete(); err != nil {
		return nil, err
	}
	b := &builder{
		stages: &stages{cache: opts.Cache, report: opts.Report, log: opts.Log},
		src:    src,
		cli:    cli,
		bin:    map[string]string{},
		roots:  map[string]string{},
	}
	if b.nodeHash, b.terminalHash, err = src.hashes(ctx); err != nil {
		return nil, err
	}
	kubernetes, err := src.component("kubernetes")
	if err != nil {
		return nil, err
	}
	if b.kubernetes, err = b.version(ctx, kubernetes); err != nil {
		return nil, err
	}
	if b.wantNode, err = b.stale(ctx, opts.Force, Node, b.nodeHash); err != nil {
		return nil, err
	}
	if b.wantTerminal, err = b.stale(ctx, opts.Force, Terminal, b.terminalHash); err != nil {
		return nil, err
	}
	if b.machineHash, err = src.machineHash(ctx); err != nil {
		return nil, err
	}
	b.wantMachine, err = b.stale(ctx, opts.Force, Machine, b.machineHash)
	return b, err
}

// stale says whether the engine lacks the image of this recipe under its name.
func (b *builder) stale(ctx context.Context, force bool, kind, hash string) (bool, error) {
	if force {
		return true, nil
	}
	images, err := List(ctx, b.cli)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(images, func(im Image) bool {
		return im.Ref == "drydock/"+kind+":latest" && im.Recipe == hash && im.Usable
	}), nil
}

// tags returns the references that an image gets.
func (b *builder) tags(kind, hash string) []string {
	if kind == Node {
		return []string{NodeRef, "drydock/node:" + b.kubernetes + "-" + hash[:hashLength]}
	}
	return []string{"drydock/" + kind + ":latest", "drydock/" + kind + ":" + hash[:hashLength]}
}

func (b *builder) labels(kind, hash string) map[string]string {
	l := map[string]string{
		LabelImage:    kind,
		LabelRecipe:   hash,
		LabelContract: b.src.recipe.Contract,
	}
	if kind != Machine {
		l[LabelKubernetes] = b.kubernetes
	}
	return l
}

// A task is a stage that is still to be run.
type task func(context.Context) error

func (b *builder) build(ctx context.Context) error {
	var tasks []task
	switch {
	case b.wantNode:
		for _, c := range b.src.recipe.Components {
			tasks = append(tasks, b.compile(c))
		}
		tasks = append(tasks, b.rootfs("node"), b.rootfs("proxy"), b.rootfs("busybox"), b.compilePrograms)
	case b.wantTerminal:
		c, err := b.src.component("kubernetes")
		if err != nil {
			return err
		}
		tasks = append(tasks, b.compile(c))
	}
	if b.wantNode {
		// One stage for the base, one for the images in it, one to put them together.
		tasks = append(tasks, b.buildNode)
	}
	if b.wantTerminal {
		tasks = append(tasks, b.rootfs("terminal"), b.buildTerminal)
	}
	if b.wantMachine {
		tasks = append(tasks, b.rootfs(Machine), b.buildMachine)
	}
	b.total = len(tasks)
	if b.wantNode {
		b.total += nodeStages - 1
	}
	for _, t := range tasks {
		if err := t(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
	return errors.Join(b.forgetImages(ctx, Node, b.nodeHash), b.forgetImages(ctx, Terminal, b.terminalHash),
		b.forgetImages(ctx, Machine, b.machineHash))
}

func (b *builder) version(ctx context.Context, c component) (string, error) {
	return goOutput(ctx, b.src.path(c.Dir), "list", "-m", "-f", "{{.Version}}", c.Module)
}
