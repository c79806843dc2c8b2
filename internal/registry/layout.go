package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// PullLayout writes the image ref into dir, as an OCI layout
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md) with this image alone. The image is checked
// against its digests and the limits. It may be tried again with the same dir. Errors of the registry are classified, see
// Classify.
func (c *Client) PullLayout(ctx context.Context, ref name.Digest, dir string) error {
	img, err := c.Image(ctx, ref)
	if err != nil {
		return err
	}
	doing := "pulling image " + Name(ref)
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(img)
	}
	if _, disk := errors.AsType[*fs.PathError](err); disk {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err != nil {
		return unreadable(ctx, doing, err)
	}
	return nil
}
