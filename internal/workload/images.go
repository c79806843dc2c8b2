package workload

import (
	"slices"
	"strconv"
	"strings"
)

// place is a field of a pod's spec whose elements have images: the text around the index, in the names of fields and in pointers.
type place struct {
	kind                Kind
	field, fieldEnd     string
	pointer, pointerEnd string
}

var (
	initContainers      = place{InitContainer, ".initContainers[", "].image", "/initContainers/", "/image"}
	containers          = place{Container, ".containers[", "].image", "/containers/", "/image"}
	ephemeralContainers = place{EphemeralContainer, ".ephemeralContainers[", "].image", "/ephemeralContainers/", "/image"}
	imageVolumes        = place{ImageVolume, ".volumes[", "].image.reference", "/volumes/", "/image/reference"}
)

// Images of the object in the order of its fields: init, regular, ephemeral containers, image volumes. Every container has one.
func (o *Object) Images() []Image {
	s := o.Spec
	images := make([]Image, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers))
	root := "/" + strings.ReplaceAll(o.Path, ".", "/")
	add := func(p *place, i int, name, reference string) {
		n := strconv.Itoa(i)
		images = append(images, Image{Field: o.Path + p.field + n + p.fieldEnd, Name: name, Kind: p.kind, Reference: reference, Pointer: root + p.pointer + n + p.pointerEnd})
	}
	for i := range s.InitContainers {
		add(&initContainers, i, s.InitContainers[i].Name, s.InitContainers[i].Image)
	}
	for i := range s.Containers {
		add(&containers, i, s.Containers[i].Name, s.Containers[i].Image)
	}
	for i := range s.EphemeralContainers {
		add(&ephemeralContainers, i, s.EphemeralContainers[i].Name, s.EphemeralContainers[i].Image)
	}
	for i := range s.Volumes {
		if source := s.Volumes[i].Image; source != nil {
			add(&imageVolumes, i, s.Volumes[i].Name, source.Reference)
		}
	}
	return images
}

// Added are the images that old does not have. All of them, if old is nil. A digest is the same image wherever it stands; a tag may
// have moved since, so it is the same at the same place alone.
func (o *Object) Added(old *Object) []Image {
	images := o.Images()
	if old == nil {
		return images
	}
	known := map[Image]bool{}
	for _, image := range old.Images() {
		known[image.spot()] = true
		if image.hasDigest() {
			known[Image{Reference: image.Reference}] = true
		}
	}
	return slices.DeleteFunc(images, func(i Image) bool { return known[i.spot()] || known[Image{Reference: i.Reference}] })
}

// spot is an image without where in a list it stands.
func (i Image) spot() Image { return Image{Kind: i.Kind, Name: i.Name, Reference: i.Reference} }

func (i Image) hasDigest() bool { return strings.Contains(i.Reference, "@") }
