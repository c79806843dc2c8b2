package verdict

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// maxFindings of a verdict, and maxText of each message. Denials are read by people.
	maxFindings = 32
	maxText     = 2 << 10
	// maxCommand is how long a command may be to be shown: half of one is of no use.
	maxCommand = 4 << 10
)

// fixes are what to do about those faults that are the image's, or of whoever wants it. All others say that nothing is known.
var fixes = map[string]string{
	pipeline.ReasonSignatureMissing:     "sign this digest as somebody whom the policy names, an index with its platforms (cosign sign --recursive), or use an image that is signed so",
	pipeline.ReasonSignatureInvalid:     "sign this digest again; if it is by a Sigstore of your own, give the webhook its trust root",
	pipeline.ReasonIdentityMismatch:     "use an image that is signed by whom the policy names, or add who has signed this one to the policy",
	pipeline.ReasonAttestationMissing:   "attest this digest as somebody whom the policy names, or use an image that has the attestation",
	pipeline.ReasonAttestationRejected:  "attest this digest anew, with what the policy asks for",
	pipeline.ReasonImageNotFound:        "check the spelling of the image, and whether it was deleted",
	pipeline.ReasonImageTooLarge:        "use an image that is smaller, or raise the limit in the webhook's configuration",
	pipeline.ReasonImageInvalid:         "build the image again with another tool: no container runtime has to understand this one",
	pipeline.ReasonReportInvalid:        "push the image again: the registry has something else than its manifest says",
	pipeline.ReasonPlatformMissing:      "build the image for the platforms of the cluster's nodes, too",
	pipeline.ReasonRegistryUnauthorized: "the webhook has no access to the image: check imagePullSecrets of the pod and of its ServiceAccount",
	pipeline.ReasonRegistryDenied:       "the webhook has no access to the image: check imagePullSecrets of the pod and of its ServiceAccount",
	pipeline.ReasonRegistryRejected:     "check the spelling of the image",
	pipeline.ReasonRegistryAddress:      "use another registry, or allow this one in the webhook's configuration: registries.privateHosts",
	pipeline.ReasonRegistryCredentials:  "make the Secret in imagePullSecrets again",
	pipeline.ReasonImageRefused:         "use an image that another policy is for, or change the policy",
}

// violation makes a finding of an error that is about the image. What is no such error is an outage.
func violation(err error) (Finding, bool) {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok {
		return Finding{}, false
	}
	fix, known := fixes[t.Reason]
	return Finding{Reason: t.Reason, Message: err.Error(), Fix: fix}, known
}

// outage is err, by which nobody takes it for a verdict: what is Terminal beside violations is the fault of a setting.
func outage(err error) error {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok {
		return err
	}
	return &pipeline.Transient{Reason: t.Reason, Err: errors.New(err.Error())}
}

func unlessViolation(err error) error {
	if _, ok := violation(err); ok {
		return err
	}
	return outage(err)
}

// by says in a finding who was asked, for what, and the command that asks.
func (f Finding) by(command string, who ...string) Finding {
	words := slices.DeleteFunc(append(slices.Clone(who), f.Message), func(s string) bool { return s == "" })
	f.Message, f.Command = strings.Join(words, ": "), command
	return f
}

// bounded are findings in order, each once, and not too many or too long.
func bounded(all []Finding) []Finding {
	for i := range all {
		all[i].Message = clip(all[i].Message)
		if len(all[i].Command) > maxCommand {
			all[i].Command = ""
		}
	}
	slices.SortFunc(all, func(a, b Finding) int {
		// Signatures before attestations: who has not signed has attested nothing either.
		return cmp.Or(cmp.Compare(attests(a), attests(b)), strings.Compare(a.Message, b.Message), strings.Compare(a.Reason, b.Reason), strings.Compare(a.Command, b.Command))
	})
	all = slices.Compact(all)
	return slices.Clip(all[:min(len(all), maxFindings)])
}

func attests(f Finding) int {
	if f.Reason == pipeline.ReasonAttestationMissing || f.Reason == pipeline.ReasonAttestationRejected {
		return 1
	}
	return 0
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// command of cosign about ref, to be pasted into a shell.
func command(ref name.Digest, flags []string, words ...string) string {
	words = append(append([]string{"cosign"}, words...), flags...)
	if ref.Context().Scheme() == "http" {
		words = append(words, "--allow-http-registry")
	}
	words = append(words, registry.Name(ref))
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote makes one word of s for a shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@=+,%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
