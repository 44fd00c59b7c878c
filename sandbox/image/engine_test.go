package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"drydock/sandbox/engine"
)

// connect returns a client of this machine's engine. These tests are about the
// real one: a machine without an engine fails them, "go test -short" leaves them out.
func connect(t *testing.T) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	cli, err := engine.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// tiny makes an image of one small file under a tag of this test's own, and removes it at the end.
func tiny(t *testing.T, cli *client.Client, kind, contract string) Image {
	t.Helper()
	ref := "drydock/" + kind + ":test-" + strings.ToLower(rand.Text()[:12])
	recipe := "recipe-of-" + ref
	changes := labelChanges(map[string]string{LabelImage: kind, LabelRecipe: recipe, LabelContract: contract, LabelKubernetes: "v1.2.3"})
	err := importTree(t.Context(), cli, ref, changes, func(tr *tree) error { return tr.text("hello", ref, 0o644) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeImage(cli, ref) })
	for _, im := range list(t, cli) {
		if im.Ref == ref {
			return im
		}
	}
	t.Fatalf("%s is not in the list", ref)
	return Image{}
}

func list(t *testing.T, cli *client.Client) []Image {
	t.Helper()
	images, err := List(t.Context(), cli)
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestListReadsTheLabels(t *testing.T) {
	cli := connect(t)
	im := tiny(t, cli, Terminal, Contract)
	if im.Kind != Terminal || im.Kubernetes != "v1.2.3" || im.Recipe != "recipe-of-"+im.Ref || im.Size <= 0 || im.Created.IsZero() {
		t.Errorf("got %+v", im)
	}
	if im.Usable {
		t.Error("an image without the tag latest is called usable")
	}
}

func TestUsableSaysWhatToRun(t *testing.T) {
	cli := connect(t)
	good, old := tiny(t, cli, Node, Contract), tiny(t, cli, Node, "0")
	if err := usable(t.Context(), cli, Node, good.Ref); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"of another contract": usable(t.Context(), cli, Node, old.Ref),
		"of another kind":     usable(t.Context(), cli, Terminal, good.Ref),
		"not there":           usable(t.Context(), cli, Node, "drydock/node:test-that-nobody-made"),
	} {
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "drydock image build") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFailedImportLeavesNoImage(t *testing.T) {
	cli := connect(t)
	const ref = "drydock/node:test-failed"
	broken := errors.New("the disk is full")
	err := importTree(t.Context(), cli, ref, nil, func(tr *tree) error {
		return errors.Join(tr.text("half", "half", 0o644), broken)
	})
	if err == nil {
		t.Error("no error")
	}
	if _, err := cli.ImageInspect(t.Context(), ref); !errdefs.IsNotFound(err) {
		removeImage(cli, ref)
		t.Errorf("the image is there: %v", err)
	}
}

// exported writes images to a file as Export does.
func exported(t *testing.T, cli *client.Client, images ...Image) string {
	t.Helper()
	for i := range images {
		found, err := cli.ImageInspect(t.Context(), images[i].Ref)
		if err != nil {
			t.Fatal(err)
		}
		images[i].Layers = found.RootFS.Layers
	}
	path := filepath.Join(t.TempDir(), "images.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeExport(t.Context(), cli, f, images); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExportAndImport(t *testing.T) {
	cli := connect(t)
	node, terminal := tiny(t, cli, Node, Contract), tiny(t, cli, Terminal, Contract)
	path := exported(t, cli, node, terminal)
	removeImage(cli, node.Ref)
	removeImage(cli, terminal.Ref)

	images, err := importFile(t.Context(), cli, path)
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 {
		t.Errorf("%d images", len(images))
	}
	for _, ref := range []string{node.Ref, terminal.Ref} {
		if _, err := cli.ImageInspect(t.Context(), ref); err != nil {
			t.Errorf("%s after the import: %v", ref, err)
		}
	}
}

func TestImportRefusesADamagedFile(t *testing.T) {
	cli := connect(t)
	im := tiny(t, cli, Node, Contract)
	whole, err := os.ReadFile(exported(t, cli, im))
	if err != nil {
		t.Fatal(err)
	}
	// The last bytes of a gzip stream are its checksum: the images arrive, but not as they were written.
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 1
	for name, content := range map[string][]byte{
		"cut off":         whole[:len(whole)/2],
		"wrong checksum":  flipped,
		"not an export":   []byte("hello"),
		"empty":           nil,
		"another archive": archiveOf(t, "something.txt", "x"),
	} {
		path := filepath.Join(t.TempDir(), "x.tar.gz")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := importFile(t.Context(), cli, path); !errors.Is(err, ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// archiveOf makes a gzipped tar of one file.
func archiveOf(t *testing.T, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	tr := newTree(z)
	if err := errors.Join(tr.text(name, content, 0o644), tr.close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestContentsForAnotherProgramOrMachine(t *testing.T) {
	good := contents{Format: exportFormat, Contract: Contract, Architecture: runtime.GOARCH, Images: []Image{{Ref: "drydock/node:x", Kind: Node}}}
	for name, tt := range map[string]struct {
		change func(*contents)
		want   string
	}{
		"format":       {func(c *contents) { c.Format = 99 }, "format 99"},
		"contract":     {func(c *contents) { c.Contract = "0" }, "another version of Drydock"},
		"architecture": {func(c *contents) { c.Architecture = "s390x" }, "s390x"},
		"nothing":      {func(c *contents) { c.Images = nil }, "names no images"},
		"foreign name": {func(c *contents) { c.Images = []Image{{Ref: "debian:latest", Kind: Node}} }, "debian:latest"},
	} {
		c := good
		tt.change(&c)
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(archiveOf(t, contentsName, string(text))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readContents(tar.NewReader(z)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want something about %q", name, err, tt.want)
		}
	}
}

// The images that labs are started from, as they are on this machine.
func TestTheBuiltImages(t *testing.T) {
	cli := connect(t)
	node, terminal, err := Current(t.Context(), cli)
	if err != nil {
		t.Fatal(err)
	}
	if node != NodeRef || terminal != TerminalRef {
		t.Errorf("got %s and %s", node, terminal)
	}
	found, err := cli.ImageInspect(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	// kind relies on these; see kindMetadata.
	if got := strings.Join(found.Config.Entrypoint, " "); got != "/usr/local/bin/drydock-boot /usr/local/bin/entrypoint /sbin/init" {
		t.Errorf("the node's entry point is %q", got)
	}
	if len(found.Config.Cmd) != 0 {
		t.Errorf("the node has a command: %q", found.Config.Cmd)
	}
	if found.Config.StopSignal != stopSignal {
		t.Errorf("the node's stop signal is %q", found.Config.StopSignal)
	}
}

func TestCancelledImport(t *testing.T) {
	cli := connect(t)
	path := exported(t, cli, tiny(t, cli, Node, Contract))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := importFile(ctx, cli, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
