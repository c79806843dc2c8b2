package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

func TestPodsAreAdmittedByTheirImages(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	unsigned := w.push(t, "shop/unsigned", "1").String()
	foreign := w.sign(t, w.push(t, "shop/foreign", "1"), "somebody").String()
	for name, tt := range map[string]struct {
		pod  *corev1.Pod
		want wants
	}{
		"an image that our signer has signed is admitted": {pod(good), admitted},
		"one that nobody has signed is refused, with the command that shows it": {pod(unsigned),
			wants{http.StatusForbidden, []string{"Pod cart is refused:", "spec.containers[0].image (policy shop)", "image: " + unsigned, "policy shop", "not signed", identity(signer), "cosign verify"}}},
		"one that somebody else has signed is refused, and the message names them": {pod(foreign),
			wants{http.StatusForbidden, []string{identity("somebody"), issuer, identity(signer)}}},
		"one bad image among good ones is enough": {pod(good, unsigned), wants{http.StatusForbidden, []string{"spec.containers[1].image"}}},
		"an image that no policy is for is refused": {pod("registry.example/x@" + digestOf('a')),
			wants{http.StatusForbidden, []string{"no ImageAdmissionPolicy is for this image", "registry.example/x"}}},
		"a reference that is none is refused":     {pod("Not An Image"), wants{http.StatusForbidden, []string{"not an image reference"}}},
		"an image that does not exist is refused": {pod(w.host + "/shop/good@" + digestOf('b')), wants{http.StatusForbidden, []string{"spec.containers[0].image"}}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.want.check(t, w.validate(t, tt.pod, nil))
			tt.want.check(t, w.mutate(t, tt.pod, nil))
		})
	}
}

func TestEveryImageOfAPodCounts(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	bad := w.push(t, "shop/bad", "1").String()
	for field, place := range map[string]func(*corev1.PodSpec){
		"spec.initContainers[0].image": func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "i", Image: bad}} },
		"spec.ephemeralContainers[0].image": func(s *corev1.PodSpec) {
			s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: bad}}}
		},
		"spec.volumes[0].image.reference": func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: bad}}}}
		},
	} {
		t.Run(field, func(t *testing.T) {
			p := pod(good)
			place(&p.Spec)
			refused := wants{http.StatusForbidden, []string{field}}
			refused.check(t, w.validate(t, p, nil))
			refused.check(t, w.mutate(t, p, nil))
			// As an update, the way ephemeral containers come.
			refused.check(t, w.validate(t, p, pod(good)))
		})
	}
}

// A user may write these, so they decide nothing.
func TestMetadataDecidesNothing(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	bad := w.push(t, "shop/bad", "1").String()
	for name, change := range map[string]func(*metav1.ObjectMeta){
		"a deletion timestamp": func(m *metav1.ObjectMeta) { m.DeletionTimestamp = new(metav1.Now()) },
		"an owner reference": func(m *metav1.ObjectMeta) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "x", UID: "x", Controller: new(true)}}
		},
		"annotations of mirror pods": func(m *metav1.ObjectMeta) {
			m.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x", "kubernetes.io/config.source": "file"}
		},
		"labels of ours": func(m *metav1.ObjectMeta) {
			m.Labels = map[string]string{"app.kubernetes.io/managed-by": "basewright", v1alpha1.AdmissionLabel: "off"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod(bad)
			change(&p.ObjectMeta)
			wants{code: http.StatusForbidden}.check(t, w.validate(t, p, nil))
			old := pod(w.host + "/shop/other@" + digestOf('a'))
			change(&old.ObjectMeta)
			wants{code: http.StatusForbidden}.check(t, w.validate(t, p, old))
		})
	}
}

func TestTagsArePinned(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	digest := w.sign(t, w.push(t, "shop/app", "1.4"), signer)
	tagged := w.host + "/shop/app:1.4"
	got := w.mutate(t, pod(tagged, tagged), nil)
	admitted.check(t, got)
	var values []any
	for _, p := range got.Patches {
		if p.Operation != "test" {
			values = append(values, p.Value)
		}
	}
	want := tagged + "@" + digest.DigestStr()
	if len(values) != 2 || values[0] != want || values[1] != want {
		t.Errorf("got %v, want %s twice", got.Patches, want)
	}
	admitted.check(t, w.validate(t, pod(want), nil))
	if got := w.mutate(t, pod(want), nil); !got.Allowed || len(got.Patches) > 0 {
		t.Errorf("what is pinned is patched again: %v", got)
	}
	wants{http.StatusForbidden, []string{"has not pinned it", want}}.check(t, w.validate(t, pod(tagged), nil))
	deployment := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: "cart"}}
	deployment.Spec.Template.Spec = pod(tagged).Spec
	if got := w.validate(t, deployment, nil); !got.Allowed || len(got.Patches) > 0 {
		t.Errorf("a template with a tag: %+v", got)
	}
}

