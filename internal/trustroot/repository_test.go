package trustroot

import (
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// tufRepository is a TUF repository with one key for each role, as a mirror serves it.
type tufRepository struct {
	t    *testing.T
	keys map[string]ed25519.PrivateKey
	// anchor is its first root.json.
	anchor []byte
	root   *metadata.Metadata[metadata.RootType]
	// version of what publish has made last.
	version int64

	mu    sync.Mutex
	files map[string][]byte
	// before answers a request in place of the repository if it returns true.
	before func(http.ResponseWriter, *http.Request) bool
	asked  int
}

func inAWeek() time.Time { return time.Now().AddDate(0, 0, 7).UTC() }

func newRepository(t *testing.T, trustRoot []byte) *tufRepository {
	t.Helper()
	r := &tufRepository{t: t, keys: map[string]ed25519.PrivateKey{}, root: metadata.Root(inAWeek()), files: map[string][]byte{}}
	for _, role := range []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		r.addKey(role)
	}
	r.anchor = signed(r, r.root, metadata.ROOT)
	r.publish(trustRoot, inAWeek())
	return r
}

func (r *tufRepository) addKey(role string) {
	r.t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.root.Signed.AddKey(key, role); err != nil {
		r.t.Fatal(err)
	}
	r.keys[role] = private
}

func (r *tufRepository) sign(role string, sign func(signature.Signer) (*metadata.Signature, error)) {
	r.t.Helper()
	signer, err := signature.LoadSigner(r.keys[role], crypto.Hash(0))
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := sign(signer); err != nil {
		r.t.Fatal(err)
	}
}

func signed[T metadata.Roles](r *tufRepository, m *metadata.Metadata[T], role string) []byte {
	r.t.Helper()
	r.sign(role, m.Sign)
	data, err := m.ToBytes(false)
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

// publish makes the next version of everything but the root, whose timestamp is valid until then.
func (r *tufRepository) publish(trustRoot []byte, until time.Time) {
	r.t.Helper()
	r.version++
	file, err := metadata.TargetFile().FromBytes(target, trustRoot, "sha256")
	if err != nil {
		r.t.Fatal(err)
	}
	targets, snapshot, timestamp := metadata.Targets(inAWeek()), metadata.Snapshot(inAWeek()), metadata.Timestamp(until)
	targets.Signed.Targets[target] = file
	targets.Signed.Version, snapshot.Signed.Version, timestamp.Signed.Version = r.version, r.version, r.version
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(r.version)
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(r.version)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[fmt.Sprintf("/tuf/%d.targets.json", r.version)] = signed(r, targets, metadata.TARGETS)
	r.files[fmt.Sprintf("/tuf/%d.snapshot.json", r.version)] = signed(r, snapshot, metadata.SNAPSHOT)
	r.files["/tuf/timestamp.json"] = signed(r, timestamp, metadata.TIMESTAMP)
	r.files["/tuf/targets/"+hex.EncodeToString(file.Hashes["sha256"])+"."+target] = trustRoot
}

// rotate publishes a root with another key for role, signed by the key of the root before it, and by its own.
func (r *tufRepository) rotate(role string) {
	r.t.Helper()
	old := r.root.Signed.Roles[role].KeyIDs[0]
	if err := r.root.Signed.RevokeKey(old, role); err != nil {
		r.t.Fatal(err)
	}
	r.keys["old"] = r.keys[role]
	r.addKey(role)
	r.root.Signed.Version++
	r.root.ClearSignatures()
	if role == metadata.ROOT {
		signed(r, r.root, "old")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[fmt.Sprintf("/tuf/%d.root.json", r.root.Signed.Version)] = signed(r, r.root, metadata.ROOT)
}

// intercept has requests answered by something else; nil ends that.
func (r *tufRepository) intercept(before func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = before
}

// requests that were made since the last call.
func (r *tufRepository) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.asked
	r.asked = 0
	return n
}

func (r *tufRepository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	before, file := r.before, r.files[req.URL.Path]
	r.asked++
	r.mu.Unlock()
	switch {
	case before != nil && before(w, req):
	case file == nil:
		http.NotFound(w, req)
	default:
		_, _ = w.Write(file)
	}
}

// RoundTrip answers without a network, for tests whose time is not that of the machine.
func (r *tufRepository) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result(), nil
}
