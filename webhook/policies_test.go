package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestUntilAllPoliciesAreReadNobodyKnowsThem(t *testing.T) {
	for desc, fail := range map[string]func(*policyWorld){
		"our own can't be listed":              func(w *policyWorld) { w.policies = unreadable{w.api} },
		"what they refer to can't be read":     func(w *policyWorld) { w.ours = unreadable{w.api} },
		"nobody says whether there are others": func(w *policyWorld) { w.kind.err = errors.New("away") },
		"the others can't be read":             func(w *policyWorld) { w.kind.there, w.kind.notFollowed = true, errors.New("away") },
		"it was never asked":                   nil,
	} {
		t.Run(desc, func(t *testing.T) {
			w := newPolicyWorld(t, goodPolicy(withRules), rulesOf(goodRules))
			if fail != nil {
				fail(w)
				if err := w.pass(t.Context(), false); err == nil {
					t.Error("nothing has failed")
				}
			}
			s, err := w.Set()
			if s != nil || !pipeline.IsTransient(err) || pipeline.ReasonOf(err) != pipeline.ReasonPoliciesNotLoaded || w.Check(nil) == nil {
				t.Errorf("got %v, %v", s, err)
			}
			w.policies, w.ours, w.kind.err, w.kind.notFollowed = w.api, w.api, nil, nil
			w.next()
			if w.only().Name != "team" || w.Check(nil) != nil {
				t.Errorf("got %v", w.Check(nil))
			}
		})
	}
}

// unreadable is an apiserver that does not answer.
type unreadable struct{ client.Client }

func (unreadable) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("away")
}

func (unreadable) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("away")
}

func TestWhatWasReadStaysInForceWhileNobodyAnswers(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy(), foreignPolicy("theirs", 1, foreignSpec(foreignKeyless)))
	w.kind.there = true
	w.next()
	want := []string{"ImageAdmissionPolicy/team", "ClusterImagePolicy/theirs"}
	if diff := cmp.Diff(want, namesOf(w.inForce())); diff != "" {
		t.Fatal(diff)
	}
	w.policies, w.ours, w.kind.err = unreadable{w.api}, unreadable{w.api}, errors.New("away")
	w.now.Step(2 * lookInterval)
	if err := w.pass(t.Context(), true); err == nil {
		t.Error("nothing has failed")
	}
	if diff := cmp.Diff(want, namesOf(w.inForce())); diff != "" {
		t.Error(diff)
	}
}

