package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/ibshafique/base-images/internal/inspect"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// PushOptions are the files of the container push.
type PushOptions struct {
	// Input is where the build's input is mounted.
	Input string
	// InputDigest is what the input must be, see pipeline.InputDigest.
	InputDigest string
	// Layout is the OCI image layout that Kaniko left, with one image.
	Layout string
	// DockerConfig is a Docker config.json with the credentials; empty to push without.
	DockerConfig string
	Platform     pipeline.Platform

	loopback bool
	retrier  retrier
}

// Push uploads the image by digest, in OCI media types and dated with the source, and returns its digest. It tries
// again what failed in passing: a registry keeps the layers that it got. Nothing is tagged. Errors are pipeline
// faults, but for those of our own input.
func Push(ctx context.Context, o PushOptions) (digest string, err error) {
	err = o.retrier.do(ctx, func() error {
		digest, err = push(ctx, o)
		return err
	})
	return digest, err
}

func push(ctx context.Context, o PushOptions) (string, error) {
	in, err := readInput(o.Input, o.InputDigest, o.loopback)
	if err != nil {
		return "", err
	}
	built, err := readLayout(o.Layout)
	if err != nil {
		return "", err
	}
	if err := inspect.CheckPlatform(built, o.Platform); err != nil {
		return "", err
	}
	img, err := normalise(built, in.SourceTime)
	if err != nil {
		return "", err
	}
	client, err := in.pushClient(o.DockerConfig)
	if err != nil {
		return "", err
	}
	repo, err := client.Repository(in.Repository)
	if err != nil {
		return "", err
	}
	ref, err := client.PushImage(ctx, repo, img)
	if err != nil {
		return "", err
	}
	return ref.DigestStr(), nil
}

func (in *input) pushClient(dockerConfig string) (*registry.Client, error) {
	client, err := in.client()
	if err != nil || dockerConfig == "" {
		return client, err
	}
	keychain, err := readKeychain(dockerConfig)
	if err != nil {
		return nil, err
	}
	return client.With(keychain), nil
}

func readKeychain(path string) (authn.Keychain, error) {
	raw, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading the push credentials: %w", err)
	}
	return registry.KeychainFromDockerConfig(raw)
}

// readLayout opens the one image of an OCI layout. The layout was written by a container that
// ran somebody's instructions: a link in it could lead to the push credentials.
func readLayout(dir string) (v1.Image, error) {
	if err := refuseLinks(dir); err != nil {
		return nil, invalid(err)
	}
	img, err := onlyImage(dir)
	if err != nil {
		return nil, invalid(err)
	}
	return img, nil
}

func invalid(err error) error {
	return pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading the image that Kaniko built: %w", err)
}

func onlyImage(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if n := len(manifest.Manifests); n != 1 {
		return nil, fmt.Errorf("the layout has %d images instead of one", n)
	}
	return index.Image(manifest.Manifests[0].Digest)
}

var errNotRegular = errors.New("is neither a regular file nor a directory")

func refuseLinks(dir string) error {
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), filepath.Base(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			err = fmt.Errorf("%s %w", path, errNotRegular)
		}
		return err
	})
}
