package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options of a build.
type Options struct {
	Source string // a checkout of Drydock
	Cache  string // where the results of stages are kept; empty: below the user's cache directory
	Force  bool   // build even if the engine has the images of this recipe
	Report func(Stage)
	Log    io.Writer // gets what the tools print; nil: dropped
}

// Build makes both images from source, as far as their recipe has changed since
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

type builder struct {
	*stages
	src          *source
	cli          *client.Client
	nodeHash     string
	terminalHash string
	wantNode     bool
	wantTerminal bool

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
	if opts.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("finding a place for the build's intermediate results: %w", err)
		}
		opts.Cache = filepath.Join(dir, "drydock", "image")
	}
	if opts.Report == nil {
		opts.Report = func(Stage) {}
	}
	if opts.Log == nil {
		opts.Log = io.Discard
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
	b.wantTerminal, err = b.stale(ctx, opts.Force, Terminal, b.terminalHash)
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
	return []string{TerminalRef, "drydock/terminal:" + hash[:hashLength]}
}

func (b *builder) labels(kind, hash string) map[string]string {
	return map[string]string{
		LabelImage:      kind,
		LabelRecipe:     hash,
		LabelKubernetes: b.kubernetes,
		LabelContract:   b.src.recipe.Contract,
	}
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
	return errors.Join(b.forgetImages(ctx, Node, b.nodeHash), b.forgetImages(ctx, Terminal, b.terminalHash))
}

func (b *builder) version(ctx context.Context, c component) (string, error) {
	return goOutput(ctx, b.src.path(c.Dir), "list", "-m", "-f", "{{.Version}}", c.Module)
}

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
// program of the workload image, and Kubernetes' own pause.
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
	if err := k.tree(b.src.path("workload")); err != nil {
		return err
	}
	dir, err := b.cached(ctx, "Build the labs' workload program", "bin-programs", k, func(dir string) error {
		out := filepath.Join(dir, "workload")
		build := goCommand(ctx, b.src.path(), []string{"CGO_ENABLED=0"},
			"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, "./workload")
		if err := run(ctx, build, b.log); err != nil {
			return err
		}
		return run(ctx, command(ctx, dir, "gcc", "-Os", "-static", "-s", "-DVERSION=drydock", "-o", "pause", pause), b.log)
	})
	b.bin["workload"], b.bin["pause"] = filepath.Join(dir, "workload"), filepath.Join(dir, "pause")
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

// --- the node --------------------------------------------------------------------------------------

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
	const base = "drydock/node:unfinished"
	defer func() { removeImage(b.cli, base) }()
	if err := b.step("Assemble the node", func() (bool, error) { return false, b.importNode(ctx, base) }); err != nil {
		return err
	}
	return b.step("Fill the node with its images", func() (bool, error) {
		return false, b.fillNode(ctx, base, filepath.Join(dir, "images.tar"))
	})
}

// requiredImages asks kubeadm for the images of a cluster and maps the program in each to its name.
func (b *builder) requiredImages(ctx context.Context) (map[string][]string, error) {
	list, err := output(ctx, command(ctx, "", b.bin["kubeadm"], "config", "images", "list", "--kubernetes-version", b.kubernetes))
	if err != nil {
		return nil, err
	}
	required := map[string][]string{}
	for _, name := range strings.Fields(list) {
		repository, _, _ := strings.Cut(path.Base(name), ":")
		required[repository] = append(required[repository], name)
	}
	// kind's containerd configuration may name an older pause than kubeadm does; its address is the same.
	config, err := b.kindFile(ctx, "etc/containerd/config.toml")
	if err != nil {
		return nil, err
	}
	pause, err := sandboxImage(config)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(required["pause"], pause) {
		required["pause"] = append(required["pause"], pause)
	}
	for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns", "pause"} {
		if len(required[program]) == 0 {
			return nil, fmt.Errorf("kubeadm names no image for %s; it names: %s", program, list)
		}
	}
	return required, nil
}

