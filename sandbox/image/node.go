package image

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"drydock/sandbox/probe"
)

// nodeStages is how many stages buildNode reports.
const nodeStages = 3

func (b *builder) buildNode(ctx context.Context) error {
	var err error
	if b.required, err = b.requiredImages(ctx); err != nil {
		return err
	}
	dir, err := b.packImages(ctx)
	if err != nil {
		return err
	}
	base := "drydock/node:unfinished-" + strings.ToLower(rand.Text()[:8]) // two builds do not get into each other's way
	defer func() { removeImage(b.cli, base) }()
	if err := b.step("Assemble the node", func() (bool, error) { return false, b.importNode(ctx, base) }); err != nil {
		return err
	}
	return b.step("Fill the node with its images", func() (bool, error) {
		return false, b.fillNode(ctx, base, filepath.Join(dir, "images.tar"))
	})
}

func (b *builder) kindDir(ctx context.Context) (string, error) {
	dir, err := goOutput(ctx, b.src.dir, "list", "-m", "-f", "{{.Dir}}", kindModule)
	if err == nil && dir == "" {
		// The module is required but not downloaded yet.
		_, err = goOutput(ctx, b.src.dir, "mod", "download", kindModule)
		if err == nil {
			dir, err = goOutput(ctx, b.src.dir, "list", "-m", "-f", "{{.Dir}}", kindModule)
		}
	}
	return filepath.Join(dir, "images", "base", "files"), err
}

func (b *builder) kindFile(ctx context.Context, name string) (string, error) {
	dir, err := b.kindDir(ctx)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	return string(text), err
}

// importNode streams the node's root file system into the engine as the image ref.
func (b *builder) importNode(ctx context.Context, ref string) error {
	kind, err := b.kindDir(ctx)
	if err != nil {
		return err
	}
	spec, err := b.baseSpec(ctx)
	if err != nil {
		return err
	}
	for _, pkg := range []string{shellMain, probeMain} {
		if b.bin[path.Base(pkg)], err = b.compileOwn(ctx, pkg); err != nil {
			return err
		}
	}
	containerd, err := b.containerdConfig(ctx)
	if err != nil {
		return err
	}
	return importTree(ctx, b.cli, ref, kindMetadata, func(t *tree) error {
		if err := t.text(containerdConfigFile, containerd, 0o644); err != nil {
			return err
		}
		return b.nodeFiles(t, kind, spec)
	})
}

const containerdConfigFile = "etc/containerd/config.toml"

// containerdConfig is kind's, with a directory beside it for ours.
func (b *builder) containerdConfig(ctx context.Context) (string, error) {
	kind, err := b.kindFile(ctx, containerdConfigFile)
	if err != nil {
		return "", err
	}
	const version = "\nversion = 2\n"
	before, after, ok := strings.Cut(kind, version)
	if !ok {
		return "", fmt.Errorf("kind's %s is not of version 2", containerdConfigFile)
	}
	return before + version + "imports = [\"/etc/containerd/conf.d/*.toml\"]\n" + after, nil
}

// stopSignal makes systemd shut down; it is part of kindMetadata, but no change that the engine accepts.
const stopSignal = "SIGRTMIN+3"

// kindMetadata is what kind's node images carry, from its images/base/Dockerfile.
// Our first program goes before kind's entrypoint.
var kindMetadata = []string{
	"ENV container=docker",
	`ENTRYPOINT ["/usr/local/bin/drydock-boot", "/usr/local/bin/entrypoint", "/sbin/init"]`,
}

