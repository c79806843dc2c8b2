package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
)

// Merkle trees, RFC 6962, section 2.1.

func leafHash(body []byte) []byte { return hash(0, body) }

func hash(prefix byte, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write([]byte{prefix})
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// split is the largest power of two below n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

func treeHash(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	return hash(1, treeHash(leaves[:k]), treeHash(leaves[k:]))
}

// auditPath are the hashes that lead from the leaf i to the root.
func auditPath(i int, leaves [][]byte) [][]byte {
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(auditPath(i, leaves[:k]), treeHash(leaves[k:]))
	}
	return append(auditPath(i-k, leaves[k:]), treeHash(leaves[:k]))
}

// someEntry is a valid hashedrekord that nobody has asked for.
func someEntry() []byte {
	key, sum := newKey(), sha256.Sum256([]byte("something else"))
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key.Public()))})
	return must(json.Marshal(map[string]any{"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}},
		"signature": map[string]any{"content": must(ecdsa.SignASN1(rand.Reader, key, sum[:])), "publicKey": map[string]any{"content": public}},
	}}))
}