// sandboxImage finds the name of the pause image in containerd's configuration.
func sandboxImage(config string) (string, error) {
	for line := range strings.Lines(config) {
		name, value, ok := strings.Cut(line, "=")
		if ok && (strings.TrimSpace(name) == "sandbox_image" || strings.TrimSpace(name) == "sandbox") {
			return strings.Trim(strings.TrimSpace(value), `"'`), nil
		}
	}
	return "", errors.New("kind's containerd configuration names no sandbox image")
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

// packImages makes the archive of the images that the node holds.
func (b *builder) packImages(ctx context.Context) (dir string, err error) {
	k := newKey(runtime.GOARCH)
	for _, program := range slices.Sorted(maps.Keys(b.required)) {
		k.word(program)
		k.word(filepath.Base(filepath.Dir(b.bin[program]))) // the stage's key
		for _, name := range b.required[program] {
			k.word(name)
		}
	}
	for _, f := range []string{b.roots["proxy"], b.roots["busybox"], b.bin["workload"]} {
		k.word(filepath.Base(filepath.Dir(f)))
	}
	return b.cached(ctx, "Pack the images of the control plane and the labs", "images", k, func(dir string) error {
		images, err := b.nodeImages(dir)
		if err != nil {
			return err
		}
		defer removeLayers(images)
		f, err := os.Create(filepath.Join(dir, "images.tar"))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := writeArchive(f, images); err != nil {
			return err
		}
		return f.Close()
	})
}

func removeLayers(images []nodeImage) {
	for _, im := range images {
		for _, l := range im.layers {
			os.Remove(l)
		}
	}
}

// searchPath is the PATH of the images in the node: Kubernetes' manifests name programs without a directory.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// nodeImages writes the layers of the node's images into dir.
func (b *builder) nodeImages(dir string) ([]nodeImage, error) {
	var images []nodeImage
	add := func(config ocispec.ImageConfig, names []string, layers ...string) {
		config.Env = append(config.Env, searchPath)
		images = append(images, nodeImage{names: names, layers: layers, config: config})
	}
	for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"} {
		l, err := b.layer(dir, program, func(t *tree) error {
			return t.file("usr/local/bin/"+program, b.bin[program], 0o755)
		})
		if err != nil {
			return nil, err
		}
		add(ocispec.ImageConfig{Cmd: []string{program}}, b.required[program], l)
	}

	l, err := b.layer(dir, "coredns", func(t *tree) error { return t.file("coredns", b.bin["coredns"], 0o755) })
	if err != nil {
		return nil, err
	}
	add(ocispec.ImageConfig{Entrypoint: []string{"/coredns"}, WorkingDir: "/"}, b.required["coredns"], l)

	l, err = b.layer(dir, "pause", func(t *tree) error { return t.file("pause", b.bin["pause"], 0o755) })
	if err != nil {
		return nil, err
	}
	// 65535 is what Kubernetes' own pause runs as.
	add(ocispec.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535"}, b.required["pause"], l)

	if l, err = b.layer(dir, "kube-proxy", b.proxyFiles); err != nil {
		return nil, err
	}
	add(ocispec.ImageConfig{Cmd: []string{"kube-proxy"}}, b.required["kube-proxy"], l)

	busybox, err := b.layer(dir, "busybox", b.busyboxFiles)
	if err != nil {
		return nil, err
	}
	add(ocispec.ImageConfig{Cmd: []string{"sh"}}, []string{"docker.io/library/busybox:1.35"}, busybox)
	l, err = b.layer(dir, "workload", func(t *tree) error { return t.file("usr/local/bin/workload", b.bin["workload"], 0o755) })
	if err != nil {
		return nil, err
	}
	add(ocispec.ImageConfig{Entrypoint: []string{"workload"}, User: "65534:65534"}, []string{WorkloadRef}, busybox, l)
	return images, nil
}

func (b *builder) layer(dir, name string, fill func(*tree) error) (string, error) {
	file := filepath.Join(dir, name+".layer")
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	t := newTree(f)
	if err := fill(t); err != nil {
		return "", fmt.Errorf("the layer of %s: %w", name, err)
	}
	if err := t.close(); err != nil {
		return "", err
	}
	return file, f.Close()
}

// proxyFiles is kube-proxy with the programs it runs. Their packages are only
// unpacked, so the links that Debian's alternatives would make are made here.
func (b *builder) proxyFiles(t *tree) error {
	if err := t.file("usr/local/bin/kube-proxy", b.bin["kube-proxy"], 0o755); err != nil {
		return err
	}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, what := range []string{"", "-save", "-restore"} {
			if err := t.link("usr/sbin/"+family+what, "xtables-nft-multi"); err != nil {
				return err
			}
		}
	}
	return t.base(b.roots["proxy"], func(name string) bool {
		for _, unneeded := range []string{"usr/share/doc", "usr/lib/" + multiarch() + "/gconv", "var/cache", "var/lib/apt", "var/lib/dpkg", "etc/apt", "dev", "tmp"} {
			if name == unneeded || strings.HasPrefix(name, unneeded+"/") {
				return strings.HasSuffix(name, "/copyright")
			}
		}
		return true
	})
}

