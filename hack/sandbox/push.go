//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// sandboxTransport trusts the sandbox's CA alone, and finds its hosts without
// the machine's resolver and without a proxy.
func sandboxTransport(s site) (*http.Transport, error) {
	ca, err := os.ReadFile(s.in("pki", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the sandbox's CA is no certificate")
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err == nil && slices.Contains(sandboxHosts, host) {
				address = net.JoinHostPort(nodeAddress.String(), port)
			}
			return dialer.DialContext(ctx, network, address)
		},
	}, nil
}

// registryClient pushes to the sandbox's registry.
type registryClient struct{ options []remote.Option }

func newRegistryClient(ctx context.Context, s site) (registryClient, error) {
	transport, err := sandboxTransport(s)
	if err != nil {
		return registryClient{}, err
	}
	secret, err := password(s)
	if err != nil {
		return registryClient{}, err
	}
	return registryClient{options: []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(transport),
		remote.WithAuth(&authn.Basic{Username: pushUser, Password: secret}),
	}}, nil
}

// push uploads what a layout holds, unless the tag means that already.
func (c registryClient) push(m madeImage) error {
	target, err := name.NewTag(m.recipe.target)
	if err != nil {
		return fmt.Errorf("parsing %q: %w", m.recipe.target, err)
	}
	index, err := layout.ImageIndexFromPath(m.layout)
	if err != nil {
		return fmt.Errorf("opening the image %s: %w", m.recipe.target, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		return fmt.Errorf("reading the image %s: %w", m.recipe.target, errors.Join(err, errors.New("it should be one manifest")))
	}
	what := manifest.Manifests[0]
	if there, err := remote.Head(target, c.options...); err == nil && there.Digest == what.Digest {
		return nil
	}
	if what.MediaType.IsIndex() {
		return c.pushIndex(target, index, what.Digest)
	}
	image, err := index.Image(what.Digest)
	if err != nil {
		return fmt.Errorf("reading the image %s: %w", target, err)
	}
	return c.pushImage(target, image)
}

func (c registryClient) pushIndex(target name.Tag, index v1.ImageIndex, digest v1.Hash) error {
	inner, err := index.ImageIndex(digest)
	if err != nil {
		return fmt.Errorf("reading the image %s: %w", target, err)
	}
	if err := remote.WriteIndex(target, inner, c.options...); err != nil {
		return fmt.Errorf("pushing %s: %w", target, err)
	}
	return nil
}

func (c registryClient) pushImage(target name.Tag, image v1.Image) error {
	if err := remote.Write(target, image, c.options...); err != nil {
		return fmt.Errorf("pushing %s: %w", target, err)
	}
	return nil
}

// runDigest is the subcommand digest.
func runDigest(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	tag, err := name.NewTag(registryHost + "/" + args[0])
	if err != nil {
		return fmt.Errorf("parsing %q, which should be a repository of the sandbox and a tag: %w", args[0], err)
	}
	s, err := newSite()
	if err != nil {
		return err
	}
	client, err := newRegistryClient(ctx, s)
	if err != nil {
		return fmt.Errorf("the sandbox is not up: %w", err)
	}
	found, err := remote.Head(tag, client.options...)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", tag, err)
	}
	fmt.Printf("%s@%s\n", tag.Context().Name(), found.Digest)
	return nil
}

// imageRequest is what the subcommand image was asked for.
type imageRequest struct {
	target name.Tag
	config v1.Config
	files  map[string]string // path in the image to path on the host
}

func parseImageRequest(args []string) (imageRequest, error) {
	set := flag.NewFlagSet("image", flag.ContinueOnError)
	repository := set.String("repository", "", "where to push to, with the host")
	tag := set.String("tag", "dev", "the tag")
	entrypoint := set.String("entrypoint", "", "the program to start")
	user := set.String("user", "65532:65532", "the user, and group, to run as")
	if err := set.Parse(args); err != nil {
		return imageRequest{}, errUsage
	}
	target, err := name.NewTag(*repository + ":" + *tag)
	if err != nil {
		return imageRequest{}, fmt.Errorf("parsing --repository and --tag: %w", err)
	}
	if target.RegistryStr() != registryHost {
		return imageRequest{}, fmt.Errorf("--repository has to begin with %s/", registryHost)
	}
	request := imageRequest{target: target, files: map[string]string{}, config: v1.Config{User: *user, Env: []string{"PATH=/"}}}
	if *entrypoint != "" {
		request.config.Entrypoint = []string{*entrypoint}
	}
	for _, pair := range set.Args() {
		host, inside, ok := strings.Cut(pair, "=")
		if !ok {
			return imageRequest{}, fmt.Errorf("%q is not path/on/host=/path/in/image", pair)
		}
		request.files[inside] = host
	}
	return request, nil
}

func (r imageRequest) build() (v1.Image, error) {
	t := newTree()
	for inside, host := range r.files {
		info, err := os.Stat(host)
		if err != nil {
			return nil, fmt.Errorf("adding %s to an image: %w", inside, err)
		}
		if err := t.copyFile(host, inside, int64(info.Mode().Perm())); err != nil {
			return nil, err
		}
	}
	return newImage(t, "amd64", r.config)
}

// runImage is the subcommand image.
func runImage(ctx context.Context, args []string) error {
	request, err := parseImageRequest(args)
	if err != nil {
		return err
	}
	s, err := newSite()
	if err != nil {
		return err
	}
	client, err := newRegistryClient(ctx, s)
	if err != nil {
		return fmt.Errorf("the sandbox is not up: %w", err)
	}
	image, err := request.build()
	if err != nil {
		return err
	}
	if err := client.pushImage(request.target, image); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("reading the digest: %w", err)
	}
	fmt.Printf("%s@%s\n", request.target.Context().Name(), digest)
	return nil
}
