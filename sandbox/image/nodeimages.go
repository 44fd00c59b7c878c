package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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
	config, err := b.kindFile(ctx, containerdConfigFile)
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

// packImages makes the archive of the images that the node holds.
func (b *builder) packImages(ctx context.Context) (dir string, err error) {
	k := newKey(runtime.GOARCH)
	if err := b.src.assembly(k); err != nil {
		return "", err
	}
	for _, program := range slices.Sorted(maps.Keys(b.required)) {
		k.word(program)
		for _, name := range b.required[program] {
			k.word(name)
		}
	}
	for _, f := range []string{
		b.bin[multiProgram], b.bin["etcd"], b.bin["coredns"], b.bin["pause"], b.bin["workload"], b.roots["proxy"], b.roots["busybox"],
	} {
		// The name of its directory is the key of the stage that made it.
		k.word(filepath.Base(filepath.Dir(f)))
	}
	return b.cached(ctx, "Pack the images of the control plane and the labs", "images", k, func(dir string) error {
		images, err := b.nodeImages(ctx, dir)
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
func (b *builder) nodeImages(ctx context.Context, dir string) ([]nodeImage, error) {
	var images []nodeImage
	add := func(config ocispec.ImageConfig, names []string, layers ...string) {
		config.Env = append(config.Env, searchPath)
		images = append(images, nodeImage{names: names, layers: layers, config: config})
	}
	multi, err := b.layer(dir, multiProgram, b.multiFiles)
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		add(ocispec.ImageConfig{Cmd: []string{program}}, b.required[program], multi)
	}
	// The shared layer is the lowest here too: containerd unpacks a layer once for each stack below it.
	l, err := b.layer(dir, "kube-proxy", b.proxyFiles)
	if err != nil {
		return nil, err
	}
	add(ocispec.ImageConfig{Cmd: []string{"kube-proxy"}}, b.required["kube-proxy"], multi, l)

	if l, err = b.layer(dir, "etcd", func(t *tree) error { return t.file("usr/local/bin/etcd", b.bin["etcd"], 0o755) }); err != nil {
		return nil, err
	}
	add(ocispec.ImageConfig{Cmd: []string{"etcd"}}, b.required["etcd"], l)

	l, err = b.layer(dir, "coredns", func(t *tree) error { return t.file("coredns", b.bin["coredns"], 0o755) })
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

	busybox, err := b.layer(dir, "busybox", func(t *tree) error { return b.busyboxFiles(ctx, dir, t) })
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

// multiProgram is the one file that holds the programs which run all the time;
// the name that it is called by says which it is. It is sandbox/nodeimage/kubernetes.
const multiProgram = "kubernetes"

// multiFiles is the layer that the images of Kubernetes' own programs share.
func (b *builder) multiFiles(t *tree) error {
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"} {
		if err := t.link("usr/local/bin/"+name, multiProgram); err != nil {
			return err
		}
	}
	return t.file(multiPath, b.bin[multiProgram], 0o755)
}

// multiPath is where multiProgram lies in its layer.
const multiPath = "usr/local/bin/" + multiProgram

// linkMulti gives the node itself multiProgram, which is kubelet too, as a second
// name of the file in the unpacked layer: one file, read into memory once.
const linkMulti = `file=$(find /var/lib/containerd -type f -path '*/` + multiPath + `')
ln "$file" /usr/bin/` + multiProgram

// proxyFiles is the programs that kube-proxy runs. Their packages are only
// unpacked, so the links that Debian's alternatives would make are made here.
func (b *builder) proxyFiles(t *tree) error {
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

// busyboxFiles is busybox under all the names it answers to, and the little around it that programs expect.
func (b *builder) busyboxFiles(ctx context.Context, dir string, t *tree) error {
	program := filepath.Join(dir, "busybox")
	if err := extract(b.roots["busybox"], program, "bin/busybox", "usr/bin/busybox"); err != nil {
		return err
	}
	defer os.Remove(program)
	applets, err := output(ctx, command(ctx, dir, program, "--list"))
	if err != nil {
		return err
	}
	if err := t.file("bin/busybox", program, 0o755); err != nil {
		return err
	}
	for _, a := range strings.Fields(applets) {
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
