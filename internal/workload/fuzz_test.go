package workload

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
)

func FuzzDecode(f *testing.F) {
	for kind, entry := range kinds(every()) {
		f.Add(kind.Group, kind.Version, kind.Kind, marshal(f, entry.object))
	}
	f.Add("", "v1", "Pod", marshal(f, realistic()))
	f.Add("", "v1", "Pod", []byte(`{"spec":{"containers":[null,{}],"ephemeralContainers":[{"image":""}],"volumes":[{"image":{}}]},"spec":{}}`))
	f.Fuzz(func(t *testing.T, group, version, kind string, raw []byte) {
		o, err := Decode(metav1.GroupVersionKind{Group: group, Version: version, Kind: kind}, raw)
		if err != nil {
			if o != nil {
				t.Fatalf("there is an object beside the error %v", err)
			}
			return
		}
		images := o.Images()
		if want := containersOf(t, raw, o.Path); len(images) < want || len(images) == 0 {
			t.Fatalf("%d images of %d containers", len(images), want)
		}
		pins, seen := map[string]string{}, map[string]bool{}
		for _, image := range images {
			pins[image.Pointer], seen[image.Field] = image.Reference+"@", true
		}
		if len(pins) != len(images) || len(seen) != len(images) || len(o.Pin(pins)) != 2*len(images) {
			t.Fatalf("%d images have %d pointers and %d fields", len(images), len(pins), len(seen))
		}
		if added := o.Added(o); len(added) != 0 {
			t.Fatalf("%v is added to itself", added)
		}
	})
}

// containersOf counts containers and image volumes without the types of Kubernetes.
func containersOf(t *testing.T, raw []byte, path string) int {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	for step := range strings.SplitSeq(path, ".") {
		object, _ = object[step].(map[string]any)
	}
	count := 0
	for _, field := range []string{"initContainers", "containers", "ephemeralContainers"} {
		list, _ := object[field].([]any)
		count += len(list)
	}
	volumes, _ := object["volumes"].([]any)
	for _, volume := range volumes {
		if fields, _ := volume.(map[string]any); fields["image"] != nil {
			count++
		}
	}
	return count
}
