//go:build apiserver

package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// column is a header and its cell, and whether kubectl shows it without -o wide.
type column struct {
	Header string
	Cell   any
	Wide   bool
}

func TestBaseImageColumns(t *testing.T) {
	namespace := newNamespace(t)
	image := created(t, minimalBaseImage(namespace, "base"))
	built := metav1.NewTime(time.Now().Add(-72 * time.Hour))
	image.Status = v1alpha1.BaseImageStatus{
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: "Other", LastTransitionTime: built},
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPromoted, LastTransitionTime: built},
			{Type: v1alpha1.ConditionResolved, Status: metav1.ConditionFalse, Reason: "SourceUnavailable", LastTransitionTime: built},
		},
		Image: &v1alpha1.PromotedImage{
			Reference: "registry.example/base@" + digest, Digest: digest, ShortDigest: "aaaaaaaaaaaa", Repository: "registry.example/base",
			Architectures: "amd64,arm64", Size: "2.1 MB", BuiltAt: &built, Packages: new(int32(14)), Tests: "1/2, 1 skipped",
			Signature: &v1alpha1.ImageSignature{Identity: "a", Issuer: "a", SignedAt: metav1.NewTime(time.Now().Add(-48 * time.Hour)),
				Formats: []v1alpha1.SignatureFormat{v1alpha1.FormatLegacy}, VerifyCommand: "a", AttestationCommand: "a"},
			Vulnerabilities: &v1alpha1.VulnerabilityCounts{High: 2, Medium: 3, Low: 4, Negligible: 5, Unknown: 6},
		},
		LatestBuild: &v1alpha1.BuildSummary{Name: "base-1", Attempt: 1, Reason: "SpecChanged"},
		NextBuild:   "2026-01-04T00:00:00Z",
	}
	writeStatus(t, image)
	want := []column{
		{"Name", "base", false},
		{"Ready", "True", false},
		{"Reason", "Promoted", false},
		{"Digest", "aaaaaaaaaaaa", false},
		{"Platforms", "amd64,arm64", false},
		{"Critical", float64(0), false},
		{"Signed", "2d", false},
		{"Last Built", "3d", false},
		{"Next Build", "2026-01-04T00:00:00Z", false},
		{"Age", age, false},
		{"Repository", "registry.example/base", true},
		{"Resolved", "False", true},
		{"Size", "2.1 MB", true},
		{"High", float64(2), true},
		{"Packages", float64(14), true},
		{"Tests", "1/2, 1 skipped", true},
		{"Build Reason", "SpecChanged", true},
	}
	if diff := cmp.Diff(want, table(t, "baseimages", namespace)); diff != "" {
		t.Error(diff)
	}
}

// No vulnerabilities are not the same as nothing that could have any.
func TestColumnsOfAnImageWithoutPackages(t *testing.T) {
	namespace := newNamespace(t)
	image := created(t, minimalBaseImage(namespace, "base"))
	image.Status.Image = &v1alpha1.PromotedImage{
		Reference: "registry.example/base@" + digest, Digest: digest, Repository: "registry.example/base", Packages: new(int32(0)),
	}
	writeStatus(t, image)
	want := map[string]any{"Packages": float64(0), "Critical": nil, "High": nil}
	got := map[string]any{}
	for _, c := range table(t, "baseimages", namespace) {
		if _, asked := want[c.Header]; asked {
			got[c.Header] = c.Cell
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBaseImageColumnsWithoutStatus(t *testing.T) {
	namespace := newNamespace(t)
	created(t, minimalBaseImage(namespace, "base"))
	for _, c := range table(t, "baseimages", namespace) {
		filled := c.Header == "Name" || c.Header == "Age" || c.Header == "Repository"
		if (c.Cell != nil && c.Cell != "") != filled {
			t.Errorf("%s of a new object is %v", c.Header, c.Cell)
		}
	}
}

func TestBuildColumns(t *testing.T) {
	namespace := newNamespace(t)
	build := created(t, minimalBuild(namespace, "base-2"))
	build.Status = v1alpha1.BaseImageBuildStatus{
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionBuilt, Status: metav1.ConditionTrue, Reason: "Succeeded", Message: "other", LastTransitionTime: metav1.Now()},
			{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: "BuildFailed", Message: "linux/amd64: it broke", LastTransitionTime: metav1.Now()},
		},
		Phase:    v1alpha1.PhaseFailed,
		Duration: "1m12s",
	}
	writeStatus(t, build)
	want := []column{
		{"Name", "base-2", false},
		{"Base Image", "base", false},
		{"Attempt", float64(2), false},
		{"Reason", "Scheduled,UpstreamChanged", false},
		{"Phase", "Failed", false},
		{"Queue", nil, false},
		{"Duration", "1m12s", false},
		{"Age", age, false},
		{"Message", "linux/amd64: it broke", true},
	}
	if diff := cmp.Diff(want, table(t, "baseimagebuilds", namespace)); diff != "" {
		t.Error(diff)
	}
}

func writeStatus(t *testing.T, o client.Object) {
	t.Helper()
	if err := k8s.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// age stands for the age of an object that was just made.
const age = "a few seconds"

// table is what kubectl get shows of the one object in a namespace.
func table(t *testing.T, resource, namespace string) []column {
	t.Helper()
	shown := metav1.Table{}
	if err := json.Unmarshal(getTable(t, resource, namespace), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Rows) != 1 || len(shown.Rows[0].Cells) != len(shown.ColumnDefinitions) {
		t.Fatalf("not a table with one row: %+v", shown)
	}
	var out []column
	for i, d := range shown.ColumnDefinitions {
		c := column{Header: d.Name, Cell: shown.Rows[0].Cells[i], Wide: d.Priority > 0}
		if seconds, err := time.ParseDuration(fmt.Sprint(c.Cell)); d.Name == "Age" && err == nil && seconds < time.Minute {
			c.Cell = age
		}
		out = append(out, c)
	}
	return out
}

func getTable(t *testing.T, resource, namespace string) []byte {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSuffix(cfg.Host, "/") + "/apis/basewright.dev/v1alpha1/namespaces/" + namespace + "/" + resource
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	res, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, res.Status, err)
	}
	return body
}
