package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// cleanupTime bounds the removal of what a cancelled or failed build leaves on the engine.
const cleanupTime = 30 * time.Second

// importTree makes the image ref of one layer that fill writes.
func importTree(ctx context.Context, cli *client.Client, ref string, changes []string, fill func(*tree) error) error {
	r, w := io.Pipe()
	go func() {
		t := newTree(w)
		err := fill(t)
		if err == nil {
			err = t.close()
		}
		w.CloseWithError(err)
	}()
	defer r.Close()
	result, err := cli.ImageImport(ctx, client.ImageImportSource{Source: r, SourceName: "-"}, ref, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("importing %s into the engine: %w", ref, err)
	}
	defer result.Close()
	return streamError(result, "importing "+ref+" into the engine")
}

// streamError reads the engine's progress messages to their end and returns the error in them, if any.
func streamError(r io.Reader, doing string) error {
	d := json.NewDecoder(r)
	for {
		var m struct {
			Error string `json:"error"`
		}
		err := d.Decode(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", doing, err)
		case m.Error != "":
			return fmt.Errorf("%s: %s", doing, m.Error)
		}
	}
}

// removeImage removes a reference that was needed for the build only. That it
// is not there, as after a failure, is fine.
func removeImage(cli *client.Client, ref string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	_, _ = cli.ImageRemove(ctx, ref, client.ImageRemoveOptions{PruneChildren: false})
}

// containerdUp waits until the node's containerd answers.
const containerdUp = `for i in $(seq 300); do
	if ctr version >/dev/null 2>&1; then exit 0; fi
	sleep 0.1
done
ctr version`

// fillNode imports the archive of images into the node's containerd and keeps
// the result under the node's references, as "kind build node-image" does.
func (b *builder) fillNode(ctx context.Context, base, archive string) error {
	created, err := b.cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{
			Image: base, Entrypoint: []string{"sh", "-c", "containerd; sleep infinity"}, // so that the container outlives it
			StopSignal: stopSignal, // kept by the commit below
		},
		HostConfig: &container.HostConfig{
			Privileged:  true, // unpacking layers mounts file systems
			NetworkMode: "none",
			Tmpfs:       map[string]string{"/run": "", "/tmp": ""}, // nothing in them is kept
		},
	})
	if err != nil {
		return fmt.Errorf("creating the container to build in: %w", err)
	}
	id := created.ID
	defer b.removeContainer(id)
	if _, err := b.cli.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("starting the container to build in: %w", err)
	}
	if _, err := b.exec(ctx, id, nil, "sh", "-c", containerdUp); err != nil {
		return fmt.Errorf("starting containerd in the node: %w", err)
	}
	if err := b.load(ctx, id, archive); err != nil {
		return err
	}
	if _, err := b.exec(ctx, id, nil, "sh", "-euc", linkMulti); err != nil {
		return fmt.Errorf("giving the node its kubelet: %w", err)
	}
	// The content store holds the layers once more, packed, which nothing needs once they are unpacked.
	if _, err := b.exec(ctx, id, nil, "ctr", "-n", "k8s.io", "content", "prune", "references"); err != nil {
		return fmt.Errorf("dropping the packed layers: %w", err)
	}
	if _, err := b.exec(ctx, id, nil, "sh", "-euc", storeLayers); err != nil {
		return fmt.Errorf("keeping the images' layers: %w", err)
	}
	return b.commit(ctx, id, Node, b.nodeHash, append([]string{"CMD []"}, kindMetadata...))
}

// storeLayers stops containerd and moves the images' layers, which nobody
// changes, out of /var: every node gets a /var of its own, but one file of the
// image is read into memory once for all of them. What is left of /var is also
// kept where no volume hides it, for nodes that make theirs (sandbox/nodeimage/boot).
const storeLayers = `pkill -TERM -x containerd
while pgrep -x containerd >/dev/null; do sleep 0.1; done
for snapshot in /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*; do
	kept=/kind/store/${snapshot##*/}
	mkdir -p "$kept"
	mv "$snapshot/fs" "$kept/fs"
	ln -s "$kept/fs" "$snapshot/fs"
done
cp -a /var /kind/var`

