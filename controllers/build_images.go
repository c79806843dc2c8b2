package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/registry"
)

// pinnedImages are the images of build pods, and of those that scan and test, by digest. One that the configuration names by tag is looked up once: a tag
// that moves changes nothing until the operator starts again.
type pinnedImages struct {
	mu    sync.Mutex
	found map[string]string
}

func (p *pinnedImages) pinned(ctx context.Context, client *registry.Client, images config.Images) (config.Images, error) {
	for _, one := range []struct {
		field string
		image *string
	}{
		{"images.kaniko", &images.Kaniko}, {"images.worker", &images.Worker},
		{"images.syft", &images.Syft}, {"images.trivy", &images.Trivy}, {"images.grype", &images.Grype},
	} {
		pinned, err := p.pin(ctx, client, one.field, *one.image)
		if err != nil {
			return config.Images{}, err
		}
		*one.image = pinned
	}
	return images, nil
}

func (p *pinnedImages) pin(ctx context.Context, client *registry.Client, field, image string) (string, error) {
	if strings.Contains(image, "@") {
		return image, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pinned, ok := p.found[image]; ok {
		return pinned, nil
	}
	ref, err := client.Parse(image)
	if err != nil {
		return "", fmt.Errorf("%s of the operator's configuration: %w", field, err)
	}
	desc, err := client.Head(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("%s of the operator's configuration (give it by digest, and it is not looked up): %w", field, err)
	}
	if p.found == nil {
		p.found = map[string]string{}
	}
	p.found[image] = image + "@" + desc.Digest.String()
	return p.found[image], nil
}
