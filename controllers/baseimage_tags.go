package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// indexTags finds BaseImages by what they write: repository and tag in full.
const indexTags = "spec.output.tags"

// tagsOf are the full names of the tags that an image writes, however its spec spells them.
func tagsOf(image *v1alpha1.BaseImage) []string {
	repository := canonical(image.Spec.Output.Repository)
	tags := make([]string, 0, len(image.Spec.Output.Tags))
	for _, t := range image.Spec.Output.Tags {
		tags = append(tags, repository+":"+string(t))
	}
	return tags
}

func canonical(repository string) string {
	full, err := registry.CanonicalRepository(repository)
	if err != nil {
		return repository // It will be refused as what it is.
	}
	return full
}

// sharingTags are the images that write a tag which this one writes.
func (r *BaseImageReconciler) sharingTags(ctx context.Context, o client.Object) []ctrl.Request {
	image, ok := o.(*v1alpha1.BaseImage)
	if !ok {
		return nil
	}
	var requests []ctrl.Request
	for _, tag := range tagsOf(image) {
		others, err := imagesWithTag(ctx, r.Client, tag)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Finding images with the same tag", "tag", tag)
			continue
		}
		for i := range others {
			request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&others[i])}
			if others[i].UID != image.UID && !slices.Contains(requests, request) {
				requests = append(requests, request)
			}
		}
	}
	return requests
}

func imagesWithTag(ctx context.Context, reader client.Reader, tag string) ([]v1alpha1.BaseImage, error) {
	list := &v1alpha1.BaseImageList{}
	if err := reader.List(ctx, list, client.MatchingFields{indexTags: tag}); err != nil {
		return nil, fmt.Errorf("listing the images that write %s: %w", tag, err)
	}
	return list.Items, nil
}

// refuseSharedTags is a Terminal with reason OutputConflict for an image that writes a tag which another image has.
func (r *BaseImageReconciler) refuseSharedTags(ctx context.Context, image *v1alpha1.BaseImage) error {
	return refuseSharedTags(ctx, r.Client, image)
}

func refuseSharedTags(ctx context.Context, reader client.Reader, image *v1alpha1.BaseImage) error {
	for _, tag := range tagsOf(image) {
		others, err := imagesWithTag(ctx, reader, tag)
		if err != nil {
			return err
		}
		for i := range others {
			other := &others[i]
			if other.UID == image.UID || !other.DeletionTimestamp.IsZero() || !comesFirst(other, image, tag) {
				continue
			}
			return pipeline.Terminalf(v1alpha1.ReasonOutputConflict,
				"spec.output: BaseImages %s/%s and %s/%s both write %s, and %s/%s has it: change the repository or the tags of one of them",
				image.Namespace, image.Name, other.Namespace, other.Name, tag, other.Namespace, other.Name)
		}
	}
	return nil
}

// comesFirst says which of two images has a tag: the one that has published it, else one that has published anything in
// this repository, or anywhere, else the older one. So nobody takes a tag from an image that is in use by editing
// another one, and an image that never was one holds nothing against one that is.
func comesFirst(a, b *v1alpha1.BaseImage, tag string) bool {
	if x, y := claim(a, tag), claim(b, tag); x != y {
		return x > y
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return nameOf(a).String() < nameOf(b).String()
}

// claim is how good an image's claim to a tag is.
func claim(image *v1alpha1.BaseImage, tag string) int {
	img := image.Status.Image
	switch {
	case img == nil:
		return 0
	case slices.ContainsFunc(img.Tags, func(t v1alpha1.Tag) bool { return canonical(img.Repository)+":"+string(t) == tag }):
		return 3
	case strings.HasPrefix(tag, canonical(img.Repository)+":"):
		return 2
	}
	return 1
}

func nameOf(o client.Object) types.NamespacedName { return client.ObjectKeyFromObject(o) }
