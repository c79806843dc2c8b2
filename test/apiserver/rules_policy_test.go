//go:build apiserver

package apiserver

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// keyField is what fields of a key are below: they get a policy with one.
const keyField = "spec.key."

func identity() map[string]any { return map[string]any{"issuer": "a", "subject": "b"} }

func completePolicy() map[string]any {
	return map[string]any{
		"spec": map[string]any{
			"images":       []any{"a.example/**"},
			"identities":   []any{identity()},
			"attestations": []any{map[string]any{"predicateType": "a", "identities": []any{identity()}}},
			"runtime": map[string]any{
				"profile": "Restricted", "extraRules": map[string]any{"name": "rules"},
				"parameters": map[string]any{"users": []any{map[string]any{"min": 1}}, "imageLabels": []any{"a"}},
			},
			"exceptions": []any{map[string]any{"digest": digest, "namespaces": []any{"a"}, "reason": "a", "expires": someday}},
		},
		"status": map[string]any{},
	}
}

// putKey makes a policy one of a key.
func putKey(t *testing.T, content map[string]any, field string) {
	t.Helper()
	key := map[string]any{"publicKey": "a"}
	if strings.HasPrefix(field, keyField+"secretRef") {
		key = map[string]any{"secretRef": map[string]any{"name": "a"}}
	}
	put(t, content, "spec.authority", "Key")
	put(t, content, "spec.identities", absent)
	put(t, content, "spec.key", key)
}

