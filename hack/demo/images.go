package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/hack/publish"
)

var baseImages = []string{"scratch-plus", "distroless-static", "wolfi-micro"}

const (
	pollInterval = time.Second
	readyTimeout = 20 * time.Minute
	// heartbeatInterval is how often something is said while nothing changes.
	heartbeatInterval = 20 * time.Second
	// settle is how long the state that an earlier run has left may take to go away.
	settle = 15 * time.Second
)

// images publishes this checkout's images/base to the sandbox's git server, applies its BaseImages with the
// repositories of the sandbox, follows them until they are Ready, and verifies one of them as anybody could.
func (d *demo) images(ctx context.Context) error {
	d.say("publishing images/base to the git server")
	url, commit, err := publish.Directory(ctx, ".", "base-images", "images")
	if err != nil {
		return err
	}
	d.say("applying %d BaseImages in namespace %s", len(baseImages)+1, namespace)
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
	fmt.Println()
	if err := d.verify(ctx, baseImages[0]); err != nil {
		return err
	}
	fmt.Println()
	return nil
}

func (d *demo) farewell() {
	fmt.Printf("\nThe sandbox stays up. To look around, and to verify, with its kubectl and cosign: . %s/env && kubectl -n %s describe baseimages\nTo remove it: make sandbox-down\n", sandboxDir, namespace)
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
	if _, err = d.output(ctx, d.kubectl, "apply", "--server-side", "-k", imagesDir); err != nil {
		return err
	}
	return d.apply(ctx, appImage())
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

// follow prints what changes until every image is Ready and built from the commit, or one of them is stuck.
func (d *demo) follow(ctx context.Context, commit string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the BaseImages were not Ready within %s", readyTimeout))
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	heartbeat := time.NewTicker(heartbeatInterval)
	defer heartbeat.Stop()
	seen := map[string]*progress{}
	for {
		images, err := d.list(ctx)
		if err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		waiting, err := d.look(images, commit, seen)
		if err != nil || len(waiting) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-heartbeat.C:
			d.say("still waiting for %s", strings.Join(waiting, ", "))
		case <-tick.C:
		}
	}
}

// progress is what was seen of an image.
type progress struct {
	text       string
	stuckSince time.Time
}

// look prints what is new, and returns the images that are not done.
func (d *demo) look(images []baseImage, commit string, seen map[string]*progress) (waiting []string, err error) {
	for _, i := range images {
		p := seen[i.Metadata.Name]
		if p == nil {
			p = &progress{}
			seen[i.Metadata.Name] = p
		}
		if text := i.describe(); p.text != text {
			p.text = text
			d.say("%-18s %s", i.Metadata.Name, text)
		}
		current := i.Status.LatestBuild.Inputs.Revision == commit
		switch {
		case !i.stuck():
			p.stuckSince = time.Time{}
		case p.stuckSince.IsZero():
			p.stuckSince = time.Now()
		case current || time.Since(p.stuckSince) > settle:
			return nil, fmt.Errorf("BaseImage %s: %s", i.Metadata.Name, i.describe())
		}
		if !current || !i.is("Ready") {
			waiting = append(waiting, i.Metadata.Name)
		}
	}
	return waiting, nil
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

// stuck tells that nothing will happen without somebody.
func (b baseImage) stuck() bool {
	return b.is("Stalled") || slices.ContainsFunc(b.Status.Conditions, func(c condition) bool { return c.Reason == "Suspended" })
}

func (b baseImage) describe() string {
	// While a ready image is built again, what goes on is more interesting than that it is ready.
	for _, kind := range []string{"Reconciling", "Ready"} {
		for _, c := range b.Status.Conditions {
			if c.Type == kind {
				return c.Reason + ": " + c.Message
			}
		}
	}
	return "waiting for the operator"
}
