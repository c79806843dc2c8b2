package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ibshafique/base-images/hack/publish"
)

var baseImages = []string{"scratch-plus", "distroless-static", "wolfi-micro"}

const (
	pollInterval = time.Second
	readyTimeout = 20 * time.Minute
)

// images publishes this checkout's images/base to the sandbox's git server, applies its BaseImages with the
// repositories of the sandbox, and follows them until they are Ready.
func (d *demo) images(ctx context.Context) error {
	d.say("publishing images/base to the git server")
	url, commit, err := publish.Directory(ctx, ".", "base-images", "images")
	if err != nil {
		return err
	}
	d.say("applying %d BaseImages in namespace %s", len(baseImages), namespace)
	if err := d.applyImages(ctx, url); err != nil {
		return err
	}
	if err := d.requestBuilds(ctx, commit); err != nil {
		return err
	}
	if err := d.follow(ctx, commit); err != nil {
		return errors.Join(err, d.show(ctx, "--namespace="+namespace, "get", "baseimages,baseimagebuilds"))
	}
	d.say("all are Ready\n")
	if err := d.show(ctx, "--namespace="+namespace, "get", "baseimages", "-o", "wide"); err != nil {
		return err
	}
	fmt.Println()
	if err := d.show(ctx, "--namespace="+namespace, "get", "baseimagebuilds"); err != nil {
		return err
	}
	fmt.Printf("\nThe sandbox stays up. To look around: export KUBECONFIG=$PWD/%s/kubeconfig; to remove it: make sandbox-down\n", sandboxDir)
	return nil
}

func (d *demo) applyImages(ctx context.Context, url string) error {
	config, err := dockerConfig()
	if err != nil {
		return err
	}
	if err := d.apply(ctx,
		object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": namespace}},
		object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": "registry-push", "namespace": namespace},
			"type": "kubernetes.io/dockerconfigjson",
			"data": object{".dockerconfigjson": base64.StdEncoding.EncodeToString(config)}},
	); err != nil {
		return err
	}
	var patches []object
	for _, name := range baseImages {
		patch, err := json.Marshal([]object{
			{"op": "replace", "path": "/spec/source/git/url", "value": url},
			{"op": "replace", "path": "/spec/output/repository", "value": registryHost + "/base/" + name},
		})
		if err != nil {
			return fmt.Errorf("encoding a patch: %w", err)
		}
		patches = append(patches, object{"target": object{"kind": "BaseImage", "name": name}, "patch": string(patch)})
	}
	err = writeFiles(imagesDir, map[string]any{"kustomization.yaml": object{
		"apiVersion": "kustomize.config.k8s.io/v1beta1",
		"kind":       "Kustomization",
		"namespace":  namespace,
		"resources":  []string{"../../images/base"},
		"patches":    patches,
	}})
	if err != nil {
		return err
	}
	_, err = d.output(ctx, d.kubectl, "apply", "--server-side", "-k", imagesDir)
	return err
}

// requestBuilds asks for builds of images that were built from other files before: the demo was run, the files
// were edited, and the demo is run again.
func (d *demo) requestBuilds(ctx context.Context, commit string) error {
	images, err := d.list(ctx)
	if err != nil {
		return err
	}
	for _, i := range images {
		if last := i.Status.LatestBuild.Inputs.Revision; last == "" || last == commit {
			continue
		}
		if _, err := d.output(ctx, d.kubectl, "--namespace="+namespace, "annotate", "--overwrite", "baseimage", i.Metadata.Name,
			"basewright.dev/build-requested-at="+commit); err != nil {
			return err
		}
	}
	return nil
}

// follow prints what changes until every image is Ready and built from the commit, or one of them is Stalled.
func (d *demo) follow(ctx context.Context, commit string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the BaseImages were not Ready within %s", readyTimeout))
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	seen := map[string]string{}
	for {
		images, err := d.list(ctx)
		if err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		ready := 0
		for _, i := range images {
			if text := i.describe(); seen[i.Metadata.Name] != text {
				seen[i.Metadata.Name] = text
				d.say("%-18s %s", i.Metadata.Name, text)
			}
			if i.Status.LatestBuild.Inputs.Revision != commit && i.Status.LatestBuild.Inputs.Revision != "" {
				continue
			}
			if i.is("Stalled") {
				return fmt.Errorf("BaseImage %s: %s", i.Metadata.Name, i.describe())
			}
			if i.is("Ready") {
				ready++
			}
		}
		if ready == len(baseImages) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

type baseImage struct {
	Metadata struct {
		Name       string
		Generation int64
	}
	Status struct {
		ObservedGeneration int64
		Conditions         []condition
		LatestBuild        struct{ Inputs struct{ Revision string } }
	}
}

type condition struct{ Type, Status, Reason, Message string }

func (d *demo) list(ctx context.Context) ([]baseImage, error) {
	out, err := d.output(ctx, d.kubectl, append([]string{"--namespace=" + namespace, "get", "baseimages", "-o", "json"}, baseImages...)...)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []baseImage }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("reading the BaseImages: %w", err)
	}
	return list.Items, nil
}

func (b baseImage) is(kind string) bool {
	return b.Status.ObservedGeneration == b.Metadata.Generation &&
		slices.ContainsFunc(b.Status.Conditions, func(c condition) bool { return c.Type == kind && c.Status == "True" })
}

func (b baseImage) describe() string {
	for _, c := range b.Status.Conditions {
		if c.Type == "Ready" {
			return c.Reason + ": " + c.Message
		}
	}
	return "waiting for the operator"
}