// load imports the archive in the container and checks that every image arrived.
func (b *builder) load(ctx context.Context, id, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := b.exec(ctx, id, f, "ctr", "-n", "k8s.io", "images", "import", "--local", "--discard-unpacked-layers", "--digests",
		"--label=io.cri-containerd.pinned=pinned", "-"); err != nil {
		return fmt.Errorf("importing the images into the node: %w", err)
	}
	list, err := b.exec(ctx, id, nil, "ctr", "-n", "k8s.io", "images", "list", "-q")
	if err != nil {
		return fmt.Errorf("listing the node's images: %w", err)
	}
	for _, names := range b.required {
		for _, name := range names {
			if !strings.Contains(list, name+"\n") {
				return fmt.Errorf("the image %s did not arrive in the node; it has:\n%s", name, list)
			}
		}
	}
	return nil
}

// commit keeps the container's state as the image of that kind under all its references.
func (b *builder) commit(ctx context.Context, id, kind, hash string, changes []string) error {
	changes = append(changes, labelChanges(b.labels(kind, hash))...)
	tags := b.tags(kind, hash)
	committed, err := b.cli.ContainerCommit(ctx, id, client.ContainerCommitOptions{Reference: tags[len(tags)-1], Changes: changes})
	if err != nil {
		return fmt.Errorf("keeping the %s image: %w", kind, err)
	}
	return b.tag(ctx, committed.ID, tags)
}

func (b *builder) tag(ctx context.Context, id string, tags []string) error {
	for _, ref := range tags {
		if _, err := b.cli.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: ref}); err != nil {
			return fmt.Errorf("naming the image %s: %w", ref, err)
		}
	}
	return nil
}

// forgetImages removes the images that earlier recipes made. One that a
// container still needs stays: the engine refuses to remove it.
func (b *builder) forgetImages(ctx context.Context, kind, hash string) error {
	images, err := List(ctx, b.cli)
	if err != nil {
		return err
	}
	for _, im := range images {
		if im.Kind != kind || im.Recipe == hash {
			continue
		}
		if _, err := b.cli.ImageRemove(ctx, im.Ref, client.ImageRemoveOptions{PruneChildren: true}); err != nil {
			fmt.Fprintf(b.log, "keeping %s: %v\n", im.Ref, err)
		}
	}
	return nil
}

func labelChanges(labels map[string]string) []string {
	var changes []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		changes = append(changes, fmt.Sprintf("LABEL %s=%q", k, labels[k]))
	}
	return changes
}

// removeContainer removes a container of the build, also after the build's context has ended.
func (b *builder) removeContainer(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	_, err := b.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil {
		fmt.Fprintf(b.log, "removing the build container %s: %v\n", id, err)
	}
}

// exec runs a command in the container and returns what it printed.
func (b *builder) exec(ctx context.Context, id string, stdin io.Reader, argv ...string) (string, error) {
	created, err := b.cli.ExecCreate(ctx, id, client.ExecCreateOptions{
		Cmd: argv, AttachStdin: stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return "", err
	}
	conn, err := b.cli.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// The connection does not follow the context by itself.
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	if stdin != nil {
		go func() {
			// A command that ends early closes the connection; its exit code says why.
			_, _ = io.Copy(conn.Conn, stdin)
			_ = conn.CloseWrite()
		}()
	}
	var stdout, all bytes.Buffer
	_, err = stdcopy.StdCopy(io.MultiWriter(&stdout, &all, b.log), io.MultiWriter(&all, b.log), conn.Reader)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("reading the output of %s: %w", argv[0], err)
	}
	ended, err := b.cli.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return "", err
	}
	if ended.ExitCode != 0 {
		return "", fmt.Errorf("%s: exit code %d\n%s", strings.Join(argv, " "), ended.ExitCode, tail(all.Bytes()))
	}
	return stdout.String(), nil
}
