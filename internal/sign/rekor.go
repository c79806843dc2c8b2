package sign

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

var (
	errNoCertificate = errors.New("there is no certificate in it")
	errDetached      = errors.New("the certificate has its SCT beside it and not in it, which no signature in a registry can carry: let Fulcio embed SCTs")
	errNoEntry       = errors.New("there is no log entry in it")
	errEntries       = errors.New("there are several log entries in it")
	errNoProof       = errors.New("the log entry lacks its proof of inclusion or the log's signature")
)

// proposedEntry is what Rekor is asked to log
// (https://github.com/sigstore/rekor/tree/v1.5.3/pkg/types).
type proposedEntry struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Spec       any    `json:"spec"`
}

// hashedRecord is an entry for a signature of something that has this hash.
func hashedRecord(hash, signature []byte, certificate string) proposedEntry {
	type object map[string]any
	return proposedEntry{Kind: "hashedrekord", APIVersion: "0.0.1", Spec: object{
		"data":      object{"hash": object{"algorithm": "sha256", "value": hex.EncodeToString(hash)}},
		"signature": object{"content": signature, "publicKey": object{"content": []byte(certificate)}},
	}}
}

// envelopeRecord is an entry for an envelope with a signed statement. Rekor keeps hashes of it.
func envelopeRecord(envelope []byte, certificate string) proposedEntry {
	type object map[string]any
	return proposedEntry{Kind: "dsse", APIVersion: "0.0.1", Spec: object{
		"proposedContent": object{"envelope": string(envelope), "verifiers": [][]byte{[]byte(certificate)}},
	}}
}

// logEntry is an entry as Rekor answers it.
type logEntry struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
	Verification   struct {
		InclusionProof *struct {
			Checkpoint string   `json:"checkpoint"`
			Hashes     []string `json:"hashes"`
			LogIndex   int64    `json:"logIndex"`
			RootHash   string   `json:"rootHash"`
			TreeSize   int64    `json:"treeSize"`
		} `json:"inclusionProof"`
		SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
	} `json:"verification"`
}

// log enters what is proposed. Whether the entry is what was proposed, and in the log, is verified with the signature.
func (s *Signer) log(ctx context.Context, proposed proposedEntry) (*protorekor.TransparencyLogEntry, error) {
	body, err := json.Marshal(proposed)
	if err != nil {
		return nil, err
	}
	answer, err := s.rekor.ask(ctx, request{contentType: "application/json", body: body})
	if err != nil {
		return nil, err
	}
	entry, err := parseEntry(answer)
	if err != nil {
		return nil, s.rekor.invalid("%w", err)
	}
	return entry, nil
}

func parseEntry(answer []byte) (*protorekor.TransparencyLogEntry, error) {
	var found map[string]logEntry
	if err := json.Unmarshal(answer, &found); err != nil {
		return nil, errNoEntry
	}
	if len(found) > 1 {
		return nil, errEntries
	}
	for _, e := range found {
		return e.proto()
	}
	return nil, errNoEntry
}

func (e logEntry) proto() (*protorekor.TransparencyLogEntry, error) {
	proof := e.Verification.InclusionProof
	if proof == nil || len(e.Verification.SignedEntryTimestamp) == 0 {
		return nil, errNoProof
	}
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(e.Body, &kind); err != nil {
		return nil, errNoEntry
	}
	hashes, err := unhex(append(proof.Hashes, proof.RootHash, e.LogID))
	if err != nil {
		return nil, errNoProof
	}
	n := len(proof.Hashes)
	return &protorekor.TransparencyLogEntry{
		LogIndex:         e.LogIndex,
		LogId:            &protocommon.LogId{KeyId: hashes[n+1]},
		KindVersion:      &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:   e.IntegratedTime,
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: e.Verification.SignedEntryTimestamp},
		InclusionProof: &protorekor.InclusionProof{
			LogIndex:   proof.LogIndex,
			RootHash:   hashes[n],
			TreeSize:   proof.TreeSize,
			Hashes:     hashes[:n],
			Checkpoint: &protorekor.Checkpoint{Envelope: proof.Checkpoint},
		},
		CanonicalizedBody: e.Body,
	}, nil
}

func unhex(all []string) ([][]byte, error) {
	out := make([][]byte, 0, len(all))
	for _, one := range all {
		raw, err := hex.DecodeString(one)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}
