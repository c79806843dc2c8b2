package controllers

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func attempt(n int64, phase v1alpha1.BuildPhase, reason string) v1alpha1.BaseImageBuild {
	b := v1alpha1.BaseImageBuild{ObjectMeta: metav1.ObjectMeta{Name: "one-" + string(rune('0'+n))}}
	b.Spec = v1alpha1.BaseImageBuildSpec{Attempt: n, Reason: reason,
		Output: v1alpha1.Output{Repository: "registry.example/base/one", Tags: []v1alpha1.Tag{"1", "latest"}},
		Inputs: v1alpha1.BuildInputs{Revision: "c0ffee"}}
	for r := range strings.SplitSeq(reason, ",") {
		b.Spec.Reasons = append(b.Spec.Reasons, v1alpha1.BuildReason{Type: v1alpha1.BuildReasonType(r)})
	}
	b.Status.Phase = phase
	switch phase {
	case v1alpha1.PhaseSucceeded:
		b.Status.Digest = digestA
		b.Status.Platforms = []v1alpha1.PlatformImage{{Platform: "linux/amd64", Size: 2_100_000}, {Platform: "linux/arm64", Size: 1_900_000}}
	case v1alpha1.PhaseFailed:
		b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse,
			Reason: v1alpha1.ReasonBuildFailed, Message: "linux/amd64: container kaniko exited with 1"}}
	}
	return b
}

// brief is a condition as a table can hold it.
type brief struct{ Type, Status, Reason string }

