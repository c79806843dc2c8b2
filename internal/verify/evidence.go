package verify

import (
	"time"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// Evidence says that a digest was signed by an identity, or with the key, that was asked for. Only verification makes one.
type Evidence struct {
	// Subject is the digest that was signed, sha256:….
	Subject string
	// Format in which the signature was found.
	Format v1alpha1.SignatureFormat
	// Identity is the subject alternative name of the certificate; empty if it was signed with a key.
	Identity string
	// Issuer of the token that the certificate was given for; empty if it was signed with a key.
	Issuer string
	// Key is the name of the key that it was signed with; empty if it was signed with a certificate.
	Key string
	// SignedAt is the earliest verified time at which the log, or a timestamp authority, has seen the signature. Zero for
	// a key without log: nobody knows.
	SignedAt time.Time
	// LogIndex in the transparency log, nil if there is no log or it does not vouch for the number.
	LogIndex *int64
	// LogID is the log's, in hex, empty if there is none.
	LogID string
	// Manifest is the digest of the manifest in which it was found: the bundle's, or that of the tag that ends in .sig
	// or .att.
	Manifest string
	// Layer is the digest of its blob.
	Layer string
}

// Attestation is an in-toto statement about a digest, and the evidence for it.
type Attestation struct {
	Evidence
	// PredicateType of the statement.
	PredicateType string
	// Payload is the statement, byte for byte as it was signed.
	Payload []byte
}
