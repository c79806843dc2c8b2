package workload

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4" // the one of the API server
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEveryKindHasEveryImage(t *testing.T) {
	entries := kinds(every())
	for kind, entry := range entries {
		t.Run(kind.Kind, func(t *testing.T) {
			o := decoded(t, kind, entry.object)
			isPod := kind.Kind == "Pod"
			if o.Kind != kind.Kind || o.IsPod != isPod || o.Path != entry.path || o.Owner.Name != "owner" || o.Owner.Namespace != "team" || (o.Meta.Name == "owner") != isPod {
				t.Errorf("it is %+v of %s/%s", o, o.Owner.Namespace, o.Owner.Name)
			}
			if isPod != (len(o.Meta.Labels) > 0 && o.Meta == o.Owner) {
				t.Errorf("the metadata of the pod are %v, of its owner %v", o.Meta, o.Owner)
			}
			pointer := "/" + strings.ReplaceAll(entry.path, ".", "/")
			want := []Image{
				{entry.path + ".initContainers[0].image", "first", InitContainer, "r.io/init", pointer + "/initContainers/0/image"},
				{entry.path + ".initContainers[1].image", "sidecar", InitContainer, "r.io/sidecar:1", pointer + "/initContainers/1/image"},
				{entry.path + ".containers[0].image", "app", Container, "r.io/app:1", pointer + "/containers/0/image"},
				{entry.path + ".containers[1].image", "proxy", Container, "r.io/proxy:1", pointer + "/containers/1/image"},
				{entry.path + ".ephemeralContainers[0].image", "debug", EphemeralContainer, "r.io/debug", pointer + "/ephemeralContainers/0/image"},
				{entry.path + ".volumes[1].image.reference", "model", ImageVolume, "r.io/model:1", pointer + "/volumes/1/image/reference"},
			}
			if diff := cmp.Diff(want, o.Images()); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
	if len(entries) != len(decoders) {
		t.Errorf("%d kinds are decoded, %d tested", len(decoders), len(entries))
	}
}

func TestWhatCannotBeDecodedIsRefused(t *testing.T) {
	many := func(n int) []corev1.Container { return make([]corev1.Container, n) }
	volumes := func(n int) []corev1.Volume { return make([]corev1.Volume, n) }
	pod := func(spec corev1.PodSpec) string { return string(marshal(t, corev1.Pod{Spec: spec})) }
	one := pod(corev1.PodSpec{Containers: many(1)})
	tests := map[string]struct {
		kind    metav1.GroupVersionKind
		raw     string
		problem string
	}{
		"a kind without pods":                 {metav1.GroupVersionKind{Version: "v1", Kind: "Service"}, one, "Service"},
		"a kind of another group":             {metav1.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Pod"}, one, "example.com/v1"},
		"another version":                     {metav1.GroupVersionKind{Group: "apps", Version: "v2", Kind: "Deployment"}, one, "apps/v2"},
		"no kind":                             {metav1.GroupVersionKind{}, one, "kind"},
		"nothing":                             {podKind, "", "decoding"},
		"null":                                {podKind, "null", "empty"},
		"another type":                        {podKind, `[]`, "decoding"},
		"half a pod":                          {podKind, one[:len(one)-2], "decoding"},
		"a pod and more":                      {podKind, one + "{}", "decoding"},
		"a container that is none":            {podKind, `{"spec":{"containers":["x"]}}`, "decoding"},
		"an image that is a number":           {podKind, `{"spec":{"containers":[{"image":1}]}}`, "decoding"},
		"no containers":                       {podKind, `{"spec":{"volumes":[{"name":"v","image":{"reference":"r.io/x"}}]}}`, "spec.containers"},
		"names of another case":               {podKind, `{"Spec":{"Containers":[{"Image":"r.io/x"}]}}`, "spec.containers"},
		"a Deployment that is said to be Pod": {podKind, string(marshal(t, appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: every()}}})), "spec.containers"},
		"a Pod that is said to be Deployment": {metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, one, "spec.template.spec.containers"},
		"too many containers":                 {podKind, pod(corev1.PodSpec{Containers: many(maxParts + 1)}), "1025"},
		"too many containers of all kinds and volumes": {podKind,
			pod(corev1.PodSpec{Containers: many(400), InitContainers: many(200), EphemeralContainers: make([]corev1.EphemeralContainer, 224), Volumes: volumes(201)}), "1025"},
		"more containers than memory is for": {podKind, `{"spec":{"containers":[null` + strings.Repeat(",null", maxValues) + `]}}`, "16385 values"},
		"depth":                              {podKind, strings.Repeat(`{"spec":`, 20_000), "decoding"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := Decode(tt.kind, []byte(tt.raw))
			if err == nil || o != nil {
				t.Fatalf("it is %+v, %v", o, err)
			}
			if !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("the error does not say %q: %v", tt.problem, err)
			}
		})
	}
}