func TestImageStatusConditions(t *testing.T) {
	promoted := attempt(1, v1alpha1.PhaseSucceeded, "SpecChanged")
	tests := map[string]struct {
		builds  []v1alpha1.BaseImageBuild
		failure error
		last    *v1alpha1.BuildSummary
		reasons []v1alpha1.BuildReason
		change  func(*v1alpha1.BaseImage)
		want    []brief
		says    string
		image   bool
	}{
		"a first build that runs is not ready yet": {
			builds: []v1alpha1.BaseImageBuild{attempt(1, v1alpha1.PhaseBuilding, "SpecChanged")},
			want:   []brief{{"Ready", "False", "Building"}, {"Reconciling", "True", "Building"}}, says: "Build one-1 (SpecChanged) is running"},
		"a promoted build is ready": {
			builds: []v1alpha1.BaseImageBuild{promoted}, image: true,
			want: []brief{{"Ready", "True", "Promoted"}}, says: "registry.example/base/one:1,latest is " + digestA},
		"a failed build is stalled and keeps the image": {
			builds: []v1alpha1.BaseImageBuild{promoted, attempt(2, v1alpha1.PhaseFailed, "Scheduled")}, image: true,
			want: []brief{{"Ready", "False", "BuildFailed"}, {"Stalled", "True", "BuildFailed"}}, says: "Build one-2 failed: linux/amd64: container kaniko exited with 1"},
		"a scheduled build leaves a ready image ready": {
			builds: []v1alpha1.BaseImageBuild{promoted, attempt(2, v1alpha1.PhaseBuilding, "Scheduled")}, image: true, change: wasReady,
			want: []brief{{"Ready", "True", "Promoted"}, {"Reconciling", "True", "Building"}}, says: "Build one-2 (Scheduled) is running"},
		"a changed spec is not ready until it is built": {
			builds: []v1alpha1.BaseImageBuild{promoted, attempt(2, v1alpha1.PhaseBuilding, "SpecChanged,Scheduled")}, image: true, change: wasReady,
			want: []brief{{"Ready", "False", "Building"}, {"Reconciling", "True", "Building"}}},
		"a source that can't be reached is retried": {
			failure: pipeline.Transientf(pipeline.ReasonSourceUnavailable, "resolving: %w", errors.New("connection refused")),
			want:    []brief{{"Ready", "False", "SourceUnavailable"}, {"Reconciling", "True", "SourceUnavailable"}}, says: "Resolving: connection refused"},
		"a ref that does not exist is stalled": {
			failure: pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.ref: no such ref"),
			want:    []brief{{"Ready", "False", "SourceNotFound"}, {"Stalled", "True", "SourceNotFound"}}, says: "spec.source.git.ref: no such ref"},
		"an error that nobody classified is ours": {
			failure: errors.New("nil map"),
			want:    []brief{{"Ready", "False", "InternalError"}, {"Reconciling", "True", "InternalError"}}},
		"a failed build stays failed after it was deleted": {
			builds: []v1alpha1.BaseImageBuild{promoted}, image: true,
			last: &v1alpha1.BuildSummary{Name: "one-2", Attempt: 2, Phase: v1alpha1.PhaseFailed},
			want: []brief{{"Ready", "False", "BuildFailed"}, {"Stalled", "True", "BuildFailed"}}, says: "Build one-2 failed and was deleted"},
		"a promoted image stays ready after its build was deleted": {
			last: &v1alpha1.BuildSummary{Name: "one-2", Attempt: 2, Phase: v1alpha1.PhaseSucceeded}, image: true,
			change: func(i *v1alpha1.BaseImage) { i.Status.Image = promotedImage(&promoted) },
			want:   []brief{{"Ready", "True", "Promoted"}}},
		"a due build of a suspended image is said to wait": {
			builds:  []v1alpha1.BaseImageBuild{promoted},
			reasons: []v1alpha1.BuildReason{{Type: v1alpha1.BuildReasonSpecChanged}}, image: true,
			change: func(i *v1alpha1.BaseImage) { i.Spec.Suspend = true },
			want:   []brief{{"Ready", "False", "Suspended"}}, says: "A build is due (SpecChanged), but spec.suspend is true"},
		"a suspended image that is up to date is ready": {
			builds: []v1alpha1.BaseImageBuild{promoted}, image: true,
			change: func(i *v1alpha1.BaseImage) { i.Spec.Suspend = true },
			want:   []brief{{"Ready", "True", "Promoted"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := decidable(t)
			image.Generation = 7
			if tc.change != nil {
				tc.change(image)
			}
			status := imageStatus(&state{image: image, builds: tc.builds, last: tc.last}, plan{reasons: tc.reasons}, tc.failure)
			var got []brief
			for _, c := range status.Conditions {
				got = append(got, brief{c.Type, string(c.Status), c.Reason})
				if c.ObservedGeneration != 7 {
					t.Errorf("condition %s observed generation %d, want 7", c.Type, c.ObservedGeneration)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
			if !strings.HasPrefix(ready.Message, tc.says) {
				t.Errorf("message %q does not start with %q", ready.Message, tc.says)
			}
			if (status.Image != nil) != tc.image {
				t.Errorf("image = %v, want one: %t", status.Image, tc.image)
			}
		})
	}
}

func wasReady(i *v1alpha1.BaseImage) {
	i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPromoted}}
}

func TestImageStatusDescribesThePromotedImage(t *testing.T) {
	image := decidable(t)
	status := imageStatus(&state{image: image, builds: []v1alpha1.BaseImageBuild{attempt(1, v1alpha1.PhaseSucceeded, "SpecChanged")}}, plan{next: at(t, "2026-11-29T00:00:00Z")}, nil)
	want := v1alpha1.PromotedImage{
		Reference: "registry.example/base/one@" + digestA, Digest: digestA, ShortDigest: "aaaaaaaaaaaa",
		Repository: "registry.example/base/one", Tags: []v1alpha1.Tag{"1", "latest"},
		Platforms:     []v1alpha1.PlatformImage{{Platform: "linux/amd64", Size: 2_100_000}, {Platform: "linux/arm64", Size: 1_900_000}},
		Architectures: "amd64,arm64", Size: "2.1 MB", Revision: "c0ffee", Build: "one-1",
	}
	if diff := cmp.Diff(&want, status.Image); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	if status.NextBuild != "2026-11-29T00:00:00Z" {
		t.Errorf("nextBuild = %q", status.NextBuild)
	}
	image.Spec.Suspend = true
	status = imageStatus(&state{image: image}, plan{next: at(t, "2026-11-29T00:00:00Z")}, nil)
	if status.NextBuild != "" {
		t.Errorf("nextBuild of a suspended image = %q, want none", status.NextBuild)
	}
}

func TestSentenceIsBoundedAndKeepsFieldNames(t *testing.T) {
	for in, want := range map[string]string{
		"reading x: gone":       "Reading x: gone",
		"spec.source: is wrong": "spec.source: is wrong",
		"linux/amd64: failed":   "linux/amd64: failed",
		"":                      "",
	} {
		if got := sentence(in); got != want {
			t.Errorf("sentence(%q) = %q, want %q", in, got, want)
		}
	}
	if got := sentence(strings.Repeat("ü", maxMessage)); len(got) > maxMessage+4 || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("sentence of a long text has %d bytes or is not valid", len(got))
	}
}