func policyRules() map[string]rule {
	number := func(i int) any { return strconv.Itoa(i) }
	identities := func(n int) []any { return items(n, func(int) any { return identity() }) }
	attestation := func(int) any { return map[string]any{"predicateType": "a"} }
	user := func(int) any { return map[string]any{"min": 1} }
	exception := func(i int) any {
		return map[string]any{"digest": "sha256:" + strings.Repeat(strconv.Itoa(i%10), 62) + strconv.Itoa(10+i), "namespaces": []any{"a"}, "reason": "a", "expires": someday}
	}
	key := map[string]any{"publicKey": "a"}
	secret := map[string]any{"name": "a"}
	condition := func(i int) any {
		return map[string]any{"type": "A" + strconv.Itoa(i), "status": "True", "reason": "A", "message": "", "lastTransitionTime": someday}
	}
	const parameters = "spec.runtime.parameters"
	rules := map[string]rule{
		"images are named":                  {field: "spec.images", where: "spec", keyword: "required images", good: []any{"a"}, bad: absent, says: "Required"},
		"there is an image":                 {field: "spec.images", keyword: "minItems", good: []any{"a"}, bad: []any{}, says: "at least 1"},
		"there are at most 64 images":       {field: "spec.images", keyword: "maxItems", good: items(64, number), bad: items(65, number), says: "64"},
		"images are different":              {field: "spec.images", keyword: "unique", blames: "spec.images[1]", good: []any{"a", "b"}, bad: []any{"a", "a"}, says: "Duplicate"},
		"an image is not empty":             {field: "spec.images[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"an image is short":                 bounded("spec.images[0]", 512),
		"a mode is a known one":             {field: "spec.mode", keyword: "enum", good: "Audit", bad: "enforce", says: "Enforce"},
		"an authority is a known one":       {field: "spec.authority", keyword: "enum", good: "Keyless", bad: "None", says: "Keyless"},
		"a way with digests is a known one": {field: "spec.digest", keyword: "enum", good: "Require", bad: "Allow", says: "Pin"},

		"keyless needs an identity":         {field: "spec.identities", where: "spec", keyword: "rule 0", good: identities(1), bad: absent, says: "at least one identity"},
		"no identity is none":               {field: "spec.identities", where: "spec", keyword: "rule 0", good: identities(1), bad: []any{}, says: "at least one identity"},
		"keyless has no key":                {field: "spec.key", where: "spec", keyword: "rule 1", good: absent, bad: key, says: "must be left out unless authority is Key"},
		"a key is needed":                   {field: "spec.authority", where: "spec", keyword: "rule 2", blames: "spec.key", also: "spec.identities", good: "Keyless", bad: "Key", says: "is required if authority is Key"},
		"a key has no identities":           {field: "spec.authority", where: "spec", keyword: "rule 3", blames: "spec.identities", also: "spec.key", good: "Keyless", bad: "Key", says: "a key has no identity"},
		"there are at most 32 identities":   {field: "spec.identities", keyword: "maxItems", good: identities(32), bad: identities(33), says: "32"},
		"there are at most 16 attestations": {field: "spec.attestations", keyword: "maxItems", good: items(16, attestation), bad: items(17, attestation), says: "16"},
		"attested by at most 32 identities": {field: "spec.attestations[0].identities", keyword: "maxItems", good: identities(32), bad: identities(33), says: "32"},
		"an attestation has a type":         {field: "spec.attestations[0].predicateType", where: "spec.attestations[]", keyword: "required predicateType", good: "a", bad: absent, says: "Required"},
		"the type is not empty":             {field: "spec.attestations[0].predicateType", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the type is short":                 bounded("spec.attestations[0].predicateType", 512),
		"an age is a minute at least":       {field: "spec.attestations[0].maxAge", keyword: "rule 0", good: "1m", bad: "59s", says: "at least 1m"},
		"an age is a duration":              {field: "spec.attestations[0].maxAge", keyword: "rule 0", good: "720h", bad: "30d", says: "Duration"},
		"rules are not empty":               {field: "spec.attestations[0].rego", keyword: "minLength", good: "a", bad: "", says: "1"},
		"rules are short":                   bounded("spec.attestations[0].rego", 32768),

		"a key is one of two":               {field: "spec.key", where: "spec.key", keyword: "rule 0", good: absent, bad: map[string]any{}, also: "spec.key", says: "exactly one"},
		"a public key is not empty":         {field: "spec.key.publicKey", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a public key is short":             bounded("spec.key.publicKey", 8192),
		"a log is needed or not":            {field: "spec.key.transparencyLog", keyword: "enum", good: "Ignored", bad: "Optional", says: "Required"},
		"a Secret of a key is named":        {field: "spec.key.secretRef", where: "spec.key.secretRef", keyword: "required name", blames: "spec.key.secretRef.name", good: secret, bad: map[string]any{}, says: "Required"},
		"the name of a Secret is not empty": {field: "spec.key.secretRef.name", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the name of a Secret is short":     bounded("spec.key.secretRef.name", 253),
		"the key of a Secret is not empty":  {field: "spec.key.secretRef.key", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the key of a Secret is short":      bounded("spec.key.secretRef.key", 253),
		"the key of a Secret can be one":    {field: "spec.key.secretRef.key", keyword: "pattern", good: "a_b-c.pub", bad: "a/b", says: "should match"},

		"a profile is a known one":            {field: "spec.runtime.profile", keyword: "enum", good: "Baseline", bad: "Privileged", says: "Restricted"},
		"Off has no parameters":               {field: "spec.runtime", keyword: "rule 0", blames: "spec.runtime.parameters", good: map[string]any{"profile": "Off"}, bad: map[string]any{"profile": "Off", "parameters": map[string]any{"imageShells": "Forbid"}}, says: "must be left out if profile is Off"},
		"Off has no rules":                    {field: "spec.runtime", keyword: "rule 1", blames: "spec.runtime.extraRules", good: map[string]any{"profile": "Off"}, bad: map[string]any{"profile": "Off", "extraRules": secret}, says: "must be left out if profile is Off"},
		"parameters are not empty":            {field: parameters, keyword: "minProperties", good: map[string]any{"imageShells": "Forbid"}, bad: map[string]any{}, says: "at least 1"},
		"there is a user":                     {field: parameters + ".users", keyword: "minItems", good: items(1, user), bad: []any{}, says: "at least 1"},
		"there are at most 16 ranges":         {field: parameters + ".users", keyword: "maxItems", good: items(16, user), bad: items(17, user), says: "16"},
		"a range has a first":                 {field: parameters + ".users[0].min", where: parameters + ".users[]", keyword: "required min", good: 1, bad: absent, says: "Required"},
		"root is no first":                    {field: parameters + ".users[0].min", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"a first is a user":                   {field: parameters + ".users[0]", where: parameters + ".users[].min", keyword: "maximum", blames: parameters + ".users[0].min", good: map[string]any{"min": 2147483647}, bad: map[string]any{"min": 2147483648}, says: "2147483647"},
		"root is no last":                     {field: parameters + ".users[0]", where: parameters + ".users[].max", keyword: "minimum", blames: parameters + ".users[0].max", also: parameters + ".users[0]", good: map[string]any{"min": 1, "max": 1}, bad: map[string]any{"min": 1, "max": 0}, says: "1"},
		"a last is a user":                    {field: parameters + ".users[0].max", keyword: "maximum", good: 2147483647, bad: 2147483648, says: "2147483647"},
		"a last is not before the first":      {field: parameters + ".users[0]", keyword: "rule 0", blames: parameters + ".users[0].max", good: map[string]any{"min": 5, "max": 5}, bad: map[string]any{"min": 5, "max": 4}, says: "must not be less than min"},
		"a file system is writable or not":    {field: parameters + ".writableRootFilesystem", keyword: "enum", good: "Allow", bad: "true", says: "Forbid"},
		"a token is allowed or not":           {field: parameters + ".serviceAccountToken", keyword: "enum", good: "Allow", bad: "true", says: "Explicit"},
		"there are at most 3 limits":          {field: parameters + ".requiredLimits", keyword: "maxItems", good: []any{"cpu", "memory", "ephemeral-storage"}, bad: []any{"cpu", "memory", "ephemeral-storage", "cpu"}, also: parameters + ".requiredLimits[3]", says: "3"},
		"limits are different":                {field: parameters + ".requiredLimits", keyword: "unique", blames: parameters + ".requiredLimits[1]", good: []any{"cpu", "memory"}, bad: []any{"cpu", "cpu"}, says: "Duplicate"},
		"a limit is a known one":              {field: parameters + ".requiredLimits", where: parameters + ".requiredLimits[]", blames: parameters + ".requiredLimits[0]", keyword: "enum", good: []any{"memory"}, bad: []any{"nvidia.com/gpu"}, says: "cpu"},
		"shells are allowed or not":           {field: parameters + ".imageShells", keyword: "enum", good: "Allow", bad: "true", says: "Forbid"},
		"there is a label":                    {field: parameters + ".imageLabels", keyword: "minItems", good: []any{"a"}, bad: []any{}, says: "at least 1"},
		"there are at most 32 labels":         {field: parameters + ".imageLabels", keyword: "maxItems", good: items(32, number), bad: items(33, number), says: "32"},
		"labels are different":                {field: parameters + ".imageLabels", keyword: "unique", blames: parameters + ".imageLabels[1]", good: []any{"a", "b"}, bad: []any{"a", "a"}, says: "Duplicate"},
		"a label is not empty":                {field: parameters + ".imageLabels[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a label is short":                    bounded(parameters+".imageLabels[0]", 128),
		"an image's age is a minute at least": {field: parameters + ".imageMaxAge", keyword: "rule 0", good: "1m", bad: "59s", says: "at least 1m"},

		"there are at most 64 exceptions":  {field: "spec.exceptions", keyword: "maxItems", good: items(64, exception), bad: items(65, exception), says: "64"},
		"exceptions are of different ones": {field: "spec.exceptions", keyword: "unique", blames: "spec.exceptions[1]", good: items(2, exception), bad: append(items(1, exception), exception(0)), says: "Duplicate"},
		"an exception is of a digest":      {field: "spec.exceptions[0].digest", where: "spec.exceptions[]", keyword: "required digest", good: digest, bad: absent, says: "Required"},
		"a digest is one":                  {field: "spec.exceptions[0].digest", keyword: "pattern", good: digest, bad: "sha256:" + text(63), says: "should match"},
		"a digest is short":                {field: "spec.exceptions[0].digest", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"},
		"an exception has namespaces":      {field: "spec.exceptions[0].namespaces", where: "spec.exceptions[]", keyword: "required namespaces", good: []any{"a"}, bad: absent, says: "Required"},
		"an exception has a namespace":     {field: "spec.exceptions[0].namespaces", keyword: "minItems", good: []any{"a"}, bad: []any{}, says: "at least 1"},
		"there are at most 64 namespaces":  {field: "spec.exceptions[0].namespaces", keyword: "maxItems", good: items(64, number), bad: items(65, number), says: "64"},
		"namespaces are different":         {field: "spec.exceptions[0].namespaces", keyword: "unique", blames: "spec.exceptions[0].namespaces[1]", good: []any{"a", "b"}, bad: []any{"a", "a"}, says: "Duplicate"},
		"a namespace is not empty":         {field: "spec.exceptions[0].namespaces[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a namespace is short":             bounded("spec.exceptions[0].namespaces[0]", 63),
		"an exception has a reason":        {field: "spec.exceptions[0].reason", where: "spec.exceptions[]", keyword: "required reason", good: "a", bad: absent, says: "Required"},
		"a reason is not empty":            {field: "spec.exceptions[0].reason", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a reason is short":                bounded("spec.exceptions[0].reason", 512),
		"an exception has an end":          {field: "spec.exceptions[0].expires", where: "spec.exceptions[]", keyword: "required expires", good: someday, bad: absent, says: "Required"},

		"there are at most 8 conditions": {field: "status.conditions", keyword: "maxItems", good: items(8, condition), bad: items(9, condition), says: "8"},
		"conditions are different":       {field: "status.conditions", keyword: "unique", blames: "status.conditions[1]", good: items(2, condition), bad: append(items(1, condition), condition(0)), says: "Duplicate"},
		"there are at most 32 warnings":  {field: "status.warnings", keyword: "maxItems", good: items(32, number), bad: items(33, number), says: "32"},
		"a warning is short":             {field: "status.warnings", where: "status.warnings[]", keyword: "maxLength", blames: "status.warnings[0]", good: []any{text(1024)}, bad: []any{text(1025)}, says: "1024"},
	}
	reference(rules, "spec.runtime.extraRules")
	for _, of := range []string{"spec.identities[0]", "spec.attestations[0].identities[0]"} {
		identityRules(rules, of)
	}
	return rules
}

// identityRules are those of an identity.
func identityRules(rules map[string]rule, of string) {
	both := map[string]any{"issuer": "a", "issuerRegExp": "a", "subject": "b"}
	rules[of+" has one issuer"] = rule{field: of, keyword: "rule 0", good: map[string]any{"issuerRegExp": "a", "subject": "b"}, bad: both, says: "exactly one"}
	rules[of+" has an issuer"] = rule{field: of, keyword: "rule 0", good: identity(), bad: map[string]any{"subject": "b"}, says: "exactly one"}
	rules[of+" has one subject"] = rule{field: of, keyword: "rule 1", good: map[string]any{"issuer": "a", "subjectRegExp": "b"}, bad: map[string]any{"issuer": "a", "subject": "b", "subjectRegExp": "b"}, says: "exactly one"}
	rules[of+" has a subject"] = rule{field: of, keyword: "rule 1", good: identity(), bad: map[string]any{"issuer": "a"}, says: "exactly one"}
	for _, name := range []string{"issuer", "issuerRegExp", "subject", "subjectRegExp"} {
		with := func(value string) any {
			out := identity()
			delete(out, strings.TrimSuffix(name, "RegExp"))
			out[name] = value
			return out
		}
		at := indexed.ReplaceAllString(of, "[]") + "." + name
		rules[of+"."+name+" is not empty"] = rule{field: of, where: at, keyword: "minLength", blames: of + "." + name, good: with("a"), bad: with(""), says: "1"}
		rules[of+"."+name+" is short"] = rule{field: of, where: at, keyword: "maxLength", blames: of + "." + name, good: with(text(2048)), bad: with(text(2049)), says: "2048"}
	}
}

// policyDefaults are the rules that TestPolicyDefaults proves.
func policyDefaults() []string {
	return append(defaultRules("spec.mode", "spec.authority", "spec.digest", "spec.runtime", "spec.runtime.profile", "spec.key.transparencyLog", "spec.key.secretRef.key"), " rule 0", " required spec")
}

func TestPolicyRules(t *testing.T) {
	t.Cleanup(func() { removePolicies(t) })
	testRules(t, "ImageAdmissionPolicy", policyRules())
}

// removePolicies is for other tests: policies are of the whole cluster.
func removePolicies(t *testing.T) {
	if err := k8s.DeleteAllOf(context.WithoutCancel(t.Context()), &v1alpha1.ImageAdmissionPolicy{}); err != nil {
		t.Error(err)
	}
}

func TestPolicyDefaults(t *testing.T) {
	made := func(name string, spec map[string]any) v1alpha1.ImageAdmissionPolicySpec {
		t.Helper()
		spec["images"] = []any{"a.example/**"}
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "ImageAdmissionPolicy", "metadata": map[string]any{"name": name}, "spec": spec,
		}}
		created(t, u)
		t.Cleanup(func() { _ = k8s.Delete(context.WithoutCancel(t.Context()), u) })
		got := &v1alpha1.ImageAdmissionPolicy{}
		if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(u), got); err != nil {
			t.Fatal(err)
		}
		return got.Spec
	}
	want := v1alpha1.ImageAdmissionPolicySpec{
		Images: []string{"a.example/**"}, Mode: v1alpha1.ModeEnforce, Authority: v1alpha1.AuthorityKeyless, Digest: v1alpha1.DigestPin,
		Identities: []v1alpha1.SigningIdentity{{Issuer: "a", Subject: "b"}}, Runtime: v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileRestricted},
	}
	if diff := cmp.Diff(want, made("defaults", map[string]any{"identities": []any{identity()}})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, made("defaults-below", map[string]any{"identities": []any{identity()}, "runtime": map[string]any{}})); diff != "" {
		t.Error(diff)
	}
	want.Authority, want.Identities = v1alpha1.AuthorityKey, nil
	want.Key = &v1alpha1.SigningKey{SecretRef: &v1alpha1.KeySecretReference{Name: "a", Key: "cosign.pub"}, TransparencyLog: v1alpha1.LogRequired}
	if diff := cmp.Diff(want, made("defaults-key", map[string]any{"authority": "Key", "key": map[string]any{"secretRef": map[string]any{"name": "a"}}})); diff != "" {
		t.Error(diff)
	}
	given := map[string]any{"identities": []any{identity()}, "mode": "Warn", "digest": "Require", "runtime": map[string]any{"profile": "Off"}}
	if got := made("defaults-give-way", given); got.Mode != v1alpha1.ModeWarn || got.Digest != v1alpha1.DigestRequire || got.Runtime.Profile != v1alpha1.ProfileOff {
		t.Errorf("got %+v", got)
	}
}

func TestThePolicyItself(t *testing.T) {
	named := func(name string) *v1alpha1.ImageAdmissionPolicy {
		return &v1alpha1.ImageAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ImageAdmissionPolicySpec{
			Images: []string{"a.example/**"}, Identities: []v1alpha1.SigningIdentity{{Issuer: "a", Subject: "b"}},
		}}
	}
	longest := created(t, named(text(63)))
	t.Cleanup(func() { _ = k8s.Delete(context.WithoutCancel(t.Context()), longest) })
	assertRefused(t, k8s.Create(t.Context(), named(text(64))), "63", "<nil>", "")
	without := rule{field: "spec"}.object(t, "ImageAdmissionPolicy", "", absent)
	assertRefused(t, k8s.Create(t.Context(), without), "Required", "spec", "<nil>")
	if !slices.Contains(policyDefaults(), " rule 0") {
		t.Error("the rule about names has no case")
	}
}
