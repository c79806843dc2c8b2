package workload

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// noImages are fields that look as if they had a reference to an image of containers, and why they have none.
var noImages = map[string]string{
	"imagePullPolicy": "says when to pull",
	"rbd.image":       "is a block device of Ceph",
}

// TestThereIsNoOtherPlaceForAnImage fills everything that a pod's spec can have. If it fails after an update of k8s.io/api, pods have
// a new way to bring in an image, and Images has to yield it.
func TestThereIsNoOtherPlaceForAnImage(t *testing.T) {
	spec, places := &corev1.PodSpec{}, map[string]bool{}
	fill(t, reflect.ValueOf(spec).Elem(), "spec", 0, func(path string, v reflect.Value) {
		v.SetString("image at " + path)
		places[path] = true
	})
	o := decoded(t, podKind, corev1.Pod{Spec: *spec})
	got := map[string]bool{}
	for _, image := range o.Images() {
		got[image.Field] = image.Reference == "image at "+image.Field
	}
	if diff := cmp.Diff(places, got); diff != "" {
		t.Errorf("places for images (-types of Kubernetes +yielded):\n%s", diff)
	}
	if want := []string{"spec.containers[0].image", "spec.ephemeralContainers[0].image", "spec.initContainers[0].image", "spec.volumes[0].image.reference"}; !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Errorf("places are %v", slices.Sorted(maps.Keys(got)))
	}
}

// fill gives every pointer and list below v a value, and calls found with every string that may be a reference to an image.
func fill(t *testing.T, v reflect.Value, path string, depth int, found func(string, reflect.Value)) {
	t.Helper()
	if depth > 32 {
		t.Fatalf("%s is in itself", path)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), path, depth+1, found)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(t, v.Index(0), path+"[0]", depth+1, found)
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			if field.IsExported() {
				fill(t, value, join(path, field), depth+1, found)
			}
		}
	case reflect.String:
		if mayBeImage(path) {
			found(path, v)
		}
	case reflect.Map:
		if elem := v.Type().Elem(); elem.Kind() != reflect.String && elem.Name() != "Quantity" {
			t.Errorf("%s is a map of %s: see whether it has images", path, elem)
		}
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.Array:
		t.Errorf("%s is %s: see whether it has images", path, v.Type())
	default: // numbers and the like
	}
}

// join names a field as the iterator does.
func join(path string, field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "" && field.Anonymous {
		return path
	}
	return path + "." + name
}

func mayBeImage(path string) bool {
	for suffix := range noImages {
		if strings.HasSuffix(path, "."+suffix) {
			return false
		}
	}
	last := strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])
	return strings.Contains(last, "image") || strings.Contains(last, "reference")
}

// TestFieldsThatAreNoImagesAreThere keeps the list above short.
func TestFieldsThatAreNoImagesAreThere(t *testing.T) {
	unseen := maps.Clone(noImages)
	var see func(v reflect.Type, path string)
	see = func(v reflect.Type, path string) {
		for suffix := range noImages {
			if strings.HasSuffix(path, "."+suffix) {
				delete(unseen, suffix)
			}
		}
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice:
			see(v.Elem(), path)
		case reflect.Struct:
			for field := range v.Fields() {
				see(field.Type, join(path, field))
			}
		default:
		}
	}
	see(reflect.TypeFor[corev1.PodSpec](), "spec")
	if len(unseen) > 0 {
		t.Errorf("no field is %s", fmt.Sprint(unseen))
	}
}
