//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// testImages has images refused that are not what the policy asks for. Each message names the image, the policy, what was expected,
// what was found, and what to do.
func (a *admission) testImages(t *testing.T) {
	ns := a.tenant(t)
	unsigned := a.variant(t, "unsigned")
	foreign := a.sign(t, outsider, "cosign3", a.variant(t, "foreign"), "--recursive")
	foreignTags := a.sign(t, outsider, "cosign", a.variant(t, "foreign-tags"), "--recursive")
	partial := a.sign(t, team, "cosign3", a.variant(t, "partial"))
	children := a.variant(t, "children")
	for _, child := range children.children {
		a.sign(t, team, "cosign", published{repository: children.repository, digest: child})
	}
	for name, test := range map[string]struct {
		image string
		words []string
	}{
		"nobody has signed it, by tag":    {unsigned.tag(), []string{"it is not signed", signerIdentity, a.subject(team), "cosign verify "}},
		"nobody has signed it, by digest": {unsigned.byDigest(), []string{"it is not signed", signerIdentity, "cosign verify "}},
		"somebody else has, in a bundle":  {foreign.byDigest(), []string{"the valid signatures are by", a.subject(outsider), a.subject(team), "cosign verify "}},
		"somebody else has, in a tag":     {foreignTags.byDigest(), []string{"the valid signatures are by", a.subject(outsider), a.subject(team), "cosign verify "}},
		"only the index is signed":        {partial.byDigest(), []string{"linux/amd64", partial.children[0], "it is not signed"}},
		"only the platforms are":          {children.byDigest(), []string{children.digest, "it is not signed"}},
		"there is no such tag":            {unsigned.repository + ":v2", []string{"check the name"}},
		"it is no reference":              {registryHost + "/" + a.namespace + "/UPPER", []string{"is not an image reference"}},
		"no policy is for it":             {registryHost + "/somewhere/else:v1", []string{"no ImageAdmissionPolicy is for this image", "spec.images"}},
	} {
		t.Run("refused if "+name, func(t *testing.T) {
			t.Parallel()
			words := append(test.words, "Pod refused", "is refused", "spec.containers[0].image", test.image, "fix: ")
			if strings.Contains(test.image, a.namespace) && !strings.Contains(test.image, "UPPER") {
				words = append(words, "policy "+ns)
			}
			refused(t, podOf(ns, "refused", test.image), forbidden, words...)
		})
	}
	for name, image := range map[string]published{
		"in bundles": a.sign(t, team, "cosign3", a.variant(t, "team-bundles"), "--recursive"),
		"in tags":    a.sign(t, team, "cosign", a.variant(t, "team-tags"), "--recursive"),
	} {
		t.Run("admitted as the team has signed it "+name, func(t *testing.T) {
			t.Parallel()
			if got := admitted(t, podOf(ns, "team", image.tag())).Spec.Containers[0].Image; got != image.pinned() {
				t.Errorf("the pod has %s, want %s", got, image.pinned())
			}
		})
	}
	t.Run("refused once its tag has moved", func(t *testing.T) {
		t.Parallel()
		good := a.sign(t, team, "cosign3", a.push(t, "moves", "before"), "--recursive")
		pod := podOf(ns, "moved", good.tag())
		if got := admitted(t, pod).Spec.Containers[0].Image; got != good.pinned() {
			t.Errorf("the pod has %s, want %s", got, good.pinned())
		}
		bad := a.push(t, "moves", "after")
		a.refusedSoon(t, pod, good.pinned(), "policy "+ns, bad.tag(), bad.digest, "it is not signed")
		if got := admitted(t, podOf(ns, "stays", good.pinned())).Spec.Containers[0].Image; got != good.pinned() {
			t.Errorf("the pod has %s, want %s", got, good.pinned())
		}
	})
}

// refusedSoon is refused for what a tag means now: what it meant may be remembered for a moment, and then is what the pod gets.
func (a *admission) refusedSoon(t *testing.T, pod *corev1.Pod, meanwhile string, words ...string) {
	t.Helper()
	eventually(t, 2*time.Minute, "the pod to be refused with all of "+strings.Join(words, " | "), func(ctx context.Context) (bool, string) {
		made, err := clientset.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return codeOf(err) == forbidden && lacks(err.Error(), words) == "", err.Error()
		}
		if got := made.Spec.Containers[0].Image; got != meanwhile {
			t.Fatalf("the pod was admitted with %s", got)
		}
		return false, "it is admitted as before"
	})
}

// testAttestations asks for statements about images.
func (a *admission) testAttestations(t *testing.T) {
	reviewed := a.sign(t, team, "cosign3", a.variant(t, "reviewed"), "--recursive")
	a.attest(t, team, "cosign3", reviewed, reviewType, map[string]string{"result": "good"})
	byOutsider := a.sign(t, team, "cosign3", a.variant(t, "reviewed-by-outsider"), "--recursive")
	a.attest(t, outsider, "cosign3", byOutsider, reviewType, map[string]string{"result": "good"})
	signed := a.signed()
	for name, test := range map[string]struct {
		image published
		asked v1alpha1.RequiredAttestation
		words []string
	}{
		"there is none":         {signed, v1alpha1.RequiredAttestation{PredicateType: reviewType}, []string{reviewType, "there is none of this type"}},
		"it is of another type": {reviewed, v1alpha1.RequiredAttestation{PredicateType: approvalType}, []string{approvalType, "there is none of this type"}},
		"its type only begins like it": {reviewed, v1alpha1.RequiredAttestation{PredicateType: reviewType + "/v2"},
			[]string{reviewType + "/v2", "there is none of this type"}},
		"somebody else says so": {byOutsider, v1alpha1.RequiredAttestation{PredicateType: reviewType}, []string{reviewType, a.subject(outsider), a.subject(team)}},
		"it says something else": {reviewed, v1alpha1.RequiredAttestation{PredicateType: reviewType, Rego: "package review\nimport rego.v1\n" +
			"deny contains sprintf(\"the result is %v, and has to be excellent\", [input.predicate.result]) if input.predicate.result != \"excellent\"\n"},
			[]string{reviewType, "the result is good, and has to be excellent"}},
	} {
		t.Run("refused if "+name, func(t *testing.T) {
			t.Parallel()
			ns := a.tenant(t, asking(test.asked))
			refused(t, podOf(ns, "refused", test.image.byDigest()), forbidden, append(test.words, test.image.byDigest(), "policy "+ns, "fix: ", "cosign verify-attestation ")...)
		})
	}
	t.Run("refused as soon as it is too old", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t, asking(v1alpha1.RequiredAttestation{PredicateType: reviewType, MaxAge: &metav1.Duration{Duration: time.Minute}}))
		image := a.sign(t, team, "cosign3", a.variant(t, "ages"), "--recursive")
		a.attest(t, team, "cosign3", image, reviewType, map[string]string{"result": "good"})
		pod := podOf(ns, "ages", image.byDigest())
		admitted(t, pod)
		a.refusedSoon(t, pod, image.byDigest(), "policy "+ns, image.byDigest(), reviewType, "1m", "fix: ")
	})
	t.Run("admitted if it says what is asked for", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t, asking(v1alpha1.RequiredAttestation{PredicateType: reviewType, Rego: "package review\nimport rego.v1\n" +
			"deny contains \"it is not good\" if input.predicate.result != \"good\"\n"}))
		admitted(t, podOf(ns, "good", reviewed.tag()))
	})
}

func asking(attestations ...v1alpha1.RequiredAttestation) func(*v1alpha1.ImageAdmissionPolicySpec) {
	return func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Attestations = attestations }
}