func TestWhatCanBeDecodedIs(t *testing.T) {
	text := strings.Repeat(`,\"`, 3*maxValues)
	tests := map[string]struct {
		raw    string
		images int
	}{
		"fields of a newer API server":       {`{"kind":"Pod","apiVersion":"v1","spec":{"later":{"x":[1]},"containers":[{"image":"r.io/x","later":1}]},"later":true}`, 1},
		"a container without anything":       {`{"spec":{"containers":[{},null]}}`, 2},
		"an image volume without reference":  {`{"spec":{"containers":[{}],"volumes":[{"image":{}},{"image":null},{}]}}`, 2},
		"init containers alone":              {`{"spec":{"initContainers":[{}]}}`, 1},
		"as many values as there may be":     {`{"later":[null` + strings.Repeat(",null", maxValues-2) + `],"spec":{"containers":[{}]}}`, 1},
		"commas in text are not values":      {`{"metadata":{"annotations":{"a":"` + text + `"}},"spec":{"containers":[{}]}}`, 1},
		"as many containers as there may be": {string(marshal(t, corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, maxParts)}})), maxParts},
		"a pod that is being deleted, of somebody, with annotations, is like any": {
			`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","ownerReferences":[{"kind":"DaemonSet"}],"annotations":{"basewright.dev/admission":"skip"}},"spec":{"containers":[{}]}}`, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := Decode(podKind, []byte(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(o.Images()); got != tt.images {
				t.Errorf("it has %d images, want %d", got, tt.images)
			}
		})
	}
}

func TestAddedImagesAreThoseThatTheOldObjectDoesNotHave(t *testing.T) {
	tests := map[string]struct {
		change func(*corev1.PodSpec)
		want   []string
	}{
		"nothing changed":              {func(*corev1.PodSpec) {}, nil},
		"something else changed":       {func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"other"} }, nil},
		"a container has another name": {func(s *corev1.PodSpec) { s.Containers[0].Name = "other" }, []string{"spec.containers[0].image"}},
		"an image changed":             {func(s *corev1.PodSpec) { s.Containers[1].Image = "r.io/new" }, []string{"spec.containers[1].image"}},
		"a tag changed":                {func(s *corev1.PodSpec) { s.Containers[0].Image = "r.io/app:2" }, []string{"spec.containers[0].image"}},
		"another spelling is added":    {func(s *corev1.PodSpec) { s.Containers[0].Image = "R.io/app:1" }, []string{"spec.containers[0].image"}},
		"a reference is gone":          {func(s *corev1.PodSpec) { s.Containers[0].Image = "" }, []string{"spec.containers[0].image"}},
		"tags changed places": {func(s *corev1.PodSpec) { c := s.Containers; c[0].Image, c[1].Image = c[1].Image, c[0].Image },
			[]string{"spec.containers[0].image", "spec.containers[1].image"}},
		"an image volume changed": {func(s *corev1.PodSpec) { s.Volumes[1].Image.Reference = "r.io/model:2" }, []string{"spec.volumes[1].image.reference"}},
		"a container was removed": {func(s *corev1.PodSpec) { s.InitContainers = nil }, nil},
		"ephemeral containers of an image that is there and one that is not": {func(s *corev1.PodSpec) {
			s.EphemeralContainers = append(s.EphemeralContainers, s.EphemeralContainers[0], corev1.EphemeralContainer{})
			s.EphemeralContainers[2].Image = "r.io/shell"
		}, []string{"spec.ephemeralContainers[2].image"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := every()
			tt.change(&spec)
			now, old := decoded(t, podKind, corev1.Pod{Spec: spec}), decoded(t, podKind, corev1.Pod{Spec: every()})
			var got []string
			for _, image := range now.Added(old) {
				got = append(got, image.Field)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("added (-want +got):\n%s", diff)
			}
			if len(now.Added(nil)) != len(now.Images()) {
				t.Error("without an old object some images are not added")
			}
		})
	}
}

