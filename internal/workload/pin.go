package workload

import (
	"maps"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
)

// Pin is the patch that writes references in place of those of images, by the images' pointers, in their order.
//
// The API server applies a patch to the very object that it sent, after those of the webhooks before and before those of the
// ones behind, so nobody changes the object meanwhile. Still each reference is tested before it is replaced: if a pointer
// were ever that of another image, or of none, the request fails, and no container runs what was verified for another.
func (o *Object) Pin(pins map[string]string) []jsonpatch.Operation {
	now := map[string]string{}
	for _, image := range o.Images() {
		now[image.Pointer] = image.Reference
	}
	var patch []jsonpatch.Operation
	for _, pointer := range slices.Sorted(maps.Keys(pins)) {
		if pins[pointer] == now[pointer] {
			continue
		}
		patch = append(patch,
			jsonpatch.NewOperation("test", pointer, now[pointer]),
			jsonpatch.NewOperation("replace", pointer, pins[pointer]))
	}
	return patch
}