// nodeFiles follows the steps of kind's images/base/Dockerfile.
func (b *builder) nodeFiles(t *tree, kind, spec string) error {
	mode := func(name string) fs.FileMode {
		if strings.HasPrefix(name, "usr/local/bin/") || strings.HasPrefix(name, "kind/bin/") {
			return 0o755
		}
		return 0o644
	}
	// Ours come first, so that they win over kind's where both have a file.
	if err := t.files(b.src.path("files"), mode); err != nil {
		return err
	}
	if err := t.files(kind, mode); err != nil {
		return err
	}
	for dir, programs := range map[string][]string{
		"usr/bin":        {"kubeadm", "kubectl"},
		"usr/local/bin":  {"containerd", "containerd-shim-runc-v2", "ctr", "drydock-shell"},
		"usr/local/sbin": {"runc"},
		"opt/cni/bin":    {"ptp", "loopback", "host-local", "portmap"},
		path.Dir(strings.TrimPrefix(probe.Program, "/")): {path.Base(probe.Program)},
	} {
		for _, p := range programs {
			if err := t.file(dir+"/"+p, b.bin[p], 0o755); err != nil {
				return err
			}
		}
	}
	if err := t.file("usr/local/bin/drydock-boot", b.bin["boot"], 0o755); err != nil {
		return err
	}
	for _, f := range []struct{ name, content string }{
		{"kind/version", b.kubernetes},
		{"etc/containerd/cri-base.json", spec},
		{"etc/systemd/journald.conf.d/kind.conf", "[Journal]\nReadKMsg=no\n"},
	} {
		if err := t.text(f.name, f.content, 0o644); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"usr/sbin/init":               "/usr/lib/systemd/systemd",
		"opt/cni/bin/drydock-address": "/usr/local/bin/drydock-boot",
		// It is there when the images are: see linkMulti.
		"usr/bin/kubelet": multiProgram,
		"etc/systemd/system/multi-user.target.wants/kubelet.service":          "/etc/systemd/system/kubelet.service",
		"etc/systemd/system/multi-user.target.wants/containerd.service":       "/etc/systemd/system/containerd.service",
		"etc/systemd/system/multi-user.target.wants/undo-mount-hacks.service": "/etc/systemd/system/undo-mount-hacks.service",
		"etc/systemd/system/multi-user.target.wants/drydock-adapt.service":    "/etc/systemd/system/drydock-adapt.service",
		"etc/systemd/system/multi-user.target.wants/drydock-door.service":     "/etc/systemd/system/drydock-door.service",
		"etc/systemd/system/systemd-binfmt.service":                           "/dev/null",
	} {
		if err := t.link(name, target); err != nil {
			return err
		}
	}
	if err := t.dir("etc/kubernetes/manifests", 0o755, 0); err != nil {
		return err
	}
	return t.base(b.roots["node"], keepOnNode)
}

// keepOnNode leaves out the units that kind's Dockerfile deletes.
func keepOnNode(name string) bool {
	for _, prefix := range []string{"lib/systemd/system/", "usr/lib/systemd/system/"} {
		unit, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		dir, file := path.Split(unit)
		switch dir {
		case "multi-user.target.wants/", "local-fs.target.wants/", "basic.target.wants/":
			return false
		case "sysinit.target.wants/":
			return file != "systemd-tmpfiles-setup.service"
		case "sockets.target.wants/":
			return !strings.Contains(file, "udev") && !strings.Contains(file, "initctl")
		}
	}
	unit, ok := strings.CutPrefix(name, "etc/systemd/system/")
	return !ok || !strings.Contains(unit, ".wants/")
}

// baseSpec makes /etc/containerd/cri-base.json as kind does: containerd's default
// specification with a hook added and the limits taken out.
func (b *builder) baseSpec(ctx context.Context) (string, error) {
	text, err := output(ctx, command(ctx, "", b.bin["ctr"], "oci", "spec"))
	if err != nil {
		return "", err
	}
	var spec map[string]any
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return "", fmt.Errorf("reading containerd's default specification: %w", err)
	}
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/kind/bin/mount-product-files.sh"}}}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return "", errors.New("containerd's default specification has no process")
	}
	delete(process, "rlimits")
	out, err := json.MarshalIndent(spec, "", "  ")
	return string(out), err
}