func TestABadPolicyStaysInForceAsItLastWas(t *testing.T) {
	public, _ := newKeys(t)
	tests := map[string]struct {
		objects []client.Object
		spoil   func(*policyWorld)
		reason  string
		says    string
		mend    func(*policyWorld)
	}{
		"a bad spec": {[]client.Object{goodPolicy()}, func(w *policyWorld) { w.change("team", noIdentities) }, pipeline.ReasonPolicyInvalid, "spec.identities: Required",
			func(w *policyWorld) {
				w.change("team", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Identities = goodPolicy().Spec.Identities })
			}},
		"bad rules": {[]client.Object{goodPolicy(withRules), rulesOf(goodRules)}, func(w *policyWorld) { w.update(rulesOf(badRules)) }, pipeline.ReasonPolicyInvalid, "labels.rego line",
			func(w *policyWorld) { w.update(rulesOf(goodRules)) }},
		"rules that are gone": {[]client.Object{goodPolicy(withRules), rulesOf(goodRules)}, func(w *policyWorld) { w.remove(rulesOf("")) }, pipeline.ReasonPolicyNotFound, `no ConfigMap "rules"`,
			func(w *policyWorld) { w.apply(rulesOf(goodRules)) }},
		"a key that is gone": {[]client.Object{goodPolicy(withSecret), keysOf(map[string][]byte{"cosign.pub": public})}, func(w *policyWorld) { w.update(keysOf(nil)) }, pipeline.ReasonPolicyKeyNotFound, `no key "cosign.pub"`,
			func(w *policyWorld) { w.update(keysOf(map[string][]byte{"cosign.pub": public})) }},
		"a Secret that is gone": {[]client.Object{goodPolicy(withSecret), keysOf(map[string][]byte{"cosign.pub": public})}, func(w *policyWorld) { w.remove(keysOf(nil)) }, pipeline.ReasonPolicyKeyNotFound, `no Secret "keys"`,
			func(w *policyWorld) { w.apply(keysOf(map[string][]byte{"cosign.pub": public})) }},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			w := newPolicyWorld(t, tt.objects...)
			w.next()
			good := w.only()
			if c := w.ready("team"); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonInForce || c.Message != "Generation 1 is in force" || len(w.told()) > 0 {
				t.Fatalf("got %+v", c)
			}
			tt.spoil(w)
			w.next()
			if got := w.only(); got != good {
				t.Errorf("another one is in force: %+v", got)
			}
			check := func() {
				t.Helper()
				o, c := w.read("team"), w.ready("team")
				if c.Status != metav1.ConditionFalse || c.Reason != tt.reason || !strings.Contains(c.Message, tt.says) || !strings.HasSuffix(c.Message, "; the last good version, of generation 1, stays in force") {
					t.Errorf("got %+v", c)
				}
				if o.Status.InForceGeneration != 1 || o.Status.ObservedGeneration != o.Generation || c.ObservedGeneration != o.Generation {
					t.Errorf("got %+v of generation %d", o.Status, o.Generation)
				}
			}
			check()
			if told := w.told(); len(told) != 1 || !strings.HasPrefix(told[0], "Warning "+tt.reason) {
				t.Errorf("told %q", told)
			}
			w.restart()
			w.next()
			if got := w.only(); got.NotReady != nil || got.Generation != 1 || got.Hash != good.Hash || len(got.Authorities) != 1 || (got.Runtime == nil) {
				t.Errorf("after a restart: %+v", got)
			}
			check()
			if told := w.told(); len(told) > 0 {
				t.Errorf("after a restart: told %q", told)
			}
			tt.mend(w)
			w.next()
			if got := w.only(); got.NotReady != nil || got.Generation != w.read("team").Generation || w.read("team").Status.InForceGeneration != got.Generation {
				t.Errorf("mended: %+v", got)
			}
			if told := w.told(); w.ready("team").Status != metav1.ConditionTrue || len(told) != 1 || !strings.HasPrefix(told[0], "Normal InForce") {
				t.Errorf("mended: told %q", told)
			}
		})
	}
}

func (w *policyWorld) remove(o client.Object) {
	w.t.Helper()
	if err := w.api.Delete(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func TestAPolicyThatWasNeverGoodRefuses(t *testing.T) {
	for desc, tt := range map[string]struct {
		change func(*v1alpha1.ImageAdmissionPolicySpec)
		mode   v1alpha1.PolicyMode
		says   string
	}{
		"with a bad spec":        {noIdentities, v1alpha1.ModeEnforce, "; until then, what it is for is refused"},
		"without its rules":      {withRules, v1alpha1.ModeEnforce, "; until then, what it is for is refused"},
		"without anything known": {func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Images = []string{"a:b:c"} }, v1alpha1.ModeEnforce, "; until then, what it is for is refused"},
		"with mode Warn":         {func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = v1alpha1.ModeWarn; noIdentities(s) }, v1alpha1.ModeWarn, "with mode Warn"},
		"with no such mode":      {func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = "warn" }, v1alpha1.ModeEnforce, "is refused"},
	} {
		t.Run(desc, func(t *testing.T) {
			w := newPolicyWorld(t, goodPolicy(tt.change))
			for range 2 {
				w.next()
				if p := w.only(); p.NotReady == nil || p.Mode != tt.mode || len(p.Authorities) > 0 || w.Check(nil) != nil {
					t.Errorf("got %+v", p)
				}
				if c := w.ready("team"); c.Status != metav1.ConditionFalse || !strings.HasSuffix(c.Message, tt.says) || w.read("team").Status.InForceGeneration != 0 {
					t.Errorf("got %+v", c)
				}
				w.restart()
			}
			if len(w.revisions()) > 0 {
				t.Errorf("it was kept: %v", keys(w.revisions()))
			}
		})
	}
}

func TestAllThatIsMissingAndWrongIsTold(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy(withRules, withSecret, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Digest = "x" }))
	w.next()
	c := w.ready("team")
	for _, text := range []string{"spec.runtime.extraRules: there is no ConfigMap", "spec.key.secretRef: there is no Secret", "spec.digest: Unsupported"} {
		if !strings.Contains(c.Message, text) {
			t.Errorf("%q is not in %s", text, c.Message)
		}
	}
	if c.Reason != pipeline.ReasonPolicyNotFound {
		t.Errorf("got %s", c.Reason)
	}
}

