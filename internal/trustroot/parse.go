package trustroot

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// parse reads a trust root, and wants it to have all that verification needs: one that lacks something would refuse every
// signature, or, worse, let a check be left out. The fault is transient, because the root can be mended while builds wait.
func parse(data []byte, from string, now time.Time) (*Snapshot, error) {
	if len(data) > maxBytes {
		return nil, invalid("%s has %d bytes or more, at most %d are read", from, len(data), maxBytes)
	}
	trusted, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, invalid("%s is not a trust root of Sigstore (trusted_root.json): %w", from, err)
	}
	if missing := lacks(trusted); len(missing) > 0 {
		return nil, invalid("%s lacks %s: add what the Sigstore that signs has", from, strings.Join(missing, " and "))
	}
	sum := sha256.Sum256(data)
	return &Snapshot{Material: trusted, Version: "sha256:" + hex.EncodeToString(sum[:]), LoadedAt: now}, nil
}

func lacks(trusted root.TrustedMaterial) []string {
	var missing []string
	if len(trusted.FulcioCertificateAuthorities()) == 0 {
		missing = append(missing, "the authorities of Fulcio (certificateAuthorities)")
	}
	if len(trusted.CTLogs()) == 0 {
		missing = append(missing, "the certificate transparency log (ctlogs)")
	}
	if len(trusted.RekorLogs()) == 0 && len(trusted.TimestampingAuthorities()) == 0 {
		missing = append(missing, "both Rekor and a timestamp authority (tlogs, timestampAuthorities)")
	}
	return missing
}

func invalid(format string, args ...any) error {
	return pipeline.Transientf(pipeline.ReasonTrustRootInvalid, format, args...)
}

func unavailable(format string, args ...any) error {
	return pipeline.Transientf(pipeline.ReasonTrustRootUnavailable, format, args...)
}
