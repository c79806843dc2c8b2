package webhook

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestClusterImagePoliciesAreFoundWhenTheirKindIsThere(t *testing.T) {
	w := newPolicyWorld(t, foreignPolicy("theirs", 1, foreignSpec(foreignKeyless)))
	w.next()
	if len(w.inForce()) > 0 || w.kind.follows != 0 {
		t.Errorf("got %v", namesOf(w.inForce()))
	}
	w.kind.there = true
	w.next()
	if len(w.inForce()) > 0 || w.kind.asked != 1 {
		t.Errorf("it was asked again at once: %d", w.kind.asked)
	}
	w.now.Step(lookInterval)
	w.next()
	if diff := cmp.Diff([]string{"ClusterImagePolicy/theirs"}, namesOf(w.inForce())); diff != "" || w.kind.follows != 1 {
		t.Error(diff)
	}
	w.now.Step(lookInterval)
	w.next()
	if w.kind.follows != 1 {
		t.Errorf("it was followed %d times", w.kind.follows)
	}
	w.kind.there = false
	w.now.Step(lookInterval)
	w.next()
	if len(w.inForce()) > 0 || w.kind.forgets != 1 {
		t.Errorf("got %v", namesOf(w.inForce()))
	}
}

func TestAKindThatCanNotBeReadIsTriedOnceAMinute(t *testing.T) {
	w := newPolicyWorld(t, goodPolicy())
	w.next()
	w.kind.there, w.kind.notFollowed = true, errors.New("away")
	w.now.Step(lookInterval)
	w.next()
	w.next()
	if w.kind.follows != 1 || w.kind.forgets != 1 {
		t.Errorf("followed %d times, forgotten %d times", w.kind.follows, w.kind.forgets)
	}
}

func TestAClusterImagePolicyThatIsNotSupportedRefuses(t *testing.T) {
	keyless := func(extra map[string]any) map[string]any {
		k := map[string]any{"identities": foreignKeyless["keyless"].(map[string]any)["identities"]}
		maps.Copy(k, extra)
		return map[string]any{"keyless": k}
	}
	for desc, tt := range map[string]struct {
		spec map[string]any
		says string
	}{
		"what we don't do":            {foreignSpec(keyless(map[string]any{"trustRootRef": "x"})), "spec.authorities[0].keyless.trustRootRef"},
		"a field that nobody knows":   {foreignSpec(keyless(map[string]any{"allowAnything": true})), `unknown field "allowAnything"`},
		"a field of another type":     {foreignSpec(map[string]any{"keyless": "x"}), "cannot unmarshal"},
		"an address that is none":     {foreignSpec(keyless(map[string]any{"url": "http://a b"})), "invalid character"},
		"images that nobody can read": {map[string]any{"images": "x"}, "cannot unmarshal"},
		"no spec at all":              {nil, "spec"},
	} {
		t.Run(desc, func(t *testing.T) {
			w := newPolicyWorld(t, foreignPolicy("theirs", 1, tt.spec))
			w.kind.there = true
			w.next()
			p := w.only()
			if p.NotReady == nil || p.Kind != imagepolicy.KindClusterImagePolicy || p.Name != "theirs" || pipeline.ReasonOf(p.NotReady) != pipeline.ReasonPolicyUnsupported || !strings.Contains(p.NotReady.Error(), tt.says) {
				t.Errorf("got %+v", p)
			}
			if told := w.told(); len(told) != 1 || !strings.HasPrefix(told[0], "Warning PolicyUnsupported") {
				t.Errorf("told %q", told)
			}
			w.next()
			if told := w.told(); len(told) > 0 {
				t.Errorf("told again %q", told)
			}
			w.update(foreignPolicy("theirs", 2, foreignSpec(foreignKeyless)))
			w.next()
			if told := w.told(); w.only().NotReady != nil || len(told) != 1 || !strings.HasPrefix(told[0], "Normal InForce") {
				t.Errorf("told %q", told)
			}
			if len(w.writes) > 0 {
				t.Errorf("wrote %v: these objects are policy-controller's", w.writes)
			}
		})
	}
}

func TestKeysOfClusterImagePoliciesAreInTheirNamespace(t *testing.T) {
	public, private := newKeys(t)
	other, _ := newKeys(t)
	secret := func(namespace string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keys"}, Data: data}
	}
	byKey := foreignSpec(map[string]any{"key": map[string]any{"secretRef": map[string]any{"name": "keys"}}})
	w := newPolicyWorld(t, foreignPolicy("theirs", 1, byKey), secret(policyNamespace, map[string][]byte{"k": public}))
	w.kind.there = true
	w.next()
	if w.only().NotReady == nil {
		t.Error("it is made of a Secret of another namespace")
	}
	theirs := secret(imagepolicy.ClusterNamespace, map[string][]byte{"k": public})
	w.apply(theirs)
	w.next()
	first := w.only()
	theirs = secret(imagepolicy.ClusterNamespace, map[string][]byte{"k": other})
	w.update(theirs)
	w.next()
	if second := w.only(); first.NotReady != nil || second.NotReady != nil || first.Hash == second.Hash {
		t.Errorf("got %+v and %+v", first, second)
	}
	for desc, data := range map[string]map[string][]byte{"two entries": {"k": public, "l": other}, "a private key": {"k": private}} {
		w.update(secret(imagepolicy.ClusterNamespace, data))
		w.next()
		if w.only().NotReady == nil {
			t.Errorf("%s: it is ready", desc)
		}
	}
	inline := foreignSpec(map[string]any{"key": map[string]any{"data": string(public)}})
	w.update(foreignPolicy("theirs", 2, inline))
	w.next()
	if w.only().NotReady != nil {
		t.Errorf("got %v", w.only().NotReady)
	}
}

func TestWhetherTheKindIsServed(t *testing.T) {
	const list = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"policy.sigstore.dev/v1beta1","resources":[{"name":"%"}]}`
	for desc, tt := range map[string]struct {
		code   int
		body   string
		served bool
		fails  bool
	}{
		"it is":            {200, strings.ReplaceAll(list, "%", "clusterimagepolicies"), true, false},
		"others are":       {200, strings.ReplaceAll(list, "%", "trustroots"), false, false},
		"its group is not": {404, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`, false, false},
		"nobody may know":  {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`, false, true},
		"nobody answers":   {500, `x`, false, true},
		"nonsense":         {200, `x`, false, true},
	} {
		t.Run(desc, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path)
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(tt.code)
				_, _ = rw.Write([]byte(tt.body))
			}))
			defer server.Close()
			c, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			served, err := (&discovered{client: c}).served(t.Context())
			if served != tt.served || (err != nil) != tt.fails {
				t.Errorf("got %t (%v)", served, err)
			}
			if !slices.Contains(asked, "/apis/policy.sigstore.dev/v1beta1") {
				t.Errorf("asked %v", asked)
			}
		})
	}
}
