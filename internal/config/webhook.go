package config

import (
	"slices"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// WebhookKind is that of the webhook's file.
const WebhookKind = "WebhookConfiguration"

// Webhook is the configuration of the webhook. Those of ParseWebhook and LoadWebhook are complete: every field that the
// file leaves out has its default.
type Webhook struct {
	// APIVersion must be config.basewright.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind must be WebhookConfiguration.
	Kind string `json:"kind"`
	// Registries says how registries are reached.
	Registries WebhookRegistries `json:"registries"`
	// Sigstore is what signatures are verified by.
	Sigstore TrustRoot `json:"sigstore"`
	// Admission says what becomes of requests beside what policies say.
	Admission Admission `json:"admission"`
	// Limits bound what is read from outside.
	Limits WebhookLimits `json:"limits"`
}

// WebhookRegistries says how registries are reached, and by whose credentials.
type WebhookRegistries struct {
	Registries `json:",inline"`
	// CloudCredentials are asked of these clouds for their own registries, by what the pod of the webhook may there, when
	// the secrets of a pod have none. Default: none.
	CloudCredentials []Cloud `json:"cloudCredentials,omitempty"`
}

// Cloud that has registries.
type Cloud string

// Clouds whose credentials the webhook can use.
const (
	AWS    Cloud = "AWS"
	Azure  Cloud = "Azure"
	Google Cloud = "Google"
)

// Admission says what becomes of requests beside what policies say.
type Admission struct {
	// UnmatchedImages are those that no policy is for: Deny, Warn or Allow. Default: Deny.
	UnmatchedImages Unmatched `json:"unmatchedImages"`
	// LogAllowed: of so many allowed requests, one is logged; 0 logs none of them. Refused ones are always logged.
	// From 0 to 1000000. Default: 100.
	LogAllowed int `json:"logAllowed"`
}

// Unmatched says what becomes of images that no policy is for.
type Unmatched string

// What becomes of images that no policy is for.
const (
	UnmatchedDeny  Unmatched = "Deny"
	UnmatchedWarn  Unmatched = "Warn"
	UnmatchedAllow Unmatched = "Allow"
)

// WebhookLimits bound what is read from outside.
type WebhookLimits struct {
	// Registry bounds what registries are asked and what they answer.
	Registry WebhookRegistryLimits `json:"registry"`
	// Signatures bounds signatures and attestations.
	Signatures WebhookSignatureLimits `json:"signatures"`
	// Admission bounds what is remembered of images, and how many are looked at.
	Admission limits.Admission `json:"admission"`
}

// WebhookRegistryLimits are those of limits.Registry that matter to who reads no layers.
type WebhookRegistryLimits struct {
	// ManifestBytes of one manifest, index or image config. Default: 1Mi; at most 64Mi.
	ManifestBytes limits.Bytes `json:"manifestBytes"`
	// ConnectTimeout of a connection. Default: 2s; at most 5m.
	ConnectTimeout limits.Duration `json:"connectTimeout"`
	// RequestTimeout of an operation on one manifest, retries included. Default: 5s; at most 10m.
	RequestTimeout limits.Duration `json:"requestTimeout"`
	// Tries of one request. Default: 2; at most 10.
	Tries int `json:"tries"`
	// RequestsPerHost are under way at the same time, to one host. Default: 64; at most 100.
	RequestsPerHost int `json:"requestsPerHost"`
}

// WebhookSignatureLimits are those of limits.Signatures that matter to who signs nothing.
type WebhookSignatureLimits struct {
	// StatementBytes of one attestation. Default: 4Mi; at most 64Mi.
	StatementBytes limits.Bytes `json:"statementBytes"`
	// Tried is how many signatures, or attestations of one predicate type, are verified of one digest and format before
	// it counts as not signed. Default: 64; at most 1024.
	Tried int `json:"tried"`
	// Referrers of one digest that are looked at. Default: 1024; at most 16384.
	Referrers int `json:"referrers"`
}

// All limits of registries and signatures, with the defaults of those that the webhook's file does not have.
func (l WebhookLimits) All() limits.Limits {
	all := limits.Limits{}.WithDefaults()
	all.Registry.ManifestBytes = l.Registry.ManifestBytes
	all.Registry.ConnectTimeout = l.Registry.ConnectTimeout
	all.Registry.RequestTimeout = l.Registry.RequestTimeout
	all.Registry.Tries = l.Registry.Tries
	all.Registry.RequestsPerHost = l.Registry.RequestsPerHost
	all.Signatures.StatementBytes = l.Signatures.StatementBytes
	all.Signatures.Tried = l.Signatures.Tried
	all.Signatures.Referrers = l.Signatures.Referrers
	return all
}

// DefaultWebhook is the configuration of a file that has nothing but its version and kind, without these.
func DefaultWebhook() *Webhook {
	standard := limits.Limits{}.WithDefaults()
	return &Webhook{
		Sigstore:  publicTrust(),
		Admission: Admission{UnmatchedImages: UnmatchedDeny, LogAllowed: 100},
		Limits: WebhookLimits{
			// Somebody waits for at most 10 s, and an admission of several images makes many small requests at once.
			Registry: WebhookRegistryLimits{
				ManifestBytes: 1 << 20, ConnectTimeout: limits.Duration(2 * time.Second),
				RequestTimeout: limits.Duration(5 * time.Second), Tries: 2, RequestsPerHost: 64,
			},
			Signatures: WebhookSignatureLimits{StatementBytes: 4 << 20, Tried: standard.Signatures.Tried, Referrers: standard.Signatures.Referrers},
			Admission:  limits.Admission{}.WithDefaults(),
		},
	}
}

// LoadWebhook reads and checks the file at path. An error about its content is of type Errors.
func LoadWebhook(path string) (*Webhook, error) {
	data, err := read(path, "webhook")
	if err != nil {
		return nil, err
	}
	return parseWebhook(path, data)
}

// ParseWebhook decodes and checks a configuration. Its error is of type Errors and has all that is wrong, by line.
func ParseWebhook(data []byte) (*Webhook, error) {
	return parseWebhook("", data)
}

func parseWebhook(file string, data []byte) (*Webhook, error) {
	cfg := DefaultWebhook()
	if err := fill(cfg, file, data); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (c *Webhook) validate(f *findings) {
	equals(f, root.child("apiVersion"), c.APIVersion, APIVersion)
	equals(f, root.child("kind"), c.Kind, WebhookKind)
	c.Registries.validate(f, root.child("registries"))
	c.Sigstore.validate(f, root.child("sigstore"))
	c.Admission.validate(f, root.child("admission"))
	validateLimits(f, c.Limits.All())
	validateLimits(f, c.Limits.Admission)
}

func (r WebhookRegistries) validate(f *findings, at *path) {
	r.Registries.validate(f, at)
	clouds := at.child("cloudCredentials")
	for i, cloud := range r.CloudCredentials {
		if cloud != AWS && cloud != Azure && cloud != Google {
			f.invalid(clouds.index(i), "%s must be AWS, Azure or Google", quoted(string(cloud)))
		} else if first := slices.Index(r.CloudCredentials, cloud); first < i {
			f.invalid(clouds.index(i), "%s is that of %s, too", quoted(string(cloud)), clouds.index(first))
		}
	}
}

func (a Admission) validate(f *findings, at *path) {
	switch a.UnmatchedImages {
	case UnmatchedDeny, UnmatchedWarn, UnmatchedAllow:
	default:
		f.invalid(at.child("unmatchedImages"), "%s must be Deny, Warn or Allow", quoted(string(a.UnmatchedImages)))
	}
	between(f, at.child("logAllowed"), a.LogAllowed, 0, 1_000_000)
}
