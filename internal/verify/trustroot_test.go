package verify

import (
	"errors"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// What a signature must have is decided by the trust root alone.
func TestTheTrustRootDecides(t *testing.T) {
	const bad = "Terminal " + pipeline.ReasonSignatureInvalid
	const useless = "Terminal " + pipeline.ReasonTrustRootInvalid
	unlogged := func(f *forge) {
		f.entry = func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry { return nil }
	}
	unloggedInTime := func(f *forge) { unlogged(f); f.timestamp = true }
	tests := map[string]struct {
		material func(*world)
		change   func(*forge)
		want     string
		logged   bool
	}{
		"a log, and an entry":                            {nil, nil, "", true},
		"a log, and an entry and a timestamp":            {nil, func(f *forge) { f.timestamp = true }, "", true},
		"a log, and a timestamp":                         {nil, unloggedInTime, bad, false},
		"a log alone, and an entry":                      {func(w *world) { w.withoutTSA = true }, nil, "", true},
		"a log alone, and a timestamp":                   {func(w *world) { w.withoutTSA = true }, unloggedInTime, bad, false},
		"an authority alone, and a timestamp":            {func(w *world) { w.withoutLog = true }, unloggedInTime, "", false},
		"an authority alone, and a timestamp and entry":  {func(w *world) { w.withoutLog = true }, func(f *forge) { f.timestamp = true }, "", false},
		"an authority alone, and an entry":               {func(w *world) { w.withoutLog = true }, nil, bad, false},
		"an authority alone, and nothing":                {func(w *world) { w.withoutLog = true }, unlogged, bad, false},
		"neither, and all":                               {func(w *world) { w.withoutLog, w.withoutTSA = true, true }, func(f *forge) { f.timestamp = true }, useless, false},
		"no log of certificates, and all":                {func(w *world) { w.withoutCT = true }, nil, useless, false},
		"no certificate authority, and all":              {func(w *world) { w.withoutCA = true }, nil, useless, false},
		"an authority alone, and another time authority": {func(w *world) { w.withoutLog = true }, func(f *forge) { unloggedInTime(f); f.w = newWorld() }, bad, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for kind, way := range ways {
				w, s := newWorld(), newStore(t, true)
				way.put(t, s, way.forge(w, s.ref.DigestStr()).with(tt.change))
				if tt.material != nil {
					tt.material(w)
				}
				v := newVerifier(t, w, limits.Signatures{})
				found, err := way.verify(t.Context(), v, s)
				if got := fault(err); got != tt.want || (err == nil) != (len(found) == 1) {
					t.Fatalf("%s: got %d, %s: %v", kind, len(found), got, err)
				}
				way.agrees(t, v, s, found, err)
				if err == nil && ((found[0].LogIndex != nil) != tt.logged || (found[0].LogID != "") != tt.logged || found[0].SignedAt.IsZero()) {
					t.Errorf("%s: got %+v", kind, found[0])
				}
			}
		})
	}
}

func TestAProofOfInclusion(t *testing.T) {
	w := newWorld()
	tests := map[string]struct {
		change  func(*protorekor.TransparencyLogEntry)
		want    string
		indexed bool
	}{
		"and a promise": {change: func(*protorekor.TransparencyLogEntry) {}, indexed: true},
		// The index beside a proof is signed by nobody.
		"alone": {change: func(e *protorekor.TransparencyLogEntry) { e.InclusionPromise, e.LogIndex = nil, 99 }},
		"of another root": {change: func(e *protorekor.TransparencyLogEntry) {
			e.InclusionProof.RootHash[0] ^= 1
		}, want: "Terminal " + pipeline.ReasonSignatureInvalid},
		"of another log": {change: func(e *protorekor.TransparencyLogEntry) {
			e.InclusionProof.Checkpoint.Envelope = (&forge{log: newWorld()}).promise(e.CanonicalizedBody).InclusionProof.Checkpoint.Envelope
		}, want: "Terminal " + pipeline.ReasonSignatureInvalid},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := newForge(w, s.ref.DigestStr())
			f.timestamp = true
			f.entry = func(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry { tt.change(e); return e }
			s.push(t, f.attest().bundle(), "")
			found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
			if fault(err) != tt.want || err == nil && ((found[0].LogIndex != nil) != tt.indexed || found[0].LogID == "") {
				t.Errorf("got %+v: %v", found, err)
			}
		})
	}
}

// Either of two entries may be the good one.
func TestOfTwoEntriesNoneIsNamed(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	signed := newForge(w, s.ref.DigestStr()).attest()
	b := new(protobundle.Bundle)
	if err := protojson.Unmarshal(signed.bundle(), b); err != nil {
		t.Fatal(err)
	}
	elsewhere := (&forge{log: newWorld(), logged: time.Now()}).promise(signed.entry.CanonicalizedBody)
	b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, elsewhere)
	s.push(t, must(protojson.Marshal(b)), "")
	found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
	if err != nil || len(found) != 1 || found[0].LogIndex != nil || found[0].LogID != "" {
		t.Errorf("got %+v: %v", found, err)
	}
}

func TestTheTrustRootIsAskedOnceForEachVerification(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	asked := 0
	away := pipeline.Transientf(pipeline.ReasonTrustRootUnavailable, "there is none yet")
	var material root.TrustedMaterial
	err := away
	v := must(New(Options{Identities: []Identity{us}, Material: func() (root.TrustedMaterial, error) { asked++; return material, err }}))
	if _, got := v.Signatures(t.Context(), s.client, s.ref); !errors.Is(got, away) {
		t.Errorf("without one: got %v", got)
	}
	err = nil
	if _, got := v.Signatures(t.Context(), s.client, s.ref); fault(got) != "Terminal "+pipeline.ReasonTrustRootInvalid {
		t.Errorf("with nil: got %v", got)
	}
	material = w
	for _, way := range ways {
		way.put(t, s, way.forge(w, s.ref.DigestStr()))
	}
	if found, got := v.Signatures(t.Context(), s.client, s.ref); got != nil || len(found) != 2 || asked != 3 {
		t.Errorf("asked %d times, got %d: %v", asked, len(found), got)
	}
}

func TestTheEarliestTimeCounts(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	f := newForge(w, s.ref.DigestStr())
	f.timestamp, f.logged = true, f.logged.Add(5*time.Minute)
	ways["a signature in a bundle"].put(t, s, f)
	found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
	if err != nil || !found[0].SignedAt.Before(f.logged.Add(-time.Minute)) {
		t.Errorf("got %+v: %v", found, err)
	}
}
