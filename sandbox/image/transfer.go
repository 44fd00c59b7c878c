package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/client"
)

// contentsName is the first file in an export. The rest is what the engine's own
// save command writes, so that "docker load" reads an export too.
const contentsName = "drydock-images.json"

// exportFormat is raised when an older program could not read what is written.
const exportFormat = 1

// maxContents bounds contentsName: it describes a few images.
const maxContents = 1 << 20

// ErrExport is in the chain of the error for a file that is not a whole export for this program.
var ErrExport = errors.New("not a usable export of Drydock's images")

// contents describes an export.
type contents struct {
	Format       int     `json:"format"`
	Contract     string  `json:"contract"`
	Architecture string  `json:"architecture"`
	Images       []Image `json:"images"`
}

// Export writes the images that are in use to a gzipped tar at path. The
// file appears only when it is whole.
func Export(ctx context.Context, cli *client.Client, path string) ([]Image, error) {
	if err := CurrentAll(ctx, cli); err != nil {
		return nil, err
	}
	images, err := inUse(ctx, cli)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return nil, fmt.Errorf("writing the export: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := writeExport(ctx, cli, f, images); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("writing the export: %w", err)
	}
	if err := f.Chmod(0o644); err != nil {
		return nil, fmt.Errorf("writing the export: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("writing the export: %w", err)
	}
	return images, os.Rename(f.Name(), path)
}

// inUse returns every reference to the images in use.
func inUse(ctx context.Context, cli *client.Client) ([]Image, error) {
	images, err := List(ctx, cli)
	if err != nil {
		return nil, err
	}
	images = slices.DeleteFunc(images, func(im Image) bool { return !im.Usable })
	for i := range images {
		found, err := cli.ImageInspect(ctx, images[i].Ref)
		if err != nil {
			return nil, fmt.Errorf("looking at %s: %w", images[i].Ref, err)
		}
		images[i].Layers = found.RootFS.Layers
	}
	return images, nil
}

func writeExport(ctx context.Context, cli *client.Client, out io.Writer, images []Image) error {
	refs := make([]string, len(images))
	for i, im := range images {
		refs[i] = im.Ref
	}
	saved, err := cli.ImageSave(ctx, refs)
	if err != nil {
		return err
	}
	defer saved.Close()
	buffered := bufio.NewWriterSize(out, 1<<20)
	// The images are mostly programs: the fastest level already halves them, at the disk's speed.
	zipped, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		return err
	}
	packed := tar.NewWriter(zipped)
	text, err := json.MarshalIndent(contents{Format: exportFormat, Contract: Contract, Architecture: runtime.GOARCH, Images: images}, "", "  ")
	if err != nil {
		return err
	}
	if err := packed.WriteHeader(&tar.Header{Name: contentsName, Size: int64(len(text)), Mode: 0o644, ModTime: epoch}); err != nil {
		return err
	}
	if _, err := packed.Write(text); err != nil {
		return err
	}
	if err := copyTar(packed, tar.NewReader(saved)); err != nil {
		return err
	}
	return errors.Join(packed.Close(), zipped.Close(), buffered.Flush())
}

// copyTar copies the entries that are left in a tar.
func copyTar(to *tar.Writer, in *tar.Reader) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := to.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(to, in); err != nil {
			return err
		}
	}
}

// Import loads the images of an export into the engine and makes sure that they
// arrived as they were written. A file that is not for this program or this
// machine is refused before anything is loaded.
func Import(ctx context.Context, cli *client.Client, path string) ([]Image, error) {
	images, err := importFile(ctx, cli, path)
	if err != nil {
		return nil, err
	}
	return images, CurrentAll(ctx, cli)
}

func importFile(ctx context.Context, cli *client.Client, path string) ([]Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the export: %w", err)
	}
	defer f.Close()
	zipped, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrExport, err)
	}
	in := tar.NewReader(zipped)
	c, err := readContents(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrExport, err)
	}
	if err := load(ctx, cli, in, zipped); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c.Images, verify(ctx, cli, path, c.Images)
}

func readContents(in *tar.Reader) (contents, error) {
	h, err := in.Next()
	if err != nil {
		return contents{}, err
	}
	if h.Name != contentsName {
		return contents{}, fmt.Errorf("it does not begin with %s: was it written by \"drydock image export\"?", contentsName)
	}
	var c contents
	if err := json.NewDecoder(io.LimitReader(in, maxContents)).Decode(&c); err != nil {
		return contents{}, fmt.Errorf("reading %s: %w", contentsName, err)
	}
	switch {
	case c.Format != exportFormat:
		return contents{}, fmt.Errorf("it has format %d, this program reads %d", c.Format, exportFormat)
	case c.Contract != Contract:
		return contents{}, fmt.Errorf("its images are for another version of Drydock (contract %s, this program needs %s)", c.Contract, Contract)
	case c.Architecture != runtime.GOARCH:
		return contents{}, fmt.Errorf("its images are for %s, this machine is %s", c.Architecture, runtime.GOARCH)
	case len(c.Images) == 0:
		return contents{}, errors.New("it names no images")
	}
	for _, im := range c.Images {
		if !strings.HasPrefix(im.Ref, "drydock/"+im.Kind+":") {
			return contents{}, fmt.Errorf("it names %q as a %s image", im.Ref, im.Kind)
		}
	}
	return c, nil
}

// load streams the rest of the export into the engine. zipped is read to its
// end, where the checksum of the whole stands.
func load(ctx context.Context, cli *client.Client, in *tar.Reader, zipped io.Reader) error {
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		t := tar.NewWriter(w)
		err := copyTar(t, in)
		if err == nil {
			err = t.Close()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, zipped)
		}
		read <- err
		w.CloseWithError(err)
	}()
	err := feed(ctx, cli, r)
	r.Close()
	// A fault of the file is the cause of what the engine says about it.
	if readErr := <-read; readErr != nil && !errors.Is(readErr, io.ErrClosedPipe) {
		return fmt.Errorf("%w: %w", ErrExport, readErr)
	}
	return err
}

func feed(ctx context.Context, cli *client.Client, r io.Reader) error {
	const doing = "loading the images into the engine"
	result, err := cli.ImageLoad(ctx, r, client.ImageLoadWithQuiet(true))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf(doing+": %w", err)
	}
	defer result.Close()
	return streamError(result, doing)
}

// verify makes sure that the references are the images of the export. It goes by
// the layers, since engines differ in what they take an image's id from.
func verify(ctx context.Context, cli *client.Client, path string, images []Image) error {
	for _, im := range images {
		found, err := cli.ImageInspect(ctx, im.Ref)
		if err != nil {
			return fmt.Errorf("looking for %s after the import: %w", im.Ref, err)
		}
		if !slices.Equal(found.RootFS.Layers, im.Layers) {
			return fmt.Errorf("%s: %w: %s is not on the engine what it was when it was exported", path, ErrExport, im.Ref)
		}
	}
	return nil
}