// multiarch is Debian's name of this architecture's library directory.
func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// applets are the programs of busybox that the lab images offer, in /bin.
var applets = strings.Fields(`ash awk base64 basename cat chmod chown clear cmp cp cut date dd df diff dirname dmesg du echo env expr
false find free fold getopt grep groups gunzip gzip head hexdump hostname id ifconfig ip kill killall less ln logger ls md5sum mkdir
mkfifo mktemp more mount mv nc netstat nice nohup nproc nslookup od paste pgrep pidof ping printf ps pwd readlink realpath renice
reset rm rmdir route sed seq sh sha256sum sleep sort stat strings stty sync tail tar tee telnet test time timeout top touch tr
traceroute true tty umount uname uniq uptime usleep vi watch wc wget which whoami xargs yes zcat`)

func (b *builder) busyboxFiles(t *tree) error {
	if err := t.base(b.roots["busybox"], func(name string) bool {
		return name == "bin" || name == "bin/busybox" || name == "usr/bin/busybox"
	}); err != nil {
		return err
	}
	for _, a := range applets {
		if err := t.link("bin/"+a, "busybox"); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, content string }{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"},
		{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
	} {
		if err := t.text(f.name, f.content, 0o644); err != nil {
			return err
		}
	}
	if err := t.dir("root", 0o700, 0); err != nil {
		return err
	}
	return t.dir("tmp", fs.ModePerm|0o1000, 0)
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
	return importTree(ctx, b.cli, ref, kindMetadata, func(t *tree) error { return b.nodeFiles(t, kind, spec) })
}

// stopSignal makes systemd shut down; it is part of kindMetadata, but no change that the engine accepts.
const stopSignal = "SIGRTMIN+3"

// kindMetadata is what kind's node images carry, from its images/base/Dockerfile.
var kindMetadata = []string{
	"ENV container=docker",
	`ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]`,
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
		"usr/bin":        {"kubeadm", "kubelet", "kubectl"},
		"usr/local/bin":  {"containerd", "containerd-shim-runc-v2", "ctr"},
		"usr/local/sbin": {"runc"},
		"opt/cni/bin":    {"ptp", "loopback", "host-local", "portmap"},
	} {
		for _, p := range programs {
			if err := t.file(dir+"/"+p, b.bin[p], 0o755); err != nil {
				return err
			}
		}
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
		"usr/sbin/init": "/usr/lib/systemd/systemd",
		"etc/systemd/system/multi-user.target.wants/kubelet.service":          "/etc/systemd/system/kubelet.service",
		"etc/systemd/system/multi-user.target.wants/containerd.service":       "/etc/systemd/system/containerd.service",
		"etc/systemd/system/multi-user.target.wants/undo-mount-hacks.service": "/etc/systemd/system/undo-mount-hacks.service",
		"etc/systemd/system/multi-user.target.wants/drydock-adapt.service":    "/etc/systemd/system/drydock-adapt.service",
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
