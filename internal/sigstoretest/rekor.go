package sigstoretest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/go-openapi/runtime"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"         // a kind of entry
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1" // a kind of entry
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"       // a kind of entry
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
)

const (
	logHost = "rekor.sigstoretest"
	treeID  = 1193050959916656506
	// firstIndex is what the log's index has more than that of its only tree, as in a log that had others before.
	firstIndex = 1000
)

// Rekor is a transparency log, kept in memory.
type Rekor struct {
	Service
	key *ecdsa.PrivateKey

	tree struct {
		sync.Mutex
		leaves [][]byte
	}
}

func newRekor() *Rekor { return &Rekor{key: newKey()} }

// Entries that the log has.
func (k *Rekor) Entries() int {
	k.tree.Lock()
	defer k.tree.Unlock()
	return len(k.tree.leaves)
}

// LogEntry is an entry as Rekor answers it.
type LogEntry struct {
	// Body is the canonical entry, in base 64.
	Body string `json:"body"`
	// IntegratedTime is when it was entered, in seconds.
	IntegratedTime int64 `json:"integratedTime"`
	// LogID names the log.
	LogID string `json:"logID"`
	// LogIndex is its number in the log.
	LogIndex int64 `json:"logIndex"`
	// Verification is what proves it.
	Verification Verification `json:"verification"`
}

// Verification proves that an entry is in the log.
type Verification struct {
	InclusionProof       *InclusionProof `json:"inclusionProof,omitempty"`
	SignedEntryTimestamp []byte          `json:"signedEntryTimestamp,omitempty"`
}

// InclusionProof is the way from an entry to a signed root of the tree.
type InclusionProof struct {
	Checkpoint string   `json:"checkpoint"`
	Hashes     []string `json:"hashes"`
	LogIndex   int      `json:"logIndex"`
	RootHash   string   `json:"rootHash"`
	TreeSize   int      `json:"treeSize"`
}

// Enter checks a proposed entry, in JSON, as Rekor does (the signature in it has to verify), and enters it at a time.
func (k *Rekor) Enter(proposed []byte, at time.Time, fault Fault) (LogEntry, error) {
	body, err := canonical(proposed)
	if err != nil {
		return LogEntry{}, err
	}
	k.tree.Lock()
	defer k.tree.Unlock()
	k.tree.leaves = append(k.tree.leaves, leafHash(body))
	return k.prove(body, at, fault), nil
}

func canonical(proposed []byte) ([]byte, error) {
	entry, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), runtime.JSONConsumer())
	if err != nil {
		return nil, err
	}
	versioned, err := types.CreateVersionedEntry(entry)
	if err != nil {
		return nil, err
	}
	return types.CanonicalizeEntry(context.Background(), versioned)
}

// prove is called with the lock of the tree, after its last leaf was added.
func (k *Rekor) prove(body []byte, at time.Time, fault Fault) LogEntry {
	key := k.key
	if fault == OtherLog {
		key = newKey()
	}
	index, id := len(k.tree.leaves)-1, logID(k.key)
	entry := LogEntry{
		Body:           base64.StdEncoding.EncodeToString(body),
		IntegratedTime: at.Unix(),
		LogID:          hex.EncodeToString(id[:]),
		LogIndex:       int64(index + firstIndex),
	}
	if fault != WithoutPromise {
		entry.Verification.SignedEntryTimestamp = promise(key, entry)
	}
	switch fault {
	case WithoutProof:
	case WrongProof:
		entry.Verification.InclusionProof = proof(key, append(k.tree.leaves[:index:index], leafHash([]byte("another"))))
	default:
		entry.Verification.InclusionProof = proof(key, k.tree.leaves)
	}
	return entry
}

// promise is the signed entry timestamp.
func promise(key *ecdsa.PrivateKey, e LogEntry) []byte {
	raw := must(json.Marshal(map[string]any{"body": e.Body, "integratedTime": e.IntegratedTime, "logID": e.LogID, "logIndex": e.LogIndex}))
	sum := sha256.Sum256(must(jsoncanonicalizer.Transform(raw)))
	return must(ecdsa.SignASN1(rand.Reader, key, sum[:]))
}

// proof of the last of leaves.
func proof(key *ecdsa.PrivateKey, leaves [][]byte) *InclusionProof {
	signer := must(signature.LoadECDSASigner(key, crypto.SHA256))
	root := treeHash(leaves)
	size := len(leaves)
	checkpoint := must(util.CreateAndSignCheckpoint(context.Background(), logHost, treeID, uint64(size), root, signer)) //nolint:gosec // Not negative.
	hashes := []string{}
	for _, h := range auditPath(size-1, leaves) {
		hashes = append(hashes, hex.EncodeToString(h))
	}
	return &InclusionProof{Checkpoint: string(checkpoint), Hashes: hashes, LogIndex: size - 1, RootHash: hex.EncodeToString(root), TreeSize: size}
}

func (k *Rekor) serve(w http.ResponseWriter, r *http.Request, fault Fault) {
	proposed, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	entry, err := k.Enter(proposed, time.Now(), fault)
	if fault == OtherEntry {
		entry, err = k.Enter(someEntry(), time.Now(), Works)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "error processing entry: "+err.Error())
		return
	}
	id := hex.EncodeToString(leafHash(must(base64.StdEncoding.DecodeString(entry.Body))))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", id)
	w.Header().Set("Location", "/api/v1/log/entries/"+id)
	w.WriteHeader(http.StatusCreated)
	answer := map[string]LogEntry{id: entry}
	if fault == TwoEntries {
		answer["another"] = entry
	}
	_ = json.NewEncoder(w).Encode(answer)
}
