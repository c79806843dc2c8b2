//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// The versions that the modules under tools/ pin.
const (
	coreDNSVersion    = "1.12.4"
	kanikoVersion     = "v1.27.5"
	chainguardVersion = "v1.25.6"
)

// artifact is an image or an index of images.
type artifact interface {
	partial.Describable
	partial.WithRawManifest
}

// recipe is one image of the sandbox's registry.
type recipe struct {
	// name is the entry in the cache, target the reference in the registry.
	name   string
	target string
	make   func(ctx context.Context, b builds, d debian) (artifact, error)
}

// recipes lists every image that up pushes. The first ones are what the
// cluster itself is waiting for.
func recipes() []recipe {
	list := []recipe{
		programRecipe("pause", "pause:1", "pause", "pause", "65535:65535"),
		programRecipe("coredns", "coredns:"+coreDNSVersion, "dns", "coredns", "65532:65532"),
	}
	for _, s := range standIns {
		repository, _, _ := strings.Cut(s.original, ":")
		list = append(list, recipe{
			name:   "stand-in-" + filepath.Base(repository),
			target: registryHost + "/mirror/" + s.original,
			make: func(ctx context.Context, _ builds, d debian) (artifact, error) {
				return s.index(ctx, d)
			},
		})
	}
	return append(list, kanikoRecipe("kaniko", kanikoVersion), kanikoRecipe("kaniko-chainguard", chainguardVersion))
}

// programRecipe is an image that holds one static program.
func programRecipe(name, repository, group, program, user string) recipe {
	return recipe{name: name, target: registryHost + "/sandbox/" + repository, make: func(_ context.Context, b builds, _ debian) (artifact, error) {
		t := newTree()
		if err := t.copyFile(b.bin(group, program), program, 0o755); err != nil {
			return nil, err
		}
		return newImage(t, "amd64", v1.Config{Entrypoint: []string{"/" + program}, User: user})
	}}
}

// kanikoRecipe is laid out as the release images of Kaniko are: a step of a
// build sees the same files and the same environment.
func kanikoRecipe(group, version string) recipe {
	return recipe{name: group, target: registryHost + "/sandbox/" + group + ":" + version, make: func(_ context.Context, b builds, d debian) (artifact, error) {
		t := newTree()
		if err := t.copyFile(b.bin(group, "executor"), "kaniko/executor", 0o755); err != nil {
			return nil, err
		}
		bundle, err := certificateBundle(d)
		if err != nil {
			return nil, err
		}
		t.directory("kaniko", 0o777)
		t.directory("kaniko/.docker", 0o755)
		t.directory("workspace", 0o755)
		t.file("kaniko/ssl/certs/ca-certificates.crt", 0o644, bundle)
		t.text("etc/nsswitch.conf", "hosts: files dns\n")
		return newImage(t, "amd64", v1.Config{
			Entrypoint: []string{"/kaniko/executor"},
			WorkingDir: "/workspace",
			Env: []string{
				"HOME=/root", "USER=root", "PATH=/usr/local/bin:/kaniko",
				"SSL_CERT_DIR=/kaniko/ssl/certs", "DOCKER_CONFIG=/kaniko/.docker/",
				"DOCKER_CREDENTIAL_GCR_CONFIG=/kaniko/.config/gcloud/docker_credential_gcr_config.json",
			},
		})
	}}
}

// madeImage is an image in the cache and where it belongs.
type madeImage struct {
	recipe recipe
	layout string
}

// makeImages makes the images that are not in the cache. Compressing them
// takes much longer than pushing them.
func makeImages(ctx context.Context, s site, p *progress, b builds, d debian) ([]madeImage, error) {
	source, err := sourceHash(s, "images.go", "layer.go", "standin.go")
	if err != nil {
		return nil, err
	}
	var made []madeImage
	for _, r := range recipes() {
		dir, err := cacheEntry{
			name: "image-" + r.name, key: imageKey(source, r, b, d),
			what: "making the image " + r.target,
			fill: func(temporary string) error { return r.writeLayout(ctx, temporary, b, d) },
		}.get(ctx, s, p)
		if err != nil {
			return nil, err
		}
		made = append(made, madeImage{recipe: r, layout: dir})
	}
	return made, nil
}

// imageKey changes with everything an image can be made of.
func imageKey(source string, r recipe, b builds, d debian) string {
	sum := sha256.New()
	fmt.Fprintln(sum, source, r.target, filepath.Base(d.dir))
	for _, name := range nodeGroupNames() {
		fmt.Fprintln(sum, name, filepath.Base(filepath.Dir(b[name])))
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

func (r recipe) writeLayout(ctx context.Context, dir string, b builds, d debian) error {
	made, err := r.make(ctx, b, d)
	if err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("making a layout: %w", err)
	}
	if index, ok := made.(v1.ImageIndex); ok {
		return path.AppendIndex(index)
	}
	image, ok := made.(v1.Image)
	if !ok {
		return fmt.Errorf("%s is neither an image nor an index", r.target)
	}
	return path.AppendImage(image)
}