func TestAMovedTagIsAnotherImage(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	w.sign(t, w.push(t, "shop/app", "1.4"), signer)
	w.push(t, "shop/app", "1.4")
	wants{http.StatusForbidden, []string{"shop/app:1.4", "not signed"}}.check(t, w.mutate(t, pod(w.host+"/shop/app:1.4"), nil))
}

func TestDigestsAreRequired(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Digest = v1alpha1.DigestRequire })
	digest := w.sign(t, w.push(t, "shop/app", "1.4"), signer)
	wants{http.StatusForbidden, []string{"asks for a digest", digest.DigestStr()}}.check(t, w.mutate(t, pod(w.host+"/shop/app:1.4"), nil))
	admitted.check(t, w.mutate(t, pod(digest.String()), nil))
}

func TestAllPoliciesThatMatchMustHold(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "ours")
	w.policy(t, "theirs", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Identities[0].Subject = identity("somebody") })
	one := w.sign(t, w.push(t, "shop/one", "1"), signer)
	wants{http.StatusForbidden, []string{"policy theirs"}}.check(t, w.validate(t, pod(one.String()), nil))
	w.judge = w.newJudge(t) // What does not hold is remembered for a moment.
	admitted.check(t, w.validate(t, pod(w.sign(t, one, "somebody").String()), nil))
}

func TestModes(t *testing.T) {
	for mode, tt := range map[v1alpha1.PolicyMode]struct {
		want     wants
		warnings int
	}{
		v1alpha1.ModeEnforce: {wants{code: http.StatusForbidden}, 0},
		v1alpha1.ModeWarn:    {admitted, 1},
		v1alpha1.ModeAudit:   {admitted, 0},
	} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = mode })
			got := w.validate(t, pod(w.push(t, "shop/bad", "1").String()), nil)
			tt.want.check(t, got)
			if len(got.Warnings) != tt.warnings || tt.warnings > 0 && !strings.HasPrefix(got.Warnings[0], "admitted, but with mode Enforce it would be refused: ") {
				t.Errorf("warnings: %q", got.Warnings)
			}
			if !strings.Contains(got.AuditAnnotations["findings"], "not signed") || got.AuditAnnotations["decision"] == "allowed" {
				t.Errorf("audit annotations: %q", got.AuditAnnotations)
			}
			if w.matched["shop"] != 1 || w.denied["shop"] != 1 {
				t.Errorf("matched %v, denied %v", w.matched, w.denied)
			}
			if got := w.mutate(t, pod(w.host+"/shop/bad:1"), nil); got.Allowed != (tt.want.code == http.StatusOK) || len(got.Patches) > 0 {
				t.Errorf("an image that nobody vouches for is pinned: %+v", got)
			}
		})
	}
}

func TestExceptions(t *testing.T) {
	w := newWorld(t)
	bad := w.push(t, "shop/bad", "1", func(c *v1.ConfigFile) { c.Config.User = "" })
	exception := func(namespace string, expires time.Duration) v1alpha1.ImageException {
		return v1alpha1.ImageException{Digest: bad.DigestStr(), Namespaces: []string{namespace}, Reason: "x", Expires: metav1.NewTime(time.Now().Add(expires))}
	}
	for name, tt := range map[string]struct {
		exception v1alpha1.ImageException
		profile   v1alpha1.RuntimeProfile
		want      wants
	}{
		"it lets its image pass in its namespace": {exception(shop, time.Hour), v1alpha1.ProfileOff, admitted},
		"it does not hold in another namespace":   {exception("other", time.Hour), v1alpha1.ProfileOff, wants{code: http.StatusForbidden}},
		"it does not hold when it has expired":    {exception(shop, -time.Hour), v1alpha1.ProfileOff, wants{http.StatusForbidden, []string{"exception for it has expired at"}}},
		"it does not let a pod run as it likes":   {exception(shop, time.Hour), v1alpha1.ProfileRestricted, wants{http.StatusForbidden, []string{"rule"}}},
	} {
		t.Run(name, func(t *testing.T) {
			w.policies = nil
			w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) {
				s.Exceptions, s.Runtime.Profile = []v1alpha1.ImageException{tt.exception}, tt.profile
			})
			tt.want.check(t, w.validate(t, pod(bad.String()), nil))
		})
	}
}