func TestOnlyWhatHasChangedIsCompiled(t *testing.T) {
	other := goodPolicy()
	other.Name, other.UID = "other", "uid-of-other"
	w := newPolicyWorld(t, goodPolicy(withRules), rulesOf(goodRules), other, foreignPolicy("theirs", 1, foreignSpec(foreignKeyless)))
	w.kind.there = true
	w.next()
	before := w.inForce() // other, team, theirs
	w.next()
	if after := w.inForce(); !slices.Equal(before, after) {
		t.Error("nothing has changed, and something was compiled")
	}
	same := func(changed int) {
		t.Helper()
		after := w.inForce()
		for i := range before {
			if (before[i] == after[i]) == (i == changed) {
				t.Errorf("%s is another one: %t", before[i].Name, before[i] != after[i])
			}
		}
		before = after
	}
	w.update(rulesOf(goodRules + "\n# new"))
	w.next()
	same(1)
	w.change("other", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = v1alpha1.ModeWarn })
	w.next()
	same(0)
	w.update(foreignPolicy("theirs", 2, foreignSpec(foreignKeyless)))
	w.next()
	same(2)
	w.trusted.version = "2"
	w.next()
	if after := w.inForce(); slices.Equal(before, after) || after[0] == before[0] || after[1] == before[1] || after[2] == before[2] {
		t.Error("another trust root, and something was not proven on it")
	}
}

func TestAPolicyIsProvenOnEachTrustRoot(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.next()
	w.trusted.version, w.trusted.lacksCA = "2", true
	w.next()
	if c := w.ready("team"); c.Status != metav1.ConditionFalse || c.Reason != pipeline.ReasonTrustRootInvalid || w.only().NotReady != nil {
		t.Errorf("got %+v", c)
	}
	w.trusted.version, w.trusted.lacksCA = "3", false
	w.next()
	if c := w.ready("team"); c.Status != metav1.ConditionTrue {
		t.Errorf("got %+v", c)
	}
}

func TestAPolicyThatIsGoneIsNotInForce(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.next()
	w.Count(w.only(), true)
	w.remove(goodPolicy())
	w.next()
	if found := w.inForce(); len(found) > 0 {
		t.Errorf("got %v", namesOf(found))
	}
	again := goodPolicy(noIdentities)
	again.UID = "another"
	w.apply(again)
	w.next()
	if p := w.only(); p.NotReady == nil {
		t.Errorf("another policy of the same name is in force as the first one was: %+v", p)
	}
	if got := w.read("team").Status; got.Matched != 0 || got.InForceGeneration != 0 {
		t.Errorf("got %+v", got)
	}
}

// Nobody may have looked between one policy and the next of the same name.
func TestAPolicyThatTakesTheNameOfAnotherDoesNotTakeItsPlace(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.next()
	w.remove(goodPolicy())
	again := goodPolicy(noIdentities)
	again.UID = "another"
	w.apply(again)
	w.next()
	if p := w.only(); p.NotReady == nil {
		t.Errorf("got %+v", p)
	}
}

func TestAPolicyThatWasNeverGoodRefusesWhatItIsForNow(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy(noIdentities, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Images = []string{"registry.example/other"} }))
	w.next()
	if found := w.inForce(); len(found) > 0 {
		t.Fatalf("got %v", namesOf(found))
	}
	w.change("team", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Images = goodPolicy().Spec.Images })
	w.next()
	if p := w.only(); p.NotReady == nil || p.Generation != 2 {
		t.Errorf("got %+v", p)
	}
}

func TestAtRestNoPolicyIsWritten(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy(withRules, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Identities[0].Issuer = "http://issuer.example" }), rulesOf(goodRules))
	broken := goodPolicy(noIdentities)
	broken.Name, broken.UID = "broken", "uid-of-broken"
	w.apply(broken)
	w.next()
	if len(w.writes) != 3 || len(w.read("team").Status.Warnings) != 1 {
		t.Fatalf("wrote %v", w.writes)
	}
	w.writes = nil
	for range 3 {
		w.now.Step(passInterval)
		w.next()
	}
	for range 2 { // Another replica, and this one again.
		w.restart()
		w.next()
	}
	if len(w.writes) > 0 {
		t.Errorf("wrote %v", w.writes)
	}
}

