// Package image makes, finds, exports and imports the images that sandboxes are
// made of: the node of a cluster, the learner's terminal, and the machine.
//
// No container registry is needed: everything is built from Debian's packages
// and from the Go module proxy, by the recipe in sandbox/nodeimage. An image
// carries the hash of the recipe it was built from as a label, so that it is
// rebuilt only when the recipe has changed.
//
// Of Drydock's other packages it imports only machine/boot, for what the machine
// image and its entry process have to agree on.
package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// The references under which the newest build of each image is found.
const (
	NodeRef     = "drydock/node:latest"
	TerminalRef = "drydock/terminal:latest"
)

// WorkloadRef is the image inside the node that labs run their programs from.
const WorkloadRef = "localhost/drydock/workload:1"

// Labels of an image.
const (
	LabelImage      = "drydock.image"      // which of them it is: node, terminal or machine
	LabelRecipe     = "drydock.recipe"     // the hash of the recipe it was built from
	LabelKubernetes = "drydock.kubernetes" // the Kubernetes version in it, such as v1.37.2
	LabelContract   = "drydock.contract"   // see Contract
)

// The values of LabelImage.
const (
	Node     = "node"
	Terminal = "terminal"
)

// Contract is what this program relies on in the images. It is raised, together
// with the number in the recipe, whenever an older image would no longer do.
const Contract = "4"

// ErrMissing is in the chain of the error for an image that is not on the
// engine or too old for this program. The error's text names the command that mends it.
var ErrMissing = errors.New("the image is missing")

// Image describes one image on the engine.
type Image struct {
	Ref        string    `json:"ref"`
	Kind       string    `json:"image"` // Node, Terminal or Machine
	ID         string    `json:"id"`
	Kubernetes string    `json:"kubernetes"`
	Size       int64     `json:"size"` // bytes, as the engine counts them
	Created    time.Time `json:"created"`
	Recipe     string    `json:"recipe"`
	Layers     []string  `json:"layers,omitempty"` // the hashes of its file system, where they were asked for
	// Usable says that the image is what its kind's reference points to and
	// fulfils this program's Contract.
	Usable bool `json:"usable"`
}

// Current returns the references of the two images to use, after having made
// sure that the engine has them and that they fulfil Contract. An error that is
// ErrMissing says what to run.
func Current(ctx context.Context, cli *client.Client) (node, terminal string, err error) {
	for kind, ref := range map[string]string{Node: NodeRef, Terminal: TerminalRef} {
		if err := usable(ctx, cli, kind, ref); err != nil {
			return "", "", err
		}
	}
	return NodeRef, TerminalRef, nil
}

func usable(ctx context.Context, cli *client.Client, kind, ref string) error {
	found, err := cli.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("the %s image (%s) is not on the engine: run \"drydock image build\", or \"drydock image import FILE\" "+
			"with a file that \"drydock image export\" wrote elsewhere: %w", kind, ref, ErrMissing)
	}
	if err != nil {
		return fmt.Errorf("looking for the %s image: %w", kind, err)
	}
	labels := map[string]string{}
	if found.Config != nil {
		labels = found.Config.Labels
	}
	if labels[LabelImage] != kind || labels[LabelContract] != Contract {
		return fmt.Errorf("%s was not built for this version of Drydock: run \"drydock image build\": %w", ref, ErrMissing)
	}
	return nil
}

// List returns every image of Drydock's that the engine has, the newest first.
func List(ctx context.Context, cli *client.Client) ([]Image, error) {
	found, err := cli.ImageList(ctx, client.ImageListOptions{
		Filters: make(client.Filters).Add("label", LabelImage),
	})
	if err != nil {
		return nil, fmt.Errorf("listing the images on the engine: %w", err)
	}
	var images []Image
	for _, s := range found.Items {
		kind := s.Labels[LabelImage]
		for _, ref := range s.RepoTags {
			if !strings.HasPrefix(ref, "drydock/"+kind+":") {
				continue
			}
			images = append(images, Image{
				Ref:        ref,
				Kind:       kind,
				ID:         s.ID,
				Kubernetes: s.Labels[LabelKubernetes],
				Size:       s.Size,
				Created:    time.Unix(s.Created, 0).UTC(),
				Recipe:     s.Labels[LabelRecipe],
				Usable:     slices.Contains(s.RepoTags, "drydock/"+kind+":latest") && s.Labels[LabelContract] == Contract,
			})
		}
	}
	slices.SortStableFunc(images, func(a, b Image) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Ref, b.Ref)
	})
	return images, nil
}