func TestRuntimeRulesAlwaysHold(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Runtime.Profile = v1alpha1.ProfileRestricted })
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	admitted.check(t, w.validate(t, safe(pod(good)), nil))
	privileged := safe(pod(good))
	privileged.Spec.Containers[0].SecurityContext.Privileged = new(true)
	refused := wants{http.StatusForbidden, []string{"spec.containers[0].securityContext.privileged", "(policy shop, rule privileged)", "fix: "}}
	refused.check(t, w.validate(t, privileged, nil))             // The image is remembered.
	refused.check(t, w.validate(t, privileged, safe(pod(good)))) // No image is new.
	admitted.check(t, w.mutate(t, privileged, nil))              // The validating webhook comes next.
	deployment := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: "cart"}}
	deployment.Spec.Template.Spec = privileged.Spec
	wants{http.StatusForbidden, []string{"Deployment cart", "spec.template.spec.containers[0].securityContext.privileged"}}.check(t, w.validate(t, deployment, nil))
}

func TestARefusalOfTheMutatingWebhookIsWhole(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Runtime.Profile = v1alpha1.ProfileRestricted })
	p := safe(pod(w.push(t, "shop/bad", "1").String()))
	p.Spec.HostNetwork = true
	wants{http.StatusForbidden, []string{"not signed", "hostNetwork"}}.check(t, w.mutate(t, p, nil))
}

func TestUpdatesAskAboutNewImagesAlone(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	bad := w.push(t, "shop/bad", "1").String()
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	before := w.requests.Load()
	admitted.check(t, w.validate(t, pod(bad), pod(bad)))
	if got := w.requests.Load(); got != before {
		t.Errorf("%d requests for an image that was there before", got-before)
	}
	wants{code: http.StatusForbidden}.check(t, w.validate(t, pod(bad), pod(good)))
}

func TestAnOutageIsNoViolation(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	known := w.sign(t, w.push(t, "shop/known", "1"), signer).String()
	unknown := w.sign(t, w.push(t, "shop/unknown", "1"), signer).String()
	bad := "registry.example/x@" + digestOf('a')
	admitted.check(t, w.validate(t, pod(known), nil))
	undo := w.intercept(down)
	defer undo()
	admitted.check(t, w.validate(t, pod(known), nil))
	for _, handle := range []bool{false, true} {
		away := wants{http.StatusServiceUnavailable, []string{"could not be checked", "outage and no violation", "shop/unknown", "503"}}
		away.check(t, w.handler(handle).Handle(w.ctx(t), request(t, pod(unknown), nil)))
		// Trying again would not help.
		both := wants{http.StatusForbidden, []string{"is refused", "no ImageAdmissionPolicy"}}
		both.check(t, w.handler(handle).Handle(w.ctx(t), request(t, pod(unknown, bad), nil)))
	}
}

func TestWhatDependsOnTheClusterFailsClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks func(*world)
		says   string
	}{
		"policies that are not there":     {func(w *world) { w.policyErr = errAway }, "looking for the policies"},
		"a namespace that is not known":   {func(w *world) { w.labels = nil }, "looking at namespace shop"},
		"pull secrets that can't be read": {func(w *world) { w.accessErr = errAway }, "looking for the pull secrets"},
		"a policy that was never good": {func(w *world) {
			w.policies[0].NotReady = pipeline.Transientf(pipeline.ReasonPolicyNotReady, "spec.key: the Secret is missing")
		}, "ImageAdmissionPolicy shop is not ready: spec.key"},
		"a judge that panics": {func(w *world) { w.judge = panics{} }, "the webhook has a defect"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policy(t, "shop")
			good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
			tt.breaks(w)
			for _, mutating := range []bool{false, true} {
				want := wants{http.StatusServiceUnavailable, []string{"could not be checked", tt.says}}
				want.check(t, w.handler(mutating).Handle(w.ctx(t), request(t, pod(good), nil)))
			}
		})
	}
}