func TestAConflictIsForTheNextPass(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.refuse = func(what string) error {
		if strings.HasPrefix(what, "status") {
			return apierrors.NewConflict(schema.GroupResource{}, "team", errors.New("x"))
		}
		return nil
	}
	w.next()
	p := w.only()
	w.Count(p, true)
	w.Count(p, false)
	w.next()
	if len(w.read("team").Status.Conditions) > 0 || len(w.told()) > 0 {
		t.Error("the status was written")
	}
	w.refuse = nil
	w.next()
	if got := w.read("team").Status; got.Matched != 2 || got.Denied != 1 || len(got.Conditions) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAWriteThatFailsIsTriedAgain(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.refuse = func(string) error { return errors.New("away") }
	if err := w.pass(t.Context(), true); err == nil {
		t.Error("nothing has failed")
	}
	if w.only().NotReady != nil {
		t.Error("the policy is not in force, because its status can't be written")
	}
	w.refuse = nil
	w.next()
	if w.ready("team").Status != metav1.ConditionTrue || len(w.revisions()) != 1 {
		t.Errorf("got %+v and %v", w.ready("team"), keys(w.revisions()))
	}
}

func TestCounts(t *testing.T) {
	// They have the same name, and only one has a place for counts.
	w := newPolicyWorld(t, goodPolicy(), foreignPolicy("team", 1, foreignSpec(foreignKeyless)))
	w.kind.there = true
	w.next()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for _, p := range w.inForce() {
				w.Count(p, i%4 == 0)
			}
		})
	}
	all.Wait()
	w.Count(nil, true)
	if err := w.pass(t.Context(), false); err != nil || w.read("team").Status.Matched != 0 {
		t.Errorf("they are written with every pass (%v)", err)
	}
	w.next()
	if got := w.read("team").Status; got.Matched != 100 || got.Denied != 25 {
		t.Errorf("got %+v", got)
	}
	other := *w // Another replica adds to what is there.
	other.restart()
	other.next()
	other.Count(other.inForce()[0], false)
	other.next()
	if got := w.read("team").Status; got.Matched != 101 || got.Denied != 25 {
		t.Errorf("got %+v", got)
	}
}

func TestGoodVersionsAreKept(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy(withRules), rulesOf(goodRules))
	w.next()
	first := w.revisions()
	if len(first) != 1 {
		t.Fatalf("got %v", keys(first))
	}
	for name, r := range first {
		owner := metav1.OwnerReference{APIVersion: "basewright.dev/v1alpha1", Kind: "ImageAdmissionPolicy", Name: "team", UID: "uid-of-team"}
		if r.Namespace != policyNamespace || r.Revision != 1 || r.Labels[labelPolicy] != "uid-of-team" || !slices.Contains(r.OwnerReferences, owner) || !strings.HasPrefix(name, "policy-") {
			t.Errorf("got %+v", r.ObjectMeta)
		}
		var k kept
		if err := json.Unmarshal(r.Data.Raw, &k); err != nil || k.Generation != 1 || len(k.Rules) != 1 || k.Rules[0].Source != goodRules {
			t.Errorf("got %+v (%v)", k, err)
		}
	}
	w.now.Step(time.Minute)
	w.update(rulesOf(goodRules + "\n# other"))
	w.next()
	w.next() // The second pass sees both.
	second := w.revisions()
	if len(second) != 1 || slices.Equal(keys(first), keys(second)) {
		t.Errorf("got %v after %v", keys(second), keys(first))
	}
	w.change("team", noIdentities)
	w.next()
	if got := w.revisions(); !slices.Equal(keys(got), keys(second)) {
		t.Errorf("a bad version: got %v after %v", keys(got), keys(second))
	}
	for _, r := range second {
		w.remove(&r)
	}
	w.next()
	if got := w.revisions(); !slices.Equal(keys(got), keys(second)) {
		t.Errorf("somebody has deleted it: got %v", keys(got))
	}
}