func TestPinsAreWrittenWhereTheyBelong(t *testing.T) {
	for kind, entry := range kinds(every()) {
		t.Run(kind.Kind, func(t *testing.T) {
			raw := marshal(t, entry.object)
			o := decoded(t, kind, entry.object)
			pins, want := map[string]string{}, o.Images()
			for i := range want {
				want[i].Reference += "@sha256:" + fmt.Sprint(i)
				pins[want[i].Pointer] = want[i].Reference
			}
			patched, err := apply(t, o, pins, raw)
			if err != nil {
				t.Fatal(err)
			}
			after, err := Decode(kind, patched)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, after.Images()); diff != "" {
				t.Errorf("images after the patch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPatchesAreSortedAndSmall(t *testing.T) {
	o := decoded(t, podKind, corev1.Pod{Spec: every()})
	got := o.Pin(map[string]string{"/spec/volumes/1/image/reference": "r.io/model:1@x", "/spec/containers/0/image": "r.io/app:1@x", "/spec/containers/1/image": "r.io/proxy:1"})
	want := `[{"op":"test","path":"/spec/containers/0/image","value":"r.io/app:1"},{"op":"replace","path":"/spec/containers/0/image","value":"r.io/app:1@x"},` +
		`{"op":"test","path":"/spec/volumes/1/image/reference","value":"r.io/model:1"},{"op":"replace","path":"/spec/volumes/1/image/reference","value":"r.io/model:1@x"}]`
	if diff := cmp.Diff(want, string(marshal(t, got))); diff != "" {
		t.Errorf("the patch (-want +got):\n%s", diff)
	}
	if patch := o.Pin(nil); patch != nil {
		t.Errorf("nothing to pin is %v", patch)
	}
}

func TestAPatchForAnotherObjectFails(t *testing.T) {
	o := decoded(t, podKind, corev1.Pod{Spec: every()})
	moved := every()
	moved.Containers[0], moved.Containers[1] = moved.Containers[1], moved.Containers[0]
	tests := map[string]struct {
		pointer string
		spec    corev1.PodSpec
	}{
		"another image is there":         {"/spec/containers/0/image", moved},
		"the container is not there":     {"/spec/containers/1/image", corev1.PodSpec{Containers: every().Containers[:1]}},
		"no image has the pointer":       {"/spec/containers/0/name", every()},
		"nothing has the pointer":        {"/spec/containers/7/image", every()},
		"no field has the pointer":       {"/spec/containers/0/stdin", every()},
		"the pointer is that of a field": {"spec.containers[0].image", every()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if patched, err := apply(t, o, map[string]string{tt.pointer: "r.io/app@sha256:1"}, marshal(t, corev1.Pod{Spec: tt.spec})); err == nil {
				t.Errorf("it is %s", patched)
			}
		})
	}
}

// apply a patch as the API server does.
func apply(t *testing.T, o *Object, pins map[string]string, raw []byte) ([]byte, error) {
	t.Helper()
	patch, err := jsonpatch.DecodePatch(marshal(t, o.Pin(pins)))
	if err != nil {
		t.Fatal(err)
	}
	if len(patch) == 0 {
		t.Fatal("there is no patch")
	}
	patched, err := patch.Apply(raw)
	if err == nil && !json.Valid(patched) {
		t.Fatalf("the patch makes %s", patched)
	}
	return patched, err
}
