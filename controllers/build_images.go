package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/registry"
)

// pinnedImages are the images of build pods by digest. One that the configuration names by tag is looked up once: a tag
// that moves changes nothing until the operator starts again.
type pinnedImages struct {
	mu    sync.Mutex
	found map[string]string
}

func (p *pinnedImages) pinned(ctx context.Context, client *registry.Client, images config.Images) (config.Images, error) {
	var err error
	if images.Kaniko, err = p.pin(ctx, client, "images.kaniko", images.Kaniko); err != nil {
		return config.Images{}, err
	}
	images.Worker, err = p.pin(ctx, client, "images.worker", images.Worker)
	return images, err
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
