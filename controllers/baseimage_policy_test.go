package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// An upgrade must not build every image: these digests are in the status of images that older versions have built.
func TestTheDigestOfGatesNeverChanges(t *testing.T) {
	full := v1alpha1.BaseImageSpec{
		DockerfilePolicy: v1alpha1.DockerfilePolicy{FailOn: v1alpha1.PolicyWarn, ExtraRules: &v1alpha1.LocalReference{Name: "rules"},
			Exceptions: []v1alpha1.PolicyException{{Rule: "deny_add", Reason: "a tarball", Expires: metav1.Unix(1_800_000_000, 0)}}},
		Scan:  v1alpha1.ScanPolicy{OnlyFixed: true, Grype: v1alpha1.ScannerGate{FailOn: v1alpha1.ThresholdHigh}},
		Tests: v1alpha1.TestPolicy{User: new(int64(1000)), Shells: v1alpha1.Allow, RequiredLabels: []string{"team"}},
	}
	for want, spec := range map[string]*v1alpha1.BaseImageSpec{
		"": {Dockerfile: "Dockerfile", Schedule: "@daily"},
		"sha256:608310d4455599392e02378b3b669a8e7e3eb8e66b8eecb955015be95e4e37e6": &full,
	} {
		if got := gatesDigest(spec); got != want {
			t.Errorf("digest = %s, it was %s", got, want)
		}
	}
}

func TestGatesThatChangeBuildAgain(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.BaseImage)
		want   []v1alpha1.BuildReasonType
	}{
		"as it was": {change: func(*v1alpha1.BaseImage) {}},
		"a waiver":  {change: func(i *v1alpha1.BaseImage) { i.Spec.Scan.Waivers = []v1alpha1.Waiver{{ID: "CVE-1"}} }, want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonPolicyChanged}},
		"an exception": {change: func(i *v1alpha1.BaseImage) {
			i.Spec.DockerfilePolicy.Exceptions = []v1alpha1.PolicyException{{Rule: "deny_add"}}
		}, want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonPolicyChanged}},
		"a shell is allowed": {change: func(i *v1alpha1.BaseImage) { i.Spec.Tests.Shells = v1alpha1.Allow }, want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonPolicyChanged}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := decidable(t)
			s := &state{image: image, set: standard(image), now: at(t, "2026-11-25T10:00:00Z"),
				last: &v1alpha1.BuildSummary{Name: "one-1", Attempt: 1, Phase: v1alpha1.PhaseFailed, CreatedAt: new(metav1.NewTime(at(t, "2026-11-23T10:00:01Z"))),
					Inputs: v1alpha1.BuildInputs{Spec: specDigest(&image.Spec), Policy: gatesDigest(&image.Spec)}}}
			tc.change(image)
			p, err := decide(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := reasonTypes(p.reasons); got != reasonTypes(reasonsOf(tc.want)) {
				t.Errorf("reasons = %q, want %v", got, tc.want)
			}
		})
	}
}

func reasonsOf(types []v1alpha1.BuildReasonType) []v1alpha1.BuildReason {
	var out []v1alpha1.BuildReason
	for _, t := range types {
		out = append(out, v1alpha1.BuildReason{Type: t})
	}
	return out
}

func TestEditedGatesTakeThePlaceOfARunningBuild(t *testing.T) {
	image := decidable(t)
	running := attempt(1, v1alpha1.PhaseScanning, "SpecChanged")
	running.Spec.Inputs.Policy = gatesDigest(&image.Spec)
	running.Spec.Supersedes = "an-older-one"
	image.Spec.Scan.OnlyFixed = true
	p := plan{inputs: v1alpha1.BuildInputs{Policy: gatesDigest(&image.Spec)}}
	p.because(v1alpha1.BuildReasonPolicyChanged, "", "x")
	if !p.supersedes(&running) {
		t.Error("a build that is judged by what is not asked for any more runs on")
	}
	p.inputs.Policy = running.Spec.Inputs.Policy
	if p.supersedes(&running) {
		t.Error("a ConfigMap that changes all the time keeps every build from ending")
	}
}

// The ConfigMaps of rules and VEX documents are looked at with the source, also where the source is part of the spec.
func TestRulesThatChangeAreSeen(t *testing.T) {
	rules := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "rules"}, Data: map[string]string{"a.rego": "package team"}}
	tests := map[string]struct {
		change  func(context.Context, *testing.T, client.Client)
		changed bool
		failure string
	}{
		"as they were": {change: func(context.Context, *testing.T, client.Client) {}},
		"another rule": {changed: true, change: func(ctx context.Context, t *testing.T, c client.Client) {
			other := rules.DeepCopy()
			other.Data["a.rego"] = "package team\n"
			if err := c.Update(ctx, other); err != nil {
				t.Fatal(err)
			}
		}},
		"deleted": {failure: pipeline.ReasonPolicyNotFound, change: func(ctx context.Context, t *testing.T, c client.Client) {
			if err := c.Delete(ctx, rules.DeepCopy()); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := &inputs{commit: "c0ffee", digest: "sha256:1", dockerfile: "FROM alpine:3\n"}
			c := fake.NewClientBuilder().WithObjects(rules.DeepCopy()).Build()
			r := &BaseImageReconciler{Git: in, Upstreams: in, Live: c, Config: &config.Operator{Defaults: *defaults()}}
			s := restingState(t, in)
			s.image.Namespace = ""
			s.image.Spec.DockerfilePolicy.ExtraRules = &v1alpha1.LocalReference{Name: "rules"}
			by, err := fileReader{live: c}.judgedBy(t.Context(), "", &s.image.Spec.DockerfilePolicy, &s.image.Spec.Scan)
			if err != nil || by.rules == "" {
				t.Fatal(by, err)
			}
			s.last.Inputs.Rules = by.rules
			r.inputsChanged(t.Context(), s, &plan{})
			s.now = s.now.Add(5 * time.Minute)
			tc.change(t.Context(), t, c)
			p := &plan{}
			if got := r.inputsChanged(t.Context(), s, p); got != tc.changed {
				t.Errorf("changed = %t, want %t", got, tc.changed)
			}
			if got := failureOf(p); got != tc.failure {
				t.Errorf("Resolved says %q, want %q", got, tc.failure)
			}
		})
	}
}

func TestAnInlineSourceIsLookedAtForItsRules(t *testing.T) {
	image := decidable(t)
	image.Spec.Source = v1alpha1.Source{Inline: &v1alpha1.InlineSource{}}
	if got := newSettings(&image.Spec, defaults()).pollSource; got != 0 {
		t.Errorf("an inline source alone is polled every %s", got)
	}
	image.Spec.Scan.VEXRef = &v1alpha1.LocalReference{Name: "vex"}
	if got := newSettings(&image.Spec, defaults()).pollSource; got == 0 {
		t.Error("a VEX document that changes is never seen")
	}
}