func TestOneVerificationForManyContainers(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	before := w.requests.Load()
	admitted.check(t, w.validate(t, pod(good), nil))
	one := w.requests.Load() - before
	w.judge = w.newJudge(t)
	before = w.requests.Load()
	admitted.check(t, w.validate(t, pod(good, good, good, good, good, good, good, good), nil))
	if eight := w.requests.Load() - before; eight > one {
		t.Errorf("%d requests for eight containers of an image, %d for one", eight, one)
	}
	before = w.requests.Load()
	admitted.check(t, w.validate(t, pod(good), nil))
	if warm := w.requests.Load() - before; warm != 0 {
		t.Errorf("%d requests for what is remembered", warm)
	}
}

func TestManyImagesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	var images []string
	for i := range maxImages + 1 {
		images = append(images, w.host+"/shop/x@"+"sha256:"+strings.Repeat("0", 62)+string("0123456789abcdef"[i/16%16])+string("0123456789abcdef"[i%16]))
	}
	before := w.requests.Load()
	wants{http.StatusForbidden, []string{"65 different images"}}.check(t, w.validate(t, pod(images...), nil))
	if w.requests.Load() != before {
		t.Error("the registry was asked")
	}
}

func TestAttestations(t *testing.T) {
	w := newWorld(t)
	attested := w.sign(t, w.push(t, "shop/attested", "1"), signer)
	w.attest(t, attested, signer, provenance, `{"builder":"ours"}`)
	other := w.sign(t, w.push(t, "shop/other", "1"), signer)
	w.attest(t, other, signer, "https://other.example/v1", `{"builder":"ours"}`)
	foreign := w.sign(t, w.push(t, "shop/foreign", "1"), signer)
	w.attest(t, foreign, "somebody", provenance, `{"builder":"ours"}`)
	const rego = "package p\ndeny contains \"the builder is not ours\" if input.predicate.builder != \"ours\"\n"
	const strict = "package p\ndeny contains \"the builder is not theirs\" if input.predicate.builder != \"theirs\"\n"
	for name, tt := range map[string]struct {
		image    string
		required v1alpha1.RequiredAttestation
		want     wants
	}{
		"one that says what it should": {attested.String(), v1alpha1.RequiredAttestation{PredicateType: provenance, Rego: rego}, admitted},
		"one of another type":          {other.String(), v1alpha1.RequiredAttestation{PredicateType: provenance}, wants{http.StatusForbidden, []string{provenance}}},
		"one by somebody else":         {foreign.String(), v1alpha1.RequiredAttestation{PredicateType: provenance}, wants{http.StatusForbidden, []string{identity("somebody")}}},
		"one that says something else": {attested.String(), v1alpha1.RequiredAttestation{PredicateType: provenance, Rego: strict}, wants{http.StatusForbidden, []string{"the builder is not theirs"}}},
		"one that is too old":          {attested.String(), v1alpha1.RequiredAttestation{PredicateType: provenance, MaxAge: &metav1.Duration{Duration: time.Nanosecond}}, wants{http.StatusForbidden, []string{"it may be 1ns old"}}},
	} {
		t.Run(name, func(t *testing.T) {
			w.policies = nil
			w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) {
				s.Attestations = []v1alpha1.RequiredAttestation{tt.required}
			})
			tt.want.check(t, w.validate(t, pod(tt.image), nil))
		})
	}
}

func TestIndexAndPlatformsAreBothSigned(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	children := func(idx v1.ImageIndex) []v1.Descriptor {
		m, err := idx.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		return m.Manifests
	}
	whole, half, other := w.index(t, "amd64", "arm64"), w.index(t, "amd64"), w.index(t, "amd64", "arm64")
	wholeRef := w.sign(t, w.put(t, "shop/whole", "1", whole), signer)
	for _, d := range children(whole) {
		w.sign(t, wholeRef.Context().Digest(d.Digest.String()), signer)
	}
	halfRef := w.sign(t, w.put(t, "shop/half", "1", half), signer)
	// The nodes run amd64 alone.
	otherRef := w.sign(t, w.put(t, "shop/other", "1", other), signer)
	w.sign(t, otherRef.Context().Digest(children(other)[0].Digest.String()), signer)
	childOnly := w.put(t, "shop/child", "1", w.index(t, "amd64"))
	for name, tt := range map[string]struct {
		image string
		want  wants
	}{
		"all are signed": {wholeRef.String(), admitted},
		"a platform that runs here is not signed":    {halfRef.String(), wants{http.StatusForbidden, []string{"linux/amd64"}}},
		"a platform that no node runs is not signed": {otherRef.String(), admitted},
		"the index is not signed":                    {childOnly.String(), wants{code: http.StatusForbidden}},
	} {
		t.Run(name, func(t *testing.T) { tt.want.check(t, w.validate(t, pod(tt.image), nil)) })
	}
}

