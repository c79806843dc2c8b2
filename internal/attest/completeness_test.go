package attest

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// untold are the fields of a build's spec that its provenance does not have, with why. Every other one changes it.
var untold = map[string]string{
	"reasons[].type":            "reason has the types, for people; nothing of them reaches the image",
	"reasons[].old":             "what it was made from before is in the provenance of the build before",
	"reasons[].new":             "it is told by what it was made from",
	"retry":                     "attempt counts",
	"supersedes":                "says which build was cancelled",
	"inputs.spec":               "a digest of the request, whose fields are there",
	"inputs.upstream":           "a digest of digests that are all there",
	"inputs.scheduledFor":       "why now, not what",
	"inputs.requestedAt":        "why now, not what",
	"inputs.pushSecret":         "a credential, of which not even a digest gets out",
	"source.git.secretRef.name": "gives access to what the commit names",
	"source.inline.dockerfile":  "inputs.revision is a digest of all files",
	"source.inline.files{}":     "inputs.revision is a digest of all files",
	"source.pollInterval":       "when the source is looked at",
	"output.pushSecretRef.name": "gives access to the repository",
	"dockerfilePolicy":          "inputs.policy is a digest of it; it decides about publishing",
	"scan":                      "inputs.policy is a digest of it; it decides about publishing",
	"tests":                     "inputs.policy is a digest of it; it decides about publishing",
	"timeout":                   "a build that is over it has no image",
}

// mutations of the types that are looked at as a whole.
func mutateWhole(v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *metav1.Time:
		*p = metav1.NewTime(p.Add(time.Hour))
	case *metav1.Duration:
		p.Duration += time.Hour
	case *corev1.Toleration:
		p.Key += "x"
	case *corev1.ResourceRequirements:
		p.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("5Gi")}
	case *v1alpha1.DockerfilePolicy:
		p.FailOn += "x"
	case *v1alpha1.ScanPolicy:
		p.OnlyFixed = !p.OnlyFixed
	case *v1alpha1.TestPolicy:
		p.Shells += "x"
	default:
		return false
	}
	return true
}

// another value of the same form.
func another(s string) string {
	if digits, ok := strings.CutPrefix(s, "sha256:"); ok || gitCommit.MatchString(s) {
		last := map[bool]string{true: "e", false: "f"}[strings.HasSuffix(digits, "f")]
		return s[:len(s)-1] + last
	}
	return s + "x"
}

// mutate changes the leaves below v one after the other, and undoes each.
func mutate(v reflect.Value, path string, try func(path string)) {
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	switch v.Kind() {
	case reflect.String:
		v.SetString(another(v.String()))
		try(path)
	case reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
		try(path)
	case reflect.Pointer:
		if !v.IsNil() {
			clone := reflect.New(v.Type().Elem())
			clone.Elem().Set(v.Elem())
			v.Set(clone)
			mutate(clone.Elem(), path, try)
		}
	case reflect.Slice:
		for i := range v.Len() {
			mutate(v.Index(i), path+"[]", try)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, reflect.ValueOf("another").Convert(v.Type().Elem()))
			try(path + "{}")
		}
	case reflect.Struct:
		if mutateWhole(v) {
			try(path)
			break
		}
		for i := range v.NumField() {
			mutate(v.Field(i), join(path, v.Type().Field(i)), try)
		}
	}
	v.Set(before)
}

func join(path string, f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.TrimPrefix(path+"."+name, ".")
}

// leaves are the paths of a type that mutate can come to.
func leaves(t reflect.Type, path string, found map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer:
		leaves(t.Elem(), path, found)
	case reflect.Slice:
		leaves(t.Elem(), path+"[]", found)
	case reflect.Map:
		found[path+"{}"] = true
	case reflect.Struct:
		v := reflect.New(t).Elem()
		if mutateWhole(v) {
			found[path] = true
			return
		}
		for f := range t.Fields() {
			leaves(f.Type, join(path, f), found)
		}
	default:
		found[path] = true
	}
}

func payload(t *testing.T, b *v1alpha1.BaseImageBuild) string {
	t.Helper()
	st, err := Provenance(provenanceOf(b, pipeline.SubjectIndex))
	if err != nil {
		t.Fatal(err)
	}
	return string(st.Payload)
}

// A new field of the spec fails this test until it is in the provenance, or above with why not.
func TestEveryFieldOfTheSpecIsInTheProvenance(t *testing.T) {
	tried := map[string]bool{}
	for _, build := range []*v1alpha1.BaseImageBuild{gitBuild(), inlineBuild(), configMapBuild()} {
		before := payload(t, build)
		mutate(reflect.ValueOf(&build.Spec).Elem(), "", func(path string) {
			tried[path] = true
			_, hidden := untold[path]
			switch told := payload(t, build) != before; {
			case told && hidden:
				t.Errorf("%s is in the provenance, and the table says that it is not", path)
			case !told && !hidden:
				t.Errorf("%s makes no difference to the provenance: put it there, or say in the table why not", path)
			}
		})
		if payload(t, build) != before {
			t.Fatal("a change was not undone")
		}
	}
	all := map[string]bool{}
	leaves(reflect.TypeFor[v1alpha1.BaseImageBuildSpec](), "", all)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if !tried[path] {
			t.Errorf("no build of this test sets %s", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(untold)) {
		if !all[path] {
			t.Errorf("the spec has no field %s", path)
		}
	}
}

// Every digest of a report is among the byproducts, also of a kind that is new.
func TestEveryReportIsInTheProvenance(t *testing.T) {
	build := gitBuild()
	before := payload(t, build)
	try := func(path string) {
		if payload(t, build) == before {
			t.Errorf("%s makes no difference to the provenance", path)
		}
	}
	reports := reflect.ValueOf(&build.Status.Scan.Platforms[0]).Elem()
	for i := range reports.NumField() {
		if f := reports.Field(i); f.Kind() == reflect.String {
			if !sha256Digest.MatchString(f.String()) && f.String() != amd64 {
				t.Fatalf("the build of this test does not set %s", reports.Type().Field(i).Name)
			}
			mutate(f, reports.Type().Field(i).Name, try)
		}
	}
	mutate(reflect.ValueOf(&build.Status.Tests.Platforms[0].Report).Elem(), "Report", try)
	mutate(reflect.ValueOf(&build.Status.Platforms).Elem(), "platforms", func(path string) {
		if strings.HasSuffix(path, "digest") {
			try(path)
		}
	})
}