func TestAReplicaThatIsBehindDeletesNothingNewer(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.next()
	newer := w.ownRevision("policy-newer", 2, kept{Generation: 2, Spec: goodPolicy().Spec})
	w.apply(newer)
	w.next()
	if got := keys(w.revisions()); !slices.Contains(got, "policy-newer") || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func (w *policyWorld) ownRevision(name string, revision int64, k any) *appsv1.ControllerRevision {
	w.t.Helper()
	raw, err := json.Marshal(k)
	if err != nil {
		w.t.Fatal(err)
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: policyNamespace, Name: name, Labels: map[string]string{labelPolicy: "uid-of-team"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "basewright.dev/v1alpha1", Kind: "ImageAdmissionPolicy", Name: "team", UID: "uid-of-team"}}},
		Data: runtime.RawExtension{Raw: raw}, Revision: revision,
	}
}

func TestTheNewestVersionThatCompilesIsInForce(t *testing.T) {
	good := kept{Generation: 3, Spec: goodPolicy().Spec}
	w := newPolicyWorld(t, goodPolicy(noIdentities))
	others := good
	others.Generation = 9
	stranger := w.ownRevision("policy-d", 9, others)
	stranger.OwnerReferences[0].UID = "somebody"
	elsewhere := w.ownRevision("policy-e", 9, others)
	elsewhere.Namespace = "shop"
	older := good
	older.Generation = 2
	w.apply(w.ownRevision("policy-a", 2, older), w.ownRevision("policy-b", 3, good), w.ownRevision("policy-c", 4, "x"), w.ownRevision("policy-f", 5, kept{Generation: 5}), stranger, elsewhere)
	w.next()
	if p := w.only(); p.NotReady != nil || p.Generation != 3 || p.Name != "team" {
		t.Errorf("got %+v", p)
	}
}

func TestWhichVersionIsNewer(t *testing.T) {
	version := func(name string, generation int64, made, at string) appsv1.ControllerRevision {
		seconds, err := time.Parse(time.TimeOnly, at)
		if err != nil {
			t.Fatal(err)
		}
		return appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: made, CreationTimestamp: metav1.NewTime(seconds)}, Revision: generation}
	}
	for desc, tt := range map[string]struct{ newer, older appsv1.ControllerRevision }{
		"a later generation":             {version("b", 2, "1", "00:00:01"), version("a", 1, "2", "00:00:02")},
		"made later in the same second":  {version("b", 1, "10", "00:00:01"), version("a", 1, "9", "00:00:01")},
		"made by a clock that is behind": {version("b", 1, "10", "00:00:01"), version("a", 1, "9", "00:00:02")},
		"made at another time":           {version("b", 1, "", "00:00:02"), version("a", 1, "", "00:00:01")},
	} {
		if newer(tt.newer, tt.older) >= 0 || newer(tt.older, tt.newer) <= 0 {
			t.Errorf("%s: it is not newer", desc)
		}
	}
}

func TestAVersionOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.next()
	for _, r := range w.revisions() {
		w.remove(&r)
		r.OwnerReferences[0].UID, r.ResourceVersion = "somebody", ""
		w.apply(&r)
	}
	if err := w.pass(t.Context(), false); err == nil || !strings.Contains(err.Error(), "belongs to somebody else") {
		t.Errorf("got %v", err)
	}
}

func TestOfSecretsOnlyPublicKeysAreKept(t *testing.T) {
	public, private := newKeys(t)
	secret := keysOf(map[string][]byte{"cosign.pub": public, "cosign.key": private, "cosign.password": []byte("secret"), "both": append(bytes.Clone(public), private...), "long": append(bytes.Clone(public), make([]byte, maxPublicKey)...)})
	secret.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "secret"}
	if _, err := onlyPublicKeys(secret); err != nil {
		t.Fatal(err)
	}
	want := keysOf(map[string][]byte{"cosign.pub": public, "cosign.key": nil, "cosign.password": nil, "both": nil, "long": nil})
	if diff := cmp.Diff(want, secret); diff != "" {
		t.Error(diff)
	}
	w := newPolicyWorld(t, goodPolicy(withSecret), keysOf(map[string][]byte{"cosign.pub": private}))
	w.next()
	if c := w.ready("team"); c.Reason != pipeline.ReasonPolicyKeyNotFound || !strings.Contains(c.Message, "is not one public key in PEM") {
		t.Errorf("got %+v", c)
	}
	w.update(keysOf(map[string][]byte{"cosign.pub": public}))
	w.next()
	first := w.only()
	other, _ := newKeys(t)
	w.update(keysOf(map[string][]byte{"cosign.pub": other}))
	w.next()
	if second := w.only(); first.NotReady != nil || second.NotReady != nil || first.Hash == second.Hash {
		t.Errorf("got %+v and %+v", first, second)
	}
}