func TestFactsOfImagesThatWereThereBefore(t *testing.T) {
	w := newWorld(t)
	w.clock = clocktesting.NewFakePassiveClock(time.Now().Add(30 * time.Minute))
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	for name, tt := range map[string]struct {
		parameters v1alpha1.RuntimeParameters
		want       wants
	}{
		"a young image may stay":            {v1alpha1.RuntimeParameters{ImageMaxAge: &metav1.Duration{Duration: time.Hour}}, admitted},
		"an old one may not":                {v1alpha1.RuntimeParameters{ImageMaxAge: &metav1.Duration{Duration: time.Minute}}, wants{code: http.StatusForbidden}},
		"one that has its labels may stay":  {v1alpha1.RuntimeParameters{ImageLabels: []string{"team"}}, admitted},
		"one that lacks some may not":       {v1alpha1.RuntimeParameters{ImageLabels: []string{"owner"}}, wants{code: http.StatusForbidden}},
		"one that may have a shell may not": {v1alpha1.RuntimeParameters{ImageShells: v1alpha1.Forbid}, wants{code: http.StatusForbidden}},
	} {
		t.Run(name, func(t *testing.T) {
			w.policies = nil
			w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) {
				s.Runtime = v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileRestricted, Parameters: &tt.parameters}
			})
			old, changed := safe(pod(good)), safe(pod(good))
			changed.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "x", Value: "y"}}
			tt.want.check(t, w.validate(t, changed, old))
			tt.want.check(t, w.validate(t, changed, nil))
		})
	}
}

func TestPullSecretsThatCantBeReadHideNothing(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = v1alpha1.ModeWarn })
	bad := w.push(t, "shop/bad", "1").String()
	for name, err := range map[string]error{"terminal": pipeline.Terminalf(pipeline.ReasonRegistryCredentials, "there are 33 secrets"), "transient": errAway} {
		t.Run(name, func(t *testing.T) {
			w.accessErr = err
			// Of this image alone the policy only warns.
			if got := w.validate(t, pod(bad), nil); !got.Allowed || len(got.Warnings) == 0 {
				t.Errorf("got %+v", got)
			}
			for _, other := range []string{"registry.example/x:1", "Not An Image"} {
				wants{code: http.StatusForbidden}.check(t, w.validate(t, pod(bad, other), nil))
				wants{code: http.StatusForbidden}.check(t, w.mutate(t, pod(bad, other), nil))
			}
		})
	}
}

func TestATagIsNewWhereverItIsAdded(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	tagged := w.host + "/shop/app:1"
	w.push(t, "shop/app", "1")
	old, changed := pod(tagged), pod(tagged)
	changed.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: tagged}}}
	wants{http.StatusForbidden, []string{"spec.ephemeralContainers[0].image", "not signed"}}.check(t, w.mutate(t, changed, old))
	wants{http.StatusForbidden, []string{"spec.ephemeralContainers[0].image", "not signed"}}.check(t, w.validate(t, changed, old))
	// The container that ran before is left alone, signed or not.
	w.sign(t, w.push(t, "shop/app", "1"), signer)
	w.judge = w.newJudge(t)
	got := w.mutate(t, changed, old)
	admitted.check(t, got)
	for _, p := range got.Patches {
		if p.Path != "/spec/ephemeralContainers/0/image" {
			t.Errorf("%s is patched", p.Path)
		}
	}
	wants{http.StatusForbidden, []string{"has not pinned it"}}.check(t, w.validate(t, changed, old))
}

func TestOutagesHideNoViolationAndMakeNone(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Runtime.Profile = v1alpha1.ProfileRestricted })
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	gone := w.host + "/shop/good@" + digestOf('d')
	bad := func(image string) *corev1.Pod {
		p := safe(pod(image))
		p.Spec.Containers[0].SecurityContext.Privileged = new(true)
		return p
	}
	for name, tt := range map[string]struct {
		away     bool
		pod, old *corev1.Pod
		want     wants
	}{
		"an image that was there before and is gone":        {false, bad(gone), safe(pod(gone)), wants{http.StatusForbidden, []string{"privileged"}}},
		"an image that was there before, its registry away": {true, bad(good), safe(pod(good)), wants{http.StatusForbidden, []string{"privileged"}}},
		"a safe pod whose registry is away":                 {true, safe(pod(good)), nil, wants{http.StatusServiceUnavailable, []string{"outage and no violation"}}},
		"an unsafe pod whose registry is away":              {true, bad(good), nil, wants{http.StatusForbidden, []string{"privileged", "503"}}},
	} {
		t.Run(name, func(t *testing.T) {
			w.judge = w.newJudge(t)
			if tt.away {
				defer w.intercept(down)()
			}
			var old runtime.Object
			if tt.old != nil {
				old = tt.old
			}
			tt.want.check(t, w.validate(t, tt.pod, old))
		})
	}
}

