package config

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// webhookHead has two lines.
const webhookHead = "apiVersion: config.basewright.dev/v1alpha1\nkind: WebhookConfiguration\n"

func TestAWebhookHasDefaults(t *testing.T) {
	want := &Webhook{
		APIVersion: APIVersion, Kind: WebhookKind,
		Sigstore:  TrustRoot{TUF: TUF{Mirror: "https://tuf-repo-cdn.sigstore.dev"}},
		Admission: Admission{UnmatchedImages: "Deny", LogAllowed: 100},
		Limits: WebhookLimits{
			Registry: WebhookRegistryLimits{ManifestBytes: 1 << 20, ConnectTimeout: limits.Duration(2 * time.Second), RequestTimeout: limits.Duration(5 * time.Second),
				Tries: 2, RequestsPerHost: 64},
			Signatures: WebhookSignatureLimits{StatementBytes: 4 << 20, Tried: 64, Referrers: 1024},
			Admission:  limits.Admission{}.WithDefaults(),
		},
	}
	for desc, rest := range map[string]string{
		"absent": "",
		"null":   "registries:\nsigstore: ~\nadmission: null\nlimits:\n",
		"empty":  "registries: {}\nsigstore: {tuf: {}}\nadmission: {}\nlimits: {registry: {}, signatures: ~, admission: {}}\n",
	} {
		t.Run(desc, func(t *testing.T) {
			got, err := ParseWebhook([]byte(webhookHead + rest))
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestAWebhookKeepsWhatIsSet(t *testing.T) {
	ca := certificate(t)
	want := &Webhook{
		APIVersion: APIVersion, Kind: WebhookKind,
		Registries: WebhookRegistries{
			Registries: Registries{CABundle: ca, Mirrors: []Mirror{{Prefix: "docker.io", Endpoint: "mirror.example/hub"}}, PrivateHosts: []string{"a.example"},
				TokenHosts: []pipeline.TokenHost{{Registry: "registry.example", Host: "auth.example"}}},
			CloudCredentials: []Cloud{"Google", "AWS", "Azure"},
		},
		Sigstore:  TrustRoot{TrustedRootFile: "/etc/a", TUF: TUF{Mirror: "https://tuf-repo-cdn.sigstore.dev"}},
		Admission: Admission{UnmatchedImages: "Allow", LogAllowed: 0},
		Limits: WebhookLimits{
			Registry:   WebhookRegistryLimits{ManifestBytes: 1 << 20, ConnectTimeout: limits.Duration(time.Second), RequestTimeout: limits.Duration(time.Minute), Tries: 1, RequestsPerHost: 7},
			Signatures: WebhookSignatureLimits{StatementBytes: 2 << 20, Tried: 3, Referrers: 4},
			Admission: limits.Admission{Verdicts: 1, SuccessTTL: limits.Duration(time.Second), FailureTTL: limits.Duration(2 * time.Second), TagTTL: limits.Duration(3 * time.Second),
				Timeout: limits.Duration(4 * time.Second), Verifications: 5, Attestations: 6, BreakerFailures: 7, BreakerPause: limits.Duration(8 * time.Second)},
		},
	}
	got, err := ParseWebhook([]byte(webhookHead + "registries:\n  caBundle: |\n    " + strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\n    ") + `
  mirrors: [{prefix: docker.io, endpoint: mirror.example/hub}]
  privateHosts: [a.example]
  tokenHosts: [{registry: registry.example, host: auth.example}]
  cloudCredentials: [Google, AWS, Azure]
sigstore: {trustedRootFile: /etc/a}
admission: {unmatchedImages: Allow, logAllowed: 0}
limits:
  registry: {manifestBytes: 1Mi, connectTimeout: 1s, requestTimeout: 1m, tries: 1, requestsPerHost: 7}
  signatures: {statementBytes: 2Mi, tried: 3, referrers: 4}
  admission: {verdicts: 1, successTTL: 1s, failureTTL: 2s, tagTTL: 3s, timeout: 4s, verifications: 5, attestations: 6, breakerFailures: 7, breakerPause: 8s}
`))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%v %s", err, diff)
	}
	all := limits.Limits{}.WithDefaults()
	all.Registry.ManifestBytes, all.Registry.ConnectTimeout, all.Registry.RequestTimeout, all.Registry.Tries, all.Registry.RequestsPerHost = 1<<20, limits.Duration(time.Second), limits.Duration(time.Minute), 1, 7
	all.Signatures.StatementBytes, all.Signatures.Tried, all.Signatures.Referrers = 2<<20, 3, 4
	if diff := cmp.Diff(all, got.Limits.All()); diff != "" {
		t.Error(diff)
	}
}

func TestAWebhookNamesWhatIsWrong(t *testing.T) {
	for desc, tt := range map[string]struct {
		content string
		want    []string
	}{
		"the operator's file": {good, []string{`line 2: kind: "OperatorConfiguration" must be "WebhookConfiguration"`,
			"line 3: images: unknown field"}},
		"another version": {strings.Replace(webhookHead, "v1alpha1", "v2", 1), []string{`line 1: apiVersion: "config.basewright.dev/v2" must be "config.basewright.dev/v1alpha1"`}},
		"clouds that are none, and one twice": {webhookHead + "registries: {cloudCredentials: [aws, Google, Google]}", []string{
			`line 3: registries.cloudCredentials[0]: "aws" must be AWS, Azure or Google`,
			`line 3: registries.cloudCredentials[2]: "Google" is that of registries.cloudCredentials[1], too`}},
		"registries, as the operator's":        {webhookHead + "registries: {privateHosts: ['*']}", []string{`line 3: registries.privateHosts[0]: "*" is not a host: give a name such as registry.example or registry.example:5000`}},
		"a misspelt field that both have":      {webhookHead + "registries: {privateHost: []}", []string{"line 3: registries.privateHost: unknown field; did you mean registries.privateHosts?"}},
		"what only who signs has":              {webhookHead + "sigstore: {fulcioURL: 'https://fulcio.example'}", []string{"line 3: sigstore.fulcioURL: unknown field"}},
		"a trust root from two places":         {webhookHead + "sigstore: {trustedRootFile: /a, tuf: {mirror: 'https://tuf.example'}}", []string{"line 3: sigstore.tuf: must be left out if trustedRootFile is set: the trust root comes from one of them"}},
		"a mode that there is not":             {webhookHead + "admission: {unmatchedImages: Audit}", []string{`line 3: admission.unmatchedImages: "Audit" must be Deny, Warn or Allow`}},
		"no mode":                              {webhookHead + "admission: {unmatchedImages: ''}", []string{`line 3: admission.unmatchedImages: "" must be Deny, Warn or Allow`}},
		"less than none of what is allowed":    {webhookHead + "admission: {logAllowed: -1}", []string{"line 3: admission.logAllowed: -1 must be between 0 and 1000000"}},
		"limits that are none, and a typo":     {webhookHead + "limits: {registry: {tries: 0}, signatures: {statementBytes: 4Gi}}", []string{"line 3: limits.registry.tries: 0 must be more than 0", "line 3: limits.signatures.statementBytes: 4Gi is more than the hard maximum of 64Mi"}},
		"what is remembered, above and below":  {webhookHead + "limits: {admission: {successTTL: 169h, verdicts: 0}}", []string{"line 3: limits.admission.verdicts: 0 must be more than 0", "line 3: limits.admission.successTTL: 169h is more than the hard maximum of 168h"}},
		"limits of those who read layers":      {webhookHead + "limits: {registry: {layers: 5}}", []string{"line 3: limits.registry.layers: unknown field"}},
		"limits of those who sign and build":   {webhookHead + "limits: {signatures: {requestTimeout: 5s}, build: {}}", []string{"line 3: limits.signatures.requestTimeout: unknown field", "line 3: limits.build: unknown field"}},
		"a trust root that is no path of ours": {webhookHead + "sigstore: {trustedRootFile: a}", []string{`line 3: sigstore.trustedRootFile: "a" must be an absolute path in the container, such as /etc/sigstore/trusted_root.json`}},
	} {
		t.Run(desc, func(t *testing.T) {
			_, err := ParseWebhook([]byte(tt.content))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadWebhook(t *testing.T) {
	// What the webhook is deployed with must be good.
	if _, err := LoadWebhook("../../config/webhook/config.yaml"); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(t.TempDir(), "x")
	if _, err := LoadWebhook(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "webhook's configuration") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(missing, []byte(webhookHead+"admission: {unmatchedImages: No}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadWebhook(missing)
	if field, ok := errors.AsType[*FieldError](err); !ok || field.File != missing || field.Line != 3 {
		t.Errorf("got %v", err)
	}
}

func webhookDocumentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheWebhooksDocumentedFileHasEveryFieldAndItsDefaults(t *testing.T) {
	example := []byte(block(t, webhookDocumentation(t), "yaml"))
	cfg, err := ParseWebhook(example)
	if err != nil {
		t.Fatal(err)
	}
	f := newFindings("")
	f.decode(nil, f.document(example), reflect.ValueOf(&Webhook{}).Elem())
	for _, field := range ownFields(reflect.TypeFor[Webhook](), nil) {
		if f.lines[field.String()] == 0 {
			t.Errorf("%s is not in the example", field)
		}
	}
	standard := DefaultWebhook()
	if diff := cmp.Diff(standard.Admission, cfg.Admission) + cmp.Diff(standard.Sigstore, cfg.Sigstore) + cmp.Diff(standard.Limits, cfg.Limits); diff != "" {
		t.Error(diff)
	}
}

func TestTheWebhooksDocumentedLimitsAreThoseOfTheCode(t *testing.T) {
	standard, most := map[string]map[string]any{}, map[string]map[string]any{}
	for _, row := range limitRow.FindAllStringSubmatch(webhookDocumentation(t), -1) {
		if standard[row[1]] == nil {
			standard[row[1]], most[row[1]] = map[string]any{}, map[string]any{}
		}
		standard[row[1]][row[2]], most[row[1]][row[2]] = cell(row[3]), cell(row[4])
	}
	var want, maxima map[string]map[string]any
	recode(t, DefaultWebhook().Limits, &want)
	recode(t, limits.Maximum(), &maxima)
	recode(t, map[string]any{"admission": limits.MaximumAdmission()}, &maxima)
	if diff := cmp.Diff(want, standard); diff != "" {
		t.Errorf("defaults: %s", diff)
	}
	for section, fields := range most {
		for field, documented := range fields {
			if documented != maxima[section][field] {
				t.Errorf("limits.%s.%s: the hard maximum is %v, documented as %v", section, field, maxima[section][field], documented)
			}
		}
	}
}

func recode(t *testing.T, from, to any) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		t.Fatal(err)
	}
}
