package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// epoch is the time stamped on everything that a build makes, so that the same
// recipe makes the same bytes.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// nodeImage is an image that the cluster's nodes hold.
type nodeImage struct {
	names  []string // references, with the registry
	layers []string // files: uncompressed tars, the lowest first
	config ocispec.ImageConfig
}

// writeArchive writes the images to out as an archive in the OCI layout, which
// containerd imports. Layers that images share are written once.
func writeArchive(out io.Writer, images []nodeImage) error {
	a := &archive{tar: tar.NewWriter(out), written: map[digest.Digest]bool{}, layers: map[string]ocispec.Descriptor{}}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, im := range images {
		manifest, err := a.image(im)
		if err != nil {
			return fmt.Errorf("writing the image %s: %w", im.names[0], err)
		}
		for _, name := range im.names {
			d := manifest
			d.Annotations = map[string]string{"io.containerd.image.name": name}
			index.Manifests = append(index.Manifests, d)
		}
	}
	for _, file := range []struct {
		name    string
		content any
	}{
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
		{ocispec.ImageIndexFile, index},
	} {
		text, err := json.Marshal(file.content)
		if err != nil {
			return err
		}
		if err := a.add(file.name, int64(len(text)), text); err != nil {
			return err
		}
	}
	return a.tar.Close()
}

type archive struct {
	tar     *tar.Writer
	written map[digest.Digest]bool
	layers  map[string]ocispec.Descriptor // by file
}

func (a *archive) add(name string, size int64, content []byte) error {
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: epoch}); err != nil {
		return err
	}
	_, err := a.tar.Write(content)
	return err
}

func blobName(d digest.Digest) string {
	return filepath.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// object adds a JSON document as a blob.
func (a *archive) object(mediaType string, v any) (ocispec.Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if a.written[d.Digest] {
		return d, nil
	}
	a.written[d.Digest] = true
	return d, a.add(blobName(d.Digest), d.Size, text)
}

// layer adds the file as a blob, once.
func (a *archive) layer(path string) (ocispec.Descriptor, error) {
	if d, ok := a.layers[path]; ok {
		return d, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageLayer,
		Digest:    digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum.Sum(nil))),
		Size:      size,
	}
	a.layers[path] = d
	if a.written[d.Digest] {
		return d, nil
	}
	a.written[d.Digest] = true
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := a.tar.WriteHeader(&tar.Header{Name: blobName(d.Digest), Size: size, Mode: 0o644, ModTime: epoch}); err != nil {
		return ocispec.Descriptor{}, err
	}
	_, err = io.Copy(a.tar, f)
	return d, err
}

func (a *archive) image(im nodeImage) (ocispec.Descriptor, error) {
	created := epoch
	config := ocispec.Image{
		Created:  &created,
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   im.config,
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, path := range im.layers {
		d, err := a.layer(path)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		manifest.Layers = append(manifest.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d.Digest)
	}
	var err error
	if manifest.Config, err = a.object(ocispec.MediaTypeImageConfig, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := a.object(ocispec.MediaTypeImageManifest, manifest)
	d.Platform = &config.Platform
	return d, err
}