func TestARuleThatCantBeEvaluatedIsAViolation(t *testing.T) {
	w := newWorld(t)
	p := w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Runtime.Profile = v1alpha1.ProfileBaseline })
	compiled, err := rules.CompilePods([]rules.Module{{Name: "x.rego", Source: "package x\ndeny_x contains msg if msg := to_number(input.metadata.labels.n)\n"}})
	if err != nil {
		t.Fatal(err)
	}
	p.Runtime.Rules = compiled
	good := pod(w.sign(t, w.push(t, "shop/good", "1"), signer).String())
	good.Labels = map[string]string{"n": "no number"}
	wants{http.StatusForbidden, []string{"x.rego"}}.check(t, w.validate(t, good, nil))
}

func TestWhatNobodyVouchesForHasNoAge(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Runtime = v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileRestricted, Parameters: &v1alpha1.RuntimeParameters{ImageMaxAge: &metav1.Duration{Duration: time.Hour}, ImageLabels: []string{"owner"}}}
	})
	got := w.validate(t, safe(pod(w.push(t, "shop/bad", "1").String())), nil)
	wants{http.StatusForbidden, []string{"not signed", "rule image-label"}}.check(t, got)
	if strings.Contains(got.Result.Message, "image-age") {
		t.Errorf("an image that is not signed is too old, too:\n%s", got.Result.Message)
	}
}

func TestAPolicyOfOtherNamespacesIsNamed(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "payments", func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "payments"}}
	})
	wants{http.StatusForbidden, []string{"no ImageAdmissionPolicy is for this image in this namespace", "by their labels: payments"}}.check(t, w.validate(t, pod(w.push(t, "shop/x", "1").String()), nil))
}

// Policies are found first: whoever may write a pod may name any registry.
func TestNoRegistryIsAskedAboutWhatNoPolicyIsFor(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Images = []string{w.host + "/shop/**"} })
	other := w.push(t, "other/x", "1").String()
	before := w.requests.Load()
	for _, image := range []string{other, w.host + "/other/x:1"} {
		wants{code: http.StatusForbidden}.check(t, w.validate(t, pod(image), nil))
		wants{code: http.StatusForbidden}.check(t, w.mutate(t, pod(image), nil))
	}
	if got := w.requests.Load() - before; got != 0 {
		t.Errorf("%d requests", got)
	}
}

// One policy can't look at the image, another knows that it is too old.
func TestWhatOnePolicyLacksAnotherKnows(t *testing.T) {
	w := newWorld(t)
	good := w.sign(t, w.push(t, "shop/good", "1"), signer).String()
	restricted := func(mode v1alpha1.PolicyMode, parameters v1alpha1.RuntimeParameters) func(*v1alpha1.ImageAdmissionPolicySpec) {
		return func(s *v1alpha1.ImageAdmissionPolicySpec) {
			s.Mode, s.Runtime = mode, v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileRestricted, Parameters: &parameters}
		}
	}
	w.policy(t, "b-age", restricted(v1alpha1.ModeEnforce, v1alpha1.RuntimeParameters{ImageMaxAge: &metav1.Duration{Duration: time.Minute}}))
	admitted.check(t, w.validate(t, safe(pod(good)), nil)) // From here on it is remembered for this policy alone.
	w.policy(t, "a-warns", restricted(v1alpha1.ModeWarn, v1alpha1.RuntimeParameters{ImageShells: v1alpha1.Forbid}))
	w.clock = clocktesting.NewFakePassiveClock(time.Now().Add(30 * time.Minute))
	defer w.intercept(down)()
	changed := safe(pod(good))
	changed.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "x", Value: "y"}}
	wants{http.StatusForbidden, []string{"policy b-age, rule image-age"}}.check(t, w.validate(t, changed, safe(pod(good))))
}
