package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// told is how many failures, and how many strangers, a message names.
	told = 3
	// maxText is how much a message quotes of what was read.
	maxText = 300
)

// report says why nothing that was found is evidence.
func (v *Verifier) report(ref name.Digest, w want, refused *refusal, searches ...*search) error {
	doing := "verifying the signatures of " + registry.Name(ref)
	missing, nothing, suffix := pipeline.ReasonSignatureMissing, "it is not signed", "sig"
	what := "signatures"
	if !w.simple {
		doing = fmt.Sprintf("verifying the attestations %q of %s", clip(w.predicateType), registry.Name(ref))
		missing, nothing, suffix = pipeline.ReasonAttestationMissing, "there is none of this type", "att"
		what = "attestations"
	}
	var failed []string
	var strangers []string
	for _, s := range searches {
		failed = append(failed, s.failures()...)
		strangers = append(strangers, s.strangers()...)
	}
	slices.Sort(strangers)
	switch {
	case refused != nil:
		return refused.rejected(ref, w)
	case len(strangers) > 0:
		return pipeline.Terminalf(pipeline.ReasonIdentityMismatch, "%s: the valid %s are by %s; it has to be signed by %s%s",
			doing, what, list(slices.Compact(strangers), " and by "), v.wanted, bounds(searches))
	case len(failed) > 0:
		return pipeline.Terminalf(pipeline.ReasonSignatureInvalid, "%s: none is valid of %s: %s; it has to be signed by %s%s",
			doing, counts(searches), list(failed, "; "), v.wanted, bounds(searches))
	}
	return pipeline.Terminalf(missing, "%s: %s: there is nothing in the tag sha256-….%s, and no bundle refers to it; it has to be signed by %s%s", doing, nothing, suffix, v.wanted, bounds(searches))
}

func (s *search) failures() []string {
	var out []string
	for _, f := range s.failed {
		out = append(out, fmt.Sprintf("%s (%s): %s", f.digest, s.format, clip(f.err.Error())))
	}
	return out
}

func (s *search) strangers() []string {
	var out []string
	for _, f := range s.failed {
		if by, ok := errors.AsType[*strangerError](f.err); ok {
			out = append(out, fmt.Sprintf("%q of issuer %q", clip(by.subject), clip(by.issuer)))
		}
	}
	return out
}

func counts(searches []*search) string {
	var out []string
	for _, s := range searches {
		out = append(out, fmt.Sprintf("%d in format %s", len(s.failed), s.format))
	}
	return strings.Join(out, " and ")
}

// bounds tells of what was not looked at.
func bounds(searches []*search) string {
	var out strings.Builder
	for _, s := range searches {
		if s.candidates > s.limits.Tried {
			fmt.Fprintf(&out, "; of %d in format %s, limits.signatures.tried let the first %d be tried", s.candidates, s.format, s.limits.Tried)
		}
		if s.listed > s.limits.Referrers {
			fmt.Fprintf(&out, "; of %d referrers that may be one, limits.signatures.referrers let the first %d be looked at", s.listed, s.limits.Referrers)
		}
	}
	return out.String()
}

// list names the first few of all.
func list(all []string, separator string) string {
	more := ""
	if len(all) > told {
		more = fmt.Sprintf("%sanother %d", separator, len(all)-told)
	}
	return strings.Join(all[:min(told, len(all))], separator) + more
}

// clip makes s short and takes out what is not to be printed.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