func TestOfConfigMapsOnlyRulesAreKept(t *testing.T) {
	cm := rulesOf(goodRules)
	cm.BinaryData = map[string][]byte{"x": nil}
	if _, err := onlyRego(cm); err != nil || !slices.Equal(keys(cm.Data), []string{"labels.rego"}) || cm.BinaryData != nil {
		t.Errorf("got %+v (%v)", cm, err)
	}
	if o, err := onlyRego(&corev1.Pod{}); err != nil || o == nil {
		t.Errorf("got %v (%v)", o, err)
	}
	if o, err := onlyPublicKeys(&corev1.Pod{}); err != nil || o == nil {
		t.Errorf("got %v (%v)", o, err)
	}
}

func TestExpiredExceptionsAreToldWhenTheyExpire(t *testing.T) {
	w := newPolicyWorld(t)
	w.apply(goodPolicy(func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Exceptions = []v1alpha1.ImageException{{Digest: "sha256:" + strings.Repeat("a", 64), Namespaces: []string{"x"}, Reason: "y", Expires: metav1.NewTime(w.now.Now().Add(time.Hour))}}
	}))
	w.next()
	if got := w.read("team").Status.Warnings; len(got) > 0 {
		t.Errorf("got %q", got)
	}
	w.now.Step(time.Hour)
	w.next()
	if got := w.read("team").Status.Warnings; len(got) != 1 || !strings.Contains(got[0], "has expired") {
		t.Errorf("got %q", got)
	}
}

func TestPoliciesFollowWhatChangesAndWriteTheLastCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPolicyWorld(t, goodPolicy())
		w.clock = clock.RealClock{}
		w.kind.away.Store(true)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Start(ctx) }()
		synctest.Wait()
		if w.Check(nil) == nil {
			t.Error("it is ready before everything was read")
		}
		w.kind.away.Store(false)
		time.Sleep(retryInterval)
		synctest.Wait()
		p := w.only()
		w.change("team", noIdentities)
		w.handler().OnUpdate(goodPolicy(), w.read("team"))
		synctest.Wait()
		if c := w.ready("team"); c.Status != metav1.ConditionFalse {
			t.Errorf("got %+v", c)
		}
		w.Count(p, true)
		time.Sleep(passInterval + time.Second)
		synctest.Wait()
		if got := w.read("team").Status; got.Denied != 1 {
			t.Errorf("got %+v", got)
		}
		w.Count(p, false)
		stop()
		if err := <-ended; err != nil || w.read("team").Status.Matched != 2 {
			t.Errorf("got %+v (%v)", w.read("team").Status, err)
		}
	})
}

func TestAStatusIsNoChange(t *testing.T) {
	of := func(version string, generation int64) client.Object {
		o := goodPolicy()
		o.ResourceVersion, o.Generation = version, generation
		return o
	}
	secret := func(version string) client.Object {
		s := keysOf(nil)
		s.ResourceVersion = version
		return s
	}
	for desc, tt := range map[string]struct {
		before, after client.Object
		change        bool
	}{
		"a status":        {of("1", 1), of("2", 1), false},
		"a spec":          {of("1", 1), of("2", 2), true},
		"a resync":        {secret("1"), secret("1"), false},
		"another content": {secret("1"), secret("2"), true},
	} {
		w := newPolicyWorld(t)
		w.handler().OnUpdate(tt.before, tt.after)
		if got := len(w.changed) == 1; got != tt.change {
			t.Errorf("%s: got %t", desc, got)
		}
	}
	w := newPolicyWorld(t)
	w.handler().OnDelete(goodPolicy())
	w.handler().OnAdd(goodPolicy(), false)
	if len(w.changed) != 1 {
		t.Error("what comes and goes is no change")
	}
}

func BenchmarkCount(b *testing.B) {
	p := newPolicies(PoliciesOptions{})
	policy := &imagepolicy.Policy{Kind: imagepolicy.KindImageAdmissionPolicy, Name: "team"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Count(policy, true)
		}
	})
}
