package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

func asked(t *testing.T, operation admissionv1.Operation, before, after *v1alpha1.ImageAdmissionPolicy) admission.Request {
	t.Helper()
	raw := func(o *v1alpha1.ImageAdmissionPolicy) runtime.RawExtension {
		if o == nil {
			return runtime.RawExtension{}
		}
		o.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ImageAdmissionPolicy"}
		bytes, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: bytes}
	}
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: operation, Object: raw(after), OldObject: raw(before)}}
}

func TestPoliciesThatMayBeWritten(t *testing.T) {
	public, _ := newKeys(t)
	bad := goodPolicy(noIdentities, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Images = []string{"a.example/b:c"} })
	labelled := bad.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	open := goodPolicy(func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Identities = []v1alpha1.SigningIdentity{{Issuer: "https://i.example", SubjectRegExp: ".*"}}
	})
	tests := map[string]struct {
		objects       []client.Object
		before, after *v1alpha1.ImageAdmissionPolicy
		code          int32
		causes        []string
		warns         string
	}{
		"a good one":                        {nil, nil, goodPolicy(), http.StatusOK, nil, ""},
		"a bad one":                         {nil, nil, bad, http.StatusUnprocessableEntity, []string{"spec.identities", "spec.images[0]"}, ""},
		"one that becomes bad":              {nil, goodPolicy(), bad, http.StatusUnprocessableEntity, []string{"spec.identities", "spec.images[0]"}, ""},
		"one that becomes good":             {nil, bad, goodPolicy(), http.StatusOK, nil, ""},
		"a label on a bad one":              {nil, bad, labelled, http.StatusOK, nil, ""},
		"one that looks unintended":         {nil, nil, open, http.StatusOK, nil, "matches everything"},
		"one whose rules come later":        {nil, nil, goodPolicy(withRules), http.StatusOK, nil, `no ConfigMap "rules"`},
		"one whose key comes later":         {nil, nil, goodPolicy(withSecret), http.StatusOK, nil, `no Secret "keys"`},
		"one with rules":                    {[]client.Object{rulesOf(goodRules)}, nil, goodPolicy(withRules), http.StatusOK, nil, ""},
		"one with bad rules":                {[]client.Object{rulesOf(badRules)}, nil, goodPolicy(withRules), http.StatusUnprocessableEntity, []string{"spec.runtime.extraRules"}, ""},
		"one with a key":                    {[]client.Object{keysOf(map[string][]byte{"cosign.pub": public})}, nil, goodPolicy(withSecret), http.StatusOK, nil, ""},
		"one with nothing in place of keys": {[]client.Object{keysOf(map[string][]byte{"cosign.pub": []byte("x")})}, nil, goodPolicy(withSecret), http.StatusOK, nil, "is not one public key"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			w := newPolicyWorld(t, tt.objects...)
			operation := admissionv1.Create
			if tt.before != nil {
				operation = admissionv1.Update
			}
			resp := policyWebhook(w.api.Scheme(), w.Policies).Handle(t.Context(), asked(t, operation, tt.before, tt.after))
			if resp.Allowed != (tt.code == http.StatusOK) || resp.Result.Code != tt.code {
				t.Fatalf("got %+v", resp)
			}
			var causes []string
			if resp.Result.Details != nil {
				for _, c := range resp.Result.Details.Causes {
					causes = append(causes, c.Field)
				}
			}
			slices.Sort(causes)
			if diff := cmp.Diff(tt.causes, causes); diff != "" {
				t.Error(diff)
			}
			if all := strings.Join(resp.Warnings, "\n"); tt.warns == "" && all != "" || !strings.Contains(all, tt.warns) {
				t.Errorf("warned %q", all)
			}
		})
	}
}

func TestAPolicyIsNotLetThroughWhenSomethingFails(t *testing.T) {
	w := newPolicyWorld(t)
	w.ours = unreadable{w.api}
	handler := policyWebhook(w.api.Scheme(), w.Policies)
	if resp := handler.Handle(t.Context(), asked(t, admissionv1.Create, nil, goodPolicy(withRules))); resp.Allowed || resp.Result.Code != http.StatusServiceUnavailable {
		t.Errorf("nobody answers: got %+v", resp)
	}
	w.ours = panicking{w.api}
	if resp := handler.Handle(t.Context(), asked(t, admissionv1.Create, nil, goodPolicy(withRules))); resp.Allowed {
		t.Errorf("a panic: got %+v", resp)
	}
	req := asked(t, admissionv1.Create, nil, goodPolicy())
	req.Object.Raw = []byte("{")
	if resp := handler.Handle(t.Context(), req); resp.Allowed {
		t.Errorf("no object: got %+v", resp)
	}
	if resp := handler.Handle(t.Context(), asked(t, admissionv1.Delete, goodPolicy(noIdentities), nil)); !resp.Allowed {
		t.Errorf("a bad one can't be deleted: got %+v", resp)
	}
}

type panicking struct{ client.Client }

func (panicking) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	panic(errors.New("a defect"))
}
